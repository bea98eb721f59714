"""Texts of a label that is rare, each verified by a judge that is not told which label was meant."""

from __future__ import annotations

import random
from collections.abc import Mapping

from pydantic import BaseModel, field_validator

from synth.checking import needed
from synth.diversity import deal
from synth.novelty import THRESHOLD, rouge_l
from synth.prompting import Wording, filled, question, quoted
from synth.reading import names, parsed, written
from synth.task import JUDGE, Rounds, Seed, Setting, Task, gives, rejects, turn

_WRITE: Wording = {
    "en": (
        "Texts are sorted into these labels:\n\n$labels\n\nThis is one of the texts:\n\n$text\n\n"
        "Write another text of the same kind and about as long, by another person about another matter, whose label is "
        "“$label” and no other. It should be $hardness. Do not name the label or explain it.\n"
        'Answer as JSON: {"text": "…"}'
    ),
    "zh": (
        "文本按以下标签分类：\n\n$labels\n\n这是其中一条文本：\n\n$text\n\n"
        "请另写一条同类文本，长度相近，由另一个人就另一件事所写，其标签是“$label”，而不是其他标签。它应当$hardness。"
        "不要写出标签名，也不要解释。\n"
        '以 JSON 回答：{"text": "…"}'
    ),
}
_HARDNESS: Mapping[str, Wording] = {
    "plain": {"en": "a plain case", "zh": "是清楚的情形"},
    "hard": {
        "en": "a case that a hasty reader would take for “$near”, though a careful one would not",
        "zh": "是粗心的人会误认为“$near”、而细心的人不会认错的情形",
    },
}
_SORT: Wording = {
    "en": (
        "Texts are sorted into these labels:\n\n$labels\n\nText:\n\n$text\n\nWhich one label fits it best?\n"
        'Answer as JSON: {"label": "…"}'
    ),
    "zh": ('文本按以下标签分类：\n\n$labels\n\n文本：\n\n$text\n\n哪一个标签最合适？\n以 JSON 回答：{"label": "…"}'),
}
_LABELS = {"refund": "wants money back", "delivery": "asks where a parcel is", "praise": "is content and says so"}
_LABELS_ZH = {"退款": "要求退钱", "物流": "询问包裹在哪里", "表扬": "表示满意"}
_SEED = {
    "id": "t",
    "messages": [turn("user", "Where is my parcel? It was due on Monday."), turn("assistant", "delivery")],
}
_SEED_ZH = {"id": "t", "messages": [turn("user", "包裹到哪了？说好周一到的。"), turn("assistant", "物流")]}
_PRAISE, _PRAISE_ZH = "The lamp came a day early and looks lovely.", "台灯提前一天就到了，特别好看。"


class _Text(BaseModel):
    text: str


class _Label(BaseModel):
    label: str


