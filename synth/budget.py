"""What a job may spend, and what a request may cost at most: reserved before it is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from schemas.errors import UserError

PICO = 10**12
"""Money is counted in whole millionths of a millionth of the currency: a price a million tokens with six decimals is a
whole number of them a token, so sums are exact."""

_TOKENS_PER_MESSAGE = 16
_TOKENS_PER_REQUEST = 256
"""Room for what a chat template adds: roles, separators, a default system prompt (the largest seen adds about 60)."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, prompt and completion together, and money in pico."""

    tokens: int = 0
    money: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """The most a job may spend over all its runs, counting what its cut-off runs may have been billed.

    `money` is in the currency of the teachers' prices. None is no limit.
    """

    tokens: int | None = None
    money: Decimal | float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("tokens", self.tokens), ("money", self.money)):
            if limit is not None and not limit >= 0:
                raise UserError(f"the budget's {name} is {limit}", hint="give 0 or more")

    @property
    def most(self) -> tuple[int | None, int | None]:
        """The limits in tokens and in pico, rounded down."""
        return self.tokens, None if self.money is None else int(Decimal(str(self.money)) * PICO)

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.tokens is not None or self.money is not None

    def allows(self, committed: Amount, more: Amount) -> bool:
        """Whether `more` may be reserved when `committed` is spent, reserved or perhaps billed already."""
        tokens, money = self.most
        return (tokens is None or committed.tokens + more.tokens <= tokens) and (
            money is None or committed.money + more.money <= money
        )


@dataclass(frozen=True, slots=True)
class Price:
    """Money for a million tokens of prompt and of completion, the list price: discounts only make it cheaper."""

    prompt: Decimal | float = 0
    completion: Decimal | float = 0

    def __post_init__(self) -> None:
        for price in (self.prompt, self.completion):
            if not price >= 0:
                raise UserError(f"a price is {price}", hint="give what a million tokens cost, 0 or more")

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        """What so many tokens cost, in pico; a price finer than six decimals is rounded up."""
        return prompt_tokens * _per_token(self.prompt) + completion_tokens * _per_token(self.completion)


@dataclass(slots=True)
class Spent:
    """What one job has spent, by the journal. Money in pico.

    `uncertain` is what was sent and never answered (a dropped or hung connection, a kill): the endpoint may have billed
    it, so it counts in full. `reserved` is in flight, or was when a process died.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: int = 0
    answers: int = 0
    uncertain: int = 0
    uncertain_tokens: int = 0
    uncertain_money: int = 0
    reserved: int = 0
    reserved_tokens: int = 0
    reserved_money: int = 0

    @property
    def billed(self) -> Amount:
        """What was answered, or may have been billed though no answer came: it only grows."""
        return Amount(
            self.prompt_tokens + self.completion_tokens + self.uncertain_tokens, self.money + self.uncertain_money
        )

    @property
    def committed(self) -> Amount:
        """All of it: what a budget must cover."""
        billed = self.billed
        return Amount(billed.tokens + self.reserved_tokens, billed.money + self.reserved_money)


def prompt_bound(body: Mapping[str, Any], canonical_bytes: int) -> int:
    """The most tokens a request's prompt can have.

    A tokenizer of bytes never makes more tokens than there are bytes, whatever the language; the template's own are
    added. Tools count twice: some templates write them out indented. English text has about a quarter of this, so the
    bound is only held until the endpoint says what it counted.
    """
    tools = len(str(body["tools"])) if body.get("tools") else 0
    return canonical_bytes + 2 * tools + _TOKENS_PER_MESSAGE * len(body["messages"]) + _TOKENS_PER_REQUEST


@lru_cache(maxsize=64)
def _per_token(price: Decimal | float) -> int:
    exact = Decimal(str(price)) * (PICO // 10**6)
    return math.ceil(exact)
