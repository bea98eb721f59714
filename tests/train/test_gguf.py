from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from tests.train import tiny_gguf
from train.gguf import import_gguf, llama3_factors

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(torch.arange(40).reshape(1, -1)).logits[0]


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "rope_theta": 100000.0}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("qwen2", {}),
        ("qwen3", {}),
    ],
    ids=["llama", "tied", "llama3 scaling", "qwen2", "qwen3"],
)
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_a_converted_model_answers_as_the_one_the_file_was_made_from(
    tmp_path: Path, architecture: str, settings: dict[str, Any], dtype: str
) -> None:
    from train.model import load_model

    original = tiny_gguf.model(architecture, **settings)
    file = tiny_gguf.write(tmp_path / "tiny.gguf", original)

    found = import_gguf(file, tmp_path / "out", dtype=dtype)

    loaded = load_model(tmp_path / "out", dtype="fp32")
    assert float((logits(loaded) - logits(original)).abs().max()) < 1e-4
    assert found["parameters"] == sum(one.numel() for one in original.parameters())
    assert found["verified"]["loads"] and found["verified"]["compared"]


def test_a_converted_model_can_be_saved_and_loaded_again(tmp_path: Path) -> None:
    from train.model import load_model

    import_gguf(tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model("llama")), tmp_path / "out")
    model = load_model(tmp_path / "out", dtype="fp32")

    model.save_pretrained(tmp_path / "again")

    assert float((logits(load_model(tmp_path / "again")) - logits(model)).abs().max()) == 0


def test_the_tokenizer_cuts_text_as_the_name_in_the_file_says(tmp_path: Path) -> None:
    from train.model import load_tokenizer

    made = tiny_gguf.model("llama")
    cut = {}
    for pre in ("smollm", "llama-bpe"):
        import_gguf(tiny_gguf.write(tmp_path / f"{pre}.gguf", made, tokenizer__ggml__pre=pre), tmp_path / pre)
        cut[pre] = load_tokenizer(tmp_path / pre).tokenize("abc 2024")

    assert cut["smollm"] == ["abc", "Ġ", "2", "0", "2", "4"]  # digits stand alone there, and nothing merges them
    assert cut["llama-bpe"] == ["abc", "Ġ", "20", "2", "4"]


def test_the_chat_template_and_the_special_tokens_come_along(tmp_path: Path) -> None:
    from train.model import load_tokenizer

    file = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model("llama"))

    import_gguf(file, tmp_path / "out")

    tokenizer = load_tokenizer(tmp_path / "out")
    said = [{"role": "user", "content": "ab"}]
    assert tokenizer.chat_template == tiny_gguf.TEMPLATE
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    assert tokenizer.apply_chat_template(said, tokenize=False) == "<|im_start|>user\nab<|im_end|>\n"
    assert tokenizer.convert_ids_to_tokens(tokenizer("<|im_end|>")["input_ids"]) == ["<|im_end|>"]


def test_the_first_token_is_added_where_the_file_says_so(tmp_path: Path) -> None:
    from train.model import load_tokenizer

    facts = {"tokenizer__ggml__bos_token_id": len(tiny_gguf.tokens()) - 2, "tokenizer__ggml__add_bos_token": True}
    file = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model("llama"), **facts)

    import_gguf(file, tmp_path / "out")

    tokenizer = load_tokenizer(tmp_path / "out")
    assert tokenizer.convert_ids_to_tokens(tokenizer("ab")["input_ids"]) == ["<|im_start|>", "ab"]


def test_the_same_import_again_is_done_and_another_is_refused(tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model("llama"))
    first = import_gguf(file, tmp_path / "out")

    again = import_gguf(file, tmp_path / "out")

    assert (first["done_before"], again["done_before"]) == (False, True)
    with pytest.raises(UserError, match="result of another run"):
        import_gguf(file, tmp_path / "out", dtype="fp32")
    assert import_gguf(file, tmp_path / "out", dtype="fp32", replace=True)["dtype"] == "fp32"


