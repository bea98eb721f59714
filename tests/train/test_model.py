from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.errors import UserError
from tests.train import tiny_gguf
from train.model import find_model, load_model, load_tokenizer, read_config


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    tiny_gguf.model("llama").save_pretrained(folder)
    return folder


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_a_folder_is_found_and_loaded(tiny: Path) -> None:
    import torch

    found = find_model(str(tiny))

    assert (found.path, found.family, found.name) == (tiny, "llama", str(tiny))
    assert load_model(tiny, dtype="bf16").dtype == torch.bfloat16
    assert load_model(tiny).dtype == torch.float32


def test_weights_in_pickle_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")

    with pytest.raises(UserError, match=r"only as pickle \(pytorch_model\.bin\)") as raised:
        find_model(str(tmp_path))

    assert "safetensors" in raised.value.hint


def test_a_model_that_brings_its_own_program_is_refused(tiny: Path) -> None:
    change_config(tiny, model_type="evil", auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    (tiny / "modeling_evil.py").write_text("raise SystemExit('it ran')", encoding="utf-8")

    with pytest.raises(UserError, match="running a program that came with it"):
        find_model(str(tiny))


def test_a_program_beside_a_model_that_transformers_knows_is_not_run(tiny: Path) -> None:
    change_config(tiny, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Config"})
    (tiny / "modeling_evil.py").write_text("raise SystemExit('it ran')", encoding="utf-8")

    assert type(load_model(find_model(str(tiny)).path)).__name__ == "LlamaForCausalLM"


def test_an_adapter_that_lies_in_a_models_folder_is_refused(tiny: Path) -> None:
    (tiny / "adapter_config.json").write_text("{}", encoding="utf-8")

    with pytest.raises(UserError, match="holds an adapter beside the model"):
        find_model(str(tiny))


def test_a_download_that_was_cut_off_is_named(tiny: Path) -> None:
    (tiny / "model.safetensors").rename(tiny / "model-00001-of-00002.safetensors")
    index = {
        "metadata": {},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    }
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

    with pytest.raises(UserError, match=r"lacks model-00002-of-00002\.safetensors"):
        find_model(str(tiny))


@pytest.mark.parametrize("file", ["../other.safetensors", "/etc/passwd", 7])
def test_an_index_that_points_outside_is_refused(tiny: Path, file: object) -> None:
    (tiny / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": file}}), encoding="utf-8")

    with pytest.raises(UserError, match=r"outside the folder|is damaged"):
        find_model(str(tiny))


def test_tensors_that_are_missing_are_not_filled_with_noise(tiny: Path) -> None:
    change_config(tiny, num_hidden_layers=3)

    with pytest.raises(UserError, match=r"model\.layers\.2\..* is missing \(and 8 more\)"):
        load_model(tiny)


def test_tensors_that_no_layer_takes_are_refused(tiny: Path) -> None:
    change_config(tiny, num_hidden_layers=1)

    with pytest.raises(UserError, match=r"model\.layers\.1\..* is not part of such a model"):
        load_model(tiny)


def test_fewer_layers_can_be_asked_for(tiny: Path) -> None:
    assert load_model(tiny, num_hidden_layers=1).config.num_hidden_layers == 1


def test_truncated_weights_are_a_sentence(tiny: Path) -> None:
    whole = (tiny / "model.safetensors").read_bytes()
    (tiny / "model.safetensors").write_bytes(whole[:-100])

    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tiny)


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "damaged"), ("[1]", "no JSON object"), ("\xff\xfe", "damaged"), ("[" * 100_000, "damaged")],
)
def test_a_damaged_config_is_a_sentence(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))

    with pytest.raises(UserError, match=said):
        read_config(tmp_path)


def test_what_is_no_model_is_told_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")

    with pytest.raises(UserError, match="cannot be trained") as of_file:
        find_model(str(tmp_path / "m.gguf"))
    with pytest.raises(UserError, match=r"no config\.json") as of_folder:
        find_model(str(tmp_path))
    with pytest.raises(UserError, match=r"no config\.json") as of_adapter:
        find_model(str(tmp_path / "adapter"))
    with pytest.raises(UserError, match="does not exist") as of_name:
        find_model("Qwen/Qwen2.5-0.5B")

    assert "import-model" in of_file.value.hint and "import-model" in of_folder.value.hint
    assert "adapter" in of_adapter.value.hint
    assert "hf:Qwen/Qwen2.5-0.5B" in of_name.value.hint


def test_a_folder_without_a_tokenizer_is_a_sentence(tiny: Path) -> None:
    with pytest.raises(UserError, match="has no tokenizer"):
        load_tokenizer(tiny)


@pytest.mark.parametrize("name", ["hf:../../etc", "hf:", "hf:a/b/c", "modelscope:a b", "hf:-rf"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="no name of a model"):
        find_model(name)


def cached(home: Path, name: str) -> Path:
    """A model in a Hugging Face cache, as a download leaves it."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    tiny_gguf.model("llama").save_pretrained(snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(snapshot.name, encoding="utf-8")
    return snapshot


def test_a_hub_model_that_is_here_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    snapshot = cached(tmp_path, "someone/tiny")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    assert find_model("hf:someone/tiny").path.resolve() == snapshot.resolve()
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        find_model("hf:someone/else")
    with pytest.raises(UserError, match="is not on this machine"):
        find_model("hf:someone/else", fetch=False)


def test_a_hub_that_cannot_be_reached_is_a_sentence_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(UserError, match=r"cannot be fetched from http://127\.0\.0\.1:9") as raised:
        find_model("hf:someone/else")

    assert "HF_ENDPOINT" in raised.value.hint


def test_a_modelscope_model_that_is_here_needs_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    there = tmp_path / "models" / "qwen" / "Tiny2___5-1B"
    tiny_gguf.model("llama").save_pretrained(there)

    assert find_model("modelscope:qwen/Tiny2.5-1B").path == there
    with pytest.raises(UserError, match="needs the package modelscope"):
        find_model("modelscope:qwen/other")
