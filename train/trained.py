"""What was trained, as those who use it need to know it: adapter and base, chat template, where it stops, and what may
be said to it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.manifest import MANIFEST
from train.chat_template import ChatTemplate, choose, load_template, serving_template
from train.gguf import free_memory
from train.gguf_writing import parameters_of
from train.identity import adapter_hash, check_base
from train.model import find_model, load_model, load_tokenizer, quietly, read_json_object
from train.reading import open_material
from train.recipe import KINDS
from train.rendering import TemplateRefusesError

_HELD_OUT = 4
"""Conversations that are taken of those that training held out."""

_SAID: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "What is the capital of France? Answer in one sentence."), ("assistant", "The capital of France is "
      "Paris, on the river Seine.")),
    (("system", "You answer briefly and politely."), ("user", "My kettle leaks when I pour. What should I check?"),
     ("assistant", "Please check the seal of the lid first, and then whether the spout is cracked.")),
    (("user", "请用一句话介绍一下长城。"), ("assistant", "长城是中国古代的军事防御工程，全长超过两万公里。")),
    (("system", "你是一个简洁的助手。"), ("user", "苏州明天会下雨吗？"), ("assistant", "抱歉，我无法查询实时天气。"),
     ("user", "那带伞有必要吗？"), ("assistant", "建议带上，秋天的苏州常有小雨。")),
    (("user", "Write a Python function that adds two numbers."), ("assistant", "def add(a, b):\n    return a + b"),
     ("user", "Now subtract, 2024-11-25 style: it's 3°C!"), ("assistant", "def subtract(a, b):\n    return a - b\n")),
)  # fmt: skip

Messages = list[dict[str, str]]
"""Turns: role and content."""


@dataclass(frozen=True)
class Trained:
    """What was trained: where it is, and how it is talked to."""

    folder: Path
    """The adapter, or the model where all of it was trained."""
    base: Path | None
    """The model that the adapter stands on; None where there is no adapter."""
    tokenizer: Any
    template: ChatTemplate | None
    """The one it was trained with, or its own where nobody knows; None of a model that has none."""
    template_because: str
    served_template: str | None
    """The text of the one that it is served with: what is beside it, nothing marked."""
    stops: tuple[int, ...]
    """Tokens at which it stops, that which ends an answer first."""
    conversations: tuple[Messages, ...]
    held_out: int
    """How many of them training held out."""

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.base or self.folder

    @property
    def parts(self) -> Path:
        """The folder with the tokenizer that it is served with."""
        return tokenizer_folder(self.folder, self.base)


def trained(folder: Path, base: Path | None) -> Trained:
    """What is known of an adapter on its base, or of a model. Raises UserError where files are damaged."""
    tokenizer = load_tokenizer(tokenizer_folder(folder, base))
    said = read_json_object(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    stops = _stops(said, base or folder, tokenizer)
    template, because = _template(said, folder, base or folder, tokenizer, stops)
    own = own_template(tokenizer)
    served = template if own is None else ChatTemplate(own, folder.name, special_tokens(tokenizer))
    held_out = _held_out(said)
    conversations = (*held_out, *([{"role": role, "content": text} for role, text in one] for one in _SAID))
    return Trained(
        folder,
        base,
        tokenizer,
        template,
        because,
        None if served is None else serving_template(served),
        _in_order(stops, template, tokenizer),
        conversations,
        len(held_out),
    )


def load_trained(known: Trained, device: str = "cpu") -> Any:
    """The model as it was trained, its adapter on it. In 32 bits on a CPU, where they fit; else in 16."""
    fits = device == "cpu" and parameters_of(known.model) * 5 < free_memory()
    model = load_model(known.model, dtype="fp32" if fits else "bf16").to(device).eval()
    if known.base is None:
        return model
    from peft import PeftModel

    import train.bottleneck  # noqa: F401 - PEFT knows it from then on

    with quietly():
        try:
            return PeftModel.from_pretrained(model, str(known.folder)).eval()
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise UserError(
                f"{known.folder} does not fit the model: {error}"[:500], hint="name its own base with --model"
            ) from None


def open_trained(source: str, base: str | None = None) -> tuple[Trained, str | None]:
    """An adapter on its base, or a model, and the base's name. Raises UserError where one of them is none, or is not
    that which the adapter was trained on."""
    path = Path(source).expanduser()
    if not (path / "adapter_config.json").is_file():
        if base is not None:
            raise UserError(f"{source} is no adapter, so it stands on no other model", hint="leave --model out")
        return trained(find_model(source).path, None), None
    adapter_hash(path)
    config = read_json_object(path / "adapter_config.json")
    model = find_model(base or base_name(path, config))
    check_base(path, model.path)
    return trained(path, model.path), model.name


def base_name(adapter: Path, config: Mapping[str, Any]) -> str:
    """The model that an adapter says it stands on. Raises UserError where it says none."""
    said = config.get("base_model_name_or_path")
    if not said:
        raise UserError(f"{adapter} does not say which model it stands on", hint="name it with --model")
    return str(said)


def tokenizer_folder(folder: Path, base: Path | None) -> Path:
    """Where the tokenizer is that an adapter or a model is served with."""
    return base if base is not None and not (folder / "tokenizer.json").is_file() else folder


def _stops(said: Mapping[str, Any], model: Path, tokenizer: Any) -> list[int]:
    """The tokens that end a turn, by what was written when it was trained, or else by all that says so."""
    identity = said.get("identity")
    if isinstance(identity, dict) and identity.get("stop_ids"):
        return [int(one) for one in identity["stop_ids"]]
    found: list[Any] = [tokenizer.eos_token_id]
    for name in ("generation_config.json", "config.json"):
        if (model / name).is_file():
            ids = read_json_object(model / name).get("eos_token_id")
            found += ids if isinstance(ids, list) else [ids]
    return list(dict.fromkeys(one for one in found if isinstance(one, int)))


def _template(
    said: Mapping[str, Any], folder: Path, model: Path, tokenizer: Any, stops: Sequence[int]
) -> tuple[ChatTemplate | None, str]:
    """The template it was trained with, known by its hash; else the one that is beside it."""
    tokens = special_tokens(tokenizer)
    recipe, identity = said.get("recipe"), said.get("identity")
    own = own_template(tokenizer)
    if isinstance(recipe, dict) and isinstance(identity, dict):
        named = recipe.get("chat_template")
        names = [str(tokenizer.convert_ids_to_tokens(one)) for one in sorted(stops)]
        try:
            if named:
                found = load_template(str(named), tokens)
            else:
                found = choose(own_template(load_tokenizer(model)), model.name, tokens, names).template
        except UserError:
            found = None
        if found is not None and hashlib.sha256(found.text.encode()).hexdigest() == identity.get("template"):
            return found, "the template it was trained with"
    if own is None:
        return None, "there is no chat template"
    return ChatTemplate(own, folder.name, tokens), "the template beside it: the one it was trained with is not known"


def special_tokens(tokenizer: Any) -> dict[str, str]:
    """The special tokens that a template may name."""
    return {name: value for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}


def own_template(tokenizer: Any) -> str | None:
    """A tokenizer's chat template."""
    own = tokenizer.chat_template
    return own.get("default") if isinstance(own, Mapping) else own