def test_nothing_is_published_of_a_file_that_fails_half_way(tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model("llama"), tokenizer__ggml__model="bert")

    with pytest.raises(UserError, match="its tokenizer"):
        import_gguf(file, tmp_path / "out")

    assert [one.name for one in tmp_path.iterdir()] == ["tiny.gguf"]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"llama__block_count": 3}, "missing"),
        ({"llama__block_count": 1}, "model.layers.1"),
        ({"llama__embedding_length": 48}, r"is \(\d+, 32\), not \(\d+, 48\)"),
        ({"llama__attention__head_count": 0}, "head_count is 0"),
        ({"llama__rope__scaling__type": "longrope"}, "rope scaling 'longrope'"),
        ({"tokenizer__ggml__pre": "unheard-of"}, "cut as 'unheard-of'"),
        ({"tokenizer__ggml__eos_token_id": 99999}, "eos token 99999"),
        ({"tokenizer__ggml__merges": ["ab"]}, "no pair"),
        ({"tokenizer__ggml__token_type": [1, 1]}, "does not fit"),
        ({"general__type": "adapter"}, "no model but 'adapter'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_file_that_does_not_hold_what_it_says_is_refused(tmp_path: Path, facts: dict[str, Any], said: str) -> None:
    file = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model("llama"), **facts)

    with pytest.raises(UserError, match=said):
        import_gguf(file, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(UserError, match="architecture 'mamba' cannot be converted; known: llama, qwen2, qwen3"):
        import_gguf(tmp_path / "m.gguf", tmp_path / "out")


@pytest.mark.parametrize("kept", [0, 3, 4, 100, 3000, 20_000])
def test_a_truncated_file_is_a_sentence_and_no_traceback(tmp_path: Path, kept: int) -> None:
    whole = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model("llama")).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:kept])

    with pytest.raises(UserError, match=r"damaged|no GGUF file"):
        import_gguf(tmp_path / "cut.gguf", tmp_path / "out")


def test_what_is_there_instead_of_a_gguf_file_is_said(tmp_path: Path) -> None:
    for name, file in (("pickle", "pytorch_model.bin"), ("fine", "model.safetensors"), ("empty", "notes.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("x", encoding="utf-8")

    with pytest.raises(UserError, match="pickle"):
        import_gguf(tmp_path / "pickle", tmp_path / "out")
    with pytest.raises(UserError, match="can be trained as it is"):
        import_gguf(tmp_path / "fine", tmp_path / "out")
    with pytest.raises(UserError, match="holds no GGUF file"):
        import_gguf(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UserError, match="does not exist"):
        import_gguf(tmp_path / "nowhere.gguf", tmp_path / "out")


def test_a_part_of_a_split_model_that_is_missing_is_named(tmp_path: Path) -> None:
    tiny_gguf.write(tmp_path / "m-00001-of-00002.gguf", tiny_gguf.model("llama"))

    with pytest.raises(UserError, match=r"m-00002-of-00002\.gguf is missing"):
        import_gguf(tmp_path, tmp_path / "out")


def test_a_tokenizer_given_besides_must_be_that_of_the_file(tmp_path: Path) -> None:
    made = tiny_gguf.model("llama")
    import_gguf(tiny_gguf.write(tmp_path / "known.gguf", made), tmp_path / "original")
    strange = tiny_gguf.write(tmp_path / "strange.gguf", made, tokenizer__ggml__pre="unheard-of")
    (tmp_path / "other").mkdir()
    other = json.loads((tmp_path / "original" / "tokenizer.json").read_text(encoding="utf-8"))
    other["model"]["vocab"] = {token: 255 - n if n < 256 else n for token, n in other["model"]["vocab"].items()}
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(other), encoding="utf-8")

    found = import_gguf(strange, tmp_path / "out", tokenizer=tmp_path / "original")

    assert found["chat_template"]
    with pytest.raises(UserError, match="is another one"):
        import_gguf(strange, tmp_path / "out2", tokenizer=tmp_path / "other")


def test_llama_3_slows_only_long_waves() -> None:
    factors = llama3_factors(500000.0, 128, 8.0)

    assert factors[0] == 1
    assert factors[-1] == 8
    assert all(one <= other for one, other in pairwise(factors))


def test_a_real_file_is_converted_with_a_warning_of_what_quantisation_took(smollm2: Path) -> None:
    result = json.loads((smollm2 / "manifest.json").read_text(encoding="utf-8"))["result"]

    assert result["parameters"] == 134_515_008
    assert result["verified"]["compared"] and result["verified"]["kl"] < 1e-6
    assert result["chat_template"]
    assert any("quantised" in one for one in result["warnings"])
