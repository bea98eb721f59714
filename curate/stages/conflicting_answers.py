"""Rows that answer nearly the same question differently."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import orjson
import polars as pl

from curate.stage import FIELD_PREFIX, Choice, Compare, Fetch, Setting
from curate.stage import drop as drops
from curate.stage import keep as keeps
from schemas.excerpt import excerpt

_RETURN = "How many days do I have to return the shoes I bought last week in your online shop?"
_ZH = "请问在你们店里买的净化器，收到以后几天之内可以申请无理由退货？"
_MOST_VARIANTS = 40
_SHOWN_GROUPS = 40


class ConflictingAnswers(Compare):
    """Find near-same questions whose answers disagree on a number, a date, yes or no, or the title of a policy."""

    threshold: float = Setting(
        default=0.8, ge=0.3, le=1, description="Jaccard similarity of questions from which on they ask the same"
    )
    drop: Literal["none", "minority", "all"] = Setting(
        default="none",
        description="none reports them for people to settle; minority drops what contradicts the commonest answer",
    )

    examples = (
        keeps(instruction=_RETURN, answer="You have 7 days from delivery."),
        keeps(instruction=_RETURN, answer="You have 14 days."),
        keeps(settings={"drop": "minority"}, instruction=_ZH, answer="签收次日起 7 天内支持无理由退货。"),
        keeps(settings={"drop": "minority"}, instruction=_ZH, answer="可以的，7天内都能退。"),
        drops("conflicting_answer", settings={"drop": "minority"}, instruction=_ZH, answer="您好，15 天内可以退。"),
        keeps(settings={"drop": "minority"}, instruction="净化器多少钱？", answer="现价 899 元。"),
        drops("conflicting_answer", settings={"drop": "all"}, instruction=_RETURN, answer="Within 7 days."),
        drops("conflicting_answer", settings={"drop": "all"}, instruction=_RETURN, answer="You have 30 days."),
        keeps(settings={"drop": "all"}, instruction="Do you ship the kettle abroad?", answer="Yes, we do."),
        drops(
            "conflicting_answer",
            settings={"drop": "all"},
            instruction="Can I use the coupon on sale items in the shop?",
            answer="Yes, you can.",
        ),
        drops(
            "conflicting_answer",
            settings={"drop": "all"},
            instruction="Can I use the coupon on sale items in the shop ?",
            answer="No, coupons are for full-price items.",
        ),
    )

    def summary(self) -> dict[str, pl.Expr]:
        from curate.near import Comparison

        made = [pl.Field("short", pl.List(pl.UInt64)), pl.Field("long", pl.List(pl.UInt64))]
        compared = self.text("instruction").map_batches(
            Comparison(self.threshold).summary, return_dtype=pl.Struct(made), is_elementwise=True
        )
        return {"compared": compared}

    def choose(self, summaries: pl.DataFrame, fetch: Fetch) -> Choice:
        from curate.near import Comparison, entries_from

        labels = Comparison(self.threshold).components(entries_from(summaries["compared"]))
        groups = summaries.select("ordinal", "id", pl.Series("group", labels))
        groups = groups.filter(pl.len().over("group") > 1)
        names = [FIELD_PREFIX + "instruction", FIELD_PREFIX + "answer"]
        texts = fetch(groups["ordinal"].to_list(), names)
        groups = groups.join(texts, on="ordinal", how="left", maintain_order="left")
        found = [
            one for _, rows in groups.group_by("group", maintain_order=True) if (one := _conflict(rows)) is not None
        ]
        gone = [drop for one in found for drop in self._gone(one)]
        rows = pl.DataFrame(
            {
                "ordinal": pl.Series([one[0] for one in gone], dtype=pl.Int64),
                "reason": pl.Series(["conflicting_answer"] * len(gone), dtype=pl.String),
                "because": pl.Series([one[1] for one in gone], dtype=pl.String),
            }
        ).sort("ordinal")
        found.sort(key=lambda one: -one["rows"])
        return Choice(rows, _findings(found), {"conflicts": [_shown(one) for one in found[:_SHOWN_GROUPS]]})

    def _gone(self, conflict: dict[str, Any]) -> list[tuple[int, str]]:
        """Ordinals to drop, and why."""
        if self.drop == "none":
            return []
        best = conflict["variants"][0]
        gone = []
        for variant in conflict["variants"]:
            about = variant["about"] if variant is not best else conflict["about"]
            if self.drop == "all" or (variant is not best and variant["about"]):
                other = best if variant is not best else conflict["variants"][1]
                because = orjson.dumps({"conflicts_with": other["ids"][0], "about": about}).decode()
                gone += [(ordinal, because) for ordinal in variant["ordinals"]]
        return gone


def _conflict(rows: pl.DataFrame) -> dict[str, Any] | None:
    """The answers to one question by what they state, the commonest first; None where none contradict each other."""
    from curate.facts import Facts, disagreements, facts

    variants: dict[Facts, dict[str, Any]] = {}
    for ordinal, id_, _, question, answer in rows.iter_rows():
        if answer:
            known = variants.setdefault(
                facts(answer), {"ids": [], "ordinals": [], "question": question or "", "answer": answer, "about": {}}
            )
            known["ids"].append(id_)
            known["ordinals"].append(ordinal)
    ordered = sorted(variants.items(), key=lambda one: (-len(one[1]["ids"]), one[1]["ordinals"][0]))[:_MOST_VARIANTS]
    about: dict[str, str] = {}
    for place, (one, variant) in enumerate(ordered):
        for other, _ in ordered[:place]:
            if found := disagreements(other, one):
                variant["about"] = variant["about"] or found
                about |= found
    if not about:
        return None
    contradicting = [variant for place, (_, variant) in enumerate(ordered) if place == 0 or variant["about"]]
    return {
        "question": ordered[0][1]["question"],
        "about": about,
        "rows": sum(len(one["ids"]) for one in contradicting),
        "variants": contradicting,
    }


def _shown(conflict: dict[str, Any]) -> dict[str, Any]:
    """A conflict as reports show it: excerpts, and about what."""
    return {
        "question": excerpt(conflict["question"]),
        "kinds": sorted(conflict["about"]),
        "rows": conflict["rows"],
        "answers": [
            {
                "rows": len(one["ids"]),
                "id": one["ids"][0],
                "answer": excerpt(one["answer"], 240),
                "about": excerpt("; ".join(one["about"].values())),
            }
            for one in conflict["variants"][:6]
        ],
    }


def _findings(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not found:
        return []
    kinds = Counter(kind for one in found for kind in one["about"])
    first = found[0]
    told = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    about = "; ".join(first["variants"][-1]["about"].values())
    return [
        {
            "kind": "conflicting_answers",
            "severity": "medium",
            "count": len(found),
            "example": excerpt(f"{first['question']} — {about}"),
            "fix": f"have people settle them: they are side by side in the report ({told}); "
            "or `drop: minority` keeps the commonest answer",
        }
    ]
