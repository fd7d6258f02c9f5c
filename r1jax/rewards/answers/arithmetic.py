"""The value of a formula, and whether two formulas have the same values.

Cheap and decisive where it applies: exact fractions where there are no roots, 40 digits elsewhere,
fixed points for the letters, of both signs.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from r1jax.rewards.answers.formula import Formula, TooLarge, Unreadable

POINTS = 8
"""Two of positive values, one of negative ones, and five where every two of a to z differ once."""

MAX_BITS = 20_000
"""A power with more bits than this has no value here (`TooLarge`)."""


def value(formula: Formula, point: int = 0) -> Any:
    """The value at a fixed point: a Fraction where that is exact, else 40 digits, maybe complex.

    Points 0 and 1 give every letter a positive value, point 2 a negative one, the others to some;
    there no part may leave the reals. Raises Unreadable where there is none, or no finite one:
    \\ln 0.
    """
    try:
        found = _value(formula.tree, point)
        if not isinstance(found, Fraction) and not _context().isfinite(found):
            raise Unreadable("no finite value")
        return found
    except (ZeroDivisionError, OverflowError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(str(error)) from error


def same(gold: Formula, given: Formula) -> bool | None:
    """Whether two formulas have the same values; None where only algebra could tell.

    A decimal in either is a rounding to 6 places (math-verify's default): 0.333333 is 1/3, 0.333
    is not.
    """
    decimal = gold.decimal or given.decimal
    if not gold.names and not given.names:
        return near(value(gold), value(given), decimal)
    if gold.names != given.names and not (gold.names and given.names):
        return near(value(gold), value(given), False) and near(value(gold, 1), value(given, 1))
    if not all(near(value(gold, k), value(given, k), decimal) for k in (0, 1)):
        return False
    return True if all(_agree(gold, given, k, decimal) for k in range(2, POINTS)) else None


def _agree(gold: Formula, given: Formula, point: int, decimal: bool) -> bool:
    """Whether two formulas agree where letters may be negative, or the gold is not real there.

    \\ln x is no \\ln |x|, but \\ln x + \\ln y says \\ln xy.
    """
    wanted, found = real_at(gold, point), real_at(given, point)
    if wanted is None:
        return True
    both_rooted = _has_letters_in("root", gold.tree) and _has_letters_in("root", given.tree)
    if (found is None or both_rooted) and not _has_letters_in("abs", gold.tree, given.tree):
        return True  # under a root letters are taken to be positive
    return found is not None and near(wanted, found, decimal)


def real_at(formula: Formula, point: int) -> Any:
    """The value at a point; None where the letters are negative and a part is not real."""
    try:
        return value(formula, point)
    except TooLarge:
        raise
    except Unreadable:
        if point < 2:
            raise
        return None


def _has_letters_in(kind: str, *trees: Any) -> bool:
    """Whether a root, or bars, stand around letters in one of the trees."""
    nodes = [tree for tree in trees if isinstance(tree, tuple)]
    return any(
        (node[0] == kind and _has_letters_in("name", *node[1:]))
        or node[0] == kind == "name"
        or _has_letters_in(kind, *node[1:])
        for node in nodes
    )


def near(a: Any, b: Any, decimal: bool = False) -> bool:
    """Equal values: exactly for fractions, to 25 digits otherwise, to 6 places for decimals."""
    if a == b:
        return True
    if isinstance(a, Fraction) and isinstance(b, Fraction) and not decimal:
        return False
    whole = isinstance(a, Fraction) and a.denominator == 1
    a, b = number(a), number(b)
    gap, size = abs(a - b), max(abs(a), abs(b))
    if gap <= size * 1e-25 or size < 1e-36:
        return True
    return decimal and bool(gap <= (1e-9 if whole else 5.0000001e-7) and gap <= size * 1e-3)


def number(value: Any) -> Any:
    """A value with 40 digits."""
    if isinstance(value, Fraction):
        return _context().mpf(value.numerator) / value.denominator
    return value


def _value(tree: tuple[Any, ...], point: int) -> Any:
    kind = tree[0]
    if kind == "number":
        return tree[1]
    if kind == "name":
        return _letter_value(tree[1], point)
    if kind == "constant":
        context = _context()
        return {"\\pi": +context.pi, "e": +context.e, "i": context.mpc(0, 1)}[tree[1]]
    if kind == "call":
        base = None if tree[3] is None else _value(tree[3], point)
        found = _called(tree[1], number(_value(tree[2], point)), base)
    else:
        found = _OPERATIONS[kind](*(_value(operand, point) for operand in tree[1:]))
    if point > 1 and kind in _MAY_LEAVE_REALS and _context().im(number(found)):
        raise Unreadable("not real here")
    return found


def _letter_value(name: str, point: int) -> Any:
    seed = zlib.crc32(f"{name}{point}".encode())
    size = 1 + _context().mpf(seed) / 2**31
    negative = point == 2 or (point > 2 and sum(map(ord, name)) >> (point - 3) & 1)
    return -size if negative else size


def _exact(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The operation on two fractions, or on two numbers of 40 digits."""

    def apply(a: Any, b: Any) -> Any:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return operation(a, b)
        return operation(number(a), number(b))

    return apply


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, Fraction) and isinstance(b, Fraction) and b.denominator == 1:
        bits = max(a.numerator.bit_length(), a.denominator.bit_length()) * abs(b.numerator)
        if abs(a) != 1 and bits > MAX_BITS:
            raise TooLarge("a power")
        return a**b.numerator
    if isinstance(b, Fraction) and abs(b.numerator) == 1 and isinstance(a, Fraction):
        root = _root(a, Fraction(b.denominator))
        return root if b > 0 else 1 / root
    a, b = number(a), number(b)
    if abs(b) > 5000:
        raise TooLarge("a power")
    return a**b


