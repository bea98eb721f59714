"""Every format is recognised, read and written back without loss; what it cannot say is refused, not lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from schemas.errors import Rejected, UserError
from schemas.formats import FORMATS, Format, Read, find_format, plan_for, read_row, write_row
from schemas.rows import columns, content_columns

Row = dict[str, Any]


def read(row: Mapping[str, Any], form: Format | None = None) -> Read:
    plan = plan_for(row, form)
    assert plan is not None
    return read_row(row, plan)


def stored(found: Read) -> Row:
    """The row as a dataset gives it back: every column there, nulls where it says nothing."""
    kind = found.format.kind
    schema = {name: dtype for name, dtype in columns(kind).items() if name in content_columns(kind)}
    row = pl.DataFrame([found.content], schema=schema).row(0, named=True)
    own = {"external_id": found.own.get("id"), **{name: found.own.get(name) for name in ("task", "lang", "split")}}
    return row | own | {"extra": orjson.dumps(found.extra).decode() if found.extra else None}


def written(found: Read, form: Format | None = None) -> Row:
    return write_row(stored(found), form or found.format)


def told(found: Read) -> Any:
    """Everything a row says."""
    return found.format.kind, found.content, found.own, {key: found.extra[key] for key in found.extra if key[0] != "_"}


# --- Canonical rows of every format -----------------------------------------------------------------------------------

words = st.text(max_size=12)
some = st.text(min_size=1, max_size=12)
leaves = st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.sampled_from([0.5, -1.25, 1e30]) | words
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(some, inner, max_size=2), max_leaves=4
)
arguments = st.dictionaries(some, st.none() | st.booleans() | st.integers(-99, 99) | words, max_size=2)
tool_lists = st.lists(
    st.builds(lambda name, about: {"name": name, "description": about, "parameters": {"type": "object"}}, some, words),
    min_size=1,
    max_size=2,
)
weights = st.sampled_from([0, 1, 0.25])


def rows(must: Mapping[str, SearchStrategy[Any]], may: Mapping[str, SearchStrategy[Any]] | None = None) -> Any:
    """Rows with these fields, and perhaps some that no column holds, and the user's own id, task, language, split."""
    extras = {"note": values, "来源": values, "messages_seen": values}
    own = {"id": some | st.integers(0, 1 << 60), "task": some, "lang": st.sampled_from(["zh", "en"]), "split": some}
    return st.fixed_dictionaries(dict(must), optional={**(may or {}), **extras, **own})


def message(role: str, content: SearchStrategy[Any] = words) -> Any:
    return st.fixed_dictionaries(
        {"role": st.just(role), "content": content},
        optional={"name": some, "weight": weights, "time": st.integers(0, 9) | some},
    )


def openai_call() -> Any:
    return st.builds(
        lambda name, given, number: {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given)},
        },
        some,
        arguments,
        st.integers(0, 99),
    )


calling = st.fixed_dictionaries(
    {
        "role": st.just("assistant"),
        "content": st.none() | some,
        "tool_calls": st.lists(openai_call(), min_size=1, max_size=2),
    },
    optional={"reasoning_content": some},
)
answering = st.fixed_dictionaries({"role": st.just("tool"), "content": words, "tool_call_id": some})
thinking = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": words}, optional={"reasoning_content": some, "weight": weights}
)


def joined(*parts: SearchStrategy[list[Any]]) -> Any:
    return st.tuples(*parts).map(lambda lists: [one for turns in lists for one in turns])


def one(strategy: SearchStrategy[Any]) -> Any:
    return strategy.map(lambda turn: [turn])


def perhaps(strategy: SearchStrategy[Any]) -> Any:
    return st.lists(strategy, max_size=1)


rounds = st.lists(st.tuples(message("user"), thinking), max_size=2).map(
    lambda pairs: [turn for two in pairs for turn in two]
)
prompts = joined(perhaps(message("system")), rounds, one(message("user")))
answers = one(thinking) | joined(one(calling), one(answering), one(thinking))
conversations = joined(prompts, answers)


