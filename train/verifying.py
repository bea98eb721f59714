"""Whether what was exported behaves as what was trained: next tokens, tokens of a text, chat template, end of turn.

What was trained is base and adapter together in torch, in 32 bits where they fit. What was exported is loaded anew: a
folder by transformers; a GGUF file by llama.cpp, which shares no code with what wrote it, and by transformers through
our own reader. All of them say how likely each token is to be the next one, at the same places of the same
conversations: those that training held out where they are at hand, and a few of ours in two languages.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.excerpt import excerpt
from train.chat_template import ChatTemplate
from train.gguf import free_memory, write_model
from train.gguf_file import read_gguf
from train.gguf_writing import parameters_of
from train.model import load_model, load_tokenizer, read_json_object
from train.policy import free_cores
from train.rendering import TemplateRefusesError
from train.trained import Trained, load_trained, own_template, prompts, special_tokens

MOST_KL = {"f32": 1e-3, "f16": 1e-3, "bf16": 2e-2, "q8_0": 5e-2}
"""Nats per token that what was exported may differ from what was trained, on average: about ten times what the type
alone takes, or more. Measured on SmolLM2-135M with a LoRA that changed 1.0: f32 4e-9 in transformers and 2e-5 in
llama.cpp, whose cache is in 16 bits; f16 1e-6 and 3e-5; bf16 2e-3; q8_0 2e-3 and 5e-3, since llama.cpp rounds what is
multiplied with such weights as well. A tensor in the wrong place or order gives 1 and more."""

CONVERSATION_TOKENS = 768
"""Longer conversations are left out: they would show nothing that shorter ones do not."""

_ANSWER_TOKENS = 16
_LIKELY = 1000
"""Candidates that llama.cpp names for a token; the others count as one, which can only make a difference smaller."""

_SURELY = 1e4
"""Added to a token's logit, this makes it the one that is chosen."""

_PROCESS = Path(__file__).with_name("llama_process.py")
_LLAMA_SECONDS = 1800.0
_GET_LLAMA = "pip install xllamacpp"


@dataclass(frozen=True)
class Passage:
    """Tokens of a conversation, and the places at which the next token is compared."""

    ids: list[int]
    places: list[int]


def passages(trained: Trained) -> list[Passage]:
    """The conversations as tokens, with the places in the last answer of each that are compared: how it begins, and
    where it ends."""
    found = []
    for messages, text in prompts(trained):
        begins = _ids(trained.tokenizer, text)
        answer = [*_ids(trained.tokenizer, messages[-1]["content"]), *trained.stops[:1]]
        ids = begins + answer
        if len(ids) <= CONVERSATION_TOKENS and begins:
            first = range(len(begins), min(len(begins) + _ANSWER_TOKENS, len(ids)))
            found.append(Passage(ids, sorted({*first, len(ids) - 1})))
    return found


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def verify_folder(trained: Trained, folder: Path, kind: str) -> dict[str, Any]:
    """Compare the model in `folder` with what was trained. Returns what was measured; raises UserError with what
    differs."""
    asked = passages(trained)
    right, base = reference(trained, asked)
    problems: list[str] = []
    model = load_model(folder, dtype={"f32": "fp32", "f16": "fp16"}.get(kind, kind)).eval()
    found: dict[str, Any] = {"transformers": compared(right, scores(model, asked))}
    del model
    _judge(found["transformers"], kind, "transformers", problems)
    tokenizer = load_tokenizer(folder)
    found |= _base(right, base)
    found["tokens"] = _same_tokens(trained, lambda text: _ids(tokenizer, text), "transformers", problems)
    found["template"] = _same_template(trained, own_template(tokenizer), problems)
    said = read_json_object(folder / "generation_config.json")
    stops = said.get("eos_token_id")
    ends = stops if isinstance(stops, list) else [stops]
    found["stops"] = _stops_told(trained)
    if not set(trained.stops) <= set(ends):
        problems.append(
            f"it was trained to stop at {_named(trained, trained.stops)}, and stops at {_named(trained, ends)}"
        )
    _raise(problems)
    return found | {"warnings": _warnings(found)}


