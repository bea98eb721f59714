"""What a model consists of, by its config.json alone: parameters by part, linear layers, what a token leaves behind.

Counts are those of transformers' own classes, to the last parameter: a test builds them without memory and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import UserError, nearest

MAX_LAYERS = 10_000
"""No model has so many; a config.json that says so is damaged."""


@dataclass(frozen=True)
class Linear:
    """Linear layers of one size: how many there are, and the width of what goes in and comes out."""

    name: str
    inputs: int
    outputs: int
    count: int
    bias: bool = False

    @property
    def parameters(self) -> int:
        """Of all of them."""
        return self.count * self.outputs * (self.inputs + self.bias)


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. Parameters are counted once where an embedding is also the output layer (`tied`)."""

    family: str
    layers: int
    hidden_size: int
    vocab_size: int
    window: int
    tied: bool
    linears: tuple[Linear, ...]
    """The linear layers inside the model's layers: what a 4-bit base quantises."""
    adapted: tuple[Linear, ...]
    """What PEFT adapts under all-linear: the linear layers. Of most families with experts it is the attention, the
    routers and every expert instead, those of gates at twice the rank, and no other feed-forward network."""
    embedding: int
    head: int
    """Parameters of the output layer; 0 where it is the embedding."""
    norms: int
    routers: int
    experts: int
    """Parameters of experts. transformers holds a layer's experts as one tensor, no linear layer: bitsandbytes does not
    quantise it."""
    active_experts: int
    """Those of the experts that one token goes through."""
    attention: int
    """Width of the queries of a layer, all heads together."""
    kept: int
    """Numbers of a layer and token that are kept for the backward pass while the weights are frozen, on average."""
    kept_by_norms: int
    """Those of them that are the inputs of normalisation: kept in 32 bits, and once more where norms are trained."""

    @property
    def parameters(self) -> int:
        """All of them."""
        inside = sum(one.parameters for one in self.linears)
        return self.embedding + self.head + self.norms + self.routers + self.experts + inside

    @property
    def active(self) -> int:
        """Parameters that a token is multiplied with: the embedding is a lookup, and most experts are left out."""
        inside = sum(one.parameters for one in self.linears)
        output = self.head or self.embedding
        return inside + self.norms + self.routers + self.active_experts + output

    @property
    def parts(self) -> dict[str, int]:
        """Parameters by part; parts that the model lacks are left out."""
        attention = sum(one.parameters for one in self.linears if one.name.startswith("attention."))
        forward = sum(one.parameters for one in self.linears) - attention
        found = {
            "embedding": self.embedding,
            "attention": attention,
            "feed_forward": forward,
            "experts": self.experts,
            "routers": self.routers,
            "norms": self.norms,
            "output": self.head,
        }
        return {name: count for name, count in found.items() if count}


def shape_of(config: Mapping[str, Any], name: str = "the model") -> Shape:
    """The sizes that a config.json gives. `name` is said in errors.

    Raises UserError for a family that is not known here, and for a size that is missing or impossible.
    """
    read = _Config(_text_part(config), name)
    if read.family not in FAMILIES:
        raise UserError(
            f"{name} is of the family {read.family or 'unknown'!r}, whose layers are not known here",
            hint=nearest(read.family, FAMILIES),
        )
    return FAMILIES[read.family](read)


