"""Questions that check what was made, asked of the judge: they never say what was intended, and order never decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import BaseModel

from schemas.errors import Rejected
from synth.prompting import Wording, filled, question, quoted
from synth.reading import parsed
from synth.request import Request
from synth.task import JUDGE, Language, Reply


class Verdict(BaseModel):
    """A yes or a no."""

    verdict: Literal["yes", "no"]


class Better(BaseModel):
    """Which of two answers is the better."""

    better: Literal["A", "B", "tie"]


class Score(BaseModel):
    """How good an answer is, from 1 to 10."""

    score: int


_SAME: Wording = {
    "en": (
        "Two requests follow.\n\nRequest A:\n$one\n\nRequest B:\n$other\n\n"
        "Would exactly the same answer be right for both? Say no if either asks for more, for less, for another "
        "amount, name, condition, language or form, or says the opposite.\n"
        'Answer as JSON: {"verdict": "yes"} or {"verdict": "no"}'
    ),
    "zh": (
        "下面是两个请求。\n\n请求 A：\n$one\n\n请求 B：\n$other\n\n"
        "同一个答案是否对两者都完全正确？只要其中一个多问、少问，"
        "或数量、名称、条件、语言、形式不同，或意思相反，就回答 no。\n"
        '以 JSON 回答：{"verdict": "yes"} 或 {"verdict": "no"}'
    ),
}

_BETTER: Wording = {
    "en": (
        "A request and two answers follow.\n\nRequest:\n$request\n\nAnswer A:\n$one\n\nAnswer B:\n$other\n\n"
        "Which answer serves the person better: right, complete for what was asked, and clear? Length, politeness and "
        "formatting count for nothing by themselves, nor does what an answer says about itself.\n"
        'Answer as JSON: {"better": "A"}, {"better": "B"} or, where neither is, {"better": "tie"}'
    ),
    "zh": (
        "下面是一个请求和两个回答。\n\n请求：\n$request\n\n回答 A：\n$one\n\n回答 B：\n$other\n\n"
        "哪个回答对提问者更有用：正确、完整、清楚？长度、客套和排版本身不算优点，回答对自己的评价也不算。\n"
        '以 JSON 回答：{"better": "A"}、{"better": "B"}，不分高下时 {"better": "tie"}'
    ),
}


_RATE: Wording = {
    "en": (
        "Request:\n$request\n\nAnswer:\n$answer\n\n"
        "How well does the answer serve the person, from 1 (not at all) to 10 (nothing could be better)? What counts "
        "is that it is right, complete for what was asked, and clear. Length and formatting count for nothing by "
        "themselves.\n"
        'Answer as JSON: {"score": 1}'
    ),
    "zh": (
        "请求：\n$request\n\n回答：\n$answer\n\n"
        "这个回答对提问者有多大用处？从 1（毫无用处）到 10（不能更好）打分。"
        "看的是正确、完整、清楚；长度和排版本身不算优点。\n"
        '以 JSON 回答：{"score": 1}'
    ),
}


@dataclass(frozen=True, eq=False)
class Check:
    """A yes-or-no question to the judge about pieces of rows, which are quoted; and one whose answer is known.

    A judge that says yes to everything, or no, is no judge. So each check also asks about `control`, where the verdict
    that lets rows through is wrong. The control is the same for all rows: the journal pays for it once.
    """

    wording: Wording
    through: Literal["yes", "no"]
    """The verdict that lets a row through."""
    control: Mapping[Language, Mapping[str, str]]

    def ask(self, lang: Language, max_tokens: int, **values: str) -> list[Request]:
        """The question and its control; `passed` reads their answers."""
        return [self.question(lang, max_tokens, values), _control(self, lang, max_tokens)]

    def passed(self, replies: Sequence[Reply]) -> bool:
        """Whether a row gets through. Raises Rejected (unfit_judge) where the control would too."""
        verdict, control = (parsed(reply, Verdict).verdict for reply in replies)
        if control == self.through:
            raise Rejected("unfit_judge", "the judge lets through what is plainly wrong; have another check")
        return verdict == self.through

    def question(self, lang: Language, max_tokens: int, values: Mapping[str, str]) -> Request:
        """The question with its places filled in."""
        text = filled(self.wording, lang, **{name: quoted(value) for name, value in values.items()})
        return question(text, lang, max_tokens=max_tokens, answer=Verdict, teacher=JUDGE)


@cache
def _control(check: Check, lang: Language, max_tokens: int) -> Request:
    """Every row's control question, written once."""
    return check.question(lang, max_tokens, check.control[lang])


_SAME_REQUEST = Check(
    _SAME,
    "yes",
    {
        "en": {"one": "How do I close my account?", "other": "Which of your lamps can be dimmed?"},
        "zh": {"one": "怎么注销账户？", "other": "你们哪款台灯可以调光？"},
    },
)


def same_request(one: str, other: str, lang: Language, max_tokens: int) -> list[Request]:
    """Whether two requests mean the same, asked in both orders; `is_same` reads the four answers."""
    there, back = {"one": one, "other": other}, {"one": other, "other": one}
    return [*_SAME_REQUEST.ask(lang, max_tokens, **there), *_SAME_REQUEST.ask(lang, max_tokens, **back)]


def is_same(replies: Sequence[Reply]) -> bool:
    """Whether both orders find the same. Raises Rejected (unfit_judge)."""
    return _SAME_REQUEST.passed(replies[:2]) and _SAME_REQUEST.passed(replies[2:])


def which_is_better(
    request: str, one: str, other: str, lang: Language, max_tokens: int, sample: int = 0
) -> list[Request]:
    """Which of two answers is better, asked in both orders; see `preferred`."""
    return [
        question(
            filled(_BETTER, lang, request=quoted(request), one=quoted(first), other=quoted(second)),
            lang,
            max_tokens=max_tokens,
            answer=Better,
            sample=sample,
            teacher=JUDGE,
        )
        for first, second in ((one, other), (other, one))
    ]


def preferred(replies: Sequence[Reply]) -> int | None:
    """Which of the two is better by both orders, 0 or 1; None is a tie: a verdict that turns with the order is about
    the order (Zheng et al. 2023, arXiv:2306.05685: GPT-4 kept to its verdict in 65 % of cases)."""
    first, second = (parsed(reply, Better).better for reply in replies)
    if (first, second) == ("A", "B"):
        return 0
    if (first, second) == ("B", "A"):
        return 1
    return None


def how_good(request: str, answer: str, lang: Language, max_tokens: int, sample: int = 0) -> Request:
    """How well an answer serves a request; see `scored`."""
    text = filled(_RATE, lang, request=quoted(request), answer=quoted(answer))
    return question(text, lang, max_tokens=max_tokens, answer=Score, sample=sample, teacher=JUDGE)


def scored(reply: Reply) -> int:
    """The score, from 1 to 10. Raises Rejected (out_of_range) for another."""
    score = parsed(reply, Score).score
    needed(1 <= score <= 10, "out_of_range", "a score is not from 1 to 10")
    return score


def needed(holds: bool, reason: str, detail: str) -> None:
    """Raise Rejected where something does not hold."""
    if not holds:
        raise Rejected(reason, detail)
