"""Numbers in words, as digits: seventeen, one hundred and ten, three quarters, 十七, 两千四百."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

_ONES = {
    word: n
    for n, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * n
    for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6,
    "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12,
    "fifteenth": 15, "sixteenth": 16, "twentieth": 20, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
_SMALL = "|".join(sorted([*_ONES, *_TENS], key=len, reverse=True))
_SCALE = "|".join(_SCALES)
_ENGLISH = re.compile(
    rf"(?<![A-Za-z0-9\\-])((?:{_SMALL})(?:[- ](?:{_SMALL}|{_SCALE})"
    rf"|[ -]and[ -](?:{_SMALL})){{0,12}})"
    rf"(?:[- ]({'|'.join(_PARTS)})s?)?(?![A-Za-z]|-[A-Za-z])",
    re.IGNORECASE,
)
_DIGITS = {sign: n for n, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_SIGNS = "零〇一二两三四五六七八九十百千万"
_CHINESE = re.compile(
    rf"(?:(?:([{_SIGNS}]{{1,9}})又)?([{_SIGNS}]{{1,9}})分之)?([{_SIGNS}]{{1,20}})"
    r"(?:点([零〇一二三四五六七八九]{1,9})(?![点刻整]))?(?![分之几])"
)
_NAME = (
    r"(?!(?:the|this|that|these|those|then|all|both|each|every|some|any|no|now|so|thus|hence|here"
    r"|there|only|just|also|finally|first|last|next|other|another|if|when|since|once|after|before"
    r"|with|without|from|for|and|but|or|as|at|on|in|by|to|of|her|his|its|their|our|my|your)\b)"
    r"(?-i:[A-Z][a-z]{1,15})"
)
_VERB = (
    r"(?:(?!(?:this|his|hers|its|plus|minus|times|less|across|always|perhaps|others|unless|besides"
    r"|aged|numbered|named|called|labell?ed)\b)[a-z]{2,10}(?:s|ed)|found|spent|won|ate|made|drew"
    r"|took|paid|caught|earn|spend|need|find|get|eat|make|collect|sell)"
)
_STATES = re.compile(
    r"(?:\b(?:is|are|was|were|be|has|have|had|needs?|gets?|got|makes?|sold|bought|total of)"
    r"(?: about| exactly| only)?|[:：是为有得共剩=需买卖]了?|[是为占][^，。,.]{0,8}的"
    r"|\bleaving|\b(?:add|subtract|multiply|divid|tak|doubl|halv)ing [^.,;]{1,40} (?:gives|leaves)"
    r") ?(?:负|negative |minus )?$",
    re.IGNORECASE,
)
_DOES = re.compile(
    rf"(?:^|[ \n])(?:s?he|it|they|we|{_NAME}) {_VERB}(?: negative| minus)?$", re.IGNORECASE
)
"""Tom finds (eight): the answer, unless another number follows."""
_WHOLE = re.compile(
    rf"\W{{0,6}}(?:an? |one[- ])?({'|'.join(_PARTS)}|{_SCALE})\W{{0,6}}", re.IGNORECASE
)
_AND_PART = re.compile(
    rf"(?<![-\w.,/])(?:(?:({'|'.join(_TENS)})[- ])?({_SMALL})|([0-9]{{1,9}})) and "
    r"(?:(?:a|one)[- ](half|third|quarter)|(three[- ]quarters))(?![A-Za-z])",
    re.IGNORECASE,
)
_AND_SHARE = re.compile(r"(?<![\w.,/])([0-9]{1,6}) and (1/[2-9]|2/3|3/4)(?= [a-z]{3})")
_SENTENCE = re.compile(r"[.!?](?=\s|$)|[。！？\n]")


_ROMAN = re.compile("(?=[ivxl])(?:xl|l?x{0,3})(?:i[xv]|v?i{0,3})", re.IGNORECASE)


def roman(text: str) -> int | None:
    """The value of a numeral of two signs or more: IV is 4; None for what is none."""
    if len(text) < 2 or not _ROMAN.fullmatch(text):
        return None
    values = ["ivxl".index(sign) for sign in text.lower()]
    worth = [(1, 5, 10, 50)[value] for value in values]
    return sum(-a if a < b else a for a, b in zip(worth, [*worth[1:], 0], strict=True))


def spelled(text: str) -> str:
    """`text` with a number in words as digits, where it begins an answer or a sentence states it.

    Only in a last sentence without digits, so that no "one" or "two" beside an answer becomes one.
    """
    if " and " in text:
        text = _AND_SHARE.sub(r"\1 \2", _AND_PART.sub(_and_part, text))
    if whole := _WHOLE.fullmatch(text):
        word = whole.group(1).lower()
        return str(_SCALES[word]) if word in _SCALES else f"1/{_PARTS[word]}"
    stops = [m.end() for m in _SENTENCE.finditer(text.rstrip(" .!?。！？\n"))]
    start = stops[-1] if stops else 0
    last = text[start:]
    if len(last) > 300 or re.search(r"[0-9\\$√π∞\x00]", last.replace("\\text", "")):
        return text
    for pattern, value in ((_ENGLISH, _english), (_CHINESE, _chinese)):
        for match in reversed(list(pattern.finditer(last))):
            number = value(match)
            if number is not None and _is_stated(last, match):
                rest = pattern.sub(partial(_or_as_it_is, value), last[match.end() :])
                return f"{text[:start]}{last[: match.start()]}{number}{rest}"
    return text


def _and_part(match: re.Match[str]) -> str:
    """Seven and a half as 7 1/2."""
    tens, ones, digits, part, _ = (group and group.lower() for group in match.groups())
    number = digits or _TENS.get(tens, 0) + _ONES.get(ones, _TENS.get(ones, 0))
    return f"{number} {'1/' + str(_PARTS[part]) if part else '3/4'}"


def _or_as_it_is(value: Callable[[re.Match[str]], str | None], match: re.Match[str]) -> str:
    return value(match) or match.group()


def _is_stated(text: str, match: re.Match[str]) -> bool:
    """Whether the words are the whole answer, begin a short one, or follow "is" or "has"."""
    before, after = text[: match.start()], text[match.end() :]
    if not re.sub(r"\\text ?\{|[Nn]egative|[Mm]inus|负|[\W_]", "", before):
        rest = re.sub(r"[\W_]", "", after)
        pronoun = match.group().lower() in ("one", "一")
        if re.search(r"[- ](?:hal|third|quarter|fourth|fifth|[sent]\w+th)", match.group(), re.I):
            if re.match(r" of (?:the|an?|his|her|all|them)\b", after):
                return True  # three quarters of the cake
        return not rest or (not pronoun and len(after.split()) <= 2 and not after.startswith(" of"))
    if match.group().lower() in ("one", "一") and re.sub(r"[\W_]", "", after):
        return False
    part = re.search(rf"(?:{'|'.join(_PARTS)})s?$", match.group(), re.IGNORECASE)
    times = re.match(r" times\b" if part else r" (?:of|times)\b", after)
    before = before.rstrip("*_ ")
    does = _DOES.search(before) and not _ENGLISH.search(after)
    return bool(_STATES.search(before) or does) and not times


def _english(match: re.Match[str]) -> str | None:
    words = re.split(r"[- ]+", match.group(1).lower())
    total = part = 0
    last = 10**12
    for word in words:
        if word in _SCALES and part:
            scale = _SCALES[word]
            part, total = (part * scale, total) if scale == 100 else (0, total + part * scale)
            last = scale
        elif word in _ONES or word in _TENS:
            number = _ONES.get(word, _TENS.get(word, 0))
            if last < 100 and not (last >= 20 and last % 10 == 0 and 0 < number < 10):
                return None  # "one two" is no number
            part, last = part + number, max(number, 1)
        elif word != "and":
            return None
    number = total + part
    return f"{number}/{_PARTS[match.group(2).lower()]}" if match.group(2) else str(number)


def _chinese(match: re.Match[str]) -> str | None:
    before, part, whole, decimals = match.groups()
    above = _counted(whole)
    if above is not None and decimals:
        above += "." + "".join(str(_DIGITS[sign]) for sign in decimals)
    if above is None or part is None:
        return above
    if part == "百":
        return f"{above}%"
    below = _counted(part)
    units = "" if before is None else _counted(before)
    return below and units is not None and f"{units} {above}/{below}".strip() or None


def _counted(signs: str) -> str | None:
    total = section = digit = 0
    for i, sign in enumerate(signs):
        if sign in _DIGITS:
            if digit and i:
                return None
            digit = _DIGITS[sign]
        elif sign == "万":
            total, section, digit = (total + section + digit) * 10**4, 0, 0
        else:
            section += (digit or (1 if sign == "十" else 0)) * _UNITS[sign]
            digit = 0
    number = total + section + digit
    return str(number) if number or signs in ("零", "〇") else None
