"""Rewards written for TRL and verl, as those call them, told apart by their parameters."""

import sys
import types

import pytest

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, load_reward, named_reward
from r1jax.rewards.dialects import TRLReward, VerlReward, dialect
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.reward import RewardConfig

SOURCE = '''
import re

def trl_lengths(prompts, completions, **kwargs):
    return [float(len(p) + len(c)) for p, c in zip(prompts, completions)]

def trl_match(completions, solution, level, **kwargs):
    """Columns arrive as lists; None leaves a completion out."""
    rows = zip(completions, solution, level)
    return [None if easy == "easy" else float(c == s) for c, s, easy in rows]

def trl_chat(prompts, completions, answer, **kwargs):
    """TRL's documentation: conversational data are lists of messages."""
    assert [p[-1]["role"] for p in prompts] == ["user"] * len(prompts)
    return [float(a in c[0]["content"]) for c, a in zip(completions, answer)]

def trl_all(completions, completion_ids, trainer_state, **kwargs):
    assert set(kwargs) == {"prompts", "question", "answer", "solution", "ground_truth", "level"}
    return [10.0 * trainer_state.global_step + len(ids) for ids in completion_ids]

def trl_scaled(completions, scale=2, **kwargs):
    return [scale * 1.0 for _ in completions]

def trl_few(completions, **kwargs):
    return [1.0]

async def trl_async(completions, **kwargs):
    return [0.25 for _ in completions]

def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert data_source == "gsm8k" and extra_info["level"] == "hard"
    return float(solution_str.endswith(ground_truth))

def with_dict(data_source, solution_str, ground_truth, extra_info=None, bonus: float = 0.0):
    return {"score": (solution_str == ground_truth) + bonus, "acc": True}

def without_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"acc": True}

def ours(problems, completions, context):
    return [float(len(p.answer)) for p in problems]
'''
PROBLEMS = [
    Problem("a", "What?", "42", metadata={"level": "hard", "data_source": "gsm8k"}),
    Problem("b", "Why?", "yes", metadata={"level": "easy", "data_source": "gsm8k"}),
]
COMPLETIONS = [Completion.parse("42", (1, 2, 3)), Completion.parse("no", (4,))]


@pytest.fixture(autouse=True, scope="module")
def foreign():
    module = types.ModuleType("foreign_rewards")
    exec(compile(SOURCE, "foreign_rewards", "exec"), module.__dict__)
    sys.modules["foreign_rewards"] = module
    yield module
    del sys.modules["foreign_rewards"]


def judged(name, chat=False, problems=PROBLEMS, completions=COMPLETIONS):
    reward = load_reward(f"foreign_rewards:{name}", chat)
    return RewardPool(workers=0).map(reward, problems, completions, RewardContext(step=3))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("trl_lengths", [7, 6]),
        ("trl_match", [1, None]),
        ("trl_scaled", [2, 2]),
        ("trl_scaled?scale=5", [5, 5]),
        ("trl_async", [0.25, 0.25]),
        ("with_dict", [1, 0]),
        ("with_dict?bonus=0.5", [1.5, 0.5]),
        ("ours", [2, 3]),
    ],
)
def test_a_function_is_called_as_where_it_was_written(name, expected):
    values, counts = judged(name)
    assert values == expected and counts.lost == 0


def test_trl_sees_messages_where_the_prompts_are_chats():
    assert judged("trl_chat", chat=True)[0] == [1, 0]
    values, counts = judged("trl_chat")
    assert counts.errors == 2 and "TypeError" in counts.first_error


def test_trl_gets_ids_the_step_and_every_column_but_its_own():
    problems = [Problem("a", "What?", "42", metadata={"level": "hard", "prompt": "taken"})] * 2
    values, counts = judged("trl_all", problems=problems)
    assert counts.first_error == "" and values == [33, 31]


def test_verl_gets_its_columns_and_the_ground_truth_of_its_files():
    assert judged("compute_score", problems=PROBLEMS[:1] * 2)[0] == [1, 0]
    nested = {"reward_model": {"style": "rule", "ground_truth": "no"}, "level": "hard"}
    problem = Problem("c", "q", "42", metadata=nested | {"data_source": "gsm8k"})
    assert judged("compute_score", problems=[problem] * 2)[0] == [0, 1]


@pytest.mark.parametrize(
    "name, line",
    [
        ("trl_match", "reward trl_match: asks for level, and problem 'c' has no such column; it"),
        ("trl_few", "returned 1 values for 2 completions"),
        ("trl_scaled?other=1", "no option other; trl_scaled has scale"),
        ("trl_scaled?scale=x", "scale=x; expected a whole number"),
        ("trl_lengths?prompts=x", "no option prompts; trl_lengths has none"),
        ("compute_score?extra_info=x", "no option extra_info; compute_score has none"),
    ],
)
def test_what_cannot_be_called_is_one_line(name, line):
    with pytest.raises(UserError, match=line.replace("(", r"\(")) as raised:
        judged(name, problems=[Problem("c", "q", "1")] * 2)
    assert "\n" not in str(raised.value)


def test_a_score_that_holds_none_is_counted_and_said():
    values, counts = judged("without_score")
    assert counts.errors == 2 and "compute_score returned acc; expected a number" in (
        counts.first_error
    )


def test_the_flag_takes_them_and_tells_whether_prompts_are_chats(foreign):
    name, reward, weight = named_reward("foreign_rewards:compute_score=0.5")
    assert (name, weight) == ("compute_score", 0.5)
    config = RewardConfig(user=("foreign_rewards:trl_chat=0.2", "foreign_rewards:with_dict"))
    terms = make_terms(config, 8, 0, chat=True)[-2:]
    assert [type(term.reward) for term in terms] == [TRLReward, VerlReward]
    assert terms[0].reward.chat and not make_terms(config, 8, 0)[-2].reward.chat
    assert dialect(foreign.ours) is None and dialect(len) is None


def test_they_run_in_a_worker_too():
    with RewardPool(workers=1) as pool:
        for name in ("trl_match", "with_dict"):
            reward = load_reward(f"foreign_rewards:{name}")
            values, counts = pool.map(reward, PROBLEMS, COMPLETIONS, RewardContext())
            assert counts.lost == 0 and values[0] == 1
