"""Tests of curate/profile.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup

from curate import profile as module
from curate.profile import Profile, Profiler
from schemas import lookup
from schemas.errors import UserError
from schemas.report_profile import render_profile
from schemas.rows import columns

TEA = ("How do I make tea?", "Boil some water, add the leaves and wait for three minutes.")
ZH_TEA = ("怎么泡茶？", "先把水烧开，放入茶叶，再等三分钟就可以喝了。")


def message(role: str, content: str | None) -> dict[str, Any]:
    names = ("name", "tool_calls", "tool_call_id", "reasoning", "weight")
    return {"role": role, "content": content, **dict.fromkeys(names)}


def row(line: int, **own: Any) -> dict[str, Any]:
    common = {
        "id": f"{line:032x}",
        "content_hash": f"{line:032x}",
        "copy": 0,
        "external_id": None,
        "source": "web",
        "task": None,
        "lang": None,
        "split": None,
        "origin": {"file": "rows.jsonl", "line": line, "part": None},
        "parents": [],
        "extra": None,
    }
    return common | own


def chats(*turns: tuple[str, ...], **own: Any) -> pl.DataFrame:
    """Conversations of user, assistant, user, … turns; lines count from 1."""
    rows = []
    for line, said in enumerate(turns, 1):
        messages = [message(("user", "assistant")[place % 2], text) for place, text in enumerate(said)]
        rows.append(row(line, messages=messages, tools=None, verdict=None, **own))
    return pl.DataFrame(rows, schema=columns("chat"))


def pairs(*answers: tuple[str, str]) -> pl.DataFrame:
    """Preference rows that differ in their prompt: (chosen, rejected)."""
    rows = [
        row(
            line,
            prompt=[message("user", f"Describe picture number {line}, please.")],
            chosen=[message("assistant", chosen)],
            rejected=[message("assistant", rejected)],
            **dict.fromkeys(("tools", "margin", "weight", "raters", "agreement")),
        )
        for line, (chosen, rejected) in enumerate(answers, 1)
    ]
    return pl.DataFrame(rows, schema=columns("preference"))


def profile(*frames: tuple[pl.DataFrame, str], tokenizer: Path | None = None, **told: Any) -> Profile:
    profiler = Profiler(tokenizer)
    for frame, kind in frames:
        profiler.add(frame, kind)
    return profiler.result(**told)


def test_lengths_are_counted_in_characters_and_in_words_of_both_languages() -> None:
    frame = chats(TEA, ZH_TEA, ("用Python写hello world", "print('hello world')"))

    found = profile((frame, "chat"))

    assert found["lengths"]["instruction"] == {
        "rows": 3, "min": 5, "p50": 18, "p95": 19, "p99": 19, "max": 19, "mean": 14.0
    }  # fmt: skip
    assert found["words"]["instruction"] == {"rows": 3, "min": 4, "p50": 5, "p95": 5, "p99": 5, "max": 5, "mean": 4.7}
    assert found["words"]["answer"]["max"] == 19
    assert found["lengths"]["conversation"]["min"] == 5 + 1 + 22


def test_percentiles_are_lengths_that_occur() -> None:
    frame = chats(*((f"Number {n:04}", "a" * n + ".") for n in range(1, 101)))

    found = profile((frame, "chat"))["lengths"]["answer"]

    assert [found[key] for key in ("min", "p50", "p95", "p99", "max", "mean")] == [2, 51, 96, 100, 101, 51.5]


def test_a_histogram_holds_every_row_once_and_its_bins_are_log_spaced() -> None:
    frame = chats(*((f"Number {n:04}", "a" * n) for n in (0, 1, 1, 9, 10, 99, 100, 1000)))

    found = profile((frame, "chat"))["histograms"]["answer"]["characters"]
    bins = {low: count for low, count in zip(found["edges"], found["counts"], strict=False) if count}

    assert found["zero"] == 1
    assert bins == {1: 2, 7: 1, 10: 1, 75: 1, 100: 1, 1000: 1}
    assert len(found["edges"]) == len(found["counts"]) + 1


def test_how_rows_are_divided_into_frames_does_not_matter() -> None:
    turns = [TEA, ZH_TEA, TEA, ("Mail me", "I am at ann@example.com today."), ("说点什么", ""), *[ZH_TEA] * 3]
    frame = chats(*(turns * 5))

    whole = profile((frame, "chat"))
    parts = profile(*((frame[at : at + 3], "chat") for at in range(0, frame.height, 3)))

    assert parts == whole


def test_what_the_reader_of_the_files_knows_is_kept_and_made_fit_to_show() -> None:
    examples = [{"reason": "bad_json", "file": "a\x1b[31m.jsonl", "line": 7, "excerpt": "call 13812345678"}]

    found = profile(
        (chats(TEA), "chat"),
        formats={"alpaca": 1},
        files=2,
        bytes=99,
        rejected={"bad_json": 1},
        rejected_examples=examples,
    )

    assert (found["formats"], found["files"], found["bytes"]) == ({"alpaca": 1}, 2, 99)
    assert found["rejected_examples"] == [
        {"reason": "bad_json", "file": "a\\u001b[31m.jsonl", "line": 7, "excerpt": "call <CN_MOBILE>"}
    ]
    assert [finding["kind"] for finding in found["findings"]] == ["rejected_input"]


def test_kinds_turns_and_roles_are_counted() -> None:
    frame = chats(TEA, (*ZH_TEA, "然后呢？", "然后就可以喝了，请慢用。"))

    found = profile((frame, "chat"), (pairs(("A red car.", "A car that is blue.")), "preference"))

    assert found["rows"] == 3
    assert found["kinds"] == {"chat": 2, "preference": 1}
    assert found["turns"] == {"2": 2, "4": 1}
    assert found["roles"] == {"assistant": 4, "user": 4}


def test_languages_are_told_by_the_same_stage_that_a_recipe_uses() -> None:
    frame = chats(TEA, ZH_TEA, ZH_TEA)

    assert profile((frame, "chat"))["languages"] == {"zh": 2, "en": 1}


def test_languages_are_counted_by_who_speaks_whatever_the_row_says_its_language_is() -> None:
    asked, told = "请介绍一下植物是怎样制造养分的。", "Plants make their food from light and water."
    frame = chats((asked, told, asked, told), TEA, ("好的", ""), lang="zh")

    found = profile((frame, "chat"))

    assert found["languages_by_role"] == {"user": {"zh": 3, "en": 1}, "assistant": {"en": 3}}
    assert found["rows_in_several_languages"] == 1


def test_of_a_pair_the_better_answer_has_a_language() -> None:
    frame = pairs(("先把水烧开，放入茶叶，再等三分钟。", "Boil some water and add the leaves."))

    assert profile((frame, "preference"))["languages_by_role"] == {"assistant": {"zh": 1}, "user": {"en": 1}}


@pytest.mark.parametrize(
    ("said", "rows"),
    [
        (("请写一个函数，计算两个数的和。", "def add(a, b):\n    total = a + b\n    return total\n"), 0),
        (("请问今天天气怎么样？适合出门吗？", "OK"), 0),
        (("How do I make tea at home, please?", "先把水烧开，放入茶叶，再等三分钟就可以喝了。"), 1),
    ],
)
def test_a_row_is_in_several_languages_only_where_that_is_sure(said: tuple[str, str], rows: int) -> None:
    found = profile((chats(said), "chat"))

    assert found["rows_in_several_languages"] == rows


def test_frames_measured_at_once_give_what_they_give_one_after_the_other() -> None:
    turns = [(f"Question {n}?", f"The answer to number {n} is mail{n}@qinghe-mail.cn.") for n in range(60)]
    frame = chats(TEA, ZH_TEA, *turns, TEA, ("Say something.", ""), *turns[:7])
    frames = [(frame[place : place + 9], "chat") for place in range(0, frame.height, 9)]
    profiler = Profiler()

    profiler.add_each(iter([*frames, (frame.clear(), "chat")]))

    assert profiler.result() == profile(*frames)


def test_what_goes_wrong_while_frames_are_read_is_not_hidden() -> None:
    def frames() -> Iterator[tuple[pl.DataFrame, str]]:
        yield chats(TEA), "chat"
        raise UserError("the file ends in the middle of a row")

    with pytest.raises(UserError, match="in the middle of a row"):
        Profiler().add_each(frames())


def test_duplicates_are_those_that_the_stage_drops() -> None:
    frame = chats(
        TEA, ZH_TEA, ("HOW DO I MAKE  TEA?", TEA[1]), ("怎么泡茶?", ZH_TEA[1].replace("，", ",")), ("a?", "Tea.")
    )

    found = profile((frame, "chat"))

    assert found["duplicates"] == {"exact": 2, "near": 2}
    assert [one["where"] for one in found["examples"]["exact_duplicates"]] == ["rows.jsonl:3", "rows.jsonl:4"]
    assert f"{1:032x}" in found["examples"]["exact_duplicates"][0]["because"]


def test_rows_of_different_kinds_do_not_repeat_each_other() -> None:
    text = pl.DataFrame([row(1, text="\n".join(TEA), title=None, path=None)], schema=columns("text"))

    assert profile((chats(TEA), "chat"), (text, "text"))["duplicates"]["exact"] == 0


def test_flaws_in_both_languages_are_found_with_a_row_to_look_at() -> None:
    frame = chats(
        TEA,
        ZH_TEA,
        ("Who won the match yesterday?", "I'm sorry, but as an AI language model I cannot answer that."),
        ("昨天谁赢了比赛？", "抱歉，作为一个人工智能语言模型，我无法回答这个问题。"),
        ("Say something.", ""),
        (
            "请详细介绍一下植物是怎样利用阳光制造养分的。",
            "Plants make their food by photosynthesis, which turns light into sugar.",
        ),
    )

    found = profile((frame, "chat"))

    assert found["checks"]["refusal"] == 2
    assert found["checks"]["empty"] == 1
    assert found["checks"]["language_mismatch"] == 1
    assert [one["where"] for one in found["examples"]["refusal"]] == ["rows.jsonl:3", "rows.jsonl:4"]
    assert found["examples"]["empty"][0]["id"] == f"{5:032x}"


def test_rows_found_only_in_a_later_part_of_a_frame_are_shown() -> None:
    fine, flawed = chats(TEA, ZH_TEA), chats(*[("Say something.", "")] * 3)

    found = profile((pl.concat([fine, flawed], rechunk=False), "chat"))

    assert [one["because"] for one in found["examples"]["empty"]] == ["0 characters, none of them a word"] * 3


def test_every_row_has_one_verdict() -> None:
    frame = chats(TEA, TEA, ZH_TEA, ("Say something.", ""), ("Say something.", ""))

    found = profile((frame, "chat"))

    assert sum(found["verdicts"].values()) == found["rows"] == 5
    assert (found["verdicts"]["empty"], found["verdicts"]["exact_duplicates"]) == (2, 1)
    assert found["clean_rows"] == found["verdicts"]["clean"] == 2


def test_the_most_repeated_instructions_and_openings_are_counted_exactly() -> None:
    turns = [("Say hi", f"Sure, here is a greeting: number {n}") for n in range(7)]
    turns += [("问个好", f"好的，下面是一句问候语，第{n}句。") for n in range(5)]
    turns += [(f"Only once {n}", f"Answer {n} is unlike all the others") for n in range(50)]

    found = profile((chats(*turns), "chat"))["repeated"]

    assert found["instructions"] == [{"excerpt": "Say hi", "rows": 7}, {"excerpt": "问个好", "rows": 5}]
    assert found["openings"] == [
        {"excerpt": "Sure, here is a greeting:", "rows": 7},
        {"excerpt": "好的，下面是一句", "rows": 5},
    ]


def test_repeats_that_stand_far_apart_are_found() -> None:
    profiler = Profiler()
    for part in range(30):
        once = [(f"Question {part} {n}", f"{part}.{n} is the answer") for n in range(100)]
        profiler.add(chats(*once, ("The same each time", "Yes, always.")), "chat")

    found = profiler.result()["repeated"]

    assert found["instructions"] == [{"excerpt": "The same each time", "rows": 30}]


IDENTIFIERS = {
    "SECRET": "my key is sk-abcdEFGH1234ijklMNOP5678qrst",
    "EMAIL_ADDRESS": "邮箱li.lei@qinghe-mail.cn谢谢",
    "CN_ID_CARD": "身份证号11010519491231002X。",
    "IBAN_CODE": "Pay to DE89 3704 0044 0532 0130 00 today",
    "CN_BANK_CARD": "卡号4111 1111 1111 1111到期",
    "US_SSN": "SSN 536-22-8714.",
    "CN_MOBILE": "电话１３８１２３４５６７８，谢谢",
}


@pytest.mark.parametrize("name", list(IDENTIFIERS))
def test_personal_data_is_counted_by_type_and_shown_masked(name: str) -> None:
    found = profile((chats(("Contact", "x " * 300 + IDENTIFIERS[name])), "chat"))

    assert found["personal_data"] == {name: 1}
    assert f"<{name}>" in found["examples"][name][0]["excerpt"]
    assert found["personal_data_rows"] == (0 if name == "SECRET" else 1)
    assert not found["names_looked_for"]


def test_what_is_nobodys_is_no_personal_data() -> None:
    found = profile((chats(("Contact", "Write to ann@example.com")), "chat"))

    assert found["personal_data"] == {}


@pytest.mark.parametrize("text", ["1 + 1 = 2", "In 2024 there were 1,234,567 people", "pi is 3.14159265358979", "@you"])
def test_ordinary_numbers_are_not_identifiers(text: str) -> None:
    assert profile((chats(("Tell me", text)), "chat"))["personal_data"] == {}


def test_no_identifier_reaches_the_profile_or_the_page() -> None:
    said = " ".join(IDENTIFIERS.values())
    frame = chats(*[(said, said), ("Contact", said)] * 2, task="ann@example.com", source="13812345678")

    found = profile((frame, "chat"), rejected={"bad": 1}, rejected_examples=[{"reason": "bad", "excerpt": said}])
    everything = json.dumps(found, ensure_ascii=False) + render_profile(found, "rows")

    for secret in (
        "li.lei",
        "ann@",
        "13812345678",
        "１３８",
        "11010519491231002X",
        "4111 1111",
        "536-22",
        "sk-abcd",
        "0532",
    ):
        assert secret not in everything


def test_sequences_are_estimated_without_a_tokenizer_and_say_so() -> None:
    frame = chats(("Go", "word " * 900), ("去", "字" * 3100))

    found = profile((frame, "chat"))

    assert found["token_counts"]["estimated"] and found["sequences"]["estimated"]
    assert found["tokens"]["conversation"]["min"] == -(-(3 + 4500) // 4)
    assert found["tokens"]["conversation"]["max"] == pytest.approx(3101 * 0.7, abs=1)
    assert found["sequences"]["over"] == {"1024": 2, "2048": 1, "4096": 0, "8192": 0}
    assert set(found["tokens"]) == {"conversation"}


def test_tokens_are_counted_with_a_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    frame = chats(("a b", "c d e"), ("a b", "c", "d e f", "g"), ("long", "x " * 120_000))

    for path in (tmp_path, tmp_path / "tokenizer.json"):
        found = profile((frame, "chat"), tokenizer=path)

        assert not found["token_counts"]["estimated"]
        assert [found["tokens"][name]["min"] for name in ("instruction", "answer", "conversation")] == [1, 1, 5]
        assert found["tokens"]["conversation"]["p50"] == 7
        assert found["tokens"]["conversation"]["max"] == 120_001
        assert found["sequences"]["over"]["8192"] == 1


@pytest.mark.parametrize("content", [None, "{", '{"model": 1}'])
def test_what_is_no_tokenizer_is_said_so(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(UserError, match="tokenizer"):
        Profiler(tmp_path)


def test_preference_pairs_are_compared_by_length() -> None:
    frame = pairs(("long answer", "short"), ("ok", "longer"), ("the same", "the same"), ("一二三", "一二"))

    found = profile((frame, "preference"))

    assert found["preference"] == {"pairs": 4, "longer": 2, "shorter": 1, "identical": 1}
    assert found["lengths"]["chosen"]["max"] == 11
    assert found["lengths"]["rejected"]["max"] == 8
    assert "identical_pairs" in [finding["kind"] for finding in found["findings"]]


def test_pairs_whose_better_answer_is_nearly_always_longer_are_a_finding() -> None:
    frame = pairs(*((f"A rather long description of it, {n}.", f"Short, {n}.") for n in range(20)))

    kinds = {finding["kind"]: finding for finding in profile((frame, "preference"))["findings"]}

    assert kinds["length_bias"]["severity"] == "high"


def test_groups_are_the_largest_and_the_rest() -> None:
    frames = [(chats(*([(f"Task {n}", f"Answer to it {n}.")] * (20 - n)), task=f"task {n}"), "chat") for n in range(10)]

    found = profile(*frames)

    groups = found["groups"]["task"]
    assert [group["name"] for group in groups] == [*(f"task {n}" for n in range(8)), "(other)"]
    assert sum(group["rows"] for group in groups) == found["rows"]
    assert groups[-1]["rows"] == 12 + 11
    assert sum(groups[0]["histograms"]["answer"]["counts"]) == 20
    assert found["tasks"]["task 9"] == 11


def test_more_names_than_anyone_reads_are_added_up() -> None:
    frame = chats(*((f"Question {n}", f"The answer is {n}.") for n in range(12_000)))
    frame = frame.with_columns(task=pl.format("task {}", pl.int_range(pl.len())))

    found = profile((frame, "chat"))

    assert sum(found["tasks"].values()) == 12_000
    assert len(found["tasks"]) <= module.NAMES_SHOWN + 1
    assert found["tasks"]["(other)"] == 12_000 - module.NAMES_SHOWN + 1


def test_memory_does_not_grow_with_the_length_of_texts() -> None:
    def kept(words: int) -> float:
        profiler = Profiler()
        profiler.add(chats(*((f"Question {n}", f"{n} word" * words) for n in range(500))), "chat")
        frames = [*profiler._narrow, *(one for some in profiler._summaries.values() for one in some)]
        return sum(frame.estimated_size() for frame in frames)

    short, long = kept(5), kept(500)

    assert long == pytest.approx(short, rel=0.02)
    assert short < 500 * 150


def test_findings_are_in_order_and_name_what_mends_them() -> None:
    frame = chats(*[TEA] * 5, ZH_TEA, ("Say something.", ""), ("Mail?", "Write to ann@qinghe-mail.cn, please."))

    found = profile((frame, "chat"), rejected={"bad_json": 1})["findings"]

    levels = [("high", "medium", "low").index(finding["severity"]) for finding in found]
    assert levels == sorted(levels)
    assert {"exact_duplicates", "empty", "personal_data", "rejected_input"} <= {finding["kind"] for finding in found}
    stages = lookup.names("curate.stages")
    for finding in found:
        assert set(finding) == {"kind", "severity", "count", "share", "example", "fix", "use", "settings"}
        assert finding["use"] is None or finding["use"] in stages


def test_fixes_name_stages_that_exist_and_every_finding_has_a_severity() -> None:
    stages = lookup.names("curate.stages")

    named = {name for fix in module._FIXES.values() for name in re.findall(r"- use: (\w+)", fix)}

    assert named <= set(stages)
    mended = {*module.CHECKS, module.DUPLICATES, module.NEAR, "personal_data", "secret"}
    assert set(module._SEVERITY) == {*module._FIXES, *mended}


def test_a_profile_has_every_key_that_is_documented_even_of_no_rows() -> None:
    documented = set(re.findall(r"^    ([a-z_]+(?:, [a-z_]+)?) {1,}\S", module.__doc__ or "", re.MULTILINE))
    keys = {key for names in documented for key in names.split(", ")}

    for found in (profile(), profile((chats(TEA), "chat"))):
        assert set(found) == keys
        assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("kind", ["text", "candidates", "label", "score"])
def test_every_kind_of_row_can_be_profiled(kind: str) -> None:
    own: dict[str, dict[str, Any]] = {
        "text": {"text": TEA[1], "title": None, "path": None},
        "candidates": {
            "prompt": [message("user", TEA[0])],
            "answers": [{"messages": [message("assistant", TEA[1])], "teacher": None, "rank": 1, "score": None}],
            "tools": None,
        },
        "label": {"row_id": "a", "row_hash": "b", "question": "good?", "value": "true", "rater": None},
        "score": {"row_id": "a", "row_hash": "b", "name": "quality", "value": 0.5},
    }
    frame = pl.DataFrame([row(1, **own[kind])], schema=columns(kind))

    found = profile((frame, kind))

    assert found["rows"] == found["clean_rows"] == 1
    assert found["findings"] == []
    assert render_profile(found, kind)


def test_the_page_of_a_profile_shows_its_numbers_and_nothing_that_runs() -> None:
    hostile = "<script>alert(1)</script>\x1b[31m\u202e"
    frame = chats(
        *[(f"{hostile} {n}", f"As an AI language model, I cannot do that. {hostile}") for n in range(3)], task=hostile
    )

    html = render_profile(profile((frame, "chat"), (pairs((hostile, "b")), "preference")), hostile)
    soup = BeautifulSoup(html, "html.parser")

    assert soup.find("script") is None
    assert "\x1b" not in html and "\u202e" not in html
    assert "<script>alert(1)</script>" in soup.get_text()
    assert soup.select_one(".headline .en").get_text().startswith("4 rows.")  # type: ignore[union-attr]
