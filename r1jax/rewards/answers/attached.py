"""What a sentence attaches to its answer: where a minimum is attained, a rounding, a remark.

Linear in the length of the text.
"""

from __future__ import annotations

import re

_EXTREME = (
    r"(?:(?:minimum|maximum|minimal|maximal|smallest|largest|greatest|least|lowest|highest)"
    r"(?: (?:possible|value|area|volume|profit|cost|distance|length|sum|product)){0,2}"
    r"(?: of [^.\n]{1,40}?)?(?: is|:| =|=)? )"
)
_ATTAINED = re.compile(
    r"[，,；;]? ?当且仅当[^。\n]{1,80}?时?[，,]?(?:取等号|等号成立|取得|取到|成立)?(?=[。．.\s]*$)"
    r"|(?<=[0-9}$)π])[，,；;] ?(?:此时|当)[^。\n]{1,60}?(?:时)?[，,]?(?:取等号|等号成立|取得|取到)"
    r"[^。\n]{0,10}(?=[。．.\s]*$)"
    r"|,? (?:with )?equality (?:if and only if|iff|when|at|holds|occurs|is attained)[^\n]{0,80}$"
    r"|(?<=[0-9}$)π]),? (?:(?:which|and it) is )?(?:attained|achieved|reached|occurring|obtained) "
    r"(?:when|at|for|only|if)\b[^\n]{0,80}$"
)
_VALUE = r"[$*]{0,3}-?(?:[0-9]|\\)[^\s，。]{0,40}"
_AT = re.compile(
    rf"({_EXTREME}{_VALUE}),? (?:at|when|for|where) [^\n]{{1,60}}$"
    rf"|(最[大小]值[^，。\n]{{0,30}}?[是为=＝] ?{_VALUE})[，,；;] ?(?:此时|当)[^。\n]{{1,60}}"
    r"[。\s]*$"
)
_ROUNDED = re.compile(
    r"(?<=[0-9}$)π])[，,]? ?(?:(?:即|也就是|或) ?(?:大?约)(?:[为是]|等于)? ?"
    r"|(?:which is |or |that is,? |i\.e\.,? |(?<=[}$π)], ))(?:about|approximately|roughly) )"
    r"(?=\$?[0-9])"
)
_REMARK = re.compile(
    r"(?<=[0-9%]) \((?=(?:after|before|since|because|given|assuming|including|excluding)\b)"
    r"[^()\n]{1,80}\)"
)
_STEPS = re.compile(r"([0-9][^.\n:]{0,40}): [^.\n:]{1,80}?(?:→|->)[^\n]{1,80}$")
_PART = re.compile(
    r"(?<=[0-9A-Za-z}$]),? (?:(?:of|among) (?:which|whom)|which includes?|including) [^.\n]{1,80}"
    r"(?=[.\s]*$)"
    r"|(?<=[0-9A-Za-z}$]),? (?:which is (?:the|our|my) (?:final )?(?:answer|result)"
    r"|[0-9]{1,3} (?:days|times|hours|weeks|months) (?:a|per|each|every) [a-z]{3,6})(?=\W*$)"
)


def detached(text: str) -> str:
    """`text` without where its value is attained; a rounding behind it as \\approx."""
    if "(" in text or ":" in text:
        text = _STEPS.sub(r"\1", _REMARK.sub("", text))
    text = _PART.sub("", text) if re.search("which|whom|includ| a | per ", text) else text
    text = _AT.sub(lambda m: m[1] or m[2], _ATTAINED.sub("", text))
    return _ROUNDED.sub(r" \\approx ", text)
