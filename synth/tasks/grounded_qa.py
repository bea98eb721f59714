"""Questions about documents, whose answers cite a passage that is really there."""

from __future__ import annotations

import random
import re
import unicodedata

from pydantic import BaseModel

from synth.checking import Check, needed
from synth.novelty import tokens
from synth.prompting import Wording, filled, question, quoted
from synth.reading import helpful, parsed, written
from synth.spans import find_span
from synth.task import Rejected, Rounds, Seed, Setting, Task, gives, rejects, turn

_ASK: Wording = {
    "en": (
        "This is a document:\n\n$document\n\n"
        "Write a question that a reader may have, that the document answers, and that cannot be answered without it; "
        "the answer, in full sentences, with nothing that the document does not say; and the passage that proves the "
        "answer, copied from the document character by character. The question must make sense to somebody who does "
        'not have the document before them: name what it is about, and never say "the document" or "the text".\n'
        'Answer as JSON: {"question": "…", "answer": "…", "quote": "…"}'
    ),
    "zh": (
        "下面是一份文档：\n\n$document\n\n"
        "请写出：一个读者可能会问、文档能够回答、而没有文档就答不出的问题；用完整的句子写的答案，不得包含文档没有说的内容；"
        "以及证明该答案的原文，逐字从文档中复制。没有看到文档的人也要能看懂问题：说清楚问的是什么，不要出现“文档”“文中”“上文”之类的说法。\n"
        '以 JSON 回答：{"question": "…", "answer": "…", "quote": "…"}'
    ),
}
_PROVEN: Wording = {
    "en": (
        "Passage:\n$passage\n\nQuestion:\n$question\n\nAnswer:\n$answer\n\n"
        "Does the passage by itself prove everything that the answer says, and does the answer reply to the question?\n"
        'Answer as JSON: {"verdict": "yes"} or {"verdict": "no"}'
    ),
    "zh": (
        "原文片段：\n$passage\n\n问题：\n$question\n\n答案：\n$answer\n\n"
        "仅凭这个片段能否证明答案所说的全部内容，并且答案确实回答了问题？\n"
        '以 JSON 回答：{"verdict": "yes"} 或 {"verdict": "no"}'
    ),
}
_PROVES = Check(
    _PROVEN,
    "yes",
    {
        "en": {
            "passage": "The shop opens at nine.",
            "question": "When does the shop close?",
            "answer": "It closes at six and on Mondays at four.",
        },
        "zh": {"passage": "商店九点开门。", "question": "商店几点关门？", "answer": "六点关门，周一四点关门。"},
    },
)
_NEEDS_DOCUMENT = re.compile(
    r"(?i)\b(?:the|this|that|given|above|following|provided) "
    r"(?:document|text|passage|article|paragraph|excerpt|author)\b"
    r"|\bdocument above\b|文[档中章段]|上文|下文|本文|原文|材料中|段落|作者(?:认为|提到|指出)"
)
_SHORT_DOCUMENT = 400
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DOCUMENT = "The Aldermoor bridge opened in 1931.\nIt is 412 metres long and carries two lanes and a tram."
_DOCUMENT_ZH = "东湖隧道于2015年12月28日通车，全长约10.6公里。隧道内限速60公里每小时。"
_QUESTION, _ANSWER = "How long is the Aldermoor bridge?", "The Aldermoor bridge is 412 metres long."


class _Grounded(BaseModel):
    question: str
    answer: str
    quote: str


