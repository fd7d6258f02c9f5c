"""The formulas of a sentence, told from its words."""

from __future__ import annotations

import re

from r1jax.rewards.answers.qualifiers import qualified
from r1jax.rewards.answers.units import known

MATHY = re.compile(r"[0-9０-９]|\\[A-Za-z]|∞|[A-Za-z)][=<>^]|√|[½⅓⅔¼¾⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚⅐⅑π]|\x00|\{ ?\}|∅")
"""What a formula or number has and a word has not."""

_TOKEN = re.compile(
    r"\x00\d+\x00|\n"
    r"|[^\s\x00\u4e00-\u9fff]{0,40}\\(?:text|mbox|mathrm) ?\{[^{}\n]{0,60}\}[^\s\x00\u4e00-\u9fff]*"
    r"|[\u4e00-\u9fff]+|[^\s\x00\u4e00-\u9fff]+"
)
_PROSE = re.compile(r"[\"'(\[]*[A-Za-z]{2,}[A-Za-z'\-]*[\"')\]]*[.,;:!?\"')]*")
_NAMES = re.compile(r"\(?[a-z](?: ?, ?[a-z]){0,5}\)?|[a-z]\([a-z]\)")
_SUCH = re.compile(
    r"(?:triples?|pairs?|tuples?|quadruples?|integers?|numbers?|points?|sets?|solutions?|functions?"
    r"|polynomials?|values?|primes?|matrices|subsets?|sequences?)(?: of)? {0,3}$"
)
_PRODUCT = re.compile(r"[A-Za-z]{2,3}(?=\W?$)[.,;]?")
_FUNCTION = re.compile(r"(?:pi|sqrt|sin|cos|tan|ln|log|inf|infinity)(?![A-Za-z])")
_OPERATOR_END = re.compile(r"(?:[-+*/^×÷·]|\\cdot|\\times)\s*$")
_OPERATOR_START = re.compile(r"\s*(?:[+*/^×÷·])")
_LABEL = re.compile(
    r"(?i:\b(?:step|question|problem|equation|section|chapter|appendix|table"
    r"|figure|page|exercise|example|lemma|theorem)) ?[(#]?$"
)
_COUNTED_LABEL = re.compile(r"第 ?$"), re.compile(r"[题问步页章节图式]")
_BARE = re.compile(r"[-+$]?[0-9][0-9.,/]{0,30}%?\$?")
_SAID = {"等于": "=", "不等于": "\\ne"}
_LINKS = frozenset(
    "and or maybe perhaps possibly either alternatively else & 或 或者 和 与 及 以及 且 "
    "并且".split()
)
_JOINERS = {"且": " 且 ", "并且": " 且 ", "and": " and "}
NO_VALUE = "\\text{no value}"
"""What a formula is marked with that its sentence makes no answer."""


def groups_of(text: str, pieces: list[str]) -> list[str] | None:
    """The formulas of a sentence, joined ones together; None where there is no sentence.

    `text` holds \x00i\x00 where `pieces[i]` stood. What a word beside it makes a bound or no
    answer is `refused`.
    """
    sentence = _Sentence(text, pieces)
    prose = False
    tokens = list(_TOKEN.finditer(text))
    for at, match in enumerate(tokens):
        following = tokens[at + 1].group() if at + 1 < len(tokens) else ""
        token = _SAID.get(match.group(), match.group())
        cased = token.strip(".,;:!?\"'()")
        word = cased.lower()
        if token.startswith("\x00"):
            if sentence.run and sentence.run[-1].startswith("\x00") and not sentence.gap:
                sentence.run.append(",")
            sentence.take(token, match)
        elif token == "\n":
            sentence.close()
        elif word == "a" and _PROSE.fullmatch(following):  # 540 meters a week
            prose = True
            sentence.close()
        elif word in _LINKS and sentence.run:
            sentence.gap.append(token)
        elif sentence.run and _PRODUCT.fullmatch(token) and _between(sentence.run[-1], following):
            sentence.take(token, match)
        elif (_PROSE.fullmatch(token) and not _FUNCTION.match(token)) or _is_chinese(token):
            prose = True
            if sentence.run and not sentence.gap and known(cased) is not None:
                sentence.take(token, match)
            elif sentence.run and not sentence.gap and following.lower() in _LINKS:
                sentence.gap.append("")
            else:
                sentence.close()
        else:
            sentence.take(token, match)
            ends = token.endswith((".", "!", "?", ":")) and not token.endswith("\\!")
            ends = ends and not (token[-1] == ":" and _is_open(sentence.run))  # {x: x > 2}
            if ends and len(token) > 1 and following:
                sentence.close()
    sentence.close()
    if sentence.labels and not sentence.groups:
        return [refused(sentence.labels[-1])]
    bare = not prose and all(_BARE.fullmatch(group) for group in sentence.groups)
    if bare and len(set(sentence.groups)) > 1:
        return [", ".join(sentence.groups)]
    return sentence.groups if prose or len(sentence.groups) > 1 else None


def refused(text: str) -> str:
    """`text` as something that is no value."""
    return f"{NO_VALUE}({text})"


def _between(before: str, after: str) -> bool:
    """Whether letters between these two tokens are factors: p^2 - pq + q^2."""
    ends = after in ("", "+", "-", "*", "/", "=", "\n") or after.startswith("\\text")
    return ends and before in ("+", "-", "*", "/", "=")


def _is_open(run: list[str]) -> bool:
    return sum(part.count("{") - part.count("}") for part in run) > 0


def _is_chinese(token: str) -> bool:
    return "\u4e00" <= token[0] <= "\u9fff"


class _Sentence:
    """The groups so far, and the run of formulas that is being read."""

    def __init__(self, text: str, pieces: list[str]) -> None:
        self.text, self.pieces = text, pieces
        self.groups: list[str] = []
        self.run: list[str] = []
        self.gap: list[str] = []
        self.labels: list[str] = []
        self.start = self.end = 0

    def take(self, token: str, match: re.Match[str]) -> None:
        """One more token of the run."""
        if not self.run:
            self.start = match.start()
        if self.gap:
            self.run.append(_JOINERS.get(self.gap[-1].lower().strip(",;"), " or "))
            self.gap.clear()
        self.run.append(token)
        self.end = match.end()

    def close(self) -> None:
        """Ends a run; one that an operator or a word ties to another thing is no answer."""
        text, signed = " ".join(self.run), self.run[:1] and self.run[0].startswith("\x00")
        self.run.clear()
        self.gap.clear()
        if not MATHY.search(text):
            return
        text = re.sub(r"\x00(\d+)\x00", lambda m: self.pieces[int(m.group(1))], text)
        stops = len(text) - len(text.rstrip(".;:!?"))
        text = text.strip().rstrip(".,;:!?").rstrip()
        before = self.text[max(0, self.start - 80) : self.start]
        after = "" if stops else self.text[self.end : self.end + 80]
        chinese = all(p.search(t) for p, t in zip(_COUNTED_LABEL, (before, after[:1]), strict=True))
        if chinese or _LABEL.search(before):
            self.labels.append(text)
            return
        if self.groups and _NAMES.fullmatch(text) and _SUCH.search(before):
            return
        start = re.sub(r"^\+(?= ?\\infty)", "", text) if signed else text
        tied = _OPERATOR_END.search(text) or _OPERATOR_START.match(start)
        self.groups.append(refused(text) if tied or qualified(before, after) else text)
