"""Where a text says its final answer, and the answer alone, without the sentence around it.

In this order: what follows the thought; an explicit final answer (the <answer> block, "the answer
is", 答案是, ####, boxes); only then the last formula or number. Boxes are a list together, and so
are formulas that "or", "and" or a comma joins; no number is picked out of a formula. Linear in the
length of the text.
"""

from __future__ import annotations

import re

from r1jax.rewards.answers.dress import unmarked
from r1jax.rewards.answers.qualifiers import bare_lines, by_cases, denied, spoken
from r1jax.rewards.answers.retracted import ladder, settled, standing, unanswered
from r1jax.rewards.answers.sentence import MATHY, groups_of, refused
from r1jax.rewards.answers.spelled import spelled
from r1jax.rewards.answers.stated import miscounted
from r1jax.rewards.answers.wording import unlaid, worded
from r1jax.rewards.answers.wrapped import boxes

WINDOW = 4096
"""An explicit answer is this long at most, and the last formula is looked for in so many last
characters."""

_IS = r"(?:is|are|was|should be|must be|would be|will be|equals?|becomes)\b|[-=]>|[:：=→⇒]"
_STATED = re.compile(
    r"(?<![A-Za-z])(?i:answers?)(?![A-Za-z])[*_\"”) ]{0,6}"
    r"(?:[0-9]{1,2}(?=[:：])"
    r"|(?i:to|of|for|in|choice|option|here|letter|then|value)\b[^.\n:=。：]{0,80}?)?[*_ ]{0,4}"
    rf"(?i:{_IS})"
    r"|(?i:(?:final|correct) (?:result|value|choice|option)\b)[*_ ]{0,4}" + rf"(?i:{_IS})"
    r"|(?:答案|最终结果)[*_ ]{0,4}(?:应该|应当|应|就)?(?:是|为|等于|选择|选|[:：=])"
    r"|【(?:正确)?答案】|^[ \t]{0,3}[*]{0,2}答[*]{0,2}[:：]"
    r"|(?<!#)####(?!#)|(?i:final answer)[*_ ]{0,4}[—–-](?= )"
    r"|^[#*_ \t]{0,8}(?:(?i:(?:the )?final answer|answer)|最终答案|答案)"
    r"[*_ \t]{0,4}[:：]?[*_ \t]{0,4}$",
    re.MULTILINE,
)
_NEGATED = re.compile(r"[\s*:]{0,4}(?:not|isn't|never|不是|n't)(?![A-Za-z])", re.IGNORECASE)
_NO_VALUE = re.compile(
    _NEGATED.pattern + r"|[\s*:]{0,4}(?:correct|right|true|valid|verified)\W{0,4}(?:$|\n|[A-Z])",
    re.IGNORECASE,
)
_WRONG = re.compile(r"(?:wrong|incorrect|false|bad) $", re.IGNORECASE)
_AFTER = re.compile(
    r"[\s:：=]+|^\}|[*_]{1,2}(?=\s)|</?(?:b|strong|em|i|u|p)>"
    r"|(?:therefore|thus|simply|indeed|just|clearly|probably|then|hence|also|actually)\b[, ]*",
    re.IGNORECASE,
)
_CUT = re.compile(
    r"(?<!\\)[.!?][*_]{0,2}(?=\s|$)|[。！？]|\n"
    r"|,? (?:because|since|as required|which|I think|I believe|I guess|where|when|not|but|if"
    r"|(?:even )?though|although|whereas"
    r"|while)\b"
    r"|[,，;；]? ?(?:因为|不是|而不是)|, so\b|\"?, ?\"\w{1,20}\" ?:"
)
_INSTEAD = re.compile(
    r" ?\((?:since|as|because|where|if|when|for|not(?! really| sure| certain| quite)|i\.e\.,?) "
    r"|,? (?:not|rather than|instead of)(?= [-\d$\\(])(?! [^\s]{1,40},? but)|[,，]? ?而?不是"
)
_DECORATION = re.compile(
    r"(?<=\s)[:;]-?[)D](?=\s|$)|[\U0001f300-\U0001faff\u2705\u2713\u2714\u2611\ufe0f∴∎■□]"
    r"|\$ ?\\(?:square|blacksquare|checkmark|qed|therefore) ?\$"
    r"|\\(?:square|blacksquare|checkmark|qed|therefore)(?![A-Za-z])|^A: (?=[-$\\0-9(])"
)
_MODULUS = re.compile(r"\(mod ([0-9]{1,12})\)")
_LETTERS = re.compile(r"\W*[A-Za-z](?: ?[-+*/^=] ?\(?[A-Za-z]{1,2}\)?){0,8}\W*")
_LATER = re.compile(
    r"(^\W{0,4}[0-9][0-9.,]{0,30}(?: [a-z]{1,20})?(?= for)"
    r"|[0-9][0-9.,]{0,30}(?: [a-z]{1,20}){0,3})"
    r" (?:in|after|within|over|during|for|(?:at|by) the end of) (?:the |these )?[0-9]{1,6} "
    r"(?:second|minute|hour|day|week|month|year)s?\b"
    r"(?=\W*$)"
)
_SUBJECT = re.compile(
    r"(\$?-?[0-9][0-9.,]{0,20}%?)(?: (?:[a-z]{2,20} )?(?:is|are|was|were) (?:the|what|how)\b"
    r"| [a-z]{2,20} of [0-9]{1,6} [a-z]{2,20}\W{0,3}$)"
)
_OPENERS = re.compile(
    r"\$\$|\$|\\\(|\\\[|\\begin\{(?:align|equation|gather|multline|eqnarray)\*?\}"
)
_CLOSERS = {"$$": "$$", "$": "$", "\\(": "\\)", "\\[": "\\]"}


