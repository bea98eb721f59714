"""A GGUF file becomes a folder that can be trained.

A model that transformers has loaded from a GGUF file cannot be saved ("quantized with gguf and is not serializable"),
so it is converted once, tensor by tensor, and everything else works on folders. Only what can be converted without loss
of meaning is: a rope scaling, a tokenizer or a tensor that we do not know is refused, not left out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import UserError, nearest
from train.gguf_file import ARCHITECTURES, ELSEWHERE, ROPE_FACTORS, GgufModel, gguf_files, hf_name, read_gguf
from train.gguf_tokenizer import TOKENIZER_FILES, write_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHARD_BYTES = 2_000_000_000
"""A file of weights is closed when its tensors reach this size."""

CONVERSION = 1
"""Version of the conversion: raise it with what changes the folder that a file becomes."""


def import_gguf(
    path: Path, out: Path, *, dtype: str = "bf16", tokenizer: Path | None = None, replace: bool = False
) -> dict[str, Any]:
    """Convert a GGUF file, or the folder that holds one, into a folder that can be trained.

    `dtype` is bf16 or fp32; `tokenizer` a folder whose tokenizer and chat template are taken in place of the file's.
    The folder is published whole or not at all, after it has been loaded and its logits have been compared with those
    of transformers' own reading of the file; a model too large for that here says so under `verified`.

    Returns {model, architecture, parameters, dtype, bytes, tokenizer, chat_template, verified, warnings}. Raises
    UserError for what is missing, damaged or cannot be converted, and when `out` holds something else.
    """
    from schemas.manifest import fingerprint, library_versions
    from schemas.run import AlreadyDone, run_into

    if dtype not in ("bf16", "fp32"):
        raise UserError(f"there is no data type {dtype!r} to import to", hint=nearest(dtype, ("bf16", "fp32")))
    files = gguf_files(path)
    read = [{"path": file.name, "sha256": _sha256(file), "bytes": file.stat().st_size} for file in files]
    made_by = {
        "command": "import-model",
        "version": CONVERSION,
        "inputs": [one["sha256"] for one in read],
        "dtype": dtype,
        "tokenizer": None if tokenizer is None else _tokenizer_hashes(tokenizer),
    }
    print_ = fingerprint(made_by)
    try:
        with run_into(out, print_, replace=replace) as run:
            run.clear()  # a conversion takes seconds to minutes; half of one is not worth trusting
            source = read_gguf(files)
            told = write_model(source, run.folder, dtype, tokenizer)
            verified = _verified(run.folder, files, told["parameters"])
            result = {
                "architecture": source.architecture,
                "dtype": dtype,
                **told,
                "verified": verified,
                "warnings": _warnings(source, told, verified),
            }
            manifest = {
                "format_version": 1,
                "kind": "model",
                "fingerprint": print_,
                "shards": [],
                "files": _written(run.folder),
                "inputs": read,
                "result": result,
                "versions": library_versions(["assay", "gguf", "safetensors", "tokenizers", "torch", "transformers"]),
            }
            _write_json(run.folder / "manifest.json", manifest)
            run.publish()
    except AlreadyDone:
        result = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["result"]
        return {"model": str(out), **result, "done_before": True}
    return {"model": str(out), **result, "done_before": False}


def write_model(source: GgufModel, folder: Path, dtype: str, tokenizer: Path | None = None) -> dict[str, Any]:
    """Write a GGUF model as a model's folder, as `import_gguf` does, and compare nothing. Returns {parameters, bytes,
    tokenizer, chat_template}. Raises UserError for what cannot be converted."""
    weights = _write_weights(source, folder, dtype)
    config = _config(source, dtype)
    _write_json(folder / "config.json", config)
    told = write_tokenizer(source, folder, tokenizer)
    _write_json(folder / "generation_config.json", _ids(config))
    return {**weights, **told}


def _write_weights(source: GgufModel, folder: Path, dtype: str) -> dict[str, int]:
    """Write the tensors as safetensors files. Holds one file's worth of them in memory."""
    names = {name: hf_name(name) for name in source.tensors if name != ROPE_FACTORS}
    unknown = sorted(name for name, theirs in names.items() if theirs is None)
    if unknown:
        raise source.error(f"the tensor {unknown[0]!r} is none of a {source.architecture} model", ELSEWHERE)
    shapes = {theirs: tuple(int(n) for n in reversed(source.tensors[ours].shape)) for ours, theirs in names.items()}
    _check_shapes(source, {str(name): shape for name, shape in shapes.items()})
    width = 2 if dtype == "bf16" else 4
    groups: list[list[str]] = [[]]
    size = total = 0
    for ours in names:
        bytes_ = width * int(source.tensors[ours].n_elements)
        if groups[-1] and size + bytes_ > SHARD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(ours)
        size, total = size + bytes_, total + bytes_
    where: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        file = "model.safetensors" if len(groups) == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        _write_shard(folder / file, ((str(names[ours]), _values(source, ours)) for ours in group), dtype)
        where |= {str(names[ours]): file for ours in group}
    if len(groups) > 1:
        _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    return {"parameters": total // width, "bytes": total}


def _check_shapes(source: GgufModel, found: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a file whose tensors are not those that its own metadata calls for."""
    hidden, heads = source.number("embedding_length"), source.number("attention.head_count")
    head, inner = source.head_size, source.number("feed_forward_length")
    kv = source.groups
    vocabulary = found.get("model.embed_tokens.weight", (0,))[0]
    wanted = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    if "lm_head.weight" in found:
        wanted["lm_head.weight"] = (vocabulary, hidden)
    for layer in range(source.number("block_count")):
        inside = {
            "input_layernorm.weight": (hidden,),
            "post_attention_layernorm.weight": (hidden,),
            "self_attn.q_proj.weight": (heads * head, hidden),
            "self_attn.k_proj.weight": (kv * head, hidden),
            "self_attn.v_proj.weight": (kv * head, hidden),
            "self_attn.o_proj.weight": (hidden, heads * head),
            "mlp.gate_proj.weight": (inner, hidden),
            "mlp.up_proj.weight": (inner, hidden),
            "mlp.down_proj.weight": (hidden, inner),
        }
        if source.architecture == "qwen2":
            inside |= {f"self_attn.{one}_proj.bias": (n * head,) for one, n in (("q", heads), ("k", kv), ("v", kv))}
        if source.architecture == "qwen3":
            inside |= {"self_attn.q_norm.weight": (head,), "self_attn.k_norm.weight": (head,)}
        wanted |= {f"model.layers.{layer}.{name}": shape for name, shape in inside.items()}
        if len(wanted) > len(found):
            break
    odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if odd:
        raise source.error(f"{odd[0]} is {found.get(odd[0], 'missing')}, not {wanted.get(odd[0], 'to be there')}")


def _values(source: GgufModel, name: str) -> NDArray[np.float32]:
    """A tensor's values in transformers' order."""
    import numpy as np
    from gguf.quants import dequantize

    tensor = source.tensors[name]
    try:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
    except (NotImplementedError, ValueError) as error:
        kind = getattr(tensor.tensor_type, "name", tensor.tensor_type)
        raise source.error(f"{name} is stored as {kind}, which cannot be read", ELSEWHERE) from error
    values = values.reshape([int(n) for n in reversed(tensor.shape)])
    if not np.isfinite(values).all():
        raise source.error(f"{name} holds values that are no numbers")
    if source.architecture == "llama":
        heads = source.number("attention.head_count")
        if ".attn_q." in name:
            return halves(values, heads)
        if ".attn_k." in name:
            return halves(values, source.groups)
    return values


def halves(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head as transformers turns them by position: first halves of the pairs, then second halves."""
    size = values.shape[0] // heads
    return values.reshape(heads, size // 2, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _write_shard(path: Path, tensors: Iterator[tuple[str, NDArray[np.float32]]], dtype: str) -> None:
    import torch
    from safetensors.torch import save_file

    width = torch.bfloat16 if dtype == "bf16" else torch.float32
    # A copy: what is stored as fp32 in the file is a read-only view of it.
    held = {name: torch.tensor(values).to(width) for name, values in tensors}
    save_file(held, path, metadata={"format": "pt"})


def _config(source: GgufModel, dtype: str) -> dict[str, Any]:
    """The config.json of a GGUF model, in the names that transformers 4 and 5 and vLLM read."""
    heads = source.number("attention.head_count")
    config = {
        "architectures": [ARCHITECTURES[source.architecture]],
        "model_type": source.architecture,
        "hidden_size": source.number("embedding_length"),
        "intermediate_size": source.number("feed_forward_length"),
        "num_hidden_layers": source.number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": source.groups,
        "head_dim": source.head_size,
        "hidden_act": "silu",
        "rms_norm_eps": _short(source.fact("attention.layer_norm_rms_epsilon", 1e-6)),
        "rope_theta": _short(source.fact("rope.freq_base", 10000.0)),
        "rope_scaling": _rope_scaling(source),
        "max_position_embeddings": source.number("context_length"),
        "vocab_size": int(source.tensors["token_embd.weight"].shape[1]),
        "tie_word_embeddings": "output.weight" not in source.tensors,
        "torch_dtype": "bfloat16" if dtype == "bf16" else "float32",
        "use_cache": True,
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        config[f"{name}_token_id"] = source.facts.get(f"tokenizer.ggml.{key}_token_id")
    return config


def _short(value: float) -> float:
    """A 32-bit float as people wrote it: 1e-05, not 9.99999974e-06."""
    return float(f"{value:.7g}")


def _ids(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if config[name] is not None}


def _rope_scaling(source: GgufModel) -> dict[str, Any] | None:
    """How positions beyond those of pre-training are scaled; refuses a way we do not know."""
    kind = source.fact("rope.scaling.type", "none")
    factor = source.fact("rope.scaling.factor", 1.0)
    if ROPE_FACTORS in source.tensors:
        return _llama3_scaling(source)
    if kind == "none":
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": _short(factor)}
    if kind == "yarn":
        first = source.fact("rope.scaling.original_context_length")
        return {"rope_type": "yarn", "factor": _short(factor), "original_max_position_embeddings": first}
    raise source.error(f"its rope scaling {kind!r} is not known", ELSEWHERE)


def _llama3_scaling(source: GgufModel) -> dict[str, Any]:
    """The settings that the factors in a Llama 3 file were made by: 8 of Llama 3.1, 32 of 3.2."""
    import numpy as np
    from gguf.quants import dequantize

    tensor = source.tensors[ROPE_FACTORS]
    stored = dequantize(tensor.data, tensor.tensor_type).reshape(-1)
    theta = float(source.fact("rope.freq_base", 10000.0))
    for factor in (8.0, 32.0):
        if stored.shape == (source.head_size // 2,) and np.allclose(
            stored, llama3_factors(theta, source.head_size, factor), rtol=1e-4
        ):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            }
    raise source.error("its rope factors are those of no Llama 3 model", ELSEWHERE)


def llama3_factors(theta: float, head_size: int, factor: float) -> NDArray[np.float64]:
    """By how much Llama 3 slows each frequency: not at all where a wave fits four times into 8,192 positions, by the
    whole factor where it does not fit once, and smoothly between."""
    import numpy as np

    waves = 2 * np.pi * theta ** (np.arange(0, head_size, 2) / head_size)
    smooth = np.clip((8192 / waves - 1.0) / (4.0 - 1.0), 0.0, 1.0)
    return np.asarray(1 / ((1 - smooth) / factor + smooth))


def _tokenizer_hashes(folder: Path) -> dict[str, str]:
    return {name: _sha256(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()}


def _verified(folder: Path, files: list[Path], parameters: int) -> dict[str, Any]:
    """Load the folder, and compare its logits with those of transformers' own reading of the file.

    {loads, compared, largest_difference: of any logit, kl: mean nats per token}. Two readings that share no code agree
    to rounding; a tensor in the wrong place or order does not.
    """
    import torch

    from train.model import load_model, load_tokenizer

    enough = 10 * parameters < free_memory() and len(files) == 1
    if 5 * parameters > free_memory():
        return {"loads": None, "compared": False, "because": "the model does not fit into the memory free here"}
    tokenizer = load_tokenizer(folder)
    ids = torch.tensor([tokenizer.encode("Verify once, then trust: 你好 2024.", add_special_tokens=False)[:64]])
    model = load_model(folder, dtype="fp32")
    with torch.inference_mode():
        ours = model(ids).logits[0].float()
    if not torch.isfinite(ours).all():
        raise UserError(f"{files[0]}: the converted model's logits are no numbers", hint="get the file again")
    if not enough:
        return {"loads": True, "compared": False, "because": "there is not enough memory for a second reading"}
    del model
    other = _transformers_reading(files[0], folder)
    with torch.inference_mode():
        theirs = other(ids).logits[0].float()
    kl = torch.nn.functional.kl_div(ours.log_softmax(-1), theirs.log_softmax(-1), log_target=True, reduction="sum")
    difference, mean = float((ours - theirs).abs().max()), float(kl) / ids.shape[1]
    if difference > 1e-2 or mean > 1e-4:
        raise UserError(
            f"{files[0]}: the converted model differs from transformers' own reading of the file (KL {mean:.2g})",
            hint="get the model's safetensors folder; and please report the file",
        )
    return {"loads": True, "compared": True, "largest_difference": difference, "kl": mean}


def _transformers_reading(path: Path, folder: Path) -> Any:
    """The model as transformers reads it from the GGUF file, in fp32, rounded where the folder is bfloat16."""
    import io
    from contextlib import redirect_stderr

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from train.model import quietly

    said = AutoConfig.from_pretrained(folder)

    def read(**settings: Any) -> Any:
        with quietly(), redirect_stderr(io.StringIO()):  # its progress bar heeds no setting
            return AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.float32, local_files_only=True, **settings
            )

    # transformers 5.23 leaves out how positions are scaled, and the width of Qwen's heads where it is unusual: there
    # the tensors are compared under our reading of the rest.
    if said.rope_parameters.get("rope_type", "default") != "default":
        model = read(config=said)
    else:
        try:
            model = read()
        except RuntimeError:
            model = read(config=said)
    if said.dtype == torch.bfloat16:
        for parameter in model.parameters():
            parameter.data = parameter.data.bfloat16().float()
    return model.eval()


def free_memory() -> float:
    """Bytes that can be used without swapping."""
    try:
        said = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2
    found = re.search(r"MemAvailable:\s+(\d+) kB", said)
    return 1024.0 * int(found[1]) if found else 0.0


def _warnings(source: GgufModel, told: Mapping[str, Any], verified: Mapping[str, Any]) -> list[str]:
    found = []
    kinds = {tensor.tensor_type.name for tensor in source.tensors.values()} - {"F32", "F16", "BF16"}
    if kinds:
        found.append(
            f"the weights were quantised ({', '.join(sorted(kinds))}) and stay as coarse as that: "
            "train on the original folder if there is one"
        )
    if not told["chat_template"]:
        found.append("the file has no chat template: name one when you train")
    if not verified["compared"]:
        found.append(f"the logits were not compared: {verified['because']}")
    return found


def _written(folder: Path) -> list[dict[str, Any]]:
    return [
        {"path": file.name, "sha256": _sha256(file), "bytes": file.stat().st_size}
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name != "run.json"
    ]


def _sha256(path: Path) -> str:
    from hashlib import file_digest

    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Mapping[str, Any], indent: int | None = 2) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")
