"""The pool: order, groups, what is sent to workers, and who pays for a violation."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, accuracy, per_answer, per_completion
from r1jax.rewards.workers.launch import Worker
from r1jax.rewards.workers.schedule import Unit, chunks, split

CONTEXT = RewardContext()


def batch(answers, grader="number"):
    """Problems 0, 1, 2, ... whose gold answers are their numbers, and these answers to them."""
    problems = [Problem(f"p{i}", "?", str(i), grader) for i in range(len(answers))]
    return problems, [Completion.parse(f"<answer>{a}</answer>", (1, 2, i)) for i, a in
                      enumerate(answers)]  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    with RewardPool(workers=2, cpu_seconds=0.3, wall_seconds=1.5, memory_mb=256) as pool:
        yield pool


def test_thousands_of_cheap_answers_travel_in_few_messages(pool, monkeypatch):
    """What makes them quick; `experiments.bench_step` measures the seconds."""
    problems, completions = batch([i if i % 3 else -1 for i in range(4096)])
    pool.map(accuracy(), problems[:8], completions[:8], CONTEXT)
    sent, send = [], Worker.send
    monkeypatch.setattr(Worker, "send", lambda worker, *m: (sent.append(m), send(worker, *m))[1])
    values, counts = pool.map(accuracy(), problems, completions, CONTEXT)
    assert values == [float(i % 3 > 0) for i in range(4096)]
    assert counts.lost == 0
    assert len(sent) <= 4096 / 32


def test_the_pool_starts_without_waiting():
    start = time.monotonic()
    with RewardPool(workers=1):
        assert time.monotonic() - start < 0.3


def test_jax_is_absent_from_a_worker_though_it_is_here(pool):
    import jax  # noqa: F401

    def sees_jax(problem, answer):
        return float("jax" in sys.modules)

    assert "jax" in sys.modules
    assert pool.map(per_answer(sees_jax), *batch([1, 2]), CONTEXT)[0] == [0.0, 0.0]


MAIN = """
import sys, jax
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, per_answer
SCALE = 3.0
def helper(x): return SCALE * x
@per_answer
def mine(problem, answer): return helper(float(answer)) + 100 * ("jax" in sys.modules)
if __name__ == "__main__":
    with RewardPool(workers=1) as pool:
        completions = [Completion.parse("<answer>2</answer>")]
        values, counts = pool.map(mine, [Problem("p", "?", "")], completions, RewardContext())
        print(values, counts.first_error)