def said(speaker: str, text: SearchStrategy[str] = words) -> Any:
    return st.fixed_dictionaries(
        {"from": st.just(speaker), "value": text}, optional={"weight": weights, "mood": st.integers(0, 9)}
    )


sharegpt_calls = st.builds(lambda name, given: {"name": name, "arguments": given}, some, arguments)
spelled_calls = (sharegpt_calls | st.lists(sharegpt_calls, min_size=2, max_size=2)).map(
    lambda calls: json.dumps(calls, ensure_ascii=False)
)
asked = joined(perhaps(said("system")), one(said("human")))
sharegpt_conversations = joined(
    asked,
    perhaps(said("gpt")),
    st.just([]) | joined(one(said("function_call", spelled_calls)), one(said("observation"))),
)
spelled_tools = tool_lists.map(lambda tools: json.dumps(tools, ensure_ascii=False))
history = st.lists(st.lists(words, min_size=2, max_size=2), min_size=1, max_size=2)
numbers = {"margin": st.sampled_from([0.5, 2]), "weight": weights, "raters": st.integers(1, 9), "agreement": weights}
two = st.lists(words, min_size=2, max_size=2, unique=True)
human = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=12)


def differing(row: Row, chosen: str, rejected: str) -> Row:
    """The row with answers that begin differently."""
    begin, other = row[chosen][0], row[rejected][0]
    return row if begin != other else row | {rejected: [{**other, "content": f"{other['content'] or ''}!"}]}


def with_shared_prompt(row: Row) -> Row:
    """TRL's implicit prompt: both conversations whole."""
    row = differing(row, "chosen", "rejected")
    prompt = row.pop("prompt")
    return row | {"chosen": prompt + row["chosen"], "rejected": prompt + row["rejected"]}


def as_hh(turns: list[str], answer: str) -> str:
    names = ("Human", "Assistant")
    return "".join(f"\n\n{names[number % 2]}: {text}" for number, text in enumerate([*turns, answer]))


ROWS: dict[str, SearchStrategy[Row]] = {
    "alpaca": rows({"instruction": words, "input": words, "output": words}, {"system": some, "history": history}),
    "kto_alpaca": rows(
        {"instruction": words, "input": words, "output": words, "kto_tag": st.booleans()},
        {"system": some, "history": history},
    ),
    "sharegpt": rows({"conversations": sharegpt_conversations}, {"system": some, "tools": spelled_tools}),
    "kto_sharegpt": rows(
        {"conversations": sharegpt_conversations, "label": st.booleans()}, {"system": some, "tools": spelled_tools}
    ),
    "messages": rows({"messages": conversations}, {"system": some, "tools": tool_lists}),
    "kto_messages": rows({"messages": conversations, "label": st.booleans()}, {"system": some, "tools": tool_lists}),
    "pairs": rows(
        {"conversation": st.lists(st.fixed_dictionaries({"human": words, "assistant": words}), min_size=1, max_size=2)},
        {"system": some},
    ),
    "prompt_completion": rows({"prompt": prompts, "completion": answers}, {"tools": tool_lists}),
    "kto_prompt_completion": rows(
        {"prompt": prompts, "completion": answers, "label": st.booleans()}, {"tools": tool_lists}
    ),
    "prompt_completion_text": rows({"prompt": words, "completion": words}),
    "kto": rows({"prompt": words, "completion": words, "label": st.booleans()}),
    "preference": rows(
        {"prompt": prompts, "chosen": answers, "rejected": answers}, {**numbers, "tools": tool_lists}
    ).map(lambda row: differing(row, "chosen", "rejected")),
    "preference_text": rows(
        {"prompt": words, "chosen": words, "rejected": words},
        {**numbers, "input": some, "system": some, "history": history},
    ),
    "preference_implicit": rows(
        {"prompt": prompts, "chosen": answers, "rejected": answers}, {**numbers, "tools": tool_lists}
    ).map(with_shared_prompt),
    "preference_implicit_text": rows(
        {"turns": st.lists(human, min_size=1, max_size=3).filter(lambda turns: len(turns) % 2 == 1), "two": two},
        numbers,
    ).map(
        lambda row: (
            {key: row[key] for key in row if key not in ("turns", "two")}
            | {"chosen": as_hh(row["turns"], row["two"][0]), "rejected": as_hh(row["turns"], row["two"][1])}
        )
    ),
    "preference_sharegpt": rows(
        {"conversations": asked, "chosen": said("gpt"), "rejected": said("gpt") | said("function_call", spelled_calls)},
        {**numbers, "system": some, "tools": spelled_tools},
    ),
    "rejected_response": rows(
        {"prompt": prompts, "chosen": thinking, "rejected_response": words},
        {**numbers, "system": some, "tools": tool_lists},
    ).map(
        lambda row: (
            {"messages": [*row["prompt"], row["chosen"]]}
            | {key: row[key] for key in row if key not in ("prompt", "chosen")}
        )
    ),
    "openai_preference": rows(
        {
            "input": st.fixed_dictionaries(
                {"messages": prompts}, optional={"tools": tool_lists, "parallel_tool_calls": st.booleans()}
            ),
            "preferred_output": answers,
            "non_preferred_output": answers,
        },
        numbers,
    ),
    "candidates": rows(
        {
            "prompt": prompts,
            "answers": st.lists(
                st.fixed_dictionaries(
                    {"messages": answers},
                    optional={"teacher": some, "rank": st.integers(1, 9), "score": weights, "cost": values},
                ),
                min_size=1,
                max_size=3,
            ),
        },
        {"tools": tool_lists},
    ),
    "text": rows({"text": words}, {"title": some, "path": some}),
}

