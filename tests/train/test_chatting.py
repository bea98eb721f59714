"""Talking to base and tuned, and what of their words reaches a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from schemas.errors import UserError
from tests.train.small import ROOT, chat_dataset, questions, tiny_model, train_with
from train.chatting import Sampling, Talk
from train.cli import app
from train.served_pages import _lines
from train.trained import open_trained

train = partial(train_with, "sft")
HI = [{"role": "user", "content": "What is question number 4?"}]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_dataset(tmp_path_factory.mktemp("data") / "chat", questions(20)).folder


@pytest.fixture(scope="module")
def adapter(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapters") / "adapter"
    return train(model, data, out, max_steps=6, learning_rate=5e-2).folder


def talk(folder: Path, **settings: Any) -> Talk:
    known, _ = open_trained(str(folder))
    return Talk(known, Sampling(**{"max_new_tokens": 12, **settings}))


def greedy(model: Any, ids: torch.Tensor, count: int) -> list[int]:
    """The likeliest tokens, one after the other, until the end of turn."""
    found: list[int] = []
    with torch.no_grad():
        while len(found) < count:
            found.append(int(model(torch.cat([ids, torch.tensor([found], dtype=ids.dtype)], 1)).logits[0, -1].argmax()))
            if found[-1] == model.config.eos_token_id:
                break
    return found


@pytest.mark.parametrize(("name", "rate"), [("lora", 0.05), ("prompt_tuning", 1.0), ("bottleneck", 0.05)])
def test_each_side_says_what_it_is_likeliest_to_say(name: str, rate: float, data: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = tiny_model(tmp_path / "model", tie_word_embeddings=False)
    adapter = train(model, data, tmp_path / "adapter", adapter=name, max_steps=8, learning_rate=rate).folder
    tokenizer = AutoTokenizer.from_pretrained(model)
    text = tokenizer.apply_chat_template(HI, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    one = talk(adapter)

    said = {side: one.answer(side, HI) for side in one.sides}

    alone = tokenizer.decode(greedy(base, ids, 12), skip_special_tokens=True)
    together = tokenizer.decode(
        greedy(PeftModel.from_pretrained(base, adapter).eval(), ids, 12), skip_special_tokens=True
    )
    assert (said["base"].text, said["tuned"].text) == (alone, together)
    assert alone != together


def test_an_answer_is_told_as_it_is_written(adapter: Path) -> None:
    pieces: list[str] = []
    one = talk(adapter)

    answer = one.answer("base", HI, pieces.append)

    assert "".join(pieces) == answer.text
    assert (answer.tokens, answer.ended) == (12, False)


def test_chance_is_the_same_again_for_a_seed(adapter: Path) -> None:
    one, other = talk(adapter, temperature=1.5, seed=3), talk(adapter, temperature=1.5, seed=4)

    first = [one.answer("tuned", HI).text for _ in range(2)]

    assert first[0] == first[1]
    assert first[0] != other.answer("tuned", HI).text


def test_a_model_has_one_side_and_its_end_of_turn_ends_it(model: Path) -> None:
    one = talk(model)
    one.known = type(one.known)(**{**vars(one.known), "stops": tuple(range(200))})

    answer = one.answer("tuned", HI)

    assert one.sides == ("tuned",)
    assert answer.ended


def test_a_conversation_longer_than_the_model_reads_is_refused(model: Path) -> None:
    with pytest.raises(UserError, match="more than the 512 that the model reads"):
        talk(model, max_new_tokens=500).answer("tuned", HI)


def test_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", layers=3)

    with pytest.raises(UserError, match="is not the model that"):
        open_trained(str(adapter), str(other))
    with pytest.raises(UserError, match="is no adapter, so it stands on no other model"):
        open_trained(str(other), str(other))


def test_nothing_that_a_model_says_is_obeyed_by_a_terminal() -> None:
    assert _lines("red: \x1b[31m\nbell: \x07, turned: \u202e") == "red: \\u001b[31m\nbell: \\u0007, turned: \\u202e"


def ran(*arguments: object, lines: str = "") -> str:
    found = CliRunner().invoke(app, [str(one) for one in arguments], input=lines)
    if isinstance(found.exception, UserError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


def test_each_line_of_the_input_is_a_conversation(adapter: Path) -> None:
    asked = "What is question number 4?\n\n第3个问题是什么？\n"

    found = json.loads(ran("chat", adapter, "--max-new-tokens", 4, "--system", "Be brief.", "--json", lines=asked))
    shown = ran("chat", adapter, "--max-new-tokens", 4, "--prompt", "第3个问题是什么？")

    assert [one["prompt"] for one in found["answers"]] == ["What is question number 4?", "第3个问题是什么？"]
    assert all(
        {"text", "tokens", "ended"} == one[side].keys() for one in found["answers"] for side in ("base", "tuned")
    )
    assert shown.split()[:2] == [">", "第3个问题是什么？"]
    assert "base" in shown and "tuned" in shown


def test_a_person_talks_until_the_end_of_input(adapter: Path) -> None:
    """About 6 s of CPU: a process of its own behind a terminal."""
    ours, theirs = pty.openpty()
    program = "from train.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, "chat", str(adapter), "--max-new-tokens", "4"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    os.close(theirs)

    screen = Screen(ours)
    screen.wait_for("> ")
    os.write(ours, b"Hi\n")
    screen.wait_for("base:", "tuned:", "> ")
    os.write(ours, b"/new\n")
    screen.wait_for("A new conversation.", "> ")
    os.write(ours, b"\x04")

    assert process.wait(60) == 0
    os.close(ours)


class Screen:
    """What a terminal shows, read on from where it was read to."""

    def __init__(self, terminal: int) -> None:
        self.terminal = terminal
        self.unread = b""

    def wait_for(self, *wanted: str, seconds: float = 120.0) -> None:
        """Read until these are shown, one after the other."""
        until = time.monotonic() + seconds
        for one in map(str.encode, wanted):
            while one not in self.unread and time.monotonic() < until:
                if select.select([self.terminal], [], [], 1.0)[0]:
                    self.unread += os.read(self.terminal, 1 << 16)
            assert one in self.unread, self.unread.decode(errors="replace")
            self.unread = self.unread.partition(one)[2]
