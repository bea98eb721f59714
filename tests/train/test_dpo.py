"""Learning from preferences: from which pairs, against which reference, and that a cut-off run goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from schemas.dataset import Dataset
from schemas.errors import UserError, UserErrors
from tests.helpers import write_rows
from tests.train.small import (
    CutOff,
    byte_tokenizer,
    chat_dataset,
    cut_at,
    job_of,
    kill,
    log,
    questions,
    read_json,
    tiny_model,
    train_with,
)
from train.chat_template import load_template
from train.cli import app
from train.data import Told
from train.methods.dpo import DpoTrainer, pair_losses
from train.pairs import PairEncoder, belief, gathered_pairs, told_by_lengths
from train.policy import Policy
from train.recipe import DpoTraining, load_recipe
from train.reference import append_records, read_records, reference_key
from train.running import carry_out, prepare, recipe_of, tokens_of, working_folder

job = partial(job_of, "dpo")
train = partial(train_with, "dpo")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pairs_dataset(tmp_path_factory.mktemp("data") / "pairs", pairs(40)).folder


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the project home is in the working directory


def pair(asked: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    """A line of a file of preferences."""
    return {
        "prompt": [{"role": "user", "content": asked}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        **more,
    }


def pairs(count: int) -> list[dict[str, Any]]:
    """Pairs in two languages: polite answers are chosen; every fifth pair is held out."""
    return [
        pair(f"第{place}个问题？", f"您好，答案是{place}。", f"自己查{place}。", task="zh")
        | {"split": "validation" if place % 5 == 4 else "train"}
        if place % 3 == 0
        else pair(f"Question {place}?", f"Gladly: {place}.", f"Whatever, {place}.", task="en")
        | {"split": "validation" if place % 5 == 4 else "train"}
        for place in range(count)
    ]


def pairs_dataset(folder: Path, rows: Sequence[Mapping[str, Any]], **source: Any) -> Dataset:
    """A dataset of preferences."""
    from curate.importing import import_files
    from curate.read import Reading

    file = write_rows(folder.parent / f"{folder.name}.jsonl", list(rows))
    told = {"kind": "build", "training": "allowed", "licence": "CC0-1.0", "personal_data": "none", **source}
    (made,) = import_files([file], folder, Reading(), told).datasets
    return made


def log_prob(loaded: Any, ids: Any, weights: Any) -> float:
    """Log-probability of an answer, as a stranger computes it."""
    with torch.no_grad():
        logits = loaded(input_ids=torch.tensor(ids.tolist())[None]).logits[0, -len(ids) :]
    found = torch.log_softmax(logits[:-1].double(), dim=-1)
    counted = torch.tensor(weights[1:].tolist()) > 0
    return float(found[torch.arange(len(ids) - 1), torch.tensor(ids[1:].tolist())][counted].sum())


def told(rows: Sequence[Mapping[str, Any]], **settings: Any) -> tuple[list[str], Told, dict[str, Any]]:
    """Answers of pairs as they are read, what became of the rest, and what their lengths tell."""
    tokenizer = byte_tokenizer()
    template = load_template("chatml", {})
    made = DpoTraining(model="m", data=("d",), out="o", **settings)
    encoder = PairEncoder(tokenizer, template, [tokenizer.eos_token_id], made)
    seen = Told()
    found = gathered_pairs(encoder.encode(rows, seen))
    texts = [tokenizer.decode(found.sides.row(place)[0].tolist()) for place in range(len(found.sides))]
    return texts, seen, told_by_lengths(found) if len(found) else {}


def row(prompt: list[tuple[str, str]], chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    """A row of kind preference."""
    empty = dict.fromkeys(("name", "tool_calls", "tool_call_id", "reasoning", "weight"))
    answers = {
        name: [{"role": "assistant", "content": text, **empty}]
        for name, text in (("chosen", chosen), ("rejected", rejected))
    }
    origin = {"file": "rows.jsonl", "line": 3, "part": None}
    blank = dict.fromkeys(("tools", "margin", "weight", "raters", "agreement", "extra", "task"))
    return {
        **blank,
        "id": "a" * 32,
        "origin": origin,
        "prompt": [{"role": role, "content": text, **empty} for role, text in prompt],
        **answers,
        **more,
    }


ASKED = [("user", "Hi?")]


# ── the loss ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_losses_are_those_of_the_papers() -> None:
    logps = torch.tensor([-10.0, -8.0, -14.0, -7.0])  # two chosen answers, then two rejected ones
    reference = torch.tensor([-11.0, -9.0, -13.0, -9.0])
    tokens = torch.tensor([5, 4, 7, 2])
    ahead = [(-10 + 11) - (-14 + 13), (-8 + 9) - (-7 + 9)]  # 2 and -1
    by_length = [1 / 5 + 1 / 7, 1 / 4 - 2 / 2]
    bare = [-10 / 5 + 14 / 7, -8 / 4 + 7 / 2]

    def sigmoid(value: float) -> float:
        return math.log1p(math.exp(-value))

    expected = {
        "sigmoid": [sigmoid(0.5 * one) for one in ahead],
        "hinge": [max(0.0, 1 - 0.5 * one) for one in ahead],
        "ipo": [(one - 1 / (2 * 0.5)) ** 2 for one in by_length],
        "sigmoid_norm": [sigmoid(0.5 * one) for one in by_length],
        "simpo": [sigmoid(0.5 * one - 0.3) for one in bare],
    }
    for name, values in expected.items():
        settings = DpoTraining(model="m", data=("d",), out="o", loss_type=name, beta=0.5, simpo_gamma=0.3)  # type: ignore[arg-type]

        losses, rewards = pair_losses(settings, logps, None if name == "simpo" else reference, tokens, torch.ones(2))

        assert losses.tolist() == pytest.approx(values, rel=1e-5), name
        if name == "sigmoid":
            assert rewards.tolist() == pytest.approx([0.5, 0.5, -0.5, 1.0])


def test_a_label_that_may_be_wrong_counts_as_both() -> None:
    settings = DpoTraining(model="m", data=("d",), out="o", beta=1.0)
    logps, reference, tokens = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0]), torch.tensor([1, 1])

    losses, _ = pair_losses(settings, logps, reference, tokens, torch.tensor([0.7]))

    expected = 0.7 * math.log1p(math.exp(-2)) + 0.3 * math.log1p(math.exp(2))
    assert losses.tolist() == pytest.approx([expected], rel=1e-6)


def test_saying_the_chosen_answer_can_be_learnt_too() -> None:
    settings = DpoTraining(model="m", data=("d",), out="o", sft_weight=0.5)
    logps, tokens = torch.tensor([-6.0, -3.0]), torch.tensor([3, 1])

    losses, _ = pair_losses(settings, logps, logps, tokens, torch.ones(1))

    assert losses.tolist() == pytest.approx([math.log(2) + 0.5 * 6 / 3])


@pytest.mark.parametrize(
    ("loss", "beta", "real"),
    [("sigmoid", 0.1, True), ("hinge", 0.1, False), ("ipo", 0.1, False), ("sigmoid_norm", 2.0, False)],
)
def test_losses_are_those_of_plain_trl(
    loss: str, beta: float, real: bool, model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """TRL counts the newline behind the last turn, which we do not: it is given the template without that newline. With
    weights, soft labels, QLoRA (its adapters are bf16), simpo, or a last batch that is not full under accumulation it
    cannot be compared: it has none of them, or counts them otherwise."""
    import trl
    from datasets import Dataset as Rows
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = request.getfixturevalue("small_model") if real else model
    rows = [{name: value for name, value in one.items() if name not in ("split", "task")} for one in pairs(10)]
    data = pairs_dataset(tmp_path / "pairs", rows).folder
    settings: dict[str, Any] = {"max_steps": 3, "learning_rate": 2e-4, "validation": 0, "warmup_steps": 0}
    ours = train(folder, data, tmp_path / "out", **settings, loss_type=loss, beta=beta)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = without_last_newline(load_template("smollm2" if real else "chatml", {}).text)
    plain = trl.DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        processing_class=tokenizer,
        train_dataset=Rows.from_list(rows),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "trl"), max_steps=3, per_device_train_batch_size=4, learning_rate=2e-4,
            lr_scheduler_type="cosine", warmup_steps=0, logging_steps=1, use_cpu=True, bf16=False, seed=42,
            gradient_checkpointing=False, report_to="none", save_strategy="no", disable_tqdm=True,
            loss_type=[loss], beta=beta,
        ),
    )  # fmt: skip

    plain.train()

    expected = [one for one in plain.state.log_history if "loss" in one]
    found = [one for one in log(ours.folder) if "loss" in one]
    for name in ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins"):
        assert [one[name] for one in found] == pytest.approx([one[name] for one in expected], abs=1e-4), name
    # Before the first step all rewards are 0 up to rounding, so which one is larger is chance.
    assert found[2]["rewards/accuracies"] == expected[2]["rewards/accuracies"]


def without_last_newline(template: str) -> str:
    """A template that writes nothing behind the last turn's end."""
    end = "{{- '\\n' }}"
    assert template.count(end) == 1, template
    return template.replace(end, "{%- if not loop.last %}" + end + "{%- endif %}")