every_format = pytest.mark.parametrize("name", FORMATS)
often = settings(max_examples=25, deadline=None)


@every_format
@often
@given(st.data())
def test_the_format_of_a_canonical_row_is_recognised(name: str, data: st.DataObject) -> None:
    row = data.draw(ROWS[name])

    plan = plan_for(row)

    assert plan is not None
    assert plan.format.name == name


@every_format
@often
@given(st.data())
def test_a_canonical_row_is_written_as_it_was_read(name: str, data: st.DataObject) -> None:
    row = data.draw(ROWS[name])

    again = written(read(row))

    assert orjson.loads(orjson.dumps(again)) == orjson.loads(orjson.dumps(row))


@pytest.mark.parametrize("other", ["preference_text", "preference"])
def test_an_empty_system_prompt_is_not_lost_on_the_way_to_another_format(other: str) -> None:
    turns = [{"from": "system", "value": ""}, {"from": "human", "value": "q"}]
    answers = {"chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}
    found = read({"conversations": turns, **answers})

    try:
        again = read(written(found, FORMATS[other]), FORMATS[other])
    except Rejected as why:
        assert (other, why.reason) == ("preference_text", "not_expressible")
    else:
        assert comparable(again.content) == comparable(found.content)


@every_format
@often
@given(st.data())
def test_a_row_written_in_another_format_says_the_same_or_is_refused(name: str, data: st.DataObject) -> None:
    found = read(data.draw(ROWS[name]))
    other = data.draw(st.sampled_from([one for one in FORMATS.values() if one.kind == found.format.kind]))

    try:
        again = read(written(found, other), other)
    except Rejected as why:
        assert why.reason == "not_expressible"
    else:
        assert comparable(again.content) == comparable(found.content)


def comparable(value: Any) -> Any:
    """Content with tool calls as values: some formats give their arguments as text, some as an object."""
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, dict):
        return {key: calls(inner) if key == "tool_calls" else comparable(inner) for key, inner in value.items()}
    return value


def calls(text: str) -> Any:
    found = orjson.loads(text)
    for call in found:
        if isinstance(call["function"]["arguments"], str):
            call["function"]["arguments"] = orjson.loads(call["function"]["arguments"])
    return found


