"""Where a text says its final answer, and the answer alone, without the sentence around it.

In this order: what follows the thought; an explicit final answer (the <answer> block, "the answer
is", 答案是, ####, boxes); only then the last formula or number. Boxes are a list together, and so
are formulas that "or", "and" or a comma joins; no number is picked out of a formula. Linear in the
length of the text.
"""

from __future__ import annotations

import re

from r1jax.rewards.answers.dress import unmarked
from r1jax.rewards.answers.units import known

WINDOW = 4096
"""An explicit answer is this long at most, and the last formula is looked for in so many last
characters."""

_TAG = re.compile(r"</?think>")
_BRACES = re.compile(r"\\[{}]|[{}]")
_BOX = re.compile(
    r"\\(?:f?boxed|fbox)(?![A-Za-z]) {0,3}(?:(?=\{)|([^\s$\\{}.,;]{1,40}|\\frac\d\d|\\[a-z]{1,9}))"
)
_IS = r"(?:is|are|was|should be|must be|would be|will be|equals?|becomes)\b|[:：=]"
_STATED = re.compile(
    r"(?<![A-Za-z])(?i:answers?)(?![A-Za-z])[*_\"”) ]{0,6}"
    r"(?:(?i:to|of|for|in|choice|option|here|letter|then|value)\b[^.\n:=。：]{0,80}?)?[*_ ]{0,4}"
    rf"(?i:{_IS})"
    r"|(?i:(?:final|correct) (?:result|value|choice|option)\b)[*_ ]{0,4}" + rf"(?i:{_IS})"
    r"|(?:答案|最终结果)[*_ ]{0,4}(?:应该|应当|应|就)?(?:是|为|等于|选择|选|[:：=])"
    r"|^[ \t]{0,3}[*]{0,2}答[*]{0,2}[:：]"
    r"|(?<!#)####(?!#)"
    r"|^[#*_ \t]{0,8}(?:(?i:(?:the )?final answer|answer)|最终答案|答案)"
    r"[*_ \t]{0,4}[:：]?[*_ \t]{0,4}$",
    re.MULTILINE,
)
_NEGATED = re.compile(r"[\s*:]{0,4}(?:not|isn't|never|不是|n't)(?![A-Za-z])", re.IGNORECASE)
_AFTER = re.compile(
    r"[\s:：=]+|[*_]{1,2}(?=\s)"
    r"|(?:therefore|thus|simply|indeed|just|clearly|probably|then|hence|also|actually)\b[, ]*",
    re.IGNORECASE,
)
_CUT = re.compile(
    r"[.!?][*_]{0,2}(?=\s|$)|[。！？]|\n"
    r"|,? (?:because|since|as required|which|I think|I believe|I guess|where|when|not|but|if)\b"
    r"|[,，;；]? ?(?:因为|不是|而不是)|, so\b"
)
_INSTEAD = re.compile(
    r" ?\((?:since|as|because|where|if|when|for) "
    r"|,? (?:not|rather than|instead of)(?= [-\d$\\(])|[,，]? ?而?不是"
)
_OPENERS = re.compile(r"\$\$|\$|\\\(|\\\[")
_CLOSERS = {"$$": "$$", "$": "$", "\\(": "\\)", "\\[": "\\]"}
_TOKEN = re.compile(r"\x00\d+\x00|\n|[\u4e00-\u9fff]+|[^\s\x00\u4e00-\u9fff]+")
_PROSE = re.compile(r"[\"'(\[]*[A-Za-z]{2,}[A-Za-z'\-]*[\"')\]]*[.,;:!?\"')]*")
_FUNCTION = re.compile(r"(?:pi|sqrt|sin|cos|tan|ln|log|inf|infinity)(?![A-Za-z])")
_MATHY = re.compile(r"[0-9]|\\[A-Za-z]|∞|[A-Za-z)][=<>^]|√|[½⅓⅔¼¾π]|\x00")
_OPERATOR_END = re.compile(r"(?:[-+*/^×÷·]|\\cdot|\\times)\s*$")
_OPERATOR_START = re.compile(r"\s*(?:[+*/^×÷·])")
_SAID = {"等于": "=", "不等于": "\\ne"}
_LINKS = frozenset(
    "and or maybe perhaps possibly either alternatively else & 或 或者 和 与 及 以及".split()
)


