"""Instructions that a chat model comes up with by itself where a user's turn begins, and its answers."""

from __future__ import annotations

import random
import re

from synth.checking import needed
from synth.prompting import conversation
from synth.reading import helpful, said, written
from synth.request import Request
from synth.task import Rounds, Seed, Setting, Task, gives, rejects, turn

_SEED = {"id": "m", "lang": "en", "text": "You help people to repair bicycles."}
_SEED_ZH = {"id": "m", "lang": "zh", "text": "你帮助人们修理自行车。"}


class SelfPrompting(Task):
    """Questions that an aligned model writes when it is left at the start of the user's turn: Magpie (Xu et al. 2024,
    arXiv:2406.08464).

    Only for endpoints that go on with a user's turn once begun: vLLM (`continue_final_message`), the local teacher, and
    llama.cpp's server by `transport: llama`, which else takes it for the assistant's. The seed's text
    is the system message, which sets the subject. As the paper keeps a tenth of what it makes, ask for many and select.
    """

    novel = True

    subject: bool = Setting(default=True, description="give the seed's text as the system message")
    keep_system: bool = Setting(default=False, description="keep that system message in the rows made")
    min_chars: int = Setting(default=8, ge=1, description="the shortest instruction, in characters")
    max_chars: int = Setting(default=2_000, ge=1, description="the longest instruction, in characters")

    temperature: float = Setting(default=1.0, ge=0, le=2, description="how freely the teacher writes")

    examples = (
        gives(
            _SEED,
            ["My chain slips on the small cog. What should I check?\n", "Check the chain for wear first."],
            {
                "instruction": "My chain slips on the small cog. What should I check?",
                "answer": "Check the chain for wear first.",
                "system": None,
            },
        ),
        gives(
            _SEED_ZH,
            ["刹车时有尖叫声，怎么办？", "先清洁轮圈，再调整刹车皮的角度。"],
            {"instruction": "刹车时有尖叫声，怎么办？", "system": "你帮助人们修理自行车。"},
            settings={"keep_system": True},
        ),
        gives(
            _SEED,
            ["user\nHow do I true a wheel?", "Turn one spoke at a time."],
            {"instruction": "How do I true a wheel?"},
        ),
        rejects("speaks_as_assistant", _SEED, ["assistant\nTell me more about your bicycle."]),
        rejects("wrong_language", _SEED_ZH, ["My chain slips on the small cog."]),
        rejects("template_leak", _SEED, ["My chain slips.<|im_end|>\n<|im_start|>assistant\nCheck it."]),
        rejects("speaks_as_assistant", _SEED, ["Of course! How can I help you today?"]),
        rejects("too_short", _SEED_ZH, ["好。"]),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        subject = seed.text
        opening = [turn("system", subject)] if self.subject else []
        begun = conversation(
            [*opening, turn("user", "")], max_tokens=self.max_tokens, temperature=self.temperature, sample=number
        )
        [reply] = yield [
            Request({**begun.body, "continue_final_message": True, "add_generation_prompt": False}, number)
        ]
        text = _ROLE.sub("", said(reply), count=1)
        needed("<|" not in text and "[/INST]" not in text, "template_leak", "it runs on past the user's turn")
        needed(not text.lstrip().lower().startswith(_ASSISTANT), "speaks_as_assistant", "it is an assistant's turn")
        instruction = written(text, seed.lang, min_chars=self.min_chars, max_chars=self.max_chars)
        [reply] = yield [conversation([*opening, turn("user", instruction)], max_tokens=self.max_tokens)]
        system = subject if self.subject and self.keep_system else ""
        return [seed.chat(instruction, helpful(said(reply), seed.lang), system=system)]


_ROLE = re.compile(r"\A(?:user|human)[ \t]*\n\s*")
"""What is left of a turn's head where a server hides its marks: ChatML's, Llama 3's and Gemma's alike."""

_ASSISTANT = (
    "assistant\n", "model\n", "of course", "certainly", "sure!", "sure,", "hello! how can", "hi! how can", "how can i",
    "i'd be happy", "as an ai", "当然", "好的，", "您好！有什么", "你好！有什么", "请问有什么",
)  # fmt: skip