# ── which pairs, and how far they are believed ───────────────────────────────────────────────────────────────────────


def settings_of(**more: Any) -> DpoTraining:
    return DpoTraining(model="m", data=("d",), out="o", **more)


def test_what_review_wrote_says_how_sure_a_label_is() -> None:
    soft = row(ASKED, "a", "b", extra=json.dumps({"review": {"soft": 0.8}}))

    assert belief(soft, settings_of()) == (0.8, 1.0)
    assert belief({**soft, "weight": 0.6}, settings_of()) == (0.8, 1.0), "the weight of --ties soft is the same fact"
    assert belief({**soft, "weight": 0.5}, settings_of()) == (0.8, 0.5)
    assert belief(soft, settings_of(soft_labels="off", label_smoothing=0.1)) == (0.9, 1.0)


def test_an_answer_that_somebody_wrote_anew_is_better_than_either() -> None:
    edited = row(ASKED, "a", "b", margin=0.0, extra=json.dumps({"review": {"soft": 0.5, "edited": True}}))

    assert belief(edited, settings_of()) == (1.0, 1.0)


def test_margins_and_agreement_say_how_sure_a_label_is_where_that_is_asked_for() -> None:
    said = row(ASKED, "a", "b", margin=math.log(3), agreement=1.0, raters=2)

    assert belief(said, settings_of()) == (1.0, 1.0)
    assert belief(said, settings_of(soft_labels="margin"))[0] == pytest.approx(0.75)
    assert belief(said, settings_of(soft_labels="agreement"))[0] == pytest.approx(3 / 4), "two people are few"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"margin": 0.0}, "tie"),
        ({"extra": json.dumps({"review": {"soft": 0.5}})}, "tie"),
        ({"weight": 0.0}, "no_weight"),
        ({"weight": -1.0}, "bad_weight"),
        ({"margin": math.nan}, "bad_margin"),
        ({"rejected": row(ASKED, "good", "good")["chosen"]}, "same_answers"),
        ({"rejected": []}, "no_answer"),
        ({"chosen": row(ASKED, " ", "x")["chosen"]}, "empty_answer"),
    ],
)
def test_pairs_that_teach_nothing_are_set_aside_with_a_reason(more: dict[str, Any], reason: str) -> None:
    texts, seen, _ = told([row(ASKED, "good", "bad") | more, row(ASKED, "good", "bad")])

    assert len(texts) == 2
    assert [(one.reason, one.where) for one in seen.set_aside] == [(reason, "rows.jsonl:3")]


