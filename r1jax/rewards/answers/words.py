"""Whether an answer in words begins or ends with the gold: "Yes, because ..."."""

from __future__ import annotations

import re

from r1jax.rewards.answers.compare import right
from r1jax.rewards.answers.reading import clause
from r1jax.rewards.answers.values import read

_IT_IS = re.compile(r"(?:it|they|he|she|there|this|that|we|you) [a-z]{2,5}(?:n['’]t| not)?")
_NOT_OTHER = re.compile(
    r"[,，]? ?(?:\bnot\b|rather than|而?不是)(?= an? |[^ ])[^.。\n]{1,60}(?=\W*$)"
)


_BEST = re.compile(
    r" (?:is|was|has|had|ran|runs|won|wins|got|gets|scored|gives) "
    r"the (?:[a-z]+est|most|least|only|correct|winner|first|last)\b(?!.*(?: than |[,;]))",
    re.IGNORECASE,
)
_IS = (
    r"\b(?:(?:is|are|was|be)(?: the (?:equation|graph) of)?"
    r"|(?:represents?|describes?|forms?)(?= an? ))(?: an?| the| on)?"
)
_BOLD = re.compile(r"\*\*([^*\n]{1,60})\*\*")
_NEGATION = re.compile(
    r"\b(?:not?|never|neither|nor|or|cannot|rather than|anything but|instead of|hardly"
    r"|scarcely|fail(?:s|ed)?|impossible|excluded?|excluding|would|(?:could|might|may|can) be|if"
    r"|unless|false|wrong|incorrect)\b|n['’]t|\?$|不|或|非|未必|无法|难以|没有|可能|排除|如果|若",
    re.IGNORECASE,
)
_SAID_BOLD = re.compile(rf"(?:{_IS}|是|为)[ :：]?\*\*", re.IGNORECASE)
_CIRCLED = re.compile("[①-⑳](?:[、,，和 ]{0,3}[①-⑳])*")
_FALSE = re.compile("[^①-⑳,，。;；]{0,6}?(?:错|不|false|wrong|incorrect)")


def _circled(gold: str, given: str) -> bool:
    """The same statements ①③④, in any order: the last that are not called wrong."""
    runs = [m for m in _CIRCLED.finditer(given) if not _FALSE.match(given, m.end())]
    either = len(runs) > 1 and re.fullmatch(
        r"\W*(?:或者?|or)\W*", given[runs[-2].end() : runs[-1].start()]
    )
    said = set(re.findall("[①-⑳]", runs[-1].group())) if runs and not either else set()
    return said == set(re.findall("[①-⑳]", gold))


def stands_first(gold: str, given: str) -> bool:
    """Whether the gold begins the answer, and a reason follows: "Yes, because ..."."""
    if _CIRCLED.fullmatch(gold.strip()):
        return _circled(gold, given)
    first = re.split(r"[,，:：;—–]", clause(given).strip(" *"))[0].strip(" *")
    given = re.sub(r"\\text(?:bf|it|rm)? ?\{([^{}]*)\}", r"\1", _NOT_OTHER.sub("", given))
    sentence = re.split(r"[.!?](?=\s)|[。！？\n]", given.strip(" .。!*\n"))[-1]
    name = read(gold).text
    ends = re.search(
        rf"(?:{_IS}|(?<!不)是(?:[^，,。]{{0,30}}的)?) ?[*]{{0,2}}{re.escape(name)}[*]{{0,2}}"
        r"(?: (?:function|number|integer|triangle|angle|sequence|series|one))?$",
        sentence,
        re.I,
    )
    concluded = re.split(r",? (?:so|hence|thus|therefore) ", sentence)[-1]
    best = concluded[: len(name)].lower() == name.lower() and _BEST.match(concluded, len(name))
    if best and not _NEGATION.search(concluded[len(name) :]):
        return True
    if ends and not _NEGATION.search(sentence[: ends.start()]):
        return True
    rest = given.strip(" *")[len(first) :].strip(" .,;!*—–-\n")
    return right(gold, first) and (
        not rest or len(rest.split()) > 2 or bool(_IT_IS.fullmatch(rest))
    )


def marked(gold: str, answer: str) -> bool:
    """Whether the gold is all that is bold in the last sentence: this is an **ellipse**."""
    sentence = re.split(r"[.!?](?=\s)|[。！？\n]", answer.strip())[-1]
    bold = _BOLD.findall(sentence)
    return (
        len(bold) == 1
        and right(gold, bold[0].strip(" .:"))
        and _SAID_BOLD.search(sentence) is not None
        and not _NEGATION.search(_BOLD.sub("", sentence))
    )
