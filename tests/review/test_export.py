"""Answers become rows: whom each rule believes, what is dropped and why, and whose words are in them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from review.agreement import agreement
from review.export import Terms, capped, export
from review.votes import read_votes
from schemas.dataset import Dataset, open_dataset, problems
from schemas.errors import UserError
from tests.review.made import asked_of, book_push, candidates, chat, choose, fixed_key, labelled, pairs, write_dataset
from tests.review.test_agreement import names_in, simulated


def rows_of(folder: Path) -> list[dict[str, Any]]:
    dataset: Dataset = open_dataset(folder)
    assert list(problems(folder)) == []
    return [row for frame in dataset.batches() for row in frame.iter_rows(named=True)]


def dropped_of(folder: Path) -> Counter[str]:
    return Counter(reason for frame in open_dataset(folder).dropped() for reason in frame["reason"])


def judged(tmp_path: Path, *verdicts: Mapping[str, Mapping[str, Any]]) -> Path:
    """Labels on one pair for each of `verdicts`, {person: values}; a place for `better` stands for left or right."""
    dataset = write_dataset(tmp_path / "d", "preference", pairs(len(verdicts)))
    people = sorted({person for one in verdicts for person in one})
    book_push(tmp_path / "home", dataset, "pairs", *people, name="r", overlap=1)
    asked = {one.row_id: one for one in asked_of(tmp_path / "home", "r")}
    said = {}
    for row, one in zip(rows_of(dataset), verdicts, strict=True):
        for person, values in one.items():
            better = values["better"]
            clicked = choose(asked[row["id"]], better) if isinstance(better, int) else better
            said[asked[row["id"]].id, person] = {**values, "better": clicked}
    return labelled(tmp_path / "home", "r", tmp_path / "labels", said)[0]


def right(folder: Path) -> float:
    """Share of exported pairs whose chosen answer is the good one."""
    rows = rows_of(folder)
    good = [row["chosen"][0]["content"].startswith("good") for row in rows]
    return float(sum(good) / len(good))


def test_taking_out_a_biased_person_moves_the_export_the_right_way(tmp_path: Path) -> None:
    labels = simulated(tmp_path, lefty=0.95)
    lefty = names_in(tmp_path)["e"]
    share = {}

    for rule in ("majority", "dawid_skene", "bradley_terry"):
        export(labels, tmp_path / rule, Terms("preference", rule))
        share[rule] = right(tmp_path / rule)
    export(labels, tmp_path / "without", Terms("preference", without=(lefty,)))
    share["without"] = right(tmp_path / "without")

    assert share["without"] > share["majority"] + 0.02
    assert share["bradley_terry"] > share["majority"] + 0.02
    assert share["dawid_skene"] > share["majority"]


def test_a_pull_of_place_that_everybody_has_is_taken_out(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(200))
    fixed_key(tmp_path / "home")
    book_push(tmp_path / "home", dataset, "pairs", "a", "b", "c", name="r", overlap=1)
    said: dict[tuple[str, str], dict[str, Any]] = {}
    # Each sees a different two thirds; all prefer what stands left unless they are sure of the good answer.
    for number, one in enumerate(asked_of(tmp_path / "home", "r")):
        for person in itertools.islice(itertools.cycle("abc"), number % 3, number % 3 + 2):
            sure = (number * 7 + ord(person)) % 10 < 5
            said[one.id, person] = {"better": choose(one, 0) if sure else "left"}
    labels, _ = labelled(tmp_path / "home", "r", tmp_path / "labels", said)

    found = agreement(read_votes(labels), resamples=50)
    export(labels, tmp_path / "majority", Terms("preference", ties="soft"))
    export(labels, tmp_path / "model", Terms("preference", "bradley_terry", ties="soft"))

    assert found["position_effect"]["low"] > 0.6
    assert found["position_effect"]["odds"]["low"] > 1.2
    assert "position_effect" in {one["kind"] for one in found["findings"]}
    assert right(tmp_path / "model") >= right(tmp_path / "majority")
    soft = [orjson.loads(row["extra"])["review"]["soft"] for row in rows_of(tmp_path / "model")]
    assert min(soft) > 0.5 and max(soft) < 0.97  # two votes make no certainty


@pytest.mark.parametrize(
    ("ties", "kept", "dropped"),
    [("drop", 1, {"tie": 3}), ("soft", 2, {"undecided": 2}), ("keep", 4, {})],
)
def test_ties_are_handled_as_asked(tmp_path: Path, ties: str, kept: int, dropped: dict[str, int]) -> None:
    labels = judged(
        tmp_path,
        {"a": {"better": 1}, "b": {"better": 1}},
        {"a": {"better": 1}, "b": {"better": "tie"}},
        {"a": {"better": "tie"}, "b": {"better": "tie"}},
        {"a": {"better": 0}, "b": {"better": 1}},
    )

    found = export(labels, tmp_path / "out", Terms("preference", ties=ties))

    rows = rows_of(tmp_path / "out")
    assert (found["rows_in"], found["rows_out"], found["dropped"]) == (4, kept, dropped)
    assert dropped_of(tmp_path / "out") == dropped
    assert rows[0]["chosen"][0]["content"].startswith("bad")
    assert (rows[0]["raters"], rows[0]["agreement"]) == (2, 1.0)
    if ties == "soft":
        assert orjson.loads(rows[1]["extra"])["review"]["soft"] == 0.25 + 0.5
        assert rows[1]["weight"] == 0.5
    if ties == "keep":
        assert [orjson.loads(row["extra"])["review"]["soft"] for row in rows[2:]] == [0.5, 0.5]
        assert rows[3]["margin"] == 0.0


def test_what_is_said_about_margins_and_disagreement_is_kept(tmp_path: Path) -> None:
    labels = judged(
        tmp_path,
        {
            "a": {"better": 1, "margin": "3"},
            "b": {"better": 1, "margin": "1"},
            "c": {"better": 0, "margin": "1"},
        },
    )

    export(labels, tmp_path / "out", Terms("preference"))

    (row,) = rows_of(tmp_path / "out")
    told = orjson.loads(row["extra"])["review"]
    assert row["margin"] == pytest.approx(1.0)
    assert row["agreement"] == pytest.approx(2 / 3)
    assert told["votes"] == {"0": 1, "1": 2}
    assert told["disagreement"] == pytest.approx(2 / 3)
    assert told["soft"] == pytest.approx(2 / 3)


def test_an_edited_answer_is_chosen_and_becomes_a_conversation(tmp_path: Path) -> None:
    labels = judged(
        tmp_path,
        {"a": {"better": 0, "edited": "better yet"}, "b": {"better": 1, "edited": "of one who was outvoted"},
         "c": {"better": 0}},
        {"a": {"better": "both_bad"}, "b": {"better": "both_bad", "edited": "the only good one"}},
        {"a": {"better": "both_bad"}, "b": {"better": "both_bad"}},
        {"a": {"better": "tie"}, "b": {"better": "tie"}},
    )  # fmt: skip

    export(labels, tmp_path / "pairs", Terms("preference", both_bad="edit"))
    export(labels, tmp_path / "chats", Terms("sft", both_bad="edit"))
    export(labels, tmp_path / "strict", Terms("preference", both_bad="drop"))

    chosen = [(row["chosen"][0]["content"], row["rejected"][0]["content"][:3]) for row in rows_of(tmp_path / "pairs")]
    assert chosen == [("better yet", "bad"), ("the only good one", "bad")]
    assert dropped_of(tmp_path / "pairs") == {"both_bad": 1, "tie": 1}
    assert [row["messages"][-1]["content"] for row in rows_of(tmp_path / "chats")] == [
        "better yet",
        "the only good one",
    ]
    assert dropped_of(tmp_path / "strict") == {"both_bad": 2, "tie": 1}


def test_an_edit_may_hold_personal_data_whatever_the_source_held(tmp_path: Path) -> None:
    labels = judged(tmp_path, {"a": {"better": 0, "edited": "call 13800138000"}}, {"a": {"better": 0}})

    export(labels, tmp_path / "out", Terms("preference"))

    manifest = open_dataset(tmp_path / "out").manifest
    assert {name: one.personal_data for name, one in manifest.sources.items()} == {
        "made": "none",
        "made, edited in review r": "unknown",
    }


def test_nobodys_name_is_in_labels_or_exports(tmp_path: Path) -> None:
    labels = judged(tmp_path, {"Xiaoming-Canary": {"better": 0, "edited": "e"}, "Bo-Canary": {"better": 0}})

    export(labels, tmp_path / "out", Terms("preference"))

    for folder in (labels, tmp_path / "out"):
        held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        text = str([frame.to_dicts() for frame in open_dataset(folder).batches()])
        assert b"Canary" not in held and "Canary" not in text


def test_a_persons_weight_stays_under_the_cap() -> None:
    answers = {"a": 900, "b": 60, "c": 40, "d": 30}

    weights = capped(answers, 0.4)

    votes = {person: weights[person] * count for person, count in answers.items()}
    assert max(votes.values()) <= 0.4 * sum(votes.values()) + 1e-9
    assert weights["b"] == weights["c"] == weights["d"] == 1.0
    assert votes["a"] == pytest.approx(130 * 0.4 / 0.6)


@pytest.mark.parametrize("cap", [0.26, 0.3, 0.35, 0.5, 0.9, 1.0])
def test_no_share_is_over_any_cap_that_can_be_kept(cap: float) -> None:
    for answers in ({"a": 1000, "b": 500, "c": 3, "d": 1}, {"a": 5, "b": 5, "c": 5, "d": 5}):
        weights = capped(answers, cap)

        votes = [weights[person] * count for person, count in answers.items()]
        assert max(votes) <= cap * sum(votes) + 1e-6
        assert all(0 < weight <= 1 + 1e-12 for weight in weights.values())


def test_a_cap_that_so_few_people_cannot_keep_is_a_mistake() -> None:
    with pytest.raises(UserError, match="2 people cannot each weigh 40%"):
        capped({"a": 5, "b": 5}, 0.4)


def test_the_cap_keeps_one_busy_person_from_deciding_alone(tmp_path: Path) -> None:
    both = {"a": {"better": 0}, "b": {"better": 0}}
    labels = judged(tmp_path, *[{"busy": {"better": 1}, **both}] * 3, *[{"busy": {"better": 1}}] * 9)

    export(labels, tmp_path / "free", Terms("preference"))
    found = export(labels, tmp_path / "capped", Terms("preference", person_cap=0.4))

    busy = max(found["weights"].values()), min(found["weights"].values())
    assert busy == (1.0, pytest.approx(4 / 12, abs=1e-3))


def test_pairs_of_several_answers_and_rankings_become_pairs(tmp_path: Path) -> None:
    rows = [candidates(f"q{n}", "worst", "middle", "best") for n in range(3)]
    dataset = write_dataset(tmp_path / "d", "candidates", rows)
    book_push(tmp_path / "home", dataset, "ranking", "a", "b", name="r")
    said = {}
    for one in asked_of(tmp_path / "home", "r"):
        ranks = [{"value": f"answer_{place + 1}", "rank": 3 - answer} for place, answer in enumerate(one.shown)]
        said.update({(one.id, person): {"ranking": ranks} for person in "ab"})
    labels, _ = labelled(tmp_path / "home", "r", tmp_path / "l", said)

    for rule in ("majority", "bradley_terry"):
        export(labels, tmp_path / rule, Terms("preference", rule))
        made = rows_of(tmp_path / rule)
        assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in made] == [("best", "worst")] * 3
        assert {tuple(row["parents"]) for row in made} == {(row["id"],) for row in rows_of(dataset)}
    assert agreement(read_votes(labels), resamples=20)["alpha"]["order"]["value"] == 1.0


def test_rows_are_accepted_fixed_or_dropped(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "chat", [chat(f"q{n}", f"a{n}") for n in range(5)])
    book_push(tmp_path / "home", dataset, "accept", "a", "b", name="r")
    asked = {one.row_id: one.id for one in asked_of(tmp_path / "home", "r")}
    ids = [asked[row["id"]] for row in rows_of(dataset)]
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for person in "ab":
        said[ids[0], person] = {"decision": "keep", "reasons": []}
        said[ids[1], person] = {"decision": "fix", "edited": "fixed", "reasons": ["wrong"]}
        said[ids[2], person] = {"decision": "fix"}
        said[ids[3], person] = {"decision": "drop", "reasons": ["unsafe", "wrong"]}
    said[ids[4], "a"], said[ids[4], "b"] = {"decision": "keep"}, {"decision": "drop"}
    labels, _ = labelled(tmp_path / "home", "r", tmp_path / "l", said)

    export(labels, tmp_path / "out", Terms("sft"))

    rows = rows_of(tmp_path / "out")
    assert [row["messages"][-1]["content"] for row in rows] == ["a0", "fixed"]
    assert [row["id"] for row in rows] == [row["id"] for row in rows_of(dataset)][:2]
    assert dropped_of(tmp_path / "out") == {"fix_without_edit": 1, "dropped_by_people": 1, "undecided": 1}
    found = agreement(read_votes(labels), resamples=20)
    assert {"decision", "reasons"} <= found["alpha"].keys()
    assert len(found["third_opinion"]) == 1


def test_an_edit_of_somebody_who_was_outvoted_mends_nothing(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "chat", [chat(f"q{n}", f"a{n}") for n in range(3)])
    book_push(tmp_path / "home", dataset, "accept", "a", "b", "c", name="r", overlap=3)
    asked = {one.row_id: one.id for one in asked_of(tmp_path / "home", "r")}
    kept, fixed, dropped = (asked[row["id"]] for row in rows_of(dataset))
    out = {"decision": "fix", "edited": "of one who was outvoted"}
    said: dict[tuple[str, str], dict[str, Any]] = {
        (kept, "a"): out, (kept, "b"): {"decision": "keep"}, (kept, "c"): {"decision": "keep"},
        (fixed, "a"): out | {"decision": "drop"}, (fixed, "b"): {"decision": "fix", "edited": "fixed"},
        (fixed, "c"): {"decision": "fix"},
        (dropped, "a"): out | {"decision": "keep"}, (dropped, "b"): {"decision": "fix"},
        (dropped, "c"): {"decision": "fix"},
    }  # fmt: skip
    labels, _ = labelled(tmp_path / "home", "r", tmp_path / "l", said)

    found = export(labels, tmp_path / "out", Terms("sft"))

    rows = rows_of(tmp_path / "out")
    assert [row["messages"][-1]["content"] for row in rows] == ["a0", "fixed"]
    assert [row["source"] for row in rows] == ["made", "made, edited in review r"]
    assert found["edited"] == 1
    assert dropped_of(tmp_path / "out") == {"fix_without_edit": 1}


def test_plain_texts_stay_plain_texts(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "text", [{"text": "one"}, {"text": "two"}])
    book_push(tmp_path / "home", dataset, "accept", "a", name="r", overlap=1)
    said = {(one.id, "a"): {"decision": "fix", "edited": "better"} for one in asked_of(tmp_path / "home", "r")}
    labels, _ = labelled(tmp_path / "home", "r", tmp_path / "l", said)

    found = export(labels, tmp_path / "out", Terms("sft"))

    assert found["kind"] == "text"
    assert [row["text"] for row in rows_of(tmp_path / "out")] == ["better", "better"]


def test_answers_that_are_rated_too_low_are_dropped_unless_somebody_mended_them(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "chat", [chat(f"q{n}", f"a{n}") for n in range(3)])
    book_push(tmp_path / "home", dataset, "answers", "a", "b", name="r")
    asked = {one.row_id: one.id for one in asked_of(tmp_path / "home", "r")}
    good, bad, mended = (asked[row["id"]] for row in rows_of(dataset))
    names = ("accurate", "relevant", "safe", "complete", "tone")
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for person, low in (("a", 1), ("b", 2)):
        said[good, person] = dict.fromkeys(names, 5)
        said[bad, person] = dict.fromkeys(names, 5) | {"accurate": low}
        said[mended, person] = dict.fromkeys(names, 2) | ({"edited": "mended"} if person == "a" else {})
    labels, _ = labelled(tmp_path / "home", "r", tmp_path / "l", said)

    export(labels, tmp_path / "out", Terms("sft"))

    assert [row["messages"][-1]["content"] for row in rows_of(tmp_path / "out")] == ["a0", "mended"]
    assert dropped_of(tmp_path / "out") == {"low_rating": 1}
    found = agreement(read_votes(labels), resamples=20)
    assert found["alpha"].keys() == set(names)


def test_gold_rows_of_another_dataset_are_not_exported(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(4))
    gold = write_dataset(tmp_path / "g", "preference", pairs(6)[4:])
    book_push(tmp_path / "home", dataset, "pairs", "a", name="r", overlap=1, gold=str(gold))
    said = {(one.id, "a"): {"better": choose(one, 0)} for one in asked_of(tmp_path / "home", "r")}
    labels, _ = labelled(tmp_path / "home", "r", tmp_path / "l", said)

    found = export(labels, tmp_path / "out", Terms("preference"))

    assert (found["rows_out"], found["elsewhere"]) == (4, 2)
    people = agreement(read_votes(labels), resamples=10)["people"]
    assert [one["gold"]["n"] for one in people.values()] == [2]


def test_exporting_again_does_nothing_and_another_rule_refuses(tmp_path: Path) -> None:
    labels = judged(tmp_path, {"a": {"better": 0}})
    first = export(labels, tmp_path / "out", Terms("preference"))

    again = export(labels, tmp_path / "out", Terms("preference"))

    assert again == first
    with pytest.raises(UserError, match="holds the result of another run"):
        export(labels, tmp_path / "out", Terms("preference", "dawid_skene"))


def test_a_dataset_that_was_made_anew_is_not_taken_for_the_one_reviewed(tmp_path: Path) -> None:
    import shutil

    labels = judged(tmp_path, {"a": {"better": 0}})
    shutil.rmtree(tmp_path / "d")
    write_dataset(tmp_path / "d", "preference", pairs(3))

    with pytest.raises(UserError, match="was made anew since its rows were reviewed"):
        export(labels, tmp_path / "out", Terms("preference"))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (Terms("dpo"), "--to 'dpo' is no choice"),
        (Terms("preference", "majorty"), "--rule 'majorty' is no choice"),
        (Terms("preference", ties="kep"), "--ties 'kep' is no choice"),
        (Terms("preference", person_cap=1.5), "--person-cap 1.5 is no share"),
        (Terms("preference", without=("p-1",)), "there is no person 'p-1'"),
        (Terms("preference", person_cap=0.2), "1 people cannot each weigh 20%"),
    ],
)
def test_terms_that_cannot_be_are_mistakes(tmp_path: Path, terms: Terms, said: str) -> None:
    labels = judged(tmp_path, {"a": {"better": 0}})

    with pytest.raises(UserError) as caught:
        export(labels, tmp_path / "out", terms)

    assert said in caught.value.message
    assert not (tmp_path / "out").exists()
