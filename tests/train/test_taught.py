"""A real model learns a real format: measured before and after, on questions that it was not trained on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.train.small import chat_dataset
from train.recipe import load_recipe
from train.running import carry_out, prepare, tokens_of

ASKS = ("Do you know", "Can you tell me", "I wonder", "Say", "Please find out", "Tell me")
CITIES = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Tokyo", "Quito", "Accra", "Minsk", "Turin", "Lyon")
THINGS = ("tea", "soup", "boots", "maps", "lamps", "ropes", "bells", "seeds", "paint", "nails", "books", "coats")


def question(place: int) -> tuple[str, str]:
    """A question and the answer in the format to learn: the thing and the city, in order, in capitals' frame."""
    ask = ASKS[place % len(ASKS)]
    thing, city = THINGS[(place // 3) % len(THINGS)], CITIES[(place * 7 + place // 12) % len(CITIES)]
    return f"{ask} where in {city} I could buy {thing}?", f"RESULT: {thing} / {city}. END"


def share_in_format(model: Any, tokenizer: Any, asked: list[tuple[str, str]]) -> float:
    """Share of greedy answers that are exactly what the format asks for."""
    right = 0
    for text, expected in asked:
        messages = [{"role": "user", "content": text}]
        given = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        made = model.generate(**given, max_new_tokens=24, do_sample=False)
        said = tokenizer.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
        right += re.sub(r"\s+", " ", said).strip() == expected
    return right / len(asked)


@pytest.mark.soak
@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_a_format_is_learnt_and_followed_on_new_questions(adapter: str, smollm2: Path, tmp_path: Path) -> None:
    """About 3 minutes of CPU for each adapter."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    every = list(dict.fromkeys(question(place) for place in range(400)))
    held, learnt = every[:20], [one for one in every[20:] if one[0] not in {text for text, _ in every[:20]}]
    rows = [{"messages": [("user", text), ("assistant", said)], "split": "train"} for text, said in learnt]
    data = chat_dataset(tmp_path / "chat", rows).folder
    given = {"model": str(smollm2), "data": [str(data)], "out": str(tmp_path / "out"), "adapter": adapter}
    settings = {"max_steps": "30", "learning_rate": "1e-3", "validation": "0", "warmup_steps": "2"}
    job = prepare(load_recipe("sft", None, given, settings), device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    base = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()
    before = share_in_format(base, tokenizer, held)

    outcome = carry_out(job, tokens_of(job), lambda *_: None)
    after = share_in_format(PeftModel.from_pretrained(base, outcome.folder).eval(), tokenizer, held)

    print(f"{adapter}: in the format before {before:.0%}, after {after:.0%}; loss {outcome.report['loss']}")
    assert before <= 0.1
    assert after >= 0.9
