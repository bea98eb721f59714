"""New instructions of the kind that seeds are, and their answers."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from synth.checking import needed
from synth.diversity import deal
from synth.novelty import THRESHOLD, rouge_l
from synth.prompting import Wording, conversation, filled, question, quoted
from synth.reading import helpful, parsed, said, written
from synth.task import Rounds, Seed, Setting, Task, gives, rejects, turn

_NEW: Wording = {
    "en": (
        "These requests were made to an assistant:\n\n$shown\n\n"
        "Write one more request that the same people might make and that none of these covers: another subject, "
        "another thing to do. It must make sense by itself, without any of these, and be answerable in words alone, "
        "without files, pictures or the internet.\n$attributes\n"
        'Answer as JSON: {"instruction": "the request"}'
    ),
    "zh": (
        "下面是人们向助手提出的请求：\n\n$shown\n\n"
        "请再写一个同一类人可能提出、而上面都没有涉及的请求：换一个主题，换一件要做的事。"
        "它必须不依赖上面的内容就能看懂，并且只用文字就能回答，不需要文件、图片或上网。\n$attributes\n"
        '以 JSON 回答：{"instruction": "请求内容"}'
    ),
}
_ATTRIBUTES: Wording = {"en": "Make it so: $named.", "zh": "具体要求：$named。"}

# What a text model cannot take in or give; the paper drops instructions with such words.
_MEDIA = re.compile(
    r"(?i)\b(?:(?:this|the (?:following|attached|above|given)|attached) (?:image|picture|photo|graph|chart|video|audio"
    r"|file|map)|(?:draw|sketch|paint|photograph|record|upload|download) (?:me )?(?:a|an|the|your|this)\b)"
    r"|(?:这张|下面的|附件中?的?|上面的|给定的)(?:图片?|照片|图像|视频|音频|文件|地图)|(?:画|绘制|录制|拍摄|上传|下载)一"
)


class _New(BaseModel):
    instruction: str


class SelfInstruct(Task):
    """Instructions unlike those shown, with answers: Self-Instruct (Wang et al. 2022, arXiv:2212.10560).

    Seeds are shown as what exists already and not as what to imitate, and what a new one is like is dealt outside the
    model. Instructions that need media, are too short or too long, or are like one that was shown are rejected as in
    the paper; the runner rejects those like any other (`novel`).
    """

    novel = True

    shown: int = Setting(default=4, ge=1, le=20, description="how many seeds a teacher is shown at once")
    attributes: Mapping[str, tuple[str, ...] | Mapping[str, float]] = Setting(
        default={}, description="what to vary, such as topic or difficulty: values, or values with their shares"
    )
    min_chars: int = Setting(default=6, ge=1, description="the shortest instruction, in characters")
    max_chars: int = Setting(default=1_000, ge=1, description="the longest instruction, in characters")

    temperature: float = Setting(default=0.9, ge=0, le=2, description="how freely the teacher writes")

    examples = (
        gives(
            {"messages": [turn("user", "Name three rivers in Africa."), turn("assistant", "Nile, Congo, Niger.")]},
            [{"instruction": "Explain how a bicycle pump works."}, "A piston pushes air through a valve."],
            {"instruction": "Explain how a bicycle pump works.", "answer": "A piston pushes air through a valve."},
        ),
        gives(
            {"messages": [turn("user", "说出三条非洲的河流。"), turn("assistant", "尼罗河、刚果河、尼日尔河。")]},
            [{"instruction": "解释打气筒的工作原理。"}, "活塞把空气压过单向阀。"],
            {"instruction": "解释打气筒的工作原理。", "answer": "活塞把空气压过单向阀。"},
        ),
        gives(
            {"messages": [turn("user", "Name three rivers in Africa.")]},
            [{"instruction": "Plan a week of meals for two."}, "Monday: lentil soup."],
            {"attributes": {"difficulty": "hard"}},
            settings={"attributes": {"difficulty": ["hard"]}},
        ),
        rejects(
            "copy",
            {"messages": [turn("user", "Name three rivers in Africa.")]},
            [{"instruction": "Name three long rivers in Africa."}],
        ),
        rejects(
            "needs_media",
            {"messages": [turn("user", "说出三条非洲的河流。")]},
            [{"instruction": "描述下面的图片里有什么。"}],
        ),
        rejects("too_short", {"messages": [turn("user", "Name three rivers in Africa.")]}, [{"instruction": "Hi."}]),
        rejects(
            "wrong_language",
            {"messages": [turn("user", "说出三条非洲的河流。")]},
            [{"instruction": "Explain how a bicycle pump works."}],
        ),
        rejects(
            "refused",
            {"messages": [turn("user", "Name three rivers in Africa.")]},
            [{"instruction": "Explain how to pick a lock."}, "I'm sorry, but I can't help with that."],
        ),
        rejects("no_instruction", {"messages": [turn("assistant", "Hello.")]}),
    )

    def companions(self) -> int:
        return self.shown - 1

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        shown = [seed.instruction, *(Seed(row).instruction for row in seed.others)]
        chance.shuffle(shown)
        dealt = deal(self.attributes, seed.key, number)
        asked = filled(_NEW, seed.lang, shown="\n\n".join(map(quoted, shown)), attributes=_described(dealt, seed))
        [reply] = yield [
            question(
                asked, seed.lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_New, sample=number
            )
        ]
        instruction = written(
            parsed(reply, _New).instruction, seed.lang, min_chars=self.min_chars, max_chars=self.max_chars
        )
        needed(not _MEDIA.search(instruction), "needs_media", "it asks for what is not text")
        alike = max(rouge_l(instruction, one) for one in shown)
        needed(alike <= THRESHOLD, "copy", f"ROUGE-L with a seed is {alike:.2f}")

        [reply] = yield [conversation([turn("user", instruction)], max_tokens=self.max_tokens)]
        return [seed.chat(instruction, helpful(said(reply), seed.lang), {"attributes": dealt} if dealt else None)]


def _described(dealt: Mapping[str, str], seed: Seed) -> str:
    named: Any = [f"{name}: {value}" for name, value in dealt.items()]
    return filled(_ATTRIBUTES, seed.lang, named=("；" if seed.lang == "zh" else "; ").join(named)) if named else ""
