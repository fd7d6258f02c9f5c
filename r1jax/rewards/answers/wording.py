"""Everyday wording around an answer, made plain before the sentence is read.

Bold that marks the answer in a sentence that goes on, notes and units in brackets, "needs at least
17" where the question asks for the least, and times of day. Linear in the length of the text.
"""

from __future__ import annotations

import re
from fractions import Fraction

from r1jax.rewards.answers.attached import ASIDE, detached
from r1jax.rewards.answers.bounds import bounded
from r1jax.rewards.answers.qualifiers import no_unit, qualified
from r1jax.rewards.answers.quantified import unspoken
from r1jax.rewards.answers.retracted import standing
from r1jax.rewards.answers.units import known, measured

_BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*|__([^_\n]{1,80})__")
_VALUE = re.compile(
    r"(?:[A-Za-z] ?= ?)?[-$\\(¥€£½⅓⅔¼¾⅛√]{0,4}[0-9π√½⅓⅔¼¾⅛][^:：]{0,79}|\$[^$]{1,78}\$"
)
_GOES_ON = re.compile(
    r"\W{0,3}(?:or|and|to|through|out of|plus|minus|times|或|和|至|到|×)\b"
    r"|[ (]{0,3}[-+*/=<>^,–]? ?[0-9$\\*]"
    r"|[\W_]{0,6}$"
)
_NOTE = re.compile(
    r"(?<=[0-9A-Za-zπ}$\u4e00-\u9fff)²³%]) ?[（(] ?"
    r"(?:round(?:ed|ing)|即|也就是|或写成|约为?|i\.e\.,?|that is,?|or about"
    r"|[0-9]{1,9} (?:from|for|by|at|in) |which is|equivalent(?:ly)?|≈|approximately|about)"
    r"(?! not)[^()（）\n]{1,60}[）)]"
)
_ADDED = re.compile(r"(-?[0-9][0-9.,]{0,20}) ?[（(] ?= ?([-+*/×0-9. ]{1,60})[)）]")
_DASHED = re.compile(r"(?<=[0-9}$)]) [—–] (?=[A-Za-z])[^0-9\n]{1,60}$")
_UNIT_NOTE = re.compile(
    r"(?<=[0-9π}$)]) ?[（(]((?:[\u4e00-\u9fff]{1,6}|[A-Za-z]{2,14}(?: [a-z]{2,12})?[²³]?"
    r"|[mk]|k?m/[hs]))[)）](?=\W{0,4}(?:$|\n))"
)
_NUMBER_NEXT = r"(?:a total of |exactly )?(?=[-$\\0-9\x00*])"
_NEEDED = re.compile(
    r"\b((?:needs?|needed|takes?|requires?|required|(?:must|ha[sd] to|have to|should|needs? to) "
    r"(?!be\b|exceed|equal|have\b|contain)[a-z]+(?: (?:a|the|out))?)) (?:at least|a minimum of) +"
    + _NUMBER_NEXT,
    re.IGNORECASE,
)
_ABLE = re.compile(
    r"\b((?:can|could)(?: only| then)? (?!be (?:at|up)\b|equal|exceed)[a-z]+(?: [a-z]+){0,2}) "
    r"(?:at most|up to|a maximum of) +" + _NUMBER_NEXT,
    re.IGNORECASE,
)
_PASSIVE = re.compile(
    r"\b(?:at least|at most|a minimum of|a maximum of|up to) "
    r"(?=[-$*]{0,3}[0-9][0-9.,]{0,20}[$*]{0,3}(?: [a-z]+){1,4} "
    r"(?:(?:can|could|may) be|(?:is|are) (?:needed|required|possible)|must be|needs? to be)"
    r" ?(?!less|more|equal|greater))",
    re.IGNORECASE,
)
_NEEDED_CHINESE = re.compile(
    r"(?:(?:至少|最少)(?:还)?(?P<a>(?:需要?|要|得|应|必须)(?:[\u4e00-\u9fff]{0,2}?)"
    r"|(?:取|买|摸|抽|选|租|用|拿|拿出|取出|摸出)出?)"
    r"|(?P<b>需要?|要|得|必须)(?:至少|最少)|最多(?:只)?(?P<c>能|可以|可)(?P<d>[\u4e00-\u9fff]{0,3}?)"
    r"|(?P<e>能|可以)(?P<f>[\u4e00-\u9fff]{0,2})(?:最多|至多))(?=[-$\\0-9*])"
)
_CLOCK_WORDS = re.compile(r"(?<=[0-9]) ?([ap])\.? ?m\b\.?(?![A-Za-z])", re.IGNORECASE)
_FENCE = re.compile(r"```[a-z]{0,12}\n?")
_ROW = re.compile(r"^[ \t]{0,3}\|([^|\n]{0,200}\|[^\n]{0,400})\|[ \t]{0,3}$", re.MULTILINE)
_RULE = re.compile(r"^[ \t]{0,3}\|(?: {0,9}:?-{2,200}:? {0,9}\|){2,64}[ \t]{0,3}$", re.MULTILINE)
"""The line below a table's head; without it bars are those of |x| + |y|."""
_STAR = re.compile(
    r"^[ \t]{0,3}(?:[*•] +(?=[-$\\0-9])(?![^*\n]{1,80}\*[.\s]{0,3}$)"
    r"|[-+*•] +(?=\*\*)|#{1,3} +(?=[-$\\0-9*])|> ?(?=\*\*))",
    re.MULTILINE,
)
_QUOTED = re.compile(r"(?<=\n)> ?")
_TONE = re.compile(
    r"\\text ?\{ ?\(?(?:not (?:really |quite |entirely )?(?:sure|certain)|I think|I guess|probably)"
    r"\)? ?\}|, I (?:think|believe|guess|suppose)(?=\W*$)"
)
_MEASURE = r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([A-Za-z]{1,12}|[\u4e00-\u9fff]{1,3})"
_REPEATED = re.compile(rf"{_MEASURE}(?: ?[(（]|,? (?:or|i\.e\.,?) ){_MEASURE}[)）]?(?![A-Za-z])")
_RATIO = re.compile(
    r"(?:^\W{0,6}|(?<=[Rr]atio)([^.\n0-9]{1,60}))(?<![0-9])([0-9]{1,9}) to ([0-9]{1,9})"
    r"(?: to ([0-9]{1,9}))?(?=\W{0,6}$)"
)
_DIVIDED = re.compile(
    r" (?:when|upon|after|on) (?:it is |[^\s.]{1,12} is )?(?:divided|division) by "
    r"[^.\n]{1,30}(?=\W*$)"
)
_ROUNDED = re.compile(r"\brounded (?:up|down|off) to(?= [-$0-9])")
_EACH = re.compile(
    r" (?:for|to) each (?:of )?(?:the |his |her |their )?[0-9]{1,4} [a-z]{2,20}(?=\W*$)"
)
_WITHIN = re.compile(
    r"(?<=[0-9]) [a-z]{2,20}(?: ?(?:/|per) ?[a-z]{2,20})?(?= ?(?:[×*·÷+]|\\times|\\cdot) ?\$?[0-9])"
    r"|(?<=[0-9]) [a-z]{2,20} ?(?:/|per) ?[a-z]{2,20}(?= ?= ?\$?[0-9])"
)
"""Units of factors: 3 boxes × 4 eggs/box = 12 eggs."""
_BEHIND = re.compile(
    r"([0-9][^.\n]{0,80}?)"
    r"(?: after (?:the )?[0-9]{1,6}(?: [a-z]{2,20})? (?:were|was|are|is|had|have)\b[^.\n0-9]{0,60}"
    r"| (?:after|before|including|excluding) (?:the|an?|her|his|their|all|[a-z]{3,12}ing)\b"
    rf"{ASIDE}"
    r"| to (?:reach|finish|complete|fill|read|cover|cross|carry|move|make|pay|buy|get to|type"
    r"|travel|drive|walk|run|bake|paint|feed|seat|save|earn)(?: (?:the|all|her|his|their)){0,2} "
    r"\$?[0-9][0-9,.]{0,12}(?: [a-z]{2,20}){0,3})(?=\W*$)"
    r"|(\bby \$?[0-9][0-9.,]{0,12}%?(?: [a-z]{2,20}){0,2}),? from [^.\n]{1,30}? to [^.\n]{1,20}"
    r"(?=\W*$)"
)
"""What stands behind an answer: when, for what, and from what to what."""
_MEANWHILE = re.compile(
    r" (?:for|in|after|over|within) [0-9]{1,6} (?:second|minute|hour|day|week|month|year)s?(?=, )"
)
_FOR_THEM = re.compile(
    r"([0-9][^\n]{0,80}?)"
    r"(?: for (?:all )?(?:the|his|her|their|these|those|all) [0-9]{1,4} [a-z]{2,20}"
    r"|, [0-9]{1,9} of (?:them|which|whom)\b[^.\n]{0,80})(?=\W*$)"
)
_SUBJECT = re.compile(
    r"(?:^|(?<=[.!?\n] )|(?<=\n))((?:(?:Therefore|Thus|So|Hence|Then|Now|Finally),? )?"
    r"\$?[0-9][0-9.,]{0,20}%?\$?(?: [a-z]{2,20}){0,2}) (?:is|are|was|were|will be|ha(?:s|ve) been) "
    r"(?:the|needed|required|left|spent|used|sold|made|eaten|given|produced|what|how)\b"
    r"[^.=,;:\n]{0,160}[.!]?\s{0,9}$"
)
_REMARK = re.compile(
    r"(?<=[a-z]) \((?!(?:or|and|alternat|else|maybe|perhaps|possibly|could|might|not|if|wrong"
    r"|incorrect|false|except|unless)\b)(?=[^()\n]{0,60}[a-z]{2} [a-z])[^()\n]{1,80}\)(?=\W{0,3}$)"
)
_SHARE = re.compile(
    r"(?:([0-9][0-9.]{0,9})(?:\\?%| percent)|([0-9]{1,4}/[0-9]{1,4})) of "
    r"(?=\$?[0-9][0-9,.]{0,20} ?=)"
)
_SUM = re.compile(
    r"(?<=[0-9]) (times|plus|minus|divided by) "
    r"(?=[0-9][0-9.,]{0,20} (?:=|(?:times|plus|minus|divided by) ))"
)
_COUNTING = re.compile(
    r" (?:to|of|in|for|after|over|within|times|plus|minus|by|is|are|was|were|been|each|below zero)"
    r"(?![A-Za-z])"
)
_OPERATORS = {"times": "*", "plus": "+", "minus": "-", "divided by": "/"}
_BELOW_ZERO = re.compile(
    r"([0-9]{1,6}) ?(?:degrees? |° ?)?(?:[CF] |Celsius |Fahrenheit )?below zero"
)
_OUT_OF = re.compile(
    r"([0-9][0-9,]{0,12}(?: [a-z]{2,20}){0,3}) out of (?:the |a total of )?[0-9][0-9,]{0,12}"
)
_PART_OF = re.compile(r"(?<=[0-9]) of (?:the|these|those|his|her|their) [0-9]{1,6}(?= [a-z])")
_CHANCE = re.compile(
    r"((?:probability|chance|fraction|likelihood)[^.\n0-9]{1,80})([0-9]{1,9}) (?:out of|in) "
    r"([0-9]{1,9})(?=\W{0,6}$)"
)
_ADVERBIAL = re.compile(
    r"(?:^|(?<=[.!?\n] )|(?<=\n))(?:In|After|For|Within|Over|During) "
    r"[$0-9][0-9.,]{0,12} [a-z]{2,20}"
    r"(?: [a-z]{2,20})?, (?=[^.\n]{0,200}[0-9])"
)
_ARROW = re.compile(
    r"^\W{0,3}?(\$?)(?:=>|->|→|⇒|\\(?:implies|Rightarrow|Longrightarrow|to)(?![A-Za-z])) ?"
)
_ROOT = re.compile(r"(?:(?<=[0-9])倍的?)?根号 ?(?=[0-9(（])()")
_CHINESE_CLOCK = re.compile(
    r"(?:(上午|早上|凌晨|中午|下午|晚上) ?)?(?<![0-9:])([0-9]{1,2}) ?"
    r"(?:[点时]|(?<=\d)[:：](?=\d)) ?([0-9]{2}) ?分?"
)
_BASED = re.compile(r"([0-9]{1,40}),? \(?(?:in )?base[- ]([a-z]{3,7}|[0-9]{1,2})\b\)?")
_NOT_BUT = re.compile(r"并?不是[^，,。\n]{1,20}[，,] ?而?是")


