"""Bounds, ranges, noon and none in words: greater than 17, from 3 to 5 inclusive, none are left.

Linear in the length of the text.
"""

from __future__ import annotations

import re

_SIGNS = {
    "\\ge ": r"at least|(?:greater|more) than or equal to|no (?:less|fewer|smaller) than"
    r"|大于(?:或|等|或等)于|至少|最少|不小于|不少于|不低于",
    "\\le ": r"at most|(?:less|fewer) than or equal to|no (?:more|greater|larger) than"
    r"|小于(?:或|等|或等)于|至多|最多|不大于|不超过|不多于|不高于",
    "> ": r"(?:strictly )?(?:greater|more|larger|bigger|higher) than|大于|多于|超过|高于",
    "< ": r"(?:strictly )?(?:less|fewer|smaller|lower) than|小于|少于|低于",
}
_FLIPPED = {"\\ge ": "\\le ", "\\le ": "\\ge ", "> ": "< ", "< ": "> "}
_NUMBER = r"\$?(-?(?:[0-9][0-9./]{0,12}|[0-9]{0,6}\\frac\{[0-9]{1,9}\}\{[0-9]{1,9}\}))\$?"
_BOUND = rf"({'|'.join(_SIGNS.values())}) ?{_NUMBER}"
_BOUNDED = re.compile(
    r"(?:^\W{0,6}|(?<![A-Za-z])([A-Za-z])\$? ?(?:is|are|(?:must|has to|should) be|应?[为是])? ?)"
    rf"(?:{_BOUND}(?:,? ?(?:and|but|且|并且) ?{_BOUND})?"
    rf"|{_NUMBER} or (more|greater|larger|less|fewer|smaller))(?=\W{{0,6}}$)"
)
_INCLUSIVE = re.compile(
    rf"(?:\b(?:from|between) ?|从)?{_NUMBER} ?(?:to|and|through|到|至) ?{_NUMBER},? ?"
    r"\(?(?:inclusive|both (?:ends )?included|endpoints included)\)?"
)
_RANGE = re.compile(
    r"(?:(?:\b([a-z]{2,12}) )?from |从 ?)[$*]{0,3}-?[0-9][0-9.,/%]{0,12}\$?(?: [a-z%]{1,12})? ?"
    r"(?:to|through|到|至)[\s*_$(]{0,6}$|(?<![0-9.])[0-9]{1,9} ?(?:到|至)[\s*_$(]{0,3}$"
)
_MOVES = re.compile(
    r"r[io]se|gr[eo]w|go|went|increas|decreas|f[ae]ll|dr[io]p|chang|mov|jump|climb|reduc|up$|down$"
)
_NOON = re.compile(
    r"(?<![A-Za-z])(?:(?:12(?::00)?|twelve)[ -])?(?:(noon|midday)|midnight)(?![A-Za-z])"
    r"|(正午|中午)(?:12|十二) ?[点时]整?(?![0-9])|(正午)|[午半]夜(?:12|十二) ?[点时]整?(?![0-9])",
    re.IGNORECASE,
)
_HOURS = "one two three four five six seven eight nine ten eleven twelve".split()
_PAST = re.compile(
    rf"\b(?:(half|(?:a )?quarter) (past|to)) ({'|'.join(_HOURS)}|[0-9]{{1,2}})\b", re.IGNORECASE
)
_PART_OF_DAY = re.compile(
    r"(?<![0-9:])([0-9]{1,2}(?::[0-9]{2})?) ?(?:o['’]clock )?"
    r"(?:in the (?:(morning)|afternoon|evening)|at night)",
    re.IGNORECASE,
)
_PEOPLE = (
    r"(?:students?|pupils?|child(?:ren)?|persons?|people|boys?|girls?|m[ae]n|wom[ae]n|players?"
    r"|members?|teachers?|kids?|friends?|workers?|guests?)"
)
_NOBODY = re.compile(
    r"(?:^|(?<=[.!?\n] )|(?<=\n))(?:(?:Hence|So|Thus|Therefore|Then),? )?"
    rf"(?:[Nn]o(?:body| one| {_PEOPLE})|[Nn]one of the (?:[0-9]{{1,6}} )?{_PEOPLE})"
    r"(?! (?:knows?|can|could|cares?|would|will|should)\b)(?: [a-z]+){1,5}"
    r"(?=\W{0,4}$)"
)
_NONE = re.compile(
    r"(?:(?:\b[Nn]one|\b[Nn]othing|\b[Nn]o [a-z]{3,20}(?: [a-z]{2,15})?)"
    r"(?: of (?:them|the (?:[0-9]{1,9} ?)?(?:[a-z]{2,20})?))? ?(?:is|are|was|were|will be)? ?"
    r"(?:left|remain(?:s|ed|ing)?)(?: over)?|(?<=left with )(?:none|nothing)"
    r"|(?<=[Tt]here are )(?:none|no such [a-z]{3,20})"
    r"|一[个只本块元支条人]?[都也](?:没有?|不)剩?下?|没有剩[下余]|不剩)了?(?=\W{0,4}$)"
)


def bounded(text: str) -> str:
    """`text` with a bound that is all it says in signs: n is at least 17 as n \\ge 17.

    So are a range whose ends are called included, and hours and counts without a digit.
    """
    text = _PART_OF_DAY.sub(lambda m: f"{m[1]} {'am' if m[2] else 'pm'}", _PAST.sub(_past, text))
    text = _NOON.sub(lambda m: "12:00 pm" if any(m.groups()) else "12:00 am", text)
    if re.search(r"inclu", text):
        text = _INCLUSIVE.sub(r"[\1, \2]", text)
    return _NONE.sub("0", _NOBODY.sub("0", _BOUNDED.sub(_in_signs, text)))


def _past(match: re.Match[str]) -> str:
    """Half past three as 3:30, a quarter to four as 3:45."""
    part, side, hour = (group.lower() for group in match.groups())
    minutes = 30 if part == "half" else 15
    at = _HOURS.index(hour) + 1 if hour in _HOURS else int(hour)
    return f"{at}:{minutes}" if side == "past" else f"{(at - 2) % 12 + 1}:{60 - minutes}"


def _in_signs(match: re.Match[str]) -> str:
    name, first, low, second, high, number, word = match.groups()
    name = name or "x"
    if word:
        return f"{name} \\{'ge' if word in ('more', 'greater', 'larger') else 'le'} {number}"
    one, other = (
        next((sign for sign, words in _SIGNS.items() if re.fullmatch(words, said)), "")
        for said in (first, second or "")
    )
    if not other:
        return f"{name} {one}{low}"
    return f"{low} {_FLIPPED[one]}{name} {other}{high}"


def ranged(before: str) -> bool:
    """Whether what follows `before` ends a range: from 3 to; a rise from 3 to 5 ends in 5."""
    found = _RANGE.search(before)
    return found is not None and not _MOVES.match(found.group(1) or "")
