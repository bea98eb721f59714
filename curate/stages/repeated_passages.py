"""Passages that many rows hold word for word: signatures, disclaimers, licence headers."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from curate.stage import FIELD_PREFIX, Choice, Compare, Fetch, Field, Setting
from curate.stage import drop as drops
from curate.stage import edit as edits
from curate.stage import keep as keeps
from schemas.excerpt import excerpt

if TYPE_CHECKING:
    from curate.kernels.passages import Passages
    from curate.passages import Passage, Survey

_SHOWN = 40
_SHOWN_CHARS = 400
_SHOWN_SOURCES = 5
_ALARM_SHARE = 0.05
_TRAILING = " \t\r\n.,:;!?)]}。，：；！？、）】」』”’"
"""What a run of tokens may begin with that ends what is before it; it is not shown."""

_FEW: dict[str, Any] = {"min_rows": 3}
_CUT: dict[str, Any] = {"min_rows": 3, "action": "cut"}
_DROP: dict[str, Any] = {"min_rows": 3, "action": "drop", "max_share": 0.5}
_BYE = "Thank you for shopping with Northlake Tea, your local tea house!"
_ZH_BYE = "感谢您的咨询，祝您生活愉快！客服小王"


class RepeatedPassages(Compare):
    """Find passages that many rows hold word for word, and cut them out or drop the rows that are mostly such.

    A passage is a run of `span_tokens` tokens or more, a line, a sentence, or a short sentence with the one before or
    behind it. Letter case and white space do not count. Rows with the very same text count once: whole answers that are
    repeated are `exact_duplicates`. Nothing is a sketch: what is reported, cut or dropped was compared by its text.
    `cut` takes out whole sentences and lines only, so that no half of one is left; a row with nothing else is dropped.
    """

    field: Field = Setting(default="answer", description="the text that is looked at")
    min_rows: int = Setting(default=10, ge=2, description="rows with different texts that hold a passage at least")
    min_share: float = Setting(
        default=0, ge=0, le=1, description="share of the rows with different texts that hold it at least, besides"
    )
    span_tokens: int = Setting(
        default=50, ge=8, le=1000, description="tokens of a passage that is no whole sentence or line, at least"
    )
    min_tokens: int = Setting(
        default=5, ge=1, description="words, and ideographs and kana, that any passage has at least; marks do not count"
    )
    code: bool = Setting(default=False, description="whether passages within ``` code blocks count")
    action: Literal["report", "cut", "drop"] = Setting(
        default="report",
        description="report only says what there is; cut takes passages out of rows; drop takes rows out",
    )
    max_share: float = Setting(
        default=0.8, ge=0, le=1, description="share of a text's letters in passages, above which `drop` drops the row"
    )

    examples = (
        keeps(settings=_FEW, instruction="Do you sell mugs?", answer=f"We do, in blue and white.\n{_BYE}"),
        keeps(settings=_FEW, instruction="Are you open on Sunday?", answer=f"From ten to four.\n{_BYE}"),
        keeps(settings=_FEW, instruction="几点关门？", answer=f"晚上九点。{_ZH_BYE}"),
        edits(
            {"answer": "We do, in blue and white."},
            settings=_CUT,
            instruction="Do you sell mugs?",
            answer=f"We do, in blue and white.\n\n{_BYE}\n",
        ),
        edits(
            {"answer": "From ten to four. Bring a friend."},
            settings=_CUT,
            instruction="Are you open on Sunday?",
            answer=f"From ten to four. {_BYE.upper()} Bring a friend.",
        ),
        drops("nothing_else", settings=_CUT, instruction="Thanks!", answer=_BYE),
        keeps(settings=_CUT, instruction="Where are you?", answer="By the lake, next to the church."),
        edits({"answer": "晚上九点。"}, settings=_CUT, instruction="几点关门？", answer=f"晚上九点。{_ZH_BYE}"),
        edits({"answer": "有蓝色和白色。"}, settings=_CUT, instruction="有杯子吗？", answer=f"有蓝色和白色。{_ZH_BYE}"),
        edits({"answer": "可以刷卡。"}, settings=_CUT, instruction="能刷卡吗？", answer=f"可以刷卡。\n{_ZH_BYE}"),
        keeps(settings=_CUT, instruction="有停车位吗？", answer="门口有六个停车位，免费停两小时。"),
        drops("repeated_passages", settings=_DROP, instruction="几点关门？", answer=f"九点。{_ZH_BYE}"),
        drops("repeated_passages", settings=_DROP, instruction="有杯子吗？", answer=f"有的。{_ZH_BYE}"),
        keeps(
            settings=_DROP,
            instruction="怎么退货？",
            answer=f"七天内带上小票和没有用过的商品到店里来，我们当场为您办理退款或者换货。{_ZH_BYE}",
        ),
    )

    def passages(self) -> Passages:
        """What counts as a passage."""
        from curate.kernels.passages import Passages

        return Passages(self.span_tokens, self.min_tokens, fences=not self.code)

    def summary(self) -> dict[str, pl.Expr]:
        from curate.passages import SUMMARY, summary

        passages = self.passages()
        made = self.text(self.field).map_batches(
            lambda texts: summary(texts, passages), return_dtype=SUMMARY, is_elementwise=True
        )
        return {"compared": made, "source": pl.col("source")}

    def choose(self, summaries: pl.DataFrame, fetch: Fetch) -> Choice:
        from curate.passages import survey

        ordinals = summaries["ordinal"].to_numpy()
        name = FIELD_PREFIX + self.field
        found = survey(
            summaries["compared"],
            self.passages(),
            lambda texts: max(self.min_rows, math.ceil(self.min_share * texts)),
            lambda rows: fetch(ordinals[rows].tolist(), [name])[name],
        )
        passages = found.passages(_SHOWN)
        gone, cuts = _NO_ROWS, None
        if self.action == "drop":
            gone = _dropped(found, ordinals, self.max_share)
        elif self.action == "cut":
            gone, cuts = self._cut(found, ordinals)
        report = {
            "field": self.field,
            "action": self.action,
            "rows": summaries.height,
            "least": found.least,
            "holding": sum(len(found.rows[text]) for text in np.unique(found.cover.texts).tolist()),
            "dropped": gone.height,
            "cut": cuts["ordinal"].n_unique() if cuts is not None else 0,
            "passages": [_shown(one, summaries) for one in passages],
        }
        return Choice(gone, _findings(report), {f"passages:{self.field}": report}, cuts)

    def _cut(self, found: Survey, ordinals: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows in which nothing would be left, and what to cut out of the others."""
        cuts, nothing_left = found.cuts(self.passages())
        away = np.flatnonzero(nothing_left).tolist()
        gone = _rows(
            [(row, "nothing_else", _because(found, text, 1.0)) for text in away for row in found.rows[text]], ordinals
        )
        stays = ~nothing_left[cuts.texts]
        texts, begins, ends = (one[stays] for one in (cuts.texts, cuts.begins, cuts.ends))
        counts = np.array([len(found.rows[text]) for text in texts.tolist()], dtype=np.int64)
        rows = [found.rows[text] for text in texts.tolist()]
        places = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
        made = pl.DataFrame(
            {
                "ordinal": ordinals[places],
                "field": pl.repeat(self.field, len(places), dtype=pl.String, eager=True),
                "begin": np.repeat(begins, counts),
                "end": np.repeat(ends, counts),
            }
        )
        return gone, made.sort("ordinal", "begin")


