"""What a text takes back, or only explains: "wait, no, it is 72", ~~16~~, "I cannot tell", notes.

Linear in the length of the text.
"""

from __future__ import annotations

import re

_TAKEN_BACK = re.compile(
    r"(?<![A-Za-z])(?:wait[,.!…\s—-]{1,5}(?:no(?![A-Za-z])|actually|that(?:['’]s| is) (?:not right"
    r"|wrong|incorrect)|I (?:made|mis))|no,? wait|oops|scratch that|correction:"
    r"|that(?:['’]s| is| was) (?:not right|not correct|a mistake)"
    r"|I (?:misread|miscounted|miscalculated|made an? (?:mistake|error)))(?![A-Za-z])"
    r"|(?:(?<=[.!?…] )|(?<=\n))actually,? (?=(?:it['’]s |it is |the (?:correct )?answer is )"
    r"|[-$\\(]{0,3}(?:[0-9]{1,12}|[A-J])[)$]{0,2}\s*(?:[.!]|$))"
    r"|(?<=[A-J])\)?[?？] {0,2}(?:No|Nope|不是|不对?)[,，.。!]"
    r"|等(?:等|一下)[，,\s]{0,3}(?:不对|错了|算错)|更正[：:]|[算看写搞弄]错了",
    re.IGNORECASE,
)
_HINT = re.compile(
    "[?？] ?(?:No|不)|[Ww]ait|WAIT|ctually|[Oo]ops|cratch|rrect|mis[rct]|istake|not right|rong"
    "|一下|等等|更正|错了"
)
_VALUE = r"[\s*_$(:：]{0,6}(?:[-−√π½⅓⅔¼¾0-9]|\\[a-z]|[A-J](?![A-Za-z]))"
_ANEW = re.compile(
    r"(?:(?:it|that|this|answer|result|value|total|number|option)(?:['’]s| is| was| equals?)?"
    rf"(?: actually)?(?: should be| must be)?|应该?[是为]|答案[是为]|[是为]){_VALUE}|\\f?box|####"
    rf"|answer>|^\W{{0,6}}(?:{_VALUE})",
)
_REMARK = re.compile(
    r"\n[ \t]{0,3}(?:#{1,6} |[*_]{1,2}|[（(\[【])?[*_]{0,2}"
    r"(?i:(?:explanation|reasoning|justification|verification|check|notes?|remarks?|why)(?=\W)"
    r"|解析|解释|说明|理由|验证|检验|分析|注释?(?=[:：])|备注)"
)
_OFFER = re.compile(
    r"\s{1,3}(?:Let me know|Feel free|(?:I )?[Hh]ope (?:this|that|it)|Would you like|Do you want"
    r"|If you (?:have (?:any|more|further|other)|need (?:any|more|further)|want me|would like)"
    r"|如果[你您](?:还有|需要)|希望[这对能]|需要我)[^\n]{0,300}$"
    r"|(?<=[.!?。])\s{0,2}[(（](?=[A-Z\u4e00-\u9fff])(?![^()]*(?:nswer|=|[Ss]o |box))"
    r"[^()（）\n]{1,150}[.!。][)）]\W{0,4}$"
)
"""What closes a text: an offer of more help, an aside in brackets."""
_ALONE = re.compile(r"(?:^|\n)(?=[^\n]{0,40}[0-9}π∞]|\W{0,6}[A-J]\W{0,6}$)[^\n]{1,60}$")
_GOES_ON = re.compile(
    r"\b(?:so|therefore|thus|hence|answer|correct(?:ion|ed)?|also|actually|instead|could|might|may"
    r"|or)\b[^.\n]{0,80}[0-9]|\b(?:so|answer|actually)\b|\\f?box|####"
    r"|[=＝≈] ?[-$\\]{0,3}[0-9][^=\n]{0,20}\W{0,4}$"
    r"|所以|因此|答案|故",
    re.IGNORECASE,
)
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~")
_REJECTED = re.compile(
    r"(?:(?:或者?|和|、|[,，;；]|\bor\b|\band\b) ?)?"
    r"(?:\$[^$\n]{1,60}\$|[A-Za-z](?:_?[0-9])? ?[=＝] ?[-−－]?[0-9./]{1,20}) ?"
    r"[（(](?:舍去?|舍弃|不合题意|不符|reject|extraneous|discard|invalid|not valid|impossible)"
    r"[^()（）\n]{0,40}[）)]"
    r"|[（(](?:the )?(?:other|second|negative) (?:root|solution|value|one)[^()（）\n]{0,80}"
    r"(?:negative|reject|extraneous|invalid|discard|impossible|not )[^()（）\n]{0,40}[）)]"
    r"|(?:[;；]|,? (?:since|because|as|but|while)) ?"
    r"\$?(?:[a-z]\$? ?= ?)?[-0-9./]{1,12}\$? (?:fails"
    r"|does ?n[o'’]t work|does not work|is (?:too (?:small|large)|impossible))(?=\W{0,4}$)"
    r"|(?:\$[^$\n]{1,60}\$|[A-Za-z] ?[=＝] ?[-−－]?[0-9./]{1,20})(?:是增根| is (?:an )?extraneous)"
)
_MAY_REJECT = re.compile("[(（;；]|增根|extraneous|fails|too|work|impossible")
_REFUSAL = re.compile(
    r"(?<![A-Za-z])I(?:['’]m| am) (?:sorry|unable|not able)(?![A-Za-z])"
    r"|(?<![A-Za-z])I (?:cannot|can['’]?t|can not|could ?n['’o]t) (?:solve|determine|answer|find"
    r"|tell|compute|calculate|say|provide|give)(?![A-Za-z])"
    r"|(?<![A-Za-z])I (?:don['’]?t|do not) know(?![A-Za-z])|(?:not enough|insufficient) information"
    r"|(?:^|[.!?\n] ?)(?:Suppose|Assume)\b[^.!?\n]{0,200}(?=\W{0,6}$)"
    r"|[?？] (?:That|This|It)(?:['’]s| is) (?:impossible|not possible|wrong|nonsense)"
    r"|(?:cannot|can['’]t) be determined|[?？]\s{0,3}(?:No|Nope|不是|不)(?=\W*$)"
    r"|无法(?:确定|得出|解答|回答|计算)|不知道|不能确定",
)
_CONCLUDES = re.compile(
    r"\b(?:but|so|therefore|thus|hence|however|then|finally|let|we)\b|=|所以|因此|但|故|box|####",
    re.IGNORECASE,
)
_RUNG = re.compile(
    r"[\s*$\\(]{0,6}([-0-9.,/%]{1,20}?|[A-J])[\s*$\\).,;!]{0,6}(?:(?:or|and|the|The|My|my) ?){0,2}"
)