@pytest.mark.parametrize(
    "extra", ["{", "[]", '{"review": 3}', '{"review": {"soft": "x"}}', '{"review": {"soft": 7.0}}']
)
def test_what_else_stands_beside_a_row_is_no_label(extra: str) -> None:
    assert belief(row(ASKED, "a", "b", extra=extra), settings_of()) == (1.0, 1.0)


def test_only_the_answers_count_and_not_what_the_assistant_said_before(model: Path, tmp_path: Path) -> None:
    said = [("user", "1?"), ("assistant", "one"), ("user", "2?")]
    lines = [pair("x", "two", "three") | {"prompt": [{"role": role, "content": text} for role, text in said]}]
    made = job(model, pairs_dataset(tmp_path / "pairs", lines).folder, tmp_path / "out", validation=0)

    (example,) = tokens_of(made).examples

    shown = [(one.text.replace("⏎", "\n").strip(), one.weight) for one in example]
    assert [one for one in shown if one[1]] == [("two<|im_end|>", 1.0), ("three<|im_end|>", -1.0)]
    assert "one<|im_end|>" in shown[0][0]


def test_both_answers_keep_the_same_prompt_when_old_turns_go() -> None:
    said = [("user", "u" * 30), ("assistant", "v" * 30), ("user", "w" * 30)]
    long = row(said, "yes", "no, " + "n" * 60)

    texts, seen, _ = told([long], max_length=150)

    assert seen.turns_dropped == 1
    assert [one.partition("assistant\n")[0] for one in texts] == [
        f"<|im_start|>user\n{'w' * 30}<|im_end|>\n<|im_start|>"
    ] * 2
    assert not [one for one in texts if "uuu" in one], "not even of the answer that would have fitted"


