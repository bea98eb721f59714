"""What people see of a row: readable, and harmless."""

from __future__ import annotations

import time

import pytest

from review.display import SHOWN_CHARS, TEMPLATE, blocks, defused, restored

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "</SCRIPT >",
    "$& $$ $` $'",
    "#TEMPLATE# #record_object#",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_would_leave_the_script_is_broken_and_comes_back_whole(text: str) -> None:
    safe = defused(text)

    for sequence in ("</script", "<script", "<!--", "$&", "$$", "$`", "$'", "#template#", "#record_object#"):
        assert sequence not in safe.lower()
    assert restored(safe) == text


def test_ordinary_text_and_code_are_left_alone() -> None:
    text = "if a < b: cost = $5  # <div> 退款 &amp;"

    assert defused(text) == text


def test_markdown_becomes_pieces() -> None:
    text = "# Title\nSome **bold** and `x < y`.\n\n- one\n  - two\n3. three\n```python\nprint(1)\n```\nend"

    found = blocks(text)

    assert found == [
        {"head": [{"t": "Title"}]},
        {"text": [{"t": "Some "}, {"b": "bold"}, {"t": " and "}, {"c": "x < y"}, {"t": "."}]},
        {"item": [{"t": "one"}], "mark": "•", "deep": False},
        {"item": [{"t": "two"}], "mark": "•", "deep": True},
        {"item": [{"t": "three"}], "mark": "3.", "deep": False},
        {"code": "print(1)", "name": "python"},
        {"text": [{"t": "end"}]},
    ]


def test_a_code_block_that_stays_open_is_code_to_the_end() -> None:
    assert blocks("```\na\n# b") == [{"code": "a\n# b", "name": ""}]


def test_bidirectional_and_control_characters_are_seen() -> None:
    (found,) = blocks("\u202eabc\x1b[31m")

    assert found == {"text": [{"t": "\\u202eabc\\u001b[31m"}]}


def test_a_very_long_text_is_cut_and_says_so_in_the_forms_language() -> None:
    found = blocks("字" * (SHOWN_CHARS + 1), "zh")

    assert found[-1]["text"][0]["t"].startswith("……（已截断")


@pytest.mark.parametrize("piece", ["**", "`", "```\n", "# ", "- ", "$", "<", "**a*", "1. "])
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (SHOWN_CHARS // len(piece))
    began = time.process_time()

    blocks(text)

    assert time.process_time() - began < 5


def test_the_template_escapes_everything_and_runs_nothing() -> None:
    assert "{{{" not in TEMPLATE
    assert "<script" not in TEMPLATE
    assert "$" not in TEMPLATE
    assert defused(TEMPLATE) == TEMPLATE