"""


def test_a_function_of_the_main_module_goes_by_value(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(MAIN)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[6.0]", done.stderr


def test_a_module_that_imports_jax_does_not_bring_it_along(pool, tmp_path, monkeypatch):
    (tmp_path / "jaxy_reward.py").write_text(
        "import sys\nimport jax\nFACTOR = 2.0\n"
        "def f(problem, completion): return FACTOR + ('jax' in sys.modules)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import jaxy_reward

    values, _ = pool.map(per_completion(jaxy_reward.f), *batch([1]), CONTEXT)
    assert values == [2.0]


def test_what_cannot_be_sent_is_one_clear_error(pool):
    lock = threading.Lock()
    with pytest.raises(UserError, match="reward held cannot be sent to a worker"):

        def held(problem, answer):
            return float(lock.locked())

        pool.map(per_answer(held), *batch([1]), CONTEXT)


def test_what_cannot_be_loaded_is_one_clear_error(pool):
    class Fragile:
        per_item = True

        def __reduce__(self):
            return exec, ("raise ImportError('no such thing there')",)

        def __call__(self, problems, completions, context):
            return [1.0]

    with pytest.raises(UserError, match="cannot be loaded in a worker: ImportError: no such thing"):
        pool.map(Fragile(), *batch([1]), CONTEXT)
    assert pool.map(accuracy(), *batch([0]), CONTEXT)[0] == [1.0]


def test_whole_list_rewards_see_their_group_in_one_call(pool):
    def rank(problems, completions, context):
        if len({p.id for p in problems}) != 1 or context.step != 7 or len(context.group_ids) != 3:
            raise ValueError("not one group")
        lengths = [len(c.token_ids) for c in completions]
        return [float(sorted(lengths).index(n)) for n in lengths]

    order = [0, 1, 0, 2, 1, 2, 0, 1, 2]
    problems = [Problem(f"p{g}", "?", "") for g in order]
    completions = [Completion.parse("x", range(n)) for n in (5, 9, 3, 1, 8, 2, 4, 7, 3)]
    context = RewardContext(step=7, group_ids=tuple(order))
    values, counts = pool.map(rank, problems, completions, context)
    assert counts.first_error == ""
    assert values == [2.0, 2.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 2.0]


def test_a_violation_costs_a_group_its_term_and_no_other_group(pool):
    def group(problems, completions, context):
        while "loop" in completions[0].text:
            pass
        return [None] + [1.0] * (len(completions) - 1)

    context = RewardContext(group_ids=(0, 0, 1, 1, 2, 2))
    values, counts = pool.map(group, *batch(["a", "b", "loop", "d", "e", "f"]), context)
    assert values == [None, 1.0, 0.0, 0.0, None, 1.0]
    assert counts.cpu == 2


def test_the_tokenizer_reaches_whole_list_rewards(pool):
    def vocabulary(problems, completions, context):
        return [float(context.tokenizer["a"] + context.step)] * len(completions)

    context = RewardContext(step=1, tokenizer={"a": 4})
    assert pool.map(vocabulary, *batch([1, 2]), context)[0] == [5.0, 5.0]


def test_wrong_lengths_name_the_reward(pool):
    def short(problems, completions, context):
        return [1.0]

    with pytest.raises(UserError, match="reward short returned 1 values for 2 completions"):
        pool.map(short, *batch([1, 2]), RewardContext(group_ids=(0, 0)))


def test_an_unknown_grader_is_an_error_not_a_zero(pool):
    with pytest.raises(UserError, match="grader 'maths' is unknown"):
        pool.map(accuracy(), *batch([1], grader="maths"), CONTEXT)


def test_the_first_error_is_that_of_the_first_answer(pool):
    def fail(problem, answer):
        time.sleep(0.1 if answer == "3" else 0.0)
        if int(answer) >= 3:
            raise ValueError(f"bad {answer}")
        return 1.0

    values, counts = pool.map(per_answer(fail), *batch(range(12)), CONTEXT)
    assert values == [1.0] * 3 + [0.0] * 9
    assert (counts.errors, counts.first_error) == (9, "ValueError: bad 3")


def test_a_violation_in_a_chunk_leaves_what_came_before_and_after(pool):
    def one_bad(problem, answer):
        if answer == "100":
            os._exit(3)
        return float(answer)

    values, counts = pool.map(per_answer(one_bad), *batch(range(1000)), CONTEXT)
    assert values == [0.0 if i == 100 else float(i) for i in range(1000)]
    assert (counts.died, counts.lost) == (1, 1)


def test_a_sleeper_gets_a_second_chance_in_a_fresh_worker(pool, tmp_path):
    mark = tmp_path / "tried"

    def slow_once(problem, answer):
        if answer == "1" and not mark.exists():
            mark.touch()
            time.sleep(30)
        return 1.0

    values, counts = pool.map(per_answer(slow_once), *batch([0, 1, 2]), CONTEXT)
    assert values == [1.0, 1.0, 1.0]
    assert (counts.retried, counts.wall) == (1, 0)


def test_an_empty_batch_is_empty(pool):
    assert pool.map(accuracy(), [], [], CONTEXT)[0] == []


@pytest.mark.parametrize("option", ["workers", "cpu_seconds", "memory_mb", "max_tasks"])
def test_senseless_limits_are_refused(option):
    with pytest.raises(UserError, match="the limits above 0"):
        RewardPool(**{option: -1})


def test_units_keep_groups_and_order():
    problems = [Problem(i, "?", "") for i in "abab"]
    assert split(problems, CONTEXT, per_item=True) == [Unit((i,)) for i in range(4)]
    assert split(problems, CONTEXT, per_item=False) == [Unit((0, 2)), Unit((1, 3))]
    grouped = RewardContext(group_ids=(5, 5, 1, 5))
    assert split(problems, grouped, per_item=False) == [Unit((0, 1, 3)), Unit((2,))]


@pytest.mark.parametrize("n", [0, 1, 7, 100, 5000])
def test_chunks_cover_every_unit_once(n):
    units = [Unit((i,)) for i in range(n)]
    portions = chunks(units, workers=3)
    assert [unit for chunk in portions for unit in chunk] == units
    assert max((len(chunk) for chunk in portions), default=0) <= 256


def test_numpy_numbers_are_numbers(pool):
    def numpy_reward(problems, completions, context):
        return np.linspace(0.0, 1.0, len(completions))

    context = RewardContext(group_ids=(0, 0, 0))
    assert pool.map(numpy_reward, *batch([0, 1, 2]), context)[0] == [0.0, 0.5, 1.0]
