"""The journal: what is in it was paid for, and is never lost, doubled or paid for again."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import UserError
from synth.budget import Amount, Budget
from synth.journal import FILE, Journal
from synth.request import Answer

KEYS = [f"{number:064x}" for number in range(1, 2000)]
COST = Amount(100, 5000)


def buy(journal: Journal, key: str, text: str = "yes", job: str = "job") -> Answer:
    answer = Answer(key, text, finish_reason="stop", prompt_tokens=10, completion_tokens=20, model="m", id="i")
    assert journal.claim([(key, COST)], job, Budget()) == ["mine"]
    journal.answer([(answer, (10, 20), 1500)], job)
    return answer


def test_an_answer_comes_back_as_it_was(tmp_path: Path) -> None:
    calls = ({"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"城市": "上海"}'}},)
    answer = Answer(KEYS[0], "两行\n\u2028文字 \x00", calls, "stop", 10, 20, "m", "i", True, "想一想")
    with Journal(tmp_path) as journal:
        journal.answer([(answer, (10, 20), 1500)], "job")

    with Journal(tmp_path) as journal:
        found = journal.find(KEYS[0])

    assert found == answer


def test_what_a_job_spent_is_known_after_it_ended(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        buy(journal, KEYS[0])
        buy(journal, KEYS[1], job="another")
        journal.claim([(KEYS[2], COST)], "job", Budget())
        journal.lose(KEYS[2], "job")
        journal.claim([(KEYS[3], COST)], "job", Budget())
        journal.release(KEYS[3], "job")

    with Journal(tmp_path) as journal:
        spent = journal.spent("job")

    assert (spent.prompt_tokens, spent.completion_tokens, spent.money, spent.answers) == (10, 20, 1500, 1)
    assert (spent.uncertain, spent.uncertain_tokens, spent.uncertain_money) == (1, 100, 5000)
    assert (spent.reserved, spent.committed) == (0, Amount(130, 6500))


def test_a_budget_covers_what_is_reserved_and_what_is_uncertain(tmp_path: Path) -> None:
    budget = Budget(tokens=250)

    with Journal(tmp_path) as journal:
        first = journal.claim([(key, COST) for key in KEYS[:3]], "job", budget)
        journal.lose(KEYS[0], "job")
        second = journal.claim([(KEYS[2], COST)], "job", budget)
        journal.release(KEYS[1], "job")
        third = journal.claim([(KEYS[2], COST)], "job", budget)

    assert (first, second, third) == (["mine", "mine", "over"], ["over"], ["mine"])


def test_two_processes_at_once_buy_an_answer_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as one, Journal(tmp_path) as other:
        mine = one.claim([(KEYS[0], COST)], "job", Budget())
        waits = other.claim([(KEYS[0], COST)], "job", Budget())
        one.answer([(Answer(KEYS[0], "yes"), (1, 1), 0)], "job")
        there = other.claim([(KEYS[0], COST)], "job", Budget())
        found = other.find(KEYS[0])

    assert (mine, waits, there) == (["mine"], ["elsewhere"], ["answered"])
    assert found is not None and found.text == "yes"


def test_two_processes_at_once_share_one_budget(tmp_path: Path) -> None:
    budget = Budget(tokens=150)

    with Journal(tmp_path) as one, Journal(tmp_path) as other:
        said = one.claim([(KEYS[0], COST)], "job", budget) + other.claim([(KEYS[1], COST)], "job", budget)

    assert said == ["mine", "over"]


def test_the_claim_of_a_process_that_died_is_free_and_counts_as_spent(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from synth.journal import *; "
        "Journal(Path(sys.argv[1])).claim([(sys.argv[2], Amount(100, 5000))], 'job', Budget()); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path), KEYS[0]], check=False)

    with Journal(tmp_path) as journal:
        before = journal.spent("job").committed
        said = journal.claim([(KEYS[0], COST)], "job", Budget())
        spent = journal.spent("job")

    assert before == COST
    assert said == ["mine"]
    assert (spent.uncertain_tokens, spent.reserved_tokens) == (100, 100)


def test_a_claim_whose_answer_is_kept_elsewhere_is_taken_over_and_nothing_is_lost(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.claim([(KEYS[0], COST), (KEYS[1], COST)], "job", Budget())

    with Journal(tmp_path) as journal:
        journal.adopt([KEYS[0], KEYS[5]])
        said = journal.claim([(KEYS[0], COST), (KEYS[1], COST)], "job", Budget())
        spent = journal.spent("job")

    assert said == ["mine", "mine"]
    assert (spent.uncertain_tokens, spent.reserved_tokens) == (100, 200)


def test_the_claim_of_a_living_process_is_not_taken_over(tmp_path: Path) -> None:
    with Journal(tmp_path) as one, Journal(tmp_path) as other:
        one.claim([(KEYS[0], COST)], "job", Budget())
        other.adopt([KEYS[0]])

        assert other.claim([(KEYS[0], COST)], "job", Budget()) == ["elsewhere"]


@pytest.mark.parametrize("cut", [1, 2, 9, 40, 100, 150])
def test_a_torn_tail_is_cut_off_and_what_is_before_it_stays(tmp_path: Path, cut: int) -> None:
    with Journal(tmp_path) as journal:
        answers = [buy(journal, key) for key in KEYS[:3]]
    path = tmp_path / "synth" / FILE
    path.write_bytes(path.read_bytes()[:-cut])

    with Journal(tmp_path) as journal:
        found = [journal.find(key) for key in KEYS[:3]]
        journal.claim([(KEYS[5], COST)], "job", Budget())
        healed = journal.healed

    with Journal(tmp_path) as journal:
        again = [journal.find(key) for key in KEYS[:3]]
        damaged = journal.damaged
    # A tail that lacks only its line break is whole.
    assert found == again == [*answers[:2], answers[2] if cut == 1 else None]
    assert (healed, damaged) == (1, 0)


def test_a_flipped_bit_anywhere_is_noticed_and_costs_one_line_or_two(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        answers = {key: buy(journal, key, f"answer {key[-3:]} 答") for key in KEYS[:40]}
    path = tmp_path / "synth" / FILE
    whole = path.read_bytes()
    chance = random.Random(5)

    for _ in range(300):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with Journal(tmp_path) as journal:
            found = {key: journal.find(key) for key in answers}
            noticed = journal.damaged + journal.healed

        wrong = [key for key, answer in found.items() if answer not in (None, answers[key])]
        assert not wrong
        assert noticed
        assert sum(answer is None for answer in found.values()) <= 1


def test_a_bit_that_flips_while_the_journal_is_open_is_noticed(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        buy(journal, KEYS[0], "a plain answer")
        path = tmp_path / "synth" / FILE
        path.write_bytes(path.read_bytes().replace(b"plain", b"plane"))

        found = journal.find(KEYS[0])

    assert found is None
    assert journal.damaged == 1


def test_lines_of_other_programs_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "synth"
    folder.mkdir()
    (folder / FILE).write_bytes(b"hello\n\n\x00\xff\n" + b"x" * 100_000 + b"\n00000000 \n")

    with Journal(tmp_path) as journal:
        buy(journal, KEYS[0])
        found = journal.find(KEYS[0])

    assert found is not None
    assert journal.damaged == 5


def test_a_full_disk_leaves_a_whole_journal(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from synth.journal import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for number in range(100):
    try:
        journal.answer([(Answer(f"{number:064x}", "x" * 150), (1, 1), 0)], "job")
    except UserError as error:
        print(number, error.message)
        break
"""
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    written, _, message = ran.stdout.partition(" ")

    with Journal(tmp_path) as journal:
        held, damaged, healed = len(journal), journal.damaged, journal.healed

    assert "cannot be written" in message
    assert (held, damaged, healed) == (int(written), 0, 0)
    assert held > 2


def test_many_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from synth.journal import *\n"
        "with Journal(Path(sys.argv[1])) as journal:\n"
        "    for n in range(200):\n"
        "        key = f'{int(sys.argv[2]) * 150 + n:064x}'\n"
        "        if journal.claim([(key, Amount(1, 1))], 'job', Budget()) == ['mine']:\n"
        "            journal.answer([(Answer(key, 'x' * (n * 37 % 500)), (1, 1), 1)], 'job')\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(n)]) for n in range(4)]
    assert [process.wait() for process in processes] == [0] * 4

    with Journal(tmp_path) as journal:
        held, spent = len(journal), journal.spent("job")

    # Neighbours overlap by 50 keys; those are bought by whoever came first, and by none twice.
    assert (held, spent.answers, journal.damaged) == (650, 650, 0)
    assert spent.reserved == 0


def test_a_home_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")

    with pytest.raises(UserError, match="cannot be written"):
        Journal(tmp_path / "home")


def test_the_files_are_closed(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(5):
        with Journal(tmp_path) as journal:
            buy(journal, f"{random.getrandbits(200):064x}")

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not list((tmp_path / "synth" / "owners").iterdir())
