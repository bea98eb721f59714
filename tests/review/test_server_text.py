"""How texts become words for search, and how a search is read."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.server.text import BadSearch, match_expression, spaced, words_of_field


def finds(query: str, *texts: str) -> list[int]:
    """The numbers of the texts that SQLite finds by a search."""
    db = sqlite3.connect(":memory:")
    tokenizer = "unicode61 remove_diacritics 2 categories 'L* N* Co So M*'"
    db.execute(f'CREATE VIRTUAL TABLE held USING fts5(every, f0, tokenize = "{tokenizer}")')
    for number, text in enumerate(texts):
        db.execute("INSERT INTO held (rowid, every, f0) VALUES (?, 'x', ?)", (number, words_of_field(text)))
    expression = match_expression(query, ["f0"])
    if expression is None:
        return []
    assert expression, "nothing was asked"
    return [
        number for (number,) in db.execute("SELECT rowid FROM held WHERE held MATCH ? ORDER BY rowid", [expression])
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("退款", [0, 1]),
        ("款退", []),
        ("退", [0, 1]),
        ("退款 发票", [1]),
        ("退款 | 物流", [0, 1, 2]),
        ("退款 -发票", [0]),
        ("-退款", [2, 3]),
        ("退款政策", []),
        ("ＡＰＰ", [2]),
        ("app", [2]),
    ],
)
def test_chinese_is_found_character_by_character_and_as_a_phrase(query: str, found: list[int]) -> None:
    texts = ["如何申请退款？", "退款之后怎么开发票", "APP里看不到物流", "会员积分"]

    assert finds(query, *texts) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("refund", [0]),
        ("Refund late", [0]),
        ('"was late"', [0, 1]),
        ('"late was"', []),
        ("refund | café", [0, 2]),
        ("cafe", [2]),
        ("was -refund", [1]),
        ("deliv*", [1]),
        ("deliv", []),
        ("(refund | delivery) late", [0, 1]),
        ("state-of-the-art", [2]),
        ("a - b", []),
        ("😀", [2]),
        ("refund~2", [0]),
        ("don't", [1]),
    ],
)
def test_other_scripts_are_found_by_word(query: str, found: list[int]) -> None:
    texts = ["My refund was late", "Don't: delivery was late", "A state-of-the-art Café 😀"]

    assert finds(query, *texts) == found


@pytest.mark.parametrize(
    ("text", "query"),
    [("ขอคืนเงิน", "คืนเงิน"), ("ありがとうございます", "ございます"), ("キャンセルしたい", "キャンセル")],
)
def test_scripts_without_spaces_are_found_within_a_run(text: str, query: str) -> None:
    assert finds(query, text) == [0]


def test_a_phrase_does_not_reach_from_one_message_into_the_next() -> None:
    chat = [{"role": "user", "content": "refund my"}, {"role": "assistant", "content": "order number"}]

    words = words_of_field(chat)

    assert "user" not in words
    assert "my \ue000 order" in " ".join(words.split())


def test_every_text_in_a_custom_object_is_searchable_and_its_keys_are_not() -> None:
    words = words_of_field({"key": {"a": "one", "b": [2, {"c": "三"}]}, "other": None, "flag": True})

    assert sorted(words.replace("\ue000", " ").split()) == ["2", "one", "三"]


@pytest.mark.parametrize("query", ["!!!", "，。", '""', "-", "()", "| |", "*"])
def test_a_search_for_no_word_finds_nothing(query: str) -> None:
    assert match_expression(query, ["f0"]) is None


def test_nothing_asked_is_no_search() -> None:
    assert match_expression("  \n", ["f0"]) == ""


@pytest.mark.parametrize("query", ["x" * 3000, "a " * 500, "(" * 60 + "a"])
def test_a_search_that_would_cost_too_much_is_refused(query: str) -> None:
    with pytest.raises(BadSearch, match="more than"):
        match_expression(query, ["f0"])


@given(st.text(alphabet=st.sampled_from("ab退款\"()|-+*~:{}^' \x00\ud800NOTANDORNEAR,.\\"), max_size=40))
def test_no_search_is_an_error_to_sqlite(query: str) -> None:
    try:
        finds(query or "x", "a b 退款", "NOT AND OR NEAR")
    except (BadSearch, AssertionError) as refused:
        assert "more than" in str(refused) or "nothing was asked" in str(refused)


@pytest.mark.parametrize("piece", ["\u0301\u0323", "退", "(", '"', "\ud800", "-"])
def test_hostile_texts_are_split_in_proportion_to_their_length(piece: str) -> None:
    assert len(spaced(piece * 200_000)) <= 3 * 200_000 * len(piece)  # what is quadratic would never end
