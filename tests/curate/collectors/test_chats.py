"""Rows from conversation logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.collectors.chats import Chats
from curate.collectors.collector import Found, Refused


def collect(tmp_path: Path, content: str | bytes, name: str = "log.jsonl", **settings: Any) -> list[Found | Refused]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(Chats(**settings).collect([(path, name)]))


def jsonl(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def turns(row: Found | Refused) -> list[tuple[str, str]]:
    assert isinstance(row, Found), row
    return [(message["role"], message["content"]) for message in row.messages]


def reasons(out: list[Found | Refused]) -> list[str]:
    return [one.reason for one in out if isinstance(one, Refused)]


def said(session: str, minute: int, role: str, text: str, **more: Any) -> dict[str, Any]:
    return {
        "session_id": session,
        "time": f"2026-03-02T{10 + minute // 60:02}:{minute % 60:02}:00",
        "role": role,
        "text": text,
        **more,
    }


def test_interleaved_messages_become_one_row_per_session(tmp_path: Path) -> None:
    out = collect(
        tmp_path,
        jsonl(
            said("s1", 0, "customer", "My parcel is late."),
            said("s2", 1, "visitor", "Do you sell tea?"),
            said("s1", 2, "agent", "I am sorry. What is its number?"),
            said("s2", 3, "staff", "We do."),
        ),
    )

    assert [turns(row) for row in out] == [
        [("user", "My parcel is late."), ("assistant", "I am sorry. What is its number?")],
        [("user", "Do you sell tea?"), ("assistant", "We do.")],
    ]
    assert [(row.external_id, row.part, row.line) for row in out if isinstance(row, Found)] == [
        ("s1", "s1", 1),
        ("s2", "s2", 2),
    ]


def test_messages_out_of_order_are_sorted_and_those_of_one_speaker_joined(tmp_path: Path) -> None:
    out = collect(
        tmp_path,
        jsonl(
            said("s", 3, "agent", "Which one?"),
            said("s", 1, "customer", "Hello"),
            said("s", 2, "customer", "it is broken"),
            said("s", 4, "customer", "The red one."),
            said("s", 5, "agent", "We send you another."),
        ),
    )

    assert turns(out[0]) == [
        ("user", "Hello\nit is broken"),
        ("assistant", "Which one?"),
        ("user", "The red one."),
        ("assistant", "We send you another."),
    ]
    assert isinstance(out[0], Found)
    assert out[0].extra == {"messages_in": 5}


def test_chinese_columns_roles_and_times_are_known(tmp_path: Path) -> None:
    log = (
        "会话ID,发送时间,发送者,消息内容,客服工号,满意度\n"
        "9,2026/3/2 9:05,客户,能开发票吗？,,\n"
        "9,2026/3/2 10:15,坐席,可以的。,A07,非常满意\n"
        "9,2026年3月2日 上午9:04,机器人,您好！,,\n"
    )

    out = collect(tmp_path, log.encode("gb18030"), "log.csv")

    assert turns(out[0]) == [("user", "能开发票吗？"), ("assistant", "可以的。")]
    assert isinstance(out[0], Found)
    assert out[0].extra == {"messages_in": 3, "left_out": {"greeting": 1}, "agent": "A07", "score": 5.0}


def test_a_long_silence_begins_a_new_conversation(tmp_path: Path) -> None:
    log = jsonl(
        said("s", 0, "customer", "One?"),
        said("s", 1, "agent", "Yes."),
        said("s", 300, "customer", "Two?"),
        said("s", 301, "agent", "No."),
    )

    assert [row.part for row in collect(tmp_path, log) if isinstance(row, Found)] == ["s#1", "s#2"]
    assert [row.part for row in collect(tmp_path, log, gap_minutes=0) if isinstance(row, Found)] == ["s"]


def test_without_sessions_a_customer_and_silence_make_a_conversation(tmp_path: Path) -> None:
    def line(customer: str, minute: int, role: str, text: str) -> dict[str, Any]:
        record = said("", minute, role, text)
        del record["session_id"]
        return {"customer_id": customer, **record}

    out = collect(
        tmp_path,
        jsonl(
            line("c1", 0, "customer", "One?"),
            line("c2", 0, "customer", "Two?"),
            line("c1", 1, "agent", "Yes."),
            line("c2", 2, "agent", "No."),
            line("c1", 500, "customer", "Three?"),
            line("c1", 501, "agent", "Maybe."),
        ),
    )

    assert [(row.part, turns(row)[0][1]) for row in out if isinstance(row, Found)] == [
        ("c1#1", "One?"),
        ("c1#2", "Three?"),
        ("c2", "Two?"),
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"id": "7", "messages": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."}]},
        {"id": "7", "conversations": [{"from": "human", "value": "A?"}, {"from": "gpt", "value": "B."}]},
        {"会话": [{"角色": "用户", "内容": "A?"}, {"角色": "客服", "内容": "B."}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "A?"}]}, {"role": "bot", "content": "B."}]},
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "list", "wrapped", "alone"])
def test_one_conversation_a_row_is_read_too(tmp_path: Path, record: dict[str, Any], form: str) -> None:
    forms = {"jsonl": record, "list": [record, record], "wrapped": {"data": [record, record]}, "alone": record}
    name = "log.jsonl" if form == "jsonl" else "log.json"

    out = collect(tmp_path, json.dumps(forms[form], ensure_ascii=False), name)

    assert [turns(row) for row in out] == [[("user", "A?"), ("assistant", "B.")]] * (
        2 if form in ("list", "wrapped") else 1
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1772445600, 1772445700),
        (1772445600000, 1772445700000),
        ("1772445600", "1772445700"),
        ("2026-03-02T10:00:00Z", "2026-03-02T11:01:40+01:00"),
        ("2026/3/2 10:00", "2026/3/2 10:01:40"),
        ("2026年3月2日 上午10:00", "2026年3月2日 下午1:00"),
        ("03/02/2026 10:00 AM", "03/02/2026 1:00 PM"),
        ("2026-03-02 10:00:00.5", "2026-03-02 10:00:00.7"),
    ],
)
def test_times_are_read_however_they_are_written(tmp_path: Path, first: object, second: object) -> None:
    records = [said("s", 0, "agent", "B."), said("s", 0, "customer", "A?")]
    records[0]["time"], records[1]["time"] = second, first

    assert turns(collect(tmp_path, jsonl(*records), gap_minutes=0)[0]) == [("user", "A?"), ("assistant", "B.")]


def test_a_message_without_a_time_stays_behind_the_one_before_it(tmp_path: Path) -> None:
    records = [
        said("s", 5, "customer", "B?"),
        said("s", 0, "agent", "C."),
        said("s", 1, "customer", "A?"),
        said("s", 6, "agent", "D."),
    ]
    records[1]["time"] = "soon"

    assert turns(collect(tmp_path, jsonl(*records))[0]) == [("user", "A?\nB?"), ("assistant", "C.\nD.")]


def test_who_only_asks_or_only_answers_is_refused(tmp_path: Path) -> None:
    out = collect(
        tmp_path,
        jsonl(
            said("s1", 0, "customer", "Anybody?"),
            said("s2", 0, "agent", "Hello! How can I help?"),
            said("s3", 0, "agent", "Hello!"),
            said("s3", 1, "customer", "Anybody?"),
        ),
    )

    assert [(one.reason, one.line) for one in out if isinstance(one, Refused)] == [
        ("no_answer", 1),
        ("no_question", 2),
        ("no_answer", 3),
    ]


def test_events_greetings_thanks_and_repeats_are_left_out_and_counted(tmp_path: Path) -> None:
    records = [
        said("s", 0, "system", "queue: 3"),
        said("s", 0, "bot", "Hello!"),
        said("s", 1, "customer", "Open today?"),
        said("s", 1, "customer", "Open today?"),
        said("s", 2, "agent", "Until six."),
        said("s", 3, "customer", "Thanks"),
    ]

    kept = collect(tmp_path, jsonl(*records))
    whole = collect(tmp_path, jsonl(*records), system=True, greetings=True)

    assert turns(kept[0]) == [("user", "Open today?"), ("assistant", "Until six.")]
    assert isinstance(kept[0], Found)
    assert kept[0].extra == {
        "messages_in": 6,
        "left_out": {"greeting": 1, "repeated": 1, "system": 1, "unanswered": 1},
    }
    assert turns(whole[0])[:2] == [("system", "queue: 3"), ("assistant", "Hello!")]


def test_ratings_are_kept_and_poor_ones_left_out_when_asked(tmp_path: Path) -> None:
    log = jsonl(
        said("good", 0, "customer", "A?"),
        said("good", 1, "agent", "B.", agent_id="a1", score="5星"),
        said("good", 2, "agent", "C.", agent_id="a2", score="4/5"),
        said("poor", 0, "customer", "A?"),
        said("poor", 1, "agent", "B.", agent_id="a3", score=2),
        said("none", 0, "customer", "A?"),
        said("none", 1, "agent", "B.", agent_id="a3"),
    )

    assert [row.extra.get("score") for row in collect(tmp_path, log) if isinstance(row, Found)] == [4.5, 2.0, None]
    assert [row.extra.get("agent") for row in collect(tmp_path, log) if isinstance(row, Found)] == [
        ["a1", "a2"],
        "a3",
        "a3",
    ]
    assert reasons(collect(tmp_path, log, min_score=4)) == ["low_score"]
    assert reasons(collect(tmp_path, log, min_score=4, unrated=False)) == ["low_score", "unrated"]


def test_a_rating_without_words_counts_for_its_session(tmp_path: Path) -> None:
    log = jsonl(
        said("s", 0, "customer", "A?", score=None),
        said("s", 1, "agent", "B.", score=None),
        said("s", 2, "system", "", score=3),
    )

    out = collect(tmp_path, log)

    assert isinstance(out[0], Found)
    assert out[0].extra["score"] == 3.0


def test_roles_of_ones_own_are_named(tmp_path: Path) -> None:
    log = jsonl(said("s", 0, "小王", "A?"), said("s", 1, "Olga", "B."))

    assert reasons(collect(tmp_path, log)) == ["unknown_role", "unknown_role"]
    assert turns(collect(tmp_path, log, role_map=["小王=user", "olga=assistant"])[0]) == [
        ("user", "A?"),
        ("assistant", "B."),
    ]
    with pytest.raises(ValidationError, match="is not NAME=user"):
        Chats(role_map=["Olga=boss"])


def test_a_sender_named_as_the_agent_is_the_assistant(tmp_path: Path) -> None:
    log = jsonl(
        {"ticket": 1, "customer": "Ann", "agent": "Bo", "from": "Ann", "body": "A?"},
        {"ticket": 1, "customer": "Ann", "agent": "Bo", "from": "Bo", "body": "B."},
    )

    assert turns(collect(tmp_path, log)[0]) == [("user", "A?"), ("assistant", "B.")]


def test_columns_of_ones_own_are_named(tmp_path: Path) -> None:
    log = "k;w;t\n1;user;A?\n1;bot;B.\n"

    assert reasons(collect(tmp_path, log, "log.csv")) == ["no_text_column"]
    assert turns(collect(tmp_path, log, "log.csv", session="k", role="w", text="t")[0])[0] == ("user", "A?")


def test_conversations_with_tools_are_left_to_the_import(tmp_path: Path) -> None:
    log = jsonl(said("s", 0, "user", "A?"), said("s", 1, "observation", "{}"), said("s", 2, "assistant", "B."))

    assert reasons(collect(tmp_path, log)) == ["tool_calls"]


def test_every_message_is_accounted_for(tmp_path: Path) -> None:
    log = jsonl(
        said("s", 0, "customer", "A?"),
        said("s", 1, "agent", "B."),
        said("s", 2, "nobody", "C."),
        said("s", 3, "agent", "  "),
        said("t", 0, "customer", "D?"),
    )
    log += '{"broken": \n[1]\n"text"\n\n'

    out = collect(tmp_path, log)

    assert [(one.reason, one.line) for one in out if isinstance(one, Refused)] == [
        ("unknown_role", 3),
        ("empty_text", 4),
        ("bad_json", 6),
        ("not_an_object", 7),
        ("not_an_object", 8),
        ("no_answer", 5),
    ]
    assert sum(row.extra["messages_in"] for row in out if isinstance(row, Found)) == 2


def test_one_broken_character_costs_one_line(tmp_path: Path) -> None:
    log = jsonl(said("s", 0, "customer", "能开发票吗？"), said("s", 1, "agent", "可以的，请稍等。")).encode()
    log += b'{"session_id": "s", "role": "agent", "text": "\xff"}\n'

    out = collect(tmp_path, log)

    assert [(one.reason, one.line) for one in out if isinstance(one, Refused)] == [("bad_json", 3)]
    assert len(out) == 2


def test_cells_over_several_lines_keep_their_line(tmp_path: Path) -> None:
    log = 'session_id,role,text\ns,user,"A\nB"\ns,bot,C\ns,bot,D,E\n'

    out = collect(tmp_path, log, "log.csv")

    assert reasons(out) == ["bad_csv"]
    assert out[0].line == 5
    assert turns(out[1]) == [("user", "A\nB"), ("assistant", "C")]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("[" * 100_000, "a.json"),
        ('{"a":' * 100_000, "a.jsonl"),
        ('"' * 100_001, "a.csv"),
        ("a,b\n" + "\x00,\x00\n", "a.csv"),
        ("123", "a.json"),
        ('[{"messages": [1, null, {"role": "user"}]}]', "a.json"),
        ('{"messages": [{"role": {"a": 1}, "content": [[[]]]}]}', "a.json"),
        ('{"session_id": {"a": 1}, "role": 3, "text": 5, "time": 1e400}', "a.jsonl"),
        ('{"session_id": "s", "role": "user", "text": "a", "time": 1e300}', "a.jsonl"),
        ("text\n" * 3, "a.csv"),
        ("\ufeff", "a.csv"),
    ],
)
def test_hostile_logs_end_in_rows_or_reasons(tmp_path: Path, content: str, name: str) -> None:
    out = collect(tmp_path, content, name)

    assert all(isinstance(one, Refused) for one in out)
