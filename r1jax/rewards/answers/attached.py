"""What a sentence attaches to its answer: where a minimum is attained, a rounding, a remark.

Nothing that states a further value is taken away. Linear in the length of the text.
"""

from __future__ import annotations

import re

_EXTREME = (
    r"(?:(?:minimum|maximum|minimal|maximal|smallest|largest|greatest|least|lowest|highest)"
    r"(?: (?:possible|value|area|volume|profit|cost|distance|length|sum|product)){0,2}"
    r"(?: of [^.\n]{1,40}?)?(?: is|:| =|=)? )"
)
_ASSIGNED = r"\$?[a-z]\w{0,3} ?= ?[^\s,，;；。$\u4e00-\u9fff]{1,40}\$?"
_PLACE = rf"{_ASSIGNED}(?:(?: and |[，,] ?|且|和){_ASSIGNED})?"
_END = r"(?=[。．.\s]*$)"
_ATTAINED = re.compile(
    rf"(?<=[0-9}}$)π])[，,；;] ?当且仅当(?:[^。，,最值\n]{{1,60}}?|{_PLACE})时?[，,]?"
    rf"(?:取等号|等号成立|取得|取到){_END}"
    r"|(?<=[0-9}$)π])[，,；;] ?(?:此时|当)[^。，,最值\n]{1,60}?时?(?:取等号|等号成立|取得|取到)"
    rf"(?:等号|最[大小]值)?{_END}"
    r"|(?<=[0-9}$)π]),? (?:with )?equality (?:(?:holds|occurs|is attained) )?"
    rf"(?:if and only if|iff|when|at|for) {_PLACE}{_END}"
    r"|(?<=[0-9}$)π]),? (?:(?:which|and it) is )?(?:attained|achieved|reached|occurring|obtained) "
    rf"(?:when|at|for) {_PLACE}{_END}"
)
_VALUE = r"[$*]{0,3}-?(?:[0-9]|\\)[^\s，。]{0,40}"
_AT = re.compile(
    rf"({_EXTREME}{_VALUE}),? (?:at|when|for|where) {_PLACE}{_END}"
    rf"|(最[大小]值[^，。\n]{{0,30}}?[是为=＝] ?{_VALUE})[，,；;] ?(?:此时|当) ?{_PLACE}时?{_END}"
)
_ROUNDED = re.compile(
    r"(?<=[0-9}$)π])[，,]? ?(?:(?:即|也就是|或) ?(?:大?约)(?:[为是]|等于)? ?"
    r"|(?:which is |or |that is,? |i\.e\.,? |(?<=[}$π)], ))(?:about|approximately|roughly) )"
    r"(?=\$?[0-9])"
)
_GOES_ON = (
    r"(?:and|but|or|so|then|else|otherwise|which|while|now|total|totall?ing|altogether|rest|left"
    r"|others?|remain(?:s|ing|der)?|is|are|was|were|be|has|have|had|leav(?:es|ing)|mak(?:es|ing)"
    r"|giv(?:es|ing)|yields?|equals|becom(?:es|ing)|means?|meaning|comes|amounts|results?|turns"
    r"|costs?|pays?|gets?|needs?)\b"
)
_WORDS = rf"(?:(?! {_GOES_ON})[^.,，;；:：=()（）0-9\n]){{0,60}}"
_NUMBER = r"\$?[0-9]+(?:[.,][0-9]+)*"
ASIDE = rf"(?:(?:(?! {_GOES_ON}) [a-z'’-]{{1,20}}){{0,3}} {_NUMBER})?{_WORDS}"
"""Words with one number at most, near their beginning, that do not go on to a result."""
_REMARK = re.compile(
    r"(?<=[0-9%]) \((?:(?:since|because|given|assuming)\b"
    r"(?:(?! (?:and|or|but|else|otherwise)\b)[^(),，;；:\n]){1,80}"
    r"|(?:after|before|including|excluding)\b"
    rf"(?: {_NUMBER} [a-z]|(?! \$?[0-9])){_WORDS}"
    rf"(?: (?:of|from|by|the|[a-z]{{3,9}}ing) {_NUMBER}{_WORDS})?)\)"
)
_STEPS = re.compile(
    r"((?:(?:^|\n)|\b(?:is|takes?|needs?|requires?) )[0-9]{1,6} (?:steps|moves)"
    r"|\b(?:started|began) with ([0-9]{1,6})(?: [a-z]{2,12}){0,3}(?=: \2 ?(?:→|->)))"
    r": [^.,;\n:]{1,80}?(?:→|->)[^,;=\n]{1,80}$"
)
_PART = re.compile(
    rf"(?<=[0-9A-Za-z}}$]),? (?:of|among) (?:which|whom)(?: {_NUMBER}(?: are| is| were| was)?)?"
    rf"{_WORDS}{_END}"
    rf"|(?<=[0-9A-Za-z}}$]),? (?:which includes?|including)\b{ASIDE}{_END}"
    r"|(?<=[0-9A-Za-z}$]),? which is (?:the|our|my) (?:final )?(?:answer|result)(?=\W*$)"
    r"|(?<= day),? 7 days (?:a|per|each|every) week(?=\W*$)"
)


def detached(text: str) -> str:
    """`text` without where its value is attained; a rounding behind it as \\approx."""
    if "(" in text or ":" in text:
        text = _STEPS.sub(r"\1", _REMARK.sub("", text))
    text = _PART.sub("", text) if re.search("which|whom|includ|7 days", text) else text
    text = _AT.sub(lambda m: m[1] or m[2], _ATTAINED.sub("", text))
    return _ROUNDED.sub(r" \\approx ", text)