def test_answers_that_differ_only_behind_the_cut_are_set_aside() -> None:
    rows = [row(ASKED, "a" * 90 + "x", "a" * 90 + "y"), row(ASKED, "b" * 90, "c" * 90)]

    texts, seen, _ = told(rows, max_length=80, truncation="end")
    _, strict, _ = told(rows, max_length=80, truncation="none")

    assert len(texts) == 2
    assert seen.reasons == {"same_until_cut": 1}
    assert seen.answers_cut == 1
    assert strict.reasons == {"too_long": 2}


def test_lengths_and_beginnings_that_are_the_same_are_told_before(model: Path, tmp_path: Path) -> None:
    lines = [pair(f"q{place}", f"The answer: {place}, at length.", f"The answer: {place + 1}") for place in range(30)]
    made = job(model, pairs_dataset(tmp_path / "pairs", lines).folder, tmp_path / "out", validation=0)

    found = tokens_of(made).pairs

    assert found is not None
    assert found["longer_chosen"] == 1.0
    assert found["gap_tokens"]["mean"] > 9
    assert found["mostly_shared"] == 30
    assert any("the chosen answer is the longer one in 100% of pairs" in one for one in made.warnings)
    assert any("more than half of the answers is the same beginning" in one for one in made.warnings)


def test_candidates_and_conversations_are_refused_with_what_to_do(model: Path, tmp_path: Path) -> None:
    from schemas.formats import FORMATS  # noqa: F401 - the formats are there

    chats = chat_dataset(tmp_path / "chat", questions(3)).folder
    lines = [{"prompt": "q", "responses": ["a", "b"], "scores": [1.0, 2.0]}]
    several = candidates_dataset(tmp_path / "candidates", lines)

    with pytest.raises(UserError, match="rows of kind chat, and rows of kind preference") as chat:
        job(model, chats, tmp_path / "out")
    with pytest.raises(UserError, match="rows of kind candidates") as ranked:
        job(model, several, tmp_path / "out")

    assert chat.value.hint == "train sft learns from conversations"
    assert "review export --to preference" in (ranked.value.hint or "")


# ── the reference ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_reference_is_the_model_without_its_adapter(model: Path, data: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    made = job(model, data, tmp_path / "out", max_steps=1)
    tokens = tokens_of(made)
    key = reference_key(model, made.policy, None)
    carry_out(made, tokens, lambda *_: None)

    records = read_records(Path(".assay/reference") / f"{key}.bin", key)

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    assert len(records) == 2 * 40
    sides = tokens.train.sides  # type: ignore[attr-defined]
    expected = {round(log_prob(base, *sides.row(place)), 2) for place in range(len(sides))}
    assert expected <= {round(one, 2) for one in records.values()} | {
        round(one + off, 2) for one in records.values() for off in (-0.01, 0.01)
    }


def test_what_the_reference_says_is_computed_once_and_only_of_new_pairs(
    model: Path, data: Path, tmp_path: Path
) -> None:
    more = pairs_dataset(tmp_path / "more", [*pairs(40), pair("new?", "yes", "no", split="train")]).folder

    first = train(model, data, tmp_path / "first", max_steps=1)
    again = train(model, data, tmp_path / "again", max_steps=1, seed=1)
    added = train(model, more, tmp_path / "added", max_steps=1)
    other = train(model, data, tmp_path / "other", max_steps=1, max_length=50)

    computed = [one.report["reference"]["computed"] for one in (first, again, added, other)]
    assert computed[:3] == [80, 0, 2]
    assert 0 < computed[3] < 80, "what max_length cuts is another answer"
    assert first.report["loss"]["first"] == pytest.approx(math.log(2), abs=1e-5)


def test_another_model_of_the_same_shape_is_another_reference(model: Path, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    train(model, data, tmp_path / "first", max_steps=1)
    other = tiny_model(tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][7, 7] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})

    found = train(other, data, tmp_path / "second", max_steps=1)

    assert found.report["reference"]["computed"] == 80


