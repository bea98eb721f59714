"""The forms people fill in: what each asks about a row, in English and in Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Lang = Literal["en", "zh"]

LEFT, RIGHT, TIE, BOTH_BAD = "left", "right", "tie", "both_bad"
"""Values of the question which of two answers is better, as people see it."""

ANSWER = "answer_"
"""What the names of answers to be ranked begin with: answer_1 is the one shown first."""


class Words(NamedTuple):
    """Something a form says, in both languages."""

    en: str
    zh: str

    def in_(self, lang: Lang) -> str:
        """The words in one language."""
        return self.zh if lang == "zh" else self.en


class Option(NamedTuple):
    """One value a person can choose."""

    value: str
    words: Words


@dataclass(frozen=True)
class Question:
    """One question. `choice` is one option, `choices` several, `rating` a number from 1 on, `ranking` an order of the
    answers shown, `text` free text."""

    name: str
    kind: Literal["choice", "choices", "rating", "ranking", "text"]
    title: Words
    options: tuple[Option, ...] = ()
    required: bool = False
    most: int = 5
    """The highest rating."""
    level: Literal["nominal", "ordinal"] = "nominal"
    """How values are compared when agreement is measured."""


@dataclass(frozen=True)
class Form:
    """A form: what is shown beside it, what it asks, and which question decides about the row."""

    name: str
    shows: Literal["two", "several", "one", "row"]
    """How many of a row's answers are shown: two, as many as asked for, one, or the row as it is."""
    kinds: tuple[str, ...]
    """Kinds of row it can be about."""
    questions: tuple[Question, ...]
    guide: Words
    """What people read when no guidelines are given."""

    @property
    def decides(self) -> Question:
        """The question whose answer decides about the row: the first."""
        return self.questions[0]

    def question(self, name: str) -> Question:
        """The question of that name."""
        return next(one for one in self.questions if one.name == name)


WHY = Question("why", "text", Words("Why? (optional)", "理由（选填）"))
EDITED_BETTER = Question(
    "edited",
    "text",
    Words("A better answer, if you can write one (optional)", "如能写出更好的回答，请写在这里（选填）"),
)
EDITED = Question("edited", "text", Words("The answer as it should be (optional)", "修改后的回答（选填）"))


def _options(*items: tuple[str, str, str]) -> tuple[Option, ...]:
    return tuple(Option(value, Words(en, zh)) for value, en, zh in items)


def _choice(name: str, en: str, zh: str, *items: tuple[str, str, str]) -> Question:
    return Question(name, "choice", Words(en, zh), _options(*items), required=True)


