"""What an answer states that another may contradict: numbers with units, dates, yes or no, titles; zh and en."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_ALIASES = {
    "day": "day days 天 日",
    "workday": "business-day business-days working-day working-days 工作日 个工作日",
    "hour": "hour hours hrs 小时 个小时",
    "minute": "minute minutes mins 分钟",
    "week": "week weeks 周 星期 个星期",
    "month": "month months 个月",
    "year": "year years 年",
    "%": "% percent",
    "yuan": "元 块 块钱 rmb yuan",
    "dollar": "dollar dollars usd",
    "euro": "euro euros eur",
    "time": "time times 次",
    "piece": "piece pieces 件 个 台",
    "grade": "级",
    "km": "km 公里",
    "kg": "kg 公斤",
    "gram": "gram grams 克",
    "ml": "ml 毫升",
    "litre": "litre litres liter liters 升",
    "watt": "watt watts 瓦",
    "degree": "degree degrees 度",
    "gb": "gb",
    "mb": "mb",
}
_UNITS = {alias.replace("-", " "): unit for unit, aliases in _ALIASES.items() for alias in aliases.split()}
_NUMBER = r"(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?"
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_WITH_UNIT = re.compile(rf"(?<![0-9a-z_.\-])(?<!\d,){_NUMBER}\s?({_UNIT})(?![a-z])")
_MONEY = re.compile(rf"([$€£¥])\s?{_NUMBER}")
_CURRENCIES = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yuan"}
_DATE = re.compile(
    r"(?<!\d)(\d{4})\s?[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,2})(?!\d)|(?<![\d年])(\d{1,2})月(\d{1,2})[日号]"
)
_TITLE = re.compile(r"《([^《》\n]{1,60})》")
_YES = re.compile(
    r"\W*(?:yes|yeah|yep|sure|certainly|of course|absolutely|correct|it is\b|it does\b|you can\b(?!not)"
    r"|是的|是$|是[,。]|可以|能[,。的]|当然|支持|有的|有[,。]|会的|对[,。的]|没问题)"
)
_NO = re.compile(
    r"\W*(?:no\b|nope|not\b|unfortunately,? (?:no|you can)|sorry,? (?:no\b|you can|we (?:can|do)|it (?:can|do))"
    r"|it is not|it isn't|it does not|it doesn't|you can't|you cannot|不是|不可以|不能|不行|不支持|不会|不用|不需要"
    r"|没有|无法|(?:很?抱歉|不好意思)[,。]?(?:不|无法|没)|不[,。])"
)
_SHOWN = 4


@dataclass(frozen=True)
class Facts:
    """What an answer states. `numbers` are values by unit."""

    yes: bool | None
    numbers: tuple[tuple[str, frozenset[str]], ...]
    dates: frozenset[str]
    titles: frozenset[str]


def facts(answer: str) -> Facts:
    """The facts that an answer states."""
    text = unicodedata.normalize("NFKC", answer).lower()
    numbers: dict[str, set[str]] = {}
    dates = {"-".join(str(int(part)) for part in found.groups() if part) for found in _DATE.finditer(text)}
    for whole, rest, unit in _WITH_UNIT.findall(_DATE.sub(" ", text)):
        numbers.setdefault(_UNITS[unit], set()).add(_value(whole, rest))
    for sign, whole, rest in _MONEY.findall(text):
        numbers.setdefault(_CURRENCIES[sign], set()).add(_value(whole, rest))
    yes = None if _NO.match(text) is None and _YES.match(text) is None else _NO.match(text) is None
    return Facts(
        yes,
        tuple((unit, frozenset(values)) for unit, values in sorted(numbers.items())),
        frozenset(dates),
        frozenset(title.strip() for title in _TITLE.findall(text)),
    )


def _value(whole: str, rest: str) -> str:
    return f"{float(whole.replace(',', '') + rest):g}"


def disagreements(one: Facts, other: Facts) -> dict[str, str]:
    """What two answers contradict each other on: the kind, and both sides in words. A unit, dates or titles count only
    where both state some and have none in common."""
    found = {}
    if one.yes is not None and other.yes is not None and one.yes != other.yes:
        found["yes_or_no"] = "yes ≠ no" if one.yes else "no ≠ yes"
    theirs = dict(other.numbers)
    for unit, values in one.numbers:
        if unit in theirs and not values & theirs[unit]:
            found["number"] = f"{_listed(values)} ≠ {_listed(theirs[unit])} {unit}"
    for kind, mine, others in (("date", one.dates, other.dates), ("title", one.titles, other.titles)):
        if mine and others and not mine & others:
            found[kind] = f"{_listed(mine)} ≠ {_listed(others)}"
    return found


def _listed(values: frozenset[str]) -> str:
    return ", ".join(sorted(values)[:_SHOWN])
