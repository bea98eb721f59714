"""Every stage does what its examples say, whatever the shards; and what single stages must get right."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.engines.shards import checked_choice, run_shards
from curate.marks import Marked, Step, mark
from curate.stage import Compare, Edit, Edited, Example, Fetch, Filter, Stage
from curate.stages.decontaminate import Decontaminate
from schemas.chat import FIELDS
from schemas.chat import field as field_expression
from schemas.errors import UserError
from schemas.lookup import find, names
from schemas.rows import columns, content_columns, content_digest
from tests.helpers import write_rows

STAGES = names("curate.stages")


def stage_named(name: str) -> type[Stage]:
    return find("curate.stages", name, Stage)


def made(name: str, **settings: Any) -> Stage:
    return stage_named(name)(**settings)


# --- Rows from examples ----------------------------------------------------------------------------------


def turns(value: Any, role: str) -> list[dict[str, Any]]:
    said = [{"role": role, "content": value}] if isinstance(value, str) else value
    blank = dict.fromkeys(("role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "weight"))
    return [blank | turn for turn in said]


def kind_of(row: Mapping[str, Any]) -> str:
    return "preference" if "chosen" in row else "text" if "text" in row else "chat"


def content_of(row: Mapping[str, Any]) -> dict[str, Any]:
    if "chosen" in row:
        sides = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
        return {name: turns(row[name], role) for name, role in sides.items()}
    if "text" in row:
        return {"text": row["text"]}
    if "messages" in row:
        return {"messages": turns(row["messages"], "user")}
    return {"messages": turns(row["instruction"], "user") + turns(row["answer"], "assistant")}


def frame_of(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """A frame of such rows; a row's id is its place."""
    kind = kind_of(rows[0])
    whole = []
    for place, row in enumerate(rows):
        given = {name: row[name] for name in columns(kind) if name in row and name not in content_columns(kind)}
        given |= {name: row[name] for name in ("margin", "verdict") if name in row}
        content = content_of(row)
        fixed = {
            "id": f"{place:032x}",
            "content_hash": content_digest(content).hex(),
            "copy": 0,
            "source": "made",
            "origin": {"file": None, "line": None, "part": None},
            "parents": [],
        }
        whole.append(dict.fromkeys(columns(kind)) | fixed | given | content)
    return pl.DataFrame(whole, schema=columns(kind))


def chats(*pairs: tuple[str, str], **common: Any) -> pl.DataFrame:
    return frame_of([{"instruction": instruction, "answer": answer} | common for instruction, answer in pairs])


def cuts(frame: pl.DataFrame) -> dict[str, list[pl.DataFrame]]:
    """The frame whole, one row a shard, and in odd splits with an empty shard."""
    odd, start = [], 0
    for size in itertools.cycle((1, 3, 0, 2)):
        if start >= frame.height:
            break
        odd.append(frame[start : start + size])
        start += size
    return {"whole": [frame], "rows": [frame[place : place + 1] for place in range(frame.height)], "odd": odd}


def facts(marked: Marked) -> tuple[Any, ...]:
    """All that a run says, in a form to compare."""
    gone = [row for frame in marked.dropped for row in frame.iter_rows(named=True)]
    return list(marked.kept.iter_rows(named=True)), gone, dict(marked.reasons), dict(marked.edited)


def same_whatever_the_cuts(kind: str, frame: pl.DataFrame, stage: Stage) -> Marked:
    results = {name: run_shards(kind, shards, [Step("stage", stage)]) for name, shards in cuts(frame).items()}
    said = {name: facts(result) for name, result in results.items()}
    assert said["rows"] == said["whole"]
    assert said["odd"] == said["whole"]
    return results["whole"]


# --- What holds for every stage --------------------------------------------------------------------------