def test_simpo_needs_no_reference(model: Path, data: Path, tmp_path: Path) -> None:
    found = train(model, data, tmp_path / "out", loss_type="simpo")

    assert found.report["reference"] is None
    assert not Path(".assay").exists()
    assert found.report["eval"]["best"] < found.report["eval"]["first"]


def test_an_adapter_that_is_gone_on_from_is_the_reference(model: Path, data: Path, tmp_path: Path) -> None:
    first = train(model, data, tmp_path / "first")

    second = train(model, data, tmp_path / "second", from_adapter=str(first.folder), max_steps=2)

    assert second.report["reference"]["key"] != first.report["reference"]["key"]
    assert second.report["loss"]["first"] == pytest.approx(math.log(2), abs=1e-5), "it begins where it departs from"


def test_records_that_are_torn_flipped_or_of_another_model_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "records.bin"
    append_records(path, "key", {b"a" * 16: -1.0, b"b" * 16: -2.0, b"\0" * 16: -3.0})
    whole = path.read_bytes()

    path.write_bytes(whole[:-5])
    torn = read_records(path, "key")
    append_records(path, "key", {b"c" * 16: -4.0, b"a" * 16: -9.0})
    added = read_records(path, "key")
    flipped = bytearray(whole)
    flipped[17] ^= 1
    path.write_bytes(bytes(flipped))

    assert torn == {b"a" * 16: -1.0, b"b" * 16: -2.0}
    assert added == {**torn, b"c" * 16: -4.0}, "the first number about an answer stays"
    assert read_records(path, "key") == {b"b" * 16: -2.0, b"\0" * 16: -3.0}
    assert read_records(path, "another key") == {}
    assert read_records(tmp_path / "nothing", "key") == {}


def test_the_key_names_how_weights_are_held(model: Path) -> None:
    def policy(**more: Any) -> Policy:
        usual = {"device": "cpu", "weights": "fp32", "compute": "fp32", "attention": "sdpa"}
        return Policy(**{**usual, **more}, gradient_checkpointing=False, threads=1, because="")

    ways = [
        reference_key(model, policy(), None),
        reference_key(model, policy(weights="nf4"), None),
        reference_key(model, policy(compute="bf16"), None),
        reference_key(model, policy(), "an adapter"),
    ]

    assert len(set(ways)) == 4
    assert reference_key(model, policy(), None) == ways[0]


def test_a_home_that_cannot_be_written_costs_the_cache_and_not_the_run(model: Path, data: Path, tmp_path: Path) -> None:
    Path(".assay").write_text("in the way", encoding="utf-8")

    found = train(model, data, tmp_path / "out", max_steps=1)

    assert any("are not kept for other runs" in one for one in found.report["warnings"])
    assert found.report["reference"]["computed"] == 80


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("adapter", ["lora", "full", "prompt_tuning"])
def test_the_chosen_answers_become_likelier_than_the_rejected(
    adapter: str, model: Path, data: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made = job(model, data, tmp_path / "out", adapter=adapter, max_steps=16, learning_rate=5e-3)
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    looked, folder = outcome.report["eval"], outcome.folder
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    loaded: Any = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        if adapter == "full"
        else PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), folder)
    ).eval()
    sides = tokens.validation.sides  # type: ignore[union-attr]
    gained = np.asarray([log_prob(loaded, *sides.row(n)) - log_prob(base, *sides.row(n)) for n in range(len(sides))])
    margins = 0.1 * (gained[::2] - gained[1::2])
    assert looked["best"] < looked["first"]
    assert looked["accuracy"]["best"] > 0.8
    assert looked["margin"]["best"] == pytest.approx(margins.mean(), abs=1e-3), "as a stranger loads it"
    assert looked["best"] == pytest.approx(np.log1p(np.exp(-margins)).mean(), abs=1e-3)


@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_a_real_model_learns_by_lora_and_qlora(adapter: str, small_model: Path, tmp_path: Path) -> None:
    if adapter == "qlora":
        pytest.importorskip("bitsandbytes")
    data = pairs_dataset(tmp_path / "pairs", pairs(10)).folder

    outcome = train(small_model, data, tmp_path / "out", adapter=adapter, max_steps=3, eval_steps=3, learning_rate=1e-3)

    assert outcome.report["loss"]["last"] < outcome.report["loss"]["first"]
    assert outcome.report["loss"]["first"] == pytest.approx(math.log(2), abs=1e-4)
    assert outcome.report["rewards"]["rewards/accuracies"]["last"] == 1.0


