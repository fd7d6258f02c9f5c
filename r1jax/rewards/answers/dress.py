"""Everyday dress of a formula, rewritten as one plain LaTeX spelling.

Full-width and typographic signs, Markdown, vulgar fractions, powers and roots in Unicode, digit
groups, mixed numbers and the spellings that LaTeX has for one thing. Every regular expression here
runs in linear time: texts come from a model and are hostile.
"""

from __future__ import annotations

import re
from functools import lru_cache

from r1jax.rewards.answers.qualifiers import spoken
from r1jax.rewards.answers.units import measured

_FULL_WIDTH = {chr(0xFF01 + i): chr(0x21 + i) for i in range(94)}
_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": "*", "✕": "*", "⋅": "*", "·": "*",
    "∙": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "≈": "\\approx ", "≡": "\\equiv ",
    "≤": "\\le ", "⩽": "\\le ", "≦": "\\le ", "≥": "\\ge ", "⩾": "\\ge ", "≧": "\\ge ",
    "≠": "\\ne ", "∈": "\\in ", "∪": "\\cup ", "∩": "\\cap ", "∞": "\\infty ", "π": "\\pi ",
    "°": "^\\circ ", "º": "^\\circ ", "±": "\\pm ", "∓": "\\mp ", "√": "\\sqrt ",
    "℃": "^\\circ C", "℉": "^\\circ F", "∅": "\\emptyset ",
    "∛": "\\sqrt[3]", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ",
    "λ": "\\lambda ", "μ": "\\mu ", "φ": "\\phi ", "ω": "\\omega ", "σ": "\\sigma ",
    "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "∀": "\\forall ",
    "∠": "\\angle ", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"',
    "。": ". ", "｡": ". ", "、": ", ", "，": ", ", "；": "; ", "：": ": ", "【": "[", "】": "]",
    "《": "", "》": "", "\u3000": " ", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2007": " ",
    "\u2008": " ", "\u200a": " ", "\u2002": " ", "\u2003": " ", "\u205f": " ", "\t": " ",
    "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
    "∶": ":", "￥": "¥", "⟨": "\\langle ", "⟩": "\\rangle ",
}  # fmt: skip
_VULGAR = {
    "½": "12", "⅓": "13", "⅔": "23", "¼": "14", "¾": "34", "⅕": "15", "⅖": "25", "⅗": "35",
    "⅘": "45", "⅙": "16", "⅚": "56", "⅐": "17", "⅛": "18", "⅜": "38", "⅝": "58", "⅞": "78",
    "⅑": "19",
}  # fmt: skip
_FRACTIONS = {sign: f"\\frac{{{n}}}{{{d}}}" for sign, (n, d) in _VULGAR.items()}
_TABLE = str.maketrans(_FULL_WIDTH | _SIGNS | _FRACTIONS)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_UP, _DOWN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+"), re.compile("[₀-₉]+")