# --- Other spellings --------------------------------------------------------------------------------------------------

USER = {"role": "user", "content": "q"}
BOT = {"role": "assistant", "content": "a"}
WORSE = {"role": "assistant", "content": "b"}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"x": 1}}}
ASKED = {"messages": [USER, BOT]}
PAIR = {"prompt": [USER], "chosen": [BOT], "rejected": [WORSE]}

SPELLINGS: list[tuple[Row, str, Row]] = [
    *(
        ({question: "q", answer: "a"}, "alpaca", ASKED)
        for question, answer in [
            ("instruction", "output"),
            ("question", "answer"),
            ("query", "response"),
            ("prompt", "response"),
            ("Question", " Answer "),
            ("问题", "回答"),
            ("问题", "答案"),
            ("指令", "输出"),
            ("提问", "回复"),
            ("user", "assistant"),
        ]
    ),
    ({"instruction": "q", "input": None, "output": "a", "history": [], "system": ""}, "alpaca", ASKED),
    ({"instruction": "q", "context": "c", "response": "a"}, "alpaca", {"messages": [{**USER, "content": "q\nc"}, BOT]}),
    ({"指令": "q", "输入": "c", "输出": "a"}, "alpaca", {"messages": [{**USER, "content": "q\nc"}, BOT]}),
    (
        {"query": "q", "response": "a", "history": [["h", "i"]]},
        "alpaca",
        {"messages": [{**USER, "content": "h"}, {**BOT, "content": "i"}, USER, BOT]},
    ),
    ({"prompt": "q", "completion": "a"}, "prompt_completion_text", ASKED),
    ({"instruction": "q", "output": "a", "kto_tag": 0}, "kto_alpaca", ASKED | {"verdict": False}),
    *(
        ({"prompt": "q", "completion": "a", key: label}, "kto", ASKED | {"verdict": verdict})
        for key, label, verdict in [
            ("label", True, True),
            ("kto_tag", False, False),
            ("label", 1, True),
            ("label", "False", False),
            ("label", "TRUE", True),
            ("label", "0", False),
        ]
    ),
    ({"messages": [USER, BOT], "kto_tag": True}, "kto_messages", ASKED | {"verdict": True}),
    ({"prompt": [USER], "completion": [BOT], "kto_tag": "true"}, "kto_prompt_completion", ASKED | {"verdict": True}),
    *(
        ({"conversations": [{"from": user, "value": "q"}, {"from": bot, "value": "a"}]}, "sharegpt", ASKED)
        for user, bot in [("human", "gpt"), ("user", "assistant"), ("用户", "助手"), ("Human", "GPT"), ("human", "bot")]
    ),
    ({"对话": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "sharegpt", ASKED),
    ({"conversations": [USER, BOT]}, "messages", ASKED),
    ({"conversation": [USER, BOT]}, "messages", ASKED),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, BOT]}, "messages", ASKED),
    ({"messages": [{"role": "user", "content": ["q"]}, BOT]}, "messages", ASKED),
    (
        {"messages": [{"role": "developer", "content": "s"}, USER, BOT]},
        "messages",
        {"messages": [{"role": "system", "content": "s"}, USER, BOT]},
    ),
    (
        {"messages": [USER, BOT | {"loss": False, "thinking": "hm", "loss_weight": 7}], "functions": []},
        "messages",
        {"messages": [USER, BOT | {"weight": 0.0, "reasoning": "hm"}]},
    ),
    (
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}},
            ]
        },
        "messages",
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "tool_calls": '[{"type":"function","function":{"name":"add","arguments":"{}"}}]',
                },
            ]
        },
    ),
    (
        {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": {}}]}]},
        "messages",
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": '[{"type":"function","function":{"name":"add","arguments":{}}}]',
                },
            ]
        },
    ),
    (
        {"messages": [USER, {"role": "tool_call", "content": '{"name": "add", "arguments": {"x": 1}}'}]},
        "messages",
        {"messages": [USER, {"role": "assistant", "tool_calls": orjson.dumps([CALL]).decode()}]},
    ),
    (
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": '{"name": "add", "arguments": "{\\"x\\": 1}"}'},
                {"from": "observation", "value": "1"},
            ],
            "tools": "",
        },
        "sharegpt",
        {
            "messages": [
                USER,
                {"role": "assistant", "tool_calls": orjson.dumps([CALL]).decode()},
                {"role": "tool", "content": "1"},
            ]
        },
    ),
    ({"messages": [USER, BOT], "tools": {"name": "add"}}, "messages", ASKED | {"tools": '[{"name":"add"}]'}),
    ({"messages": [USER, BOT], "functions": '[{"name": "add"}]'}, "messages", ASKED | {"tools": '[{"name":"add"}]'}),
    ({"conversations": [{"human": "q", "assistant": "a"}]}, "pairs", ASKED),
    ({"prompt": "q", "chosen": [BOT], "rejected": [WORSE]}, "preference", PAIR),
    ({"prompt": "q", "chosen": BOT, "rejected": WORSE}, "preference", PAIR),
    ({"prompt": [USER], "chosen": [USER, BOT], "rejected": [USER, WORSE]}, "preference", PAIR),
    (
        {"prompt": "q", "messages": [USER, BOT], "chosen": [USER, BOT], "rejected": [USER, WORSE], "score_chosen": 8.0},
        "preference",
        PAIR,
    ),
    ({"instruction": "q", "input": "", "chosen": "a", "rejected": "b"}, "preference_text", PAIR),
    ({"question": "q", "chosen": "a", "rejected": "b", "margin": "1.5"}, "preference_text", PAIR | {"margin": 1.5}),
    ({"chosen": [USER, BOT], "rejected": [USER, WORSE]}, "preference_implicit", PAIR),
    (
        {"chosen": "Human: q\n\nAssistant: a", "rejected": "\n\nHuman:q\n\nAssistant:b"},
        "preference_implicit_text",
        PAIR,
    ),
    (
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        "preference_sharegpt",
        PAIR,
    ),
    ({"messages": [USER], "chosen": BOT, "rejected": WORSE}, "preference_sharegpt", PAIR),
    ({"messages": [USER], "chosen": "a", "rejected": "b"}, "preference_sharegpt", PAIR),
    ({"messages": [USER, BOT], "rejected_response": "b"}, "rejected_response", PAIR),
    ({"messages": [USER, BOT], "rejected_response": [WORSE]}, "rejected_response", PAIR),
    ({"messages": [USER, BOT], "rejected_messages": [USER, WORSE]}, "rejected_response", PAIR),
    (
        {"system": "s", "messages": [USER, BOT], "rejected_messages": [USER, WORSE, USER, WORSE]},
        "rejected_response",
        {"prompt": [{"role": "system", "content": "s"}, USER], "chosen": [BOT], "rejected": [WORSE, USER, WORSE]},
    ),
    ({"input": {"messages": [USER]}, "preferred_output": BOT, "non_preferred_output": "b"}, "openai_preference", PAIR),
    (
        {"prompt": "q", "responses": ["a", "b"], "scores": [1, 0.5], "ranks": [1, 2], "models": ["x", None]},
        "candidates",
        {
            "prompt": [USER],
            "answers": [
                {"messages": [BOT], "teacher": "x", "rank": 1, "score": 1.0},
                {"messages": [WORSE], "rank": 2, "score": 0.5},
            ],
        },
    ),
    (
        {"instruction": "q", "completions": [{"model": "x", "response": "a", "overall_score": 8}, BOT | {"rating": 2}]},
        "candidates",
        {
            "prompt": [USER],
            "answers": [{"messages": [BOT], "teacher": "x", "score": 8.0}, {"messages": [BOT], "score": 2.0}],
        },
    ),
    ({"content": "t"}, "text", {"text": "t"}),
    ({"正文": "t", "标题": "h", "path": ""}, "text", {"text": "t", "title": "h"}),
]


