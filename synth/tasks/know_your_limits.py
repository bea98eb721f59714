"""Questions that an assistant should not settle itself, with answers that say so and name whom to ask."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import BaseModel

from synth.checking import Check, needed
from synth.diversity import deal
from synth.prompting import Wording, filled, question, quoted
from synth.reading import parsed, written
from synth.task import Rounds, Seed, Setting, Task, gives, rejects

Why = Literal["private_facts", "authority", "expert", "danger", "unknowable"]

_WHY: Mapping[str, Wording] = {
    "private_facts": {
        "en": "it needs facts about one person's account, contract or records that the assistant cannot see",
        "zh": "需要某个人的账户、合同或记录，而助手看不到",
    },
    "authority": {
        "en": "it asks for a promise, exception or decision that only an employee may give",
        "zh": "要求只有工作人员才有权作出的承诺、例外或决定",
    },
    "expert": {
        "en": "it needs a physician, lawyer, engineer or other expert who examines the particular case",
        "zh": "需要医生、律师、工程师等专业人员查看具体情况",
    },
    "danger": {
        "en": "somebody may be in danger, so that a human has to act at once",
        "zh": "可能有人处于危险之中，必须由真人立即处理",
    },
    "unknowable": {
        "en": "it asks about the future, or about something the assistant has no source for",
        "zh": "问的是将来的事，或助手没有任何依据的事",
    },
}
_ASK: Wording = {
    "en": (
        "This is what an assistant of a service works with:\n\n$text\n\n"
        "Write one question that a person might well ask it and that it must not settle itself, because $why. The "
        "question must look ordinary and not say why.\n"
        'Answer as JSON: {"question": "…"}'
    ),
    "zh": (
        "下面是某项服务的助手所依据的资料：\n\n$text\n\n"
        "请写一个人们很可能会问、而助手不应自己解决的问题，原因是：$why。问题要显得平常，不要说出原因。\n"
        '以 JSON 回答：{"question": "…"}'
    ),
}
_SETTLED: Wording = {
    "en": (
        "Text:\n$text\n\nQuestion:\n$question\n\n"
        "Can an assistant that knows this text and general facts, and cannot look anything up or decide anything, "
        "answer the question fully, rightly and safely without passing it to a human?\n"
        'Answer as JSON: {"verdict": "yes"} or {"verdict": "no"}'
    ),
    "zh": (
        "资料：\n$text\n\n问题：\n$question\n\n"
        "一个只了解这份资料和一般常识、不能查询也无权决定任何事的助手，能否不转交真人就完整、正确、安全地回答这个问题？\n"
        '以 JSON 回答：{"verdict": "yes"} 或 {"verdict": "no"}'
    ),
}
_HAND_OVER: Wording = {
    "en": (
        "This is what an assistant of a service works with:\n\n$text\n\nA person asks:\n\n$question\n\n"
        "Write the assistant's answer, in two to four sentences: it says kindly and plainly what it cannot do and why, "
        "names which kind of human to ask, and says what to have at hand. It gives no number, address or name that is "
        "not above, and no answer to the question itself.\n"
        'Answer as JSON: {"answer": "…"}'
    ),
    "zh": (
        "下面是某项服务的助手所依据的资料：\n\n$text\n\n有人问：\n\n$question\n\n"
        "请写助手的回答，两到四句话：友善而明白地说明自己不能做什么、为什么，指出应该找哪一类真人，并说明需要准备什么。"
        "不要给出上面没有的数字、地址或姓名，也不要回答问题本身。\n"
        '以 JSON 回答：{"answer": "…"}'
    ),
}
_PASSED_ON: Wording = {
    "en": (
        "Question:\n$question\n\nAnswer:\n$answer\n\n"
        "Does the answer pass the question to a human, without settling it itself?\n"
        'Answer as JSON: {"verdict": "yes"} or {"verdict": "no"}'
    ),
    "zh": (
        "问题：\n$question\n\n回答：\n$answer\n\n回答是否把问题交给真人，而没有自己作出结论？\n"
        '以 JSON 回答：{"verdict": "yes"} 或 {"verdict": "no"}'
    ),
}
_ALONE = Check(
    _SETTLED,
    "no",
    {
        "en": {"text": "The shop opens at nine.", "question": "When does the shop open?"},
        "zh": {"text": "商店九点开门。", "question": "商店几点开门？"},
    },
)
_HANDS = Check(
    _PASSED_ON,
    "yes",
    {
        "en": {"question": "May I have my money back?", "answer": "Yes, I have sent it to your account just now."},
        "zh": {"question": "能把钱退给我吗？", "answer": "可以，我刚刚已经退到您的账户了。"},
    },
)
_DIGITS = re.compile(r"\d{2,}")
_SEED = {"id": "w", "text": "Returns are accepted for 30 days. The warranty covers faults, not drops."}
_SEED_ZH = {"id": "w", "text": "30天内可以退货。保修包含质量问题，不包含摔坏。"}
_Q, _Q_ZH = "Why was my refund refused last week?", "上周我的退款为什么被拒了？"
_A = "I can't see your order, so I can't tell why. Please ask our support staff and have your order number at hand."
_A_ZH = "我看不到您的订单，无法判断原因。请联系人工客服，并准备好订单号。"
_LIMIT, _HANDED = [{"verdict": "no"}, {"verdict": "yes"}], [{"verdict": "yes"}, {"verdict": "no"}]
_PRIVATE = {"why": {"private_facts": 1}}


class _Question(BaseModel):
    question: str


class _Answer(BaseModel):
    answer: str


class KnowYourLimits(Task):
    """Questions whose right answer is to ask a human, so that a model learns to say what it cannot know.

    Follows R-Tuning (Zhang et al. 2023, arXiv:2311.09677) and the taxonomy of what is not to be answered of CoCoNot
    (Brahman et al. 2024, arXiv:2407.12043). A judge that is not told what was meant must find that an assistant could
    not answer alone, and that the answer passes the question on; a number that nobody gave is made up.
    """

    novel = True

    why: Mapping[Why, float] = Setting(
        default=dict.fromkeys(get_args(Why), 1.0), min_length=1, description="reasons and their shares"
    )
    text_chars: int = Setting(default=4_000, ge=100, description="how much of a text is shown")

    examples = (
        gives(
            _SEED,
            [{"question": _Q}, *_LIMIT, {"answer": _A}, *_HANDED],
            {"instruction": _Q, "answer": _A, "why": "private_facts"},
            settings=_PRIVATE,
        ),
        gives(
            _SEED_ZH,
            [{"question": _Q_ZH}, *_LIMIT, {"answer": _A_ZH}, *_HANDED],
            {"instruction": _Q_ZH, "answer": _A_ZH},
            settings=_PRIVATE,
        ),
        rejects(
            "answerable", _SEED, [{"question": "How long can I return things?"}, {"verdict": "yes"}, {"verdict": "yes"}]
        ),
        rejects(
            "invented_number",
            _SEED,
            [{"question": _Q}, *_LIMIT, {"answer": "I can't see that. Call our staff on 555 0199."}],
        ),
        rejects(
            "settles_it",
            _SEED_ZH,
            [
                {"question": _Q_ZH},
                *_LIMIT,
                {"answer": "因为商品是摔坏的，所以不退。"},
                {"verdict": "no"},
                {"verdict": "no"},
            ],
        ),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        text, lang = seed.text[: self.text_chars], seed.lang
        why = deal({"why": dict(self.why)}, seed.key, number)["why"]
        asked = filled(_ASK, lang, text=quoted(text), why=_WHY[why][lang])
        [reply] = yield [
            question(
                asked, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Question, sample=number
            )
        ]
        put = written(parsed(reply, _Question).question, lang, min_chars=4, max_chars=1_000)
        replies = yield _ALONE.ask(lang, self.check_tokens, text=text, question=put)
        needed(_ALONE.passed(replies), "answerable", "the judge finds that an assistant could answer")

        hand_over = filled(_HAND_OVER, lang, text=quoted(text), question=quoted(put))
        [reply] = yield [
            question(hand_over, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Answer)
        ]
        answer = written(parsed(reply, _Answer).answer, lang, min_chars=10, max_chars=1_500)
        made_up = set(_DIGITS.findall(answer)) - set(_DIGITS.findall(text + "\n" + put))
        needed(not made_up, "invented_number", "the answer has a number that nobody gave")
        replies = yield _HANDS.ask(lang, self.check_tokens, question=put, answer=answer)
        needed(_HANDS.passed(replies), "settles_it", "the judge finds that the answer settles it")
        return [seed.chat(put, answer, {"why": why})]
