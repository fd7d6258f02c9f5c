"""Multiple choice: the one letter A-J that an answer names, in any usual dress."""

from __future__ import annotations

import re

from r1jax.rewards.answers.dress import unmarked
from r1jax.rewards.answers.numeric import plain
from r1jax.rewards.answers.qualifiers import denied
from r1jax.rewards.answers.retracted import settled, standing
from r1jax.rewards.answers.wrapped import boxes

_DRESS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|rm)\b|<<|>>|[{}*_`$\"']")
_ALONE = re.compile(r"[(\[]?([A-Ja-j])[)\].:;]?")
_LETTER = r"[(\[]?([A-J])(?![A-Za-z0-9])[)\]]?"
# "A triangle", "I think": words, where a small letter follows.
_WORD = r"(?<![A-Za-z])[AI] (?!because|since|as |is |and |or )[a-z]"
_DENIED = re.compile(
    rf"(?<![A-Za-z]){_LETTER}(?:\.?(?: (?:is|are))|项|均|都|是|:)? ?"
    rf"(?:[✗✘❌]|wrong|incorrect|not(?! ?{_LETTER})|false|错误?|不对|不正确|不符"
    r"|(?:an? |the )(?:wrong|incorrect|false|trap|distractor)|for the (?:wrong|incorrect|false)"
    r"|would be (?:the )?(?:wrong|incorrect)"
    r"|would be (?:right|correct|true|possible) (?:if|when|only))"
    r"|(?:(?i:(?:wrong|incorrect|false) answers?|trap|distractor|错误答案)"
    r"(?: is| are| would be|是|[:：])?(?: option| choice|选项)?"
    r"|\b[Nn]ot\b|\b[Nn]one of\b|n't\b|ntt?\b|cannot|rather than|instead of|[Nn]either"
    r"|over(?= [A-J]\b)|rul(?:e|es|ed|ing) out|(?:eliminat|exclud)(?:e|es|ed|ing)"
    r"|(?i:(?:all|anything|everything) but|except(?: for)?)|不是|不选|而非|排除)(?: be)? ?"
    rf"{_LETTER}(?:[ ,]{{0,2}}(?:or|nor|and|或|和)? ?{_LETTER}){{0,8}}"
)
_NO_OPTION = re.compile(
    rf"(?<![A-Za-z]){_LETTER} ?(?:[<>=≤≥→]|[-=]>|\\(?:le|ge)q?|vs\.?|versus) ?{_LETTER}"
    rf"|(?:^|(?<=[.!?] )|(?<=\n))See {_LETTER}(?=\W{{0,3}}$|[.,;] | for )"
    rf"|(?i:between|of) {_LETTER}(?:, {_LETTER}){{0,4}},? (?:and|or) {_LETTER}, (?={_LETTER})"
    r"|(?<![A-Za-z])[A-J](?:[- ](?:major|minor|sharp|flat|natural|cells?)\b|\+\+|#)"
)
"""Letters that are compared, looked up, or name a key, a cell or a language."""
_DENIED_LIST = re.compile(
    rf"(?<![A-Za-z]){_LETTER}(?:[、和]{_LETTER}){{1,8}}(?:项|均|都)?(?:是?错|不对|不正确|不符)"
    rf"|(?<![A-Za-z]){_LETTER}(?:(?:, | and |, and ){_LETTER}){{1,8}} are (?:all |both )?"
    r"(?:wrong|incorrect|false|not (?:right|correct))"
)
_NAMED = re.compile(
    r"(?:(?i:answer|option|choice|choose|select|pick)|答案|选项|选择|选)[ :=\n】]{0,3}"
    r"(?:(?i:is|are|must be|should be|would be)|应该是|应为|为|是)?"
    r"[ :\n]{0,3}(?:(?i:option|choice)|选项)? {0,2}"
    + _LETTER
    + r"(?! (?!because|since|as |is |and |or )[a-z])"
    + rf"|(?<![A-Za-z]){_LETTER} is (?:the )?(?:correct|right)\b"
)
_LEADING = re.compile(
    rf"(?!{_WORD})[(\[]?([A-J])(?:[)\]]?[.:,;、]|[)\]])?(?=\s|$|[\u4e00-\u9fff])"
    r"|\(([a-j])\)|([a-j])[.):]"
)
_OPTION = re.compile(r"(?:^|\b(?:and|or) |[,;] ?)[(\[]?([A-J])[.):](?= \w)")
_LINE = re.compile(r"^ {0,3}[(\[]?([A-J])[)\].:]{0,2}(?=$|[.):\]] )", re.MULTILINE)
_SMALL = re.compile(
    r"\b(?:(?:it's|it is|its|choose|pick|answer(?: is|:)|would be:?) [(]?([a-j])[)]?\W{0,3}$"
    r"|(?:option|choice|answer)(?: is|:)? \(([a-j])\))",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"[(\[]([A-J])[)\]]")
_STANDING = re.compile(r"(?<![A-Za-z])([B-HJ])(?![A-Za-z]| ?[=<>])")
_LAST = re.compile(
    rf"(?!{_WORD})(?<!\ban )(?<!\ba )(?<![A-Za-z=])(?<![A-J]-)([A-J])(?![A-Za-z0-9']| ?[=<>])"
)
_LABEL = re.compile(
    r"(?:\b(?:vitamin|section|hepatitis|type|grade|part|figure|table|plan|class|group|appendix|influenza"
    r"|protein|team|person|student|point)|[0-9°]) ?$",
    re.IGNORECASE,
)
_IF = re.compile(r"(?:^|[.!?\n] ?)(?:If|Unless)\b[^.!?\n]{0,70}$|如果[^。\n]{0,40}$")
_ROW = re.compile(r"(?:[(\[]?[A-J][)\]]?[.,;/&\s]{1,3}){1,9}[(\[]?[A-J][)\]]?\W{0,3}")
_JOIN = r" {0,2}(?:[,;/&|、]|or\b|and\b|或者?|和)"
_OTHER_AFTER = re.compile(
    rf"[)\]]?(?:选项|项)?(?:{_JOIN}{{1,2}}| ?\((?:maybe|perhaps|possibly|or)) {{0,2}}(?:or )?"
    rf"[(\[]?(?!{_WORD})[A-J](?![A-Za-z'])"
)
_OTHER_BEFORE = re.compile(rf"[A-J][)\]]?{_JOIN} {{0,2}}[(\[]?$")


def choice_letter(text: str) -> str | None:
    """The letter, upper case; None where the text names none, or several as guesses."""
    text = _undressed(text)
    if alone := _ALONE.fullmatch(text):
        return alone.group(1).upper()
    if len({letter for letter in _LINE.findall(text)}) > 1:
        return None
    stated = _stated(text)
    if stated is not None:
        return stated or None
    for pattern in (_BRACKETED, _STANDING):
        letters = {letter.upper() for letter in pattern.findall(text)}
        if letters:
            return letters.pop() if len(letters) == 1 else None
    return None


def final_letter(text: str) -> str | None:
    """The letter that a whole text ends in: where it says so, on a line of its own, or last."""
    text = _undressed(text)
    stated = _stated(text)
    if stated is not None:
        return stated or None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(set(_labelled(lines))) > 1:
        return None
    if lines and (alone := _ALONE.fullmatch(lines[-1])):
        earlier = _ALONE.fullmatch(lines[-2]) if len(lines) > 1 else None
        guess = earlier and earlier.group(1).upper() != alone.group(1).upper()
        return None if guess else alone.group(1).upper()
    if small := _SMALL.search(text[-80:]):
        return (small.group(1) or small.group(2)).upper()
    last = next((m for m in reversed(list(_LAST.finditer(text))) if not _is_label(text, m)), None)
    return None if last is None or _guessed(text, *last.span(1)) else last.group(1)


def _is_label(text: str, match: re.Match[str]) -> bool:
    """Whether a letter belongs to a word or a number before it: vitamin C, 30 °C."""
    return _LABEL.search(text, max(0, match.start() - 20), match.start()) is not None


def _labelled(lines: list[str]) -> list[str]:
    """The letters of the last two lines `Student 1: A`, `Student 2: B`."""
    found = [
        re.fullmatch(r"([A-Za-z ]{1,20}?) ?[0-9]{1,2}: ?\(?([A-J])\)?\W?", x) for x in lines[-2:]
    ]
    same = len({m.group(1) for m in found if m}) == 1 and all(found)
    return [m.group(2) for m in found if m and same]


def _undressed(text: str) -> str:
    found = boxes(text)
    kept = [box for box in found if not denied(text[max(0, box[0] - 40) : box[0]].rstrip("$ "))]
    inside = list(dict.fromkeys(content for _, _, content in kept or found))
    if inside:
        text = ", ".join(inside)
    text = _DENIED_LIST.sub(" ", settled(standing(unmarked(text))))
    return _DENIED.sub(" ", _NO_OPTION.sub(" ", _DRESS.sub("", plain(text)))).strip()


def _stated(text: str) -> str | None:
    """The letter of the last "the answer is B", else of "B. Paris" at the start; "" for a guess."""
    if _ROW.fullmatch(text) and len(set(re.findall("[A-J]", text))) > 1:
        return ""
    every = list(_NAMED.finditer(text))
    meant = [m for m in every if not _IF.search(text[max(0, m.start() - 80) : m.start()])]
    named = next(reversed(meant or every), None)
    found = named or _LEADING.match(text)
    if found is None:
        return None
    if named is not None and _ladder(text, every):
        return ""
    if named is None and len(set(_OPTION.findall(text.splitlines()[0]))) > 1:
        return ""
    group = next(i for i, letter in enumerate(found.groups(), 1) if letter)
    return "" if _guessed(text, *found.span(group)) else found.group(group).upper()


def _ladder(text: str, named: list[re.Match[str]]) -> bool:
    """Whether the last two say different letters in the same words, with nothing between."""
    if len(named) < 2:
        return False
    (before, after), letters = named[-2:], [re.findall("[A-J]", m.group())[-1:] for m in named[-2:]]
    between = text[before.end() : after.start()]
    same = before.group()[:-1].strip() == after.group()[:-1].strip()
    return same and letters[0] != letters[1] and not re.search(r"\w{4}", between)


def _guessed(text: str, start: int, end: int) -> bool:
    """Whether another letter is offered beside the one at `start`."""
    return bool(
        _OTHER_AFTER.match(text, end) or _OTHER_BEFORE.search(text[max(0, start - 12) : start])
    )


_LETTERS = (
    r"[(\[]?[A-J][)\]]?(?:(?:[ ,;、/&+]|and|和|及|与){0,6}[(\[]?[A-J](?![A-Za-z])[)\]]?|[A-J]){1,9}"
)
_SEVERAL = re.compile(
    r"(?:(?i:answers?|options?|choices?|choose|select)|答案|选项|选择|选)[ :\n】]{0,3}"
    r"(?:(?i:is|are|must be|should be)|应该是|应为|为|是)?[ :\n]{0,3}"
    r"(?:(?i:options?|choices?|both)|选项)? {0,2}"
    rf"({_LETTERS})(?![A-Za-z])"
)
_SEVERAL_ALONE = re.compile(rf"({_LETTERS})[.。]?")


def choice_letters(text: str) -> str | None:
    """The letters that a text names where several are right, in order; None for one or none."""
    text = _undressed(text)
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    named = next(reversed(list(_SEVERAL.finditer(text))), None)
    last = last.upper() if re.fullmatch("[a-j]{2,5}", last) else last
    found = named or _SEVERAL_ALONE.fullmatch(last)
    if found is None:
        return None
    letters = sorted(set(re.findall(r"(?<![a-z])[A-J]", found.group(1))))
    return "".join(letters) if len(letters) > 1 else None


_GOLD = re.compile(r"[\s$]*(?:\\(?:text|textbf|mathrm) ?\{ ?)?\(?([A-J])\)?[ }$.]*")
_BEFORE_TEXT = re.compile(
    r"[\s$*]*(?:\\(?:text|textbf|mathrm|mathbf|bf|rm)[ {]{0,3}){0,2}\(?([A-J])(?:\)|[.:](?= ))"
)
_BEHIND_TEXT = re.compile(r"^[^\n]{1,40} \(([A-J])\)[\s.$}]{0,4}$")


def beside_its_option(gold: str, given: str) -> bool:
    """Whether a gold that is a letter stands beside the text of its option: (C) 12."""
    letter = _GOLD.fullmatch(gold)
    named = (_BEFORE_TEXT.match(given) or _BEHIND_TEXT.search(given)) if letter else None
    return bool(named and letter and named[1] == letter[1] == choice_letter(given))