@pytest.mark.parametrize(("row", "name", "content"), SPELLINGS)
def test_other_spellings_are_recognised_and_say_the_same(row: Row, name: str, content: Row) -> None:
    found = read(row)

    assert found.format.name == name
    assert found.content == content


@pytest.mark.parametrize(("row", "name", "content"), SPELLINGS)
def test_a_row_spelled_otherwise_survives_being_written(row: Row, name: str, content: Row) -> None:
    found = read(row)

    again = read(written(found))

    assert told(again) == told(found)


def test_every_format_has_canonical_rows_in_this_test() -> None:
    assert set(ROWS) == set(FORMATS)


def test_one_message_of_a_chat_log_is_no_text() -> None:
    assert plan_for({"session_id": "1", "role": "user", "content": "hello"}) is None


def test_a_label_that_is_no_verdict_stays_beside_the_row() -> None:
    found = read({"prompt": "q", "completion": "a", "label": "sports"})

    assert found.format.name == "prompt_completion_text"
    assert found.extra == {"label": "sports"}


def test_what_a_message_holds_besides_its_columns_comes_back() -> None:
    row = {
        "prompt": [USER | {"time": 1}],
        "chosen": [BOT | {"model": {"name": "x"}}],
        "rejected": [WORSE | {"stars": [2]}],
    }

    assert written(read(row)) == row


