"""Phrases are counted as a plain reading of the tokens counts them."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.characters import tokens
from curate.kernels.phrases import distinct_shares, shared_shares

ALPHABET = "ab c,。的是ｱée\u0301ﬁ1\n"
TEXTS = st.lists(st.text(ALPHABET, max_size=30), max_size=8)


def pairs(text: str) -> list[tuple[str, str]]:
    return list(pairwise(tokens(text)))


@settings(deadline=None)
@given(TEXTS)
def test_distinct_shares_are_those_of_a_plain_count(texts: list[str]) -> None:
    found = distinct_shares(pl.Series(texts, dtype=pl.String), 2).to_list()

    assert found == [pytest.approx(len(set(pairs(one))) / len(pairs(one))) if pairs(one) else None for one in texts]


@settings(deadline=None)
@given(TEXTS)
def test_shared_shares_are_those_of_plain_sets(texts: list[str]) -> None:
    others = texts[::-1]

    found = shared_shares(pl.Series(texts, dtype=pl.String), pl.Series(others, dtype=pl.String), 2).to_list()

    wanted = [(set(pairs(one)), set(pairs(other))) for one, other in zip(texts, others, strict=True)]
    assert found == [pytest.approx(len(own & other) / len(own)) if own else None for own, other in wanted]


def test_nulls_have_no_phrases() -> None:
    nulls = pl.Series([None, "a b", None], dtype=pl.String)

    assert distinct_shares(nulls, 2).to_list() == [None, 1.0, None]
    assert shared_shares(nulls, pl.Series(["a b", None, None], dtype=pl.String), 2).to_list() == [None, 0.0, None]
