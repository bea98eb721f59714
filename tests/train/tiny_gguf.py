"""Tiny random models, as a GGUF file and as what it was made from, for tests of the way between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

HIDDEN, INNER, LAYERS, HEADS, GROUPS, HEAD = 32, 64, 2, 4, 2, 8

MERGES = ["a b", "ab c", "Ġ t", "2 0"]
SPECIAL = ["<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def tokens() -> list[str]:
    """A byte-level vocabulary: all bytes, what the merges make, two control tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    return [*sorted(ByteLevel.alphabet()), *(one.replace(" ", "") for one in MERGES), *SPECIAL]


def model(architecture: str, **settings: Any) -> Any:
    """A random model of transformers, all of whose tensors count."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        architecture,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        head_dim=HEAD,
        vocab_size=len(tokens()),
        max_position_embeddings=16384,
        rms_norm_eps=1e-5,
        bos_token_id=None,
        eos_token_id=len(tokens()) - 1,
        pad_token_id=len(tokens()) - 1,
        **{"tie_word_embeddings": False, **settings},
    )
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(config)
    for parameter in made.parameters():
        # Rounded, so that the values survive bf16.
        torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.3)
        parameter.data = parameter.data.bfloat16().float()
    return made.eval()


NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write(path: Path, made: Any, **facts: Any) -> Path:
    """Write a model as a GGUF file in fp32. `facts` replace metadata by key (dots as two underscores), None removes."""
    from gguf import GGUFWriter

    config = made.config
    kind = config.model_type
    writer = GGUFWriter(path, kind)
    words = tokens()
    theta = config.rope_parameters["rope_theta"]
    said: dict[str, Any] = {
        f"{kind}.block_count": LAYERS,
        f"{kind}.context_length": config.max_position_embeddings,
        f"{kind}.embedding_length": HIDDEN,
        f"{kind}.feed_forward_length": INNER,
        f"{kind}.attention.head_count": HEADS,
        f"{kind}.attention.head_count_kv": GROUPS,
        f"{kind}.attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        f"{kind}.rope.freq_base": float(theta),
        **({f"{kind}.rope.dimension_count": HEAD} if kind == "llama" else {f"{kind}.attention.key_length": HEAD}),
        f"{kind}.vocab_size": len(words),
        "general.name": "tiny",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": [1] * (len(words) - len(SPECIAL)) + [3] * len(SPECIAL),
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.eos_token_id": len(words) - 1,
        "tokenizer.ggml.padding_token_id": len(words) - 1,
        "tokenizer.chat_template": TEMPLATE,
    }
    said |= {key.replace("__", "."): value for key, value in facts.items()}
    for key, value in said.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif value is not None:
            writer.add_array(key, value)
    for name, tensor in made.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if kind == "llama" and ("q_proj" in name or "k_proj" in name):
            values = turned(values, HEADS if "q_proj" in name else GROUPS)
        writer.add_tensor(gguf_name(name), values)
    if config.rope_parameters["rope_type"] == "llama3":
        # transformers' own frequencies, against those without scaling: what llama.cpp's converter writes.
        plain = 1 / theta ** (np.arange(0, HEAD, 2) / HEAD)
        slowed = made.model.rotary_emb.inv_freq.numpy()
        writer.add_tensor("rope_freqs.weight", (plain / slowed).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    """A tensor's name in GGUF files."""
    stem, _, ending = name.rpartition(".")
    if stem.startswith("model.layers."):
        number, rest = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{number}.{NAMES[rest]}.{ending}"
    return f"{NAMES[stem]}.{ending}"


def turned(values: Any, heads: int) -> Any:
    """Rows of each head in llama.cpp's order: row i of the first half, then row i of the second half."""
    size = values.shape[0] // heads
    order = [head * size + half * (size // 2) + i for head in range(heads) for i in range(size // 2) for half in (0, 1)]
    return np.ascontiguousarray(values[order])
