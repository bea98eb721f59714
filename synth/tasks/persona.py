"""Questions that the kind of person behind a text would ask, and their answers."""

from __future__ import annotations

import random
import re

from pydantic import BaseModel

from synth.checking import needed
from synth.diversity import deal
from synth.prompting import Wording, conversation, filled, question, quoted
from synth.reading import helpful, parsed, said, written
from synth.task import Rounds, Seed, Setting, Task, gives, rejects, turn

_WHO: Wording = {
    "en": (
        "This is a text:\n\n$text\n\n"
        "Who is likely to write, read or need it? Describe one kind of person in one or two sentences: what they do, "
        "what they know, what they want. No name, no contact, nothing that tells one real person from others.\n"
        'Answer as JSON: {"persona": "…"}'
    ),
    "zh": (
        "下面是一段文字：\n\n$text\n\n"
        "什么样的人会写、会读或会需要它？用一两句话描述这一类人：做什么、懂什么、想要什么。"
        "不要写姓名、联系方式，也不要写能认出某个真实个人的内容。\n"
        '以 JSON 回答：{"persona": "…"}'
    ),
}
_WHAT: Wording = {
    "en": (
        "This describes a person:\n\n$persona\n\n"
        "Write one request that this person would make to an assistant, in their own voice: $kind. It must make sense "
        "by itself and be answerable in words alone. Do not describe the person in it beyond what they would say.\n"
        'Answer as JSON: {"instruction": "…"}'
    ),
    "zh": (
        "下面描述了一个人：\n\n$persona\n\n"
        "请用这个人自己的口吻写一个他会向助手提出的请求：$kind。它必须能独立看懂，并且只用文字就能回答。"
        "除了本人会说的话以外，不要描述这个人。\n"
        '以 JSON 回答：{"instruction": "…"}'
    ),
}
_KINDS = {
    "en": ("a question of their daily work", "something to write", "a decision to weigh", "a thing to have explained",
           "a problem to reason out"),
    "zh": ("日常工作中的一个问题", "要写的一份东西", "要权衡的一个决定", "想弄懂的一件事", "需要推理的一道难题"),
}  # fmt: skip
_CONTACT = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}\.|\d{7,}|https?://")
_PERSONA = "A beekeeper with thirty hives who sells honey at markets and worries about mites."
_PERSONA_ZH = "一位养了三十箱蜜蜂、在集市卖蜂蜜的养蜂人，担心蜂螨。"
_SEED = {"id": "b", "text": "Varroa counts after the August treatment were down to two mites a day."}
_SEED_ZH = {"id": "b", "text": "八月用药之后，落螨数降到了每天两只。"}


class _Persona(BaseModel):
    persona: str


class _Request(BaseModel):
    instruction: str


class Persona(Task):
    """Persona-driven questions: text to persona to question (Ge et al. 2024, arXiv:2406.20094).

    Personas are kinds of people; one with a contact in it is rejected. Which kind of request they make is dealt outside
    the model. The persona is noted and not part of the chat.
    """

    novel = True

    kinds: tuple[str, ...] = Setting(
        default=(), description="kinds of request, in the seeds' language; by default five"
    )
    text_chars: int = Setting(default=2_000, ge=100, description="how much of a text is shown")

    temperature: float = Setting(default=0.9, ge=0, le=2, description="how freely the teacher writes")

    examples = (
        gives(
            _SEED,
            [{"persona": _PERSONA}, {"instruction": "When should I treat my hives again?"}, "Count again in spring."],
            {
                "instruction": "When should I treat my hives again?",
                "answer": "Count again in spring.",
                "persona": _PERSONA,
            },
        ),
        gives(
            _SEED_ZH,
            [{"persona": _PERSONA_ZH}, {"instruction": "帮我写一段集市上的蜂蜜介绍。"}, "这是本地槐花蜜，甜而不腻。"],
            {"instruction": "帮我写一段集市上的蜂蜜介绍。", "kind": "要写的一份东西"},
            settings={"kinds": ["要写的一份东西"]},
        ),
        rejects("contact_in_persona", _SEED, [{"persona": "A beekeeper who answers at bees@example.org all day."}]),
        rejects("too_short", _SEED, [{"persona": "Beekeeper"}]),
        rejects("wrong_language", _SEED_ZH, [{"persona": _PERSONA}]),
        rejects(
            "describes_persona",
            _SEED,
            [{"persona": _PERSONA}, {"instruction": f"{_PERSONA} When should the hives be treated?"}],
        ),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        lang = seed.lang
        kind = deal({"kind": self.kinds or _KINDS[lang]}, seed.key, number)["kind"]
        who = filled(_WHO, lang, text=quoted(seed.text[: self.text_chars]))
        [reply] = yield [
            question(
                who, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Persona, sample=number
            )
        ]
        persona = written(parsed(reply, _Persona).persona, lang, min_chars=12, max_chars=600)
        needed(not _CONTACT.search(persona), "contact_in_persona", "a persona is a kind of person")

        what = filled(_WHAT, lang, persona=quoted(persona), kind=kind)
        [reply] = yield [
            question(what, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Request)
        ]
        instruction = written(parsed(reply, _Request).instruction, lang, min_chars=6, max_chars=2_000)
        needed(persona[:40].lower() not in instruction.lower(), "describes_persona", "it says the persona again")

        [reply] = yield [conversation([turn("user", instruction)], max_tokens=self.max_tokens)]
        return [seed.chat(instruction, helpful(said(reply), lang), {"persona": persona, "kind": kind})]
