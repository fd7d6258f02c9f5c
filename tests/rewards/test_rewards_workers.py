"""The workers themselves: signals, replacement, threads, and that they die with the trainer."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, accuracy, per_answer

CONTEXT = RewardContext()


def batch(answers, grader="number"):
    """Problems 0, 1, 2, ... whose gold answers are their numbers, and these answers to them."""
    problems = [Problem(f"p{i}", "?", str(i), grader) for i in range(len(answers))]
    return problems, [Completion.parse(f"<answer>{a}</answer>", (1, 2, i)) for i, a in
                      enumerate(answers)]  # fmt: skip


def room(size):
    """Bytes of address space, which are never touched: filling them is CPU time on some hosts."""
    return np.empty(size, np.uint8)


@pytest.fixture(scope="module")
def pool():
    with RewardPool(workers=2, cpu_seconds=0.3, wall_seconds=1.5, memory_mb=256) as pool:
        yield pool


def test_waiting_is_not_cpu_time(pool):
    def wait(problem, answer):
        time.sleep(0.4)  # over the CPU limit of 0.3 s, under the wall-clock limit of 1.5 s
        return 1.0

    values, counts = pool.map(per_answer(wait), *batch([0, 1]), CONTEXT)
    assert values == [1.0, 1.0]
    assert counts.lost == 0


def test_workers_ignore_ctrl_c_and_block_no_signal(pool):
    def signals(problem, answer):
        os.kill(os.getpid(), signal.SIGINT)
        ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        default = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        return float(ignored and default and not signal.pthread_sigmask(signal.SIG_BLOCK, []))

    assert pool.map(per_answer(signals), *batch([0]), CONTEXT)[0] == [1.0]


def test_a_signal_mask_of_the_trainer_is_not_inherited():
    old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGALRM])
    try:
        with RewardPool(workers=1) as blocked:

            def mask(problem, answer):
                return float(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))

            assert blocked.map(per_answer(mask), *batch([0]), CONTEXT)[0] == [0.0]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def test_it_works_from_several_threads_at_once(pool):
    found = {}

    def judge(k):
        found[k] = pool.map(accuracy(), *batch([i + (i % k == 0) for i in range(50)]), CONTEXT)[0]

    threads = [threading.Thread(target=judge, args=(k,)) for k in (2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: [float(i % k > 0) for i in range(50)] for k in (2, 3, 5)}


def test_workers_are_replaced_after_max_tasks():
    def pid(problem, answer):
        return float(os.getpid())

    with RewardPool(workers=1, max_tasks=4) as pool:
        values, _ = pool.map(per_answer(pid), *batch(range(8)), CONTEXT)  # chunks of 2
    assert len(set(values)) == 2
    assert values[:4] == [values[0]] * 4


def test_a_killed_forking_process_is_replaced():
    with RewardPool(workers=1) as pool:
        assert pool.map(accuracy(), *batch([0]), CONTEXT)[0] == [1.0]
        os.kill(pool._launcher._process.pid, signal.SIGKILL)
        pool._launcher._process.wait()
        assert pool.map(accuracy(), *batch([0, 5, 2]), CONTEXT)[0] == [1.0, 0.0, 1.0]


def test_a_forking_process_that_starts_anew_has_the_modules_of_the_one_before():
    def imported(problem, answer):
        return float("tabnanny" in sys.modules)

    with RewardPool(workers=1) as pool:
        assert pool.map(per_answer(imported), *batch([0]), CONTEXT)[0] == [0.0]
        assert pool._launcher.ready(modules={"tabnanny"}) == {"tabnanny"}
        os.kill(pool._launcher._process.pid, signal.SIGKILL)
        pool._launcher._process.wait()
        assert pool.map(per_answer(imported), *batch([0]), CONTEXT)[0] == [1.0]
        assert pool._launcher.ready({"number"}, {"tabnanny"}) == set()


@pytest.mark.parametrize("line", ["1 / 0", "raise SystemExit", "import os; os._exit(3)"])
def test_a_module_that_cannot_be_imported_ends_no_later_worker(tmp_path, monkeypatch, line):
    (tmp_path / "broken_tokens.py").write_text(f"{line}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with RewardPool(workers=1) as pool:
        pool._launcher.ready(modules={"broken_tokens"})
        for _ in range(2):
            assert pool.map(accuracy(), *batch([0]), CONTEXT)[0] == [1.0]
            pool._launcher._process.kill()
            pool._launcher._process.wait()


def test_reasoning_gym_is_judged_in_workers(pool):
    import reasoning_gym

    entry = reasoning_gym.create_dataset("chain_sum", size=1, seed=1)[0]
    problem = Problem(
        "g", "?", entry["answer"], "reasoning_gym", {"dataset": "chain_sum", "entry": entry}
    )
    completions = [Completion.parse(f"<answer>{a}</answer>") for a in (entry["answer"], "x")]
    values, counts = pool.map(accuracy(), [problem] * 2, completions, CONTEXT)
    assert values == [1.0, 0.0]
    assert counts.lost == 0


ORPHAN = """
import os, sys, time
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, per_answer
@per_answer
def tell(problem, answer):
    print(os.getpid(), os.getppid(), flush=True)
    while answer == "loop": pass
    return 1.0
