"""Reading what a teacher answered: its text, its JSON, and checks that hold for all tasks. Each raises Rejected."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import Rejected
from synth.structured import THOUGHT_ENDS, json_in
from synth.task import CHINESE, Language, Reply, chinese_share

Shape = TypeVar("Shape", bound=BaseModel)

_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffd\ufffe\uffff]")
_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")
_IN_WORD = re.compile(r"[^\W_\u3400-\u4dbf\u4e00-\u9fff]")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_LITERAL = re.compile(
    r"https?://[^\s，。；）)\]}>\"'“”]+"
    r"|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}"
    r"|\{\{?[A-Za-z0-9_.]{1,60}\}\}?"
    r"|\d+(?:[.,:/-]\d+)*%?"
)
_DECLINES = re.compile(
    r"(?i)^[\s\"'“*]*(?:(?:i'?m|i am|we'?re) (?:so |very |really )?(?:sorry|afraid|unable)"
    r"|(?:sorry|apologies|unfortunately)[,.! ]|as an? (?:ai|artificial|language|large)"
    r"|i (?:cannot|can't|can not|won't|will not|must decline)"
    r"|(?:非常|很|十分)?(?:抱歉|对不起|不好意思)|作为(?:一个|一名|一款)?(?:AI|人工智能|语言模型|大模型)|我(?:无法|不能|没办法))"
)
_LEAKS = re.compile(
    r"(?i)</?material-[0-9a-f]{8}>|<\|[a-z_]{2,30}\|>|\b(?:given|rewritten|evolved) (?:prompt|instruction|request)s?\b"
    r"|(?:改写后|重写后|进化后)的?(?:提示词?|指令|请求)"
)
_DECLINING_CHARS = 800


def said(reply: Reply) -> str:
    """The text of an answer, without the thoughts of a teacher that thinks aloud.

    Reasons: filtered, truncated, empty, bad_text."""
    if reply.refused or reply.finish_reason == "content_filter":
        raise Rejected("filtered", "the endpoint withheld the answer")
    if reply.finish_reason == "length":
        raise Rejected("truncated", "the answer was cut off; raise max_tokens")
    text = (reply.text or "").rpartition(THOUGHT_ENDS)[2].strip()
    if not text:
        raise Rejected("empty", "the answer is empty")
    if _NO_TEXT.search(text):
        raise Rejected("bad_text", "the answer holds characters that are no text")
    return text


def parsed(reply: Reply, shape: type[Shape]) -> Shape:
    """An answer in JSON, fenced or with words around it. Reasons: bad_json, bad_answer and those of `said`."""
    import orjson

    try:
        value = json_in(said(reply))
    except orjson.JSONDecodeError:
        raise Rejected("bad_json", "the answer is no valid JSON") from None
    if not isinstance(value, dict):
        raise Rejected("bad_json", "the answer holds no JSON object")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = next((str(part) for part in first["loc"] if part in shape.model_fields), "the answer")
        raise Rejected("bad_answer", f"{where}: {first['type']}") from None


def written(text: str, lang: Language, *, min_chars: int = 1, max_chars: int = 100_000) -> str:
    """A text fit for a row, stripped. Reasons: empty, too_short, too_long, bad_text, prompt_leak,
    wrong_language."""
    text = text.strip()
    if not text:
        raise Rejected("empty", "a text is empty")
    if len(text) < min_chars:
        raise Rejected("too_short", f"{len(text)} characters, {min_chars} are wanted")
    if len(text) > max_chars:
        raise Rejected("too_long", f"{len(text):,} characters, {max_chars:,} are allowed")
    if _NO_TEXT.search(text):
        raise Rejected("bad_text", "a text holds characters that are no text")
    if leaks(text):
        raise Rejected("prompt_leak", "the text speaks of the prompt it was made with")
    if not in_language(text, lang):
        raise Rejected("wrong_language", f"the text is not {'Chinese' if lang == 'zh' else 'English'}")
    return text


def helpful(text: str, lang: Language) -> str:
    """An answer fit for a row: `written`, and no refusal. Reasons: refused and those of `written`."""
    if declines(text):
        raise Rejected("refused", "the teacher declines to answer")
    return written(text, lang)


def declines(text: str) -> bool:
    """Whether an answer declines to answer, by how it starts; long ones go on to help. A Chinese
    character counts as two."""
    width = len(text) + len(_CJK.findall(text[: 2 * _DECLINING_CHARS]))
    return width <= _DECLINING_CHARS and _DECLINES.match(text.replace("’", "'")) is not None


def leaks(text: str) -> bool:
    """Whether a text speaks of the prompt that it was made with."""
    return _LEAKS.search(text) is not None


def in_language(text: str, lang: Language) -> bool:
    """Whether the words of a text are in a language, by script; code does not count, nor does a text without words."""
    prose = _CODE.sub(" ", text)
    if not _LETTER.search(prose):
        return True
    return (chinese_share(prose) >= CHINESE) is (lang == "zh")


def names(text: str, phrase: str) -> bool:
    """Whether a text holds a phrase as words of its own, in any case: “ham” is not named in “shampoo”. Chinese stands
    without gaps, so that it is named wherever it stands, and other words are bounded by it."""
    wanted, low = phrase.strip().casefold(), text.casefold()
    if not wanted:
        return False
    at = low.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        if not (_within_word(low[at - 1 : at], low[at]) or _within_word(low[end - 1], low[end : end + 1])):
            return True
        at = low.find(wanted, at + 1)
    return False


def literals(text: str) -> Counter[str]:
    """What must stay as it is when a text is worded otherwise: numbers, addresses, places to fill in, code."""
    code = [piece.strip("`").strip() for piece in _CODE.findall(text)]
    return Counter(code) + Counter(_LITERAL.findall(_CODE.sub(" ", text)))


def same_literals(one: str, other: str) -> bool:
    """Whether two texts hold the same numbers, addresses, places to fill in and code, however often."""
    return _literals(one) == _literals(other)


@lru_cache(maxsize=64)
def _literals(text: str) -> frozenset[str]:
    return frozenset(literals(text))


def _within_word(one: str, next_one: str) -> bool:
    """Whether a word goes on between two characters."""
    return bool(_IN_WORD.fullmatch(one) and _IN_WORD.fullmatch(next_one))
