"""Find personal data in many texts: what Presidio finds in each, in a fraction of the time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
import regex

from curate.loading import loaded_once
from curate.personal_data.analyzer import DEFAULT_THRESHOLD, ENTITIES, NAMES, Language, analyzer, chosen
from curate.personal_data.candidates import Candidates, candidates, holding, matches, windows

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, EntityRecognizer, RecognizerResult

SCHEMA: dict[str, pl.DataType] = {
    "text": pl.UInt32(),
    "begin": pl.UInt32(),
    "end": pl.UInt32(),
    "type": pl.String(),
    "score": pl.Float32(),
}
"""A finding: place of its text in the series, first character, the one behind the last, type, score (0 to 1)."""

# Han and what is written with it: kana, Hangul, full-width letters and digits, their punctuation.
_CHINESE = r"[\x{2e80}-\x{9fff}\x{ac00}-\x{d7af}\x{f900}-\x{faff}\x{fe30}-\x{fe4f}\x{ff01}-\x{ffee}\x{20000}-\x{3ffff}]"
_LONG_CHARS = 600
"""From here on windows pay."""
_BEFORE_CHARS, _BEHIND_CHARS = 48, 8
"""How much around a finding is split into words at first."""
_LONGEST_RUN_CHARS = 20_000
"""A run of characters without a place to cut is not split into words beyond this: context words that far are none."""
_NER_CHARS = 50_000

_BLOCK = regex.compile(r"[\u4e00-\u9fd5a-zA-Z0-9+#&._%\-]")
"""What jieba segments; each other character is a word by itself."""


@dataclass(frozen=True)
class Detector:
    """Finds personal data of some types (None: all but addresses of pages).

    A text with Chinese characters, kana, Hangul or full-width signs is read as Chinese, any other as English. Both are
    searched for every type; they differ in how words are told apart where context counts, and in how names are found.
    """

    entities: tuple[str, ...] | None = None
    names: bool = False
    """Whether names of people are looked for too, by a model: 20 to 100 times slower."""
    threshold: float = DEFAULT_THRESHOLD

    version: ClassVar[int] = 2
    """Raised whenever the same texts give other findings than before."""

    def __post_init__(self) -> None:
        chosen(self.entities, self.names)

    def find(self, texts: pl.Series) -> pl.DataFrame:
        """Findings that do not overlap, by text and place: see `SCHEMA` and `resolved`. Null texts have none."""
        return resolved(self.find_all(texts))

    def find_all(self, texts: pl.Series) -> pl.DataFrame:
        """All findings, overlapping ones too: exactly those that `analyzer(...)` has for each text by itself."""
        frame = pl.DataFrame({"place": pl.int_range(len(texts), eager=True, dtype=pl.UInt32), "text": texts})
        frame = frame.with_columns(pl.col("text").cast(pl.String)).drop_nulls("text")
        is_chinese = pl.col("text").str.contains(_CHINESE)
        rows = [
            row
            for language, here in (("zh", frame.filter(is_chinese)), ("en", frame.filter(~is_chinese)))
            for row in _search(_searcher(language, self.entities, self.names), here, self.threshold)
        ]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("text", "begin", "end", "type", "score")


def language_of(text: str) -> Language:
    """How a text is read: see `Detector`."""
    return "zh" if pl.Series([text]).str.contains(_CHINESE)[0] else "en"


def resolved(findings: pl.DataFrame) -> pl.DataFrame:
    """Findings without overlaps: of several the longest stays, then the likeliest, then the more telling type.

    What a dropped one covers besides stays uncovered: a card number's spaces are not also half a telephone number.
    """
    kept: list[tuple[Any, ...]] = []
    for _, several in groupby(findings.iter_rows(), key=lambda row: row[0]):
        for cluster in _clusters(several):
            kept += _without_overlaps(cluster) if len(cluster) > 1 else cluster
    return pl.DataFrame(kept, schema=SCHEMA, orient="row")


def _clusters(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Runs of findings of one text, sorted by where they begin, that hang together by overlaps."""
    cluster: list[tuple[Any, ...]] = []
    end = 0
    for row in rows:
        if cluster and row[1] >= end:
            yield cluster
            cluster = []
        cluster.append(row)
        end = max(end, row[2]) if len(cluster) > 1 else row[2]
    if cluster:
        yield cluster


_ORDER = {name: place for place, name in enumerate([*ENTITIES, NAMES])}
_YIELDS = {"PHONE_NUMBER": 1}
"""The telephone number of any country: of the same span, a type that says more stays, however likely."""


def _preferred(row: tuple[Any, ...]) -> tuple[Any, ...]:
    _, begin, end, type_, score = row
    return begin - end, _YIELDS.get(type_, 0), -score, _ORDER[type_], begin


