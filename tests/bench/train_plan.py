"""Does `train plan` say the truth? Peak memory of real runs on the CPU, beside what was planned.

    python -m tests.bench.train_plan [--sequences 2] [--tokens 256]

Each run is a process of its own: SmolLM2-135M, whole and cut to 12 and 6 layers, trained for three steps by plain TRL
with peft and bitsandbytes, fully, by LoRA and by QLoRA. Measured is the process' largest resident set. Status 1 if any
plan is off by more than 15 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from tests.train.conftest import cut_of, smollm2_folder
from train.memory import AdapterName, Setup, memory_of
from train.model import read_config
from train.policy import memory_gb
from train.shapes import shape_of

LAYERS = (6, 12, 30)
ADAPTERS = ("full", "lora", "qlora")
STEPS = 3
RANK = 16
WITHIN = 0.15


def main() -> None:
    """Plan and measure each pair of a size and an adapter, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--only", default="", help="layers,adapter: one run")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "ADAPTER"), help="one run, in this process")
    asked = parser.parse_args()
    if asked.measure:
        measure(Path(asked.measure[0]), asked.measure[1], asked.sequences, asked.tokens, asked.checkpointing)
        return
    whole = smollm2_folder()
    print(f"{asked.sequences} sequences of {asked.tokens} tokens, {STEPS} steps; GB at the peak", flush=True)
    print("layers  adapter  planned (low to high)  measured  planned/measured", flush=True)
    off = 0
    for layers in LAYERS:
        folder = whole if layers == max(LAYERS) else cut_of(whole, layers)
        for adapter in ADAPTERS:
            if asked.only and asked.only != f"{layers},{adapter}":
                continue
            planned = memory_of(shape_of(read_config(folder)), setup_of(adapter, asked))
            measured = _measured(folder, adapter, asked)
            ratio = planned.expected / measured
            off += abs(ratio - 1) > WITHIN
            low, expected, high = (f"{one / 1e9:.2f}" for one in (planned.low, planned.expected, planned.high))
            print(
                f"{layers:>6}  {adapter:<7}  {expected} ({low} to {high})    {measured / 1e9:>8.2f}  {ratio:>16.2f}",
                flush=True,
            )
    print(f"planned within {100 * WITHIN:.0f} % of measured: {'all' if not off else f'all but {off}'}")
    sys.exit(bool(off))


def setup_of(adapter: str, asked: argparse.Namespace) -> Setup:
    """What the measured run is, for the plan."""
    return Setup(
        adapter=cast(AdapterName, adapter),
        device="cpu",
        precision="fp32",
        r=RANK,
        sequences=asked.sequences,
        tokens=asked.tokens,
        checkpointing=asked.checkpointing,
        tiled_loss=True,
    )


def _measured(folder: Path, adapter: str, asked: argparse.Namespace) -> float:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "tests.bench.train_plan", "--measure", str(folder), adapter]
    command += ["--sequences", str(asked.sequences), "--tokens", str(asked.tokens)]
    command += ["--checkpointing"] if asked.checkpointing else []
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=1200)
    if ran.returncode:
        raise SystemExit(ran.stderr[-2000:])
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return float(found["bytes"])


def measure(folder: Path, adapter: str, sequences: int, tokens: int, checkpointing: bool) -> None:
    """Train for three steps with nothing of ours, and print the largest resident set of this process."""
    import numpy as np
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    quantization = None
    if adapter == "qlora":
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=quantization)
    drawn = np.random.default_rng(0)
    rows = [{"input_ids": drawn.integers(10, 49_000, tokens).tolist()} for _ in range(sequences * STEPS)]
    with tempfile.TemporaryDirectory() as out:
        settings = SFTConfig(
            output_dir=out,
            max_length=tokens,
            per_device_train_batch_size=sequences,
            max_steps=STEPS,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=checkpointing,
            optim="adamw_torch",
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        peft = None
        if adapter != "full":
            peft = LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        trainer = SFTTrainer(
            model=model,
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(folder),
            peft_config=peft,
        )
        trainer.train()
    print(json.dumps({"bytes": round(memory_gb("cpu") * 1e9)}))


if __name__ == "__main__":
    main()
