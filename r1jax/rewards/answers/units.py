"""Units beside a number: told apart from the formula, known ones compared by what they measure."""

from __future__ import annotations

import re
from fractions import Fraction

from r1jax.rewards.answers.qualifiers import no_unit, qualified

# name -> (dimension, how many of the dimension's own unit)
_KNOWN: dict[str, tuple[str, Fraction]] = {}
_TABLE = {
    "length": "mm=1/1000 millimeter=1/1000 cm=1/100 centimeter=1/100 厘米=1/100 dm=1/10 m=1 "
    "meter=1 metre=1 米=1 km=1000 kilometer=1000 千米=1000 公里=1000",
    "imperial length": "in=1 inch=1 inches=1 ft=12 foot=12 feet=12 yard=36 yd=36 "
    "mile=63360 mi=63360",
    "mass": "mg=1/1000 g=1 gram=1 克=1 kg=1000 kilogram=1000 千克=1000 公斤=1000 ton=1000000",
    "time": "s=1 sec=1 second=1 秒=1 min=60 minute=60 分钟=60 分=60 h=3600 hr=3600 hour=3600 "
    "小时=3600 时=3600 "
    "day=86400 天=86400 week=604800",
    "years": "month=1 个月=1 year=12 yr=12 年=12",
    "dollars": "cent=1/100 ¢=1/100 dollar=1 usd=1 ¤=1",
    "yuan": "角=1/10 元=1 ¥=1 yuan=1",
    "volume": "ml=1/1000 毫升=1/1000 l=1 liter=1 litre=1 升=1",
    "force": "N=1 newton=1 kn=1000",
    "energy": "J=1 joule=1 kj=1000",
    "power": "W=1 watt=1 kw=1000 kilowatt=1000",
    "voltage": "V=1 volt=1 kv=1000",
    "current": "A=1 ampere=1 amp=1",
    "pressure": "Pa=1 pascal=1 kpa=1000 mpa=1000000",
    "resistance": "ohm=1",
    "frequency": "Hz=1 hertz=1 khz=1000 mhz=1000000",
    "Celsius": "°C=1 celsius=1",
    "Fahrenheit": "°F=1 fahrenheit=1",
    "radians": "radian=1 rad=1",
    "angle": "degree=1 deg=1 度=1 '=1/60",
    "percent": "%=1 percent=1 pct=1 percentage=1",
}
for _dimension, _names in _TABLE.items():
    for _entry in _names.split():
        _name, _, _number = _entry.rpartition("=")
        _KNOWN[_name] = (_dimension, Fraction(_number))

_PREFIXES = {"m": Fraction(1, 1000)} | {p: Fraction(1000**n) for n, p in enumerate("kMG", 1)}
for _name in ("N", "J", "W", "V", "A", "Pa", "Hz", "ohm"):
    for _prefix, _size in _PREFIXES.items():
        _KNOWN[_prefix + _name] = (_KNOWN[_name][0], _size)
_FEN = ("yuan", Fraction(1, 100))
"""分 beside 角 or 元, where it is no minute."""

