"""A model's folder becomes one GGUF file that llama.cpp loads: the way back of `train.gguf`, by the same tables.

Only what can be written without loss of meaning is: an architecture, a tokenizer or a way to scale positions that is
not known is refused before anything is written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import UserError, nearest
from train.gguf import llama3_factors
from train.gguf_file import ARCHITECTURES, CONTROL, NORMAL, ROPE_FACTORS, UNUSED, USER_DEFINED, gguf_name
from train.gguf_tokenizer import PRE_TOKENIZERS
from train.model import load_tokenizer, quietly, read_json_object, weight_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TYPES: Mapping[str, tuple[str, int]] = {"f32": ("F32", 0), "f16": ("F16", 1), "bf16": ("BF16", 32), "q8_0": ("Q8_0", 7)}
"""What weights may be stored as: the tensors' type, and `general.file_type`. One-dimensional tensors are always f32, as
llama.cpp wants them."""

QUANTIZATION_VERSION = 2
"""Of the blocks that q8_0 consists of (`general.quantization_version`)."""

_BLOCK = 32
"""Values of a q8_0 block: a row of another width cannot be cut into them."""

_ELSEWHERE = "export it as safetensors; llama.cpp's own convert_hf_to_gguf.py may know more"

_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@dataclass(frozen=True)
class Words:
    """A tokenizer as GGUF files have it."""

    pre: str
    """How text is cut before pairs are merged: a name in `train.gguf_tokenizer.PRE_TOKENIZERS`."""
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    ids: Mapping[str, int]
    """bos, eos, pad and unk, those there are."""
    adds_bos: bool


@dataclass(frozen=True)
class Writable:
    """A model that can be written, and what was found out about it."""

    config: Any
    words: Words
    rope: Mapping[str, Any]


def writable(folder: Path, tokenizer: Path) -> Writable:
    """What a GGUF file of the model in `folder` with the tokenizer in `tokenizer` says, its weights not looked at.
    Raises UserError for an architecture or a tokenizer that is not known."""
    from transformers import AutoConfig

    family = str(read_json_object(folder / "config.json").get("model_type", ""))
    if family not in ARCHITECTURES:
        raise UserError(
            f"a model of the architecture {family!r} cannot be written as GGUF here; known: {', '.join(ARCHITECTURES)}",
            hint=_ELSEWHERE,
        )
    with quietly():
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder / 'config.json'} cannot be read: {error}"[:500], hint="get it again") from error
    odd = _odd_settings(config)
    if odd:
        raise UserError(f"{folder} is an unusual {family} model: {odd}, which is not known here", hint=_ELSEWHERE)
    return Writable(config, read_words(tokenizer, int(config.vocab_size)), _rope(folder, config))


def _odd_settings(config: Any) -> str:
    """A setting that such files have no word for, or that is not read back; empty if there is none."""
    usual = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    for name, value in usual.items():
        if getattr(config, name, value) != value:
            return f"{name} is {getattr(config, name)!r}"
    if getattr(config, "use_sliding_window", False):
        return "it attends within a sliding window"
    if set(getattr(config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        return "its layers do not all attend to everything"
    return ""


def _rope(folder: Path, config: Any) -> Mapping[str, Any]:
    """How positions are told apart. Raises UserError for a way that is not known."""
    found = dict(config.rope_parameters or {})
    kind = found.pop("rope_type", "default")
    theta = float(found.pop("rope_theta", 10000.0))
    known: dict[str, dict[str, Any]] = {
        "default": {},
        "linear": {"factor": found.get("factor")},
        "yarn": {name: found.get(name) for name in ("factor", "original_max_position_embeddings")},
        "llama3": {**_LLAMA3, "factor": found.get("factor")},
    }
    if found.get("partial_rotary_factor") == 1.0:
        del found["partial_rotary_factor"]
    right = kind in known and found == known[kind] and None not in found.values()
    if kind == "llama3" and (config.model_type != "llama" or found.get("factor") not in (8.0, 32.0)):
        right = False
    if not right:
        raise UserError(
            f"{folder} tells positions apart in a way that is not known here: {kind} {found or ''}".rstrip(),
            hint=_ELSEWHERE,
        )
    return {"kind": kind, "theta": theta, **found}


def read_words(folder: Path, size: int) -> Words:
    """The tokenizer in a folder, for a model with `size` embeddings. Raises UserError for one that is not known."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{folder} has no tokenizer.json", hint=_ELSEWHERE)
    whole = read_json_object(path)
    model, added = whole.get("model") or {}, whole.get("added_tokens") or []
    pre = _pre_of(whole)
    plain = {"type": "BPE", "dropout": None, "byte_fallback": False, "fuse_unk": False}
    plain |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    odd = [name for name, value in plain.items() if (model.get(name) or value) != value]
    odd += [one["content"] for one in added if one.get("lstrip") or one.get("rstrip") or one.get("single_word")]
    if pre is None or odd or bool(model.get("ignore_merges")) != (pre == "llama-bpe"):
        said = f"its {odd[0]!r} is unusual" if odd else "how it cuts text is none of " + ", ".join(PRE_TOKENIZERS)
        raise UserError(f"the tokenizer in {folder} cannot be written as GGUF: {said}", hint=_ELSEWHERE)
    by_id = {number: token for token, number in model["vocab"].items()}
    types = dict.fromkeys(by_id, NORMAL)
    for one in added:
        by_id[one["id"]] = one["content"]
        types[one["id"]] = CONTROL if one.get("special") else USER_DEFINED
    if max(by_id) >= size:
        raise UserError(
            f"the tokenizer in {folder} has a token {max(by_id):,}, and the model {size:,} embeddings",
            hint="use the tokenizer that the model was trained with",
        )
    # Embeddings without a token, as most models have some, need a name that no other has.
    tokens = tuple(by_id.get(number, f"[PAD{number}]") for number in range(size))
    if len(set(tokens)) != size:
        raise UserError(f"the tokenizer in {folder} has a token twice", hint=_ELSEWHERE)
    merges = tuple(one if isinstance(one, str) else " ".join(one) for one in model.get("merges") or ())
    if not merges:
        raise UserError(f"the tokenizer in {folder} merges nothing, and llama.cpp loads no such one", hint=_ELSEWHERE)
    loaded = load_tokenizer(folder)
    ids = {name: getattr(loaded, f"{name}_token_id") for name in ("bos", "eos", "pad", "unk")}
    # Qwen2's class adds an unknown token of its own where the tokenizer has none: it has no embedding.
    ids = {name: int(number) for name, number in ids.items() if number in by_id}
    bare, begun = (loaded("a", add_special_tokens=added).input_ids for added in (False, True))
    if begun not in (bare, [ids.get("bos"), *bare]):
        raise UserError(
            f"the tokenizer in {folder} puts more than its first token around a text: that is not known here",
            hint=_ELSEWHERE,
        )
    return Words(
        pre, tokens, tuple(types.get(number, UNUSED) for number in range(size)), merges, ids, adds_bos=begun != bare
    )