def is_multimodal(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a model that reads more than text; only its text part is counted."""
    return isinstance(config.get("text_config"), Mapping)


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return config
    outer = {key: config[key] for key in ("tie_word_embeddings",) if key in config}
    return {"model_type": f"{config.get('model_type')}_text"} | outer | dict(inner)


class _Config:
    """A config.json whose sizes are checked when they are asked for."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self.values = values
        self.name = name
        self.family = str(values.get("model_type", ""))

    def size(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise UserError(f"{self.name} has no {key} in its config.json", hint="get the model again")
        most = MAX_LAYERS if key == "num_hidden_layers" else 1 << 31
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < most:
            raise UserError(f"{self.name} has a {key} of {value!r} in its config.json", hint="get the model again")
        return value

    def yes(self, key: str, default: bool) -> bool:
        value = self.values.get(key)
        return default if value is None else bool(value)

    def listed(self, key: str) -> frozenset[int]:
        value = self.values.get(key)
        return frozenset(one for one in value if isinstance(one, int)) if isinstance(value, list) else frozenset()


def _attention(
    read: _Config,
    *,
    head: int | None = None,
    heads: int | None = None,
    groups: int | None = None,
    bias: bool = False,
    output_bias: bool = False,
    fused: bool = False,
    normed: bool = False,
) -> tuple[list[Linear], int, int, int, int]:
    """Attention with grouped keys and values: its linear layers, its norms' parameters, the width of its queries, what
    it keeps of a token (inputs, queries, keys, values, output, and one number a head), and what its norms add."""
    layers, hidden = read.size("num_hidden_layers"), read.size("hidden_size")
    heads = read.size("num_attention_heads", heads)
    groups = read.size("num_key_value_heads", groups or heads)
    head = read.size("head_dim", head or max(hidden // heads, 1))
    queries, keys = heads * head, groups * head
    if fused:
        made = [Linear("attention.qkv", hidden, queries + 2 * keys, layers, bias)]
    else:
        made = [
            Linear("attention.q", hidden, queries, layers, bias),
            Linear("attention.k", hidden, keys, layers, bias),
            Linear("attention.v", hidden, keys, layers, bias),
        ]
    made.append(Linear("attention.o", queries, hidden, layers, output_bias))
    kept = hidden + 2 * queries + 2 * keys + heads
    added = queries + keys if normed else 0
    return made, 2 * head * layers if normed else 0, queries, kept + added, added


def _feed_forward(hidden: int, inner: int, count: int, *, fused: bool = False, bias: bool = False) -> list[Linear]:
    """A gated feed-forward network."""
    if not count or not inner:
        return []
    gate = Linear("feed_forward.gate_up", hidden, 2 * inner, count, bias)
    apart = [Linear(f"feed_forward.{name}", hidden, inner, count, bias) for name in ("gate", "up")]
    return [*([gate] if fused else apart), Linear("feed_forward.down", inner, hidden, count, bias)]


def _shape(
    read: _Config,
    attention: tuple[list[Linear], int, int, int, int],
    forward: list[Linear],
    *,
    tied: bool,
    vocabulary: int | None = None,
    norms_of_layer: int = 2,
    kept_forward: float,
    routers: int = 0,
    experts: int = 0,
    active_experts: int = 0,
    adapted_experts: Sequence[Linear] = (),
) -> Shape:
    layers, hidden = read.size("num_hidden_layers"), read.size("hidden_size")
    vocabulary = read.size("vocab_size", vocabulary)
    made, attention_norms, queries, kept, kept_by_norms = attention
    tied = read.yes("tie_word_embeddings", tied)
    normed = norms_of_layer * hidden
    return Shape(
        family=read.family,
        layers=layers,
        hidden_size=hidden,
        vocab_size=vocabulary,
        window=read.size("max_position_embeddings", 1 << 30),
        tied=tied,
        linears=tuple(made + forward),
        adapted=(*made, *adapted_experts) if adapted_experts else tuple(made + forward),
        embedding=vocabulary * hidden,
        head=0 if tied else vocabulary * hidden,
        norms=attention_norms + norms_of_layer * hidden * layers + hidden,
        routers=routers,
        experts=experts,
        active_experts=active_experts,
        attention=queries,
        kept=round(kept + normed + hidden + kept_forward),
        kept_by_norms=kept_by_norms + normed,
    )


def _dense(
    read: _Config,
    attention: tuple[list[Linear], int, int, int, int],
    *,
    tied: bool = False,
    vocabulary: int | None = None,
    norms_of_layer: int = 2,
    fused: bool = False,
    bias: bool = False,
) -> Shape:
    inner = read.size("intermediate_size")
    forward = _feed_forward(read.size("hidden_size"), inner, read.size("num_hidden_layers"), fused=fused, bias=bias)
    return _shape(
        read,
        attention,
        forward,
        tied=tied,
        vocabulary=vocabulary,
        norms_of_layer=norms_of_layer,
        kept_forward=4 * inner,  # the gate before and after its function, the other half, and their product
    )


def _llama(read: _Config) -> Shape:
    bias = read.yes("attention_bias", False)
    return _dense(read, _attention(read, bias=bias, output_bias=bias), bias=read.yes("mlp_bias", False))


def _mistral(read: _Config) -> Shape:
    return _dense(read, _attention(read, groups=8))


def _smollm3(read: _Config) -> Shape:
    bias = read.yes("attention_bias", False)
    attention = _attention(read, groups=4, bias=bias, output_bias=bias)
    return _dense(read, attention, tied=True, bias=read.yes("mlp_bias", False))


def _qwen2(read: _Config) -> Shape:
    return _dense(read, _attention(read, bias=True))


def _qwen3(read: _Config) -> Shape:
    bias = read.yes("attention_bias", False)
    return _dense(read, _attention(read, head=128, bias=bias, output_bias=bias, normed=True))


def _phi3(read: _Config) -> Shape:
    return _dense(read, _attention(read, fused=True), fused=True)


def _gemma(read: _Config) -> Shape:
    bias = read.yes("attention_bias", False)
    attention = _attention(read, head=256, heads=16, groups=16, bias=bias, output_bias=bias)
    return _dense(read, attention, tied=True, vocabulary=256000)


def _gemma2(read: _Config) -> Shape:
    bias = read.yes("attention_bias", False)
    attention = _attention(read, head=256, heads=8, groups=4, bias=bias, output_bias=bias)
    return _dense(read, attention, tied=True, vocabulary=256000, norms_of_layer=4)


def _gemma3(read: _Config) -> Shape:
    bias = read.yes("attention_bias", False)
    attention = _attention(read, head=256, heads=8, groups=4, bias=bias, output_bias=bias, normed=True)
    return _dense(read, attention, tied=True, vocabulary=262208, norms_of_layer=4)


def _glm4(read: _Config) -> Shape:
    attention = _attention(read, head=128, groups=2, bias=read.yes("attention_bias", False))
    return _dense(read, attention, norms_of_layer=4, fused=True)


def _experts(
    read: _Config,
    attention: tuple[list[Linear], int, int, int, int],
    *,
    number: int,
    inner: int,
    chosen: int,
    sparse: int,
    shared: int = 0,
    shared_gate: bool = False,
    adapts_experts: bool = True,
) -> Shape:
    """A model some of whose layers have experts: `number` of them, each `inner` wide, `chosen` for a token; beside them
    one of width `shared` that every token goes through."""
    hidden, layers = read.size("hidden_size"), read.size("num_hidden_layers")
    dense = layers - sparse
    width = read.size("intermediate_size", 1) if dense else 0
    forward = _feed_forward(hidden, width, dense) + _feed_forward(hidden, shared, sparse if shared else 0)
    if shared_gate:
        forward.append(Linear("feed_forward.shared_gate", hidden, 1, sparse))
    one = 3 * hidden * inner
    adapted = [
        Linear("router", hidden, number, sparse),
        Linear("experts.gate_up", hidden, 2 * inner, 2 * number * sparse),
        Linear("experts.down", inner, hidden, number * sparse),
    ]
    per_token = chosen * (4 * inner + 2 * hidden) + 4 * shared
    return _shape(
        read,
        attention,
        forward,
        tied=False,
        kept_forward=(dense * 4 * width + sparse * per_token) / layers,
        routers=sparse * number * hidden,
        experts=sparse * number * one,
        active_experts=sparse * chosen * one,
        adapted_experts=adapted if adapts_experts else (),
    )


def _sparse_layers(read: _Config) -> int:
    step, only = read.size("decoder_sparse_step", 1), read.listed("mlp_only_layers")
    return sum(1 for n in range(read.size("num_hidden_layers")) if n not in only and (n + 1) % step == 0)


def _mixtral(read: _Config) -> Shape:
    return _experts(
        read,
        _attention(read, groups=8),
        number=read.size("num_local_experts", 8),
        inner=read.size("intermediate_size"),
        chosen=read.size("num_experts_per_tok", 2),
        sparse=read.size("num_hidden_layers"),
    )


def _qwen2_moe(read: _Config) -> Shape:
    return _experts(
        read,
        _attention(read, groups=16, bias=read.yes("qkv_bias", True)),
        number=read.size("num_experts", 60),
        inner=read.size("moe_intermediate_size", 1408),
        chosen=read.size("num_experts_per_tok", 4),
        sparse=_sparse_layers(read),
        shared=read.size("shared_expert_intermediate_size", 5632),
        shared_gate=True,
        adapts_experts=False,  # PEFT 0.21 has no rule for this family
    )


def _qwen3_moe(read: _Config) -> Shape:
    bias = read.yes("attention_bias", False)
    return _experts(
        read,
        _attention(read, groups=4, bias=bias, output_bias=bias, normed=True),
        number=read.size("num_experts", 128),
        inner=read.size("moe_intermediate_size", 768),
        chosen=read.size("num_experts_per_tok", 8),
        sparse=_sparse_layers(read),
    )


def _glm4_moe(read: _Config) -> Shape:
    layers, inner = read.size("num_hidden_layers"), read.size("moe_intermediate_size", 1408)
    attention = _attention(
        read, groups=8, bias=read.yes("attention_bias", False), normed=read.yes("use_qk_norm", False)
    )
    return _experts(
        read,
        attention,
        number=read.size("n_routed_experts", 128),
        inner=inner,
        chosen=read.size("num_experts_per_tok", 8),
        sparse=max(layers - read.size("first_k_dense_replace", 1, least=0), 0),
        shared=inner * read.size("n_shared_experts", 1, least=0),
    )


def _deepseek(read: _Config) -> Shape:
    """DeepSeek V2 and V3: queries, keys and values come from narrow latent vectors (MLA), and layers have experts."""
    layers, hidden = read.size("num_hidden_layers"), read.size("hidden_size")
    heads, bias = read.size("num_attention_heads"), read.yes("attention_bias", False)
    plain, turned = read.size("qk_nope_head_dim", 128), read.size("qk_rope_head_dim", 64)
    value, latent = read.size("v_head_dim", 128), read.size("kv_lora_rank", 512)
    queries, values = heads * (plain + turned), heads * value
    narrow = read.values.get("q_lora_rank", 1536)
    if narrow is None:
        made, norms, width = [Linear("attention.q", hidden, queries, layers)], 0, 0
    else:
        width = read.size("q_lora_rank", 1536)
        made = [
            Linear("attention.q_a", hidden, width, layers, bias),
            Linear("attention.q_b", width, queries, layers),
        ]
        norms = width * layers
    made += [
        Linear("attention.kv_a", hidden, latent + turned, layers, bias),
        Linear("attention.kv_b", latent, heads * (plain + value), layers),
        Linear("attention.o", values, hidden, layers, bias),
    ]
    latents = width + latent
    kept = hidden + 2 * latents + 2 * queries + 2 * values + heads
    attention = (made, norms + latent * layers, queries, kept, latents)
    inner = read.size("moe_intermediate_size", 2048 if read.family == "deepseek_v3" else 1407)
    first = read.size("first_k_dense_replace", 3 if read.family == "deepseek_v3" else 0, least=0)
    return _experts(
        read,
        attention,
        number=read.size("n_routed_experts", 256 if read.family == "deepseek_v3" else 64),
        inner=inner,
        chosen=read.size("num_experts_per_tok", 8 if read.family == "deepseek_v3" else None),
        sparse=max(layers - first, 0),
        shared=inner * read.size("n_shared_experts", 1 if read.family == "deepseek_v3" else 2, least=0),
    )


FAMILIES: Mapping[str, Callable[[_Config], Shape]] = {
    "llama": _llama,
    "mistral": _mistral,
    "smollm3": _smollm3,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "phi3": _phi3,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "glm4": _glm4,
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "glm4_moe": _glm4_moe,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
}
"""Families of models, by `model_type` in config.json. SmolLM and SmolLM2 are `llama`."""
