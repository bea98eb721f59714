"""Supervised fine-tuning: what is learnt, that it is kept, and that a cut-off run goes on as if it had not been."""

from __future__ import annotations

import errno
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.errors import UserError, UserErrors
from schemas.lookup import names
from tests.train.small import (
    CutOff,
    chat_dataset,
    cut_at,
    job_of,
    kill,
    log,
    loss_of,
    questions,
    read_json,
    tiny_model,
    train_with,
)
from train import trainer as train_module
from train.adapter import ADAPTERS
from train.checkpoint import checkpoints
from train.loop import arguments_of
from train.methods.sft import Collator, Sequences, SftTrainer
from train.recipe import load_recipe
from train.running import carry_out, done, prepare, recipe_of, tokens_of, working_folder

job = partial(job_of, "sft")
train = partial(train_with, "sft")


@pytest.mark.parametrize("name", [one for one in names(ADAPTERS) if one != "qlora"])
def test_every_adapter_learns_and_loads_again_to_the_same_outputs(
    name: str, model: Path, data: Path, tmp_path: Path
) -> None:
    made = job(model, data, tmp_path / "out", adapter=name, max_steps=8)
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    looked = outcome.report["eval"]
    assert looked["best"] < looked["first"]
    assert loss_of(outcome.folder, model, tokens) == pytest.approx(looked["best"], abs=2e-4)


def test_qlora_learns_over_a_base_in_four_bits(model: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")

    outcome = train(model, data, tmp_path / "out", adapter="qlora")

    assert "weights nf4, computed in fp32" in outcome.report["device"]
    assert outcome.report["eval"]["best"] < outcome.report["eval"]["first"]


def test_losses_are_those_of_plain_trl(small_model: Path, tmp_path: Path) -> None:
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from train.chat_template import load_template

    rows = questions(16, split=False)
    data = chat_dataset(tmp_path / "chat", rows).folder
    settings: dict[str, Any] = {
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 2e-4,
        "validation": 0,
    }
    ours = train(small_model, data, tmp_path / "out", **settings, warmup_steps=0, adapter__lora_alpha=32)
    messages = [{"messages": [{"role": role, "content": text} for role, text in one["messages"]]} for one in rows]
    tokenizer = AutoTokenizer.from_pretrained(small_model)
    tokenizer.chat_template = load_template("smollm2", {}).text
    plain = trl.SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(messages),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=trl.SFTConfig(
            output_dir=str(tmp_path / "trl"), max_steps=3, per_device_train_batch_size=4, learning_rate=2e-4,
            lr_scheduler_type="cosine", warmup_steps=0, logging_steps=1, use_cpu=True, bf16=False, seed=42,
            gradient_checkpointing=False, assistant_only_loss=True, report_to="none", save_strategy="no",
            disable_tqdm=True,
        ),
    )  # fmt: skip

    plain.train()

    expected = [one["loss"] for one in plain.state.log_history if "loss" in one]
    assert [one["loss"] for one in log(ours.folder)] == pytest.approx(expected, abs=1e-4)


def test_packed_rows_never_see_each_other(model: Path, data: Path, tmp_path: Path) -> None:
    made = job(model, data, tmp_path / "out", packing=True, max_length=256)
    tokens = tokens_of(made)
    from transformers import AutoModelForCausalLM, TrainingArguments

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    trainer = SftTrainer(model=base, args=TrainingArguments(output_dir=str(tmp_path / "x"), use_cpu=True))
    losses = {}

    for packing in (True, False):
        sequences = Sequences(tokens.train, packing=packing, max_length=256)
        batch = Collator(0, packing=packing)([sequences[place] for place in range(len(sequences))])
        with torch.no_grad():
            losses[packing] = float(trainer.compute_loss(base, batch))

    assert tokens.sequences < len(tokens.train) / 3
    assert losses[True] == pytest.approx(losses[False], abs=1e-5)


def test_two_batches_of_two_are_one_batch_of_four(model: Path, data: Path, tmp_path: Path) -> None:
    whole = train(model, data, tmp_path / "whole")

    parts = train(model, data, tmp_path / "parts", per_device_train_batch_size=2, gradient_accumulation_steps=2)

    expected = [one["loss"] for one in log(whole.folder) if "loss" in one]
    assert [one["loss"] for one in log(parts.folder) if "loss" in one] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("step", [1, 4])
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not(step: int, model: Path, data: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"adapter__lora_dropout": 0.1, "seed": 3}
    expected = train(model, data, tmp_path / "whole", **more)

    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(step), **more)
    found = train(model, data, tmp_path / "out", **more)

    assert found.report["resumed_from"] == {1: None, 4: 2}[step]
    assert log(found.folder) == log(expected.folder)
    weights = "adapter_model.safetensors"
    assert (found.folder / weights).read_bytes() == (expected.folder / weights).read_bytes()


