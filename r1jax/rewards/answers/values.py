"""What kind of thing an answer is: a number with its unit, a list, a set, an interval, an equation.

Reads a short text (the answer alone, no sentence) by its outermost signs; what stands inside is
read again when it is compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from r1jax.rewards.answers.brackets import BRACKET, CLOSE, OPEN, insides, split
from r1jax.rewards.answers.dress import tidy, without_columns, without_thousands
from r1jax.rewards.answers.quantified import built, unquantified, without_points
from r1jax.rewards.answers.units import split_unit

ValueKind = Literal["leaf", "words", "list", "set", "span", "union", "relation", "base", "integers"]

MAX_ITEMS = 64

_RELATIONS = re.compile(r"\\(?:le|ge|ne|approx|equiv|in|sim|to)(?![A-Za-z])|(?<![\\:])[=<>]")
_AND = re.compile(
    r"(?:, ?)?(?:\\text ?\{ ?(?:and|or|及|和|或|且) ?\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])"
    r"|或者|或|和|及|以及|并?且)"
)
_PLUS_MINUS = re.compile(r"\\([pm])[pm](?![A-Za-z])")
_CUP = re.compile(r"\\cup(?![A-Za-z])|(?<=[\])]) ?U ?(?=[\[(])")
_BASE = re.compile(
    r"\(?(?:\\text ?\{)?([0-9A-Fa-f]{1,40})\}?\)?"
    r"(?:_\{? ?\(?(?:\\text ?\{)?([a-z]+|[0-9]{1,2})\)?\}{0,2}"
    r"|,? \(?(?:in )?base[- ]([a-z]+|[0-9]{1,2})\)?)"
)
_TRANSPOSED = re.compile(r"(\([^()]{1,200},[^()]{1,200}\)) ?\^ ?\{? ?(?:T|\\top) ?\}?")
_FACTOR = re.compile(
    r"(-?(?:[0-9.]{1,20}|[0-9]{0,9}\\frac ?\{?[0-9]{1,9}\}? ?\{?[0-9]{1,9}\}?)?) ?\*? ?"
    r"(?=\\begin\{[pb]matrix\}|\()(?<=[-0-9}* ])"
)
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "sixteen": 16,
}  # fmt: skip
_TEXT = re.compile(r"\\text ?\{([^{}]*)\}")
_PROSE = re.compile(r"[^\W\d_]{2,}|[\u4e00-\u9fff①-⑳]")
_NUMBER_AS_TEXT = re.compile(r"\\text ?\{([-+0-9.,:/ ]{1,60})\}")
_EMPTY = re.compile(
    r"(?:\\text ?\{ ?)?(?:(?:[Tt]he|[Tt]his) (?:(?:equation|system|inequality|problem) has )?"
    r"|[Tt]here(?: is| are|['’]s) |It has )?"
    r"(?:[Ee]mpty [Ss]et|[Nn]ull [Ss]et|空集|[Nn]o (?:real )?[Ss]olutions?(?: exists?)?"
    r"|(?:[原此该]?(?:方程|不等式)组?|此题)?(?:无|没有)(?:实数)?[解根]) ?\}?(?: ?\\emptyset)?"
)
_DATE = re.compile(
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.? ?[0-9]{1,2}(?:, ?[0-9]{4})?"
)
_REALS = re.compile(
    r"\\mathbb ?\{? ?R ?\}?|\\R|(?:\\text ?\{ ?)?(?:[Aa]ll )?(?:[Tt]he )?real(?: number)?s ?\}?"
    r"|(?:全体|任意|一切)实数"
)
_GROUPS = {("(", ")"), ("[", "]"), ("{", "}")}
_NOT_WORDS = frozenset("pi sqrt sin cos tan ln log exp".split())


@dataclass(frozen=True)
class Value:
    """An answer by its outermost form.

    `text` is its tidy spelling; `items` the members of a list, set, span, union or relation;
    `signs` the two brackets of a span, the signs between the members of a relation, or the one
    word, "and" or "or", that joins a list.
    """

    kind: ValueKind
    text: str
    items: tuple[Value, ...] = ()
    signs: tuple[str, ...] = ()
    unit: str = ""


@lru_cache(maxsize=4096)
def read(text: str) -> Value:
    """The value that `text` states; never raises, a form that is not known is a leaf."""
    return read_tidy(bare(unquantified(bare(tidy(text)))))


@lru_cache(maxsize=4096)
def is_words(text: str) -> bool:
    """Whether `text` is words and nothing else."""
    return read(text).kind == "words"


def bare(text: str) -> str:
    """Tidy text without dollar signs, outer spaces, full stops and brackets that hold nothing."""
    text = text.replace("$", " ").replace("\\(", " ").replace("\\)", " ")
    if "\\]" in text:
        text = text.replace("\\[", " ").replace("\\]", " ")
    text = " ".join(text.split()).strip(' ;:,?"、').rstrip(" .")
    return text.strip("'") if text.startswith("'") else text


def read_tidy(text: str, depth: int = 0) -> Value:
    """`read` of a text that is tidy already."""
    whole = without_columns(without_thousands(text))
    if depth > 6:
        return Value("leaf", whole)
    for form in _FORMS:
        found = form(whole, depth)
        if found is not None:
            return found
    core, unit = split_unit(whole)
    if core and core != whole:
        inner = read_tidy(core, depth + 1)
        return Value(inner.kind, inner.text, inner.items, inner.signs, inner.unit or unit)
    return Value("leaf", whole)


def grouped(text: str) -> Value | None:
    """`1,234` read as a list, where `read` takes it for one number."""
    text = bare(tidy(text))
    parts = split(text, ",")
    if without_thousands(text) == text or not 1 < len(parts) <= MAX_ITEMS:
        return None
    return Value("list", text, tuple(read_tidy(part) for part in parts))


def _known(text: str, depth: int) -> Value | None:
    """The empty set, the real line, and a number that is set as text."""
    if (marked := _NUMBER_AS_TEXT.fullmatch(text)) is not None:
        return read_tidy(marked.group(1).strip(), depth + 1)
    if re.fullmatch(r"\\emptyset|\\?\{ ?\\?\}", text) or _EMPTY.fullmatch(text):
        return Value("set", "\\{\\}")
    if re.fullmatch(r"\\?\{ ?\\emptyset ?\\?\}", text):
        return Value("set", "\\{\\emptyset\\}", (Value("set", "\\{\\}"),))
    if punctured := without_points(text):
        return read_tidy(punctured, depth + 1)
    if _REALS.fullmatch(text):
        return read_tidy("(-\\infty,\\infty)", depth)
    return None


def _base(text: str, depth: int) -> Value | None:
    match = _BASE.fullmatch(text)
    if match is None:
        return None
    digits, base = match.group(1), match.group(2) or match.group(3)
    number = int(base) if base.isdigit() else _BASES.get(base)
    if number == 10:
        return read_tidy(digits, depth + 1)
    word = digits[0].isalpha() and (len(digits) < 2 or not digits.isupper() and number != 16)
    if number is None or not 2 <= number <= 36 or word:
        return None
    return Value("base", f"{digits.upper()}_{number}", signs=(str(number),))


def _words(text: str, depth: int) -> Value | None:
    """Words and nothing else: Tuesday, \\text{no solution}, (B)."""
    opened = _TEXT.sub(r" \1 ", text)
    if opened == text and not _PROSE.search(text):
        return None
    if _DATE.fullmatch(opened.strip()):
        return Value("words", plain_words(opened))
    if re.search(r"[0-9=<>^_{}\\+*|]", opened) or not re.search(r"[^\W\d_]", opened):
        return None
    words = _PROSE.findall(opened)
    if words and all(word.lower() in _NOT_WORDS for word in words):
        return None
    if opened == text and len(split(text, ",")) > 1 and all(len(word) == 1 for word in words):
        return None
    return Value("words", plain_words(opened))


def plain_words(text: str) -> str:
    """Words in lower case, without brackets and punctuation around or between them."""
    return " ".join(re.sub(r"[^\w'/&%+-]+", " ", _TEXT.sub(r" \1 ", text)).lower().split())


def _list(text: str, depth: int) -> Value | None:
    parts = [text]
    for separator in (_AND, ";", ","):
        parts = [piece for part in parts for piece in split(part, separator)]
    parts = [part.strip(" .") for part in parts]
    kept = [part for part in parts if part]
    if len(parts) < 2 or not 1 <= len(kept) <= MAX_ITEMS:
        return None
    items = [read_tidy(part, depth + 1) for part in kept]
    return Value("list", text, _flat(items), _joiner(text))


def _joiner(text: str) -> tuple[str, ...]:
    """The one word between members, "and" or "or"; none where commas or both stand there."""
    if not re.search("[,;]|and|和|及|且", text):
        return ("or",)
    return () if re.search(r"[,;]|(?<![A-Za-z])or(?![A-Za-z])|或", text) else ("and",)


def _flat(items: list[Value]) -> tuple[Value, ...]:
    """Members, where one that is a list itself (0, \\pm 1) gives its own."""
    return tuple(m for item in items for m in (item.items if item.kind == "list" else (item,)))


def _both(text: str, depth: int) -> Value | None:
    """a \\pm b as the two values that it stands for."""
    if not _PLUS_MINUS.search(text) or (text.startswith("\\{") and text.endswith("\\}")):
        return None
    upper = _PLUS_MINUS.sub(lambda m: "+" if m.group(1) == "p" else "-", text)
    lower = _PLUS_MINUS.sub(lambda m: "-" if m.group(1) == "p" else "+", text)
    return Value("list", text, tuple(read_tidy(one, depth + 1) for one in (upper, lower)))


def _builder(text: str, depth: int) -> Value | None:
    """\\{x | x > 2\\} as what stands behind the bar, or as the integers of which it is true."""
    found = built(text)
    if found is None:
        return None
    inner = read_tidy(found[0], depth + 1)
    return Value("integers", text, (inner,)) if found[1] else inner


def _relation(text: str, depth: int) -> Value | None:
    signs, parts = [], []
    inside, start = insides(text), 0
    for match in _RELATIONS.finditer(text):
        if not any(a < match.start() < b for a, b in inside):
            signs.append(match.group())
            parts.append(text[start : match.start()].strip())
            start = match.end()
    if not signs or len(signs) > 8:
        return None
    parts.append(text[start:].strip())
    if not parts[0] and signs[0] in ("=", "\\approx"):  # "= 5"
        parts, signs = parts[1:], signs[1:]
        if not signs:
            return read_tidy(parts[0], depth + 1)
    parts[0] = parts[0] or "x"  # > 17: the question has the name
    items = tuple(read_tidy(part, depth + 1) for part in parts)
    return Value("relation", text, items, tuple(signs))


def _union(text: str, depth: int) -> Value | None:
    parts = split(text, _CUP)
    if len(parts) < 2 or len(parts) > MAX_ITEMS:
        return None
    return Value("union", text, tuple(read_tidy(part, depth + 1) for part in parts))


def _bracketed(text: str, depth: int) -> Value | None:
    """What one pair of brackets holds altogether: (a, b), [a, b), \\{a, b\\}, or (a) alone."""
    first = BRACKET.match(text)
    if first is None or first.group() not in OPEN or insides(text)[:1] != [(0, len(text))]:
        return None
    opening = first.group()
    closing = next(sign for sign in reversed(CLOSE) if text.endswith(sign))
    inner = text[len(opening) : -len(closing)].strip()
    parts = split(inner, re.compile("[,;]"))
    if (opening, closing) == ("\\{", "\\}") or (opening == "{" and len(parts) > 1):
        members = [part for part in parts if part]
        if "|" in inner or "\\colon" in inner or ":" in inner:
            return None
        items = [read_tidy(part, depth + 1) for part in members]
        return Value("set", text, _flat(items))
    if (opening, closing) == ("[", "]") and (rows := _rows(parts)):
        return Value("leaf", rows) if "&" in rows else read_tidy(rows, depth + 1)
    if len(parts) == 1:
        return read_tidy(inner, depth + 1) if (opening, closing) in _GROUPS and inner else None
    if not all(parts) or len(parts) > MAX_ITEMS:
        return None
    items = tuple(read_tidy(part, depth + 1) for part in parts)
    opening, closing = opening.replace("\\langle", "("), closing.replace("\\rangle", ")")
    return Value("span", text, items, (opening, closing))


def _scaled(text: str, depth: int) -> Value | None:
    """A number before a tuple or a column, \\frac{1}{5}(3, 4), and a transposed row (3, 4)^T."""
    if row := _TRANSPOSED.fullmatch(text):
        return read_tidy(row[1], depth + 1)
    factor = _FACTOR.match(text)
    inner = read_tidy(text[factor.end() :], depth + 1) if factor else None
    if factor is None or inner is None or inner.signs != ("(", ")"):
        return None
    items = (Value("leaf", f"{factor[1]}(1)*({item.text})") for item in inner.items)
    return Value("span", text, tuple(items), inner.signs)


_FORMS = (
    _known, _base, _words, _builder, _list, _both, _relation, _union, _bracketed, _scaled,
)  # fmt: skip


def _rows(parts: list[str]) -> str:
    """[[1,2],[3,4]] as a matrix; "" where the rows differ in length or are none."""
    if not all(part.startswith("[") and part.endswith("]") for part in parts):
        return ""
    rows = [split(part[1:-1], ",") for part in parts]
    if len({len(row) for row in rows}) != 1 or len(rows) == 1 and len(rows[0]) == 1:
        return ""
    return "\\begin{pmatrix}" + "\\\\".join("&".join(row) for row in rows) + "\\end{pmatrix}"
