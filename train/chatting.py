"""Talking to what was trained, and to its base beside it: one model in memory, the adapter off for the base."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, TextStreamer

from schemas.errors import UserError
from train.model import quietly
from train.rendering import TemplateRefusesError
from train.trained import Messages, Trained, load_trained

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Sampling:
    """How answers are chosen."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 takes the likeliest token each time; above it, chance does."""
    seed: int = 0
    """Of chance, the same for base and tuned."""


@dataclass(frozen=True)
class Answer:
    """What a model said."""

    text: str
    tokens: int
    ended: bool
    """Whether it stopped by itself, not for lack of room."""

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"text": self.text, "tokens": self.tokens, "ended": self.ended}


class Talk:
    """What was trained, loaded and ready to answer. `sides` are tuned, and base before it where there is an adapter."""

    def __init__(self, known: Trained, sampling: Sampling) -> None:
        self.known = known
        self.sampling = sampling
        self.sides = ("tuned",) if known.base is None else ("base", "tuned")
        self.model = load_trained(known, "cuda" if torch.cuda.is_available() else "cpu")
        self.room = getattr(self.model.config, "max_position_embeddings", None)
        # The model's own settings, such as Qwen's penalties, are no part of what was trained: both sides go without.
        base = self.model if known.base is None else self.model.get_base_model()
        base.generation_config = self._choice()

    def answer(self, side: str, messages: Messages, tell: Tell = lambda piece: None) -> Answer:
        """What a side says next in a conversation; `tell` is given it piece by piece as it is written. Raises UserError
        for a conversation that the template refuses, or that is too long."""
        tokenizer = self.known.tokenizer
        given = tokenizer(
            self._asked(messages), add_special_tokens=self.known.template is None, return_tensors="pt"
        ).to(self.model.device)
        length = int(given["input_ids"].shape[1])
        if self.room is not None and length + self.sampling.max_new_tokens > self.room:
            raise UserError(
                f"the conversation has {length:,} tokens, and with {self.sampling.max_new_tokens:,} new ones more than "
                f"the {self.room:,} that the model reads",
                hint="begin a new one, or lower --max-new-tokens",
            )
        streamer = _Pieces(tokenizer, tell)
        torch.manual_seed(self.sampling.seed)
        switched_off = self.model.disable_adapter() if side == "base" else contextlib.nullcontext()
        with switched_off, torch.inference_mode(), quietly():
            made = self.model.generate(
                input_ids=given["input_ids"],
                attention_mask=given["attention_mask"],
                generation_config=self._choice(),
                streamer=streamer,
            )
        ids = made[0, length:].tolist()
        text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Answer(text, len(ids), bool(ids) and ids[-1] in self.known.stops)

    def _asked(self, messages: Messages) -> str:
        if self.known.template is None:
            return "\n".join(one["content"] for one in messages)
        try:
            return self.known.template.render(messages, add_generation_prompt=True).text
        except TemplateRefusesError as error:
            raise UserError(
                f"the chat template refuses this conversation: {error}", hint="some know no --system turn"
            ) from None

    def _choice(self) -> GenerationConfig:
        chance = self.sampling.temperature > 0
        stops, pad = list(self.known.stops), self.known.tokenizer.pad_token_id
        return GenerationConfig(
            max_new_tokens=self.sampling.max_new_tokens,
            do_sample=chance,
            **({"temperature": self.sampling.temperature, "top_k": 0, "top_p": 1.0} if chance else {}),
            eos_token_id=stops or None,
            pad_token_id=pad if pad is not None else (stops or [0])[0],
            bos_token_id=self.known.tokenizer.bos_token_id,
        )


class _Pieces(TextStreamer):  # type: ignore[misc] # transformers has no types here
    """Tells whole words, and whole characters, as they come."""

    def __init__(self, tokenizer: Any, tell: Tell) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        self._tell = tell

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._tell(text)
