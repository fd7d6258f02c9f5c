"""Tests with each `assert` counted, and those found that no run may miss."""

from __future__ import annotations

import ast
import itertools
from typing import Any

CASE = "__case__"
"""Name of what a test calls around an `assert`, with its number."""

_number = itertools.count()


class Counted(ast.NodeTransformer):
    """The code of a test whose asserts are contexts of their own.

    `required` are the numbers of those that must have run: a loop over nothing tests nothing. Those
    in a branch, beside an exception that is expected, or in a helper may stay unseen. One in a
    `try` that catches AssertionError by name is left alone: where it fails, another decides.
    """

    def __init__(self, text: str, entry: str) -> None:
        self.asserts, self.required = 0, set[int]()
        self._main = "check" if entry else ""
        self._perhaps = False
        self.caught: set[str] = set()  # names of what it expects to be raised
        tree = ast.parse(text)
        self.asserts = sum(isinstance(node, ast.Assert) for node in ast.walk(tree))
        tree = ast.fix_missing_locations(self.visit(tree))
        self.code = compile(tree, "<tests>", "exec", dont_inherit=True)

    def visit_Assert(self, node: ast.Assert) -> ast.With:
        number = next(_number)
        if not self._perhaps:
            self.required.add(number)
        case = ast.Call(ast.Name(CASE, ast.Load()), [ast.Constant(number)], [])
        return ast.With([ast.withitem(case)], [node])

    def visit_If(self, node: Any) -> Any:
        before, self._perhaps = self._perhaps, True
        node = self.generic_visit(node)
        self._perhaps = before
        return node

    visit_Match = visit_ClassDef = visit_AsyncFunctionDef = visit_If

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        return self.generic_visit(node) if node.name == self._main else self.visit_If(node)

    def visit_Try(self, node: Any) -> Any:
        nodes = [n for handler in node.handlers if handler.type for n in ast.walk(handler.type)]
        names = {n.id for n in nodes if isinstance(n, ast.Name)}
        self.caught |= names
        body = node.body
        if "AssertionError" in names:
            node.body = []
        node = self.visit_If(node) if node.handlers else self.generic_visit(node)
        node.body = node.body or body
        return node

    visit_TryStar = visit_Try
