"""Other wordings of a row's question that keep its meaning, with the same answer."""

from __future__ import annotations

import random

from pydantic import BaseModel

from synth.checking import is_same, same_request
from synth.diversity import deal
from synth.novelty import rouge_l
from synth.prompting import Wording, filled, question, quoted
from synth.reading import parsed, same_literals, written
from synth.task import Made, Rejected, Rounds, Seed, Setting, Task, gives, rejects, turn

_REWORD: Wording = {
    "en": (
        "This is a request to an assistant:\n\n$request\n\n"
        "Write $count other wordings of it, as different people might put it: $manner. Each must ask for exactly the "
        "same, no more and no less. Keep every number, name, address, code and place to fill in, such as {name}, as "
        'it is. Do not answer it.\nAnswer as JSON: {"wordings": ["…", "…"]}'
    ),
    "zh": (
        "下面是向助手提出的一个请求：\n\n$request\n\n"
        "请写出 $count 种不同的说法，像不同的人会说的那样：$manner。每一种都必须问完全相同的事，不多也不少。"
        "数字、名称、网址、代码和待填内容（如 {name}）必须原样保留。不要回答这个请求。\n"
        '以 JSON 回答：{"wordings": ["…", "…"]}'
    ),
}
_MANNERS = {
    "en": ("formal and complete", "short, as typed on a phone", "chatty, with a reason given first", "as a command"),
    "zh": ("正式、完整", "简短，像手机上随手打的", "口语化，先说缘由", "命令式"),
}
_SEED = {
    "id": "5e",
    "messages": [turn("user", "How can I cancel order {order_id}?"), turn("assistant", "Open Orders, choose Cancel.")],
}
_SEED_ZH = {"messages": [turn("user", "7天内可以退货吗？"), turn("assistant", "可以，请在订单页申请。")]}


class _Wordings(BaseModel):
    wordings: list[str]


class Paraphrase(Task):
    """Wordings that keep a question's meaning, for models that should not depend on how they are asked.

    Training on paraphrases makes answers consistent (Elazar et al. 2021, arXiv:2102.01017, who measure how
    inconsistent they are without). A wording is refused at both ends: too near the seed or another wording, or, by a
    judge asked in both orders, not the same request. Numbers, addresses, code and places to fill in must be the same.
    """

    wordings: int = Setting(default=3, ge=1, le=20, description="how many wordings to ask for at once")
    max_alike: float = Setting(default=0.9, gt=0, le=1, description="ROUGE-L above which a wording is a copy")

    temperature: float = Setting(default=0.9, ge=0, le=2, description="how freely the teacher writes")

    examples = (
        gives(
            _SEED,
            [
                {"wordings": ["I want order {order_id} cancelled, how do I do that?", "Please cancel my order."]},
                *[{"verdict": "yes"}, {"verdict": "no"}] * 2,
            ],
            {
                "instruction": "I want order {order_id} cancelled, how do I do that?",
                "answer": "Open Orders, choose Cancel.",
            },
            reasons=["changed_literal"],
        ),
        gives(
            _SEED_ZH,
            [
                {"wordings": ["收货后7天之内想退，能退吗？", "7天内能不能换货？"]},
                *[{"verdict": "yes"}, {"verdict": "no"}] * 2,
                *[{"verdict": "no"}, {"verdict": "no"}] * 2,
            ],
            {"instruction": "收货后7天之内想退，能退吗？", "answer": "可以，请在订单页申请。"},
            reasons=["other_meaning"],
        ),
        rejects(
            "unfit_judge",
            _SEED,
            [{"wordings": ["May one leave {order_id} as it is?"]}, *[{"verdict": "yes"}] * 4],
        ),
        rejects("copy", _SEED, [{"wordings": ["How can I cancel the order {order_id}?"]}]),
        rejects("wrong_language", _SEED_ZH, [{"wordings": ["Can I return it within 7 days?"]}]),
        rejects("none_given", _SEED, [{"wordings": []}]),
        rejects("no_answer", {"messages": [turn("user", "Is anybody there?")]}),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        before, answer, lang = seed.instruction, seed.answer, seed.lang
        manner = deal({"manner": _MANNERS[lang]}, seed.key, number)["manner"]
        asked = filled(_REWORD, lang, request=quoted(before), count=str(self.wordings), manner=manner)
        [reply] = yield [
            question(
                asked, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Wordings, sample=number
            )
        ]
        given = parsed(reply, _Wordings).wordings[: self.wordings]
        if not given:
            raise Rejected("none_given", "the teacher gave no wording")
        good: list[str] = []
        results: list[Made | Rejected] = []
        for wording in given:
            try:
                good.append(self._checked(wording.strip(), before, good, seed))
            except Rejected as rejected:
                results.append(rejected)
        if not good:
            return results

        replies = yield [one for wording in good for one in same_request(before, wording, lang, self.check_tokens)]
        for place, wording in enumerate(good):
            try:
                if not is_same(replies[4 * place : 4 * place + 4]):
                    raise Rejected("other_meaning", "the judge would answer it otherwise")
            except Rejected as rejected:
                results.append(rejected)
                continue
            messages = [*seed.before, turn("user", wording), turn("assistant", answer)]
            results.append(seed.made("chat", {"messages": messages}, {"manner": manner}))
        return results

    def _checked(self, wording: str, before: str, others: list[str], seed: Seed) -> str:
        written(wording, seed.lang)
        if not same_literals(before, wording):
            raise Rejected("changed_literal", "a number, address, code or place to fill in differs")
        alike = max(rouge_l(wording, one) for one in (before, *others))
        if alike > self.max_alike:
            raise Rejected("copy", f"ROUGE-L with the seed or another wording is {alike:.2f}")
        return wording
