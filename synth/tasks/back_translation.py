"""A row's question worded otherwise by way of another language, with the same answer."""

from __future__ import annotations

import random

from synth.checking import is_same, needed, same_request
from synth.diversity import deal
from synth.novelty import rouge_l
from synth.prompting import Wording, filled, question, quoted
from synth.reading import said, same_literals, written
from synth.task import Rounds, Seed, Setting, Task, gives, rejects, turn

_TRANSLATE: Wording = {
    "en": (
        "Translate this into $language. Keep numbers, addresses, code and places to fill in, such as {name}, as they "
        "are. Do not answer it and do not explain anything: give the translation alone.\n\n$text"
    ),
    "zh": (
        "把下面的文字翻译成$language。数字、网址、代码和待填内容（如 {name}）原样保留。"
        "不要回答其中的问题，也不要解释，只给出译文。\n\n$text"
    ),
}
_OWN = {"en": "English", "zh": "简体中文"}
_PIVOTS = {"en": ("Chinese", "German", "Russian"), "zh": ("英语", "日语", "德语")}
_UNTRANSLATED = 0.8
_SEED = {"messages": [turn("user", "How long is the warranty on 2 pumps?"), turn("assistant", "Two years each.")]}
_SEED_ZH = {"messages": [turn("user", "这台水泵保修几年？"), turn("assistant", "保修两年。")]}


class BackTranslation(Task):
    """Questions translated there and back (Sennrich et al. 2016, arXiv:1511.06709; Edunov et al. 2018,
    arXiv:1808.09381).

    What comes back is refused where it is the seed again, where it has lost a number, address, code or place to fill
    in, and where a judge asked in both orders finds another request.
    """

    pivots: tuple[str, ...] = Setting(
        default=(), description="languages to go by, named in the seeds' language; by default three"
    )
    max_alike: float = Setting(default=0.9, gt=0, le=1, description="ROUGE-L above which the wording is a copy")

    examples = (
        gives(
            _SEED,
            ["Wie lange gilt die Garantie für 2 Pumpen?", "For how long are 2 pumps guaranteed?"]
            + [{"verdict": "yes"}, {"verdict": "no"}] * 2,
            {"instruction": "For how long are 2 pumps guaranteed?", "answer": "Two years each.", "pivot": "German"},
            settings={"pivots": ["German"]},
        ),
        gives(
            _SEED_ZH,
            ["How many years is this pump under warranty?", "这个水泵的质保期是多少年？"]
            + [{"verdict": "yes"}, {"verdict": "no"}] * 2,
            {"instruction": "这个水泵的质保期是多少年？", "answer": "保修两年。", "pivot": "英语"},
            settings={"pivots": ["英语"]},
        ),
        rejects("not_translated", _SEED, ["How long is the warranty on 2 pumps?"]),
        rejects("copy", _SEED, ["2 台水泵保修多久？", "How long is the warranty on 2 pumps?"]),
        rejects("changed_literal", _SEED, ["2 台水泵保修多久？", "What guarantee do three pumps come with?"]),
        rejects(
            "other_meaning",
            _SEED_ZH,
            ["How many years does this pump last?", "这个水泵能用多少年？", *[{"verdict": "no"}] * 4],
        ),
        rejects("wrong_language", _SEED_ZH, ["How many years is it guaranteed?", "How long is it guaranteed?"]),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        before, answer, lang = seed.instruction, seed.answer, seed.lang
        pivot = deal({"pivot": self.pivots or _PIVOTS[lang]}, seed.key, number)["pivot"]
        there = filled(_TRANSLATE, lang, language=pivot, text=quoted(before))
        [reply] = yield [question(there, lang, max_tokens=self.max_tokens, temperature=self.temperature, sample=number)]
        translated = said(reply)
        needed(rouge_l(translated, before) <= _UNTRANSLATED, "not_translated", f"it is not in {pivot}")

        back = filled(_TRANSLATE, lang, language=_OWN[lang], text=quoted(translated))
        [reply] = yield [question(back, lang, max_tokens=self.max_tokens, temperature=self.temperature)]
        wording = written(said(reply), lang)
        needed(same_literals(before, wording), "changed_literal", "a number, address or code differs")
        alike = rouge_l(before, wording)
        needed(alike <= self.max_alike, "copy", f"ROUGE-L with the seed is {alike:.2f}")

        replies = yield same_request(before, wording, lang, self.check_tokens)
        needed(is_same(replies), "other_meaning", "the judge would answer it otherwise")
        messages = [*seed.before, turn("user", wording), turn("assistant", answer)]
        return [seed.made("chat", {"messages": messages}, {"pivot": pivot, "alike": round(alike, 3)})]
