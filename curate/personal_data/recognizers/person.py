"""Names of people in Chinese texts, by jiojio's tagger; English ones are spaCy's and Presidio's work."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import regex
from presidio_analyzer import LocalRecognizer, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts

from curate.loading import loaded_once

from .shape import HAN, finding

_NAME = regex.compile(rf"[{HAN}]{{2,4}}")
_SENTENCE = regex.compile(r"[^\n。！？；]{1,400}[。！？；]?")
_SCORE = 0.6


class CnPersonRecognizer(LocalRecognizer):
    """Two to four Chinese characters that the tagger calls a person's name (nr), surname and given name apart or not.

    jieba's tags are no use for it: in a thousand instructions it takes 陈述, 阳光 and 安全性 for names.
    """

    def __init__(self, supported_language: str = "zh") -> None:
        super().__init__(supported_entities=["PERSON"], supported_language=supported_language)

    def load(self) -> None:
        """Nothing: the tagger is loaded when the first text comes."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts) -> list[RecognizerResult]:
        found = []
        for sentence in _SENTENCE.finditer(text):
            for begin, end in _names(sentence[0]):
                found.append(finding(self, sentence.start() + begin, sentence.start() + end, _SCORE))
        return found


def _names(sentence: str) -> list[tuple[int, int]]:
    """Where names begin and end; what follows a surname by itself belongs to it."""
    found: list[tuple[int, int]] = []
    place, surname = 0, -1
    for word, tag in _tagger().cut(sentence):
        begin = sentence.find(word, place)
        if begin < 0:  # the tagger writes some characters in another form
            continue
        place, first = begin + len(word), begin
        if not tag.startswith("nr"):
            surname = -1
            continue
        if surname >= 0 and begin == surname + 1 and len(word) <= 2:
            first = surname
        surname = begin if len(word) == 1 else -1
        if _NAME.fullmatch(sentence, first, place):
            found.append((first, place))
    return found


@loaded_once
def _tagger() -> Any:
    """The tagger; its models come in its package, as arrays and JSON. It greets on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        import jiojio

        jiojio.init(pos=True)
    return jiojio