def _rating(name: str, en: str, zh: str) -> Question:
    return Question(name, "rating", Words(en, zh), required=True, level="ordinal")


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(
            "pairs",
            "two",
            ("preference", "candidates"),
            (
                _choice(
                    "better",
                    "Which answer is better?",
                    "哪个回答更好？",
                    (LEFT, "A is better", "A 更好"),
                    (RIGHT, "B is better", "B 更好"),
                    (TIE, "Equally good", "一样好"),
                    (BOTH_BAD, "Both are bad", "都不好"),
                ),
                Question(
                    "margin",
                    "choice",
                    Words("How much better?", "好多少？"),
                    _options(("1", "Slightly", "略好"), ("2", "Clearly", "明显更好"), ("3", "Much better", "好得多")),
                    level="ordinal",
                ),
                WHY,
                EDITED_BETTER,
            ),
            Words(
                "Read the question and both answers. Choose the answer that helps the person who asked more: first of "
                "all correct, then complete, then clear. Length alone is no merit. If they are equally good, say so; "
                "if neither should be given to anyone, say that both are bad.",
                "请阅读问题和两个回答，选出对提问者更有帮助的一个：首先看是否正确，其次是否完整，再看是否清楚。"
                "篇幅长不等于好。不相上下请选“一样好”；两个都不该给用户看，请选“都不好”。",
            ),
        ),
        Form(
            "ranking",
            "several",
            ("candidates",),
            (
                Question(
                    "ranking",
                    "ranking",
                    Words("Put the answers in order, best first", "请将回答从好到差排序"),
                    required=True,
                    level="ordinal",
                ),
                WHY,
                EDITED_BETTER,
            ),
            Words(
                "Read the question and all answers, then put them in order, the best first. Answers that are equally "
                "good may share a place.",
                "请阅读问题和所有回答，按从好到差排序。同样好的可以并列。",
            ),
        ),
        Form(
            "answers",
            "one",
            ("chat", "candidates", "preference"),
            (
                _rating("accurate", "Accurate", "准确"),
                _rating("relevant", "Relevant", "切题"),
                _rating("safe", "Safe", "安全"),
                _rating("complete", "Complete", "完整"),
                _rating("tone", "Tone", "语气"),
                EDITED,
            ),
            Words(
                "Rate the last answer from 1 (bad) to 5 (nothing to improve) on each point. If you can, correct the "
                "answer in the text box; an answer that you leave as it is counts as not edited.",
                "请就每个方面为最后一条回答打分，1 为很差，5 为无可改进。可在文本框中直接修改回答；"
                "未改动则视为未修改。",
            ),
        ),
        Form(
            "accept",
            "row",
            ("chat", "text"),
            (
                _choice(
                    "decision",
                    "What should become of this row?",
                    "这一行应如何处理？",
                    ("keep", "Keep as it is", "保留"),
                    ("fix", "Fix, then keep", "修改后保留"),
                    ("drop", "Drop", "剔除"),
                ),
                Question(
                    "reasons",
                    "choices",
                    Words("What is wrong with it?", "有什么问题？"),
                    _options(
                        ("wrong", "Wrong", "有错误"),
                        ("incomplete", "Incomplete", "不完整"),
                        ("off_topic", "Off the question", "答非所问"),
                        ("unsafe", "Unsafe", "不安全"),
                        ("personal_data", "Personal data", "含个人信息"),
                        ("language", "Language or style", "语言或文风"),
                        ("format", "Format", "格式"),
                        ("not_learnable", "Nothing to learn", "没有学习价值"),
                        ("other", "Other", "其他"),
                    ),
                ),
                WHY,
                EDITED,
            ),
            Words(
                "Decide whether a model should learn from this row as it is. Choose “fix” and write the answer as it "
                "should be if a small change saves it; choose “drop” if not.",
                "请判断模型是否应当照此学习。小改即可用的，选“修改后保留”并写出正确的回答；救不了的，选“剔除”。",
            ),
        ),
        Form(
            "labels",
            "row",
            ("chat", "text"),
            (
                _choice(
                    "needs_human",
                    "Does a human have to step in?",
                    "是否需要人工介入？",
                    ("yes", "Yes", "需要"),
                    ("no", "No", "不需要"),
                ),
                _choice(
                    "intent",
                    "What does the person want?",
                    "用户的意图是什么？",
                    ("question", "Ask something", "咨询"),
                    ("task", "Have something done", "办理"),
                    ("complaint", "Complain", "投诉"),
                    ("refund", "Return or refund", "退换或退款"),
                    ("thanks", "Thank or praise", "感谢或表扬"),
                    ("chat", "Chat", "闲聊"),
                    ("other", "Other", "其他"),
                ),
                _choice(
                    "emotion",
                    "How does the person feel?",
                    "用户的情绪如何？",
                    ("neutral", "Neutral", "平静"),
                    ("happy", "Happy", "高兴"),
                    ("worried", "Worried", "着急"),
                    ("disappointed", "Disappointed", "失望"),
                    ("angry", "Angry", "愤怒"),
                    ("sad", "Sad", "难过"),
                ),
                WHY,
            ),
            Words(
                "Read the conversation and say what the person wants, how they feel, and whether somebody has to "
                "take over from the assistant.",
                "请阅读对话，判断用户的意图、情绪，以及是否需要人工接手。",
            ),
        ),
    )
}
"""The forms there are, by name."""
