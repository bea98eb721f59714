"""Tokenizers of GGUF files: as a tokenizer.json, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from train.gguf_file import CONTROL, USER_DEFINED, GgufModel

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"""What a tokenizer and its chat template consist of in a model's folder."""

_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _by_pattern(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _BYTES]}


_LLAMA3 = _by_pattern(rf"{_SUFFIXES}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}")
_QWEN2 = _by_pattern(rf"{_SUFFIXES}|{_WORDS}|\p{{N}}|{_REST}")
_SMOLLM = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _GPT2]}

PRE_TOKENIZERS: Mapping[str, dict[str, Any]] = {
    "gpt-2": _GPT2,
    "smollm": _SMOLLM,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": _QWEN2,
}
"""How text is cut before pairs are merged, by the name in the GGUF file (`tokenizer.ggml.pre`). A wrong one gives other
tokens than the model was trained on, and no error."""


def write_tokenizer(source: GgufModel, folder: Path, other: Path | None) -> dict[str, Any]:
    """Write the tokenizer and the chat template. {tokenizer: {..}, chat_template: whether there is one}."""
    if other is not None:
        return _copied_tokenizer(source, folder, other)
    facts = source.facts
    kind, pre = facts.get("tokenizer.ggml.model"), facts.get("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise source.error(
            f"its tokenizer ({kind}, cut as {pre!r}) cannot be converted",
            "give the original model's with --tokenizer DIR (tokenizer.json, tokenizer_config.json)",
        )
    tokens, types = facts.get("tokenizer.ggml.tokens") or [], facts.get("tokenizer.ggml.token_type") or []
    if len(tokens) != len(types) or len(set(tokens)) != len(tokens):
        raise source.error("its list of tokens does not fit its list of types, or holds one twice")
    added = [number for number, type_ in enumerate(types) if type_ in (CONTROL, USER_DEFINED)]
    names = {key: tokens[n] for key, n in _special_ids(source, len(tokens)).items()}
    first = names.get("bos_token") if facts.get("tokenizer.ggml.add_bos_token") else None
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": n, "content": tokens[n], "single_word": False, "lstrip": False, "rstrip": False}
            | {"normalized": False, "special": types[n] == CONTROL}
            for n in added
        ],
        "normalizer": {"type": "NFC"} if pre == "qwen2" else None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": _begin_with(first, tokens.index(first)) if first is not None else None,
        "decoder": _GPT2,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [_merge(source, one) for one in facts.get("tokenizer.ggml.merges") or []],
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre in ("llama-bpe", "llama3"),
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    _check_tokenizer(source, folder)
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    about |= {"model_max_length": source.number("context_length"), "add_bos_token": first is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(about, ensure_ascii=False, indent=2), encoding="utf-8")
    template = facts.get("tokenizer.chat_template")
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return {"tokenizer": {"cut": pre, "tokens": len(tokens)}, "chat_template": bool(template)}


def _special_ids(source: GgufModel, tokens: int) -> dict[str, int]:
    found = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        number = source.facts.get(f"tokenizer.ggml.{key}_token_id")
        if number is not None and not 0 <= number < tokens:
            raise source.error(f"its {name} token {number} is none of its {tokens} tokens")
        if number is not None:
            found[f"{name}_token"] = int(number)
    return found


def _merge(source: GgufModel, said: str) -> list[str]:
    left, space, right = said.partition(" ")
    if not space or not left or not right:
        raise source.error(f"its tokenizer has a merge that is no pair: {said[:40]!r}")
    return [left, right]


def _begin_with(token: str, number: int) -> dict[str, Any]:
    one = [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    two = [{"SpecialToken": {"id": token, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    special = {token: {"id": token, "ids": [number], "tokens": [token]}}
    return {"type": "TemplateProcessing", "single": one, "pair": one + two, "special_tokens": special}


def _check_tokenizer(source: GgufModel, folder: Path) -> None:
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:
        raise source.error(f"its tokenizer cannot be built: {error}") from error
    said = "Hello, it's 2024.\n\n你好，世界！ naïve 🙂"
    if loaded.decode(loaded.encode(said, add_special_tokens=False).ids) != said:
        raise source.error("its tokenizer does not give a text back as it was")


def _copied_tokenizer(source: GgufModel, folder: Path, other: Path) -> dict[str, Any]:
    import shutil

    if not (other / "tokenizer.json").is_file():
        raise UserError(f"{other} holds no tokenizer.json", hint="name the folder of the original model")
    for name in TOKENIZER_FILES:
        if (other / name).is_file():
            shutil.copyfile(other / name, folder / name)
    from tokenizers import Tokenizer

    known = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=False)
    listed = source.facts.get("tokenizer.ggml.tokens") or []
    same = sum(1 for token, number in known.items() if number < len(listed) and listed[number] == token)
    if same < 0.99 * len(known) or len(known) > int(source.tensors["token_embd.weight"].shape[1]):
        raise UserError(
            f"the tokenizer in {other} is another one: {len(known) - same} of {len(known)} tokens are not the file's",
            hint="name the folder of the model that the file was made from",
        )
    config = folder / "tokenizer_config.json"
    about = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    has_template = (folder / "chat_template.jinja").is_file() or bool(about.get("chat_template"))
    return {"tokenizer": {"cut": "as given", "tokens": len(known)}, "chat_template": has_template}