def verify_gguf(trained: Trained, file: Path, kind: str, scratch: Path) -> dict[str, Any]:
    """Compare a GGUF file with what was trained, in llama.cpp and in transformers; `scratch` is an empty folder to work
    in. Returns what was measured; raises UserError with what differs."""
    asked = passages(trained)
    right, base = reference(trained, asked)
    found: dict[str, Any] = {"llama_cpp": None, "transformers": None, **_base(right, base)}
    problems: list[str] = []
    warnings: list[str] = []
    source = read_gguf([file])
    if parameters_of(trained.model) * 5 > free_memory():
        warnings.append("not loaded back by transformers: the model does not fit into the memory that is free here")
    else:
        write_model(source, scratch, "fp32")
        model = load_model(scratch, dtype="fp32").eval()
        found["transformers"] = compared(right, scores(model, asked))
        del model
        _judge(found["transformers"], kind, "transformers", problems)
        again = load_tokenizer(scratch)
        found["tokens"] = _same_tokens(trained, lambda text: _ids(again, text), "transformers", problems)
    found["template"] = _same_template(trained, source.facts.get("tokenizer.chat_template"), problems)
    written = [source.facts.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    if trained.stops and written[0] != trained.stops[0]:
        problems.append(
            f"the file ends a turn with {_named(trained, written[:1])}, not {_named(trained, trained.stops[:1])}"
        )
    found["stops"] = _stops_told(trained)
    if not has_llama():
        warnings.append(
            f"not loaded in llama.cpp, which is not installed here: {_GET_LLAMA}, and export again with --replace"
        )
    else:
        _in_llama(trained, file, asked, right, kind, found, problems, warnings)
    _raise(problems)
    return found | {"warnings": warnings + _warnings(found)}


def has_llama() -> bool:
    """Whether llama.cpp is installed."""
    return find_spec("xllamacpp") is not None


def _in_llama(
    trained: Trained,
    file: Path,
    asked: Sequence[Passage],
    right: Sequence[Any],
    kind: str,
    found: dict[str, Any],
    problems: list[str],
    warnings: list[str],
) -> None:
    """Ask llama.cpp everything at once."""
    texts, said = _texts(trained), prompts(trained)
    vocabulary = int(right[0].shape[-1])
    greedy = {"n_predict": 1, "temperature": 0, "cache_prompt": True, "return_tokens": True}
    # llama.cpp is silent about what is likely where it chooses half a character: so it is made to choose a letter. What
    # it says is likely is what the model says, before any choice.
    letter = _ids(trained.tokenizer, "a")[0]
    asking = {**greedy, "n_probs": min(_LIKELY, vocabulary), "logit_bias": [[letter, _SURELY]]}
    questions = [("/completion", {**asking, "prompt": one.ids[:place]}) for one in asked for place in one.places]
    for text in texts:
        questions.append(("/tokenize", {"content": text, "add_special": False, "parse_special": True}))
    for stop in trained.stops:
        # So likely that it is chosen whatever the model says: does generation end there?
        forced = {
            **greedy,
            "n_predict": 3,
            "logit_bias": [[stop, _SURELY]],
            "prompt": asked[0].ids[: asked[0].places[0]],
        }
        questions.append(("/completion", forced))
    if trained.template is not None:
        questions += [("/apply-template", {"messages": messages[:-1]}) for messages, _ in said]
    answers = iter(ask_llama(file, questions))
    rows = [[next(answers) for _ in one.places] for one in asked]
    found["llama_cpp"] = compared_with_likely(right, rows)
    _judge(found["llama_cpp"], kind, "llama.cpp", problems)
    by_text = dict(zip(texts, answers, strict=False))
    found["tokens"] = _same_tokens(trained, lambda text: by_text[text].get("tokens"), "llama.cpp", problems)
    ended = [stop for stop in trained.stops if next(answers).get("stop_type") == "eos"]
    found["stops"]["llama_cpp_ends_at"] = ended
    if trained.stops and trained.stops[0] not in ended:
        problems.append(f"llama.cpp goes on after {_named(trained, trained.stops[:1])}, which ends an answer")
    elif len(ended) < len(trained.stops):
        lost = [one for one in trained.stops if one not in ended]
        warnings.append(f"llama.cpp goes on after {_named(trained, lost)}: name it as a stop word where it is served")
    if trained.template is not None:
        bos = str(trained.tokenizer.bos_token or "")
        for (messages, text), answer in zip(said, answers, strict=True):
            # What the file says of the first token is added by llama.cpp itself, wherever the template writes it.
            if answer.get("prompt", "").removeprefix(bos) != text.removeprefix(bos):
                problems.append(
                    f"llama.cpp writes {_first_difference(text, answer.get('prompt'))} in a conversation of "
                    f"{len(messages)} turns"
                )
                break


def ask_llama(file: Path, questions: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """What llama.cpp answers about a GGUF file, in a process of its own. Raises UserError where it cannot load it."""
    threads = free_cores()
    settings = {
        "model": str(file.resolve()),
        "key": secrets.token_urlsafe(32),
        "context_tokens": CONVERSATION_TOKENS + 64,
        "threads": threads,
        "asked": [{"path": path, "body": body} for path, body in questions],
    }
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.run(
                [sys.executable, "-P", str(_PROCESS)],
                input=json.dumps(settings).encode() + b"\n",
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                timeout=_LLAMA_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"llama.cpp has not answered after {_LLAMA_SECONDS / 60:.0f} minutes", hint="try a machine that is idle"
            ) from None
        said = json.loads(process.stdout) if process.stdout else {}
        if "answers" in said:
            return list(said["answers"])
        log.seek(0)
        lines = log.read(1 << 16).decode(errors="replace").splitlines()
        first = next((line.partition(" E ")[2].strip() for line in lines if " E " in line), "")
        why = first or said.get("error") or f"its process ended with status {process.returncode}"
        raise UserError(
            f"llama.cpp cannot load what was written: {why}"[:400],
            hint="see that the installed xllamacpp is current; if it is, please report the model",
        )


def reference(trained: Trained, asked: Sequence[Passage]) -> tuple[list[Any], list[Any] | None]:
    """What was trained says of the next tokens, and its base alone; None where there is no adapter."""
    together = load_trained(trained)
    if trained.base is None:
        return scores(together, asked), None
    right = scores(together, asked)
    with together.disable_adapter():
        return right, scores(together, asked)


def scores(model: Any, asked: Sequence[Passage]) -> list[Any]:
    """Log-probabilities of every token at the places that are compared, one tensor for each passage."""
    import torch

    found = []
    with torch.inference_mode():
        for one in asked:
            logits = model(input_ids=torch.tensor([one.ids], device=model.device)).logits[0]
            found.append(logits[[place - 1 for place in one.places]].float().log_softmax(-1).cpu())
    return found


def compared(right: Sequence[Any], other: Sequence[Any]) -> dict[str, Any]:
    """How far two models are apart: Kullback-Leibler divergence in nats per token, and how often they agree."""
    import torch

    divergence = torch.cat([(p.exp() * (p - q)).sum(-1) for p, q in zip(right, other, strict=True)])
    same = torch.cat([p.argmax(-1) == q.argmax(-1) for p, q in zip(right, other, strict=True)])
    return _told(divergence.tolist(), same.tolist())


def compared_with_likely(right: Sequence[Any], rows: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The same, of a model that names its likeliest tokens: all others count as one."""
    import torch

    divergence, same = [], []
    for wanted, answers in zip(right, rows, strict=True):
        for p, answer in zip(wanted.double(), answers, strict=True):
            likely = answer.get("likely")
            if not likely:
                raise UserError(f"llama.cpp does not say what is likely: {answer.get('refused', answer)}"[:300])
            ids = torch.tensor([number for number, _ in likely])
            q = torch.tensor([-100.0 if one is None else one for _, one in likely], dtype=torch.float64)
            total = (p[ids].exp() * (p[ids] - q)).sum()
            rest = float(1 - p[ids].exp().sum())
            if len(likely) < len(p) and rest > 1e-6:
                total += rest * torch.log(torch.tensor(rest / max(float(1 - q.exp().sum()), 1e-9)))
            divergence.append(float(total))
            same.append(int(p.argmax()) == likely[0][0])
    return _told(divergence, same)


def _told(divergence: Sequence[float], same: Sequence[bool]) -> dict[str, Any]:
    count = len(divergence)
    return {
        "kl_mean": max(sum(divergence) / count, 0.0),
        "kl_max": max(*divergence, 0.0),
        "same_top_token": sum(map(bool, same)) / count,
        "places": count,
    }


def _base(right: Sequence[Any], base: Sequence[Any] | None) -> dict[str, Any]:
    """How far the base alone is from what was trained: what training changed."""
    return {} if base is None else {"training_changed": compared(right, base)}


def _judge(measured: Mapping[str, Any], kind: str, who: str, problems: list[str]) -> None:
    if not measured["kl_mean"] <= MOST_KL[kind]:
        problems.append(
            f"in {who} it is {measured['kl_mean']:.2g} nats a token from what was trained, and {kind} alone gives no "
            f"more than {MOST_KL[kind]:g}"
        )


def _texts(trained: Trained) -> list[str]:
    """What is cut into tokens to see that both cut alike: the prompts, and some text that is not easy to cut."""
    hard = "It's 1234567, naïve  café\t\n\n 你好，世界！🙂🇨🇳 x_y=3.14;\r\n    DON'T こんにちは 안녕 — «ok»"
    return list(dict.fromkeys([*(text for _, text in prompts(trained)), hard]))


def _same_tokens(trained: Trained, ids: Callable[[str], Any], who: str, problems: list[str]) -> dict[str, int]:
    texts = _texts(trained)
    odd = [text for text in texts if ids(text) != _ids(trained.tokenizer, text)]
    if odd:
        problems.append(f"{who} cuts {len(odd)} of {len(texts)} texts into other tokens")
    return {"texts": len(texts), "same": len(texts) - len(odd)}


def _same_template(trained: Trained, exported: str | None, problems: list[str]) -> dict[str, Any]:
    """Whether the exported template writes what was trained on."""
    if trained.template is None:
        return {"conversations": 0, "same": 0, "as": trained.template_because}
    if exported is None:
        problems.append("it has no chat template")
        return {"conversations": len(prompts(trained)), "same": 0, "as": trained.template_because}
    template = ChatTemplate(
        exported, "what was exported", special_tokens(trained.tokenizer), today=trained.template.today
    )
    said = prompts(trained)
    same = 0
    first = ""
    for messages, text in said:
        try:
            written = template.render(messages[:-1], add_generation_prompt=True).text
        except TemplateRefusesError as error:
            written = f"(it refuses: {error})"
        same += written == text
        first = first or (_first_difference(text, written) if written != text else "")
    if first:
        problems.append(f"its chat template writes {len(said) - same} of {len(said)} conversations otherwise: {first}")
    return {"conversations": len(said), "same": same, "as": trained.template_because}


def _first_difference(wanted: str, found: str | None) -> str:
    found = found or ""
    at = next((n for n, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), min(len(wanted), len(found)))
    return f"{excerpt(found[at:], 40)!r} where {excerpt(wanted[at:], 40)!r} was trained on"


def _stops_told(trained: Trained) -> dict[str, Any]:
    return {
        "ids": list(trained.stops),
        "tokens": [str(trained.tokenizer.convert_ids_to_tokens(one)) for one in trained.stops],
    }


def _named(trained: Trained, ids: Sequence[Any]) -> str:
    return (
        " and ".join(str(trained.tokenizer.convert_ids_to_tokens(one)) for one in ids if isinstance(one, int))
        or "nothing"
    )


def _warnings(found: Mapping[str, Any]) -> list[str]:
    """That rounding takes as much as training gave."""
    changed = found.get("training_changed")
    lost = max((found[name]["kl_mean"] for name in ("llama_cpp", "transformers") if found.get(name)), default=0.0)
    if changed is not None and lost > 0.5 * changed["kl_mean"]:
        return [
            f"training changed {changed['kl_mean']:.2g} nats a token, and what was exported is {lost:.2g} from it: "
            "what was learnt may be lost in rounding; take a --type of more bits, or train on"
        ]
    return []


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise UserError(
            "what was exported does not behave as what was trained: " + "; ".join(problems),
            hint="nothing was published; try another --type, or --to safetensors; if it stays so, please report it",
        )