def groups(examples: Iterable[Example]) -> dict[str, list[Example]]:
    """Examples that are one dataset: those with equal settings and the same kind of row."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        found.setdefault(f"{kind_of(example.row)} {json.dumps(example.settings, sort_keys=True)}", []).append(example)
    return found


def cases() -> list[Any]:
    return [
        pytest.param(name, group, id=f"{name}-{number}")
        for name in STAGES
        for number, group in enumerate(groups(stage_named(name).examples).values(), 1)
    ]


def write_scores(examples: Sequence[Example], path: Path) -> None:
    """A scores file of what examples say their `score` is."""
    rows = [
        {"row_id": f"{place:032x}", "value": float(example.row["score"])}
        for place, example in enumerate(examples)
        if "score" in example.row
    ]
    frame = pl.DataFrame(rows)
    _ = frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_ndjson(path)


@pytest.mark.parametrize(("name", "examples"), cases())
def test_a_stage_does_what_its_examples_say(
    name: str, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = dict(examples[0].settings)
    if "scores" in settings:
        write_scores(examples, tmp_path / settings["scores"])
    if "against" in settings:
        write_rows(tmp_path / settings["against"], list(Decontaminate.evaluation))
    kind = kind_of(examples[0].row)
    frame = frame_of([example.row for example in examples])

    marked = same_whatever_the_cuts(kind, frame, made(name, **settings))

    reasons = {row["id"]: row["reason"] for dropped in marked.dropped for row in dropped.iter_rows(named=True)}
    wrong = [
        f"{example.row}: {reasons.get(id_)!r} instead of {example.reason!r}"
        for id_, example in zip(frame["id"], examples, strict=True)
        if reasons.get(id_) != example.reason
    ]
    assert not wrong, "\n".join(wrong)
    assert_rewritten(kind, frame, marked.kept, examples)


def assert_rewritten(kind: str, before: pl.DataFrame, after: pl.DataFrame, examples: Sequence[Example]) -> None:
    fields = [name for name in FIELDS if name not in columns(kind)]
    looked_at = {row["id"]: row for row in both(kind, after, fields).iter_rows(named=True)}
    original = {row["id"]: row for row in both(kind, before, fields).iter_rows(named=True)}
    for id_, example in zip(before["id"], examples, strict=True):
        if example.reason is None:
            own = ("text", "lang", "task") if kind == "text" else ("instruction", "answer", "lang", "task")
            expected = {name: original[id_].get(name) for name in own} | dict(example.after)
            assert {name: looked_at[id_].get(name) for name in expected} == expected


def both(kind: str, frame: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    return frame.with_columns(field_expression(kind, name).alias(name) for name in fields)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_examples_of_both_outcomes_in_chinese_and_english(name: str) -> None:
    def chinese(example: Example) -> bool:
        return any("\u4e00" <= char <= "\u9fff" for char in json.dumps(example.row, ensure_ascii=False))

    examples = stage_named(name).examples
    outcomes = {(chinese(one), one.reason is not None or bool(one.after)) for one in examples}

    assert outcomes == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_describes_itself_and_its_settings(name: str) -> None:
    cls = stage_named(name)

    assert cls.description().endswith(".")
    assert all(setting.description for setting in cls.model_fields.values())


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_takes_no_rows_and_rows_without_texts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = dict(stage_named(name).examples[0].settings)
    if "scores" in settings:
        write_scores(stage_named(name).examples, tmp_path / settings["scores"])
    if "against" in settings:
        write_rows(tmp_path / settings["against"], list(Decontaminate.evaluation))
    stage = made(name, **settings)

    for kind in ("chat", "preference", "text", "candidates"):
        empty = pl.DataFrame(schema=columns(kind))
        assert run_shards(kind, [empty], [Step(name, stage)]).kept.schema == empty.schema
    silent = frame_of([{"messages": []}, {"messages": [{"role": "user", "content": None}]}])
    same_whatever_the_cuts("chat", silent, stage)


class _LooksAtNeighbours(Filter):
    """Drop rows whose answer the row above gave too."""

    def reasons(self) -> dict[str, pl.Expr]:
        return {"as_above": self.text("answer") == self.text("answer").shift(1)}


class _LooksAtAll(Filter):
    """Drop rows that are longer than most."""

    def reasons(self) -> dict[str, pl.Expr]:
        chars = self.text("answer").str.len_chars()
        return {"longer": chars > chars.mean()}


@pytest.mark.parametrize("stage", [_LooksAtNeighbours(), _LooksAtAll()])
def test_a_stage_that_looks_at_other_rows_is_caught(stage: Stage) -> None:
    frame = chats(("a", "same"), ("b", "same"), ("c", "other words"), ("d", "other words"))

    with pytest.raises(AssertionError):
        same_whatever_the_cuts("chat", frame, stage)


# --- The engine in shards --------------------------------------------------------------------------------


class _FetchesAnswers(Compare):
    """Drop every second row, saying what the fetched answers were."""

    def summary(self) -> dict[str, pl.Expr]:
        return {}

    def choose(self, summaries: pl.DataFrame, fetch: Fetch) -> pl.DataFrame:
        ordinals = summaries["ordinal"].to_list()[::-2]
        rows = fetch(ordinals, ["field:answer", "source"])
        because = pl.format("{} of {}", "field:answer", "source")
        return rows.select("ordinal", pl.lit("second").alias("reason"), because.alias("because"))


def test_fetch_gives_rows_in_the_order_asked_for() -> None:
    frame = chats(("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5"))

    marked = same_whatever_the_cuts("chat", frame, _FetchesAnswers())

    assert marked.dropped[0]["because"].to_list() == ["1 of made", "3 of made", "5 of made"]


def test_several_steps_give_the_same_in_shards_as_whole() -> None:
    pairs = [("你好", "您好！"), ("你好", "您好!"), ("Hi", " "), ("Say it", "Hello\x00 there"), ("Hi", "Hello!")] * 3
    frame = chats(*pairs)
    steps = [
        Step("normalise_text", made("normalise_text")),
        Step("length", made("length")),
        Step("exact_duplicates", made("exact_duplicates")),
        Step("detect_language", made("detect_language")),
        Step("language", made("language", keep=["zh"])),
    ]

    results = [facts(run_shards("chat", shards, steps)) for shards in cuts(frame).values()]

    assert results[0] == results[1] == results[2]
    assert [row["lang"] for row in results[0][0]] == ["zh"]


def test_the_engine_in_shards_gives_what_mark_gives() -> None:
    frame = chats(("你好", "您好！"), ("Hi", " "), ("Hi", "\x00Hello"))
    steps = [Step("normalise_text", made("normalise_text")), Step("length", made("length"))]

    assert facts(run_shards("chat", [frame], steps)) == facts(mark(frame, "chat", steps))


def test_no_shards_are_no_rows() -> None:
    assert run_shards("text", [], [Step("exact_duplicates", made("exact_duplicates"))]).kept.is_empty()


@pytest.mark.parametrize(
    ("ordinals", "reason", "said"),
    [([1, 1], "copy", "twice"), ([7], "copy", "do not exist"), ([0], None, "without a reason")],
)
def test_a_choice_that_breaks_its_promise_stops_the_run(ordinals: list[int], reason: str | None, said: str) -> None:
    choice = pl.DataFrame({"ordinal": ordinals, "reason": [reason] * len(ordinals), "because": [None] * len(ordinals)})

    with pytest.raises(ValueError, match=said):
        checked_choice(choice, "mine", 3)


# --- Single stages ---------------------------------------------------------------------------------------


def marks(name: str, frame: pl.DataFrame, **settings: Any) -> dict[int, tuple[str, str | None]]:
    """Place of each dropped row to its reason and what was found."""
    marked = same_whatever_the_cuts("chat", frame, made(name, **settings))
    gone = [row for dropped in marked.dropped for row in dropped.iter_rows(named=True)]
    return {int(row["id"], 16): (row["reason"], row["because"]) for row in gone}


def answers(name: str, *texts: str, instruction: str = "Go on.", **settings: Any) -> list[str | None]:
    """Reason for dropping each of some answers, None where it stays."""
    found = marks(name, chats(*((instruction, text) for text in texts)), **settings)
    return [found[place][0] if place in found else None for place in range(len(texts))]


def test_length_says_what_it_measured() -> None:
    assert marks("length", chats(("Hi", " x ")), min_chars=2)[0] == ("too_short", "1 characters")


def test_length_wants_its_limits_in_order() -> None:
    with pytest.raises(ValidationError, match="no row could stay"):
        made("length", min_chars=10, max_chars=5)


def test_a_copy_names_the_row_that_was_kept() -> None:
    frame = chats(("Hi", "Hello!"), ("你好", "您好"), ("hi", "HELLO！"))

    assert marks("exact_duplicates", frame) == {2: ("copy", json.dumps({"kept": f"{0:032x}"}, separators=(",", ":")))}


def test_a_preferred_source_is_kept_before_the_first() -> None:
    rows = [{"instruction": "Hi", "answer": "Hello", "source": source} for source in ("web", "bought", "bought")]

    assert set(marks("exact_duplicates", frame_of(rows), prefer=["bought"])) == {0, 2}
    assert set(marks("exact_duplicates", frame_of(rows), prefer=["bought"], keep="last")) == {0, 1}


def test_rows_without_the_field_are_no_copies_of_each_other() -> None:
    frame = frame_of([{"messages": [{"role": "user", "content": None}]}] * 3)

    assert marks("exact_duplicates", frame, field="answer") == {}


def test_opposite_verdicts_are_no_copies() -> None:
    rows = [{"instruction": "Hi", "answer": "Hello", "verdict": verdict} for verdict in (True, False, True)]

    assert set(marks("exact_duplicates", frame_of(rows))) == {2}


def test_balance_chooses_the_same_rows_whatever_their_order() -> None:
    frame = chats(*((f"q{number}", "a") for number in range(30)), task="qa")
    other_way = frame.reverse()

    kept = [
        set(run_shards("chat", [rows], [Step("balance", made("balance", max_rows=7))]).kept["id"])
        for rows in (frame, other_way)
    ]

    assert kept[0] == kept[1]
    assert len(kept[0]) == 7


def test_balance_chooses_other_rows_for_another_seed() -> None:
    frame = chats(*((f"q{number}", "a") for number in range(30)), task="qa")

    assert set(marks("balance", frame, max_rows=7)) != set(marks("balance", frame, max_rows=7, seed=1))


def test_balance_keeps_every_group_within_its_share_of_what_is_left() -> None:
    sizes = {"a": 50, "b": 20, "c": 5}
    rows = [{"instruction": f"{n}", "answer": "x", "task": task} for task, size in sizes.items() for n in range(size)]

    gone = marks("balance", frame_of(rows), max_share=0.5)

    left = {task: sum(row["task"] == task for place, row in enumerate(rows) if place not in gone) for task in sizes}
    assert left == {"a": 25, "b": 20, "c": 5}
    assert gone[0][1] == "task a has 50 rows, 25 may stay" if 0 in gone else True


def test_balance_says_when_no_cut_can_do_it() -> None:
    frame = chats(("a", "b"), ("c", "d"), task="qa")

    with pytest.raises(UserError, match="there are only 1"):
        marks("balance", frame, max_share=0.3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"column": "taks", "op": "==", "value": "qa"}, "did you mean 'task'"),
        ({"column": "messages", "op": "not_null"}, "no column or measure 'messages'"),
        ({"column": "task", "op": "=", "value": "qa"}, "=="),
        ({"column": "task", "op": ">", "value": 3}, "`task` holds text, and `value` is numbers"),
        ({"column": "task", "op": "=="}, "needs a `value`"),
        ({"column": "task", "op": "is_null", "value": 3}, "leave `value` out"),
        ({"column": "task", "op": "in", "value": "qa"}, "needs a list"),
        ({"column": "task", "op": "==", "value": ["qa"]}, "for a list use `in`"),
        ({"column": "task", "op": "in", "value": ["qa", 1]}, "one kind"),
        ({"column": "copy", "op": "contains", "value": "1"}, "text in text"),
        ({"column": "verdict", "op": ">", "value": True}, "cannot compare true/false"),
        ({"column": "chars(anwser)", "op": ">", "value": 1}, "did you mean 'answer'"),
        ({"column": "chars(answer)", "op": ">", "value": "1"}, "holds numbers"),
        ({"column": "extra.", "op": "is_null"}, "name of a key"),
        ({"column": "extra.a']", "op": "is_null"}, "name of a key"),
    ],
)
def test_where_says_what_is_wrong_with_its_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        made("where", **settings)

    assert said in str(caught.value)


def test_where_compares_keys_of_extra_by_the_type_of_the_value() -> None:
    extras = ['{"n": 10}', '{"n": "9"}', '{"n": "many"}', '{"n": null}', "{}", None, '{"n": [1]}']
    frame = frame_of([{"instruction": "a", "answer": "b", "extra": extra} for extra in extras])

    assert set(marks("where", frame, column="extra.n", op=">", value=9)) == {1, 2, 3, 4, 5, 6}
    assert set(marks("where", frame, column="extra.n", op="==", value="many")) == {0, 1, 3, 4, 5, 6}
    assert set(marks("where", frame, column="extra.n", op="is_null")) == {0, 1, 2, 6}


@pytest.mark.parametrize("codes", [["chinese"], ["cn"], ["ZH"], []])
def test_language_refuses_what_is_no_language_code(codes: list[str]) -> None:
    with pytest.raises(ValidationError):
        made("language", keep=codes)


def scores_file(path: Path, values: Mapping[int, float], **columns: Any) -> str:
    rows = [{"row_id": f"{place:032x}", "value": value} | columns for place, value in values.items()]
    pl.DataFrame(rows).write_parquet(path)
    return str(path)


def test_equal_scores_are_told_apart_by_id(tmp_path: Path) -> None:
    scores = scores_file(tmp_path / "s.parquet", dict.fromkeys((3, 1, 2, 0), 0.5))
    frame = chats(("a", "a"), ("b", "b"), ("c", "c"), ("d", "d"))

    assert set(marks("top_by_score", frame, scores=scores, keep_rows=2)) == {2, 3}


def test_scores_may_be_a_dataset_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    scores_file(tmp_path / "data" / "00000.parquet", {0: 1.0})
    scores_file(tmp_path / "data" / "00001.parquet", {1: 2.0})
    frame = chats(("a", "a"), ("b", "b"))

    assert marks("top_by_score", frame, scores=str(tmp_path), keep_share=0.5) == {
        0: ("low_score", "score 1.0, rank 2 of 2")
    }


def test_a_row_scored_twice_has_the_mean_and_not_a_number_is_no_score(tmp_path: Path) -> None:
    rows = [(0, 1.0), (0, 3.0), (1, 1.5), (2, float("nan"))]
    path = tmp_path / "s.parquet"
    pl.DataFrame([{"row_id": f"{place:032x}", "value": value} for place, value in rows]).write_parquet(path)
    frame = chats(("a", "a"), ("b", "b"), ("c", "c"))

    found = marks("top_by_score", frame, scores=str(path), keep_rows=1, unscored="drop")

    assert {place: reason for place, (reason, _) in found.items()} == {1: "low_score", 2: "unscored"}


def breaking(change: Callable[[Path], None]) -> Callable[[Path], str]:
    def broken(folder: Path) -> str:
        path = folder / "s.parquet"
        change(path)
        return str(path)

    return broken


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (breaking(lambda path: None), "there is no"),
        (breaking(lambda path: path.mkdir()), "holds no scores"),
        (breaking(lambda path: _write_nothing(path)), "cannot be read"),
        (breaking(lambda path: pl.DataFrame({"id": ["0"], "value": [1.0]}).write_parquet(path)), "no column 'row_id'"),
        (
            breaking(lambda path: pl.DataFrame({"row_id": ["x"], "value": [1.0]}).write_parquet(path)),
            "no score for any",
        ),
    ],
)
def test_scores_that_cannot_be_used_are_a_sentence(write: Callable[[Path], str], said: str, tmp_path: Path) -> None:
    scores = write(tmp_path)

    with pytest.raises(UserError, match=said):
        marks("top_by_score", chats(("a", "a")), scores=scores, keep_rows=1)


def _write_nothing(path: Path) -> None:
    path.write_bytes(b"not parquet")


@pytest.mark.parametrize(
    "answer",
    [
        "I’m sorry, but I can’t help with that.",
        "I am unable to provide medical advice.",
        "Sorry, I can't do that.",
        "I'm afraid I can't assist with this request.",
        "很遗憾，我不能满足您的要求。",
        "抱歉，这个问题我无法回答。",
        "对不起，我没有权限访问您的账户。",
        "身为一个语言模型，我不具备播放视频的能力，无法为您播放。",
    ],
)
def test_a_refusal_is_found(answer: str) -> None:
    assert answers("refusal", answer) == ["refusal"]


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry to hear about your loss. Grief takes time.",
        "Sorry for the wait! Your parcel arrives today.",
        "I cannot recommend this book enough: it is a joy.",
        "I will not go gently into the night, said the poet.",
        "I can't believe you did it. Well done!",
        "对不起，是我记错了，会议在周三下午三点。",
        "抱歉，由于系统维护，订单会延迟一天送达。",
        "我无法想象没有你的生活。",
        "作为一名教师，我不会放弃任何一个学生。",
        "拒绝别人时可以说：“抱歉，我无法参加。”",
    ],
)
def test_what_sounds_like_a_refusal_is_none(answer: str) -> None:
    assert answers("refusal", answer) == [None]


def test_a_long_answer_after_a_refusal_stays() -> None:
    long = "我无法提供实时数据。" + "以往的情况是这样的，供您参考。" * 30

    assert answers("refusal", long) == [None]


def test_an_acknowledgement_that_was_one_of_the_choices_stays() -> None:
    assert answers("boilerplate", "ok", "Sure.", instruction="Is the tone 'ok' or 'bad'?") == [None, "acknowledgement"]
    assert answers("boilerplate", "收到", "好的", instruction="意图是收到还是拒收？") == [None, "acknowledgement"]


@pytest.mark.parametrize(
    "answer",
    [
        "Thank you! Your parcel leaves tomorrow morning.",
        "好的，您的地址已经改为人民路三号。",
        "您好，这款手机支持双卡双待。",
        "祝你生日快乐，愿你的每一天都充满阳光与欢笑！",
        "You're welcome to join us on Friday at eight.",
        "Yes",
        "正面",
    ],
)
def test_a_polite_answer_is_no_stock_phrase(answer: str) -> None:
    assert answers("boilerplate", answer) == [None]


def test_a_placeholder_is_named() -> None:
    found = marks("placeholder", chats(("Write to me.", "Dear [Your Name],")))

    assert found == {0: ("unfilled", "“[Your Name]”")}


def test_an_open_code_block_that_ends_in_prose_is_only_badly_marked() -> None:
    assert answers("truncated", "```\na\n\nThat is all.", "```\na = ") == [None, "open_code"]


def test_repetition_does_not_depend_on_what_stands_in_other_rows() -> None:
    line = "Drink enough water every single day of the year, and sleep for eight hours."
    texts = [line, f"{line}\n{line}\n{line}\n{line}", line, ""]

    assert answers("repetition", *texts) == [None, "repeated_lines", None, None]


def test_normalising_changes_the_content_hash_of_just_the_rows_it_changes() -> None:
    frame = chats(("Hi", "plain"), ("Hi", "zero\u200bwidth"))

    marked = same_whatever_the_cuts("chat", frame, made("normalise_text"))

    same = (marked.kept["content_hash"] == frame["content_hash"]).to_list()
    assert same == [True, False]
    assert marked.edited == {"stage": 1}


def test_normalising_reaches_every_text_of_a_row_and_no_tool_call() -> None:
    turn = {"role": "assistant", "content": None, "tool_calls": '["\u200b"]', "reasoning": "th\u200bink"}
    frame = frame_of([{"prompt": "a\u200b", "chosen": [turn], "rejected": "b\u200b"}])

    kept = run_shards("preference", [frame], [Step("n", made("normalise_text"))]).kept.row(0, named=True)

    assert (kept["prompt"][0]["content"], kept["rejected"][0]["content"]) == ("a", "b")
    assert (kept["chosen"][0]["reasoning"], kept["chosen"][0]["tool_calls"]) == ("think", '["\u200b"]')


def test_a_language_that_is_there_is_not_told_anew() -> None:
    frame = chats(("你好吗", "我很好"), lang="yue")

    assert same_whatever_the_cuts("chat", frame, made("detect_language")).kept["lang"].to_list() == ["yue"]


class _Dropping(Edit):
    """Drop the first row, and rewrite none."""

    def rows(self, frame: pl.DataFrame, kind: str) -> Edited:
        gone = {"place": [0], "reason": ["first"], "because": ["it is"]}
        return Edited(frame, pl.DataFrame(gone, schema_overrides={"place": pl.UInt32}))


def test_an_edit_that_rewrites_nothing_may_drop_rows() -> None:
    marked = mark(chats(("a", "b"), ("c", "d")), "chat", [Step("stage", _Dropping())])

    assert (marked.kept.height, dict(marked.reasons)) == (1, {("stage", "first"): 1})
