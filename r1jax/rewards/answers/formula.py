"""Formulas of numbers, letters and common functions, read from one plain LaTeX spelling.

What this cannot read is `Unreadable`, and left to math-verify.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

MAX_CHARACTERS = 400
MAX_DEPTH = 40

_TOKEN = re.compile(r" *([0-9]+(?:\.[0-9]*)?|\.[0-9]+|\\[A-Za-z]+|\\[{}|]|[^ ])")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh cis ln log lg exp".split()
)
_INVERTED = frozenset({"sin", "cos", "tan"})
_GREEK = frozenset(
    "alpha beta gamma delta epsilon theta lambda mu nu rho sigma tau phi varphi omega ell "
    "Delta Gamma Omega".split()
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ENDS = frozenset({"", ")", "]", "}", "+", "-", "*", "/", "|", "^", "!", "_", ",", "=", "\\}"})


class Unreadable(ValueError):
    """Not a formula of this kind."""


class TooLarge(Unreadable):
    """A formula whose value is beyond any answer."""


@dataclass(frozen=True)
class Formula:
    """A parsed formula: nested tuples, its letters, and whether a decimal stands in it."""

    tree: tuple[Any, ...]
    names: frozenset[str]
    decimal: bool


@lru_cache(maxsize=4096)
def parse(text: str) -> Formula:
    """The formula in `text`, a tidy spelling (`dress.tidy`); raises Unreadable."""
    if len(text) > MAX_CHARACTERS:
        raise Unreadable("too long")
    tokens = _TOKEN.findall(text)
    reader = _Reader(tokens)
    tree = reader.total()
    if reader.at < len(tokens):
        raise Unreadable(f"{tokens[reader.at]} is left over")
    names = frozenset(token for token in reader.names)
    return Formula(tree, names, any("." in token for token in tokens))


def _is_number(text: str) -> bool:
    """Whether a text is digits; ② and ² are some of Unicode's, and of no number."""
    return text.isascii() and text.isdigit()


class _Reader:
    """Recursive descent over tokens; every method returns a tree (operator, operands...)."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0
        self.names: set[str] = set()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise Unreadable(f"{expected or 'a term'} is missing")
        self.at += 1
        return token

    def total(self) -> tuple[Any, ...]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("too deep")
        tree: tuple[Any, ...] | None = None
        while tree is None or self.peek() in ("+", "-"):
            sign = self.take() if self.peek() in ("+", "-") else "+"
            term = self.product()
            term = ("neg", term) if sign == "-" else term
            tree = term if tree is None else ("add", tree, term)
        self.depth -= 1
        return tree

    def product(self, implicit: bool = False) -> tuple[Any, ...]:
        """Factors; `implicit`: only those that stand side by side, the argument of a function."""
        tree, number = self.signed(), _is_number(self.tokens[self.at - 1][-1:])
        while True:
            token = self.peek()
            if token in ("*", "/") and not implicit:
                self.take()
                right = self.signed()
                tree = ("mul" if token == "*" else "div", tree, right)
            elif token in _ENDS or (implicit and token[1:] in _FUNCTIONS):
                return tree
            elif number and _is_number(token[0]):
                raise Unreadable("two numbers side by side")
            else:
                tree = ("mul", tree, self.power())
            number = _is_number(self.tokens[self.at - 1][-1:])

    def signed(self) -> tuple[Any, ...]:
        if self.peek() == "-":
            self.take()
            return ("neg", self.power())
        return self.power()

    def power(self) -> tuple[Any, ...]:
        tree = self.marked()
        if self.peek() == "^":
            self.take()
            if self.peek() == "\\circ":
                self.take()
                return ("degrees", tree)
            return ("pow", tree, self.exponent())
        return tree

    def exponent(self) -> tuple[Any, ...]:
        sign = self.take() if self.peek() == "-" else ""
        tree = self.marked() if self.peek() in ("{", "(") else self.power()
        return ("neg", tree) if sign else tree

    def marked(self) -> tuple[Any, ...]:
        tree = self.atom()
        while self.peek() == "!":
            self.take()
            tree = ("factorial", tree)
        return tree

    def atom(self) -> tuple[Any, ...]:
        token = self.take()
        if _is_number(token[0]) or token[0] == ".":
            return self.literal(token)
        if token in _CLOSING:
            tree = self.total()
            self.take(_CLOSING[token])
            return tree
        if token == "|":
            tree = self.total()
            self.take("|")
            return ("abs", tree)
        if token == "\\frac":
            return ("div", self.group(), self.group())
        if token == "\\sqrt":
            return self.root()
        if token == "\\binom":
            return ("binom", self.group(), self.group())
        if token in ("\\pi", "e", "i"):
            return ("constant", token)
        if token[1:] in _FUNCTIONS:
            return self.function(token[1:])
        if (len(token) == 1 and token.isascii() and token.isalpha()) or token[1:] in _GREEK:
            return self.letter(token)
        raise Unreadable(f"{token} is no term")

    def literal(self, token: str) -> tuple[Any, ...]:
        """A literal; 3\\frac12 is a mixed number."""
        tree = ("number", Fraction(token.rstrip(".") if token[0] != "." else "0" + token))
        if self.peek() == "\\frac" and _is_number(token):
            before = self.at
            self.take()
            above, below = self.group(), self.group()
            if above[0] == below[0] == "number" and self.peek() != "^":
                return ("add", tree, ("div", above, below))
            self.at = before
        return tree

    def group(self) -> tuple[Any, ...]:
        """What a command takes: {...}, or one character."""
        if self.peek() == "{":
            return self.atom()
        token = self.peek()
        if _is_number(token) and len(token) > 1:  # \frac12
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        token = self.take()
        if _is_number(token):
            return ("number", Fraction(token))
        self.at -= 1
        return self.atom()

    def root(self) -> tuple[Any, ...]:
        degree: tuple[Any, ...] = ("number", Fraction(2))
        if self.peek() == "[":
            self.take()
            degree = self.total()
            self.take("]")
        inner = self.atom() if _is_number(self.peek()[:1]) else self.group()
        return ("root", inner, degree)

    def function(self, name: str) -> tuple[Any, ...]:
        base = power = None
        if self.peek() == "_":
            self.take()
            base = self.group()
        if self.peek() == "^":
            self.take()
            power = self.exponent()
        inner = self.marked() if self.peek() in ("(", "{") else self.product(implicit=True)
        if power == ("neg", ("number", Fraction(1))) and name in _INVERTED:
            return ("call", "arc" + name, inner, None)
        tree = ("call", name, inner, base)
        return tree if power is None else ("pow", tree, power)

    def letter(self, token: str) -> tuple[Any, ...]:
        name = token
        if self.peek() == "_":
            self.take()
            start = self.at
            if self.take() == "{":
                while self.take() != "}":
                    pass
            name += "_" + "".join(self.tokens[start : self.at]).strip("{}")
        while self.peek() == "'":
            name += self.take()
        self.names.add(name)
        return ("name", name)
