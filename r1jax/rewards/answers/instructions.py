"""IFEval's verifiable instructions (2311.07911): the 25 kinds, each a check of a reply's text.

Written from the published definitions, and linear in the text, whatever it holds. Two readings are
our own: sentences end at punctuation (no trained splitter), and a language is told by py3langid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards.identify import language_of, require

_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s+[^\sa-z]|\s*$)|[。！？]")
_SHORT = re.compile(r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e|No|Inc|Ltd))\.$")
_WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")
_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCES = ("```json", "```Json", "```JSON", "```")


def compared(count: int, relation: str, limit: int) -> bool:
    """Whether a count stands in one of IFEval's two relations to a limit."""
    if relation not in ("less than", "at least"):
        raise ValueError(f"relation {relation!r}; expected less than or at least")
    return count < limit if relation == "less than" else count >= limit


def sentences(text: str) -> int:
    """How many sentences a text has; what no punctuation ends counts too."""
    found = (m.end() for m in _SENTENCE_END.finditer(text))
    ends = [end for end in found if not _SHORT.search(text[max(0, end - 8) : end])]
    return len(ends) + bool(text[ends[-1] if ends else 0 :].strip())


def _keywords_existence(text: str, keywords: Sequence[str]) -> bool:
    return all(re.search(re.escape(word), text, re.IGNORECASE) for word in keywords)


def _keywords_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    found = re.findall(re.escape(keyword), text, re.IGNORECASE)
    return compared(len(found), relation, frequency)


def _keywords_forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    words = (rf"\b{re.escape(word)}\b" for word in forbidden_words)
    return not any(re.search(word, text, re.IGNORECASE) for word in words)


def _keywords_letter_frequency(
    text: str, letter: str, let_frequency: int, let_relation: str
) -> bool:
    return compared(text.lower().count(letter.lower()), let_relation, let_frequency)


def _language_response_language(text: str, language: str) -> bool:
    return language_of(text) == language


def _length_constraints_number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return compared(sentences(text), relation, num_sentences)


def _length_constraints_number_paragraphs(text: str, num_paragraphs: int) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    inner = [part.strip() for part in parts[1:-1]]
    outer = [part.strip() for part in parts[:1] + parts[1:][-1:]]
    return all(inner) and len(inner) + sum(map(bool, outer)) == num_paragraphs


def _length_constraints_number_words(text: str, num_words: int, relation: str) -> bool:
    return compared(len(re.findall(r"\w+", text)), relation, num_words)


