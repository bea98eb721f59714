"""Exporting: what is published behaves as what was trained, in programs that share no code with ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.errors import UserError
from tests.train import tiny_gguf
from tests.train.small import CHATML, chat_dataset, questions, read_json, train_with
from tests.train.test_gguf import LLAMA3
from train import verifying
from train.exporting import export
from train.gguf import halves, import_gguf
from train.gguf_file import CONTROL, NORMAL, UNUSED, read_gguf
from train.gguf_tokenizer import PRE_TOKENIZERS
from train.gguf_writing import pairs, writable
from train.trained import trained
from train.verifying import verify_gguf

FACTORS = "adapter_model.safetensors"
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 4096}


def base_model(folder: Path, architecture: str = "llama", facts: dict[str, Any] | None = None, **settings: Any) -> Path:
    """The folder of a random model whose tokenizer has merges."""
    made = tiny_gguf.model(architecture, **settings)
    said = {"tokenizer__chat_template": CHATML, **(facts or {})}
    file = tiny_gguf.write(folder.parent / f"{folder.name}.gguf", made, **said)
    import_gguf(file, folder, dtype="fp32")
    return folder


def random_adapter(folder: Path, base: Path) -> Path:
    """An adapter that says something else than its base, as a stranger made it: without a manifest."""
    from peft import LoraConfig, get_peft_model

    from train.model import load_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "k_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(load_model(base), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def adapter(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(tmp_path_factory.mktemp("adapters") / "adapter", llama)


@pytest.mark.parametrize(
    ("architecture", "kind", "settings"),
    [
        ("llama", "f16", {}),
        ("llama", "f32", {"tie_word_embeddings": True, "rope_theta": 100000.0}),
        ("llama", "q8_0", {"rope_parameters": LLAMA3}),
        ("qwen2", "bf16", {}),
        ("qwen3", "f16", {"rope_parameters": YARN}),
    ],
    ids=["llama", "tied", "llama3 in q8_0", "qwen2 in bf16", "qwen3 with yarn"],
)
def test_a_gguf_file_answers_as_adapter_and_base_do_together(
    architecture: str, kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    base = base_model(tmp_path / "base", architecture, **settings)
    adapter = random_adapter(tmp_path / "adapter", base)

    found = export(str(adapter), tmp_path / "out", to="gguf", kind=kind, base=str(base))

    checked = found["verified"]
    assert checked["llama_cpp"]["kl_mean"] <= verifying.MOST_KL[kind]
    assert checked["transformers"]["kl_mean"] <= verifying.MOST_KL[kind]
    assert checked["training_changed"]["kl_mean"] > 20 * checked["llama_cpp"]["kl_mean"]
    assert checked["template"]["same"] == checked["template"]["conversations"] > 5
    assert checked["tokens"]["same"] == checked["tokens"]["texts"]
    assert checked["stops"]["llama_cpp_ends_at"] == checked["stops"]["ids"]
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["manifest.json", f"out-{kind}.gguf"]
    assert read_json(tmp_path / "out" / "manifest.json")["result"]["verified"] == checked


def test_a_file_says_everything_that_is_needed_to_talk_to_it(llama: Path, adapter: Path, tmp_path: Path) -> None:
    found = export(str(adapter), tmp_path / "out", to="gguf", base=str(llama))

    facts = read_gguf([Path(found["file"])]).facts
    words = tiny_gguf.tokens()
    assert facts["tokenizer.ggml.tokens"] == words
    assert facts["tokenizer.ggml.token_type"] == [NORMAL] * (len(words) - 2) + [CONTROL] * 2
    assert facts["tokenizer.ggml.merges"] == tiny_gguf.MERGES
    assert facts["tokenizer.ggml.pre"] == "smollm"
    assert facts["tokenizer.ggml.eos_token_id"] == len(words) - 1
    assert facts["tokenizer.ggml.add_bos_token"] is False
    assert facts["tokenizer.chat_template"] == CHATML
    assert facts["general.file_type"] == 1


def test_embeddings_without_a_token_are_unused_ones(llama: Path, tmp_path: Path) -> None:
    wide = shutil.copytree(llama, tmp_path / "wide")
    from train.model import load_model

    model = load_model(wide)
    size = len(tiny_gguf.tokens())
    model.resize_token_embeddings(size + 6)
    model.save_pretrained(wide)

    found = export(str(wide), tmp_path / "out", to="gguf", kind="f32")

    facts = read_gguf([Path(found["file"])]).facts
    assert facts["tokenizer.ggml.tokens"][size:] == [f"[PAD{one}]" for one in range(size, size + 6)]
    assert facts["tokenizer.ggml.token_type"][size:] == [UNUSED] * 6
    assert "training_changed" not in found["verified"]


def test_what_was_trained_here_is_checked_on_rows_it_was_not_trained_on(llama: Path, tmp_path: Path) -> None:
    data = chat_dataset(tmp_path / "chat", questions(20)).folder
    adapter = train_with("sft", llama, data, tmp_path / "adapter", max_steps=3).folder

    found = export(str(adapter), tmp_path / "out", to="gguf", kind="f32")

    known = trained(adapter, llama)
    assert known.held_out == 4
    assert known.conversations[0][0]["content"] == "What is question number 4?"
    assert found["verified"]["template"]["as"] == "the template it was trained with"
    assert found["base"] == str(llama)


def test_a_template_that_the_recipe_names_is_the_one_in_the_file(tmp_path: Path) -> None:
    base = base_model(tmp_path / "base", facts={"tokenizer__chat_template": None})
    data = chat_dataset(tmp_path / "chat", questions(10)).folder
    adapter = train_with("sft", base, data, tmp_path / "adapter", max_steps=1, chat_template="chatml").folder

    found = export(str(adapter), tmp_path / "out", to="gguf", kind="f32")

    written = read_gguf([Path(found["file"])]).facts["tokenizer.chat_template"]
    assert "<|im_start|>" in written
    assert "generation %" not in written
    assert found["verified"]["template"]["as"] == "the template it was trained with"


@pytest.mark.parametrize("name", ["qwen2", "gpt-2", "llama-bpe"])
def test_a_way_to_cut_text_is_known_however_it_is_spelt(name: str, llama: Path, tmp_path: Path) -> None:
    model = shutil.copytree(llama, tmp_path / "model")
    cut = json.loads(json.dumps(PRE_TOKENIZERS[name]).replace('"trim_offsets": true', '"trim_offsets": false'))
    if name == "gpt-2":
        del cut["use_regex"]
    normalizer = {"type": "NFC"} if name == "qwen2" else None
    changed("tokenizer.json", pre_tokenizer=cut, normalizer=normalizer, model__ignore_merges=name == "llama-bpe")(model)

    assert writable(model, model).words.pre == name


def test_a_folder_is_ready_to_serve(llama: Path, adapter: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = export(str(adapter), tmp_path / "out", to="safetensors", kind="f32", base=str(llama))

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    ids = torch.arange(20)[None]
    assert (model(ids).logits - base(ids).logits).abs().max() > 1e-3
    assert tokenizer.chat_template == CHATML
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert found["file"] is None
    assert found["verified"]["transformers"]["kl_mean"] < 1e-6
    assert not any("merged" in one.name for one in (tmp_path / "out").iterdir())


def test_marks_of_what_is_learnt_are_left_out_of_the_template(llama: Path, tmp_path: Path) -> None:
    marked = CHATML.replace("message['content'] + '<|im_end|>\\n' }}", "message['content'] }}").replace(
        "{% endfor %}", "{% generation %}<|im_end|>{% endgeneration %}{{ '\\n' }}{% endfor %}", 1
    )
    model = shutil.copytree(llama, tmp_path / "model")
    (model / "chat_template.jinja").write_text(marked, encoding="utf-8")

    found = export(str(model), tmp_path / "out", to="gguf", kind="f32")

    written = read_gguf([Path(found["file"])]).facts["tokenizer.chat_template"]
    assert "generation %" not in written
    assert found["verified"]["template"]["same"] == found["verified"]["template"]["conversations"]


def test_the_same_export_again_is_done_and_another_is_refused(llama: Path, adapter: Path, tmp_path: Path) -> None:
    first = export(str(adapter), tmp_path / "out", to="gguf", base=str(llama))

    again = export(str(adapter), tmp_path / "out", to="gguf", base=str(llama))

    assert (first.pop("already"), again.pop("already")) == (False, True)
    assert again == first
    with pytest.raises(UserError, match="result of another run"):
        export(str(adapter), tmp_path / "out", to="gguf", kind="q8_0", base=str(llama))


def changed(file: str, **values: Any) -> Callable[[Path], None]:
    """Changes the settings in one of a model's JSON files."""

    def change(folder: Path) -> None:
        said = json.loads((folder / file).read_text(encoding="utf-8"))
        for path, value in values.items():
            *inside, last = path.split("__")
            part = said
            for name in inside:
                part = part[name]
            part[last] = value
        (folder / file).write_text(json.dumps(said), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed("config.json", model_type="gemma2"), "'gemma2' cannot be written as GGUF"),
        (changed("config.json", mlp_bias=True), "an unusual llama model: mlp_bias is True"),
        (changed("config.json", rope_scaling={"rope_type": "dynamic", "factor": 2.0}), "positions apart in a way"),
        (changed("config.json", rope_scaling=LLAMA3 | {"factor": 16.0}), "positions apart in a way"),
        (changed("config.json", rope_scaling=YARN | {"beta_fast": 64}), "positions apart in a way"),
        (changed("tokenizer.json", model__type="Unigram"), "its 'type' is unusual"),
        (changed("tokenizer.json", pre_tokenizer={"type": "Whitespace"}), "how it cuts text is none of gpt-2, smollm"),
        (changed("tokenizer.json", normalizer={"type": "NFKC"}), "how it cuts text is none of"),
        (changed("tokenizer.json", model__ignore_merges=True), "cannot be written as GGUF"),
        (changed("tokenizer.json", model__merges=[]), "merges nothing"),
        (changed("config.json", vocab_size=100), "has a token 261, and the model 100 embeddings"),
    ],
    ids=["architecture", "bias", "dynamic", "llama3", "yarn", "kind", "cut", "normalizer", "merges", "none", "size"],
)  # fmt: skip
def test_what_is_not_known_is_refused_before_anything_is_written(
    change: Callable[[Path], None], said: str, llama: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(llama, tmp_path / "model")
    change(model)

    with pytest.raises(UserError, match=said):
        writable(model, model)


def test_qwen_with_a_sliding_window_is_refused(tmp_path: Path) -> None:
    model = base_model(tmp_path / "model", "qwen2")
    changed("config.json", use_sliding_window=True, sliding_window=128, max_window_layers=1)(model)

    with pytest.raises(UserError, match="sliding window"):
        export(str(model), tmp_path / "out", to="gguf")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": "ggfu"}, "no format 'ggfu'"),
        ({"to": "gguf", "kind": "q4_0"}, "no --type 'q4_0'"),
        ({"to": "safetensors", "kind": "q8_0"}, "safetensors hold no q8_0"),
    ],
    ids=["format", "type", "type of a folder"],
)
def test_mistakes_are_told_before_anything_is_read(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        export("nowhere", tmp_path / "out", **given)


def test_a_template_that_writes_something_else_than_was_trained_on_is_not_published(tmp_path: Path) -> None:
    """Its own template, which lies beside the adapter, opens no answer: what was trained with does."""
    base = base_model(tmp_path / "base", facts={"tokenizer__chat_template": tiny_gguf.TEMPLATE})
    data = chat_dataset(tmp_path / "chat", questions(10)).folder
    adapter = train_with("sft", base, data, tmp_path / "adapter", max_steps=1).folder

    with pytest.raises(UserError, match=r"its chat template writes \d+ of \d+ conversations otherwise: ''"):
        export(str(adapter), tmp_path / "out", to="gguf")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"tokenizer__ggml__pre": "llama-bpe"}, r"llama\.cpp cuts \d+ of \d+ texts into other tokens"),
        ({"tokenizer__ggml__eos_token_id": 5}, r"the file ends a turn with .*, not <\|im_end\|>"),
        ({"tokenizer__chat_template": CHATML.replace("'\n'", "'\n\n'")}, "its chat template writes"),
        ({"tokenizer__chat_template": None}, "it has no chat template"),
        ({"llama__rope__freq_base": 500.0}, r"in llama\.cpp it is .* nats a token from what was trained"),
    ],
    ids=["cut", "end of turn", "template", "no template", "positions"],
)
def test_a_file_that_differs_is_found_out(facts: dict[str, Any], said: str, llama: Path, tmp_path: Path) -> None:
    made = {"tokenizer__chat_template": CHATML, **facts}
    file = tiny_gguf.write(tmp_path / "wrong.gguf", tiny_gguf.model("llama"), **made)
    (tmp_path / "read").mkdir()

    with pytest.raises(UserError, match=said):
        verify_gguf(trained(llama, None), file, "f32", tmp_path / "read")


