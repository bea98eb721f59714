"""Which seed is tried when."""

from __future__ import annotations

from synth.choosing import PILOT, Choice
from synth.recipe import JobSettings


def chosen(choice: Choice, kept: dict[int, int] | int = 1, useless: tuple[int, ...] = ()) -> list[tuple[int, int]]:
    """All tries, where each keeps so many rows; a mapping says it for each seed."""
    found = []
    while (batch := choice.batch()) is not None:
        for place, number in batch:
            found.append((place, number))
            rows = kept if isinstance(kept, int) else kept.get(place, 0)
            choice.tell(place, rows, usable=place not in useless)
    return found


def test_each_seed_is_tried_as_often_as_is_said() -> None:
    found = chosen(Choice(JobSettings(per_seed=2), 3), kept=0)

    assert found == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]


def test_there_are_no_more_tries_than_it_takes() -> None:
    choice = Choice(JobSettings(rows=1_000), 5_000)

    found = chosen(choice, kept=3)

    assert choice.kept >= 1_000
    assert len(found) < 1_000 / 3 + PILOT
    assert len({place for place, _ in found}) == len(found)


def test_the_order_is_the_same_each_time_and_another_with_another_seed() -> None:
    one = chosen(Choice(JobSettings(rows=50), 500))

    assert chosen(Choice(JobSettings(rows=50), 500)) == one
    assert chosen(Choice(JobSettings(rows=50, seed=1), 500)) != one


def test_seeds_of_which_nothing_came_are_tried_again_first_but_not_for_ever() -> None:
    found = chosen(Choice(JobSettings(rows=100), 10), kept=dict.fromkeys(range(9), 1))

    tries = [sum(place == one for place, _ in found) for one in range(10)]
    assert max(tries[:9]) - min(tries[:9]) <= 1
    assert tries[9] <= 4 * max(tries[:9])


def test_numbers_of_a_seed_are_never_repeated() -> None:
    found = chosen(Choice(JobSettings(rows=100), 7), kept={place: place % 2 for place in range(7)})

    assert len(set(found)) == len(found)


def test_a_job_of_which_nothing_comes_ends_soon_unless_more_tries_are_asked_for() -> None:
    assert len(chosen(Choice(JobSettings(rows=10_000), 10_000), kept=0)) == PILOT
    assert len(chosen(Choice(JobSettings(rows=10_000, tries=2_000), 10_000), kept=0)) == 2_000


def test_a_seed_that_cannot_be_used_is_tried_once() -> None:
    found = chosen(Choice(JobSettings(rows=30), 4), kept={1: 1, 2: 1, 3: 1}, useless=(0,))

    assert sum(place == 0 for place, _ in found) == 1
