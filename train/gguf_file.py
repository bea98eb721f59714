"""GGUF files as they are: which files make up a model, its metadata and tensors, and what its tensors are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UserError

ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""What is converted, both ways: a GGUF file's `general.architecture`, which is also transformers' model type (Mistral's
and SmolLM's models are `llama` there), and the class."""

MAGIC = b"GGUF"

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
ROPE_FACTORS = "rope_freqs.weight"
"""The tensor of a Llama 3 file that is no weight: by how much each frequency is slowed."""

ELSEWHERE = "get the model's safetensors folder, which is what it was made from"

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Types of a token (`tokenizer.ggml.token_type`)."""


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF files do."""
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def gguf_files(path: Path) -> list[Path]:
    """The files of the GGUF model at `path`, in order: one, or all the parts of a split one.

    Raises UserError when there is none or a part is missing.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist", hint="name a GGUF file, or a folder that holds one")
    if path.is_dir():
        path = _only_gguf(path)
    elif not is_gguf(path):
        raise UserError(f"{path} is no GGUF file", hint="it does not begin with the letters GGUF")
    part = re.fullmatch(r"(.+)-(\d{5})-of-(\d{5})\.gguf", path.name)
    if part is None:
        return [path]
    parts = [path.with_name(f"{part[1]}-{n + 1:05d}-of-{part[3]}.gguf") for n in range(min(int(part[3]), 10_000))]
    missing = [one.name for one in parts if not is_gguf(one)]
    if missing:
        raise UserError(
            f"{path} is one part of several, and {missing[0]} is missing", hint="put all parts side by side"
        )
    return parts


def _only_gguf(folder: Path) -> Path:
    found = sorted(folder.glob("*.gguf"))
    models = [one for one in found if not re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", one.name)]
    if len(models) > 1:
        names = ", ".join(one.name for one in models[:5])
        raise UserError(f"{folder} holds several GGUF files", hint=f"name one of: {names}")
    if models:
        return models[0]
    if any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} can be trained as it is", hint=f"give it as --model {folder}")
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        raise UserError(
            f"{folder} holds its weights as pickle, which can run any program when it is read",
            hint="get the same model as safetensors",
        )
    raise UserError(f"{folder} holds no GGUF file", hint="name the file, or another folder")


@dataclass(frozen=True)
class GgufModel:
    """What a GGUF model holds: its metadata by key, and its tensors by name."""

    files: list[Path]
    facts: Mapping[str, Any]
    tensors: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        """`general.architecture`."""
        return str(self.facts["general.architecture"])

    def fact(self, key: str, default: Any = None) -> Any:
        """A value of the architecture's own, such as `block_count`."""
        return self.facts.get(f"{self.architecture}.{key}", default)

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        head = self.fact("attention.key_length")
        if head is None and self.architecture == "llama":
            head = self.fact("rope.dimension_count")
        if isinstance(head, int):
            return head
        return self.number("embedding_length") // self.number("attention.head_count")

    @property
    def groups(self) -> int:
        """Heads of keys and values of a layer."""
        heads = self.number("attention.head_count")
        found = self.fact("attention.head_count_kv", heads)
        if not isinstance(found, int) or not 0 < found <= heads:
            raise self.error("its layers are not all alike", ELSEWHERE)
        return found

    def number(self, key: str) -> int:
        """A size of the architecture's own, checked."""
        value = self.fact(key)
        if not isinstance(value, int) or not 0 < value < 1 << 31:
            raise self.error(f"{self.architecture}.{key} is {value!r}")
        return value

    def error(self, message: str, hint: str = "get the file again; it is damaged or unusual") -> UserError:
        """What is wrong with the file."""
        return UserError(f"{self.files[0]}: {message}", hint=hint, file=str(self.files[0]))


def read_gguf(files: list[Path]) -> GgufModel:
    from gguf import GGUFReader

    facts: dict[str, Any] = {}
    tensors: dict[str, Any] = {}
    for file in files:
        try:
            reader = GGUFReader(file)
            facts = {name: field.contents() for name, field in reader.fields.items()} | facts
            tensors |= {tensor.name: tensor for tensor in reader.tensors}
        except (ArithmeticError, LookupError, OSError, TypeError, ValueError, MemoryError) as error:
            raise UserError(
                f"{file} is damaged: {type(error).__name__}", hint="get the file again", file=str(file)
            ) from error
    source = GgufModel(files, facts, tensors)
    if "general.architecture" not in facts or facts.get("general.type", "model") != "model":
        raise source.error(f"it is no model but {facts.get('general.type', 'something else')!r}", "name a model's file")
    if source.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise source.error(
            f"a GGUF file of the architecture {source.architecture!r} cannot be converted; known: {known}",
            "get the model's safetensors folder, which is what it was made from",
        )
    return source


def hf_name(name: str) -> str | None:
    """A tensor's name in transformers; None if it is not one of those we know."""
    layer = re.fullmatch(r"blk\.(\d{1,4})\.([a-z_]+)\.(weight|bias)", name)
    if layer is not None and layer[2] in _LAYER:
        return f"model.layers.{layer[1]}.{_LAYER[layer[2]]}.{layer[3]}"
    top = re.fullmatch(r"([a-z_]+)\.weight", name)
    return f"{_TOP[top[1]]}.weight" if top is not None and top[1] in _TOP else None


def gguf_name(name: str) -> str | None:
    """The reverse of `hf_name`."""
    layer = re.fullmatch(r"model\.layers\.(\d{1,4})\.(.+)\.(weight|bias)", name)
    if layer is not None:
        found = {theirs: ours for ours, theirs in _LAYER.items()}.get(layer[2])
        return f"blk.{layer[1]}.{found}.{layer[3]}" if found else None
    top = {f"{theirs}.weight": f"{ours}.weight" for ours, theirs in _TOP.items()}
    return top.get(name)
