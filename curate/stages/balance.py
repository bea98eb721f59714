"""No task, source or language with more than its share."""

from __future__ import annotations

import hashlib
from typing import Literal

import polars as pl
from pydantic import model_validator

from curate.stage import Compare, Fetch, Setting, drop, keep
from schemas.errors import UserError


class Balance(Compare):
    """Drop rows of a task, source or language that has too many of them; chance, fixed by the seed, says which."""

    by: Literal["task", "source", "lang"] = Setting(default="task", description="what rows are grouped by")
    max_rows: int | None = Setting(default=None, ge=1, description="most rows that a group may have")
    max_share: float | None = Setting(default=None, gt=0, le=1, description="largest share of all rows left, 0 to 1")
    seed: int = Setting(default=0, description="another seed chooses other rows")

    examples = (
        keep(settings={"max_rows": 2}, task="qa", instruction="What is a noun?", answer="A word for a thing."),
        drop("over_cap", settings={"max_rows": 2}, task="qa", instruction="什么是名词？", answer="表示事物的词。"),
        keep(settings={"max_rows": 2}, task="qa", instruction="What is a verb?", answer="A word for an action."),
        keep(settings={"max_rows": 2}, task="翻译", instruction="翻译：你好", answer="Hello"),
        keep(settings={"max_rows": 2}, task="翻译", instruction="翻译：再见", answer="Goodbye"),
        keep(settings={"max_rows": 2}, instruction="没有任务", answer="也算一组"),
        keep(settings={"by": "lang", "max_share": 0.5}, lang="zh", instruction="一", answer="一"),
        drop("over_cap", settings={"by": "lang", "max_share": 0.5}, lang="en", instruction="one", answer="one"),
        keep(settings={"by": "lang", "max_share": 0.5}, lang="en", instruction="two", answer="two"),
        keep(settings={"by": "lang", "max_share": 0.5}, lang="en", instruction="three", answer="three"),
        keep(settings={"by": "lang", "max_share": 0.5}, lang="zh", instruction="二", answer="二"),
        keep(settings={"by": "source", "max_rows": 1, "seed": 7}, source="web", instruction="网", answer="网"),
        keep(settings={"by": "source", "max_rows": 1, "seed": 7}, source="book", instruction="book", answer="book"),
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Balance:
        if self.max_rows is None and self.max_share is None:
            raise ValueError("say how much a group may have: `max_rows`, `max_share` or both")
        return self

    def summary(self) -> dict[str, pl.Expr]:
        return {"group": pl.col(self.by)}

    def choose(self, summaries: pl.DataFrame, fetch: Fetch) -> pl.DataFrame:
        sizes = summaries.group_by("group").len("rows")
        cap = self._cap(sizes["rows"].to_list())
        large = summaries.join(sizes.filter(pl.col("rows") > cap), on="group", nulls_equal=True, maintain_order="left")
        lots = pl.Series("lot", [self._lot(row) for row in large["id"]], dtype=pl.Binary)
        # Repeats of a row that a mix made share an id, hence the ordinal.
        place = pl.struct("lot", "ordinal").rank("ordinal").over("group")
        gone = large.with_columns(lots).filter(place > cap).sort("ordinal")
        because = pl.format(
            "{} {} has {} rows, {} may stay", pl.lit(self.by), pl.col("group").fill_null("(none)"), "rows", pl.lit(cap)
        )
        return gone.select("ordinal", pl.lit("over_cap").alias("reason"), because.alias("because"))

    def _lot(self, row: str) -> bytes:
        return hashlib.blake2b(f"{self.seed}:{row}".encode(), digest_size=16).digest()

    def _cap(self, sizes: list[int]) -> int:
        largest = max(sizes, default=0)
        cap = largest if self.max_rows is None else min(self.max_rows, largest)
        if self.max_share is None or not sizes:
            return cap
        low, high = 0, cap
        while low < high:  # rows left grow ever more slowly with the cap, so caps that fit are an interval from 0
            middle = (low + high + 1) // 2
            left = sum(min(size, middle) for size in sizes)
            low, high = (middle, high) if middle <= self.max_share * left + 1e-9 else (low, middle - 1)
        if low == 0:
            raise UserError(
                f"no cut leaves every {self.by} at most {self.max_share:.0%} of the rows: there are only {len(sizes)}",
                hint=f"set max_share to {1 / len(sizes):.2f} or more, or use max_rows",
            )
        return low