def worded(text: str) -> str:
    """`text` with everyday wording made plain; what makes a number no answer stays."""
    text = bounded(_ADVERBIAL.sub("", detached(emphasized(unlaid(standing(text))))))
    text = _ROUNDED.sub("is", _TONE.sub("", _REPEATED.sub(_once, measured(text))))
    text = unspoken(_DASHED.sub("", text))
    text = _WITHIN.sub("", text) if "=" in text else text
    if _COUNTING.search(text):
        text = _counted(text)
    text = _ROOT.sub(r"√\1", _ARROW.sub(r"\1", text))
    if "(" in text or "（" in text:
        text = _ADDED.sub(r"\2 = \1", text)
        text = _REMARK.sub("", text) if re.search("[0-9]", text.split("(")[0]) else text
        text = _UNIT_NOTE.sub(_unit, _NOTE.sub("", text))
    text = _NEEDED_CHINESE.sub(lambda m: "".join(filter(None, m.groups())), text)
    for pattern in (_NEEDED, _ABLE):
        text = pattern.sub(r"\1 ", text)
    text = _CHINESE_CLOCK.sub(_clock, _NOT_BUT.sub("是", _BASED.sub(r"\1_{\2}", text)))
    return _CLOCK_WORDS.sub(lambda m: f"{m.group(1).lower()}m ", _PASSIVE.sub("", text))


