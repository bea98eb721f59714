"""Budgets and prices are exact, and a reservation covers the most that a request can cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.errors import UserError
from synth.budget import PICO, Amount, Budget, Price, prompt_bound
from synth.request import canonical


def test_prices_add_up_exactly() -> None:
    price = Price(0.15, Decimal("0.6"))

    assert sum(price.of(1, 1) for _ in range(1_000_000)) == price.of(1_000_000, 1_000_000) == 75 * PICO // 100


def test_a_price_finer_than_is_counted_is_rounded_up() -> None:
    assert Price(Decimal("0.0000001"), 0).of(1, 0) == 1


@pytest.mark.parametrize("limit", [Budget(tokens=100), Budget(money=Decimal("0.000001"))])
def test_a_budget_may_be_spent_to_the_last(limit: Budget) -> None:
    spent = Amount(60, 600_000)

    assert limit.allows(spent, Amount(40, 400_000))
    assert not limit.allows(spent, Amount(41, 400_001))


def test_no_limit_allows_all() -> None:
    assert Budget().allows(Amount(10**12, 10**24), Amount(1, 1))
    assert not Budget(tokens=0).allows(Amount(), Amount(1, 0))


@pytest.mark.parametrize("wrong", [lambda: Budget(tokens=-1), lambda: Budget(money=float("nan")), lambda: Price(-1, 0)])
def test_a_limit_or_price_that_is_none_is_the_users_to_mend(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(UserError):
        wrong()


@pytest.mark.parametrize("text", ["hello", "请问今天几点开门？", "🧪👩‍🔬" * 50, "\x00\x01" * 20, ""])
def test_a_prompt_never_has_more_tokens_than_are_reserved(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}

    bound = prompt_bound(body, len(canonical(body, "m", "", 0)))

    # One token a byte is the worst that a tokenizer of bytes can do; a template adds some for each message.
    assert bound >= 2 * len(text.encode()) + 2 * 8 + 64