def test_a_run_that_was_killed_is_resumed_by_its_folder_alone(model: Path, data: Path, tmp_path: Path) -> None:
    expected = train(model, data, tmp_path / "whole")
    out = tmp_path / "out"
    kill("sft", model, data, out, 5)
    newest = checkpoints(working_folder(out) / "checkpoints")[-1]
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:1000])

    made = prepare(recipe_of(out), device="cpu")
    found = carry_out(made, tokens_of(made), lambda *_: None)

    assert found.report["resumed_from"] == 2
    assert f"{newest.name} is left out: optimizer.pt is not what was written" in found.report["warnings"]
    assert log(found.folder) == log(expected.folder)


def test_a_changed_setting_or_dataset_is_refused_by_name(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(3))
    other = chat_dataset(tmp_path / "other", questions(41)).folder

    with pytest.raises(UserError, match=r"seed \(42 → 43\) changed"):
        train(model, data, tmp_path / "out", seed=43)
    with pytest.raises(UserError, match="data changed"):
        train(model, other, tmp_path / "out")

    assert train(model, data, tmp_path / "out").report["resumed_from"] == 2


def test_a_finished_run_is_not_repeated(model: Path, data: Path, tmp_path: Path) -> None:
    train(model, data, tmp_path / "out")

    found = done(job(model, data, tmp_path / "out"))

    assert found is not None
    assert found.already
    assert done(job(model, data, tmp_path / "elsewhere")) is None


