"""Rows that are nearly the same as a row that stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson
import polars as pl
import polars.selectors as cs
from pydantic import model_validator

from curate.stage import FIELD_PREFIX, Choice, Compare, Fetch, Field, Input, Setting
from curate.stage import drop as drops
from curate.stage import keep as keeps
from schemas.chat import TURNS

if TYPE_CHECKING:
    from curate.near import Comparison
    from curate.near_index import Index

TEA = "How do I make a good cup of tea with fresh leaves from the market near my house?"
ASKED = "怎么申请退款？我上周买的鞋子不合适，想要{}，请告诉我流程。"


class NearDuplicates(Compare):
    """Drop rows nearly the same as a row that stays: each pair is verified by its exact Jaccard similarity."""

    version = 1

    field: Field | tuple[Field, ...] = Setting(
        default="conversation",
        description="what is compared: a field, or several together; of a conversation, questions and answers apart",
    )
    threshold: float = Setting(
        default=0.8, ge=0.3, le=1, description="Jaccard similarity of shingle sets from which on rows are duplicates"
    )
    ngram: int | None = Setting(
        default=None,
        ge=1,
        le=64,
        description="tokens (or characters) of a shingle; by default 5, and pairs of tokens for texts of up to 60",
    )
    shingle: Literal["words", "characters"] = Setting(
        default="words", description="what shingles are made of; each CJK character counts as a word"
    )
    search: Literal["auto", "exact", "lsh"] = Setting(
        default="auto",
        description="exact finds every pair; lsh (MinHash) nearly every; auto is exact for words, lsh for characters",
    )
    recall: float = Setting(
        default=0.99, gt=0, lt=1, description="share of pairs just at the threshold that lsh must find"
    )
    keep: Literal["first", "last", "longest", "newest", "best"] = Setting(
        default="first", description="which of several rows stays; newest and best need `by`"
    )
    by: str | None = Setting(
        default=None, description="for newest a date, for best a score: a key of `extra`, or margin, weight, agreement"
    )
    prefer: tuple[str, ...] = Setting(
        default=(), description="names of sources, best first; a row of a better source stays, whatever `keep` says"
    )
    against: Input | None = Setting(
        default=None, description="a dataset whose rows stay: rows like one of them go; an index is kept beside it"
    )
    alarm: float = Setting(
        default=0.5, gt=0, le=1, description="a source that loses more than this share of its rows is a finding"
    )
    explore: float | None = Setting(
        default=None, ge=0.1, le=1, description="also count, for the report, what a lower threshold would drop"
    )

    examples = (
        keeps(instruction=TEA, answer="Boil water, warm the pot, and wait four minutes."),
        drops("near_duplicate", instruction=TEA, answer="Boil water, warm the pot and wait four minutes!"),
        keeps(instruction=TEA, answer="Ask your grandmother."),
        keeps(instruction=ASKED.format("退掉"), answer="您好，请在订单页面点击申请退款，我们会在三个工作日内处理。"),
        drops(
            "near_duplicate",
            instruction=ASKED.format("退货"),
            answer="您好，请在订单页面点击申请退款，我们会在三个工作日之内处理。",
        ),
        keeps(instruction="Explain: " + TEA + " Boil it first, then add the leaves.", answer="It is about making tea."),
        keeps(instruction="It is about making tea.", answer="Explain: " + TEA + " Boil it first, then add the leaves."),
        keeps(instruction="What is 2+3?", answer="5"),
        keeps(instruction="What is 2+5?", answer="7"),
        keeps(instruction="Translate cat into French", answer="chat"),
        keeps(instruction="Translate dog into French", answer="chien"),
        keeps(instruction="C和C++的区别？", answer="C++有类。"),
        keeps(instruction="C和C的区别？", answer="没有区别。"),
        keeps(settings={"field": "instruction", "keep": "longest"}, instruction=TEA, answer="One. Two. Three. Four."),
        drops(
            "near_duplicate",
            settings={"field": "instruction", "keep": "longest"},
            instruction=TEA.replace("?", ""),
            answer="Boil water.",
        ),
        drops("near_duplicate", settings={"prefer": ["bought"]}, instruction=TEA, answer="Boil water.", source="web"),
        keeps(settings={"prefer": ["bought"]}, instruction=TEA, answer="Boil water!", source="bought"),
        drops(
            "near_duplicate",
            settings={"keep": "best", "by": "score"},
            extra='{"score": 2}',
            instruction=TEA,
            answer="Boil the water first.",
        ),
        keeps(
            settings={"keep": "best", "by": "score"},
            extra='{"score": 4.5}',
            instruction=TEA,
            answer="Boil the water first!",
        ),
        keeps(settings={"shingle": "characters", "ngram": 3}, instruction=TEA, answer="Boil the water first."),
        drops(
            "near_duplicate",
            settings={"shingle": "characters", "ngram": 3},
            instruction=TEA.replace("cup", "cups"),
            answer="Boil the water first.",
        ),
        keeps(settings={"shingle": "characters", "ngram": 3}, instruction="写一首诗", answer="春眠不觉晓"),
        keeps(prompt=TEA, chosen="Boil the water first, then add leaves.", rejected="Tea is bad."),
        drops("near_duplicate", prompt=TEA, chosen="Boil the water first, then add the leaves.", rejected="No idea."),
    )

    @model_validator(mode="after")
    def _consistent(self) -> NearDuplicates:
        if self.keep in ("newest", "best") and self.by is None:
            raise ValueError(f"keep: {self.keep} needs `by`, the key of `extra` that says it")
        if self.by is not None and (self.keep not in ("newest", "best") or re.search(r"['\"\\\]\[]", self.by)):
            raise ValueError("`by` is the name of a key, and goes with keep: newest or best")
        if self.search == "exact" and self.shingle == "characters" and self.ngram is None:
            raise ValueError("an exact search over characters needs `ngram`: it takes much memory and time")
        return self

    def comparison(self) -> Comparison:
        """How texts are compared."""
        from curate.near import Comparison

        search: Literal["exact", "lsh"] = "lsh" if self.search == "lsh" else "exact"
        if self.search == "auto" and self.shingle == "characters":
            search = "lsh"
        return Comparison(self.threshold, self.ngram, self.shingle, search, self.recall)

    def looked_at(self) -> pl.Expr:
        """The text that rows are compared by."""
        texts = [pl.col(name) for name in self._names()]
        return texts[0] if len(texts) == 1 else pl.concat_str(texts, separator="\n", ignore_nulls=True)

    def summary(self) -> dict[str, pl.Expr]:
        comparison = self.comparison()
        if comparison.search == "lsh":
            made: list[pl.Field] = [pl.Field("slots", pl.List(pl.Int32))]
        else:
            made = [pl.Field("short", pl.List(pl.UInt64)), pl.Field("long", pl.List(pl.UInt64))]
        text = self.looked_at()
        compared = text.map_batches(comparison.summary, return_dtype=pl.Struct(made), is_elementwise=True)
        found = {"compared": compared, "source": pl.col("source"), "chars": text.str.len_chars()}
        if self.by is not None:
            own = cs.by_name(self.by, require_all=False).cast(pl.String)
            found["by"] = pl.coalesce(own, pl.col("extra").str.json_path_match(f"$['{self.by}']"))
        return found

    def choose(self, summaries: pl.DataFrame, fetch: Fetch) -> Choice:
        from curate.clusters import Clusters

        comparison = self.comparison()
        order = self._order(summaries)
        clusters = Clusters(comparison, summaries, order, self._texts(fetch), self._index())
        gone = clusters.gone()
        because = [
            orjson.dumps({"kept": kept, "similarity": similarity}).decode()
            for kept, similarity in gone.select("id", pl.col("similarity").round(4)).iter_rows()
        ]
        rows = pl.DataFrame(
            {
                "ordinal": summaries["ordinal"].gather(gone["place"]),
                "reason": pl.repeat("near_duplicate", gone.height, dtype=pl.String, eager=True),
                "because": pl.Series(because, dtype=pl.String),
            }
        )
        return Choice(rows, clusters.findings(self.alarm), {"clusters": clusters.report(self.explore)})

    def _index(self) -> Index | None:
        if self.against is None:
            return None
        from curate.marks import with_fields
        from curate.near_index import index_of
        from schemas.dataset import open_dataset

        dataset = open_dataset(Path(self.against))

        def text(frame: pl.DataFrame) -> pl.Series:
            full = with_fields(frame, dataset.kind, [self.looked_at()])
            return full.select(self.looked_at()).to_series()

        return index_of(dataset, self.comparison(), str(self.field), text)

    def _order(self, summaries: pl.DataFrame) -> pl.Series:
        """Places of the rows in `summaries`, those that would rather stay first."""
        places = {name: place for place, name in enumerate(self.prefer)}
        by_source = [pl.col("source").replace_strict(places, default=len(places), return_dtype=pl.Int64)]
        orders = {
            "first": pl.lit(0),
            "last": -pl.col("ordinal"),
            "longest": -pl.col("chars").cast(pl.Int64).fill_null(0),
            "newest": pl.col("by").rank("dense", descending=True).fill_null(pl.len()) if self.by else pl.lit(0),
            "best": -pl.col("by").cast(pl.Float64, strict=False).fill_nan(None).fill_null(float("-inf"))
            if self.by
            else pl.lit(0),
        }
        ranked = summaries.lazy().select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("place"),
            (by_source[0] if places else pl.lit(0)).alias("source"),
            orders[self.keep].alias("rank"),
        )
        return ranked.sort("source", "rank", "place").collect()["place"]

    def _names(self) -> list[str]:
        fields = (self.field,) if isinstance(self.field, str) else self.field
        return [FIELD_PREFIX + (TURNS if one == "conversation" else one) for one in fields]

    def _texts(self, fetch: Fetch) -> Callable[[Sequence[int]], pl.DataFrame]:
        """`fetch` with a column `text` of what is compared."""
        names = self._names()

        def texts(ordinals: Sequence[int]) -> pl.DataFrame:
            found = fetch(ordinals, names)
            return found.select("ordinal", self.looked_at().alias("text"))

        return texts
