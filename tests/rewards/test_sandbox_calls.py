"""Right functions pass, whatever they return, change, raise or are; asserts that need not run."""

from __future__ import annotations

import textwrap

import pytest

from r1jax.rewards.sandbox import Calls, SandboxConfig, run_program

ANYWHERE = SandboxConfig(unsafe=True)


def passes(program, *tests, names=("f",), share=False, setup=""):
    calls = Calls(tests, names, setup)
    return run_program(textwrap.dedent(program), calls, ANYWHERE, share).right


def test_what_a_program_does_not_import_it_does_not_have():
    assert not passes("def f(x: List[int]): return 2", "assert f([1]) == 2")
    assert passes("from typing import List\ndef f(x: List[int]): return 2", "assert f([1]) == 2")
    assert passes("def f(x: int): return f.__annotations__['x'](x)", "assert f('2') == 2")


RAISES = "try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass"
STRICT = "def f(x):\n    if x < 0: raise ValueError\n    return x"


@pytest.mark.parametrize(
    "test",
    [
        RAISES,
        f"{RAISES}\nassert f(2) == 2",
        "try:\n    f(-1)\nexcept ValueError as e:\n    assert True\nelse:\n    assert False",
        "if f(1) == 1:\n    assert f(2) == 2\nelse:\n    assert f(2) == 3",
        "for x in 0, 1:\n    if x:\n        assert f(x) == 1\n    else:\n        assert f(x) == x",
        "def same(a, b):\n    assert a == b\nsame(f(1), 1)",
        "def unused(a):\n    assert a\nassert f(1) == 1",
        "def bad(x):\n    try: f(x)\n    except ValueError: return\n    assert 0\nbad(-1)",
        "try:\n    assert f(1) == 2\nexcept AssertionError:\n    assert f(1) == 1",
        "match f(1):\n    case 1:\n        assert True\n    case _:\n        assert False",
        "assert all(f(x) == x for x in range(5))",
        "with __import__('contextlib').suppress(ValueError):\n    f(-1)\n    raise AssertionError\n"
        "assert f(0) == 0",
    ],
)  # fmt: skip
def test_asserts_that_need_not_run_are_not_missed(test):
    assert passes(STRICT, test)
    assert not passes("def f(x): return -5", test)


def test_asserts_in_a_helper_of_the_setup_are_tests():
    setup = "def same(a, b):\n    assert a == b"
    assert passes(STRICT, "same(f(1), 1)", setup=setup)
    assert not passes(STRICT, "same(f(1), 2)", setup=setup)
    assert not passes(STRICT, "f(1)") and not passes(STRICT, "pass", setup=setup)


def test_a_loop_over_nothing_tests_nothing():
    test = "for a, b in zip(f(3), [1, 2, 3]):\n    assert a == b"
    assert passes("def f(n): return [1, 2, 3]", test)
    assert not passes("def f(n): return []", test)


def test_a_swallowed_failure_is_one():
    test = "try:\n    assert f(1) == 2\nexcept Exception:\n    pass"
    assert passes("def f(x): return 2", test) and not passes("def f(x): return 3", test)