def unlaid(text: str) -> str:
    """`text` without bullets, code fences and the bars of a table."""
    if "`" in text:
        text = _FENCE.sub("\n", text)
    if "--" in text and _RULE.search(text):
        text = _ROW.sub(lambda m: m.group(1).replace("|", " "), text)
    if "\n>" in text:
        text = _QUOTED.sub("", text)
    return _STAR.sub("", text)


def _counted(text: str) -> str:
    """Ratios, shares and sums in words: 1 to 3, 3 out of 8, 8 times 3 = 24."""
    text = _CHANCE.sub(r"\1\2/\3", _RATIO.sub(_ratio, text))
    text = _BEHIND.sub(lambda m: m[1] or m[2], _PART_OF.sub("", _MEANWHILE.sub("", text)))
    text = _FOR_THEM.sub(r"\1", _EACH.sub("", _DIVIDED.sub("", _OUT_OF.sub(r"\1", text))))
    text = _BELOW_ZERO.sub(r"-\1", text)
    text = _SHARE.sub(lambda m: f"{m.group(2) or m.group(1) + '/100'} * ", text)
    text = _SUBJECT.sub(r"\1", text)
    return _SUM.sub(lambda m: f" {_OPERATORS[m.group(1)]} ", text)


def _once(match: re.Match[str]) -> str:
    """120 minutes (2 hours) as 120 minutes."""
    many, unit, again, other = match.groups()
    a, b = known(unit), known(other)
    same = a and b and a[0] == b[0] and Fraction(many) * a[1] == Fraction(again) * b[1]
    return f"{many} {unit}" if same else match.group()