def _pre_of(whole: Mapping[str, Any]) -> str | None:
    """The name in GGUF files of how a tokenizer.json cuts text; None if it is not one that is known."""
    said = json.dumps(_essence(whole.get("pre_tokenizer")), sort_keys=True)
    normalizer = whole.get("normalizer")
    for name, known in PRE_TOKENIZERS.items():
        wanted = {"type": "NFC"} if name == "qwen2" else None
        if json.dumps(_essence(known), sort_keys=True) == said and normalizer == wanted:
            return name
    return None


def _essence(value: Any) -> Any:
    """A pre-tokenizer without what changes nothing: where offsets point, and steps that do nothing."""
    if isinstance(value, dict):
        if value.get("type") == "ByteLevel":
            value = {"use_regex": True, **value}
        return {name: _essence(one) for name, one in value.items() if name not in ("trim_offsets", "invert")}
    return [_essence(one) for one in value] if isinstance(value, list) else value


def check_type(said: str) -> None:
    """Raise UserError for a type that weights are not stored as."""
    if said not in TYPES:
        raise UserError(f"there is no --type {said!r}", hint=nearest(said, TYPES))


def write_gguf(
    model: Writable, folder: Path, file: Path, kind: str, *, stops: Sequence[int], template: str | None, name: str
) -> dict[str, Any]:
    """Write the weights in `folder` as a GGUF file. `stops` are the tokens that end a turn, the one that was trained
    first; `template` is the chat template. Holds one tensor in memory.

    Returns {bytes, tensors, as: {type: tensors}}. Raises UserError for weights that do not fit.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(file, model.config.model_type)
    _write_facts(writer, model, kind, stops=stops, template=template, name=name)
    tied = bool(model.config.tie_word_embeddings)
    where = {one: file_ for one, file_ in tensors_of(folder).items() if not (tied and one == "lm_head.weight")}
    unknown = sorted(one for one in where if gguf_name(one) is None)
    if unknown:
        raise UserError(f"{folder}: the tensor {unknown[0]!r} is none of such a model", hint=_ELSEWHERE)
    stored: dict[str, str] = {}
    for one, file_ in where.items():
        shape = _shape(folder / file_, one)
        stored[one] = _stored_as(kind, shape)
        type_ = GGMLQuantizationType[stored[one]]
        values = _quantised(np.zeros((1, shape[-1]), np.float32), stored[one])  # how wide a row becomes
        wide = (*shape[:-1], values.shape[-1])
        writer.add_tensor_info(
            str(gguf_name(one)), wide, values.dtype, int(np.prod(wide)) * values.itemsize, raw_dtype=type_
        )
    factors = _factors(model)
    if factors is not None:
        writer.add_tensor_info(ROPE_FACTORS, factors.shape, factors.dtype, factors.nbytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for one, file_ in where.items():
        values = _quantised(_values(folder / file_, one, model.config), stored[one])
        if values.dtype == np.float16 and not np.isfinite(values).all():
            raise UserError(f"{one} holds values that f16 cannot hold", hint="give --type bf16 or f32")
        writer.write_tensor_data(values)
    if factors is not None:
        writer.write_tensor_data(factors)
    writer.close()
    kinds = sorted(set(stored.values()))
    counted = {one.lower(): sum(1 for other in stored.values() if other == one) for one in kinds}
    return {"bytes": file.stat().st_size, "tensors": len(stored), "as": counted}


def _write_facts(
    writer: Any, model: Writable, kind: str, *, stops: Sequence[int], template: str | None, name: str
) -> None:
    from gguf import RopeScalingType

    config, words, rope = model.config, model.words, model.rope
    heads = int(config.num_attention_heads)
    head = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(TYPES[kind][1])
    writer.add_quantization_version(QUANTIZATION_VERSION)
    writer.add_vocab_size(int(config.vocab_size))
    writer.add_context_length(int(config.max_position_embeddings))
    writer.add_embedding_length(int(config.hidden_size))
    writer.add_block_count(int(config.num_hidden_layers))
    writer.add_feed_forward_length(int(config.intermediate_size))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(getattr(config, "num_key_value_heads", None) or heads))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(float(config.rms_norm_eps))
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(rope["theta"])
    if rope["kind"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType(rope["kind"]))
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if rope["kind"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    if "bos" in words.ids:
        writer.add_bos_token_id(words.ids["bos"])
    # Three keys say where generation ends; llama.cpp knows further ones by their names, and `train.verifying` asks it.
    ends = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for add, stop in zip(ends, stops, strict=False):
        add(stop)
    if "pad" in words.ids:
        writer.add_pad_token_id(words.ids["pad"])
    if "unk" in words.ids:
        writer.add_unk_token_id(words.ids["unk"])
    writer.add_add_bos_token(words.adds_bos)
    if template is not None:
        writer.add_chat_template(template)


def parameters_of(folder: Path) -> int:
    """How many values a model's weights are."""
    return sum(math.prod(_shape(folder / file, name)) for name, file in tensors_of(folder).items())