def test_two_batches_of_two_are_one_batch_of_four(model: Path, data: Path, tmp_path: Path) -> None:
    whole = train(model, data, tmp_path / "whole")

    parts = train(model, data, tmp_path / "parts", per_device_train_batch_size=2, gradient_accumulation_steps=2)

    left, right = ([one for one in log(run.folder) if "loss" in one] for run in (whole, parts))
    for name in ("loss", "rewards/margins", "rewards/accuracies"):
        assert [one[name] for one in left] == pytest.approx([one[name] for one in right], abs=1e-4)


def test_a_pair_of_the_weight_two_counts_as_two(model: Path, tmp_path: Path) -> None:
    base = [pair("a?", "yes", "no"), pair("b?", "left", "right", weight=2.0)]
    made = job(model, pairs_dataset(tmp_path / "pairs", base).folder, tmp_path / "out", validation=0, max_steps=2)

    found = carry_out(made, tokens_of(made), lambda *_: None)

    assert found.report["pairs"]["weighted"] == 1
    assert found.report["loss"]["first"] == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize("step", [0, 1, 4])
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not(step: int, model: Path, data: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"adapter__lora_dropout": 0.1, "seed": 3}
    expected = train(model, data, tmp_path / "whole", **more)

    Path(".assay/reference").rename("gone")
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(step), **more)
    found = train(model, data, tmp_path / "out", **more)

    assert found.report["resumed_from"] == {0: None, 1: None, 4: 2}[step]
    assert log(found.folder) == log(expected.folder)
    weights = "adapter_model.safetensors"
    assert (found.folder / weights).read_bytes() == (expected.folder / weights).read_bytes()


def test_sums_between_logged_steps_and_the_patience_survive_a_cut(model: Path, data: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "logging_steps": 3, "save_steps": 2, "max_steps": 20, "learning_rate": 1e-12, "early_stopping_patience": 2,
    }  # fmt: skip
    expected = train(model, data, tmp_path / "whole", **more)
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(6), **more)

    found = train(model, data, tmp_path / "out", **more)

    assert found.report["resumed_from"] == 4
    assert log(found.folder) == log(expected.folder)
    assert found.report["steps"] == expected.report["steps"] < 20


def test_a_run_that_was_killed_is_resumed_by_its_folder_alone(model: Path, data: Path, tmp_path: Path) -> None:
    expected = train(model, data, tmp_path / "whole")
    out = tmp_path / "out"
    kill("dpo", model, data, out, 5)
    Path(".assay/reference").rename("gone")

    made = prepare(recipe_of(out), device="cpu")
    found = carry_out(made, tokens_of(made), lambda *_: None)

    assert found.report["resumed_from"] == 4
    assert found.report["reference"]["computed"] == 0, "the run keeps what it has used"
    assert log(found.folder) == log(expected.folder)