def test_rows_in_the_order_of_the_other_program_are_found_out(llama: Path, tmp_path: Path) -> None:
    made = tiny_gguf.model("llama")
    for layer in made.model.layers:
        rows = layer.self_attn.q_proj.weight
        rows.data = torch.from_numpy(halves(rows.detach().numpy(), tiny_gguf.HEADS))  # undone when it is written
    file = tiny_gguf.write(tmp_path / "wrong.gguf", made, tokenizer__chat_template=CHATML)
    (tmp_path / "read").mkdir()

    with pytest.raises(UserError, match=r"in llama\.cpp it is"):
        verify_gguf(trained(llama, None), file, "f32", tmp_path / "read")


def test_without_llama_cpp_that_is_said(
    llama: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "find_spec", lambda name: None)

    found = export(str(adapter), tmp_path / "out", to="gguf", base=str(llama))

    assert found["verified"]["llama_cpp"] is None
    assert found["verified"]["transformers"]["kl_mean"] < 1e-3
    assert ["pip install xllamacpp" in one for one in found["warnings"]] == [True]


def test_values_too_large_for_16_bits_are_refused(llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = shutil.copytree(llama, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(UserError, match=r"up_proj\.weight holds values that f16 cannot hold"):
        export(str(model), tmp_path / "out", to="gguf", kind="f16")


def test_what_rounding_takes_away_is_a_warning(llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter = random_adapter(tmp_path / "adapter", llama)
    weak = {name: one * (1e-3 if "lora_B" in name else 1) for name, one in load_file(adapter / FACTORS).items()}
    save_file(weak, adapter / FACTORS, metadata={"format": "pt"})

    found = export(str(adapter), tmp_path / "out", to="gguf", kind="q8_0", base=str(llama))

    assert any("what was learnt may be lost in rounding" in one for one in found["warnings"])


def test_pairs_undo_halves() -> None:
    import numpy as np

    values = np.arange(64, dtype=np.float32).reshape(16, 4)

    assert (halves(pairs(values, 2), 2) == values).all()
    assert (pairs(values, 2) == tiny_gguf.turned(values, 2)).all()


@pytest.mark.slow
def test_a_real_model_keeps_its_answers_in_eight_bits(smollm2: Path, tmp_path: Path) -> None:
    """About 50 s of CPU."""
    adapter = random_adapter(tmp_path / "adapter", smollm2)

    found = export(str(adapter), tmp_path / "out", to="gguf", kind="q8_0", base=str(smollm2))

    checked = found["verified"]
    assert checked["llama_cpp"]["kl_mean"] < 0.1 * checked["training_changed"]["kl_mean"]
    assert checked["tokens"]["same"] == checked["tokens"]["texts"] > 5
    assert checked["stops"] == {"ids": [2], "tokens": ["<|im_end|>"], "llama_cpp_ends_at": [2]}