def _length_constraints_nth_paragraph_first_word(
    text: str, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    parts = text.split("\n\n")
    count = sum(1 for part in parts if part.strip())
    if count != num_paragraphs or nth_paragraph > len(parts):
        return False
    words = parts[nth_paragraph - 1].split()
    first = re.split(r"[.,?!'\"]", words[0].lstrip("'\""))[0] if words else ""
    return bool(first) and first.lower() == first_word.lower()


def _detectable_content_number_placeholders(text: str, num_placeholders: int) -> bool:
    count = 0
    for line in text.split("\n"):
        start = line.find("[")
        while start >= 0 and (end := line.find("]", start)) >= 0:
            count, start = count + 1, line.find("[", end)
    return count >= num_placeholders


def _detectable_content_postscript(text: str, postscript_marker: str) -> bool:
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return bool(re.search(known.get(postscript_marker, re.escape(postscript_marker)), text, re.I))


def _detectable_format_number_bullet_lists(text: str, num_bullets: int) -> bool:
    return len(re.findall(r"^[^\S\n]*+(?:\*[^*\n]|-)", text, re.MULTILINE)) == num_bullets


def _detectable_format_constrained_response(text: str) -> bool:
    return any(answer in text for answer in _ANSWERS)


def _detectable_format_number_highlighted_sections(text: str, num_highlights: int) -> bool:
    single = [m.strip("*").strip() for m in re.findall(r"\*[^\n*]*\*", text)]
    double = [m.strip("*").strip() for m in re.findall(r"\*\*[^\n*]*\*\*", text)]
    return sum(map(bool, single + double)) >= num_highlights


def _detectable_format_multiple_sections(
    text: str, section_spliter: str, num_sections: int
) -> bool:
    return len(re.findall(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", text)) >= num_sections


def _detectable_format_json_format(text: str) -> bool:
    text = text.strip()
    fence = next((fence for fence in _FENCES if text.startswith(fence)), "")
    try:
        json.loads(text.removeprefix(fence).removesuffix("```"))
    except (ValueError, RecursionError):
        return False
    return True


def _detectable_format_title(text: str) -> bool:
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and line[start:end].lstrip("<").rstrip(">").strip():
            return True
    return False


def _combination_two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False
    found = [part for part in parts if part]
    return len(found) == 2 and found[0] != found[1]


def _combination_repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _startend_end_checker(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _startend_quotation(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _change_case_capital_word_frequency(
    text: str, capital_frequency: int, capital_relation: str
) -> bool:
    words = sum(word.isupper() for word in _WORD.findall(text))
    return compared(words, capital_relation, capital_frequency)


def _change_case_english_capital(text: str) -> bool:
    return text.isupper() and language_of(text.lower()) == "en"


def _change_case_english_lowercase(text: str) -> bool:
    return text.islower() and language_of(text) == "en"


def _punctuation_no_comma(text: str) -> bool:
    return "," not in text


KINDS: dict[str, Callable[..., bool]] = {
    "keywords:existence": _keywords_existence,
    "keywords:frequency": _keywords_frequency,
    "keywords:forbidden_words": _keywords_forbidden_words,
    "keywords:letter_frequency": _keywords_letter_frequency,
    "language:response_language": _language_response_language,
    "length_constraints:number_sentences": _length_constraints_number_sentences,
    "length_constraints:number_paragraphs": _length_constraints_number_paragraphs,
    "length_constraints:number_words": _length_constraints_number_words,
    "length_constraints:nth_paragraph_first_word": _length_constraints_nth_paragraph_first_word,
    "detectable_content:number_placeholders": _detectable_content_number_placeholders,
    "detectable_content:postscript": _detectable_content_postscript,
    "detectable_format:number_bullet_lists": _detectable_format_number_bullet_lists,
    "detectable_format:constrained_response": _detectable_format_constrained_response,
    "detectable_format:number_highlighted_sections": _detectable_format_number_highlighted_sections,
    "detectable_format:multiple_sections": _detectable_format_multiple_sections,
    "detectable_format:json_format": _detectable_format_json_format,
    "detectable_format:title": _detectable_format_title,
    "combination:two_responses": _combination_two_responses,
    "combination:repeat_prompt": _combination_repeat_prompt,
    "startend:end_checker": _startend_end_checker,
    "startend:quotation": _startend_quotation,
    "change_case:capital_word_frequency": _change_case_capital_word_frequency,
    "change_case:english_capital": _change_case_english_capital,
    "change_case:english_lowercase": _change_case_english_lowercase,
    "punctuation:no_comma": _punctuation_no_comma,
}
"""The check of each instruction, by its name in the data."""
LANGUAGE = {"language:response_language", "change_case:english_capital",
            "change_case:english_lowercase"}  # fmt: skip


def asked(problem: Problem) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, arguments) of each instruction of a row; UserError where they do not fit together."""
    names = problem.metadata.get("instruction_id_list") or ()
    given = problem.metadata.get("kwargs") or ({},) * len(names)
    if not names or len(names) != len(given) or any(name not in KINDS for name in names):
        unknown = ", ".join(str(name) for name in names if name not in KINDS)
        what = f"unknown instruction {unknown}" if unknown else "as many kwargs as instructions"
        raise UserError(f"problem {problem.id!r}: IFEval's instruction_id_list and kwargs: {what}")
    # A table has a column for each argument of every kind, empty where it is not this kind's.
    return [
        (name, {key: value for key, value in kwargs.items() if value is not None})
        for name, kwargs in zip(names, given, strict=True)
    ]


def check_instructions(problem: Problem) -> None:
    """UserError where a row cannot be judged: unknown instructions, a package that is missing."""
    if {name for name, _ in asked(problem)} & LANGUAGE:
        require("IFEval's instructions on languages", instead="")


def followed(problem: Problem, reply: str, loose: bool = False) -> list[bool]:
    """Whether a reply follows each of its problem's instructions.

    Loose: it counts where it would without its first line, its last, or the stars of Markdown.
    """
    texts = [reply]
    if loose:
        lines = reply.split("\n")
        cut = [reply, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
        texts = [*cut, *(text.replace("*", "") for text in cut)]
    return [
        any(text.strip() and KINDS[name](text, **arguments) for text in texts)
        for name, arguments in asked(problem)
    ]


def instructions(problem: Problem, answer: str) -> bool:
    """All instructions of the prompt are followed, strictly: what the grader "ifeval" does."""
    return all(followed(problem, answer))