def settled(text: str) -> str:
    """What follows the last correction of a text ("wait, no"), where it answers anew.

    Without the explanation behind an answer that stands alone, where that concludes nothing.
    """
    text = _unexplained(text)
    found = list(_TAKEN_BACK.finditer(text)) if _HINT.search(text) else []
    for match in reversed(found[-8:]):
        rest = text[match.end() :]
        if _ANEW.search(rest):
            return rest
    return text


def _unexplained(text: str) -> str:
    before = _OFFER.sub("", text)
    text = before if re.search("[0-9A-J}]", before) else text
    found = _REMARK.search(text)
    if found is None or _GOES_ON.search(text, found.end()):
        return text
    before = text[: found.start()].rstrip()
    alone = _ALONE.search(before[-100:])
    return before if alone and len(re.findall("[A-Za-z]{2,}", alone.group())) <= 3 else text


def standing(text: str) -> str:
    """`text` without what is struck out, and without roots that are called rejected."""
    text = _STRUCK.sub(" ", text) if "~~" in text else text
    return _REJECTED.sub("", text) if _MAY_REJECT.search(text) else text


def unanswered(text: str) -> bool:
    """Whether a text says that it has no answer, and concludes nothing after that."""
    found = list(_REFUSAL.finditer(text))
    return bool(found) and not _CONCLUDES.search(text, found[-1].end())


def ladder(text: str, statements: list[re.Match[str]], at: int) -> bool:
    """Whether the statement before says another thing in the same words, with nothing between."""
    if not at or _rank(statements[at - 1]) != _rank(statements[at]):
        return False
    between = text[statements[at - 1].end() : statements[at].start()]
    said = _RUNG.fullmatch(between)
    after = text[statements[at].end() :].lstrip("\\ $*(")
    return said is not None and not after.startswith(said.group(1))


def _rank(statement: re.Match[str]) -> str:
    return re.sub(r"(?<=[rR])s?[\s*]?[0-9]{1,2}|\s", "", statement.group())
