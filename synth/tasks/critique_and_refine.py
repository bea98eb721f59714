"""A row's answer criticised and written anew, kept where it is better."""

from __future__ import annotations

import random
from typing import Literal

from pydantic import BaseModel

from synth.checking import needed, preferred, which_is_better
from synth.novelty import rouge_l
from synth.prompting import Wording, filled, question, quoted
from synth.reading import helpful, parsed, said
from synth.task import Made, Rounds, Seed, Setting, Task, gives, rejects, turn

_CRITICISE: Wording = {
    "en": (
        "Request:\n$request\n\nAnswer:\n$answer\n\n"
        "What is wrong with the answer, or missing from it for what was asked? Name each flaw in one sentence, with "
        "the place, the worst first; at most five. If it needs no change, give no flaw.\n"
        'Answer as JSON: {"flaws": ["…"]}'
    ),
    "zh": (
        "请求：\n$request\n\n回答：\n$answer\n\n"
        "这个回答有哪些错误，或者就所问而言缺了什么？每个缺点用一句话说明并指出位置，最严重的在前，最多五个。如果不需要修改，就不列。\n"
        '以 JSON 回答：{"flaws": ["…"]}'
    ),
}
_REFINE: Wording = {
    "en": (
        "Request:\n$request\n\nAnswer:\n$answer\n\nFlaws that were found:\n$flaws\n\n"
        "Write the answer anew without these flaws. Keep what was good, add nothing that was not asked for, and do not "
        "mention the flaws or the earlier answer. Give the new answer alone."
    ),
    "zh": (
        "请求：\n$request\n\n回答：\n$answer\n\n发现的缺点：\n$flaws\n\n"
        "请重写这个回答，去掉这些缺点。保留好的部分，不添加没有问到的内容，不提及缺点或原来的回答。只给出新的回答。"
    ),
}
_SEED = {
    "id": "r",
    "messages": [turn("user", "How many legs has a spider?"), turn("assistant", "Six, like all insects.")],
}
_SEED_ZH = {"id": "r", "messages": [turn("user", "蜘蛛有几条腿？"), turn("assistant", "六条，和昆虫一样。")]}
_BETTER, _BETTER_ZH = "Eight. Spiders are arachnids.", "八条。蜘蛛是蛛形动物。"


class _Flaws(BaseModel):
    flaws: list[str]


class CritiqueAndRefine(Task):
    """Answers criticised and rewritten: Self-Refine (Madaan et al. 2023, arXiv:2303.17651), with a judge to see whether
    it helped, which it need not (Huang et al. 2023, arXiv:2310.01798).

    `make: chat` keeps the better answer; `make: preference` makes a pair of both.
    """

    make: Literal["chat", "preference"] = Setting(default="chat", description="rows to make")

    examples = (
        gives(
            _SEED,
            [{"flaws": ["A spider has eight legs."]}, _BETTER, {"better": "B"}, {"better": "A"}],
            {"instruction": "How many legs has a spider?", "answer": _BETTER, "flaws": ["A spider has eight legs."]},
        ),
        gives(
            _SEED_ZH,
            [{"flaws": ["腿数不对。"]}, _BETTER_ZH, {"better": "B"}, {"better": "A"}],
            {"chosen": _BETTER_ZH, "rejected": "六条，和昆虫一样。"},
            settings={"make": "preference"},
        ),
        rejects("no_flaw", _SEED, [{"flaws": []}]),
        rejects("unchanged", _SEED_ZH, [{"flaws": ["太短。"]}, "六条，和昆虫一样。"]),
        rejects("not_better", _SEED, [{"flaws": ["It is curt."]}, _BETTER, {"better": "B"}, {"better": "B"}]),
        rejects("no_answer", {"id": "r", "messages": [turn("user", "How many legs has a spider?")]}),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        lang, request, before = seed.lang, seed.instruction, seed.answer
        shown = {"request": quoted(request), "answer": quoted(before)}
        [reply] = yield [
            question(
                filled(_CRITICISE, lang, **shown),
                lang,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                answer=_Flaws,
                sample=number,
            )
        ]
        flaws = [flaw.strip() for flaw in parsed(reply, _Flaws).flaws if flaw.strip()][:5]
        needed(bool(flaws), "no_flaw", "the teacher finds nothing to mend")
        listed = quoted("\n".join(f"- {flaw}" for flaw in flaws))
        [reply] = yield [
            question(
                filled(_REFINE, lang, flaws=listed, **shown),
                lang,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
            )
        ]
        after = helpful(said(reply), lang)
        needed(rouge_l(before, after) < 1, "unchanged", "the answer is the same")

        replies = yield which_is_better(request, before, after, lang, self.check_tokens)
        needed(preferred(replies) == 1, "not_better", "the judge does not prefer the new answer in both orders")
        prompt = [*seed.before, turn("user", request)]
        return [self._row(seed, prompt, before, after, flaws)]

    def _row(self, seed: Seed, prompt: list[dict[str, object]], before: str, after: str, flaws: list[str]) -> Made:
        notes = {"flaws": flaws, "longer": len(after) - len(before)}
        if self.make == "chat":
            return seed.made("chat", {"messages": [*prompt, turn("assistant", after)]}, notes)
        sides = {"chosen": [turn("assistant", after)], "rejected": [turn("assistant", before)]}
        return seed.made("preference", {"prompt": prompt, **sides}, notes)