def _ratio(match: re.Match[str]) -> str:
    return f"{match.group(1) or ''}{':'.join(filter(None, match.groups()[1:]))}"


def _unit(match: re.Match[str]) -> str:
    return match.group() if no_unit(match.group(1)) else f" {match.group(1)}"


def _clock(match: re.Match[str]) -> str:
    half, hour, minute = match.groups()
    return f"{hour}:{minute}" + {"": "", "上": "am", "早": "am", "凌": "am"}.get(
        (half or "")[:1], "pm"
    )


def emphasized(text: str) -> str:
    """`text` cut behind the one bold value of its last line, where the sentence only goes on."""
    if "**" not in text and "__" not in text:
        return text
    body = text.rstrip()
    start = body.rfind("\n") + 1
    marks = [m for m in _BOLD.finditer(body, start) if _VALUE.fullmatch(m.group(1) or m.group(2))]
    if len(marks) != 1:
        return text
    end = marks[0].end()
    tail = body[end:]
    if _GOES_ON.match(tail) or qualified("", tail) or "=" in tail or "box" in tail:
        return text
    return f"{body[: marks[0].start()]} {marks[0].group(1) or marks[0].group(2)}"


_ASKED = re.compile(r"(?=[^=]{0,160}[A-Za-z])([^=<>]{3,160})=([^<>]{1,200})")


def unnamed(answer: str, question: str) -> str:
    """The 204 of `m + n = 204`, or of `m + n = 200 + 4 = 204`, where the question names m + n.

    Where nobody knows the question, what was calculated is believed to be what it asks for.
    """
    named = _ASKED.fullmatch(answer.replace("$", "").strip())
    if named is None or "\\begin" in answer:
        return answer
    asked = _close(named.group(1)) in _close(question) if question else "=" in named.group(2)
    return named.group(2) if asked else answer


def _close(text: str) -> str:
    return re.sub(r"[\s$*]|\\cdot", "", text)