def explicit(text: str, words: bool = False) -> str | None:
    """The final answer that `text` states in so many words, or None.

    The last statement counts, and outranks boxes before it; boxes are joined as a list. `words`:
    whether an answer may be words, without a number or a formula.
    """
    found = boxes(text)
    statements = list(_STATED.finditer(text))
    for at, statement in reversed(list(enumerate(statements))):
        if _WRONG.search(text, max(0, statement.start() - 12), statement.start()):
            return ""
        inside = [box for box in found if box[0] >= statement.end()]
        if inside:
            return _joined(text, inside)
        end = next((b[1] - 1 for b in found if b[0] < statement.start() < b[1]), len(text))
        rest = text[statement.end() : min(end, statement.end() + WINDOW)]
        said = _said(rest, statement.group(), words)
        if said is not None:
            return "" if ladder(text, statements, at) else said
    if found:
        return _joined(text, found)
    return "" if statements and _NO_VALUE.match(text, statements[-1].end()) else None


def _joined(text: str, found: list[tuple[int, int, str]]) -> str:
    """Boxes as one list, with an alternative that an "or" puts beside them; "" for "not" a box."""
    no = {content for start, _, content in found if denied(text[max(0, start - 40) : start])}
    contents = list(dict.fromkeys(box[2] for box in found if box[2] and box[2] not in no))
    if not contents:
        return ""
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
    rest = spelled(unmarked(rest)) if not words else unmarked(rest)
    if by_cases(rest):
        return ""
    if subject := _SUBJECT.match(rest):
        return subject.group(1)
    said = clause(rest)
    if re.match(r"[?？]", rest[len(said) :]):
        return None
    said = said.strip().rstrip("*_")
    said = re.sub(r"\"?\s?\}$", "", said) if said.count("}") > said.count("{") else said
    if marker == "####" and len(re.findall(r"(?<![A-Za-z\\{])[A-Za-z]{2,}", said)) > 2:
        return None  # a heading
    if not said:
        return None
    if words or MATHY.search(said) or re.search(r"[$\\∞∅]", said):
        return said
    return said if _LETTERS.fullmatch(said) else None


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
        closing = _CLOSERS.get(opening) or opening.replace("begin", "end", 1)
        end = text.find(closing, at)
        if end < 0:
            hopeless.add(opening)
        elif opening == "$" and ("\n" in text[at:end] or _is_price(text, at, end)):
            continue
        elif end > at:
            at = end + len(closing)
            found.append((match.start(), at))
    return found


def _is_price(text: str, start: int, end: int) -> bool:
    """Whether "$5 and $6" is two prices."""
    inner = text[start:end]
    spaced = inner.endswith(" ") or text[end + 1 : end + 2].isdigit()
    return inner[:1].isdigit() and spaced and bool(re.search(r"[A-Za-z]{2}|, |[-+*/=×] ?$", inner))


def expression(text: str, words: bool = False, last: bool = True) -> str:
    """The answer alone, out of a passage that may be a sentence.

    Of several formulas in prose the `last` counts, or the first. `words`: as in `explicit`. A text
    without any formula or number is returned as it is.
    """
    text = settled(text[-WINDOW:] if last else text[:WINDOW])
    stated = explicit(text, words)
    if stated is not None and len(stated) < len(text.strip()):
        return expression(stated, words, last=False)
    if words:
        text = unlaid(standing(text))
    else:
        text = _DECORATION.sub(" ", spoken(spelled(worded(text))))
    text = _INSTEAD.split(unmarked(text), maxsplit=1)[0].strip()
    if not words and (by_cases(text) or miscounted(text) or unanswered(text)):
        return refused(text)
    text = _MODULUS.sub(r"\\pmod{\1}", _LATER.sub(r"\1", text))
    spans = formulas(text)
    if len(spans) == 1 and spans[0] == (0, len(text)):
        return text
    pieces, marked, at = [], [], 0
    for start, end in spans:
        marked.append(f"{text[at:start]} \x00{len(pieces)}\x00 ")
        pieces.append(text[start:end].strip("$"))
        at = end
    sentence = "".join([*marked, text[at:]])
    if not words and last and len(values := bare_lines(sentence)) > 1:
        return re.sub(r"\x00(\d+)\x00", lambda m: pieces[int(m.group(1))], ", ".join(values))
    groups = groups_of(sentence, pieces)
    if groups is None or words:
        return text
    return (groups[-1] if last else groups[0]) if groups else text
