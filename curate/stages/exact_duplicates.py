"""Rows that say the same as another row."""

from __future__ import annotations

import hashlib
from typing import Literal

import orjson
import polars as pl
import polars.selectors as cs

from curate.measure import only
from curate.stage import Compare, Fetch, Field, Setting
from curate.stage import drop as drops
from curate.stage import keep as keeps
from schemas.rows import ID_BYTES

# What NFKC and lower case leave different though it is the same mark: Chinese and typographic punctuation.
_SAME = {
    **dict.fromkeys("‘’‛′`´「」『』“”„‟″〝〞«»《》〈〉‹›", "'"),
    **dict.fromkeys("‐‑‒–—―−─", "-"),
    **dict.fromkeys("【〖〔", "["),
    **dict.fromkeys("】〗〕", "]"),
    "。": ".",
    "、": ",",
    "·": ".",
    "・": ".",
    "•": ".",
    "ß": "ss",
    "ς": "σ",
}
_INVISIBLE = r"[\p{Cf}\u{FE0E}\u{FE0F}]+"
_RAISED = r"([⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ]+)"  # NFKC alone would make x² and x2 the same
_LOWERED = r"([₀₁₂₃₄₅₆₇₈₉]+)"

# White space does not count beside punctuation and Chinese characters; elsewhere a run of it is one space.
_SPACE_BEFORE = r"\s+([\p{P}\p{Han}])"
_SPACE_AFTER = r"([\p{P}\p{Han}])\s+"


class ExactDuplicates(Compare):
    """Drop rows that say the same as another row, but for case, width, white space and kind of punctuation."""

    version = 2

    field: Field = Setting(
        default="conversation",
        description="what must be the same; for conversation also the rejected answer, tools, tool calls and verdict",
    )
    keep: Literal["first", "last", "longest"] = Setting(
        default="first", description="which of the rows that say the same stays; longest counts characters as written"
    )
    prefer: tuple[str, ...] = Setting(
        default=(), description="names of sources, best first; a row of a better source stays, whatever `keep` says"
    )

    examples = (
        keeps(instruction="How do I make tea?", answer="Boil water."),
        drops("copy", instruction="how do I make  tea ?".replace(" ?", "?"), answer="Boil water."),
        drops("copy", instruction="HOW DO I MAKE TEA?", answer="Boil\nwater. "),
        keeps(instruction="How do I make coffee?", answer="Boil water."),
        keeps(instruction="怎么泡茶？", answer="先烧水，再放茶叶。"),
        drops("copy", instruction="怎么泡茶?", answer="先烧水,再放茶叶｡"),
        drops("copy", instruction="How  do I make tea ?", answer="Boil  water ."),
        drops("copy", instruction="怎么泡茶 ？", answer="先烧水 ，再放 茶叶。"),
        keeps(instruction="怎么泡茶？", answer="先放茶叶，再烧水。"),
        keeps(instruction="Solve x² = 4", answer="x = ±2"),
        keeps(instruction="Solve x2 = 4", answer="x = ±2"),
        keeps(instruction="C和C++的区别？", answer="C++有类。"),
        keeps(
            messages=[
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": None, "tool_calls": '[{"city": "Paris"}]'},
            ]
        ),
        keeps(
            messages=[
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": None, "tool_calls": '[{"city": "Rome"}]'},
            ]
        ),
        drops("copy", settings={"keep": "last"}, instruction="你好", answer="您好！"),
        keeps(settings={"keep": "last"}, instruction="你好", answer="您好!"),
        drops("copy", settings={"keep": "longest"}, instruction="Hi", answer="Hello!"),
        keeps(settings={"keep": "longest"}, instruction="Hi", answer="Hello!  "),
        drops("copy", settings={"prefer": ["bought", "web"]}, instruction="Hi", answer="Hello!", source="web"),
        drops("copy", settings={"prefer": ["bought", "web"]}, instruction="Hi", answer="Hello!", source="other"),
        keeps(settings={"prefer": ["bought", "web"]}, instruction="Hi", answer="Hello!", source="bought"),
        keeps(settings={"field": "instruction"}, instruction="一加一？", answer="二"),
        drops("copy", settings={"field": "instruction"}, instruction="一加一?", answer="等于二"),
        keeps(prompt="2+2?", chosen="4", rejected="5"),
        keeps(prompt="2+2?", chosen="4", rejected="6"),
        drops("copy", prompt="２+２？", chosen="4", rejected="5"),
    )

    def summary(self) -> dict[str, pl.Expr]:
        text = self.text(self.field)
        parts = [_folded(text)]
        if self.field == "conversation":
            parts += [
                _folded(self.text("rejected")),
                _calls("messages"),
                _calls("chosen"),
                _calls("rejected"),
                _as_text("tools"),
                _as_text("verdict"),
            ]
        whole = pl.concat_str([part.fill_null("") for part in parts], separator="\x1f")
        key = whole.map_batches(_digests, return_dtype=pl.Binary, is_elementwise=True)
        return {"key": key, "source": pl.col("source"), "chars": text.str.len_chars()}

    def choose(self, summaries: pl.DataFrame, fetch: Fetch) -> pl.DataFrame:
        alike = summaries.filter(pl.col("key").is_not_null() & pl.col("key").is_duplicated())
        places = {name: place for place, name in enumerate(self.prefer)}
        by_source = [pl.col("source").replace_strict(places, default=len(places))] if places else []
        orders = {
            "first": pl.col("ordinal"),
            "last": -pl.col("ordinal"),
            "longest": -pl.col("chars").cast(pl.Int64).fill_null(0),
        }
        best_first = alike.sort(*by_source, orders[self.keep], "ordinal")
        best = best_first.group_by("key", maintain_order=True).agg(
            pl.col("id").first().alias("kept"), pl.col("ordinal").first().alias("best")
        )
        gone = alike.join(best, on="key", how="left").filter(pl.col("ordinal") != pl.col("best")).sort("ordinal")
        because = [orjson.dumps({"kept": kept}).decode() for kept in gone["kept"]]
        return gone.select("ordinal", pl.lit("copy").alias("reason"), pl.Series("because", because, dtype=pl.String))


