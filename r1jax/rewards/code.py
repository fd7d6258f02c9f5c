"""The code reward: the program in an answer runs against the problem's tests, in a sandbox."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards.base import BaseReward
from r1jax.rewards.fences import program
from r1jax.rewards.sandbox import (
    Calls,
    SandboxConfig,
    Streams,
    Tests,
    Verdict,
    require_isolation,
    run_program,
)

MAX_PROGRAM_CHARACTERS = 1 << 16
"""A longer program is wrong, and is not run."""


@dataclass(frozen=True)
class CodeReward(BaseReward):
    """Reward 1.0 where the program passes all tests, else 0.0; with `share`, the share it passes.

    The program is the last fenced block of the answer, of the text behind the thought, or that text
    itself (`fences.program`). Problems of another grader get None; a completion cut at the token
    limit gets 0.0. DeepSeek-R1, section 2.2.2: a compiler and predefined test cases.
    """

    share: bool = False
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    needs_tokens = False

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises UserError where programs of `problems` could not be isolated."""
        if any(problem.grader == "code" for problem in problems):
            require_isolation(self.sandbox)

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> float | None:
        """The reward of one completion; None for a problem without tests."""
        if problem.grader != "code":
            return None
        if completion.finish_reason == "length":
            return 0.0
        verdict = verdict_on(problem, program(completion.text), self.sandbox, self.share)
        return verdict.share if self.share else float(verdict.right)


code = CodeReward  # as a term of the reward says it


def code_answer(problem: Problem, answer: str, sandbox: SandboxConfig | None = None) -> bool:
    """Passes all tests of the problem; what the grader "code" does."""
    return verdict_on(problem, program(answer), sandbox).right


def verdict_on(
    problem: Problem, text: str, sandbox: SandboxConfig | None = None, share: bool = False
) -> Verdict:
    """The verdict on the program `text`; UserError where the problem has no tests."""
    tests = find_tests(problem)
    if not text.strip() or len(text) > MAX_PROGRAM_CHARACTERS:
        return Verdict(0, 1, "wrong")
    return run_program(readings(problem, text), tests, sandbox, share)


def find_tests(problem: Problem) -> Tests:
    """The tests in a problem's metadata; UserError where there are none.

    HumanEval: `test`, `entry_point` and `prompt`, whose own helpers the tests use rather than the
    program's. MBPP: `test_list` with `test_imports` or `test_setup_code`. Else `tests`: a list of
    {"input": text, "output": text}, with a `tolerance` where numbers may differ by it, absolutely
    or as a share of the expected one.
    """
    data = problem.metadata
    tolerance = _tolerance(problem)
    if "entry_point" in data and "test" in data:
        entry = data["entry_point"]
        return Calls((data["test"],), (entry,), data.get("prompt", problem.question), entry)
    if "test_list" in data:
        setup = "\n".join([*(data.get("test_imports") or ()), data.get("test_setup_code") or ""])
        tests = tuple(data["test_list"])
        names, imports = _called("\n".join(tests), setup, problem.answer)
        return Calls(tests, names, f"{setup}\n{imports}")
    pairs = data.get("tests")
    if isinstance(pairs, Sequence) and pairs:
        texts = tuple((str(pair["input"]), str(pair["output"])) for pair in pairs)
        return Streams(texts, tolerance)
    raise UserError(
        f"problem {problem.id!r}: grader code needs tests: columns test and entry_point "
        "(HumanEval), test_list (MBPP) or tests (a list of input and output)"
    )


def _tolerance(problem: Problem) -> float | None:
    """The metadata's `tolerance`; UserError where it is no small number, or tests are asserts."""
    value = problem.metadata.get("tolerance")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < 1:
        raise UserError(
            f"problem {problem.id!r}: tolerance {value!r}; expected a number above 0 and below 1"
        )
    if "test" in problem.metadata or "test_list" in problem.metadata:
        raise UserError(
            f"problem {problem.id!r}: a tolerance is for tests of input and output; let its "
            "asserts say math.isclose"
        )
    return float(value)


def readings(problem: Problem, text: str) -> list[str]:
    """How a text may be meant, most likely first: as it stands, or as what follows the prompt."""
    data = problem.metadata
    if "entry_point" not in data:
        return [text]
    prompt = data.get("prompt", problem.question).rstrip() + "\n"
    name = re.escape(data["entry_point"])
    if re.search(rf"^[ \t]*(?:async +)?(?:def|class) +{name}\b", text, re.MULTILINE):
        return [f"{prompt}\n{textwrap.dedent(text)}", textwrap.dedent(text)]
    body = text.strip("\n")
    first, _, rest = body.partition("\n")
    indented = f"    {first.strip()}\n{rest}"  # a body whose first line has lost its indentation
    return [prompt + body, prompt + indented, prompt + textwrap.indent(body, "    ")]


@lru_cache(maxsize=4096)
def _called(tests: str, setup: str, reference: str) -> tuple[tuple[str, ...], str]:
    """(functions that tests and setup take from the program, imports that they take for granted).

    Functions are those the reference defines, and unknown ones: a program may define a `sum` of its
    own, and only the reference tells that it must. The reference's imports count as the tests'.
    """
    nodes = ast.walk(ast.parse(f"{setup}\n{tests}"))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    try:
        defined, body = _bound(reference), ast.parse(reference).body
    except SyntaxError:
        defined, body = set(), []
    lines = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom)]
    imports = "\n".join(text for n in lines if _bound(text := ast.unparse(n)) & names)
    known = _bound(f"{setup}\n{imports}\n{tests}") | (set(dir(builtins)) - defined)
    return tuple(sorted(names - known)), imports


def _bound(source: str) -> set[str]:
    """Names that the statements of `source` bind."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names
