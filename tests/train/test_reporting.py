"""What a run is served with: the chat template and the end of turn that it was trained with."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.train.small import chat_dataset, questions, read_json, tiny_model, train_with
from train.chat_template import load_template, serving_template
from train.merging import merge
from train.model import load_tokenizer

train = partial(train_with, "sft")
HI = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello."}]
LLAMA: dict[str, Any] = {"chat_template": "llama3", "eos_token": "<|eot_id|>"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_dataset(tmp_path_factory.mktemp("data") / "chat", questions(20)).folder


@pytest.fixture(scope="module")
def adapter(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that was trained with another template and end of turn than its model's own."""
    return train(model, data, tmp_path_factory.mktemp("adapter") / "out", max_steps=1, **LLAMA).folder


def served(folder: Path) -> str:
    return str(load_tokenizer(folder).apply_chat_template(HI, tokenize=False))


def expected() -> str:
    return load_template("llama3", {"bos_token": "<s>"}).render(HI).text


def test_a_template_that_was_asked_for_is_what_the_adapter_is_served_with(model: Path, adapter: Path) -> None:
    assert served(adapter) == expected() != served(model)
    assert "generation %" not in (adapter / "chat_template.jinja").read_text(encoding="utf-8")
    report = read_json(adapter / "report.json")
    assert any("llama3 writes turns, system, reasoning, tools otherwise" in one for one in report["warnings"])
    assert report["template"]["ours"]


def test_a_template_in_the_tokenizers_own_config_gives_way(data: Path, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "old")
    template = (model / "chat_template.jinja").read_text(encoding="utf-8")
    (model / "chat_template.jinja").unlink()
    config = read_json(model / "tokenizer_config.json")
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}), encoding="utf-8")

    folder = train(model, data, tmp_path / "out", max_steps=1, **LLAMA).folder

    assert "chat_template" not in read_json(folder / "tokenizer_config.json")
    assert served(folder) == expected()


def test_a_template_file_is_published_and_a_models_own_is_kept(model: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(load_template("chatml", {}).text + "{# mine #}", encoding="utf-8")

    mine = train(model, data, tmp_path / "mine", max_steps=1, chat_template=str(file))
    own = train(model, data, tmp_path / "own", max_steps=1)

    published = (mine.folder / "chat_template.jinja").read_text(encoding="utf-8")
    assert published == serving_template(load_template(str(file), {}))
    assert not any("otherwise than the model's own" in one for one in mine.report["warnings"])
    assert (own.folder / "chat_template.jinja").read_bytes() == (model / "chat_template.jinja").read_bytes()


def test_the_end_of_turn_reaches_a_whole_model_and_a_merged_one(
    model: Path, adapter: Path, data: Path, tmp_path: Path
) -> None:
    whole = train(model, data, tmp_path / "whole", adapter="full", max_steps=1, **LLAMA).folder

    merge(adapter, tmp_path / "merged", dtype="fp32")

    for folder in (whole, tmp_path / "merged"):
        tokenizer = load_tokenizer(folder)
        stops = {tokenizer.convert_tokens_to_ids(one) for one in ("<|im_end|>", "<|eot_id|>")}
        assert set(read_json(folder / "config.json")["eos_token_id"]) == stops
        assert set(read_json(folder / "generation_config.json")["eos_token_id"]) == stops
        assert tokenizer.eos_token == "<|eot_id|>"
        assert served(folder) == expected()
    assert load_tokenizer(adapter).eos_token == "<|eot_id|>"
    assert any("does not stop at <|eot_id|> by itself" in one for one in read_json(adapter / "report.json")["warnings"])


def test_a_whole_model_is_published_with_its_cache_in_use(model: Path, data: Path, tmp_path: Path) -> None:
    whole = train(model, data, tmp_path / "whole", adapter="full", max_steps=1).folder

    assert read_json(whole / "config.json").get("use_cache", True) is True
    assert read_json(whole / "config.json")["eos_token_id"] == read_json(model / "config.json")["eos_token_id"]
