"""Conversations of several turns, with how the person feels and where the assistant should hand over."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from synth.checking import needed
from synth.diversity import deal
from synth.prompting import Wording, filled, question, quoted
from synth.reading import declines, parsed, written
from synth.task import JUDGE, Rounds, Seed, Setting, Task, gives, rejects, turn

Emotion = Literal["calm", "anxious", "angry"]

_WRITE: Wording = {
    "en": (
        "This is what an assistant of a service works with:\n\n$text\n\n"
        "Write a conversation between a person and the assistant about it, of $turns turns in all, the person first "
        "and the assistant last. The person is $emotion, which shows in how they write and is never named. $escalation "
        "The assistant is factual, says nothing that the text does not support, and does not repeat itself. Use no "
        "placeholders such as [name].\n"
        'Answer as JSON: {"turns": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
    ),
    "zh": (
        "下面是某项服务的助手所依据的资料：\n\n$text\n\n"
        "请就此写一段用户与助手的对话，共 $turns 轮发言，用户先开口，最后由助手结束。用户的情绪是$emotion，"
        "要从说话方式中看出来，但不要直接说出。$escalation"
        "助手实事求是，不说资料不支持的内容，也不重复自己。不要使用[姓名]之类的占位符。\n"
        '以 JSON 回答：{"turns": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
    ),
}
_FEELINGS: Mapping[str, Wording] = {
    "calm": {"en": "calm", "zh": "平静"},
    "anxious": {"en": "anxious", "zh": "焦虑"},
    "angry": {"en": "angry", "zh": "愤怒"},
}
_ESCALATION: Mapping[str, Wording] = {
    "yes": {
        "en": "At one point the matter is beyond the assistant, which says so and hands over to a human colleague.",
        "zh": "进行到某处时，事情超出助手的能力，助手如实说明并转交人工同事。",
    },
    "no": {
        "en": "The assistant settles the matter itself and hands over to nobody.",
        "zh": "助手自己把事情解决，不转交任何人。",
    },
}
_LOOK: Wording = {
    "en": (
        "This is a conversation, its turns numbered from 1:\n\n$talk\n\n"
        "How does the person feel on the whole: calm, anxious or angry? And in which turn does the assistant hand over "
        "to a human; 0 if in none?\n"
        'Answer as JSON: {"emotion": "calm", "escalation_turn": 0}'
    ),
    "zh": (
        "下面是一段对话，发言从 1 开始编号：\n\n$talk\n\n"
        "用户总体上的情绪是 calm（平静）、anxious（焦虑）还是 angry（愤怒）？助手在第几条发言中转交人工？没有则为 0。\n"
        '以 JSON 回答：{"emotion": "calm", "escalation_turn": 0}'
    ),
}
_PLACEHOLDER = re.compile(r"\[[A-Za-z\u4e00-\u9fff][A-Za-z _\u4e00-\u9fff]{1,30}\]|[xX]{3,}|[×＊*]{3,}")
_SEED = {"id": "f", "text": "Refunds take 5 working days. Damaged goods are replaced free of charge."}
_SEED_ZH = {"id": "f", "text": "退款需5个工作日到账。商品破损可免费换新。"}
_TALK = {
    "turns": [
        {"role": "user", "content": "Hi, the mug I got has a crack in it."},
        {"role": "assistant", "content": "That should not happen. I can send a new one, free of charge."},
        {"role": "user", "content": "Great, please do."},
        {"role": "assistant", "content": "Done. You need not return the damaged one."},
    ]
}
_TALK_ZH = {
    "turns": [
        {"role": "user", "content": "都第七天了钱还没到！你们到底退不退？"},
        {"role": "assistant", "content": "退款一般5个工作日到账，我先帮您核对。"},
        {"role": "user", "content": "别再敷衍我，我要投诉！"},
        {"role": "assistant", "content": "这笔退款我无权催办，现在为您转接人工客服。"},
    ]
}
_CALM = {"emotion": {"calm": 1}, "escalations": 0.0, "turns": 4}
_ANGRY = {"emotion": {"angry": 1}, "escalations": 1.0, "turns": 4}


class _Turn(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class _Talk(BaseModel):
    turns: list[_Turn]


class _Look(BaseModel):
    emotion: Emotion
    escalation_turn: int


class Dialog(Task):
    """Conversations about a text, in a mood and with a hand-over or none, both verified by a judge that is not told.

    Dialogues as targets of attributes follow SODA (Kim et al. 2022, arXiv:2212.10465); moods and hand-overs are dealt
    outside the model and noted: `emotion`, and `escalation_turn` (from 1; 0 for none).
    """

    turns: int = Setting(default=6, ge=2, le=40, description="turns of a conversation, half of them the person's")
    emotion: Mapping[Emotion, float] = Setting(
        default={"calm": 1, "anxious": 1, "angry": 1}, min_length=1, description="moods and their shares"
    )
    escalations: float = Setting(default=0.3, ge=0, le=1, description="share of conversations that are handed over")
    text_chars: int = Setting(default=4_000, ge=100, description="how much of a text is shown")

    temperature: float = Setting(default=0.9, ge=0, le=2, description="how freely the teacher writes")
    max_tokens: int = Setting(default=2_048, ge=1, description="the longest answer the teacher may give, in tokens")

    examples = (
        gives(
            _SEED,
            [_TALK, {"emotion": "calm", "escalation_turn": 0}],
            {"instruction": "Great, please do.", "emotion": "calm", "escalation_turn": 0},
            settings=_CALM,
        ),
        gives(
            _SEED_ZH,
            [_TALK_ZH, {"emotion": "angry", "escalation_turn": 4}],
            {"instruction": "别再敷衍我，我要投诉！", "emotion": "angry", "escalation_turn": 4},
            settings=_ANGRY,
        ),
        rejects("other_emotion", _SEED, [_TALK, {"emotion": "anxious", "escalation_turn": 0}], settings=_CALM),
        rejects("no_escalation", _SEED_ZH, [_TALK_ZH, {"emotion": "angry", "escalation_turn": 0}], settings=_ANGRY),
        rejects("escalates", _SEED, [_TALK, {"emotion": "calm", "escalation_turn": 4}], settings=_CALM),
        rejects("wrong_turns", _SEED, [{"turns": _TALK["turns"][:3]}], settings=_CALM),
        rejects("wrong_turns", _SEED, [{"turns": list(reversed(_TALK["turns"]))}], settings=_CALM),
        rejects(
            "placeholder",
            _SEED_ZH,
            [{"turns": [{"role": "user", "content": "您好"}, {"role": "assistant", "content": "[姓名]您好"}]}],
            settings=_ANGRY | {"turns": 2},
        ),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        lang, wanted = seed.lang, self.turns - self.turns % 2
        shares = {"yes": self.escalations, "no": 1 - self.escalations}
        dealt = deal({"emotion": dict(self.emotion), "escalation": shares}, seed.key, number)
        asked = filled(
            _WRITE, lang, text=quoted(seed.text[: self.text_chars]), turns=str(wanted),
            emotion=_FEELINGS[dealt["emotion"]][lang], escalation=_ESCALATION[dealt["escalation"]][lang],
        )  # fmt: skip
        [reply] = yield [
            question(asked, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Talk, sample=number)
        ]
        talk = parsed(reply, _Talk).turns
        roles = [one.role for one in talk]
        needed(2 <= len(talk) <= wanted + 2 and len(talk) >= wanted - 2, "wrong_turns", f"{len(talk)} turns")
        needed(roles == ["user", "assistant"] * (len(talk) // 2), "wrong_turns", "the speakers do not take turns")
        said = [written(one.content, lang, max_chars=4_000) for one in talk]
        needed(len(set(said)) == len(said), "repeats", "a turn is said twice")
        needed(not any(map(_PLACEHOLDER.search, said)), "placeholder", "something is left to fill in")
        first_is_refusal = declines(said[1]) and dealt["escalation"] == "no"
        needed(not first_is_refusal, "refused", "the assistant declines")

        lines = "\n".join(
            f"{place}. {role}: {text}" for place, (role, text) in enumerate(zip(roles, said, strict=True), 1)
        )
        [reply] = yield [
            question(
                filled(_LOOK, lang, talk=quoted(lines)),
                lang,
                max_tokens=self.check_tokens,
                answer=_Look,
                teacher=JUDGE,
            )
        ]
        look = parsed(reply, _Look)
        needed(look.emotion == dealt["emotion"], "other_emotion", f"the judge sees {look.emotion}")
        if dealt["escalation"] == "no":
            needed(look.escalation_turn == 0, "escalates", "the judge sees a hand-over")
        else:
            at = look.escalation_turn
            needed(0 < at <= len(talk) and roles[at - 1] == "assistant", "no_escalation", "the judge sees none")
        messages = [turn(role, text) for role, text in zip(roles, said, strict=True)]
        notes = {"emotion": dealt["emotion"], "escalation_turn": look.escalation_turn}
        return [seed.made("chat", {"messages": messages}, notes)]
