"""Merging: the model that comes out behaves as adapter and base did."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from schemas.errors import UserError
from tests.train.small import chat_dataset, questions, tiny_model, train_with
from train.merging import merge

train = partial(train_with, "sft")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_dataset(tmp_path_factory.mktemp("data") / "chat", questions(20)).folder


@pytest.mark.parametrize("name", ["lora", "dora", "adalora"])
def test_a_merged_model_needs_no_adapter(name: str, model: Path, data: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    adapter = train(model, data, tmp_path / "adapter", adapter=name, max_steps=4).folder

    found = merge(adapter, tmp_path / "merged", dtype="fp32")

    assert found["verified"]["kl_max"] < 1e-6
    assert found["verified"]["same_top_token"] == 1.0
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    ids = torch.arange(20)[None]
    assert (merged(ids).logits - base(ids).logits).abs().max() > 1e-3
    assert merge(adapter, tmp_path / "merged", dtype="fp32")["verified"] == found["verified"]


def test_what_stands_beside_the_model_cannot_be_merged(model: Path, data: Path, tmp_path: Path) -> None:
    adapter = train(model, data, tmp_path / "adapter", adapter="prompt_tuning", max_steps=1).folder

    with pytest.raises(UserError, match="made by prompt_tuning, which stands beside the model"):
        merge(adapter, tmp_path / "merged")


def test_another_base_than_it_was_trained_on_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    adapter = train(model, data, tmp_path / "adapter", max_steps=1).folder
    other = tiny_model(tmp_path / "other", layers=3)

    with pytest.raises(UserError, match="is not the model that"):
        merge(adapter, tmp_path / "merged", base=str(other))
    with pytest.raises(UserError, match="there is no data type 'nf4'"):
        merge(adapter, tmp_path / "merged", dtype="nf4")


def test_a_damaged_manifest_is_a_users_error(model: Path, data: Path, tmp_path: Path) -> None:
    adapter = train(model, data, tmp_path / "adapter", max_steps=1).folder
    (adapter / "manifest.json").write_bytes(b'{"identity": {')

    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        merge(adapter, tmp_path / "merged")