# Letters that stand right behind a number, 5pts; others are factors: 2ab is no 2.
_GLUED = frozenset(
    "pt pts ct qt pcs px yr yrs sq cu lb lbs oz wk yd yds pm am kn ma kj nm bpm ev "
    "kw mw hz khz mb gb kb ppm rpm fps gal bp hp psi atm mol mph kph ms ns us s".split()
)
_SINGLE = frozenset("m g s h l L J N W V K A C".split())
_TEXT = re.compile(r"\\text ?\{([^{}]{0,60})\}(?: ?\^ ?\{? ?([23]) ?\}?)?$")
_MODULUS = re.compile(r"(?<=[0-9]) ?\(? ?\\?[bp]?mod(?![A-Za-z]) ?[ {(] ?([0-9]{1,12}) ?[})]{0,2}$")
_DEGREES = re.compile(r"\^ ?\{? ?\\circ ?\}? ?([CF])?$")
_TRAILING = re.compile(
    r"(?<=[0-9.)}\s%])((?:/ ?(?=[A-Za-z]{3}))?"
    r"(?:(?:[A-Za-z]{2,20}|[mgshlLJNWVKA]|(?<= )C|[\u4e00-\u9fff¤¥¢€£%]{1,10})\.?"
    r"(?: ?\^ ?\{? ?-?[1-3] ?\}?)?[ /]{0,2}){1,5})$"
)
_LEADING = re.compile(
    r"(?:[¤¥€£\u4e00-\u9fff]{1,20}|(?:about|approximately|approx\.?|around|exactly|roughly"
    r"|nearly|a total of|total of|only|US|USD|RMB|Rs\.?"
    r"|\\approx|\\text ?\{(?: ?|(?: ?[A-Za-z]{1,12}){1,3} ?[:=] ?|[^{}]{0,20}\b(?:is|are|about) ?"
    r"|(?:about|approximately|exactly|a total of|US|USD|RMB|Rs\.?|\$|¤) ?)\})(?![A-Za-z]))[ :]*"
    r"(?=[-+0-9.(\\¤¥€£])"
)
_LARGE = "days?|hours?|hrs?|h|minutes?|mins?|years?|feet|foot|ft|dollars?|小时|时|分钟|元|块"
_SMALL = (
    "hours?|hrs?|minutes?|mins?|min|m|seconds?|secs?|s|months?|inch(?:es)?|in|cents?"
    "|分钟|分|秒|角|毛"
)
_COUNT = r"([0-9]{1,6}) ?(?:\\text ?\{ ?)?"
_TWO_UNITS = re.compile(
    rf"(?<![0-9.,/^]){_COUNT}({_LARGE}) ?\}}?,? ?(?:\\text ?\{{ ?and ?\}}|and|又)? ?"
    rf"{_COUNT}({_SMALL})(?![A-Za-z])(?: ?\}})?"
)
_PRIME = re.compile(r"(?<=[0-9])'$")
_POWER = re.compile(
    r"(?:平方|立方|square |cubic |sq\.? |cu\.? )(?P<base>[^\d^]{1,20})"
    r"|(?P<base2>[A-Za-z]{1,20}) ?\^? ?\{?(?P<power>[23])\}?"
)
_NUMBER = re.compile(
    r"[-+]?[0-9.]+(?: ?/ ?[0-9]+|\*10\^\{?[-+]?[0-9]+\}?)?(?:\\frac\{[0-9]+\}\{[0-9]+\})?"
)
_FORMULA_WORDS = re.compile(
    r"(?<![A-Za-z])(?:pi|sqrt|sin|cos|tan|cis|ln|log|exp|mod|if|for)(?![A-Za-z])"
)


def split_unit(text: str) -> tuple[str, str]:
    """(the number or formula, its unit or "") of a tidy text; prefixes such as "about" are cut."""
    unit = ""
    for _ in range(3):
        match = _LEADING.match(text)
        if match and not qualified(match.group().replace("\\text", "").strip(" {}"), ""):
            sign = match.group().strip(" :")
            unit = sign if sign in _KNOWN else unit
            text = text[match.end() :]
    for _ in range(4):
        cut = _cut(text)
        if cut is None:
            break
        text, unit = cut[0], cut[1] + (" " + unit if unit else "")
    return text, unit.strip()


def _cut(text: str) -> tuple[str, str] | None:
    if match := _PRIME.search(text):
        return text[: match.start()], "'"
    if match := _MODULUS.search(text):
        return text[: match.start()].strip(), f"mod {match.group(1)}"
    if match := _TEXT.search(text):
        core, unit = (
            text[: match.start()].strip().rstrip("\\/* "),
            match.group(1) + (match.group(2) or ""),
        )
        return (core, unit.strip() or " ") if core and not no_unit(match.group(1)) else None
    if (match := _DEGREES.search(text)) and not _FORMULA_WORDS.search(text):
        scale = f"°{match[1]}" if match[1] else "degree"
        return (text[: match.start()].strip(), scale) if text[: match.start()] else None
    match = _TRAILING.search(text)
    if match is None or _FORMULA_WORDS.search(match.group()):
        return None
    core, unit = text[: match.start()].strip(), match.group().strip()
    if _is_product(unit, text[: match.start()]):
        return None
    if no_unit(re.sub(r" ?\^ ?\{? ?-?[1-3] ?\}?", "", unit)):
        return None
    if any(word in _SINGLE for word in re.split(r"[\s/^]", unit)) and not _NUMBER.fullmatch(
        core.replace(" ", "")
    ):
        return None
    return (core, unit) if core and re.search(r"[0-9\\)}]|[A-Za-z]$", core) else None