def test_a_field_with_the_name_of_our_notes_comes_back() -> None:
    row = {"messages": [USER, BOT], "_import": {"turns": 1}, "id": 7}

    assert written(read(row)) == row


def test_a_null_in_a_field_that_no_column_holds_comes_back() -> None:
    row = {"messages": [USER, BOT], "note": None}

    assert written(read(row)) == row


def test_a_changed_instruction_is_never_cut_in_the_wrong_place() -> None:
    row = stored(read({"instruction": "one", "input": "two", "output": "a"}))

    row["messages"][0]["content"] = "one\n"

    assert write_row(row, FORMATS["alpaca"]) == {"instruction": "one\n", "input": "", "output": "a"}


def test_the_name_of_a_format_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        find_format("sharegtp")

    assert "'sharegpt'" in caught.value.hint


# --- What is refused --------------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, Row, str, str]] = [
    ("alpaca", {"instruction": "q", "output": None}, "missing_field", "output"),
    ("alpaca", {"instruction": None, "output": "a"}, "missing_field", "instruction"),
    ("alpaca", {"instruction": "q", "output": 5}, "wrong_type", "output"),
    ("alpaca", {"instruction": "q", "output": "a", "input": 0}, "wrong_type", "input"),
    ("alpaca", {"instruction": "q", "output": "a", "system": 3}, "wrong_type", "system"),
    ("alpaca", {"instruction": "q", "output": "a", "history": "h"}, "wrong_type", "history"),
    ("alpaca", {"instruction": "q", "output": "a", "history": [["h"]]}, "wrong_type", "history[0]"),
    ("alpaca", {"instruction": "q", "output": "a", "history": [["h", None]]}, "missing_field", "history[0][1]"),
    ("alpaca", {"instruction": [{"type": "image"}], "output": "a"}, "not_text", "instruction"),
    ("alpaca", {"instruction": [5], "output": "a"}, "wrong_type", "instruction"),
    ("kto_alpaca", {"instruction": "q", "output": "a", "kto_tag": None}, "missing_field", "kto_tag"),
    ("messages", {"messages": None}, "missing_field", "messages"),
    ("messages", {"messages": "hi"}, "wrong_type", "messages"),
    ("messages", {"messages": []}, "empty_conversation", "messages"),
    ("messages", {"messages": ["hi"]}, "wrong_type", "messages[0]"),
    ("messages", {"messages": [{"content": "x"}]}, "missing_field", "messages[0]"),
    ("messages", {"messages": [{"role": 5, "content": "x"}]}, "wrong_type", "messages[0]"),
    ("messages", {"messages": [{"role": ["user"], "content": "x"}]}, "wrong_type", "messages[0]"),
    ("messages", {"messages": [{"role": "narrator", "content": "x"}]}, "unknown_role", "narrator"),
    ("messages", {"messages": [{"role": "user"}]}, "missing_field", "messages[0].content"),
    ("messages", {"messages": [{"role": "user", "content": 5}]}, "wrong_type", "messages[0].content"),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}]},
        "not_text",
        "messages[0].content",
    ),
    ("messages", {"messages": [USER | {"name": 5}]}, "wrong_type", "messages[0].name"),
    ("messages", {"messages": [BOT | {"tool_calls": "{"}]}, "bad_tool_call", "messages[0].tool_calls"),
    ("messages", {"messages": [BOT | {"tool_calls": [5]}]}, "bad_tool_call", "messages[0].tool_calls"),
    ("messages", {"messages": [BOT | {"tool_calls": {"name": "f"}}]}, "bad_tool_call", "messages[0].tool_calls"),
    ("messages", {"messages": [BOT | {"function_call": {}}]}, "bad_tool_call", "messages[0].function_call"),
    (
        "messages",
        {"messages": [BOT | {"tool_calls": '[{"name": "f", "arguments": {"x": 123456789012345678901}}]'}]},
        "number_too_large",
        "messages[0].tool_calls",
    ),
    ("messages", {"messages": [USER], "tools": "no"}, "bad_tools", "tools"),
    ("messages", {"messages": [USER], "tools": 5}, "bad_tools", "tools"),
    ("messages", {"messages": [USER], "system": 5}, "wrong_type", "system"),
    ("sharegpt", {"conversations": [{"from": "gpt", "value": None}]}, "missing_field", "conversations[0].value"),
    ("sharegpt", {"conversations": [{"from": "function_call", "value": "f()"}]}, "bad_tool_call", "conversations[0]"),
    ("sharegpt", {"conversations": [{"from": "function_call", "value": "[]"}]}, "bad_tool_call", "conversations[0]"),
    ("kto_sharegpt", {"conversations": [{"from": "gpt", "value": "a"}], "label": 3}, "wrong_type", "label"),
    ("kto_messages", {"messages": [USER], "label": None}, "missing_field", "label"),
    ("pairs", {"conversation": "x"}, "wrong_type", "conversation"),
    ("pairs", {"conversation": []}, "empty_conversation", "conversation"),
    ("pairs", {"conversation": [{"human": "q", "bot": "a"}]}, "wrong_type", "conversation[0]"),
    ("pairs", {"conversation": [{"human": "q"}]}, "missing_field", "conversation[0].assistant"),
    ("prompt_completion", {"prompt": [], "completion": [BOT]}, "empty_conversation", "prompt"),
    ("prompt_completion", {"prompt": [USER], "completion": None}, "missing_field", "completion"),
    ("prompt_completion_text", {"prompt": "q", "completion": {}}, "wrong_type", "completion"),
    ("kto", {"prompt": "q", "completion": "a", "label": "maybe"}, "wrong_type", "label"),
    ("kto_prompt_completion", {"prompt": [USER], "completion": [BOT]}, "missing_field", "label"),
    ("preference", {"prompt": [USER], "chosen": [BOT]}, "missing_field", "rejected"),
    ("preference", PAIR | {"margin": "much"}, "wrong_type", "margin"),
    ("preference", PAIR | {"raters": 1.5}, "wrong_type", "raters"),
    ("preference", PAIR | {"weight": True}, "wrong_type", "weight"),
    ("preference", PAIR | {"margin": "nan"}, "wrong_type", "margin"),
    ("preference_text", {"prompt": "q", "chosen": "a", "rejected": 5}, "wrong_type", "rejected"),
    ("preference_implicit", {"chosen": [USER, BOT], "rejected": [WORSE]}, "no_prompt", "chosen and rejected"),
    ("preference_implicit_text", {"chosen": "a", "rejected": "b"}, "no_prompt", "chosen"),
    (
        "preference_sharegpt",
        {"conversations": [], "chosen": BOT, "rejected": BOT},
        "empty_conversation",
        "conversations",
    ),
    ("rejected_response", {"messages": [BOT], "rejected_response": "b"}, "no_prompt", "messages"),
    ("rejected_response", {"messages": [USER], "rejected_response": "b"}, "missing_field", "messages"),
    ("openai_preference", {"input": [USER], "preferred_output": [BOT]}, "wrong_type", "input"),
    ("openai_preference", {"preferred_output": [BOT]}, "missing_field", "input"),
    ("openai_preference", {"input": {}, "preferred_output": [BOT]}, "missing_field", "input.messages"),
    ("candidates", {"prompt": "q", "answers": []}, "missing_field", "answers"),
    ("candidates", {"prompt": "q", "answers": "a"}, "wrong_type", "answers"),
    ("candidates", {"prompt": "q", "answers": [5]}, "wrong_type", "answers[0]"),
    ("candidates", {"prompt": "q", "answers": [{"score": 1}]}, "missing_field", "answers[0]"),
    ("candidates", {"prompt": "q", "answers": ["a", "b"], "scores": [1]}, "wrong_type", "scores"),
    ("candidates", {"prompt": "q", "answers": ["a"], "ranks": ["first"]}, "wrong_type", "ranks"),
    ("text", {"text": 5}, "wrong_type", "text"),
    ("text", {"text": "t", "title": 5}, "wrong_type", "title"),
]