class RareClass(Task):
    """Texts for labels that a dataset has too few of: attribute-conditioned generation (Yu et al. 2023,
    arXiv:2306.15895), kept only where label-blind judges agree (as in Li et al. 2023, arXiv:2310.07849, label and text
    do not always go together).

    The seed is a text of any label, shown for its manner. Judges see the labels in another order each; where one sees
    another label than was meant, the text is rejected.
    """

    novel = True

    labels: Mapping[str, str] = Setting(min_length=2, description="every label and what it means")
    wanted: Mapping[str, float] = Setting(
        default={}, description="the labels to write for and their shares; by default each as often"
    )
    hard: float = Setting(default=0.5, ge=0, le=1, description="share of texts that are nearly another label's")
    judges: int = Setting(default=2, ge=1, le=9, description="how many times a text is sorted; all must agree")

    temperature: float = Setting(default=0.9, ge=0, le=2, description="how freely the teacher writes")

    examples = (
        gives(
            _SEED,
            [{"text": _PRAISE}, {"label": "praise"}, {"label": " Praise"}],
            {"instruction": _PRAISE, "answer": "praise", "hard": False},
            settings={"labels": _LABELS, "wanted": {"praise": 1}, "hard": 0},
        ),
        gives(
            _SEED_ZH,
            [{"text": _PRAISE_ZH}, {"label": "表扬"}],
            {"instruction": _PRAISE_ZH, "answer": "表扬", "hard": True},
            settings={"labels": _LABELS_ZH, "wanted": {"表扬": 1}, "hard": 1, "judges": 1},
        ),
        rejects(
            "other_label",
            _SEED,
            [{"text": _PRAISE}, {"label": "praise"}, {"label": "delivery"}],
            settings={"labels": _LABELS, "wanted": {"praise": 1}},
        ),
        rejects(
            "unknown_label",
            _SEED,
            [{"text": _PRAISE}, {"label": "joy"}, {"label": "praise"}],
            settings={"labels": _LABELS, "wanted": {"praise": 1}},
        ),
        rejects(
            "names_label",
            _SEED,
            [{"text": "I want a refund for the lamp, it broke."}],
            settings={"labels": _LABELS, "wanted": {"refund": 1}},
        ),
        gives(
            _SEED,
            [{"text": "My shampoo was open in the bag."}, {"label": "ham"}, {"label": "ham"}],
            {"answer": "ham"},
            settings={"labels": {"ham": "is a message that is wanted", "spam": "is not"}, "wanted": {"ham": 1}},
        ),
        rejects(
            "copy",
            _SEED_ZH,
            [{"text": "包裹到哪了？说好周二到的。"}],
            settings={"labels": _LABELS_ZH, "wanted": {"物流": 1}},
        ),
    )

    @field_validator("wanted")
    @classmethod
    def _are_labels(cls, value: Mapping[str, float], info: object) -> Mapping[str, float]:
        known = getattr(info, "data", {}).get("labels", {})
        unknown = [label for label in value if label not in known]
        if known and unknown:
            raise ValueError(f"{unknown[0]!r} is not one of the labels")
        return value

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        before, lang = seed.instruction, seed.lang
        hardness = {"hard": self.hard, "plain": 1 - self.hard}
        dealt = deal({"label": dict(self.wanted) or list(self.labels), "hardness": hardness}, seed.key, number)
        label = dealt["label"]
        near = chance.choice([other for other in self.labels if other != label])
        asked = filled(
            _WRITE, lang, labels=self._listed(list(self.labels)), text=quoted(before), label=label,
            hardness=filled(_HARDNESS[dealt["hardness"]], lang, near=near),
        )  # fmt: skip
        [reply] = yield [
            question(asked, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Text, sample=number)
        ]
        text = written(parsed(reply, _Text).text, lang, min_chars=4, max_chars=8_000)
        needed(not names(text, label), "names_label", "the text names its label")
        alike = rouge_l(text, before)
        needed(alike <= THRESHOLD, "copy", f"ROUGE-L with the seed is {alike:.2f}")

        orders = [chance.sample(list(self.labels), len(self.labels)) for _ in range(self.judges)]
        replies = yield [
            question(
                filled(_SORT, lang, labels=self._listed(order), text=quoted(text)),
                lang,
                max_tokens=self.check_tokens,
                answer=_Label,
                sample=place,
                teacher=JUDGE,
            )
            for place, order in enumerate(orders)
        ]
        known = {name.strip().lower(): name for name in self.labels}
        seen = [known.get(parsed(one, _Label).label.strip().lower()) for one in replies]
        needed(None not in seen, "unknown_label", "a judge answers with no label of the list")
        needed(all(one == label for one in seen), "other_label", f"meant {label}, seen {', '.join(map(str, seen))}")
        return [seed.chat(text, label, {"hard": dealt["hardness"] == "hard", "near": near})]

    def _listed(self, order: list[str]) -> str:
        return "\n".join(f"- {label}: {self.labels[label]}" for label in order)