class GroundedQa(Task):
    """Questions and answers from documents, each with the span that proves it: as SQuAD is built (Rajpurkar et al.
    2016, arXiv:1606.05250), with the citation checked (attribution: Bohnet et al. 2022, arXiv:2212.08037).

    The quotation must stand in the document, word for word; where it does is noted, in characters. A judge that sees
    the quotation alone must find the whole answer proven by it. With `with_document` the document is part of the
    question, since what a model is made to say that it does not know teaches it to invent (Gekhman et al. 2024,
    arXiv:2405.05904).
    """

    novel = True

    with_document: bool = Setting(default=True, description="put the document before the question")
    document_chars: int = Setting(default=6_000, ge=200, description="the longest piece of a document that is shown")
    min_quote_tokens: int = Setting(
        default=4, ge=1, description="the shortest quotation, in words or Chinese characters"
    )
    max_quote_share: float = Setting(
        default=0.7, gt=0, le=1, description="the largest share of a document of 400 characters or more to quote"
    )

    examples = (
        gives(
            {"id": "d1", "text": _DOCUMENT},
            [
                {"question": _QUESTION, "answer": _ANSWER, "quote": "It is 412 metres long"},
                {"verdict": "yes"},
                {"verdict": "no"},
            ],
            {"instruction": f"{_DOCUMENT}\n\n{_QUESTION}", "answer": _ANSWER, "begin": 37, "end": 58},
        ),
        gives(
            {"id": "d2", "text": _DOCUMENT_ZH},
            [
                {"question": "东湖隧道全长多少？", "answer": "东湖隧道全长约10.6公里。", "quote": "全长约１０.６公里"},
                {"verdict": "yes"},
                {"verdict": "no"},
            ],
            {"instruction": "东湖隧道全长多少？", "answer": "东湖隧道全长约10.6公里。", "begin": 19, "end": 28},
            settings={"with_document": False},
        ),
        rejects(
            "quote_not_found",
            {"text": _DOCUMENT},
            [{"question": _QUESTION, "answer": _ANSWER, "quote": "The bridge is 412 metres long"}],
        ),
        rejects(
            "quote_too_short", {"text": _DOCUMENT}, [{"question": _QUESTION, "answer": _ANSWER, "quote": "412 metres"}]
        ),
        rejects(
            "needs_document",
            {"text": _DOCUMENT_ZH},
            [{"question": "文中的隧道全长多少？", "answer": "全长约10.6公里。", "quote": "全长约10.6公里"}],
        ),
        rejects(
            "not_proven",
            {"text": _DOCUMENT},
            [
                {"question": _QUESTION, "answer": f"{_ANSWER} It cost a fortune.", "quote": "It is 412 metres long"},
                {"verdict": "no"},
                {"verdict": "no"},
            ],
        ),
        rejects(
            "number_not_quoted",
            {"text": _DOCUMENT},
            [{"question": _QUESTION, "answer": "It is 421 metres long.", "quote": "It is 412 metres long"}],
        ),
        rejects("bad_answer", {"text": _DOCUMENT}, [{"question": _QUESTION, "answer": _ANSWER}]),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        document, lang = seed.text, seed.lang
        first, last = self._piece(document, chance)
        piece = document[first:last].strip()
        first += len(document[first:last]) - len(document[first:last].lstrip())
        [reply] = yield [
            question(
                filled(_ASK, lang, document=quoted(piece)),
                lang,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                answer=_Grounded,
                sample=number,
            )
        ]
        made = parsed(reply, _Grounded)
        asked, answer = written(made.question, lang, min_chars=4), helpful(made.answer, lang)
        needed(not _NEEDS_DOCUMENT.search(asked), "needs_document", "the question points at the document")
        span = find_span(piece, made.quote)
        if span is None:
            raise Rejected("quote_not_found", "the quotation is not in the document")
        quote = piece[span.begin : span.end]
        needed(len(tokens(quote)) >= self.min_quote_tokens, "quote_too_short", f"{len(tokens(quote))} words")
        whole = len(piece) >= _SHORT_DOCUMENT and len(quote) > self.max_quote_share * len(piece)
        needed(not whole, "quote_too_long", "it quotes nearly the whole document")
        unproven = _numbers(answer) - _numbers(quote) - _numbers(asked)
        needed(not unproven, "number_not_quoted", "the answer has a number that the quotation has not")

        replies = yield _PROVES.ask(lang, self.check_tokens, passage=quote, question=asked, answer=answer)
        needed(_PROVES.passed(replies), "not_proven", "the judge does not find the answer in the quotation")
        shown = f"{piece}\n\n{asked}" if self.with_document else asked
        content = {"messages": [turn("user", shown), turn("assistant", answer)]}
        whole_text = str(seed.row.get("text") or "")
        first += len(whole_text) - len(whole_text.lstrip()) if whole_text.strip() else 0  # the document is stripped
        notes = {"quote": quote, "begin": first + span.begin, "end": first + span.end}
        return [seed.made("chat", content, notes, asked)]

    def _piece(self, document: str, chance: random.Random) -> tuple[int, int]:
        """A piece that is short enough; of long documents any, from a line's beginning to a line's end if it can."""
        if len(document) <= self.document_chars:
            return 0, len(document)
        begin = chance.randrange(len(document) - self.document_chars + 1)
        after = document.find("\n", begin, begin + self.document_chars // 4)
        begin = after + 1 if begin and after >= 0 else begin
        end = min(begin + self.document_chars, len(document))
        before = document.rfind("\n", begin + self.document_chars // 2, end)
        return begin, before if before >= 0 and end < len(document) else end


def _numbers(text: str) -> set[str]:
    return {number.replace(",", "") for number in _NUMBER.findall(unicodedata.normalize("NFKC", text))}
