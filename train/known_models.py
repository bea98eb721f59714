"""Sizes of well-known models, for planning before anything is fetched: the entries of their config.json that count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def _sizes(
    family: str, hidden: int, inner: int, layers: int, heads: int, groups: int, vocabulary: int, *, tied: bool = False
) -> dict[str, Any]:
    return {
        "model_type": family,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }


def _qwen3(hidden: int, inner: int, layers: int, heads: int, *, tied: bool = False) -> dict[str, Any]:
    return _sizes("qwen3", hidden, inner, layers, heads, 8, 151936, tied=tied) | {"head_dim": 128}


_GEMMA2_9B = _sizes("gemma2", 3584, 14336, 42, 16, 8, 256000, tied=True) | {"head_dim": 256}

KNOWN: Mapping[str, Mapping[str, Any]] = {
    "smollm2-135m": _sizes("llama", 576, 1536, 30, 9, 3, 49152, tied=True),
    "smollm2-360m": _sizes("llama", 960, 2560, 32, 15, 5, 49152, tied=True),
    "smollm2-1.7b": _sizes("llama", 2048, 8192, 24, 32, 32, 49152, tied=True),
    "tinyllama-1.1b": _sizes("llama", 2048, 5632, 22, 32, 4, 32000),
    "llama-7b": _sizes("llama", 4096, 11008, 32, 32, 32, 32000),
    "llama-13b": _sizes("llama", 5120, 13824, 40, 40, 40, 32000),
    "llama-30b": _sizes("llama", 6656, 17920, 60, 52, 52, 32000),
    "llama-65b": _sizes("llama", 8192, 22016, 80, 64, 64, 32000),
    "llama-2-7b": _sizes("llama", 4096, 11008, 32, 32, 32, 32000),
    "llama-2-13b": _sizes("llama", 5120, 13824, 40, 40, 40, 32000),
    "llama-2-70b": _sizes("llama", 8192, 28672, 80, 64, 8, 32000),
    "codellama-34b": _sizes("llama", 8192, 22016, 48, 64, 8, 32000),
    "llama-3-8b": _sizes("llama", 4096, 14336, 32, 32, 8, 128256),
    "llama-3-70b": _sizes("llama", 8192, 28672, 80, 64, 8, 128256),
    "llama-3.1-8b": _sizes("llama", 4096, 14336, 32, 32, 8, 128256),
    "llama-3.1-70b": _sizes("llama", 8192, 28672, 80, 64, 8, 128256),
    "llama-3.2-1b": _sizes("llama", 2048, 8192, 16, 32, 8, 128256, tied=True),
    "llama-3.2-3b": _sizes("llama", 3072, 8192, 28, 24, 8, 128256, tied=True),
    "llama-3.3-70b": _sizes("llama", 8192, 28672, 80, 64, 8, 128256),
    "mistral-7b": _sizes("mistral", 4096, 14336, 32, 32, 8, 32000),
    "mixtral-8x7b": _sizes("mixtral", 4096, 14336, 32, 32, 8, 32000)
    | {"num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2.5-0.5b": _sizes("qwen2", 896, 4864, 24, 14, 2, 151936, tied=True),
    "qwen2.5-1.5b": _sizes("qwen2", 1536, 8960, 28, 12, 2, 151936, tied=True),
    "qwen2.5-3b": _sizes("qwen2", 2048, 11008, 36, 16, 2, 151936, tied=True),
    "qwen2.5-7b": _sizes("qwen2", 3584, 18944, 28, 28, 4, 152064),
    "qwen2.5-14b": _sizes("qwen2", 5120, 13824, 48, 40, 8, 152064),
    "qwen2.5-32b": _sizes("qwen2", 5120, 27648, 64, 40, 8, 152064),
    "qwen2.5-72b": _sizes("qwen2", 8192, 29568, 80, 64, 8, 152064),
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, tied=True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, tied=True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, tied=True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40),
    "qwen3-32b": _qwen3(5120, 25600, 64, 64),
    "qwen3-30b-a3b": _sizes("qwen3_moe", 2048, 6144, 48, 32, 4, 151936)
    | {"head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
    "gemma-2-2b": _sizes("gemma2", 2304, 9216, 26, 8, 4, 256000, tied=True) | {"head_dim": 256},
    "gemma-2-9b": _GEMMA2_9B,
    "gemma-2-27b": _sizes("gemma2", 4608, 36864, 46, 32, 16, 256000, tied=True) | {"head_dim": 128},
    "gemma-3-270m": _sizes("gemma3_text", 640, 2048, 18, 4, 1, 262144, tied=True) | {"head_dim": 256},
    "phi-3-mini": _sizes("phi3", 3072, 8192, 32, 32, 32, 32064),
    "glm-4-9b": _sizes("glm4", 4096, 13696, 40, 32, 2, 151552) | {"head_dim": 128, "attention_bias": True},
    "deepseek-v3": _sizes("deepseek_v3", 7168, 18432, 61, 128, 128, 129280),
}
"""By the name people use, in small letters, without the owner and without what says how it was tuned."""

_TUNED = re.compile(r"(?:-(?:instruct|base|chat|it|hf|pt|v\d(?:\.\d)?|0414|2507|4k|8k|128k))+$")


def known_config(name: str) -> Mapping[str, Any] | None:
    """The sizes of the model that a name such as `Qwen/Qwen2.5-7B-Instruct` or `llama-3-8b` means; None if unknown."""
    short = name.rpartition(":")[2].rpartition("/")[2].lower().replace("_", "-").replace("meta-llama", "llama")
    return KNOWN.get(short) or KNOWN.get(_TUNED.sub("", short))