@pytest.mark.parametrize(("name", "row", "reason", "field"), REFUSED)
def test_a_row_that_cannot_be_used_is_rejected_naming_the_field(name: str, row: Row, reason: str, field: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(row, FORMATS[name])

    assert caught.value.reason == reason
    assert field in caught.value.detail


LONG: Row = {"messages": [USER, BOT, USER, BOT]}
CALLING: Row = {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]}
JUDGED: Row = {"messages": [USER, BOT], "label": False}

NOT_EXPRESSIBLE: list[tuple[Row, str]] = [
    (LONG, "prompt_completion_text"),
    (CALLING, "alpaca"),
    (CALLING, "pairs"),
    ({"messages": [USER, BOT], "tools": [{"name": "f"}]}, "alpaca"),
    ({"messages": [USER, BOT | {"weight": 0}]}, "alpaca"),
    ({"messages": [USER, BOT | {"reasoning": "hm"}]}, "prompt_completion_text"),
    ({"messages": [USER | {"name": "Li"}, BOT]}, "pairs"),
    ({"messages": [USER]}, "alpaca"),
    ({"messages": [BOT]}, "prompt_completion"),
    ({"messages": [USER, USER, BOT]}, "alpaca"),
    ({"messages": [USER, BOT | {"tool_calls": [CALL]}]}, "sharegpt"),
    ({"messages": [USER, BOT]}, "kto"),
    (JUDGED, "messages"),
    (JUDGED, "alpaca"),
    (PAIR | {"tools": [{"name": "f"}]}, "preference_text"),
    (PAIR | {"chosen": [BOT, USER, BOT]}, "preference_text"),
    (PAIR | {"chosen": [BOT, USER, BOT]}, "preference_sharegpt"),
    (PAIR | {"prompt": [{"role": "system", "content": "s"}, USER]}, "preference_implicit_text"),
    (PAIR | {"chosen": [{"role": "assistant", "content": "\n\nHuman: x"}]}, "preference_implicit_text"),
    (PAIR | {"prompt": [USER, BOT]}, "preference_implicit"),
]


@pytest.mark.parametrize(("row", "name"), NOT_EXPRESSIBLE)
def test_what_a_format_cannot_say_is_refused(row: Row, name: str) -> None:
    found = read(row)

    with pytest.raises(Rejected, match="not_expressible"):
        written(found, FORMATS[name])
