"""Where rows come from and what may be done with them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Source(BaseModel):
    """One place rows came from: bought, built or collected, and on what terms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$", description="key that rows refer to")
    kind: Literal["buy", "build", "collect"] = Field(default="collect", description="how the rows were come by")
    licence: str | None = Field(default=None, description="SPDX licence expression, or the licence's text")
    terms: str | None = Field(default=None, description="for a teacher model: which output policy applies")
    evidence: str | None = Field(
        default=None, description="contract number, collection record or address that proves it"
    )
    training: Literal["allowed", "conditional", "denied", "unknown"] = Field(
        default="unknown", description="whether models may be trained on the rows"
    )
    personal_data: Literal["present", "scrubbed", "none", "unknown"] = Field(
        default="unknown", description="whether the rows hold personal data"
    )
    consent: str | None = Field(default=None, description="on what ground personal data was collected")
