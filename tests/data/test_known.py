"""A run that goes on, and the problems that it began with."""

from __future__ import annotations

import pytest

from r1jax.data.curation.streams import CurationFiles
from r1jax.data.problems.known import digest_of, refuse_other_problems
from r1jax.errors import UserError
from r1jax.problem import Problem


def test_a_digest_of_keys_of_several_types():
    mixed, text = ({"a": 1, key: [{key: 2, "b": 3}]} for key in (7, "7"))
    first, second = (digest_of(Problem("p", "?", "1", metadata=m)) for m in (mixed, text))
    assert first == second != digest_of(Problem("p", "?", "1", metadata={"a": 1}))


def test_other_problems_than_it_began_with_are_refused(tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"id": "p"}\n{"id": "q"}\n')
    known = CurationFiles(tmp_path, fresh=False, write=False)
    problems = [Problem(name, "1+1?", "2") for name in "pqr"]
    known.check(problems)
    for other, said in ((problems[::-1], "1: has p, where the data has r now; use the same data"),
                        (problems[:1], "2: has q, where the data has no problem now")):  # fmt: skip
        with pytest.raises(UserError, match=f"prompts.jsonl, line {said}"):
            known.check(other)
    known = [{"id": "p", "problem": digest_of(problems[0])}]
    for other in (Problem("p", "1+1?", "3"), Problem("p", "1+1?", "2", metadata={"tests": [1]})):
        with pytest.raises(UserError, match="line 1: has p, where the data has another answer, gr"):
            refuse_other_problems("rows.jsonl", known, [other])
