"""Instructions made harder, or turned into rarer ones of the same field, and their answers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from synth.checking import Check, needed
from synth.diversity import deal
from synth.novelty import THRESHOLD, rouge_l, tokens
from synth.prompting import Wording, conversation, filled, question, quoted
from synth.reading import helpful, parsed, said, written
from synth.task import Rounds, Seed, Setting, Task, gives, rejects, turn

Way = Literal["constrain", "deepen", "concretise", "reason", "broaden"]

_WAYS: Mapping[str, Wording] = {
    "constrain": {
        "en": "Add one more condition or requirement that the answer has to meet.",
        "zh": "增加一个回答必须满足的条件或要求。",
    },
    "deepen": {
        "en": "Ask for more depth: where it touches on something, have it gone into.",
        "zh": "加深问题：凡是浅浅提到的地方，要求说得更深入。",
    },
    "concretise": {
        "en": "Replace what is general by something particular: a case, a place, a kind of person, an amount.",
        "zh": "把笼统的说法换成具体的情形：具体的事例、地点、人群或数量。",
    },
    "reason": {
        "en": "Change it so that the answer takes several steps of thought instead of one.",
        "zh": "改成需要多步思考才能回答，而不是一步就能得出。",
    },
    "broaden": {
        "en": "Write a different request of the same field: a rarer subject, about as long and as hard.",
        "zh": "写一个同一领域但不同的请求：主题更少见，长度和难度相近。",
    },
}
_EVOLVE: Wording = {
    "en": (
        "This is a request to an assistant:\n\n$request\n\n$way\n"
        "The result must be reasonable, make sense by itself, and be something a person could answer; it may be at "
        "most some twenty words longer. Keep code, tables and data that the request contains.\n"
        'Answer as JSON: {"instruction": "the request that you made of it"}'
    ),
    "zh": (
        "下面是向助手提出的一个请求：\n\n$request\n\n$way\n"
        "结果必须合理、能独立看懂、并且人能够回答；最多比原来长三十个字左右。保留请求中的代码、表格和数据。\n"
        '以 JSON 回答：{"instruction": "改成的请求"}'
    ),
}
_SAME_DEPTH: Wording = {
    "en": (
        "Two requests follow.\n\nRequest A:\n$one\n\nRequest B:\n$other\n\n"
        "Do they have the same requirements, and the same depth and breadth of what is asked?\n"
        'Answer as JSON: {"verdict": "yes"} or {"verdict": "no"}'
    ),
    "zh": (
        "下面是两个请求。\n\n请求 A：\n$one\n\n请求 B：\n$other\n\n"
        "两者的要求是否相同，所问的深度和广度是否也相同？\n"
        '以 JSON 回答：{"verdict": "yes"} 或 {"verdict": "no"}'
    ),
}
_NO_GAIN = Check(
    _SAME_DEPTH,
    "no",
    {
        "en": {"one": "Name the capital of Peru.", "other": "Tell me the name of Peru's capital."},
        "zh": {"one": "秘鲁的首都是哪里？", "other": "请告诉我秘鲁的首都在哪里。"},
    },
)
_STOP_WORDS = """
    a an the and or but if of to in on at by for with from as is are was were be been it its this that these those i you
    he she we they not no yes do does did so than then there here what which who how
    的 了 是 在 和 与 或 也 都 就 不 这 那 我 你 他 她 它 们 吗 呢 吧 啊