_NO_ROWS = pl.DataFrame(schema={"ordinal": pl.Int64(), "reason": pl.String(), "because": pl.String()})


def _rows(gone: list[tuple[int, str, str]], ordinals: Any) -> pl.DataFrame:
    rows = [(int(ordinals[place]), reason, because) for place, reason, because in gone]
    return pl.DataFrame(rows, schema=_NO_ROWS.schema, orient="row").sort("ordinal")


def _dropped(found: Survey, ordinals: Any, most: float) -> pl.DataFrame:
    shares = found.shares()
    away = np.flatnonzero(shares > most).tolist()
    return _rows(
        [
            (row, "repeated_passages", _because(found, text, float(shares[text])))
            for text in away
            for row in found.rows[text]
        ],
        ordinals,
    )


def _because(found: Survey, text: int, share: float) -> str:
    """How much of a text is passages, and its longest one."""
    begin, end = (int(np.searchsorted(found.cover.texts, text, side=side)) for side in ("left", "right"))
    longest = begin + int(np.argmax(found.cover.ends[begin:end] - found.cover.begins[begin:end]))
    said = found.texts[text].encode()[found.cover.begins[longest] : found.cover.ends[longest]].decode()
    return f"{share:.0%}: “{excerpt(said.lstrip(_TRAILING), 120)}”"


def _shown(passage: Passage, summaries: pl.DataFrame) -> dict[str, Any]:
    """A passage as reports show it."""
    sources = Counter(summaries["source"].gather(passage.rows).to_list())
    return {
        "excerpt": excerpt(passage.text.lstrip(_TRAILING), _SHOWN_CHARS),
        "letters": passage.letters,
        "rows": len(passage.rows),
        "sources": [[excerpt(name, 80), rows] for name, rows in sources.most_common(_SHOWN_SOURCES)],
    }


def _findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    if not report["passages"]:
        return []
    first = report["passages"][0]
    severe = report["holding"] >= _ALARM_SHARE * report["rows"] and report["action"] == "report"
    return [
        {
            "kind": "repeated_passages",
            "severity": "medium" if severe else "low",
            "count": report["holding"],
            "example": excerpt(f"{first['rows']:,} rows: {first['excerpt']}"),
            "fix": "look at them in the report; `action: cut` takes them out of the rows, `action: drop` drops rows "
            "that are mostly such"
            if report["action"] == "report"
            else "look at them in the report: what went, and what stayed",
        }
    ]