pool = RewardPool(workers=1, cpu_seconds=60, wall_seconds=60)
completions = [Completion.parse("<answer>loop</answer>")]
pool.map(tell, [Problem("p", "?", "")], completions, RewardContext())
"""


def test_workers_die_with_a_killed_trainer():
    trainer = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in trainer.stdout.readline().split()]
    assert len(pids) == 2 and all(psutil.pid_exists(pid) for pid in pids)
    trainer.kill()
    trainer.communicate()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(map(alive, pids)):
        time.sleep(0.05)
    assert not any(map(alive, pids))


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_closing_ends_every_process():
    pool = RewardPool(workers=2)
    pool.map(accuracy(), *batch(range(64)), CONTEXT)
    pids = [pool._launcher._process.pid, *(worker.pid for worker in pool._team)]
    pool.close()
    assert len(pids) == 3
    assert not any(map(alive, pids))
    with pytest.raises(RuntimeError, match="closed"):
        pool.map(accuracy(), *batch([0]), CONTEXT)


def test_a_worker_that_ran_out_of_memory_is_replaced(pool):
    """What it holds would cost every later answer that needs memory."""
    held = []

    def hungry(problem, answer):
        if answer == "5":
            while True:
                held.append(room(1 << 22))
        return float(len(room(100 << 20)) > 0)

    values, counts = pool.map(per_answer(hungry), *batch(range(100)), CONTEXT)
    assert values == [float(i != 5) for i in range(100)]
    assert (counts.memory, counts.lost) == (1, 1)


def test_a_worker_that_has_filled_up_unnoticed_is_replaced(pool):
    held = []

    def caught(problem, answer):
        try:
            while answer == "0":
                held.append(room(1 << 22))
        except MemoryError:
            return 0.5
        return float(len(room(100 << 20)) > 0)

    assert pool.map(per_answer(caught), *batch([0]), CONTEXT)[0] == [0.5]
    assert pool.map(per_answer(caught), *batch(range(1, 9)), CONTEXT)[0] == [1.0] * 8


def test_a_reward_that_forks_returns_once(pool, tmp_path):
    def twice(problems, completions, context):
        if os.fork() == 0:
            (tmp_path / "child").touch()
            return [0.0] * len(completions)
        os.wait()
        return [1.0] * len(completions)

    for _ in range(3):
        values, counts = pool.map(twice, *batch(range(6)), CONTEXT)
        assert values == [1.0] * 6 and counts.lost == 0
    assert (tmp_path / "child").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
@pytest.mark.parametrize("way", ["returns", "dies", "loops", "pool closes"])
def test_nothing_that_a_reward_starts_outlives_its_worker(way, tmp_path):
    """Not in a session of its own, nor as an orphan of an orphan."""
    mark = tmp_path / "pids"

    def starts(problem, answer):
        script = "setsid sleep 600 & echo $! ; setsid setsid sleep 600 & echo $!"
        shell = ["setsid", "sh", "-c", f"{{ {script} ; }} >> {mark}; sleep 600"]
        subprocess.Popen(shell, stdin=subprocess.DEVNULL)
        while not (mark.exists() and len(mark.read_text().split()) >= 2):
            time.sleep(0.01)
        if way == "dies":
            os._exit(1)
        while way == "loops":
            pass
        return 1.0

    tasks = 1 if way == "returns" else 100
    with RewardPool(workers=1, cpu_seconds=0.5, max_tasks=tasks) as pool:
        pool.map(per_answer(starts), *batch([0]), CONTEXT)
        pids = [int(pid) for pid in mark.read_text().split()]
        assert len(pids) == 2
        if way != "pool closes":
            assert pool.map(accuracy(), *batch([0]), CONTEXT)[0] == [1.0]
            assert wait_for_end(pids)
    assert wait_for_end(pids)


def wait_for_end(pids):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(map(alive, pids)):
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_no_reward_changes_another(pool):
    def patches(problem, answer):
        import math

        import r1jax.rewards.workers.worker as worker
        from r1jax.rewards.answers import graders

        worker.run_unit = lambda *a: ([(1, 99.0)], "")
        graders.grade = math.sqrt = lambda *a: 99.0
        return 1.0

    def root(problem, answer):
        import math

        return math.sqrt(float(answer))

    pool.map(per_answer(patches), *batch(range(8)), CONTEXT)
    assert pool.map(per_answer(root), *batch([0, 4, 9]), CONTEXT)[0] == [0.0, 2.0, 3.0]
    assert pool.map(accuracy(), *batch([0, 5]), CONTEXT)[0] == [1.0, 0.0]


def test_workers_of_a_few_rewards_are_kept():
    def pid(k):
        return per_answer(lambda problem, answer: float(os.getpid() + 0 * k))

    rewards = [pid(k) for k in range(5)]
    with RewardPool(workers=1) as pool:
        first = [pool.map(reward, *batch([0]), CONTEXT)[0] for reward in rewards[:4]]
        again = [pool.map(reward, *batch([0]), CONTEXT)[0] for reward in rewards[:4]]
        assert first == again and len({value for (value,) in first}) == 4
        pool.map(rewards[4], *batch([0]), CONTEXT)  # the longest unused has to go
        assert len(pool._team) == 4
        assert pool.map(rewards[3], *batch([0]), CONTEXT)[0] == first[3]
        assert pool.map(rewards[0], *batch([0]), CONTEXT)[0] != first[0]