def after_thought(text: str) -> str:
    """`text` without its thoughts; an answer block ends a thought that is not closed.

    A thought that neither ends leaves nothing; a text without these tags is left as it is.
    """
    kept, start, depth = [], 0, 0
    for tag in _TAG.finditer(text):
        if tag.group() == "<think>":
            if not depth:
                kept.append(text[start : tag.start()])
            depth, start = 1, tag.end()
        elif depth or not kept:
            kept = [] if not depth else kept
            depth, start = 0, tag.end()
    rest = text[start:]
    if depth:
        opened = rest.find("<answer>")
        rest = rest[opened:] if opened >= 0 else ""
    return "".join(kept) + rest


def answer_tag(text: str) -> str | None:
    """The stripped content of the last closed <answer> block."""
    closed = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, closed) if closed >= 0 else -1
    return text[start + 8 : text.find("</answer>", start)].strip() if start >= 0 else None


def boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of every innermost \\boxed or \\fbox whose braces balance."""
    starts = list(_BOX.finditer(text)) if "box" in text else []
    if not starts:
        return []
    opened: list[int] = []
    closes: dict[int, int] = {}
    for brace in _BRACES.finditer(text, starts[0].start()):
        if brace.group() == "{":
            opened.append(brace.start())
        elif brace.group() == "}" and opened:
            closes[opened.pop()] = brace.start()
    found: list[tuple[int, int, str]] = []
    inner = len(text) + 1
    for match in reversed(starts):
        if match.group(1):
            found.append((match.start(), match.end(), match.group(1)))
        elif match.end() in closes:
            end = closes[match.end()]
            if inner > end:
                found.append((match.start(), end + 1, text[match.end() + 1 : end].strip()))
        else:
            continue
        inner = match.start()
    return found[::-1]


def boxed(text: str) -> str | None:
    """The content of the last (innermost) box, or None."""
    found = boxes(text)
    return found[-1][2] if found else None


def explicit(text: str, words: bool = False) -> str | None:
    """The final answer that `text` states in so many words, or None.

    The last statement counts, and outranks boxes before it; boxes are joined as a list. `words`:
    whether an answer may be words, without a number or a formula.
    """
    found = boxes(text)
    statements = list(_STATED.finditer(text))
    for statement in reversed(statements):
        inside = [box for box in found if box[0] >= statement.end()]
        if inside:
            return _joined(text, inside)
        said = _said(text[statement.end() : statement.end() + WINDOW], statement.group(), words)
        if said is not None:
            return said
    if found:
        return _joined(text, found)
    return "" if statements and _NEGATED.match(text, statements[-1].end()) else None


def _joined(text: str, found: list[tuple[int, int, str]]) -> str:
    """Boxes as one list, with an alternative that an "or" puts beside them."""
    contents = list(dict.fromkeys(content for _, _, content in found if content))
    after = re.match(r"[\s$)*\\\]]{0,6}(?:or|或者?) ?([^\s.,]{1,40})", text[found[-1][1] :][:80])
    before = re.search(r"([^\s,]{1,40}) ?(?:or|或者?)[\s$(*\\\[]{0,6}$", text[: found[0][0]][-80:])
    contents += [m.group(1) for m in (after, before) if m and re.search(r"\d", m.group(1))]
    return ", ".join(contents)


def _said(rest: str, marker: str, words: bool) -> str | None:
    """The answer behind "the answer is"; None where none stands there."""
    if _NEGATED.match(rest):
        return None
    while match := _AFTER.match(rest):
        if marker == "####" and "\n" in match.group():
            return None
        rest = rest[match.end() :]
    rest = unmarked(rest)
    said = clause(rest).strip().rstrip("*_")
    if marker == "####" and len(re.findall(r"(?<![A-Za-z\\{])[A-Za-z]{2,}", said)) > 2:
        return None  # a heading
    if not said:
        return None
    if words or _MATHY.search(said) or re.search(r"[$\\∞∅]", said):
        return said
    return said if re.fullmatch(r"\W*[A-Za-z]\W*", said) else None


def clause(rest: str) -> str:
    """The first clause of `rest`; what stands between dollar signs is never cut."""
    at, limit = 0, len(rest)
    for start, end in [*formulas(rest), (limit, limit)]:
        cut = _CUT.search(rest, at, start)
        while cut is not None:
            if re.fullmatch(r"\s*", rest[at : cut.start()]) and cut.group() == "\n" and at == 0:
                cut = _CUT.search(rest, cut.end(), start)
                continue
            return rest[: cut.start()]
        at = end
    return rest


def formulas(text: str) -> list[tuple[int, int]]:
    """(start, end) of what stands between dollar signs, \\( \\) or \\[ \\], delimiters included."""
    found, at, hopeless = [], 0, set()
    while match := _OPENERS.search(text, at):
        opening = match.group()
        at = match.end()
        if opening in hopeless or text[match.start() - 1 : match.start()] == "\\":
            continue
        end = text.find(_CLOSERS[opening], at)
        if end < 0:
            hopeless.add(opening)
        elif opening == "$" and ("\n" in text[at:end] or _is_price(text, at, end)):
            continue
        elif end > at:
            at = end + len(_CLOSERS[opening])
            found.append((match.start(), at))
    return found


def _is_price(text: str, start: int, end: int) -> bool:
    """Whether "$5 and $6" is two prices."""
    inner = text[start:end]
    spaced = inner.endswith(" ") or text[end + 1 : end + 2].isdigit()
    return inner[:1].isdigit() and spaced and bool(re.search(r"[A-Za-z]{2,}|, ", inner))


def expression(text: str, words: bool = False, last: bool = True) -> str:
    """The answer alone, out of a passage that may be a sentence.

    Of several formulas in prose the `last` counts, or the first. `words`: as in `explicit`. A text
    without any formula or number is returned as it is.
    """
    text = text[-WINDOW:] if last else text[:WINDOW]
    stated = explicit(text, words)
    if stated is not None and len(stated) < len(text.strip()):
        return expression(stated, words, last=False)
    text = _INSTEAD.split(unmarked(text), maxsplit=1)[0].strip()
    spans = formulas(text)
    if len(spans) == 1 and spans[0] == (0, len(text)):
        return text
    pieces, marked, at = [], [], 0
    for start, end in spans:
        marked.append(f"{text[at:start]} \x00{len(pieces)}\x00 ")
        pieces.append(text[start:end].strip("$"))
        at = end
    groups = _groups("".join([*marked, text[at:]]), pieces)
    if groups is None or words:
        return text
    return (groups[-1] if last else groups[0]) if groups else text


def _groups(text: str, pieces: list[str]) -> list[str] | None:
    """The formulas of a sentence, joined ones together; None where there is no sentence."""
    groups: list[str] = []
    run: list[str] = []
    gap: list[str] = []
    prose = False
    tokens = _TOKEN.findall(text)
    for at, token in enumerate(tokens):
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        token = _SAID.get(token, token)
        word = token.strip(".,;:!?\"'()").lower()
        if token.startswith("\x00"):
            if run and run[-1].startswith("\x00") and not gap:
                run.append(",")
            _take(run, gap, token)
        elif token == "\n":
            _close(groups, run, gap, pieces)
        elif word in _LINKS and run:
            gap.append(token)
        elif (_PROSE.fullmatch(token) and not _FUNCTION.match(token)) or _is_chinese(token):
            prose = True
            if run and not gap and known(word) is not None:
                run.append(token)
            elif run and not gap and following.lower() in _LINKS:
                gap.append("")
            else:
                _close(groups, run, gap, pieces)
        else:
            _take(run, gap, token)
            if token.endswith((".", "!", "?", ":")) and len(token) > 1 and following:
                _close(groups, run, gap, pieces)
    _close(groups, run, gap, pieces)
    return groups if prose or len(groups) > 1 else None


def _is_chinese(token: str) -> bool:
    return "\u4e00" <= token[0] <= "\u9fff"


def _take(run: list[str], gap: list[str], token: str) -> None:
    if gap:
        run.append(" or ")
        gap.clear()
    run.append(token)


def _close(groups: list[str], run: list[str], gap: list[str], pieces: list[str]) -> None:
    """Ends a run of formulas; one that an operator ties to a word is no answer."""
    text = " ".join(run)
    run.clear()
    gap.clear()
    if not _MATHY.search(text):
        return
    text = re.sub(r"\x00(\d+)\x00", lambda m: pieces[int(m.group(1))], text)
    text = text.strip().rstrip(".,;:!?")
    if _OPERATOR_END.search(text) or _OPERATOR_START.match(text):
        text = f"({text})..."  # no formula
    groups.append(text)