def _root(a: Any, degree: Any) -> Any:
    if isinstance(a, Fraction) and degree == 2 and a >= 0:
        above, below = _isqrt(a.numerator), _isqrt(a.denominator)
        if above is not None and below is not None:
            return Fraction(above, below)
    inner, degree = number(a), number(degree)
    context = _context()
    if not context.im(inner) and context.re(inner) < 0 and degree % 2 == 1:
        return -((-inner) ** (1 / degree))
    return context.sqrt(inner) if degree == 2 else inner ** (1 / degree)


def _isqrt(n: int) -> int | None:
    root = math.isqrt(n)
    return root if root * root == n else None


def _factorial(a: Any) -> Any:
    if not isinstance(a, Fraction) or a.denominator != 1 or a < 0:
        raise Unreadable("a factorial of no whole number")
    if a > 1000:
        raise TooLarge("a factorial")
    return Fraction(math.factorial(int(a)))


def _binomial(n: Any, k: Any) -> Any:
    if not all(isinstance(x, Fraction) and x.denominator == 1 and abs(x) <= 1000 for x in (n, k)):
        raise Unreadable("a binomial of no whole numbers")
    if k < 0:
        return Fraction(0)
    counted = math.comb(int(n if n >= 0 else k - n - 1), int(k))
    return Fraction(counted if n >= 0 or k % 2 == 0 else -counted)


def _called(name: str, inner: Any, base: Any) -> Any:
    context = _context()
    if name in ("ln", "log", "lg"):
        # Without a base log is that of 10, as math-verify has it.
        base = Fraction(10) if base is None and name != "ln" else base
        return (
            context.log(inner) if base is None else context.log(inner) / context.log(number(base))
        )
    plain = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}.get(name, name)
    if name == "cis":
        return context.expj(inner)
    if name == "exp" and abs(inner) > 5000:
        raise TooLarge("an exponential")
    return getattr(context, plain)(inner)


_MAY_LEAVE_REALS = frozenset({"call", "pow", "root"})
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "neg": lambda a: -a,
    "add": _exact(lambda a, b: a + b),
    "mul": _exact(lambda a, b: a * b),
    "div": _exact(lambda a, b: a / b),
    "pow": _power,
    "root": _root,
    "abs": abs,
    "degrees": lambda a: number(a) * _context().pi / 180,
    "factorial": _factorial,
    "binom": _binomial,
}


def real(value: Any) -> Any:
    """The real part of a value, with 40 digits."""
    return _context().re(number(value))


@lru_cache(maxsize=1)
def _context() -> Any:
    from mpmath.ctx_mp import MPContext

    context = MPContext()
    context.dps = 40
    return context
