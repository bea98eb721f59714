"""Which of a row's answers is better, by a judge asked in both orders."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from synth.checking import how_good, needed, preferred, scored, which_is_better
from synth.task import Rejected, Rounds, Seed, Setting, Task, gives, rejects, turn

_LIST = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)、]) ?", re.MULTILINE)
_ASK, _ASK_ZH = [turn("user", "Is 91 prime?")], [turn("user", "91是质数吗？")]
_YES, _NO = [turn("assistant", "Yes, it is prime.")], [turn("assistant", "No: 91 is 7 times 13.")]
_YES_ZH, _NO_ZH = [turn("assistant", "是质数。")], [turn("assistant", "不是，91等于7乘13。")]
_PAIR = {"id": "p", "prompt": _ASK, "chosen": _YES, "rejected": _NO}
_PAIR_ZH = {"id": "p", "prompt": _ASK_ZH, "chosen": _NO_ZH, "rejected": _YES_ZH}
_BOTH = {"id": "c", "prompt": _ASK, "answers": [{"messages": _YES}, {"messages": _NO}]}


class Judge(Task):
    """Answers judged by a model: pairs in both orders, where a verdict that turns with the order is a tie; or singly.

    Order, length and style move judges (Zheng et al. 2023, arXiv:2306.05685; length: Dubois et al. 2024,
    arXiv:2404.04475). Rows of two answers (preference, or the first two candidates) are compared `pairwise`; rows of
    any number are scored `pointwise`, from 1 to 10. Each pair notes how much longer and how much more of a list the
    winner is; `effects` sums that up. Answers are quoted to the judge: what they say of themselves is material.
    """

    how: Literal["pairwise", "pointwise"] = Setting(default="pairwise", description="compare two, or score each")

    examples = (
        gives(
            _PAIR,
            [{"better": "B"}, {"better": "A"}],
            {"chosen": "No: 91 is 7 times 13.", "rejected": "Yes, it is prime.", "turned": True, "longer": 4},
        ),
        gives(
            _PAIR_ZH,
            [{"better": "A"}, {"better": "B"}],
            {"chosen": "不是，91等于7乘13。", "turned": False},
        ),
        gives(
            _BOTH,
            [{"score": 2}, {"score": 9}],
            {
                "answers": [
                    {"messages": _NO, "teacher": None, "rank": 1, "score": 9.0},
                    {"messages": _YES, "teacher": None, "rank": 2, "score": 2.0},
                ]
            },
            settings={"how": "pointwise"},
        ),
        rejects("tie", _PAIR, [{"better": "A"}, {"better": "A"}]),
        rejects("tie", _PAIR_ZH, [{"better": "tie"}, {"better": "B"}]),
        rejects("bad_answer", _PAIR, [{"better": "C"}, {"better": "A"}]),
        rejects("one_answer", {"id": "o", "messages": [*_ASK, *_NO]}),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        lang, request = seed.lang, seed.instruction
        answers = _answers(seed.row)
        needed(len(answers) >= 2 or self.how == "pointwise", "one_answer", "two answers are needed to compare")
        texts = [_text(answer["messages"]) for answer in answers]
        needed(bool(texts) and all(texts), "no_answer", "an answer has no text")
        prompt = [dict(one) for one in seed.row.get("prompt") or seed.turns[:-1]]
        if self.how == "pointwise":
            replies = yield [how_good(request, text, lang, self.check_tokens, number) for text in texts]
            scores = [scored(reply) for reply in replies]
            order = sorted(range(len(scores)), key=lambda place: -scores[place])
            ranked = [
                answers[place]
                | {"rank": 1 + sum(score > scores[place] for score in scores), "score": float(scores[place])}
                for place in order
            ]
            return [seed.made("candidates", {"prompt": prompt, "answers": ranked})]

        replies = yield which_is_better(request, texts[0], texts[1], lang, self.check_tokens, number)
        winner = preferred(replies)
        if winner is None:
            raise Rejected("tie", "the two orders do not agree on a winner")
        content = {
            "prompt": prompt,
            "chosen": answers[winner]["messages"],
            "rejected": answers[1 - winner]["messages"],
        }
        better, worse = texts[winner], texts[1 - winner]
        notes = {
            "turned": winner == 1,
            "longer": len(better) - len(worse),
            "more_list": len(_LIST.findall(better)) - len(_LIST.findall(worse)),
        }
        return [seed.made("preference", content, notes)]


def effects(notes: Iterable[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """What judged pairs say of the judge: `pairs`, and the share of them in which the longer answer won, and the one
    with more of a list (of those where they differ; None of none). Half is no effect."""
    pairs = list(notes)
    shares: dict[str, float | int | None] = {"pairs": len(pairs)}
    for share, note in (("longer_won", "longer"), ("list_won", "more_list")):
        differ = [one[note] for one in pairs if one.get(note)]
        shares[share] = sum(value > 0 for value in differ) / len(differ) if differ else None
    return shares


def _answers(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row's answers, as candidates have them."""
    if row.get("chosen") is not None:
        found: list[Any] = [{"messages": row[side]} for side in ("chosen", "rejected") if row.get(side)]
    elif row.get("answers"):
        found = list(row["answers"])
    else:
        found = [{"messages": [one]} for one in (row.get("messages") or [])[-1:] if one.get("role") == "assistant"]
    return [
        {"messages": list(one.get("messages") or []), "teacher": one.get("teacher"), "rank": None, "score": None}
        for one in found
    ]


def _text(messages: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(str(one["content"]) for one in messages if one.get("content")).strip()
