"""Stories of the worded problems: question, goal and steps, English beside Chinese."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.data.world.words import Bilingual

NAMES: tuple[Bilingual, ...] = (
    ("Tom", "小明"), ("Ann", "小红"), ("Ben", "小刚"), ("Lily", "小丽"),
    ("Max", "小华"), ("Eva", "小美"), ("Leo", "小军"), ("Mia", "小芳"),
)  # fmt: skip
OBJECTS: tuple[tuple[str, str, str], ...] = (
    ("pens", "支笔", "笔"), ("books", "本书", "书"), ("cups", "个杯子", "杯子"),
    ("cakes", "块蛋糕", "蛋糕"), ("balls", "个球", "球"), ("hats", "顶帽子", "帽子"),
    ("apples", "个苹果", "苹果"), ("toys", "个玩具", "玩具"),
)  # fmt: skip
"""English plural; Chinese with its measure word; Chinese alone."""


@dataclass(frozen=True)
class Story:
    """One kind of worded problem.

    `ranges` gives each number a, b, c, d its bounds, `steps` the solution as (left, operator,
    right) whose results are called x, y, z in turn, `big` the number that gains a digit in the
    harder set. Texts may name any of these, n and m (people), o and q (objects; in Chinese O and Q
    with the measure word).
    """

    name: str
    ranges: tuple[tuple[int, int], ...]
    steps: tuple[tuple[str, str, str], ...]
    big: str
    question: Bilingual
    goal: Bilingual
    says: tuple[Bilingual, ...]


STORIES: tuple[Story, ...] = (
    Story(
        "purchase", ((2, 9), (3, 20), (5, 60)), (("a", "*", "b"), ("x", "+", "c")), "c",
        (
            "%(n)s buys %(a)d %(o)s at %(b)d yuan each and a bag for %(c)d yuan. "
            "How much does %(n)s pay?",
            "%(n)s买了%(a)d%(O)s，单价%(b)d元，又买了%(c)d元的包。%(n)s一共付多少元？",
        ),
        (
            "We want to know how much %(n)s has to pay in total.",
            "先看题目：%(n)s一共要付多少元，要算出来。",
        ),
        (
            ("The %(o)s cost %(a)d*%(b)d=%(x)d yuan.", "买%(o)s花了%(a)d*%(b)d=%(x)d元。"),
            ("With the bag it is %(x)d+%(c)d=%(y)d yuan.", "加上包是%(x)d+%(c)d=%(y)d元。"),
        ),
    ),
    Story(
        "change", ((2, 9), (3, 20), (20, 99)), (("a", "*", "b"), ("c", "-", "x")), "c",
        (
            "%(n)s has %(c)d yuan and buys %(a)d %(o)s at %(b)d yuan each. "
            "How much money is left?",
            "%(n)s有%(c)d元，买了%(a)d%(O)s，单价%(b)d元。还剩多少元？",
        ),
        (
            "We want to know how much money %(n)s has left at the end.",
            "先看题目：%(n)s最后还剩多少元，要算出来。",
        ),
        (
            ("The %(o)s cost %(a)d*%(b)d=%(x)d yuan.", "买%(o)s花了%(a)d*%(b)d=%(x)d元。"),
            ("So what is left is %(c)d-%(x)d=%(y)d yuan.", "所以还剩%(c)d-%(x)d=%(y)d元。"),
        ),
    ),
    Story(
        "basket", ((2, 9), (3, 12), (2, 9), (3, 12)),
        (("a", "*", "b"), ("c", "*", "d"), ("x", "+", "y")), "b",
        (
            "%(n)s buys %(a)d %(o)s at %(b)d yuan each and %(c)d %(q)s at %(d)d yuan each. "
            "How much does %(n)s pay?",
            "%(n)s买了%(a)d%(O)s，单价%(b)d元，还有%(c)d%(Q)s，单价%(d)d元。%(n)s一共付多少元？",
        ),
        (
            "We want to know how much %(n)s has to pay in total.",
            "先看题目：%(n)s一共要付多少元，要算出来。",
        ),
        (
            ("The %(o)s cost %(a)d*%(b)d=%(x)d yuan.", "买%(o)s花了%(a)d*%(b)d=%(x)d元。"),
            ("The %(q)s cost %(c)d*%(d)d=%(y)d yuan.", "买%(q)s花了%(c)d*%(d)d=%(y)d元。"),
            ("Both cost %(x)d+%(y)d=%(z)d yuan.", "一共花了%(x)d+%(y)d=%(z)d元。"),
        ),
    ),
    Story(
        "older", ((5, 40), (2, 40), (2, 30)), (("a", "+", "b"), ("x", "+", "c")), "c",
        (
            "%(n)s is %(a)d years old and %(m)s is %(b)d years older. "
            "How old will %(m)s be in %(c)d years?",
            "%(n)s今年%(a)d岁，%(m)s比%(n)s大%(b)d岁。%(c)d年后%(m)s多少岁？",
        ),
        (
            "We want to know how old %(m)s will be after some years.",
            "先看题目：几年后%(m)s是多少岁，要算出来。",
        ),
        (
            ("Now %(m)s is %(a)d+%(b)d=%(x)d years old.", "今年%(m)s是%(a)d+%(b)d=%(x)d岁。"),
            ("Later %(m)s is %(x)d+%(c)d=%(y)d years old.", "以后%(m)s是%(x)d+%(c)d=%(y)d岁。"),
        ),
    ),
    Story(
        "times", ((4, 20), (2, 5), (2, 30)), (("a", "*", "b"), ("x", "-", "c")), "a",
        (
            "%(n)s is %(a)d years old and %(m)s is %(b)d times as old. "
            "How old was %(m)s %(c)d years ago?",
            "%(n)s今年%(a)d岁，%(m)s的年龄是%(n)s的%(b)d倍。%(c)d年前%(m)s多少岁？",
        ),
        (
            "We want to know how old %(m)s was some years before now.",
            "先看题目：几年前%(m)s是多少岁，要算出来。",
        ),
        (
            ("Now %(m)s is %(a)d*%(b)d=%(x)d years old.", "今年%(m)s是%(a)d*%(b)d=%(x)d岁。"),
            ("Then %(m)s was %(x)d-%(c)d=%(y)d years old.", "当时%(m)s是%(x)d-%(c)d=%(y)d岁。"),
        ),
    ),
    Story(
        "together", ((4, 20), (2, 5), (2, 60)),
        (("a", "*", "b"), ("x", "+", "a"), ("y", "+", "c")), "c",
        (
            "%(n)s is %(a)d years old, %(m)s is %(b)d times as old and a friend is %(c)d. "
            "How old are the three together?",
            "%(n)s今年%(a)d岁，%(m)s的年龄是%(n)s的%(b)d倍，朋友%(c)d岁。三人一共多少岁？",
        ),
        (
            "We want to know how old the three people are together.",
            "先看题目：三个人一共是多少岁，要算出来。",
        ),
        (
            ("Now %(m)s is %(a)d*%(b)d=%(x)d years old.", "今年%(m)s是%(a)d*%(b)d=%(x)d岁。"),
            ("With %(n)s it is %(x)d+%(a)d=%(y)d years.", "加上%(n)s是%(x)d+%(a)d=%(y)d岁。"),
            ("With the friend it is %(y)d+%(c)d=%(z)d.", "加上朋友是%(y)d+%(c)d=%(z)d岁。"),
        ),
    ),
    Story(
        "factory", ((3, 25), (2, 9), (2, 60)), (("a", "*", "b"), ("x", "-", "c")), "a",
        (
            "%(n)s makes %(a)d %(o)s a day for %(b)d days and sells %(c)d of them. "
            "How many are left?",
            "%(n)s每天做%(a)d%(O)s，做了%(b)d天，卖了%(c)d。还剩多少？",
        ),
        (
            "We want to know how many of the %(o)s are left at the end.",
            "先看题目：最后还剩下多少%(o)s，要算出来。",
        ),
        (
            ("The days make %(a)d*%(b)d=%(x)d %(o)s.", "这几天做了%(a)d*%(b)d=%(x)d%(O)s。"),
            ("So what is left is %(x)d-%(c)d=%(y)d.", "所以还剩%(x)d-%(c)d=%(y)d%(O)s。"),
        ),
    ),
    Story(
        "trip", ((3, 25), (2, 5), (3, 25), (2, 5)),
        (("a", "*", "b"), ("c", "*", "d"), ("x", "+", "y")), "a",
        (
            "%(n)s goes %(a)d km an hour for %(b)d hours, then %(c)d km an hour for %(d)d hours. "
            "How far does %(n)s go?",
            "%(n)s每小时走%(a)d公里，走了%(b)d小时，再每小时走%(c)d公里，走了%(d)d小时。"
            "%(n)s一共走多少公里？",
        ),
        (
            "We want to know how far %(n)s has to go in total.",
            "先看题目：%(n)s一共走多少公里，要算出来。",
        ),
        (
            ("The first part is %(a)d*%(b)d=%(x)d km.", "第一段是%(a)d*%(b)d=%(x)d公里。"),
            ("The second part is %(c)d*%(d)d=%(y)d km.", "第二段是%(c)d*%(d)d=%(y)d公里。"),
            ("Both parts are %(x)d+%(y)d=%(z)d km.", "两段一共%(x)d+%(y)d=%(z)d公里。"),
        ),
    ),
    Story(
        "reading", ((3, 30), (3, 30), (2, 5)), (("a", "+", "b"), ("x", "*", "c")), "a",
        (
            "%(n)s reads %(a)d pages a day and %(m)s reads %(b)d pages a day. "
            "How many pages do they read in %(c)d days?",
            "%(n)s每天看%(a)d页书，%(m)s每天看%(b)d页书。%(c)d天两人一共看多少页？",
        ),
        (
            "We want to know how many pages the two of them read.",
            "先看题目：两个人一共看多少页，要算出来。",
        ),
        (
            ("In a day they read %(a)d+%(b)d=%(x)d pages.", "一天两人看%(a)d+%(b)d=%(x)d页。"),
            ("In all the days it is %(x)d*%(c)d=%(y)d.", "这几天一共看%(x)d*%(c)d=%(y)d页。"),
        ),
    ),
)  # fmt: skip
