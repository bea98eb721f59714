"""Rows in the languages that are wanted."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import AfterValidator, StringConstraints, model_validator

from curate.stage import Filter, Setting
from curate.stage import drop as drops
from curate.stage import keep as keeps

_MISTAKEN = {"cn": "zh", "ch": "zh", "chn": "zh", "jp": "ja", "kr": "ko", "uk-en": "en", "gb": "en", "us": "en"}


# Other ways in which data names a language.
_SAME = {"eng": "en", "english": "en", "zho": "zh", "chi": "zh", "cmn": "zh", "chinese": "zh", "mandarin": "zh"} | {
    "英文": "en",
    "英语": "en",
    "中文": "zh",
    "汉语": "zh",
    "cantonese": "yue",
    "粤语": "yue",
}


def _code(code: str) -> str:
    if code in _MISTAKEN:
        raise ValueError(f"{code!r} is not a language code; did you mean {_MISTAKEN[code]!r}?")
    return code


Code = Annotated[str, StringConstraints(pattern=r"^([a-z]{2,3}|zh-en|code)$"), AfterValidator(_code)]
"""A language as `detect_language` writes it: ISO 639, or zh-en for mixed text, or code for program text."""


class Language(Filter):
    """Keep or drop rows by their language, as `detect_language` or the importer filled it."""

    keep: tuple[Code, ...] = Setting(
        default=(),
        description="languages to keep; mixed text (zh-en) stays when it, or both its languages, are named, and "
        "Cantonese (yue) when Chinese is",
    )
    drop: tuple[Code, ...] = Setting(
        default=(), description="languages to drop, just these; give this or `keep`, not both"
    )
    unknown: Literal["keep", "drop"] = Setting(default="keep", description="what to do with rows of unknown language")

    version = 2

    examples = (
        keeps(settings={"keep": ["zh", "en"]}, instruction="你好", answer="您好！", lang="zh"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="Hi", answer="Hello!", lang="en"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="翻译：你好", answer="Hello there, my friend", lang="zh-en"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="你好", answer="您好！", lang="zh-CN"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="Hi", answer="Hello!", lang="en_US"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="Hi", answer="Hello!", lang="English"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="你好", answer="您好！", lang="cmn"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="你食咗飯未呀", answer="食咗喇", lang="yue"),
        drops("other_language", settings={"drop": ["yue"]}, instruction="你食咗飯未呀", answer="食咗喇", lang="yue"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="42", answer="42"),
        keeps(settings={"keep": ["zh", "en"]}, instruction="42", answer="42", lang="und"),
        drops("other_language", settings={"keep": ["zh", "en"]}, instruction="Salut", answer="Bonjour !", lang="fr"),
        drops("other_language", settings={"keep": ["zh", "en"]}, instruction="f", answer="def f(): pass", lang="code"),
        drops("other_language", settings={"keep": ["zh"]}, instruction="Hi", answer="Hello!", lang="en"),
        drops("other_language", settings={"keep": ["zh"]}, instruction="翻译", answer="Hello there", lang="zh-en"),
        drops("other_language", settings={"drop": ["zh"]}, instruction="你好", answer="您好！", lang="zh"),
        keeps(settings={"drop": ["zh"]}, instruction="Hi", answer="Hello!", lang="en"),
        keeps(settings={"keep": ["zh"], "unknown": "drop"}, instruction="你好", answer="您好！", lang="zh"),
        drops("unknown_language", settings={"keep": ["zh"], "unknown": "drop"}, instruction="42", answer="42"),
        drops(
            "unknown_language", settings={"keep": ["zh"], "unknown": "drop"}, instruction="?", answer="!", lang="und"
        ),
    )

    @model_validator(mode="after")
    def _one_list(self) -> Language:
        if bool(self.keep) == bool(self.drop):
            raise ValueError("name the languages to `keep` or the languages to `drop`: one of the two lists")
        return self

    def reasons(self) -> dict[str, pl.Expr]:
        whole = pl.col("lang").str.to_lowercase().str.replace_all("_", "-", literal=True)
        code = pl.when(whole == "zh-en").then(whole).otherwise(whole.str.split("-").list.first()).replace(_SAME)
        known = code.is_not_null() & ~code.is_in(["", "und", "unknown", "mul", "zxx"])
        if self.drop:
            other = code.is_in(list(self.drop))
        else:
            also = [*(["zh-en"] if {"zh", "en"} <= set(self.keep) else []), *(["yue"] if "zh" in self.keep else [])]
            other = ~code.is_in([*self.keep, *also])
        unknown = {"unknown_language": ~known} if self.unknown == "drop" else {}
        return unknown | {"other_language": known & other}

    def because(self) -> dict[str, pl.Expr]:
        return {"other_language": pl.format("lang is {}", pl.col("lang"))}