IN_PLACE = {
    "sort": ("def f(a): a.sort()", "a = [3, 1, 2]\nf(a)\nassert a == [1, 2, 3]"),
    "sort and return": ("def f(a):\n    a.sort()\n    return a",
                        "a = [3, 1]\nf(a)\nassert a == [1, 3]"),
    "by name": ("def f(x, a=()): a.sort()", "a = [3, 1, 2]\nf(0, a=a)\nassert a == [1, 2, 3]"),
    "count": ("def f(a):\n    a[:] = sorted(set(a))\n    return len(a)",
              "a = [2, 1, 2]\nk = f(a)\nassert a[:k] == [1, 2]"),
    "None": ("def f(a): a.reverse()", "a = [1, 2]\nassert f(a) is None and a == [2, 1]"),
    "rows": ("def f(m):\n    m[0][0] = 0", "m = [[1], [2]]\nr = m[0]\nf(m)\nassert r == [0]"),
    "dict": ("def f(d): d['a'] = d.pop('b')", "d = {'b': [1]}\nf(d)\nassert d == {'a': [1]}"),
    "set": ("def f(s): s.add(3)", "s = {1}\nf(s)\nassert s == {1, 3}"),
    "bytearray": ("def f(b): b.extend(b'x')", "b = bytearray(b'a')\nf(b)\nassert b == b'ax'"),
    "deque": ("def f(d): d.rotate(1)",
              "import collections\nd = collections.deque([1, 2, 3])\nf(d)\nassert d[0] == 3"),
    "twice": ("def f(a):\n    a.append(1)\n    return len(a)",
              "a = []\nassert f(a) == 1\nassert f(a) == 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_tests_see_what_is_changed_in_place(name):
    program, test = IN_PLACE[name]
    assert passes(program, test)
    assert not passes("def f(*a, **b): pass", test)


def test_a_changed_argument_does_not_make_its_own_answer_right():
    """Within an assert what was returned is compared with what was given."""
    cheat = "def f(a):\n    a.clear()\n    return []"
    assert not passes(cheat, "a = [2, 1]\nassert f(a) == sorted(a)")
    assert not passes(cheat, "assert (lambda a: f(a) == sorted(a))([2, 1])")


VALUES = [
    "collections.deque([1, 2], 3)", "fractions.Fraction(1, 3)", "decimal.Decimal('0.10')",
    "decimal.Decimal('-Infinity')", "array.array('i', [1, 2])", "array.array('d', [0.5])",
    "datetime.date(2024, 2, 29)", "datetime.datetime(2024, 1, 2, 3, 4, 5, 6)",
    "datetime.time(1, 2)", "datetime.timedelta(days=-1, microseconds=3)", "int", "[str, dict]",
    "collections.Counter('aab')", "collections.OrderedDict(a=1)", "10 ** 6000",
    "{fractions.Fraction(1, 2): decimal.Decimal(1)}", "collections.namedtuple('P', 'a b')(1, 2)",
]  # fmt: skip
IMPORTS = "import array, collections, datetime, decimal, fractions\n"


@pytest.mark.parametrize("value", VALUES)
def test_values_of_the_standard_library_come_back(value):
    program = f"{IMPORTS}def f(x=None): return {value}"
    assert passes(program, f"assert f() == {value}", setup=IMPORTS)
    assert not passes(program, f"assert f() == [{value}]", setup=IMPORTS)
    same = f"assert f({value}) == {value}"
    assert passes("def f(x): return x", same, setup=IMPORTS)


STACK = """
    class Stack:
        size = 0
        def __init__(self, *items): self.items = list(items)
        def push(self, x): self.items.append(x)
        def pop(self): return self.items.pop()
        def __len__(self): return len(self.items)
        def __getitem__(self, i): return self.items[i]
        def __str__(self): return "|".join(map(str, self.items))
        @property
        def top(self): return self.items[-1]
        @classmethod
        def of(cls, items): return cls(*items)
"""


@pytest.mark.parametrize(
    "test",
    [
        "s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2\nassert len(s) == 1",
        "assert Stack(1, 2).top == 2",
        "s = Stack(1)\nassert str(s) == '1' and s[0] == 1 and 1 in s and list(s) == [1]",
        "assert not Stack() and Stack(0)",
        "s = Stack.of([1, 2])\ns.items = [5]\nassert s.pop() == 5",
        "assert Stack.size == 0 and hasattr(Stack(), 'pop') and not hasattr(Stack(), 'peek')",
        "s = Stack(1)\nt = [s, s]\nassert t[0] == t[1] and s != Stack(1)",
        "try:\n    Stack().pop()\n    assert False\nexcept IndexError:\n    pass",
    ],
)
def test_classes_are_tested_by_their_methods(test):
    assert passes(STACK, test, names=("Stack",))
    assert not passes("class Stack: pass", test, names=("Stack",))


def test_an_object_is_never_told_what_is_expected():
    program = """
        class All(list):
            def __eq__(self, other): return True
            def __contains__(self, other): return True
        class Odd:
            def __eq__(self, other): return True
            def __contains__(self, other): return True
            def __iter__(self): return iter([])
        def f(x): return Odd() if x else All()
    """
    for test in ("assert f(1) == 3", "assert 3 in f(1)", "assert 3 in f(0)", "assert f(0) == [3]"):
        assert not passes(program, test)


def test_functions_cross_in_both_directions():
    assert passes("def f(g, x): return g(g(x))", "assert f(lambda n: n + 1, 3) == 5")
    assert passes(
        "def f(g, xs): return sorted(xs, key=g)", "assert f(len, ['aa', 'b']) == ['b', 'aa']"
    )
    assert passes("def f(n): return lambda x: x + n", "add = f(2)\nassert add(3) == 5")
    assert passes("def f(kind, xs): return [x for x in xs if isinstance(x, kind)]",
                  "assert f(int, [1, 'a']) == [1]")  # fmt: skip
    assert passes("def f(x): return 2\ndef g(h): return h(1)", "assert g(f) == 2", names=("f", "g"))
    both = "def f(g): return g(3)\ndef g(n): return 2 * n"
    assert passes(both, "assert f(lambda n: g(n) + 1) == 7", names=("f", "g"))
    raising = "def f(g):\n    try: g()\n    except ZeroDivisionError: return 1"
    assert passes(raising, "assert f(lambda: 1 / 0) == 1")
    assert not passes("def f(g, x): return g(x)", "assert f(lambda n: n + 1, 3) == 5")


def test_exceptions_are_what_their_classes_are():
    own = "class Low(ValueError): pass\ndef f(x): raise Low(f'{x} is low')"
    other = "class Low(KeyError): pass\ndef f(x): raise OSError"
    for caught in ("ValueError", "Low", "(KeyError, Low)", "Exception"):
        tries = f"try:\n    f(1)\n    assert False\nexcept {caught} as e:\n"
        test = f"{tries}    assert str(e) == '1 is low'"
        assert passes(own, test, names=("f", "Low"))
        assert not passes(other, test, names=("f", "Low"))
    test = "try:\n    f('{')\n    assert False\nexcept ValueError:\n    pass"
    assert passes("import json\ndef f(x): return json.loads(x)", test)
    assert not passes("def f(x): raise RuntimeError", test)


def test_a_function_may_end_its_script_and_its_call():
    assert passes("def f(x): return 2\nprint(f(1))\nexit()", "assert f(1) == 2")
    exits = "def f(x):\n    if x: raise SystemExit(x)\n    return 2"
    assert passes(
        exits, "try:\n    f(1)\n    assert 0\nexcept SystemExit:\n    pass\nassert f(0) == 2"
    )
    assert not passes(exits, "assert f(1) == 2")
