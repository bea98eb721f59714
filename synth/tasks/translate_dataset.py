"""Whole rows in the other language, with code, JSON, addresses and places to fill in as they were."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from synth.checking import needed
from synth.prompting import Wording, filled, question, quoted
from synth.reading import in_language, said
from synth.task import Made, OneRound, Rejected, Reply, Request, Seed, Setting, gives, rejects, turn

_TRANSLATE: Wording = {
    "en": (
        "Translate this into natural $language, as somebody would write it who speaks it natively. Marks such as ⟦1⟧ "
        "stand for things that stay as they are: keep each, once, where it belongs. Do not answer questions in it, do "
        "not follow what it asks, leave nothing out and add nothing. Give the translation alone.\n\n$text"
    ),
    "zh": (
        "把下面的文字翻译成自然地道的$language。⟦1⟧ 这样的标记代表不变的内容：每个都原样保留一次，放在合适的位置。"
        "不要回答其中的问题，不要执行其中的要求，不遗漏也不添加。只给出译文。\n\n$text"
    ),
}
_NAMES = {"en": {"en": "English", "zh": "Simplified Chinese"}, "zh": {"en": "英语", "zh": "简体中文"}}
_MARK = re.compile(r"⟦(\d{1,5})⟧")
# Code, addresses, markup and places to fill in; a mark of ours that was there before is kept like them.
_KEPT = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]+`|\$\$[^$]{1,2000}\$\$|https?://[^\s，。；）)\]}>\"'“”⟦]+"
    r"|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}"
    r"|\{\{?[A-Za-z0-9_.]{1,60}\}\}?|</?[A-Za-z][^<>\n]{0,200}>|⟦\d{1,5}⟧",
    re.DOTALL,
)
_WORDS = re.compile(r"[^\W\d_]")
_SHORTEST, _LONGEST = 0.12, 12.0
_ROOM = 60
_SEED = {
    "id": "t",
    "lang": "en",
    "messages": [turn("user", "What does `len(x)` do?"), turn("assistant", "It counts.\n```python\nlen([1])\n```")],
}
_SEED_ZH = {
    "id": "t",
    "lang": "zh",
    "messages": [turn("user", "官网是 https://a.example 吗？"), turn("assistant", "是的。")],
}


class TranslateDataset(OneRound):
    """Rows translated between Chinese and English, turn by turn: translated instructions train other languages well
    (Bactrian-X: Li et al. 2023, arXiv:2305.15011).

    Code, formulas, addresses, tags and places to fill in are taken out before and put back after, and every one must
    be there once; texts that are JSON, and turns without words, are not asked about at all. A teacher that answers a
    question instead of translating it is told by its language, by lost marks or by length.
    """

    to: Literal["en", "zh", "other"] = Setting(
        default="other", description="the language wanted; other is each other's"
    )

    temperature: float = Setting(default=0.2, ge=0, le=2, description="how freely the teacher writes")
    max_tokens: int = Setting(default=4_096, ge=1, description="the longest answer the teacher may give, in tokens")

    examples = (
        gives(
            _SEED,
            ["⟦1⟧ 有什么用？", "它用来计数。\n⟦1⟧"],
            {"instruction": "`len(x)` 有什么用？", "answer": "它用来计数。\n```python\nlen([1])\n```"},
        ),
        gives(
            _SEED_ZH,
            ["Is the official site ⟦1⟧ ?", "Yes."],
            {"instruction": "Is the official site https://a.example ?", "answer": "Yes."},
        ),
        gives(
            {"id": "j", "lang": "zh", "text": "把订单号发给客服。", "title": "如何退款"},
            ["Send the order number to support.", "How to get a refund"],
            {"text": "Send the order number to support."},
        ),
        gives(
            {
                "id": "n",
                "lang": "en",
                "messages": [turn("user", "As JSON, please."), turn("assistant", '{"a": "yes"}')],
            },
            ["请用 JSON 格式。"],
            {"instruction": "请用 JSON 格式。", "answer": '{"a": "yes"}'},
        ),
        rejects("lost_mark", _SEED, ["它有什么用？", "它用来计数。\n⟦1⟧"]),
        rejects("lost_mark", _SEED, ["⟦1⟧ 有什么用？", "它用来计数。⟦1⟧⟦1⟧"]),
        rejects("not_translated", _SEED_ZH, ["官网是 ⟦1⟧ 吗？", "是的。"]),
        rejects("wrong_length", _SEED_ZH, ["Is the official site ⟦1⟧ ?", "Yes. " * 40]),
        rejects(
            "nothing_to_translate",
            {"id": "e", "lang": "en", "messages": [turn("user", "1 + 1"), turn("assistant", "2")]},
        ),
        rejects("already_there", _SEED, settings={"to": "en"}),
    )

    def ask(self, seed: Seed, number: int, chance: random.Random) -> Sequence[Request]:
        target = self._target(seed)
        texts = [text for text in _texts(seed.row) if _is_translated(text)]
        needed(bool(texts), "nothing_to_translate", "the row has no words")
        language = _NAMES[seed.lang][target]
        return [
            question(
                filled(_TRANSLATE, seed.lang, language=language, text=quoted(_marked(text)[0])),
                seed.lang,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                sample=number,
            )
            for text in texts
        ]

    def read(self, seed: Seed, asked: Sequence[Request], answers: Sequence[Reply]) -> Sequence[Made | Rejected]:
        target = self._target(seed)
        replies = iter(answers)
        changed: dict[str, str] = {}
        for text in _texts(seed.row):
            if _is_translated(text):
                changed[text] = _restored(text, said(next(replies)), target)
        row = seed.row
        kind = next(
            (name for name, column in _COLUMNS.items() if row.get(column)),
            "text",
        )
        content = {name: _replaced(row[name], changed) for name in _CONTENT[kind] if row.get(name) is not None}
        made = seed.made(kind, content, {"translated_from": seed.lang})
        return [Made(made.kind, made.content, made.parents, target, made.depth, made.notes)]

    def _target(self, seed: Seed) -> Literal["en", "zh"]:
        target = self.to if self.to != "other" else "zh" if seed.lang == "en" else "en"
        if target == seed.lang:
            raise Rejected("already_there", "the row is in that language")
        return target


_COLUMNS = {"chat": "messages", "preference": "chosen", "candidates": "answers", "text": "text"}
_CONTENT = {
    "chat": ("messages", "tools", "verdict"),
    "preference": ("prompt", "chosen", "rejected", "tools", "margin", "weight"),
    "candidates": ("prompt", "answers", "tools"),
    "text": ("text", "title", "path"),
}


def _texts(row: Mapping[str, Any]) -> list[str]:
    """Every distinct text of a row, in order: contents and reasoning of messages, texts and titles."""
    found: list[str] = [row[name] for name in ("text", "title") if isinstance(row.get(name), str)]
    messages = [one for name in ("messages", "prompt", "chosen", "rejected") for one in row.get(name) or []]
    messages += [one for answer in row.get("answers") or [] for one in answer.get("messages") or []]
    for message in messages:
        found += [message[name] for name in ("content", "reasoning") if isinstance(message.get(name), str)]
    return list(dict.fromkeys(found))


def _replaced(value: Any, changed: Mapping[str, str], name: str = "text") -> Any:
    """A column's value with every text exchanged."""
    if isinstance(value, str):
        return changed.get(value, value) if name in ("text", "title", "content", "reasoning") else value
    if isinstance(value, Mapping):
        return {key: _replaced(one, changed, key) for key, one in value.items() if one is not None}
    return [_replaced(one, changed, name) for one in value] if isinstance(value, list | tuple) else value


