"""Words beside a number that change what it says: at least 17, 17 thousand, twice 17, 不到17.

A word that says a sign or a scale is read; one that makes the number a bound, a part, a multiple or
no answer at all is refused. Linear in the length of the text.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import prod

from r1jax.rewards.answers.bounds import ranged

_SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8,
}  # fmt: skip
_SUFFIXES = {"k": 1000, "K": 1000, "M": 10**6}
_SCALED = re.compile(
    r"(?<![0-9.,\\A-Za-z^_])([0-9]{1,3}(?:,[0-9]{3}){1,6}|[0-9]{1,30})(\.[0-9]{1,20})?(\$?)"
    r"(?:[ ~]|\\[ ,;])?(?:(\\(?:text|mathrm|textrm|mbox) ?\{) ?)?"
    r"(?:(hundred|thousand|million|billion|trillion|dozen)s?(?![A-Za-z])"
    r"|([千百万亿]{1,3})(?![米克瓦分]))"
)
_THOUSANDS = re.compile(
    r"(?<=\$)([0-9]{1,6}(?:\.[0-9]{1,3})?)([kKM])(?=[.,;!?]?(?:$| [a-z]{2}|\n))"
)
_THOUSAND = re.compile(r"(?<![\w.$\\^])([0-9]{1,6}(?:\.[0-9]{1,3})?)k(?![\w^(*/+=-])")
_PERCENT = re.compile(r"百分之 ?(-?[0-9]{1,20}(?:\.[0-9]{1,20})?)")
_DOZEN = re.compile(
    r"(?<![0-9] )(?:(?<![A-Za-z])(half )|(?<![A-Za-z] )(?<![A-Za-z]))a dozen(?![A-Za-z])",
    re.IGNORECASE,
)
_RATIO = re.compile("(?<=[0-9]) ?比 ?(?=[0-9])")
_SCALED_MARK = re.compile(r"hundred|thousand|[mbr]illion|dozen|[千百万亿]")
_NEGATIVE = re.compile(
    r"(?:\\text ?\{ ?(?:negative|minus) ?\}|(?<![A-Za-z\\-])(?:negative|minus)|(?<![非正])负) ?"
    r"(?=[$0-9.\\])",
    re.IGNORECASE,
)
_COMPARED = (
    r"(?:more|less|fewer|greater|larger|smaller|higher|lower|bigger|other|rather|older|younger"
    r"|longer|shorter|further|better|worse) than|above|below|over|under|beyond|underneath"
    r"|exceed(?:s|ing|ed)?|surpass(?:es)?|at (?:the )?(?:most|least|minimum|maximum)|up to"
    r"|(?:minimum|maximum|upper bound|lower bound|bound) of|bounded by|starting (?:at|from)"
    r"|(?:close|near|next|prior|up|down) to|anything but|all but|except(?: for)?|excluding|without"
)
_DERIVED = (
    r"twice|thrice|double|triple|quadruple|half|times|root|plus|divided by|modulo"
    r"|(?:halves|quarters?|thirds?|fifths?|multiples?|divisors?|factors?|powers?|roots?|squares?"
    r"|cubes?|logarithms?|inverse|reciprocal|opposite|negation|factorial|percent) of"
)
_BEFORE = re.compile(
    r"(?:(?<![A-Za-z])(?:not|never|nor|neither|either|cannot|can't|wrong|incorrect|negative|minus"
    rf"|suppose|assume|assuming|let|{_COMPARED}|{_DERIVED})|n['’]t"
    r"|(?:output|give|assign|return|award|grant|set|print)(?: [a-z]+){0,3} (?:reward|score|grade)"
    r"|(?:^|\n)reward:)"
    r"(?:\s(?:be|of|to|by|the|a|an|from|or|equal|exactly|about|approximately|around|even"
    r"|simply|just|only)|[\s*_$(\"]){0,6}$"
    r"|(?:大于|小于|高于|低于|多于|少于|超过|不足|不到|至少|至多|最多|最少|不超过|以上|不是|并非|不等于|不需要?|不用"
    r"|不为|除了|除以|[倍半]的?|根号|平方)(?:有|是|为|的)?[\s:：*_$(]{0,3}$",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:(?<![A-Za-z])(?:not|never|cannot be)|n['’]t(?: be)?|不是|并非|不为)\W{0,4}$"
)
_AFTER = re.compile(
    r"[\s*_$,]{0,4}(?:\(?(?:or|and) (?:so|more|less|fewer|greater|higher|lower|above|below|up|over"
    r"|under|beyond|larger|smaller|bigger|possibly|perhaps|maybe)\b"
    r"|\(? ?(?:or|或)\s{0,2}[-$\\0-9]"
    r"|(?:is|was|are|would be|seems|looks) (?:also )?"
    r"(?:wrong|incorrect|false|impossible|not|too|n['’]t)\b|-?ish\b"
    r"|\(? ?(?:wrong|incorrect|false|not really|maybe|perhaps|unsure)\b"
    r"|(?:isn|wasn|doesn|can|won|wouldn)['’]?t\b|cannot\b|not(?=\W*$)"
    r"|fails\b|,? then\b|does not\b|is not\b"
    r"|(?:squared|cubed|factorial)\b|(?:times|minus|plus|divided by|to the power)(?: of)? "
    r"(?:[A-Za-z](?![A-Za-z])|[-$\\0-9]|\x00)"
    r"|(?:less|more|fewer|greater) than (?=[-$\\0-9\x00(]|half|twice|double|[a-z]\b)"
    r"|[个元人只]{0,1}(?:的(?:.{0,3}倍|一半|平方|立方|.{0,3}次方|相反数|倒数|因数|约数|阶乘)|以上|以下|左右|多"
    r"|是错|不对|不正确|或))",
    re.IGNORECASE,
)
_NO_UNIT = re.compile(
    r"(?<![A-Za-z])(?:or|and|not|no|nor|is|are|isn't|wrong|incorrect|false|more|less|fewer|greater"
    r"|squared|cubed|factorial|times|if|when|unless|either|than|but|except|only if|plus|minus"
    r"|or so|ish|maybe|to|through|half|over|under|above|below|hundred|thousand|million|billion"
    r"|trillion|dozens?|thousandths?|hundredths?|tenths?|halves|thirds?|quarters?|fifths?)"
    r"(?![A-Za-z])|(?<![A-Za-z^{ ]) ?[0-9]|[ (][0-9]|或|不|[倍半]|的",
    re.IGNORECASE,
)
_CASES = re.compile(
    r"[0-9})$] ?,? (?:if|when|for) [^.\n]{1,120}?"
    r"(?:(?:and|,|;|but|or) (?:is )?[-$\\0-9(][^.\n]{0,40}?"
    r" (?:if|when|for|otherwise|in)\b|\b(?:otherwise|else)\b)"
)
_FUNCTION_WORD = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z])(?:pi|sqrt|sin|cos|tan|ln|log)(?![A-Za-z])")
_NAMED = re.compile(r"([A-Za-z](?:_\{?\w{1,3}\}?)? ?= ?)[-+0-9][-+*/^0-9.,() ]{0,60}\.?")
_BULLET = re.compile(r"^\s*(?:[-*•] +|[0-9]{1,2}[.)] +(?=[-$\\0-9]))")


def spoken(text: str) -> str:
    """`text` with signs and scales in digits: minus 17, 负17, 1.5 million, 17万."""
    if "inus" in text or "egative" in text or "负" in text:
        text = _NEGATIVE.sub("-", text)
    if "dozen" in text:
        text = _DOZEN.sub(lambda m: "6" if m.group(1) else "12", text)
    if "比" in text:
        text = _RATIO.sub(":", text)
    if "百" in text:
        text = _PERCENT.sub(r"\1%", text)
    if "$" in text:
        text = _THOUSANDS.sub(lambda m: str(int(Fraction(m[1]) * _SUFFIXES[m[2]])), text)
    return _SCALED.sub(_scaled, text) if _SCALED_MARK.search(text) else text


def abbreviated(text: str) -> str:
    """1.5k as 1500; only where a number is asked for, since k is a letter of formulas too."""
    return _THOUSAND.sub(lambda m: str(Fraction(m[1]) * 1000), text)


def _scaled(match: re.Match[str]) -> str:
    whole, decimals, dollar, opening, word, sign = match.groups()
    scale = _SCALES[word] if word else prod(_SCALES[one] for one in sign)
    number = Fraction(whole.replace(",", "") + (decimals or "")) * scale
    if number.denominator != 1:
        return match.group()
    return f"{number}{dollar}" + (f"{opening} " if opening else "")


def qualified(before: str, after: str) -> bool:
    """Whether the words around a number make it a bound, a part of something, or no answer."""
    return bool(_BEFORE.search(before[-80:]) or _AFTER.match(after[:80]) or ranged(before[-80:]))


def denied(before: str) -> bool:
    """Whether "not" stands right before what follows."""
    return bool(_DENIED.search(before[-40:]))


def no_unit(words: str) -> bool:
    """Whether words behind a number are more than a unit."""
    return bool(_NO_UNIT.search(words))


def by_cases(text: str) -> bool:
    """Whether a text offers different answers under conditions: 17 if n is odd and 18 if even."""
    return bool(_CASES.search(text[:4096]))


def bare_lines(text: str) -> list[str]:
    """The different values of the last lines that hold a value and nothing else."""
    values: list[str] = []
    for line in reversed(text.splitlines()[-64:]):
        line = _BULLET.sub("", line).strip()
        words = re.findall("[A-Za-z]{2,}", _FUNCTION_WORD.sub(" ", line))
        starts = re.match(r"[A-Za-z]{2,}|#|\|", line)
        named = _NAMED.fullmatch(line.replace("$", "").strip())
        if named and (not values or values[-1].replace("$", "").startswith(named.group(1))):
            words, starts = [], None
        elif line and (not re.search(r"[0-9A-Za-z\x00]", line) or "=" in line or starts):
            break
        if len(words) > 1 or re.search(r"[\u4e00-\u9fff]{3}", line):
            break
        if line and line not in values:
            values.append(line)
    return values[::-1]


def assigned_lines(text: str) -> str:
    """The last lines `x = 2`, `y = -1` of different names as one list; "" where there are none."""
    found: dict[str, str] = {}
    for line in reversed(text.splitlines()[-64:]):
        line = _BULLET.sub("", line).strip(" \t$,;")
        named = _NAMED.fullmatch(line)
        if line and (named is None or named.group(1) in found):
            break
        if named:
            found[named.group(1)] = line
    return ", ".join(reversed(found.values())) if len(found) > 1 else ""


def word_lines(text: str) -> list[str]:
    """The different answers of the last lines that hold one or two words and nothing else."""
    words: list[str] = []
    for line in reversed(text.splitlines()[-64:]):
        line = line.strip()
        if line and not re.fullmatch(r"[^\W_]+(?: [^\W_]+)?[.,;!?]?", line):
            break
        if line and line.lower().rstrip(".,;!?") not in (word.lower() for word in words):
            words.append(line.rstrip(".,;!?"))
    return words[::-1]