def test_a_loss_that_is_no_number_stops_at_the_last_whole_checkpoint(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = SftTrainer.token_losses

    def broken(self: SftTrainer, *arguments: Any) -> Any:
        losses, weights = plain(self, *arguments)
        return (losses * float("nan") if self.model.training and self.state.global_step >= 4 else losses), weights

    monkeypatch.setattr(SftTrainer, "token_losses", broken)

    with pytest.raises(UserError, match=r"no longer a number at step 5; .*checkpoint-4$"):
        train(model, data, tmp_path / "out")

    assert not (tmp_path / "out").exists()
    assert [one.name for one in checkpoints(working_folder(tmp_path / "out") / "checkpoints")][-1] == "checkpoint-4"


def test_a_full_disk_leaves_the_last_whole_checkpoint(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = train_module

    plain = module.seal

    def full(folder: Path) -> None:
        if folder.name == "checkpoint-4":
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(folder)

    monkeypatch.setattr(module, "seal", full)
    with pytest.raises(UserError, match=r"the disk is full: checkpoint-4 .*checkpoint-2$"):
        train(model, data, tmp_path / "out")
    monkeypatch.setattr(module, "seal", plain)

    assert train(model, data, tmp_path / "out").report["resumed_from"] == 2


def test_rows_of_the_validation_split_are_looked_at_and_those_of_test_are_not_read(model: Path, tmp_path: Path) -> None:
    rows = questions(20)
    rows[0]["split"] = "test"
    data = chat_dataset(tmp_path / "chat", rows).folder

    made = job(model, data, tmp_path / "out")
    tokens = tokens_of(made)

    assert made.material.split_by == "column"
    assert (len(tokens.train), len(tokens.validation or ())) == (15, 4)


def test_without_a_split_column_rows_of_one_prompt_are_held_out_together(model: Path, tmp_path: Path) -> None:
    rows = [{"messages": [("user", f"question {place // 2}"), ("assistant", f"answer {place}")]} for place in range(40)]
    data = chat_dataset(tmp_path / "chat", rows).folder

    made = job(model, data, tmp_path / "out", validation=0.2)

    asked = {
        part: {one["messages"][0]["content"] for one in made.material.rows(part)} for part in ("train", "validation")
    }
    assert not asked["train"] & asked["validation"]
    assert len(asked["validation"]) == 4
    assert any("curate split" in one for one in made.warnings)


def test_validation_is_reported_by_task(model: Path, data: Path, tmp_path: Path) -> None:
    outcome = train(model, data, tmp_path / "out", max_steps=2)

    assert set(outcome.report["eval"]["by_task"]) == {"en", "zh"}


def misleading(folder: Path) -> Path:
    """A dataset whose validation rows are the opposite of what can be learnt from the others."""
    rows = [
        {"messages": [("user", str(place)), ("assistant", ("z" if held else "a") * 9)], "split": part}
        for place in range(24)
        for held, part in [(place % 4 == 0, "validation" if place % 4 == 0 else "train")]
    ]
    return chat_dataset(folder, rows).folder


def test_the_best_step_is_kept_and_not_the_last(model: Path, tmp_path: Path) -> None:
    made = job(model, misleading(tmp_path / "chat"), tmp_path / "out", max_steps=12)
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    looked = outcome.report["eval"]
    assert looked["best"] < looked["last"], "what is learnt is the opposite of what is looked at"
    assert outcome.report["best_step"] < 12
    assert loss_of(outcome.folder, model, tokens) == pytest.approx(looked["best"], rel=1e-4)


def test_early_stopping_stops_where_nothing_improves(model: Path, data: Path, tmp_path: Path) -> None:
    outcome = train(model, data, tmp_path / "out", learning_rate=1e-12, max_steps=20, early_stopping_patience=2)

    assert outcome.report["stopped_early"]
    assert outcome.report["steps"] < 20


def test_sources_that_deny_training_are_refused_unless_allowed_by_name(model: Path, tmp_path: Path) -> None:
    data = chat_dataset(tmp_path / "chat", questions(10), training="denied").folder

    with pytest.raises(UserErrors) as caught:
        job(model, data, tmp_path / "out")
    outcome = train(model, data, tmp_path / "out", allow=["chat"], max_steps=1)

    assert "may not be trained on" in caught.value.errors[0].message
    card = (outcome.folder / "README.md").read_text(encoding="utf-8")
    assert "deny training and were allowed by name: chat" in card


def test_an_unknown_licence_to_train_is_warned_of(model: Path, tmp_path: Path) -> None:
    data = chat_dataset(tmp_path / "chat", questions(10), training="unknown").folder

    made = job(model, data, tmp_path / "out")

    assert any("nobody has said whether models may be trained on chat" in one for one in made.warnings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapter": "prompt_tuning", "packing": True}, "packed rows would read each other"),
        ({"adapter": "prefix_tuning", "gradient_checkpointing": True}, "the prefix is lost"),
        ({"attn_implementation": "flash_attention_2"}, "flash_attention_2 is not installed"),
        ({"optim": "adamw_8bit"}, "needs a GPU"),
        ({"max_length": 100_000}, "more than the 512 positions"),
        ({"adapter": "full", "from_adapter": "x"}, "full trains the model"),
        ({"report_to": ["swanlab"]}, "report_to names swanlab, which is not installed"),
        ({"eval_steps": 2, "save_steps": 3}, "no multiple of eval_steps"),
    ],
)
def test_combinations_that_break_are_refused_before_anything_loads(
    settings: dict[str, Any], message: str, model: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        job(model, data, tmp_path / "out", **settings)

    errors = caught.value.errors if isinstance(caught.value, UserErrors) else [caught.value]
    assert any(message in one.message for one in errors)
    assert all(one.hint for one in errors)


def test_early_stopping_without_validation_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    rows = chat_dataset(tmp_path / "chat", questions(10, split=False)).folder

    with pytest.raises(UserError, match="early_stopping_patience needs validation rows"):
        job(model, rows, tmp_path / "out", validation=0, early_stopping_patience=1)


def test_data_of_another_kind_or_none_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("{}", encoding="utf-8")

    with pytest.raises(UserErrors) as caught:
        prepare(load_recipe("sft", None, {"model": str(model), "data": [str(file), "nowhere"], "out": "o"}, {}))

    assert [one.hint.partition(":")[0] for one in caught.value.errors] == [
        "import it first",
        "make a dataset with `curate import PATH --out DIR`",
    ]


def test_a_token_that_was_never_trained_cannot_end_a_turn(data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = tiny_model(tmp_path / "untrained")
    weights = load_file(model / "model.safetensors")
    tokenizer = read_json(model / "tokenizer.json")
    end = next(one["id"] for one in tokenizer["added_tokens"] if one["content"] == "<|im_end|>")
    weights["model.embed_tokens.weight"][end] = 0.0
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(UserError, match=r"'<\|im_end\|>' that ends a turn was never trained"):
        train(model, data, tmp_path / "out")


def test_rows_that_cannot_be_used_are_written_down(model: Path, tmp_path: Path) -> None:
    rows = [*questions(9), {"messages": [("user", "x"), ("assistant", " ")], "split": "train"}]
    data = chat_dataset(tmp_path / "chat", rows).folder

    outcome = train(model, data, tmp_path / "out", max_steps=1)

    lines = (outcome.folder / "set_aside.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["empty_answer"]
    assert json.loads(lines[0])["where"].endswith(".jsonl:10")


def test_data_of_which_nothing_can_be_learnt_is_refused_with_the_reason(model: Path, tmp_path: Path) -> None:
    data = chat_dataset(tmp_path / "chat", [{"messages": [("user", "x"), ("assistant", " ")]}]).folder

    with pytest.raises(UserError, match=r"none of the 1 rows can be trained on: empty_answer 1"):
        train(model, data, tmp_path / "out")


def test_the_folder_says_everything_about_the_run(model: Path, data: Path, tmp_path: Path) -> None:
    outcome = train(model, data, tmp_path / "out")
    folder = outcome.folder

    names_there = {path.name for path in folder.iterdir()}
    lineage, report = read_json(folder / "lineage.json"), read_json(folder / "report.json")
    card = (folder / "README.md").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")

    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "manifest.json",
        "log.jsonl",
    } <= names_there
    assert not names_there & {"checkpoints", "settings.json", "run.json", "training_args.bin"}
    assert len(lineage["rows"]["train"]) == 32
    assert lineage["datasets"][0]["fingerprint"] in json.dumps(report["data"])
    assert report["planned"]["memory_gb"]["low"] < report["planned"]["memory_gb"]["high"]
    assert "(planned" in card
    assert "CC0-1.0" in card
    assert f"base_model: {model}" in card
    assert "<mark" in page
    assert "<script" not in page
    assert set(outcome.as_json()) >= {"adapter", "steps", "loss", "eval", "memory_gb", "seconds"}


def test_an_adapter_is_gone_on_from(model: Path, data: Path, tmp_path: Path) -> None:
    first = train(model, data, tmp_path / "first")

    second = train(model, data, tmp_path / "second", from_adapter=str(first.folder), max_steps=2)

    assert second.report["loss"]["first"] < first.report["loss"]["first"]
    with pytest.raises(UserError, match="is a LoraConfig, and the recipe's adapter is IA3Config"):
        train(model, data, tmp_path / "third", from_adapter=str(first.folder), adapter="ia3")


def test_adalora_goes_on_with_the_ranks_it_had_found(model: Path, data: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "adapter": "adalora", "adapter__deltaT": 1, "adapter__tfinal": 0.4, "adapter__target_r": 4, "max_steps": 10,
    }  # fmt: skip
    expected = train(model, data, tmp_path / "whole", **more)
    weights = "adapter_model.safetensors"
    kill("sft", model, data, tmp_path / "cut-4", 5, **more)  # while ranks are chosen
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "cut-8", cut_at(9), **more)  # when they are fixed
    for whole in (4, 8):
        out = tmp_path / f"cut-{whole}"

        found = train(model, data, out, **more)

        assert found.report["resumed_from"] == whole
        assert log(found.folder) == log(expected.folder)
        assert (found.folder / weights).read_bytes() == (expected.folder / weights).read_bytes()


def test_the_best_step_of_adalora_may_be_one_with_more_ranks_than_the_last(model: Path, tmp_path: Path) -> None:
    data = misleading(tmp_path / "chat")
    more: dict[str, Any] = {"adapter": "adalora", "adapter__tinit": 0.5, "learning_rate": 0.1, "max_steps": 16}
    made = job(model, data, tmp_path / "out", **more)
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    looked = outcome.report["eval"]
    assert looked["best"] < looked["last"]
    assert loss_of(outcome.folder, model, tokens) == pytest.approx(looked["best"], rel=1e-4)


def test_how_long_early_stopping_has_waited_survives_a_cut(model: Path, data: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "learning_rate": 1e-12, "max_steps": 20, "early_stopping_patience": 3, "eval_steps": 1, "save_steps": 1,
    }  # fmt: skip
    expected = train(model, data, tmp_path / "whole", **more)
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(4), **more)

    found = train(model, data, tmp_path / "out", **more)

    assert found.report["resumed_from"] == 3
    assert found.report["steps"] == expected.report["steps"] < 20


def test_what_is_summed_up_between_two_logged_steps_survives_a_cut(model: Path, data: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"logging_steps": 3, "eval_steps": 2, "save_steps": 2, "max_steps": 7}
    expected = train(model, data, tmp_path / "whole", **more)
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(6), **more)

    found = train(model, data, tmp_path / "out", **more)

    assert found.report["resumed_from"] == 4
    assert log(found.folder) == log(expected.folder)
    assert [one["step"] for one in log(found.folder) if "loss" in one] == [2, 3, 4, 6, 7]


def test_of_several_cards_one_is_used(model: Path, data: Path, tmp_path: Path) -> None:
    made = job(model, data, tmp_path / "out")

    arguments = arguments_of(made, tokens_of(made), tmp_path / "checkpoints")

    assert arguments.n_gpu == 1


def test_rows_that_lose_turns_are_warned_of(model: Path, tmp_path: Path) -> None:
    rows = questions(10)
    rows[0]["messages"] = [("user", "u" * 200), ("assistant", "a" * 200), ("user", "b"), ("assistant", "c")]
    data = chat_dataset(tmp_path / "chat", rows).folder

    made = job(model, data, tmp_path / "out", max_length=200)
    tokens_of(made)

    assert any("1 rows are longer than max_length 200 and lose their oldest turns" in one for one in made.warnings)