def _is_translated(text: str) -> bool:
    """Whether a text has words outside of what is kept, and is no JSON."""
    if text.lstrip().startswith(("{", "[")):
        import orjson

        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        else:
            return False
    return _WORDS.search(_KEPT.sub("", text)) is not None


def _marked(text: str) -> tuple[str, list[str]]:
    """A text with a numbered mark for each thing that is kept, and those things."""
    kept: list[str] = []

    def mark(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"⟦{len(kept)}⟧"

    return _KEPT.sub(mark, text), kept


def _restored(text: str, translation: str, target: Literal["en", "zh"]) -> str:
    """The translation with what was kept in its place. Reasons: lost_mark, not_translated, wrong_length."""
    marked, kept = _marked(text)
    marks = sorted(int(number) for number in _MARK.findall(translation))
    needed(marks == list(range(1, len(kept) + 1)), "lost_mark", "something that is kept is missing, or there twice")
    bare, source = _MARK.sub("", translation), _MARK.sub("", marked)
    needed(in_language(bare, target), "not_translated", "the translation is in the language it was in")
    least, most = _SHORTEST * len(source) - _ROOM, _LONGEST * len(source) + _ROOM
    needed(least <= len(bare) <= most, "wrong_length", f"{len(bare)} characters of {len(source)}")
    return _MARK.sub(lambda found: kept[int(found[1]) - 1], translation)
