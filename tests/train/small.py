"""A model and tokenizer of a few thousand parameters, made here: its tokens are bytes, so that masks can be read."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.dataset import Dataset
from tests.helpers import write_rows
from train.recipe import load_recipe
from train.running import Job, Outcome, Tokens, carry_out, prepare, tokens_of

ROOT = Path(__file__).parents[2]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"),
    *("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
    *("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
]


def byte_tokenizer(template: str | None = CHATML, eos: str = "<|im_end|>", bos: str | None = "<s>") -> Any:
    """A tokenizer whose tokens are bytes, besides the special tokens of all families."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {one: place for place, one in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, bos_token=bos)
    tokenizer.chat_template = template
    return tokenizer


def tiny_model(folder: Path, *, template: str | None = CHATML, layers: int = 2, **config: Any) -> Path:
    """A llama of two layers with random weights, and the byte tokenizer, as a model's folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(template)
    torch.manual_seed(0)
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    }
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, bos_token_id=1, **(size | config))
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def marked(tokenizer: Any, ids: Sequence[int], weights: Sequence[float]) -> str:
    """Tokens as text, what the loss counts between ⟦ and ⟧."""
    said = ""
    pairs = list(zip(np.asarray(ids).tolist(), np.asarray(weights).tolist(), strict=True))
    for counts, group in itertools.groupby(pairs, key=lambda pair: pair[1] > 0):
        text = tokenizer.decode([one for one, _ in group], clean_up_tokenization_spaces=False)
        said += f"⟦{text}⟧" if counts else text
    return said


def turns(*said: tuple[str, str] | tuple[str, str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A conversation's messages as a dataset has them, from (role, content) or (role, content, more)."""
    empty = dict.fromkeys(("name", "tool_calls", "tool_call_id", "reasoning", "weight"))
    return [{"role": one[0], "content": one[1], **empty, **(one[2] if len(one) == 3 else {})} for one in said]


def row(*said: Any, tools: str | None = None, task: str | None = None, id_: str = "a" * 32) -> dict[str, Any]:
    """A row of kind chat."""
    origin = {"file": "rows.jsonl", "line": 7, "part": None}
    return {"id": id_, "messages": turns(*said), "tools": tools, "task": task, "origin": origin}


def chat_dataset(folder: Path, rows: Sequence[Mapping[str, Any]], **source: Any) -> Dataset:
    """A dataset of conversations: each row has `messages` as [(role, content)], and may have task and split."""
    from curate.importing import import_files
    from curate.read import Reading

    lines = []
    for one in rows:
        messages = [{"role": role, "content": content} for role, content in one["messages"]]
        lines.append({**one, "messages": messages})
    file = write_rows(folder.parent / f"{folder.name}.jsonl", lines)
    told = {"kind": "build", "training": "allowed", "licence": "CC0-1.0", "personal_data": "none", **source}
    (made,) = import_files([file], folder, Reading(), told).datasets
    return made


def questions(count: int, *, split: bool = True) -> list[dict[str, Any]]:
    """Rows of two tasks and two languages; every fifth is held out for validation."""
    found = []
    for place in range(count):
        said = (
            [("user", f"第{place}个问题是什么？"), ("assistant", f"答案：{place}。")]
            if place % 3 == 0
            else [("user", f"What is question number {place}?"), ("assistant", f"ANSWER {place}.")]
        )
        part = {"split": "validation" if place % 5 == 4 else "train"} if split else {}
        found.append({"messages": said, "task": "zh" if place % 3 == 0 else "en", **part})
    return found


def read_json(path: Path) -> Any:
    """What a JSON file says."""
    return json.loads(path.read_text(encoding="utf-8"))


def job_of(method: str, model: Path, data: Path, out: Path, **settings: Any) -> Job:
    """A short run on the CPU; `adapter__r=4` is the setting adapter.r."""
    usual = {"per_device_train_batch_size": 4, "max_steps": 6, "eval_steps": 2, "learning_rate": 1e-2}
    given = {name.replace("__", "."): json.dumps(value) for name, value in (usual | settings).items()}
    recipe = load_recipe(method, None, {"model": str(model), "data": [str(data)], "out": str(out)}, given)
    return prepare(recipe, device="cpu")


def train_with(
    method: str,
    model: Path,
    data: Path,
    out: Path,
    tell: Callable[..., None] = lambda *_: None,
    replace: bool = False,
    **settings: Any,
) -> Outcome:
    """A short run carried out."""
    made = job_of(method, model, data, out, **settings)
    return carry_out(made, tokens_of(made), tell, replace=replace)


def log(folder: Path) -> list[dict[str, Any]]:
    """A run's log without what depends on the clock."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


class CutOff(BaseException):
    """Stands for whatever ends a process."""


def cut_at(step: int) -> Callable[..., None]:
    """What a run is to tell its steps to, for it to end at one."""

    def cut(at: int, *_: Any) -> None:
        if at == step:
            raise CutOff

    return cut


def kill(method: str, model: Path, data: Path, out: Path, step: int, **settings: Any) -> None:
    """Begin a short run in a process of its own, and kill that at a step."""
    script = (
        "import json, os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.train.small import train_with\n"
        f"kill = lambda step, *_: os.kill(os.getpid(), signal.SIGKILL) if step == {step} else None\n"
        "train_with(sys.argv[1], *map(Path, sys.argv[2:5]), kill, **json.loads(sys.argv[5]))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    said = [method, str(model), str(data), str(out), json.dumps(settings)]
    command = [sys.executable, "-W", "ignore", "-c", script, *said]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]


def loss_of(folder: Path, base: Path, tokens: Tokens) -> float:
    """Mean loss over the validation rows of an adapter as a stranger loads it, with transformers' own loss."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    import train.bottleneck  # noqa: F401 - PEFT knows it from then on

    if (folder / "adapter_config.json").is_file():
        loaded: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder)
    else:
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    loaded.eval()
    rows = tokens.validation
    assert rows is not None
    total, counted = 0.0, 0
    with torch.no_grad():
        for place in range(len(rows)):
            ids, weights = rows.row(place)
            logits = loaded(input_ids=torch.tensor(ids.tolist())[None]).logits[0, -len(ids) :]
            wanted = torch.tensor(weights[1:].tolist()) > 0
            targets = torch.tensor(ids[1:].tolist())[wanted]
            total += float(torch.nn.functional.cross_entropy(logits[:-1][wanted], targets, reduction="sum"))
            counted += int(wanted.sum())
    return total / counted
