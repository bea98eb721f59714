"""How fast supervised fine-tuning is against plain TRL, with padded batches and packed.

    OMP_NUM_THREADS=1 python tests/bench/train_sft.py [--steps 6] [--rounds 3] [--layers 6] [--batch 8] [--model DIR]

The first layers of SmolLM2-135M, LoRA on every linear layer, fp32 on the CPU, rows of 25 to 150 tokens in English and
Chinese. The contenders train in turns, each round anew from the same weights; what counts is real tokens, padding left
out, by CPU seconds of the process, so that neighbours on the machine matter less. Ratios are of the rounds' medians.
`trl` has what it needs switched on (assistant_only_loss with our template) and its slow defaults off (bf16,
gradient checkpointing). `trl packed` and `packed` pack to 512 tokens, two packs a batch.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

PACK = 512


def rows(count: int, seed: int) -> list[list[dict[str, str]]]:
    """Conversations of one question and one answer, of unequal lengths."""
    chance = random.Random(seed)
    english = ["the", "kettle", "leaks", "when", "I", "pour", "it", "so", "please", "tell", "me", "what", "to", "do"]
    chinese = "请问这个水壶倒水时漏水应该怎么办才好谢谢您的帮助我们已经收到了"

    def text(words: int, zh: bool) -> str:
        picked = [chance.choice(chinese if zh else english) for _ in range(words)]
        return "".join(picked) if zh else " ".join(picked)

    found = []
    for place in range(count):
        zh = place % 4 == 0
        asked, said = chance.randint(4, 30), chance.randint(8, 90 if not zh else 30)
        found.append([{"role": "user", "content": text(asked, zh)}, {"role": "assistant", "content": text(said, zh)}])
    return found


def ours(model: Path, data: list[Any], steps: int, batch: int, packing: bool) -> tuple[float, int, list[float]]:
    """CPU seconds, real tokens and losses of our trainer."""
    from transformers import PrinterCallback, TrainingArguments, set_seed

    from train.adapter import Beginning, Situation
    from train.chat_template import load_template
    from train.data import Encoder, Told, gathered
    from train.loading import adapted, load_base
    from train.methods.sft import Collator, Sequences, SftTrainer
    from train.model import load_tokenizer, quietly
    from train.policy import policy_for
    from train.recipe import load_recipe

    recipe = load_recipe("sft", None, {"model": str(model), "data": ["-"], "out": "-"}, {})
    policy = policy_for(recipe, "cpu", threads=1)
    tokenizer = load_tokenizer(model)
    encoder = Encoder(tokenizer, load_template("smollm2", {}), [tokenizer.eos_token_id], max_length=PACK)
    empty = dict.fromkeys(("name", "tool_calls", "tool_call_id", "reasoning", "weight"))
    lines = [{"id": str(place), "messages": [one | empty for one in said]} for place, said in enumerate(data)]
    tokens = gathered(encoder.encode(lines, Told()))
    base = load_base(model, policy)
    set_seed(42)
    with quietly(), tempfile.TemporaryDirectory() as folder:
        beginning = Beginning(Path(folder), model, lambda: iter(()))
        trainer = SftTrainer(
            model=adapted(base, recipe.adapter, Situation(steps, 6, 576), None, policy, beginning),
            args=TrainingArguments(**_arguments(folder, steps, 2 if packing else batch), remove_unused_columns=False),
            train_dataset=Sequences(tokens, packing=packing, max_length=PACK),
            data_collator=Collator(0, packing=packing),
        )
        trainer.remove_callback(PrinterCallback)
        began = process_time()
        trainer.train()
        seconds = process_time() - began
    return seconds, trainer.seen_tokens, [one["loss"] for one in trainer.state.log_history if "loss" in one]


def plain(model: Path, data: list[Any], steps: int, batch: int, packing: bool) -> tuple[float, int, list[float]]:
    """The same of TRL's."""
    import torch
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from train.chat_template import load_template
    from train.model import quietly

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = load_template("smollm2", {}).text
    with quietly(), tempfile.TemporaryDirectory() as folder:
        trainer = trl.SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            processing_class=tokenizer,
            train_dataset=Dataset.from_list([{"messages": one} for one in data]),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            args=trl.SFTConfig(
                **_arguments(folder, steps, 2 if packing else batch),
                gradient_checkpointing=False,
                assistant_only_loss=True,
                max_length=PACK,
                packing=packing,
            ),
        )
        trainer.remove_callback(PrinterCallback)
        began = process_time()
        trainer.train()
        seconds = process_time() - began
    log = [one for one in trainer.state.log_history if "loss" in one]
    return seconds, int(log[-1]["num_tokens"]), [one["loss"] for one in log]


def _arguments(folder: str, steps: int, batch: int) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": batch,
        "learning_rate": 2e-4,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "seed": 42,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def main() -> None:
    """Run the contenders in turns and print their ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--model", type=Path)
    asked = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    warnings.filterwarnings("ignore")
    import torch

    from tests.train.conftest import cut_of, smollm2_folder

    torch.set_num_threads(1)
    model = cut_of(asked.model or smollm2_folder(), asked.layers)
    data = rows(asked.batch * asked.steps * 4, 7)
    contenders: dict[str, Callable[[], tuple[float, int, list[float]]]] = {
        "trl": lambda: plain(model, data, asked.steps, asked.batch, False),
        "ours": lambda: ours(model, data, asked.steps, asked.batch, False),
        "trl packed": lambda: plain(model, data, asked.steps, asked.batch, True),
        "packed": lambda: ours(model, data, asked.steps, asked.batch, True),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    losses: dict[str, list[float]] = {}
    for number in range(asked.rounds):
        for name in list(contenders) if number % 2 == 0 else list(contenders)[::-1]:
            seconds, tokens, losses[name] = contenders[name]()
            speeds[name].append(tokens / seconds)
            print(f"round {number + 1}  {name:10}  {tokens / seconds:8.1f} tokens/s of CPU", flush=True)
    middle = {name: statistics.median(found) for name, found in speeds.items()}
    gap = max(abs(a - b) for a, b in zip(losses["trl"], losses["ours"], strict=True))
    print(f"losses: ours and TRL's differ by at most {gap:.1e}")
    print(f"padded: ours / trl = {middle['ours'] / middle['trl']:.2f}")
    print(f"packed: ours / trl padded = {middle['packed'] / middle['trl']:.2f}")
    print(f"packed: ours / trl packed = {middle['packed'] / middle['trl packed']:.2f}")


if __name__ == "__main__":
    main()
