"""The rows that were scored best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import model_validator

from curate.stage import Compare, Fetch, Input, Setting, drop, keep
from schemas.errors import UserError, nearest


class TopByScore(Compare):
    """Keep the rows with the best scores, from a dataset of scores or a file with `row_id` and `value`."""

    scores: Input = Setting(description="dataset of scores, or a .parquet or .jsonl file with `row_id` and `value`")
    name: str | None = Setting(
        default=None, description="which score, where the file holds several; see its `name` column"
    )
    keep_rows: int | None = Setting(default=None, ge=1, description="how many scored rows to keep")
    keep_share: float | None = Setting(default=None, gt=0, le=1, description="share of the scored rows to keep, 0 to 1")
    lowest: bool = Setting(default=False, description="whether the lowest scores are the best")
    unscored: Literal["keep", "drop"] = Setting(default="keep", description="what to do with rows that have no score")

    # An example's `score` is what the file says about it.
    examples = (
        keep(settings={"scores": "scores.jsonl", "keep_rows": 2}, instruction="1+1?", answer="2", score=0.9),
        drop(
            "low_score", settings={"scores": "scores.jsonl", "keep_rows": 2}, instruction="2+2?", answer="5", score=0.1
        ),
        keep(settings={"scores": "scores.jsonl", "keep_rows": 2}, instruction="一加一？", answer="二", score=0.8),
        drop(
            "low_score",
            settings={"scores": "scores.jsonl", "keep_rows": 2},
            instruction="二加二？",
            answer="五",
            score=0.2,
        ),
        keep(settings={"scores": "scores.jsonl", "keep_rows": 2}, instruction="3+3?", answer="6"),
        keep(
            settings={"scores": "s.parquet", "keep_share": 0.5, "lowest": True},
            instruction="天",
            answer="空",
            score=1.5,
        ),
        drop(
            "low_score",
            settings={"scores": "s.parquet", "keep_share": 0.5, "lowest": True},
            instruction="地",
            answer="面",
            score=2.5,
        ),
        keep(
            settings={"scores": "s.jsonl", "keep_rows": 9, "unscored": "drop"},
            instruction="Hi",
            answer="Hello",
            score=1,
        ),
        drop(
            "unscored",
            settings={"scores": "s.jsonl", "keep_rows": 9, "unscored": "drop"},
            instruction="Hi!",
            answer="Hello",
        ),
        drop(
            "unscored",
            settings={"scores": "s.jsonl", "keep_rows": 9, "unscored": "drop"},
            instruction="嗨",
            answer="你好",
        ),
    )

    @model_validator(mode="after")
    def _one_amount(self) -> TopByScore:
        if (self.keep_rows is None) == (self.keep_share is None):
            raise ValueError("say how many rows to keep: `keep_rows` or `keep_share`, one of the two")
        return self

    def summary(self) -> dict[str, pl.Expr]:
        return {}

    def choose(self, summaries: pl.DataFrame, fetch: Fetch) -> pl.DataFrame:
        joined = summaries.join(self._values(), on="id", how="left", maintain_order="left")
        scored = joined.filter(pl.col("value").is_not_null())
        if scored.is_empty() and not joined.is_empty():
            raise UserError(
                f"{self.scores} has no score for any of these rows",
                hint="scores belong to rows by id: score the dataset that this recipe reads",
            )
        ranked = scored.sort("value", "id", "ordinal", descending=[not self.lowest, False, False]).with_row_index(
            "rank", 1
        )
        kept = self.keep_rows or math.ceil((self.keep_share or 1.0) * ranked.height - 1e-9)
        said = pl.format("score {}, rank {} of {}", "value", "rank", pl.lit(ranked.height))
        low = ranked.filter(pl.col("rank") > kept).select("ordinal", reason=pl.lit("low_score"), because=said)
        if self.unscored == "keep":
            return low.sort("ordinal")
        without = joined.filter(pl.col("value").is_null())
        none = without.select("ordinal", reason=pl.lit("unscored"), because=pl.lit(None, dtype=pl.String))
        return pl.concat([low, none]).sort("ordinal")

    def _values(self) -> pl.DataFrame:
        """`id` and `value`: the mean where a row was scored more than once. What is not a number is no score."""
        found = _read(Path(self.scores))
        missing = {"row_id", "value"} - set(found.columns)
        if missing:
            columns = ", ".join(sorted(found.columns))
            raise UserError(
                f"{self.scores} has no column {min(missing)!r}", hint=f"it has: {columns}", file=self.scores
            )
        if "name" in found.columns:
            names = sorted(name for name in found["name"].unique().to_list() if name is not None)
            if self.name is None and len(names) > 1:
                raise UserError(f"{self.scores} holds several scores", hint=f"set `name` to one of: {', '.join(names)}")
            if self.name is not None and self.name not in names:
                raise UserError(f"{self.scores} has no score named {self.name!r}", hint=nearest(self.name, names))
            found = found.filter(pl.lit(True) if self.name is None else pl.col("name") == self.name)
        values = found.select(
            pl.col("row_id").cast(pl.String).alias("id"), pl.col("value").cast(pl.Float64, strict=False)
        )
        usable = values.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
        return usable.sort("id", "value").group_by("id", maintain_order=True).agg(pl.col("value").mean())


def _read(path: Path) -> pl.DataFrame:
    if path.is_dir():
        shards = sorted((path / "data").glob("*.parquet")) or sorted(path.glob("*.parquet"))
        if not shards:
            raise UserError(
                f"{path} holds no scores", hint="name a dataset, or a .parquet or .jsonl file", file=str(path)
            )
        return pl.concat([pl.read_parquet(shard) for shard in shards])
    if not path.is_file():
        raise UserError(
            f"there is no {path}", hint="name a dataset of scores, or a .parquet or .jsonl file", file=str(path)
        )
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_ndjson(path, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        said = str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as scores: {said}", hint="it must be .parquet or .jsonl", file=str(path)
        ) from error