def tensors_of(folder: Path) -> dict[str, str]:
    """The file that each of a model's tensors is in."""
    from safetensors import safe_open

    found: dict[str, str] = {}
    for file in weight_files(folder):
        with safe_open(folder / file, framework="pt") as held:
            found |= dict.fromkeys(held.keys(), file)
    return found


def _shape(file: Path, name: str) -> tuple[int, ...]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as held:
        return tuple(held.get_slice(name).get_shape())


def _stored_as(kind: str, shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return "F32"
    return "F16" if kind == "q8_0" and shape[-1] % _BLOCK else TYPES[kind][0]


def _values(file: Path, name: str, config: Any) -> NDArray[np.float32]:
    """A tensor's values in llama.cpp's order."""
    import numpy as np
    from safetensors import safe_open

    with safe_open(file, framework="pt") as held:
        values = held.get_tensor(name).float().numpy()
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds values that are no numbers", hint="train it again, with a lower learning rate")
    if config.model_type == "llama":
        heads = int(config.num_attention_heads)
        if ".q_proj." in name:
            return pairs(values, heads)
        if ".k_proj." in name:
            return pairs(values, int(getattr(config, "num_key_value_heads", None) or heads))
    return np.ascontiguousarray(values)


def pairs(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head as llama.cpp turns them by position, the two of a pair side by side: `train.gguf.halves`, the
    other way round."""
    size = values.shape[0] // heads
    return values.reshape(heads, 2, size // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _quantised(values: NDArray[np.float32], kind: str) -> NDArray[Any]:
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    with np.errstate(over="ignore"):  # what does not fit is refused afterwards
        return np.ascontiguousarray(quantize(values, GGMLQuantizationType[kind]))


def _factors(model: Writable) -> NDArray[np.float32] | None:
    """By how much each frequency of a Llama 3 model is slowed."""
    if model.rope["kind"] != "llama3":
        return None
    config = model.config
    head = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    return llama3_factors(model.rope["theta"], head, float(model.rope["factor"])).astype("float32")
