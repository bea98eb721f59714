"""What Argilla's own tests say of its engines holds of ours, asked for through Argilla's REST interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.review.conftest import ReviewServer
from tests.review.forms import (
    PENDING,
    answer,
    asked,
    between,
    labels,
    made_dataset,
    names,
    put_records,
    ratings,
    terms,
)

# Text, topic, turns, share, vector, and the suggestion: value, score, agent, type.
ROWS: list[tuple[str, Any, int | None, float | None, list[float], tuple[str, float | None, str | None, str | None]]] = [
    ("My payment was charged twice", "billing", 1, 0.25, [1.0, 0.0], ("good", 0.9, "judge-v1", "model")),
    ("The payment by card was declined", ["billing", "cards"], 2, 0.5, [0.9, 0.1], ("bad", 0.2, "judge-v1", "model")),
    ("我的付款失败了，请退款", "billing", 3, -1.5, [0.0, 1.0], ("bad", 0.5, "ana", "human")),
    ("How do I open an account?", "accounts", 4, 120.0, [-1.0, 0.0], ("good", None, None, None)),
    ("Card: my card was lost, the card is gone", "cards", None, None, [0.5, 0.5], ("good", 0.7, "judge-v2", "model")),
]
NAMES = [f"r{number}" for number in range(len(ROWS))]

STATUS = {"entity": "response", "property": "status"}
VERDICT = {"entity": "response", "question": "verdict"}
STARS = {"entity": "response", "question": "stars"}


def metadata(name: str) -> dict[str, str]:
    return {"entity": "metadata", "metadata_property": name}


def suggested(what: str) -> dict[str, str]:
    return {"entity": "suggestion", "question": "verdict", "property": what}


def record(what: str) -> dict[str, str]:
    return {"entity": "record", "property": what}


@dataclass
class Made:
    """One dataset with five records that two people have begun to answer."""

    owner: httpx.Client
    one: httpx.Client
    two: httpx.Client
    id: str
    records: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def made(review_server: ReviewServer) -> Made:
    owner = review_server.client()
    dataset = made_dataset(
        owner,
        "search",
        fields={"text": {"type": "text", "use_markdown": True}, "chat": {"type": "chat", "use_markdown": True}},
        questions={"verdict": labels("good", "bad"), "stars": ratings(5)},
        metadata={"主题": "terms", "turns": "integer", "share": "float"},
        vectors={"meaning": 2},
        overlap=2,
    )
    records: list[dict[str, Any]] = []
    for name, (text, topic, turns, share, vector, (value, score, agent, type_)) in zip(NAMES, ROWS, strict=True):
        held = {"主题": topic, "turns": turns, "share": share}
        questions = owner.get(f"/datasets/{dataset}/questions").json()["items"]
        suggestion = {"question_id": questions[0]["id"], "value": value, "score": score, "agent": agent, "type": type_}
        records.append(
            {
                "external_id": name,
                "fields": {"text": text, "chat": [{"role": "user", "content": f"spoken {name}"}]},
                "metadata": {key: value for key, value in held.items() if value is not None},
                "vectors": {"meaning": vector},
                "suggestions": [{key: value for key, value in suggestion.items() if value is not None}],
            }
        )
    found = Made(owner, review_server.client("annotator1"), review_server.client("annotator2"), dataset)
    found.records = put_records(owner, dataset, records)
    answer(found.one, found.records[0], {"verdict": "good", "stars": 5})
    answer(found.one, found.records[1], {"verdict": "bad", "stars": 2}, status="draft")
    answer(found.one, found.records[2], {"verdict": "bad"}, status="discarded")
    answer(found.two, found.records[0], {"verdict": "bad", "stars": 1})
    answer(found.two, found.records[3], {"verdict": "bad", "stars": 4})
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payment", ["r0", "r1"]),
        ("payment card", ["r1"]),
        ("payment | account", ["r0", "r1", "r3"]),
        ('"was declined"', ["r1"]),
        ("card -payment", ["r4"]),
        ("退款", ["r2"]),
        ("付款失败", ["r2"]),
        ("款付", []),
        ("spoken r3", ["r3"]),
        ({"q": "spoken", "field": "text"}, []),
        ({"q": "r3", "field": "chat"}, ["r3"]),
        ("nothing of the kind", []),
    ],
)
def test_text_is_found(made: Made, text: str | dict[str, str], expected: list[str]) -> None:
    found = asked(made.owner, made.id, text=text)

    assert sorted(names(found)) == expected
    assert found["total"] == len(expected)


def test_what_matches_better_comes_first(made: Made) -> None:
    found = asked(made.owner, made.id, text="card")

    scores = [one["query_score"] for one in found["items"]]
    assert names(found)[0] == "r4"
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0


def test_filters_leave_the_scores_alone(made: Made) -> None:
    plain = asked(made.owner, made.id, text="payment")
    filtered = asked(made.owner, made.id, terms(STATUS, "submitted", "draft", "pending"), text="payment")

    assert [one["query_score"] for one in plain["items"]] == [one["query_score"] for one in filtered["items"]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (terms(metadata("主题"), "billing"), ["r0", "r1", "r2"]),
        (terms(metadata("主题"), "cards", "accounts"), ["r1", "r3", "r4"]),
        (terms(metadata("主题"), "Billing"), []),
        (terms(metadata("turns"), "2", "3"), ["r1", "r2"]),
        (between(metadata("turns"), 2, 3), ["r1", "r2"]),
        (between(metadata("turns"), 3), ["r2", "r3"]),
        (between(metadata("turns"), None, 1), ["r0"]),
        (between(metadata("share"), 0.25, 0.5), ["r0", "r1"]),
        (between(metadata("share"), None, 0), ["r2"]),
        (terms(metadata("share"), "0.5"), ["r1"]),
        (terms(suggested("value"), "good"), ["r0", "r3", "r4"]),
        (terms(suggested("agent"), "ana"), ["r2"]),
        (terms(suggested("type"), "model"), ["r0", "r1", "r4"]),
        (terms(suggested("score"), "0.5"), ["r2"]),
        (between(suggested("score"), 0.5, 0.8), ["r2", "r4"]),
        (terms(record("external_id"), "r1", "r9"), ["r1"]),
        (terms(record("status"), "completed"), ["r0"]),
        (terms(record("status"), "pending"), ["r1", "r2", "r3", "r4"]),
        (between(record("inserted_at"), "2020-01-01T00:00:00Z"), NAMES),
        (between(record("inserted_at"), None, "2020-01-01"), []),
        (terms(STATUS, "pending"), ["r4"]),
        (terms(STATUS, "submitted"), ["r0", "r3"]),
        (terms(STATUS, "pending", "draft"), ["r1", "r4"]),
        (terms(STATUS, "discarded", "draft"), ["r1", "r2"]),
        (terms(VERDICT, "bad"), ["r0", "r1", "r2", "r3"]),
        (terms(VERDICT, "good"), ["r0"]),
        (terms(STARS, "5", "4"), ["r0", "r3"]),
        (between(STARS, 2, 4), ["r1", "r3"]),
    ],
)
def test_filters_find_what_is_there(made: Made, given: dict[str, Any], expected: list[str]) -> None:
    found = asked(made.owner, made.id, given)

    assert sorted(names(found)) == expected
    assert found["total"] == len(expected)


def test_a_record_is_found_by_the_id_it_has_on_the_server(made: Made) -> None:
    assert names(asked(made.owner, made.id, terms(record("id"), made.records[3]))) == ["r3"]


def test_all_filters_must_hold(made: Made) -> None:
    found = asked(made.owner, made.id, terms(metadata("主题"), "billing"), between(metadata("turns"), 2), text="付款")

    assert names(found) == ["r2"]


@pytest.mark.parametrize(
    ("given", "first", "second"),
    [
        (PENDING, ["r3", "r4"], ["r1", "r2", "r4"]),
        (terms(STATUS, "submitted"), ["r0"], ["r0", "r3"]),
        (terms(STATUS, "draft", "discarded"), ["r1", "r2"], []),
        (terms(STATUS, "pending", "draft"), ["r1", "r3", "r4"], ["r1", "r2", "r4"]),
        (terms(VERDICT, "bad"), ["r1", "r2"], ["r0", "r3"]),
        (between(STARS, 4, 5), ["r0"], ["r3"]),
    ],
)
def test_in_a_persons_queue_filters_look_at_that_persons_answers(
    made: Made, given: dict[str, Any], first: list[str], second: list[str]
) -> None:
    assert sorted(names(asked(made.one, made.id, given, mine=True))) == first
    assert sorted(names(asked(made.two, made.id, given, mine=True))) == second


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ([(metadata("turns"), "asc")], ["r0", "r1", "r2", "r3", "r4"]),
        ([(metadata("turns"), "desc")], ["r3", "r2", "r1", "r0", "r4"]),
        ([(metadata("share"), "asc")], ["r2", "r0", "r1", "r3", "r4"]),
        ([(metadata("主题"), "asc")], ["r3", "r0", "r1", "r2", "r4"]),
        ([(metadata("主题"), "asc"), (metadata("turns"), "desc")], ["r3", "r2", "r1", "r0", "r4"]),
        ([(record("inserted_at"), "asc")], NAMES),
        ([(record("inserted_at"), "desc")], NAMES[::-1]),
        ([(suggested("score"), "desc")], ["r0", "r4", "r2", "r1", "r3"]),
        ([(STARS, "desc")], ["r3", "r0", "r1", "r2", "r4"]),
    ],
)
def test_records_are_sorted_and_what_has_no_value_comes_last(
    made: Made, sort: list[tuple[dict[str, str], str]], expected: list[str]
) -> None:
    assert names(asked(made.owner, made.id, sort=sort)) == expected


def test_pages_follow_one_another(made: Made) -> None:
    pages = [asked(made.owner, made.id, limit=2, offset=offset) for offset in (0, 2, 4, 6)]

    assert [name for page in pages for name in names(page)] == NAMES
    assert {page["total"] for page in pages} == {5}
    assert {one["query_score"] for one in pages[0]["items"]} == {1.0}


def test_each_person_has_an_order_of_their_own_that_stays(review_server: ReviewServer) -> None:
    owner = review_server.client()
    dataset = made_dataset(owner, "orders")
    put_records(owner, dataset, [{"external_id": str(n), "fields": {"text": "same text"}} for n in range(40)])
    one, two = review_server.client("annotator1"), review_server.client("annotator2")

    mine = names(asked(one, dataset, PENDING, mine=True))
    other = names(asked(two, dataset, PENDING, mine=True))
    searched = names(asked(one, dataset, text="text", mine=True))
    record_id = asked(one, dataset, PENDING, mine=True)["items"][0]["record"]["id"]
    answer(one, record_id, {"verdict": "good"})

    assert len({tuple(mine), tuple(other), tuple(str(n) for n in range(40))}) == 3
    assert searched == mine
    assert names(asked(one, dataset, PENDING, mine=True)) == mine[1:]
    pages = [names(asked(one, dataset, PENDING, mine=True, limit=10, offset=offset)) for offset in (0, 10, 20, 30)]
    assert [name for page in pages for name in page] == mine[1:]


@pytest.mark.parametrize(
    ("vector", "filters", "expected"),
    [
        ({"value": [1.0, 0.0]}, (), ["r0", "r1", "r4", "r2", "r3"]),
        ({"value": [1.0, 0.0], "order": "least_similar"}, (), ["r3", "r2", "r4", "r1", "r0"]),
        ({"value": [1.0, 0.0]}, (terms(metadata("主题"), "cards"),), ["r1", "r4"]),
        ({"value": [0.0, 1.0]}, (PENDING,), ["r4"]),
        ({"record": 0}, (), ["r1", "r4", "r2", "r3"]),
    ],
)
def test_records_that_are_alike_are_found(
    made: Made, vector: dict[str, Any], filters: tuple[dict[str, Any], ...], expected: list[str]
) -> None:
    asked_for = {"name": "meaning", **vector}
    if "record" in asked_for:
        asked_for["record_id"] = made.records[asked_for.pop("record")]

    found = asked(made.owner, made.id, *filters, vector=asked_for)

    assert names(found) == expected
    assert all(0 <= one["query_score"] <= 1 for one in found["items"])


def test_likeness_and_text_are_searched_together(made: Made) -> None:
    found = asked(made.owner, made.id, text="payment", vector={"name": "meaning", "value": [0.0, 1.0]}, limit=1)

    assert names(found) == ["r1"]


def test_progress_counts_records_and_each_persons_answers(made: Made) -> None:
    progress = made.owner.get(f"/datasets/{made.id}/progress").json()
    mine = made.one.get(f"/me/datasets/{made.id}/metrics").json()["responses"]

    assert (progress["total"], progress["completed"], progress["pending"]) == (5, 1, 4)
    assert mine == {"total": 5, "submitted": 1, "discarded": 1, "draft": 1, "pending": 2}


def test_metadata_is_summed_up(made: Made) -> None:
    properties = made.owner.get(f"/me/datasets/{made.id}/metadata-properties").json()["items"]

    found = {one["name"]: made.owner.get(f"/metadata-properties/{one['id']}/metrics").json() for one in properties}

    assert found["主题"]["total"] == 6
    assert [(one["term"], one["count"]) for one in found["主题"]["values"]] == [
        ("billing", 3),
        ("cards", 2),
        ("accounts", 1),
    ]
    assert (found["turns"]["min"], found["turns"]["max"]) == (1, 4)
    assert (found["share"]["min"], found["share"]["max"]) == (-1.5, 120.0)


@pytest.mark.parametrize(
    "given",
    [between(record("inserted_at"), "yesterday"), between(metadata("turns"), "many"), between(STATUS, 1)],
)
def test_what_cannot_be_searched_for_is_said_and_is_no_crash(made: Made, given: dict[str, Any]) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        asked(made.owner, made.id, given)


def test_changes_are_found_at_once(review_server: ReviewServer) -> None:
    owner = review_server.client()
    dataset = made_dataset(owner, "changes")
    first = [{"external_id": str(n), "fields": {"text": f"refund {n}"}} for n in range(5)]
    ids = put_records(owner, dataset, first)

    put_records(owner, dataset, [{"external_id": "1", "fields": {"text": "退款"}}], upsert=True)
    owner.delete(f"/datasets/{dataset}/records", params={"ids": ids[0]}).raise_for_status()
    made = answer(owner, ids[2], {"verdict": "good"})
    answered = names(asked(owner, dataset, terms(STATUS, "submitted")))
    owner.delete(f"/responses/{made}").raise_for_status()

    assert names(asked(owner, dataset, text="退款")) == ["1"]
    assert sorted(names(asked(owner, dataset, text="refund"))) == ["2", "3", "4"]
    assert answered == ["2"]
    assert names(asked(owner, dataset, terms(STATUS, "submitted"))) == []
    assert asked(owner, dataset)["total"] == 4


def test_a_deleted_dataset_can_be_made_again(review_server: ReviewServer) -> None:
    owner = review_server.client()
    for text in ("refund", "退款"):
        dataset = made_dataset(owner, "again")
        put_records(owner, dataset, [{"external_id": "1", "fields": {"text": text}}])

        assert names(asked(owner, dataset, text=text)) == ["1"]

        owner.delete(f"/datasets/{dataset}").raise_for_status()


def test_two_thousand_records_are_searched_and_paged(review_server: ReviewServer) -> None:
    owner = review_server.client()
    dataset = made_dataset(owner, "many", metadata={"n": "integer"})
    rows = [
        {"fields": {"text": f"{'退款' if n % 3 else '物流'} number {n}"}, "metadata": {"n": n}} for n in range(2000)
    ]
    put_records(owner, dataset, [{"external_id": str(n), **row} for n, row in enumerate(rows)])

    found = asked(owner, dataset, text="退款", sort=[(metadata("n"), "desc")], limit=1000)

    assert found["total"] == 1333
    assert names(found) == [str(n) for n in range(1999, -1, -1) if n % 3][:1000]
    assert names(asked(owner, dataset, text="number 1234")) == ["1234"]
    assert asked(owner, dataset, between(metadata("n"), 500, 999))["total"] == 500
