"""Several answers to a row's question, and the best and worst of them as a pair."""

from __future__ import annotations

import random

from synth.checking import how_good, needed, preferred, scored, which_is_better
from synth.novelty import rouge_l
from synth.prompting import conversation
from synth.reading import said, written
from synth.task import Rejected, Rounds, Seed, Setting, Task, gives, rejects, turn

_SEED = {"id": "q", "messages": [turn("user", "Why is the sky blue?"), turn("assistant", "It just is.")]}
_SEED_ZH = {"id": "q", "messages": [turn("user", "天为什么是蓝的？")]}
_GOOD, _BAD = "Air scatters blue light more than red.", "Because the sea is blue, and the sky mirrors it."
_GOOD_ZH, _BAD_ZH = "空气对蓝光的散射比红光强。", "因为天空映出了大海的颜色。"
_TWO = {"answers": 2}


class PreferencePairs(Task):
    """Preference pairs from k answers: scored one by one, and the best and worst compared in both orders.

    Candidates scored by a judge are UltraFeedback's (Cui et al. 2023, arXiv:2310.01377); a pair stands only where both
    orders agree (Zheng et al. 2023, arXiv:2306.05685). Answers come from each teacher of `teachers` in turn, at
    temperatures spread up to the task's. How much longer the better answer is, is noted: a judge's liking for length
    shows in a dataset's mean.
    """

    answers: int = Setting(default=4, ge=2, le=16, description="how many answers to ask for")
    teachers: tuple[str, ...] = Setting(
        default=("",), min_length=1, description="names of the recipe's teachers that answer; empty is the first"
    )
    with_seed: bool = Setting(default=False, description="let the row's own answer be among them")
    min_gap: int = Setting(default=1, ge=0, le=9, description="how far apart the scores of best and worst must be")
    max_alike: float = Setting(default=0.9, gt=0, le=1, description="ROUGE-L above which two answers are the same")

    temperature: float = Setting(default=1.0, ge=0, le=2, description="the highest temperature answers are asked at")

    examples = (
        gives(
            _SEED,
            [_BAD, _GOOD, {"score": 2}, {"score": 9}, {"better": "B"}, {"better": "A"}],
            {"instruction": "Why is the sky blue?", "chosen": _GOOD, "rejected": _BAD, "margin": 7.0},
            settings=_TWO,
        ),
        gives(
            _SEED_ZH,
            [_GOOD_ZH, _BAD_ZH, {"score": 8}, {"score": 3}, {"better": "A"}, {"better": "B"}],
            {"chosen": _GOOD_ZH, "rejected": _BAD_ZH},
            settings=_TWO,
        ),
        rejects(
            "tie",
            _SEED,
            [_BAD, _GOOD, {"score": 2}, {"score": 9}, {"better": "A"}, {"better": "A"}],
            settings=_TWO,
        ),
        rejects("same_score", _SEED, [_BAD, _GOOD, {"score": 5}, {"score": 5}], settings=_TWO),
        rejects("same_answers", _SEED_ZH, [_GOOD_ZH, _GOOD_ZH], settings=_TWO),
        rejects("bad_answer", _SEED, [_BAD, _GOOD, {"score": "good"}, {"score": 5}], settings=_TWO),
        rejects("out_of_range", _SEED, [_BAD, _GOOD, {"score": 11}, {"score": 5}], settings=_TWO),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        lang, request = seed.lang, seed.instruction
        prompt = [*seed.before, turn("user", request)]
        replies = yield [
            conversation(
                prompt,
                max_tokens=self.max_tokens,
                temperature=round(self.temperature * (place + 1) / self.answers, 3),
                sample=number * self.answers + place,
                teacher=self.teachers[place % len(self.teachers)],
            )
            for place in range(self.answers)
        ]
        given: list[tuple[str, str]] = []
        for reply in replies:
            try:
                text = self._fit(said(reply), seed, given)
            except Rejected:  # one answer cut off or withheld leaves the others
                continue
            given += [(text, reply.model)] if text else []
        if self.with_seed:
            text = self._fit(seed.answer, seed, given)
            given += [(text, "seed")] if text else []
        needed(len(given) >= 2, "same_answers", "fewer than two answers differ")

        replies = yield [how_good(request, text, lang, self.check_tokens, number) for text, _ in given]
        scores = [scored(reply) for reply in replies]
        order = sorted(range(len(given)), key=lambda place: -scores[place])
        best, worst = order[0], order[-1]
        gap = scores[best] - scores[worst]
        needed(gap >= self.min_gap, "same_score", f"best and worst are {gap} apart")

        pair = sorted((best, worst))  # which of them is A first says nothing of the scores
        replies = yield which_is_better(request, given[pair[0]][0], given[pair[1]][0], lang, self.check_tokens)
        winner = preferred(replies)
        if winner is None or pair[winner] != best:
            raise Rejected("tie", "scores and both orders of comparing do not agree")
        content = {
            "prompt": prompt,
            "chosen": [turn("assistant", given[best][0])],
            "rejected": [turn("assistant", given[worst][0])],
            "margin": float(gap),
        }
        notes = {
            "teachers": [given[best][1], given[worst][1]],
            "longer": len(given[best][0]) - len(given[worst][0]),
        }
        return [seed.made("preference", content, notes)]

    def _fit(self, text: str, seed: Seed, others: list[tuple[str, str]]) -> str | None:
        """An answer that can be compared; bad ones may stay, since pairs need them."""
        try:
            fit = written(text, seed.lang)
        except Rejected:
            return None
        return None if any(rouge_l(fit, other) > self.max_alike for other, _ in others) else fit