def _is_product(unit: str, before: str) -> bool:
    """Whether two or three letters behind a number are factors: 2ab, 4xy^2, 2\\pi rh."""
    letters = re.fullmatch(r"([a-z]{2,3})(?: ?\^ ?\{?[0-9]\}?)?", unit)
    if letters is None or letters[1] in _GLUED or known(letters[1]) is not None:
        return False
    return before[-1:] != " " or len(letters[1]) == 2 or bool(re.search(r"\\[a-z]+ $", before))


def factor(gold: str, given: str) -> Fraction | None:
    """How many of `gold` one `given` is: 1 where that is not known, None where they differ in kind.

    A unit that is missing or unknown is no mistake.
    """
    mine, theirs = _rate(gold), _rate(given)
    if mine is None or theirs is None:
        mine, theirs = known(gold), known(given)
    feet = {gold, given} & {"'"} and "imperial length" in {u[0] for u in (mine, theirs) if u}
    if feet:
        return Fraction(1)  # 6' are six feet
    if mine is None or theirs is None or mine == theirs:
        return Fraction(1)
    kinds = {mine[0], theirs[0]}
    if "angle" in kinds and kinds & {"Celsius", "Fahrenheit"}:
        return Fraction(1)  # degrees, of a scale that is left out
    if kinds == {"yuan", "time"}:
        mine, theirs = (_FEN if u == "分" else k for u, k in ((gold, mine), (given, theirs)))
    return theirs[1] / mine[1] if mine[0] == theirs[0] else None


def _rate(unit: str) -> tuple[str, Fraction] | None:
    """A known unit per another one: km/h, dollars per hour."""
    unit = {"mph": "mile/h", "kph": "km/h", "kmh": "km/h"}.get(unit.strip(" .{}").lower(), unit)
    above, slash, below = re.sub(r" per |每", "/", unit).partition("/")
    a, b = (known(part) for part in (above, below)) if slash else (None, None)
    return (f"{a[0]} per {b[0]}", a[1] / b[1]) if a and b else None


def measured(text: str) -> str:
    """1 hour and 20 minutes as 80 minutes, 3元5角 as 3.5元."""
    return _TWO_UNITS.sub(_measured, text)


def _measured(match: re.Match[str]) -> str:
    many, large, few, small = match.groups()
    a, b = known(large), known(small)
    if a is None or b is None or a[0] != b[0] or b[1] >= a[1]:
        return match.group()
    money = a[0] in ("dollars", "yuan")
    value = Fraction(many) * a[1] + Fraction(few) * b[1]
    value /= a[1] if money else b[1]
    unit = large if money else small
    number = str(value) if value.denominator == 1 else f"{float(value):g}"
    return f"{number} {unit}" if unit.isascii() else f"{number}{unit}"


def is_percent(unit: str) -> bool:
    """Whether the unit is a percent sign or its name."""
    found = known(unit)
    return found is not None and found[0] == "percent"


def known(unit: str) -> tuple[str, Fraction] | None:
    """(dimension, size in the dimension's own unit) of a unit that is known."""
    unit = re.sub(r"^degrees? (?=[CcFf])", "", unit.strip(" .{}"))
    if unit.startswith("mod "):
        return unit, Fraction(1)
    if match := _POWER.fullmatch(unit):
        base = known(match.group("base") or match.group("base2"))
        power = 3 if match.group().startswith(("立方", "cu")) or match.group("power") == "3" else 2
        return (f"{base[0]}{power}", base[1] ** power) if base else None
    for name in (unit, unit.lower(), unit.lower().removesuffix("s")):
        if name in _KNOWN:
            return _KNOWN[name]
    return None
