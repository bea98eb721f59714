"""How far answers can be trusted: against reference libraries, published figures and planted faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import choix
import krippendorff
import numpy as np
import orjson
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene

from review.agreement import _alpha, agreement, alpha, share_of, unsided, wilson, write_report, write_third
from review.asked import Asked, Review
from review.bradley_terry import fit
from review.dawid_skene import estimate
from review.votes import Unit, Vote, read_votes
from schemas.errors import UserError
from tests.review.made import (
    asked_of,
    book_push,
    candidates,
    chat,
    choose,
    coin,
    fixed_key,
    labelled,
    pairs,
    write_dataset,
)

# K. Krippendorff, Computing Krippendorff's alpha-reliability (2011), the example with three observers.
OBSERVERS = [
    "* * * * * 3 4 1 2 1 1 3 3 * 3",
    "1 * 2 1 3 3 4 3 * * * * * * *",
    "* * 2 1 3 4 4 * 2 1 1 3 3 * 4",
]


def vote(unit: str, person: str, value: Any) -> Vote:
    return Vote(Unit(unit, "", (0, 1)), person, value, (0, 1), (9, 9), unit, None, False, 1, None, None, None)


def published() -> list[Vote]:
    return [
        vote(str(unit), str(person), int(value))
        for person, line in enumerate(OBSERVERS)
        for unit, value in enumerate(line.split())
        if value != "*"
    ]


def test_alpha_is_the_published_one() -> None:
    found = alpha(published(), "nominal", resamples=200)

    assert found["value"] == pytest.approx(0.691, abs=5e-4)
    assert found["low"] < found["value"] < found["high"]
    assert found["units"] == 12


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
def test_the_alpha_that_is_resampled_is_the_librarys(level: Any) -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(3, [0.5, 0.2, 0.2, 0.1], size=200).astype(float)
    spread = (counts[:, :, None] * counts[:, None, :] - np.eye(4) * counts[:, :, None]) / 2

    ours = _alpha(spread.sum(axis=0), level)
    theirs = krippendorff.alpha(value_counts=counts, value_domain=np.arange(4), level_of_measurement=level)

    assert ours == pytest.approx(theirs, abs=1e-9)


def test_people_who_choose_by_chance_agree_by_chance_however_many_answers_rows_have() -> None:
    rng = np.random.default_rng(5)
    chosen = [tuple(sorted(int(one) for one in rng.choice(6, 2, replace=False))) for _ in range(2_000)]
    votes = [
        Vote(
            Unit(str(row), "", pair),
            who,
            pair[rng.integers(2)],
            pair,
            (9, 9),
            str(row),
            None,
            False,
            1,
            None,
            None,
            None,
        )
        for row, pair in enumerate(chosen)
        for who in ("anna", "bo")
    ]

    found = alpha(unsided("better", votes), "nominal", resamples=200)

    assert found["low"] < 0 < found["high"]


def test_how_much_better_an_answer_is_stays_what_it_was_whichever_stands_first() -> None:
    votes = [vote(str(unit), who, value) for unit, value in enumerate((-3, -1, 0, 1, 2) * 8) for who in ("anna", "bo")]

    turned = unsided("strength", votes)

    assert [abs(one.value) for one in turned] == [abs(one.value) for one in votes]
    assert {one.value for one in turned if abs(one.value) == 1} == {-1, 1}
    assert all(anna.value == bo.value for anna, bo in zip(turned[::2], turned[1::2], strict=True))


def test_alpha_is_not_defined_where_everybody_says_the_same() -> None:
    found = alpha([vote("a", "x", 1), vote("a", "y", 1)], "nominal")

    assert found == {"value": None, "low": None, "high": None, "units": 1}


def test_bradley_terry_agrees_with_choix() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 30, size=(2, 900))
    first, second = first[first != second], second[first != second]
    chances = 1 / (1 + np.exp(-(first - second) / 10))
    won = (rng.random(len(first)) < chances).astype(float)
    data = [(a, b) if win else (b, a) for a, b, win in zip(first, second, won, strict=True)]

    ours = fit(30, first, second, won, penalty=0.01).strengths
    theirs = choix.opt_pairwise(30, data, alpha=0.01, method="BFGS", tol=1e-9)

    assert np.abs(ours - theirs).max() < 1e-6


def test_an_order_effect_is_fitted_as_a_published_method_says() -> None:
    # With one pair and an order effect the optimum has a closed form: log-odds of winning on the left and on the right.
    first, second = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])
    won, times = np.array([1.0, 0.0, 1.0, 0.0]), np.array([60.0, 40.0, 70.0, 30.0])

    found = fit(2, first, second, won, penalty=1e-9, design=np.ones((4, 1)), term_penalties=np.zeros(1), weights=times)

    a_left, b_left = np.log(60 / 40), np.log(70 / 30)
    assert found.terms[0] == pytest.approx((a_left + b_left) / 2, abs=1e-6)
    assert found.strengths[0] - found.strengths[1] == pytest.approx((a_left - b_left) / 2, abs=1e-6)


def test_dawid_skene_agrees_with_crowd_kit() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 120)
    units, people, values = [], [], []
    for unit, true in enumerate(truth):
        for person in rng.choice(6, 4, replace=False):
            units.append(unit)
            people.append(person)
            values.append(true if rng.random() < 0.5 + 0.08 * person else rng.integers(0, 3))
    table = pd.DataFrame({"task": units, "worker": people, "label": values})

    ours = estimate(np.array(units), np.array(people), np.array(values), (120, 6, 3), smoothing=0.0, tolerance=1e-12)
    theirs = DawidSkene(n_iter=200, tol=1e-12).fit_predict_proba(table)

    assert np.abs(ours.chances - theirs.sort_index()[[0, 1, 2]].to_numpy()).max() < 1e-6


def test_wilsons_interval_is_the_published_one() -> None:
    # R. G. Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3.
    low, high = wilson(81, 263)

    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert share_of(0, 0) == {"value": None, "low": None, "high": None, "n": 0}


def simulated(tmp_path: Path, *, rows: int = 300, lefty: float = 0.0, random_person: bool = False) -> Path:
    """Labels of five people with overlap two: the chosen answer is better, and people see that in 85 of 100 cases.
    `e` prefers what stands left in a share `lefty` of cases, or clicks at random."""
    dataset = write_dataset(tmp_path / "d", "preference", pairs(rows))
    people = ["a", "b", "c", "d", "e"]
    fixed_key(tmp_path / "home")
    found, _ = book_push(tmp_path / "home", dataset, "pairs", *people, name="r", gold="0.2", repeat=0.2, overlap=3)
    assigned = Review(tmp_path / "home", "r").assigned()
    said = {}
    for one in asked_of(tmp_path / "home", "r"):
        for person in assigned[one.id]:
            better = choose(one, 0 if coin(one.row_id, person, "sees") < 0.85 else 1)
            if person == "e" and coin(one.id, "left") < lefty:
                better = "left"
            if person == "e" and random_person:
                better = "left" if coin(one.id, "at random") < 0.5 else "right"
            said[one.id, person] = {"better": better, "margin": "2"}
    assert found["asked"] == len(assigned)
    out, names = labelled(tmp_path / "home", "r", tmp_path / "labels", said)
    (tmp_path / "names.json").write_bytes(orjson.dumps(names))
    return out


def names_in(tmp_path: Path) -> dict[str, str]:
    found: dict[str, str] = orjson.loads((tmp_path / "names.json").read_bytes())
    return found


def test_careful_people_are_not_flagged(tmp_path: Path) -> None:
    found = agreement(read_votes(simulated(tmp_path)), resamples=200)

    assert {person: one["flags"] for person, one in found["people"].items() if one["flags"]} == {}
    assert found["position_effect"]["low"] < 0.5 < found["position_effect"]["high"]
    assert found["alpha"].keys() == {"better", "strength"}
    assert found["pairwise"]["better"]["value"] == pytest.approx(0.85**2 + 0.15**2, abs=0.06)
    assert all(0.7 < one["gold"]["value"] < 0.97 for one in found["people"].values())


def test_a_person_who_chooses_by_place_is_found(tmp_path: Path) -> None:
    found = agreement(read_votes(simulated(tmp_path, lefty=0.9)), resamples=200)

    lefty = names_in(tmp_path)["e"]
    flagged = {person for person, one in found["people"].items() if "position" in one["flags"]}
    assert flagged == {lefty}
    bias = {person: one["bias"]["position"]["low"] for person, one in found["people"].items()}
    assert bias[lefty] > 2 > max(low for person, low in bias.items() if person != lefty)
    assert "self_consistency" in found["people"][lefty]["flags"]
    assert {"person_position", "position_effect"} <= {one["kind"] for one in found["findings"]}


def test_a_person_who_clicks_at_random_is_found(tmp_path: Path) -> None:
    found = agreement(read_votes(simulated(tmp_path, random_person=True)), resamples=200)

    clicker = names_in(tmp_path)["e"]
    flagged = {person for person, one in found["people"].items() if one["flags"]}
    assert flagged == {clicker}
    assert {"gold", "disagrees"} <= set(found["people"][clicker]["flags"])


def test_what_has_no_majority_is_listed_and_written_for_the_next_push(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(2))
    book_push(tmp_path / "home", dataset, "pairs", "a", "b", name="r")
    one, two = asked_of(tmp_path / "home", "r")
    said = {(one.id, "a"): "left", (one.id, "b"): "right", (two.id, "a"): "tie", (two.id, "b"): "tie"}
    out, _ = labelled(tmp_path / "home", "r", tmp_path / "l", {key: {"better": value} for key, value in said.items()})

    found = agreement(read_votes(out), resamples=10)
    write_third(found, tmp_path / "third.jsonl")

    assert found["third_opinion"] == [
        {"row_id": one.row_id, "answers": [0, 1], "votes": {"0": 1, "1": 1}, "same_people": False}
    ]
    assert orjson.loads((tmp_path / "third.jsonl").read_bytes())["row_id"] == one.row_id


def ranked(asked: Asked, *order: int) -> dict[str, Any]:
    """What a person says who puts the answers at these places of the row in this order, best first."""
    given = [{"value": f"answer_{n + 1}", "rank": order.index(place) + 1} for n, place in enumerate(asked.shown)]
    return {"ranking": given}


def test_a_ranking_without_a_majority_is_listed_once_and_can_be_pushed_again(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "candidates", [candidates(f"q{n}", "x", "y", "z") for n in range(2)])
    home = tmp_path / "home"
    book_push(home, dataset, "ranking", "a", "b", name="r")
    one, two = asked_of(home, "r")
    said = {
        (one.id, "a"): ranked(one, 0, 1, 2),
        (one.id, "b"): ranked(one, 2, 1, 0),
        (two.id, "a"): ranked(two, 0, 1, 2),
        (two.id, "b"): ranked(two, 0, 1, 2),
    }
    out, _ = labelled(home, "r", tmp_path / "l", said)

    found = agreement(read_votes(out), resamples=10)
    write_third(found, tmp_path / "third.jsonl")
    again, _ = book_push(home, dataset, "ranking", "c", name="r", only=tmp_path / "third.jsonl")

    assert (found["answers"], found["units"], found["alpha"]["order"]["units"]) == (4, 2, 6)
    (third,) = found["third_opinion"]
    assert (third["row_id"], third["answers"]) == (one.row_id, [0, 1, 2])
    assert third["votes"] == {"0>1": 1, "1>0": 1, "0>2": 1, "2>0": 1, "1>2": 1, "2>1": 1}
    assert (again["new"], again["left_out"]) == (1, {})
    assert [other.row_id for other in asked_of(home, "r") if other.again] == [one.row_id]


def test_a_third_ranking_decides(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "candidates", [candidates("q", "x", "y", "z")])
    book_push(tmp_path / "home", dataset, "ranking", "a", "b", "c", name="r", overlap=3)
    (one,) = asked_of(tmp_path / "home", "r")
    said = {
        (one.id, "a"): ranked(one, 0, 1, 2),
        (one.id, "b"): ranked(one, 1, 0, 2),
        (one.id, "c"): ranked(one, 0, 2, 1),
    }
    out, _ = labelled(tmp_path / "home", "r", tmp_path / "l", said)

    assert agreement(read_votes(out), resamples=10)["third_opinion"] == []


def test_ratings_that_differ_want_no_third_opinion(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "chat", [chat("q", "a")])
    book_push(tmp_path / "home", dataset, "answers", "a", "b", name="r")
    (one,) = asked_of(tmp_path / "home", "r")
    points = ("accurate", "relevant", "safe", "complete", "tone")
    out, _ = labelled(
        tmp_path / "home",
        "r",
        tmp_path / "l",
        {(one.id, who): dict.fromkeys(points, n) for who, n in (("a", 4), ("b", 5))},
    )

    found = agreement(read_votes(out), resamples=10)

    assert found["third_opinion"] == []
    assert "third_opinion" not in {one["kind"] for one in found["findings"]}


@pytest.mark.parametrize(("who", "same", "left"), [("ab", True, 1), ("ac", False, 0), ("acd", False, 1)])
def test_third_opinions_of_those_who_had_answered_before_are_said_to_decide_nothing(
    tmp_path: Path, who: str, same: bool, left: int
) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(1)), tmp_path / "home"
    book_push(home, dataset, "pairs", "a", "b", name="r")
    (one,) = asked_of(home, "r")
    (tmp_path / "only").write_text(one.row_id)
    book_push(home, dataset, "pairs", "c", name="r", only=tmp_path / "only")
    again = asked_of(home, "r")[-1]
    said = {(one.id, "a"): {"better": choose(one, 0)}, (one.id, "b"): {"better": choose(one, 1)}}
    for place, person in enumerate(who):  # as on a server, where anybody may answer
        said[again.id, person] = {"better": choose(again, max(0, place - 1))}
    out, _ = labelled(home, "r", tmp_path / "l", said)

    found = agreement(read_votes(out), resamples=10)

    assert [one["same_people"] for one in found["third_opinion"]] == [same] * left
    kinds = {one["kind"]: one for one in found["findings"]}
    assert ("same_people_again" in kinds) is same
    assert not same or "add an annotator" in kinds["same_people_again"]["fix"]


def test_the_page_says_the_same_in_both_languages_and_names_nobody(tmp_path: Path) -> None:
    reviewed = read_votes(simulated(tmp_path, rows=60, lefty=0.9))
    found = agreement(reviewed, resamples=50)

    write_report(found, reviewed, tmp_path / "page.html")

    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Bradley–Terry" in page and "人员" in page
    assert all(person in page for person in found["people"])
    assert "<script" not in page


def test_a_report_in_the_place_of_a_folder_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--third .* is a folder"):
        write_third({"third_opinion": []}, tmp_path)


def test_labels_that_are_no_reviews_are_a_mistake(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(2))

    with pytest.raises(UserError, match="holds no labels of a review"):
        read_votes(dataset)