"""
_SEED = {"messages": [turn("user", "How do I boil an egg?"), turn("assistant", "Ten minutes in boiling water.")]}
_SEED_ZH = {"messages": [turn("user", "怎么煮鸡蛋？"), turn("assistant", "水开后煮十分钟。")]}
_ALTITUDE = "How do I boil an egg at 3,000 metres, where water boils at 90 °C?"


class _Evolved(BaseModel):
    instruction: str


class Evolve(Task):
    """Instructions evolved in depth and breadth: Evol-Instruct (Xu et al. 2023, arXiv:2304.12244).

    The paper's four signs of a failed evolution are its checks: nothing gained (told by the judge), an answer that
    declines, one of stop words only, and a request that speaks of the prompt it came from.
    """

    novel = True

    ways: Mapping[Way, float] = Setting(
        default={"constrain": 1, "deepen": 1, "concretise": 1, "reason": 1, "broaden": 1},
        min_length=1,
        description="ways to evolve and their shares",
    )
    max_chars: int = Setting(default=2_000, ge=1, description="the longest instruction, in characters")

    examples = (
        gives(
            _SEED,
            [
                {"instruction": _ALTITUDE},
                {"verdict": "no"},
                {"verdict": "yes"},
                "About thirteen minutes, since the water is cooler.",
            ],
            {"instruction": _ALTITUDE, "answer": "About thirteen minutes, since the water is cooler.", "way": "reason"},
            settings={"ways": {"reason": 1}},
        ),
        gives(
            _SEED_ZH,
            [{"instruction": "怎么做温泉蛋？"}, "六十五度的水里放四十分钟。"],
            {"instruction": "怎么做温泉蛋？", "way": "broaden"},
            settings={"ways": {"broaden": 1}},
        ),
        rejects("unchanged", _SEED, [{"instruction": "How do I boil an egg"}], settings={"ways": {"deepen": 1}}),
        rejects(
            "copy",
            _SEED_ZH,
            [{"instruction": "怎么煮好鸡蛋？"}],
            settings={"ways": {"broaden": 1}},
        ),
        rejects(
            "no_gain",
            _SEED,
            [{"instruction": "In which way does one boil an egg?"}, {"verdict": "yes"}, {"verdict": "yes"}],
            settings={"ways": {"deepen": 1}},
        ),
        rejects(
            "prompt_leak",
            _SEED,
            [{"instruction": "Rewritten prompt: how do I boil an egg in a kettle?"}],
            settings={"ways": {"constrain": 1}},
        ),
        rejects(
            "refused",
            _SEED_ZH,
            [
                {"instruction": "怎么在三千米高处煮鸡蛋？"},
                {"verdict": "no"},
                {"verdict": "yes"},
                "抱歉，我无法回答这个问题。",
            ],
            settings={"ways": {"reason": 1}},
        ),
        rejects(
            "no_content",
            _SEED,
            [{"instruction": _ALTITUDE}, {"verdict": "no"}, {"verdict": "yes"}, "It is so."],
            settings={"ways": {"reason": 1}},
        ),
        rejects("bad_json", _SEED, ["How do I boil an ostrich's egg?"], settings={"ways": {"broaden": 1}}),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        before, lang = seed.instruction, seed.lang
        way = deal({"way": self.ways}, seed.key, number)["way"]
        asked = filled(_EVOLVE, lang, request=quoted(before), way=_WAYS[way][lang])
        [reply] = yield [
            question(
                asked, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Evolved, sample=number
            )
        ]
        instruction = written(parsed(reply, _Evolved).instruction, lang, min_chars=4, max_chars=self.max_chars)
        needed(tokens(instruction) != tokens(before), "unchanged", "it is the seed's wording")
        if way == "broaden":
            alike = rouge_l(instruction, before)
            needed(alike <= THRESHOLD, "copy", f"ROUGE-L with the seed is {alike:.2f}")
        else:
            replies = yield _NO_GAIN.ask(lang, self.check_tokens, one=before, other=instruction)
            needed(_NO_GAIN.passed(replies), "no_gain", "the judge sees the same requirements and depth")

        [reply] = yield [conversation([turn("user", instruction)], max_tokens=self.max_tokens)]
        answer = helpful(said(reply), lang)
        needed(not set(tokens(_STOP_WORDS)).issuperset(tokens(answer)), "no_content", "the answer has stop words only")
        return [seed.chat(instruction, answer, {"way": way})]