def test_a_loss_that_is_no_number_stops_at_the_last_whole_checkpoint(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = DpoTrainer.losses

    def broken(self: DpoTrainer, *arguments: Any) -> Any:
        losses, facts = plain(self, *arguments)
        return (losses * float("nan") if self.model.training and self.state.global_step >= 4 else losses), facts

    monkeypatch.setattr(DpoTrainer, "losses", broken)

    with pytest.raises(UserError, match=r"no longer a number at step 5; .*checkpoint-4$"):
        train(model, data, tmp_path / "out")

    assert (working_folder(tmp_path / "out") / "checkpoints" / "checkpoint-4").is_dir()


def test_a_model_that_gives_no_probabilities_is_refused(data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = tiny_model(tmp_path / "broken")
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(UserError, match="no probability"):
        train(model, data, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"packing": True}, "packing is for conversations"), ({"neftune_noise_alpha": 5}, "taken for preference")],
)
def test_what_makes_no_sense_for_pairs_is_refused(
    settings: dict[str, Any], message: str, model: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        job(model, data, tmp_path / "out", **settings)


def test_settings_of_other_trainers_and_methods_are_named() -> None:
    with pytest.raises(UserErrors) as caught:
        load_recipe(
            "dpo", None, {"model": "m", "data": "d", "out": "o"}, {"pref_loss": "ipo", "label_smoothing": "0.5"}
        )
    with pytest.raises(UserError) as sft:
        load_recipe("sft", None, {"model": "m", "data": "d", "out": "o"}, {"beta": "0.1"})

    assert "here it is `loss_type`" in {one.hint for one in caught.value.errors}
    assert any("label_smoothing" in one.message for one in caught.value.errors)
    assert sft.value.hint == "it is a setting of `train dpo`"


def test_usual_settings_are_those_of_preferences() -> None:
    def filled(**settings: str) -> dict[str, Any]:
        return load_recipe("dpo", None, {"model": "m", "data": "d", "out": "o"}, settings).filled()

    assert [filled()[name] for name in ("learning_rate", "beta", "num_train_epochs")] == [1e-5, 0.1, 1.0]
    assert filled(adapter="full")["learning_rate"] == pytest.approx(1e-6)
    assert filled(loss_type="simpo")["beta"] == 2.0


def test_the_folder_says_what_was_learnt_from(model: Path, data: Path, tmp_path: Path) -> None:
    outcome = train(model, data, tmp_path / "out")
    folder = outcome.folder

    lineage, report = read_json(folder / "lineage.json"), read_json(folder / "report.json")
    card = (folder / "README.md").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")

    assert len(lineage["rows"]["train"]) == 32
    assert len(set(lineage["rows"]["train"])) == 32
    assert report["rows"] == {"train": 32, "validation": 8}
    assert set(report["eval"]["by_task"]) == {"en", "zh"}
    assert "held-out pairs put in order" in card
    assert "trained by `train dpo`" in card
    assert "Share of pairs in order" in page
    assert "<s title='× -1'>" in page
    assert "<script" not in page
    assert set(outcome.as_json()) >= {"adapter", "steps", "loss", "eval", "memory_gb", "seconds", "rewards"}
    assert not (folder / "checkpoints").exists()


def test_the_command_shows_pairs_trains_and_shows_the_run(model: Path, data: Path, tmp_path: Path) -> None:
    def ran(*arguments: object) -> str:
        found = CliRunner().invoke(app, [str(one) for one in arguments])
        assert found.exit_code == 0, found.output + str(found.exception)
        return found.stdout

    out = tmp_path / "out"
    command = ["dpo", "-m", model, "-d", data, "-o", out, "--loss", "ipo", "--beta", "0.2", "--set=max_steps=2"]

    dry = ran(*command, "--dry-run")
    dry_json = json.loads(ran(*command, "--dry-run", "--json"))
    trained = json.loads(ran(*command, "--json"))
    again = json.loads(ran(*command, "--json"))
    shown = ran("show", out)

    assert "⟦+您好，答案是0。<|im_end|>+⟧" in dry
    assert "⟦-自己查0。<|im_end|>-⟧" in dry
    assert "the chosen one is longer in" in dry
    assert dry_json["recipe"]["beta"] == 0.2
    assert dry_json["pairs"]["unequal"] == 32
    assert (trained["already"], again["already"]) == (False, True)
    assert "accuracy on validation" in shown


@pytest.mark.soak
def test_a_whole_model_learns_to_prefer_on_pairs_it_has_not_seen(smollm2: Path, tmp_path: Path) -> None:
    """About 4 minutes of CPU."""
    things = ("tea", "soup", "boots", "maps", "lamps", "ropes", "bells", "seeds", "paint", "nails", "books", "coats")
    places = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Tokyo", "Quito")
    lines = [
        pair(
            f"Where in {place} can I buy {thing}?",
            f"In {place} you find {thing} at the market. Would you like the opening hours?",
            f"You can buy {thing} in many shops of {place}.",
            split="validation" if (a + b) % 5 == 0 else "train",
        )
        for a, place in enumerate(places)
        for b, thing in enumerate(things)
    ]
    data = pairs_dataset(tmp_path / "pairs", lines).folder

    outcome = train(smollm2, data, tmp_path / "out", max_steps=24, eval_steps=8, learning_rate=1e-4)

    looked = outcome.report["eval"]
    print(f"loss {outcome.report['loss']}, validation {looked}")
    assert looked["best"] < 0.3
    assert looked["accuracy"]["best"] >= 0.95


def candidates_dataset(folder: Path, lines: list[dict[str, Any]]) -> Path:
    """A dataset of several answers to each prompt."""
    from curate.importing import import_files
    from curate.read import Reading

    file = write_rows(folder.parent / f"{folder.name}.jsonl", lines)
    told = {"kind": "build", "training": "allowed", "licence": "CC0-1.0", "personal_data": "none"}
    (made,) = import_files([file], folder, Reading(), told).datasets
    return made.folder
