"""Tests of curate/personal_data/check_digits.py, with published numbers."""

from __future__ import annotations

from curate.personal_data.check_digits import USCC_ALPHABET, cn_id, hk_id_remainder, luhn, tw_id_remainder, uscc


def test_published_numbers_have_right_check_digits() -> None:
    assert luhn("411111111111111") == 1
    assert "0123456789X"[cn_id("11010519491231002")] == "X"
    assert USCC_ALPHABET[uscc("91350100M000100Y4")] == "3"
    assert (tw_id_remainder("A123456789"), hk_id_remainder("A1234563"), hk_id_remainder("G123456A")) == (0, 0, 0)


def test_a_digit_that_is_off_by_one_is_wrong() -> None:
    assert tw_id_remainder("A123456788") != 0
    assert hk_id_remainder("A1234564") != 0
    assert hk_id_remainder("AB9876542") != 0
