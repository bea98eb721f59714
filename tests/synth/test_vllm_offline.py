"""vLLM in this process: what is asked of it and what it says. The real one runs where it is installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from schemas.errors import UserError
from synth.journal import Journal
from synth.request import Answer, Failure, Request
from synth.runner import Outcome, run
from synth.teachers.openai_api import Endpoint, Teacher


def teacher(model: str = "stub", **options: Any) -> Teacher:
    return Teacher("one", model, (Endpoint("http://localhost", transport="vllm", options=options),), max_tokens=16)


def question(text: str, **more: Any) -> Request:
    return Request({"messages": [{"role": "user", "content": text}], **more})


def asked(home: Path, requests: Sequence[Request], one: Teacher) -> list[Outcome]:
    with Journal(home) as journal:
        return list(run(requests, [one], journal))


class Echo:
    """An engine that says what it is asked, and turns down what is too long."""

    turns: list[int]

    def __init__(self, **options: Any) -> None:
        if options.get("dtype") == "none":
            raise ValueError("unknown dtype: none")
        Echo.turns = []

    def chat(self, messages: list[Any], sampling_params: list[Any], use_tqdm: bool, **shared: Any) -> list[Any]:
        Echo.turns.append(len(messages))
        if any(len(one[-1]["content"]) > 100 for one in messages):
            raise ValueError("longer than the maximum model length of 100")
        return [
            SimpleNamespace(
                prompt_token_ids=[1, 2],
                outputs=[
                    SimpleNamespace(
                        text=f"{one[-1]['content']} {vars(sampling)}", token_ids=[1, 2, 3], finish_reason="stop"
                    )
                ],
            )
            for one, sampling in zip(messages, sampling_params, strict=True)
        ]


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("vllm")
    vars(fake).update(LLM=Echo, SamplingParams=SimpleNamespace)
    params = ModuleType("vllm.sampling_params")
    vars(params).update(StructuredOutputsParams=lambda **said: said)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)


@pytest.mark.usefixtures("echo")
def test_requests_are_handed_over_together_and_what_is_wrong_fails_alone(tmp_path: Path) -> None:
    requests = [question(f"问题 {n}", temperature=0.5, seed=n) for n in range(40)]
    requests[7] = question("x" * 200)
    requests[8] = question("x", logit_bias={"5": 1})

    found = asked(tmp_path, requests, teacher())

    reasons = {n: outcome for n, outcome in enumerate(found) if isinstance(outcome, Failure)}
    assert {n: failure.reason for n, failure in reasons.items()} == {7: "bad_request", 8: "bad_request"}
    assert "longer than the maximum" in reasons[7].detail and "logit_bias" in reasons[8].detail
    first = found[0]
    assert isinstance(first, Answer) and first.text is not None
    assert first.text.startswith("问题 0 {") and "'seed': 0" in first.text and "'max_tokens': 16" in first.text
    assert (first.prompt_tokens, first.completion_tokens, first.finish_reason) == (2, 3, "stop")
    assert Echo.turns[0] > 1 or len(Echo.turns) > 1


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize(
    ("options", "says"), [({"dtype": "none"}, "unknown dtype"), ({"trust_remote_code": True}, "own code is not run")]
)
def test_an_engine_that_cannot_be_made_is_said(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        asked(tmp_path, [question("x")], teacher(**options))


def test_without_vllm_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)

    with pytest.raises(UserError, match="not installed") as error:
        asked(tmp_path, [question("x")], teacher())

    assert "pip install vllm" in error.value.hint


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
def test_a_real_engine_answers_and_the_same_again_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("VLLM_CPU_KVCACHE_SPACE", "1"),
        ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        ("HF_HUB_OFFLINE", "1"),
        ("VLLM_NO_USAGE_STATS", "1"),
    ):
        monkeypatch.setenv(name, os.environ.get(name, value))
    model = tiny_model(tmp_path / "model")
    one = teacher(str(model), dtype="float32", max_model_len=256, enforce_eager=True, max_num_seqs=8)
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    structured = {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}
    requests = [question(f"question {n}", temperature=0, seed=n, max_tokens=16) for n in range(12)]
    requests += [question("word " * 500), question("is it so?", temperature=0, max_tokens=60, **structured)]

    found = asked(tmp_path / "home", requests, one)
    again = asked(tmp_path / "home", [*requests[:12], *requests[13:]], one)

    assert [type(outcome) for outcome in found[:12]] == [Answer] * 12
    assert isinstance(found[12], Failure) and found[12].reason == "bad_request"
    # Random weights may fill their tokens with the white space that a grammar allows; they never break it.
    structured_one = found[13]
    assert isinstance(structured_one, Answer) or structured_one.reason == "truncated"
    assert again == [*found[:12], *found[13:]]


def tiny_model(folder: Path) -> Path:
    """A Llama of random weights with a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {piece: number for number, piece in enumerate(["</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    bytes_only = Tokenizer(models.BPE(vocab=words, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token="</s>", chat_template=template)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=0,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