_ITALIC = re.compile(r"(?<![\w)\]}\\])_(?=[^\s_{])([^_\n{}^\\]{1,100})_(?![\w{])")
_HTML = re.compile(
    r"<(b|strong|em|i|u|p|div|span|center|mark)>([^<>\n]{1,300})</\1>", re.IGNORECASE
)
_BOLD = re.compile(
    r"(?<![A-Za-z0-9_)\]}*])(\*\*\*|\*\*|__|\*)(?=[^\s*_])([^*\n]{1,300}?)(?<=[^\s])\1"
    r"(?![A-Za-z0-9_(*])"
)
_BOLD_LINE = re.compile(
    r"^[ \t]{0,3}(\*\*?) {0,2}([^*\n]{1,300}?) {0,2}\1(?=[.\s]{0,3}$)", re.MULTILINE
)
_CODE = re.compile(r"(`{1,3})([^`\n]{1,300})\1")
_SPACES = re.compile(
    r"(?<!\\)\\[,;:!> ]|~|\\(?:left|right)\.|\\q?quad\b"
    r"|\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits"
    r"|mleft|mright|thinspace|bf|bfseries|large|Large|LARGE|huge|Huge"
    r"|checkmark|blacksquare|square|qed|therefore|phantom\{[^{}]*\})(?![A-Za-z])"
    r"|[∎■□✓✔]|\\color ?\{[a-z]+\}(?! ?\{)"
)
_WORDS = re.compile(r"\\(?:textbf|textit|textrm|textnormal|mathrm|mathit|mbox|operatorname|rm) ?\{")
_STYLES = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|mathsf|mathtt|underline|(?:text)?color ?\{[a-z]+\}) ?\{"
)
_NIL, _INNER = r"(?:\{ ?\} ?)?", r"\\text ?\{([^{}]{1,20})\}"
_FIRST, _SECOND = (rf"(\{{ ?)?([0-9]{{1,6}})(?({i}) ?\}})" for i in (1, 3))
"""Digits with both braces or none, as groups 2 and 4."""
_TH = r"(?:st|nd|rd|th)(?![A-Za-z])"
_NAMES = [
    (re.compile(r"\\text ?\{ ?([AC]) ?\}(?=_)"), r"\1"),
    (re.compile(r"\\[dtcs]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"(?<=[0-9)]) ?[xX] ?(?=[0-9]|\([^()A-Za-z\\]*\))"), "*"),
    (re.compile(r"\\(?:text|mathrm) ?\{ ?: ?\}|\{ ?: ?\}"), ":"),
    (re.compile(r":=|={2,3}"), "="),
    (re.compile(r"\\(?:leq|leqslant)(?![A-Za-z])|<="), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\neq(?![A-Za-z])|(?<![0-9)}])!=|\\not ?="), r"\\ne "),  # 4!=24 is true
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:lbrace)(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])|\\\|"), "|"),
    (re.compile(r"\\(?:degree|degrees)(?![A-Za-z])"), r"^\\circ "),
    (re.compile(r"\^ ?\{ ?\\circ ?\}|(?<=[0-9])\^ ?\{? ?o ?\}?(?![A-Za-z])"), r"^\\circ "),
    (re.compile(rf"(?<=[0-9])(?:{_TH}|\^ ?(?:{_TH}|\{{ ?(?:{_TH}|\\text ?\{{{_TH}\}}) ?\}}))"), ""),
    (re.compile(r"(?<![A-Za-z\\])cbrt(?![A-Za-z])"), r"\\sqrt[3]"),
    (re.compile(rf"(?<![A-Za-z\\])C_{_FIRST} ?\^ ?{_SECOND}"), r"\\binom{\2}{\4}"),
    (re.compile(rf"{_NIL}[\^_]{_FIRST} ?C_ ?{_SECOND}"), r"\\binom{\2}{\4}"),
    (re.compile(rf"{_NIL}\^ ?{_FIRST} ?/ ?_ ?{_SECOND}"), r"\\frac{\2}{\4}"),
    (re.compile(rf"\\frac ?\{{ ?{_INNER} ?\}} ?\{{ ?{_INNER} ?\}}"), r"\\text{\1/\2}"),
    (re.compile(r"^(\$?)\]([^\[\]$]{1,80})(?=[\[\]]\$?$)"), r"\1(\2"),  # ]2,5[
    (re.compile(r"^(\$?[\[(][^\[\]$]{1,80})\[(?=\$?$)"), r"\1)"),
    (re.compile(r"(?<![\w.])0b([01]{1,40})(?!\w)"), r"\1_{2}"),
    (re.compile(r"(?<![\w.])0x([0-9A-Fa-f]{1,40})(?!\w)"), r"\1_{16}"),
    (re.compile(r"(?<![A-Za-z])([A-Za-z]) in (?=[\[(])"), r"\1 \\in "),
    (re.compile(r"\\text ?\{ ?cis ?\}|(?<![A-Za-z\\])cis(?![A-Za-z])"), r"\\cis "),
    (re.compile(r"\\dot ?\{?([0-9])\}?([0-9]{0,9})\\dot ?\{?([0-9])\}?"), r"\\overline{\1\2\3}"),
    (re.compile(r"\\(?:hat|vec)(?= ?\{ ?[ijk] ?\})"), ""),
    (re.compile(r"\\overline ?\{ ?([A-Z]{2}) ?\}"), r"\1"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\varnothing(?![A-Za-z])"), r"\\emptyset "),
    (re.compile("不等于"), r"\\ne "),
    (re.compile("等于"), "="),
    (re.compile(r"\\(?:dots|cdots|dotsc|dotsb)(?![A-Za-z])|…|\.\.\.+|。{2,}"), r"\\ldots "),
    (re.compile(r"\\#"), "#"),
    (re.compile(r"(?<=[0-9]) {0,2}(?:\\Omega(?![A-Za-z])|Ω)"), r"\\text{ ohm}"),
    (re.compile(r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"(?<![A-Za-z\\])(sqrt|pi|ln|log|sin|cos|tan)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<=[0-9])(sqrt|pi)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"\\sqrt +\("), r"\\sqrt("),
]  # fmt: skip
_GROUPED = re.compile(
    r"\{,\}|(?:\\! ?,|,\\[!,;: ] ?)(?=[0-9]{3}(?![0-9]))|(?<=[0-9])\\[,!;: ](?=[0-9]{3}(?![0-9]))"
)
_DIGITS = "零一二三四五六七八九十"
_PARTS = re.compile(f"([{_DIGITS}])分之(根号)?([{_DIGITS}])(?![{_DIGITS}])")
_ARRAY = re.compile(
    r"[(\[] ?\\begin\{array\} ?\{[lcr ]{1,9}\}([^()\[\]]{1,400}?)\\end\{array\} ?[)\]]"
)
_PERMUTED = re.compile(rf"(?<![A-Za-z\\])A_{_FIRST} ?\^ ?{_SECOND}")
_ARC = re.compile(r"(?<![0-9.])([0-9]{1,3}) ?\^ ?\\circ ?([0-9]{1,2}) ?'(?: ?([0-9]{1,2}) ?'')?")
_SYSTEM = re.compile(r"\\left ?\\\{ ?\\begin\{(?:array|aligned|matrix)\}(?:\{[lcr| ]{0,9}\})?")
_SYSTEM_ENDS = re.compile(r"\\end\{(?:array|aligned|matrix)\} ?\\right ?\.")
_LINES = re.compile(
    r"\\(?:begin|end)\{(?:aligned|align|align\*|gathered|gather|gather\*|split|cases|equation"
    r"|equation\*)\}"
)
_BREAK, _GOES_ON = re.compile(r"\\\\"), re.compile(r"\\\\(?=[\s]{0,9}[=<>])")
_COLUMN = re.compile(
    r"\\begin\{[pb]matrix\}([^&]{1,200}?\\\\[^&]{1,200}?)(?:\\\\ ?)?\\end\{[pb]matrix\}"
)
_CHOOSE = re.compile(r"\{ ?([^{}\\]{1,40}) ?\\choose(?![A-Za-z]) ?([^{}\\]{1,40})\}")
_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{1,20})\.([0-9]{0,20})\\(?:overline|dot) ?\{([0-9]{1,20})\}"
)
_PRICE = re.compile(r"(?<=[-+*/=]) ?¤ ?(?=[0-9])")
_GOING_ON = re.compile(r"(?<![0-9.])([0-9]{1,9})\.([0-9]{2,60}) ?\\ldots(?![A-Za-z])")
_SCIENTIFIC = re.compile(r"(?<![\w.])([0-9]{1,30}(?:\.[0-9]{1,30})?)[eE]([+-]?[0-9]{1,3})(?![\w.])")
_SPACED = re.compile(r"(?<![0-9.,])([1-9][0-9]{0,2})((?: [0-9]{3}){1,6})(?![0-9])(?! ?/)")
_MIXED = re.compile(r"(?<![0-9.^/])([0-9]{1,9})[ -]([0-9]{1,9}) ?/ ?([0-9]{1,9})(?![0-9./])")
_POINTS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,6}(?![0-9.,]*[0-9])")
_COMMAS = re.compile(r"(?<![0-9.,])([0-9]{1,3})((?:,[0-9]{3}){1,9})(?![0-9])(?!,[0-9])")


@lru_cache(maxsize=4096)
def tidy(text: str) -> str:
    """`text` in one spelling: LaTeX names, ASCII signs, no Markdown, no spacing commands."""
    text = _UP.sub(lambda m: f"^{{{m.group().translate(_RAISED)}}}", text)
    text = _DOWN.sub(lambda m: f"_{{{m.group().translate(_LOWERED)}}}", text)
    text = measured(spoken(text.translate(_TABLE)))
    text = _aligned(unmarked(text)) if "\\begin" in text else unmarked(text)
    if re.search(r"[\\~∎■□✓✔]", text):
        text = text.replace("\\$", "¤")
        text = _GROUPED.sub(",", text)
        text = _WORDS.sub(r"\\text{", text)
        text = _STYLES.sub("{", text)
        text = _SPACES.sub(" ", text)
    for pattern, spelled in _NAMES:
        text = pattern.sub(spelled, text)
    text = _ARC.sub(_turn, _PERMUTED.sub(_permuted, text.replace("**", "^")))
    text = _ARRAY.sub(r"\\begin{pmatrix}\1\\end{pmatrix}", text) if "array" in text else text
    text = _PRICE.sub("", text)
    text = _REPEATING.sub(_repeating, _CHOOSE.sub(r"\\binom{\1}{\2}", text))
    text = _SCIENTIFIC.sub(r"\1*10^{\2}", text)
    text = _GOING_ON.sub(_going_on, text)
    text = _POINTS.sub(lambda m: m.group().replace(".", ""), text)
    text = _SPACED.sub(lambda m: m.group().replace(" ", ""), text)
    text = _PARTS.sub(_parts, text)
    return _MIXED.sub(r"\1\\frac{\2}{\3}", text).strip()


def _aligned(text: str) -> str:
    """Lines of equations as one line: one that begins with = goes on, others are a list."""
    text = _SYSTEM_ENDS.sub(r"\\end{cases}", _SYSTEM.sub(r"\\begin{cases}", text))
    if "matrix" in text or not _LINES.search(text):
        return text
    text = _LINES.sub(" ", text).replace("&", " ")
    return _BREAK.sub(", ", _GOES_ON.sub(" ", text)).strip(" ,")


def _turn(match: re.Match[str]) -> str:
    """45^\\circ 30' as a fraction of degrees."""
    degrees, minutes, seconds = (int(part or 0) for part in match.groups())
    return f"\\frac{{{3600 * degrees + 60 * minutes + seconds}}}{{3600}}^\\circ "


def _permuted(match: re.Match[str]) -> str:
    """A_5^2, the arrangements of 2 out of 5."""
    n, k = int(match[2]), int(match[4])
    return f"\\frac{{{n}!}}{{{n - k}!}}" if k <= n <= 1000 else match.group()


def _repeating(match: re.Match[str]) -> str:
    """0.1\\overline{6} as a fraction."""
    whole, start, period = match.groups()
    below = (10 ** len(period) - 1) * 10 ** len(start)
    above = int(whole + start + period) - int(whole + start)
    return f"\\frac{{{above}}}{{{below}}}"


def _going_on(match: re.Match[str]) -> str:
    """0.1666\\ldots as a fraction, where a period can be seen three times, or one digit thrice."""
    whole, digits = match.groups()
    seen = re.fullmatch(r"([0-9]{0,9}?)([0-9]{1,9}?)\2{2,}|([0-9]{0,9}?)([0-9]{6,9})\4", digits)
    if seen is None:
        return match.group()
    start, period = seen.group(1) or seen.group(3) or "", seen.group(2) or seen.group(4)
    repeating = re.match(_REPEATING, f"{whole}.{start}\\overline{{{period}}}")
    return _repeating(repeating) if repeating else match.group()


def _parts(match: re.Match[str]) -> str:
    """五分之三 as a fraction."""
    below, above = (_DIGITS.index(sign) for sign in (match[1], match[3]))
    return (
        f"\\frac{{\\sqrt{{{above}}}}}{{{below}}}" if match[2] else f"\\frac{{{above}}}{{{below}}}"
    )


def unmarked(text: str) -> str:
    """`text` without bold, italics and code of Markdown or HTML."""
    if "`" in text:
        text = _CODE.sub(r"\2", text)
    if "*" in text or "_" in text:
        text = _BOLD.sub(r"\2", _BOLD.sub(r"\2", text))
        text = _ITALIC.sub(r"\1", _BOLD_LINE.sub(r"\2", text))
    if "</" in text:
        text = _HTML.sub(r"\2", text)
    return text


def without_columns(text: str) -> str:
    """A column vector as the tuple that it is."""
    column = _COLUMN.fullmatch(text)
    return f"({', '.join(_BREAK.split(column.group(1)))})" if column else text


def without_thousands(text: str) -> str:
    """Numbers grouped by commas as plain digits."""
    return _COMMAS.sub(lambda m: m.group().replace(",", ""), text)