def _in_order(stops: Sequence[int], template: ChatTemplate | None, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a turn, the one that the template writes after an answer first."""
    ends = list(dict.fromkeys(stops))
    if template is None:
        return tuple(ends)
    answer = "Hello there."
    try:
        text = template.render([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}]).text
    except TemplateRefusesError:
        return tuple(ends)
    behind = text.rpartition(answer)[2]
    at = {one: behind.find(str(tokenizer.convert_ids_to_tokens(one))) for one in ends}
    # A template that writes none leaves it to the tokenizer's own.
    at = {one: place if place >= 0 else (1 << 20) + (one != tokenizer.eos_token_id) for one, place in at.items()}
    return tuple(sorted(ends, key=lambda one: at[one]))


def _held_out(said: Mapping[str, Any]) -> list[Messages]:
    """A few plain conversations that training held out; none where the data are not at hand any more."""
    recipe = said.get("recipe")
    if not isinstance(recipe, dict) or recipe.get("method") not in KINDS:
        return []
    kind = KINDS[recipe["method"]]
    try:
        material = open_material(
            recipe.get("data") or [],
            kind,
            allow=recipe.get("allow") or [],
            validation=float(recipe.get("validation") or 0),
            seed=int(recipe.get("seed") or 0),
        )
    except (UserError, TypeError, ValueError):
        return []
    rows = (
        row["messages"] if kind == "chat" else [*row["prompt"], *row["chosen"]] for row in material.rows("validation")
    )
    plain = ([{"role": one["role"], "content": one["content"]} for one in row] for row in rows if _is_plain(row))
    return list(itertools.islice(plain, _HELD_OUT))


def _is_plain(row: Sequence[Mapping[str, Any]]) -> bool:
    return (
        len(row) > 1
        and row[-1]["role"] == "assistant"
        and all(one["role"] in ("system", "user", "assistant") and one["content"] for one in row)
        and not any(one.get("tool_calls") or one.get("reasoning") for one in row)
    )


def prompts(trained: Trained) -> list[tuple[Messages, str]]:
    """Each answer that is asked for in the conversations: the turns before it, and the text that the model is given.
    Conversations that the template refuses, such as a system turn where a model knows none, are left out."""
    found = []
    for messages in trained.conversations:
        for place, one in enumerate(messages):
            if one["role"] != "assistant":
                continue
            if trained.template is None:
                found.append((messages[: place + 1], "\n".join(turn["content"] for turn in messages[:place]) + "\n"))
                continue
            try:
                text = trained.template.render(messages[:place], add_generation_prompt=True).text
            except TemplateRefusesError:
                break
            found.append((messages[: place + 1], text))
    if not found:
        raise UserError(f"the chat template of {trained.folder} takes no plain conversation", hint="see its text")
    return found