def _without_overlaps(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    taken: list[tuple[Any, ...]] = []
    for row in sorted(rows, key=_preferred):
        place = bisect_left(taken, row[1], key=lambda one: one[1])
        if (place == 0 or taken[place - 1][2] <= row[1]) and (place == len(taken) or row[2] <= taken[place][1]):
            taken.insert(place, row)
    return taken


@dataclass(frozen=True)
class _Searcher:
    """An analyzer, its recognizers, and where each may find something."""

    engine: AnalyzerEngine
    language: Language
    entities: list[str]
    recognizers: list[tuple[EntityRecognizer, Candidates | None]]
    words: Any
    """The spaCy pipeline that splits texts into words."""


@loaded_once
def _searcher(language: Language, entities: tuple[str, ...] | None, names: bool) -> _Searcher:
    engine = analyzer(language, entities, names)
    recognizers = engine.registry.get_recognizers(language=language, all_fields=True)
    recognizers.sort(key=lambda one: str(one.name))  # type: ignore[has-type]
    told = [(recognizer, candidates(recognizer)) for recognizer in recognizers]
    nlp_engine: Any = engine.nlp_engine
    return _Searcher(engine, language, list(chosen(entities, names)), told, nlp_engine.get_nlp(language))


def _search(searcher: _Searcher, frame: pl.DataFrame, threshold: float) -> Iterator[tuple[Any, ...]]:
    """Findings in texts of one language, as rows of `SCHEMA`."""
    if frame.is_empty():  # compiling the patterns takes 30 ms
        return
    hits = holding(frame["text"], [told for _, told in searcher.recognizers])
    found: dict[int, list[RecognizerResult]] = {}
    texts: dict[int, str] = {}
    for (recognizer, told), places in zip(searcher.recognizers, hits, strict=True):
        here = frame[places] if told else frame
        if _is_weak(recognizer, threshold):
            here = here.filter(
                pl.Series([_any_of(recognizer.context, text) for text in here["text"]], dtype=pl.Boolean)
            )
        for row, text, spans in zip(here["place"], here["text"], _spans(here["text"], told), strict=True):
            results = list(_recognized(searcher, recognizer, told, text, spans))
            if results:
                found.setdefault(row, []).extend(results)
                texts[row] = text
    from presidio_analyzer import EntityRecognizer

    contexts = {recognizer.id: recognizer.context for recognizer, _ in searcher.recognizers if recognizer.context}
    for row, results in found.items():
        _enhance(searcher, texts[row], results, contexts, threshold)
        results = [result for result in results if result.score >= threshold]
        for one in EntityRecognizer.remove_duplicates(results) if len(results) > 1 else results:
            yield row, one.start, one.end, one.entity_type, one.score


def _is_weak(recognizer: EntityRecognizer, threshold: float) -> bool:
    """Whether nothing that it finds is likely enough without one of its context words in the text: shapes such as a
    letter and some digits, of which a text may have hundreds of thousands, at 20 µs each."""
    from presidio_analyzer import PatternRecognizer

    kind: Any = type(recognizer)
    patterns: Any = getattr(recognizer, "patterns", ())
    return (
        isinstance(recognizer, PatternRecognizer)
        and kind.validate_result is PatternRecognizer.validate_result
        and kind.analyze is PatternRecognizer.analyze
        and bool(recognizer.context)
        and all(pattern.score < threshold for pattern in patterns)
    )


def _any_of(words: Sequence[str], text: str) -> bool:
    lowered = text.lower()
    return any(word.lower() in lowered for word in words)


def _recognized(
    searcher: _Searcher, recognizer: EntityRecognizer, told: Candidates | None, text: str, spans: list[tuple[int, int]]
) -> Iterator[RecognizerResult]:
    """What a recognizer finds in these parts of a text."""
    for begin, end in spans:
        piece = text[begin:end]
        artifacts: Any = None
        if told is None and searcher.language == "en":
            artifacts = searcher.engine.nlp_engine.process_text(piece, searcher.language)
        for result in recognizer.analyze(piece, searcher.entities, artifacts):
            result.start += begin
            result.end += begin
            yield result


def _spans(texts: pl.Series, told: Candidates | None) -> Iterator[list[tuple[int, int]]]:
    """The parts of each text where a recognizer may find something; all of it where that is little, or unknown."""
    if told is None:
        yield from map(_pieces, texts)
        return
    is_long = texts.str.len_chars() >= _LONG_CHARS
    long = iter(matches(texts.filter(is_long), told) if told.has_windows else ())
    for text, has_windows in zip(texts, is_long & told.has_windows, strict=True):
        yield windows(text, told, next(long)) if has_windows else [(0, len(text))]


def _pieces(text: str) -> list[tuple[int, int]]:
    """A text in runs that a model takes at once: whole, unless it is very long."""
    spans, begin = [], 0
    while len(text) - begin > _NER_CHARS:
        end = max(text.rfind(sign, begin + 1, begin + _NER_CHARS) for sign in "\n 。") + 1 or begin + _NER_CHARS
        spans.append((begin, end))
        begin = end
    return [*spans, (begin, len(text))]


def _enhance(
    searcher: _Searcher,
    text: str,
    results: Sequence[RecognizerResult],
    contexts: dict[str, list[str]],
    threshold: float,
) -> None:
    """Raise the scores of what stands near its recognizer's context words, as LemmaContextAwareEnhancer does.

    That one splits the whole text into words, and looks through all of them for every finding.
    """
    enhancer: Any = searcher.engine.context_aware_enhancer
    words: dict[int, list[str]] = {}
    split: set[str] | None = None
    lowered = text.lower()
    there = {one: [word.lower() for word in several if word.lower() in lowered] for one, several in contexts.items()}
    for result in results:
        context = there.get(result.recognition_metadata[result.RECOGNIZER_IDENTIFIER_KEY])
        raised = max(result.score + enhancer.context_similarity_factor, enhancer.min_score_with_context_similarity)
        if not context or raised < threshold or result.score >= 1:
            continue
        if result.start not in words:
            if split is None:
                split = _split_keywords(searcher, text)
            words[result.start] = _context_words(searcher, text, result.start, split)
        if any(wanted in word for wanted in context for word in words[result.start]):
            result.score = min(raised, 1.0)


def _context_words(searcher: _Searcher, text: str, start: int, split: set[str]) -> list[str]:
    """The word at a place and five keywords before it "
    "(or, where it is no keyword itself, one behind it), lower-cased."""
    enhancer: Any = searcher.engine.context_aware_enhancer
    nlp = searcher.words
    before, behind = _BEFORE_CHARS, _BEHIND_CHARS
    while True:
        begin = _cut(searcher.language, text, start - before, -1)
        end = _cut(searcher.language, text, start + behind, 1)
        doc = nlp.make_doc(text[begin:end])
        at = next((place for place, token in enumerate(doc) if start - begin < token.idx + len(token)), None)
        if at is None:
            return []
        back = _keywords(nlp, doc, range(at, -1, -1), enhancer.context_prefix_count + 1, split)
        ahead = _keywords(nlp, doc, range(at, len(doc)), enhancer.context_suffix_count + 1, split)
        more_back = begin > 0 and len(back) <= enhancer.context_prefix_count
        more_ahead = end < len(text) and len(ahead) <= enhancer.context_suffix_count
        if not (more_back or more_ahead) or end - begin > _LONGEST_RUN_CHARS:
            return back + ahead
        before, behind = before * (4 if more_back else 1), behind * (4 if more_ahead else 1)


def _keywords(nlp: Any, doc: Any, places: Iterable[int], count: int, split: set[str]) -> list[str]:
    """The first keywords of a text at these places in this order: no stop words, no punctuation."""
    found: list[str] = []
    for place in places:
        word = doc[place].lower_
        if word in split or _is_keyword(nlp, word):
            found.append(word)
            if len(found) == count:
                break
    return found


def _is_keyword(nlp: Any, word: str) -> bool:
    lexeme = nlp.vocab[word]
    return ":" not in word and word != "be" and not lexeme.is_stop and not lexeme.is_punct


def _split_keywords(searcher: _Searcher, text: str) -> set[str]:
    """Parts of words with a colon in them: Presidio takes each for a keyword, wherever in the text it stands."""
    if searcher.language == "zh" or ":" not in text:
        return set()
    nlp = searcher.words
    parts: set[str] = set()
    for run in {run for run in text.split() if ":" in run and len(run) <= _LONGEST_RUN_CHARS}:
        for token in nlp.make_doc(run):
            word = token.lower_
            if ":" in word and not nlp.vocab[word].is_stop and not nlp.vocab[word].is_punct:
                parts.update(word.split(":"))
    return parts


def _cut(language: Language, text: str, place: int, step: int) -> int:
    """The next place from there, forwards or backwards, where a text may be cut without changing its words.

    spaCy splits at blanks first, jieba at what is no Chinese character, letter, digit or one of a few signs.
    """
    last = place + step * _LONGEST_RUN_CHARS
    while 0 < place < len(text):
        before, behind = text[place - 1], text[place]
        ends = (
            before.isspace() if language == "en" else before == "\n" or not (before.isspace() or _BLOCK.match(before))
        )
        if (ends and not behind.isspace()) or place == last:
            return place
        place += step
    return 0 if place <= 0 else len(text)
