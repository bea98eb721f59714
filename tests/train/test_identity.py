"""What a run is, and which adapter belongs to which base."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from schemas.errors import UserError
from schemas.manifest import library_versions
from tests.train.small import CutOff, chat_dataset, cut_at, job_of, questions, read_json, tiny_model, train_with
from train import identity, reference
from train.data import ENCODING
from train.model import model_hash
from train.policy import policy_for
from train.reference import reference_key
from train.running import carry_out, prepare, recipe_of, tokens_of, working_folder

job = partial(job_of, "sft")
train = partial(train_with, "sft")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_dataset(tmp_path_factory.mktemp("data") / "chat", questions(20)).folder


@pytest.fixture(scope="module")
def adapter(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of another rank and scale than is usual."""
    out = tmp_path_factory.mktemp("adapter") / "first"
    return train(model, data, out, adapter__r=4, adapter__lora_alpha=4, max_steps=1).folder


def test_every_byte_of_the_weights_counts(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "large", hidden_size=256, intermediate_size=512)
    weights = folder / "model.safetensors"
    before, said = model_hash(folder), weights.stat()
    assert said.st_size > 4 << 20, "more than was ever looked at in pieces"

    with weights.open("r+b") as file:
        file.seek(said.st_size // 3)
        byte = file.read(1)
        file.seek(said.st_size // 3)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(weights, ns=(said.st_atime_ns, said.st_mtime_ns))

    assert model_hash(folder) != before


def test_an_adapter_is_not_gone_on_from_on_another_base(adapter: Path, data: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", rope_theta=5000.0)

    with pytest.raises(UserError, match=r"is not the model that .*first was trained on"):
        job(other, data, tmp_path / "out", from_adapter=str(adapter))


def test_an_adapter_that_is_gone_on_from_keeps_its_settings(
    adapter: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    made = job(model, data, tmp_path / "out", from_adapter=str(adapter), max_steps=1)

    found = carry_out(made, tokens_of(made), lambda *_: None)

    assert any("the adapter's settings are those of" in one and "r 4" in one for one in made.warnings)
    assert found.report["recipe"]["adapter"] | {"r": 4, "lora_alpha": 4} == found.report["recipe"]["adapter"]
    assert read_json(found.folder / "adapter_config.json")["r"] == 4


def test_settings_that_are_not_those_of_the_adapter_are_refused(
    adapter: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"made with other settings than the recipe has: r \(4, not 8\)$"):
        job(model, data, tmp_path / "out", from_adapter=str(adapter), adapter__r=8)
    with pytest.raises(UserError, match="is a LoraConfig, and the recipe's adapter is LoraConfig with DoRA"):
        job(model, data, tmp_path / "out", from_adapter=str(adapter), adapter="dora")


def test_an_adapter_that_others_made_is_known_by_its_config(
    adapter: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (stranger / name).write_bytes((adapter / name).read_bytes())

    made = job(model, data, tmp_path / "out", from_adapter=str(stranger))

    assert made.recipe.filled()["adapter"]["r"] == 4
    with pytest.raises(UserError, match="made with other settings"):
        job(model, data, tmp_path / "out", from_adapter=str(stranger), adapter__r=8)


def test_a_damaged_adapter_is_a_users_error(adapter: Path, model: Path, data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "manifest.json"):
        (broken / name).write_bytes((adapter / name).read_bytes())
    (broken / "manifest.json").write_text('{"identity": ', encoding="utf-8")

    with pytest.raises(UserError, match=r"manifest.json is damaged"):
        job(model, data, tmp_path / "out", from_adapter=str(broken))
    (broken / "manifest.json").unlink()
    (broken / "adapter_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match=r"adapter_config.json is damaged"):
        job(model, data, tmp_path / "out", from_adapter=str(broken))


def test_another_version_of_a_library_is_another_run(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(3))
    monkeypatch.setattr(identity, "library_versions", lambda names: {**library_versions(names), "torch": "9.9"})

    with pytest.raises(UserError, match=r"torch \(.* → 9\.9\) changed"):
        train(model, data, tmp_path / "out")

    monkeypatch.setattr(identity, "ENCODING", ENCODING + 1)
    monkeypatch.setattr(identity, "library_versions", library_versions)
    with pytest.raises(UserError, match="encoding changed"):
        train(model, data, tmp_path / "out")


def test_the_reference_is_computed_anew_with_another_version_of_a_library(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_for(job(model, data, tmp_path / "out").recipe, "cpu")
    before = reference_key(model, policy, None)

    monkeypatch.setattr(reference, "library_versions", lambda names: dict.fromkeys(names, "9.9"))

    assert reference_key(model, policy, None) != before


def test_a_run_that_goes_on_on_another_device_says_so(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(3))
    path = working_folder(tmp_path / "out") / "settings.json"
    said = read_json(path)
    path.write_text(json.dumps(said | {"policy": ["cuda", "bf16", "bf16"]}), encoding="utf-8")

    found = train(model, data, tmp_path / "out")

    assert found.report["resumed_from"] == 2
    assert any("begun on cuda bf16 bf16 and goes on on cpu fp32 fp32" in one for one in found.report["warnings"])


def test_a_run_with_a_template_of_its_own_is_resumed_from_anywhere(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.chat_template import FOLDER

    (tmp_path / "mine.jinja").write_bytes((FOLDER / "chatml.jinja").read_bytes())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CutOff):
        train(model, data, Path("out"), cut_at(3), chat_template="mine.jinja")
    monkeypatch.chdir(tmp_path / "elsewhere")

    recipe = recipe_of(tmp_path / "out")
    made = prepare(recipe, device="cpu")

    assert carry_out(made, tokens_of(made), lambda *_: None).report["resumed_from"] == 2


def test_a_file_named_as_one_of_our_templates_is_not_taken_for_it(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chatml").mkdir()
    with pytest.raises(CutOff):
        train(model, data, Path("out"), cut_at(3), chat_template="chatml")

    assert recipe_of(Path("out")).settings.chat_template == "chatml"