def _folded(text: pl.Expr) -> pl.Expr:
    # ASCII is spared most of the work: a null costs nothing.
    plain = text.str.len_bytes() == text.str.len_chars()
    other = only(~plain, text).str.replace_all(_INVISIBLE, "")
    other = other.str.replace_all(_RAISED, "^$1").str.replace_all(_LOWERED, "_$1").str.normalize("NFKC")
    lower = pl.coalesce(other, text).str.to_lowercase()
    folded = pl.coalesce(only(~plain, lower).str.replace_many(_SAME), lower)
    folded = folded.str.replace_all('"', "'", literal=True)
    folded = folded.str.replace_all(_SPACE_BEFORE, "$1").str.replace_all(_SPACE_AFTER, "$1")
    return folded.str.replace_all(r"\s+", " ").str.strip_chars()


def _calls(name: str) -> pl.Expr:
    """Tool calls in a column of messages, where rows have that column."""
    messages = cs.by_name(name, require_all=False)
    calls = messages.list.eval(pl.element().struct.field("tool_calls").fill_null("")).list.join("\x1e")
    return pl.concat_str(pl.lit(""), calls, ignore_nulls=True).str.strip_chars("\x1e")


def _as_text(name: str) -> pl.Expr:
    """A column as it is, where rows have it."""
    return pl.concat_str(pl.lit(""), cs.by_name(name, require_all=False).cast(pl.String), ignore_nulls=True)


def _digests(texts: pl.Series) -> pl.Series:
    """BLAKE2b of each text; null where it holds nothing but separators."""
    blake = hashlib.blake2b
    digests = [
        blake(text.encode(), digest_size=ID_BYTES).digest() if text.strip("\x1f") else None for text in texts.to_list()
    ]
    return pl.Series(texts.name, digests, dtype=pl.Binary)
