"""How often a text repeats its own lines, phrases and words: one walk through each text.

Words are runs of letters and digits; an ideograph, a kana or an emoji is a word by itself. Words that begin with a
digit are left out: tables and matrices repeat themselves rightly.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.kernels.compiled import in_parallel, inlined, kernel
from curate.kernels.shingles import buffers

LONGEST_PHRASE = 12
"""Words of the longest phrase that is looked for over and over."""

_LINE_LETTERS = 6  # lines with fewer letters (rules, brackets, rows of numbers) may come again
_POINTS = 0x30000
_ROWS = 256

_WORDS, _RUN, _LINES, _TOP, _REPEATED = range(5)

Hashes = npt.NDArray[np.uint64]


def repetition(texts: pl.Series) -> pl.DataFrame:
    """How often each text repeats itself; a null is empty.

    - words (Int64): how many it has
    - run (Int64): words of the longest stretch in which one phrase, of at most twelve words, is said five times or more
    - lines (0 to 1): share of the characters in lines of six letters or more that stood there before
    - top (0 to 1): largest share of characters that one phrase of four words takes, all its times together
    - repeated (0 to 1): share of characters in phrases of ten words that came before
    """
    classes = _classes()
    found = np.zeros((len(texts), 5), dtype=np.float64)
    # Drawn anew for each process, so that nobody can write words whose hashes collide.
    seed = np.uint64(int.from_bytes(os.urandom(8), "little"))

    def work(begin: int, end: int) -> None:
        data, offsets = buffers(texts.slice(begin, end - begin))
        _measure(data, offsets, classes, seed, found[begin:end])

    in_parallel(work, len(texts), max(1, len(texts) // _ROWS))
    names = ("words", "run", "lines", "top", "repeated")
    types = (pl.Int64, pl.Int64, pl.Float64, pl.Float64, pl.Float64)
    return pl.DataFrame(
        [
            pl.Series(name, found[:, at], dtype=pl.Float64).cast(kind)
            for at, (name, kind) in enumerate(zip(names, types, strict=True))
        ]
    )


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """Class of each character: 0 is between words, 1 part of a word, 2 a word of its own."""
    points = pl.Series(list(range(_POINTS)), dtype=pl.UInt32)
    texts = pl.Series(["" if 0xD800 <= point < 0xE000 else chr(point) for point in points])
    alone = texts.str.contains(r"[\p{Han}\p{Hiragana}\p{Katakana}\u{1F300}-\u{1FAFF}]").to_numpy()
    within = texts.str.contains(r"[\p{L}\p{M}\p{N}]").to_numpy()
    return np.where(alone, 2, within).astype(np.uint8)


@inlined
def _mixed(value: Any) -> Any:
    value = (value ^ (value >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return value ^ (value >> np.uint64(29))


@inlined
def _place(table: Any, stamps: Any, stamp: Any, mask: Any, key: Any) -> Any:
    """Where a key is in a table of this stamp, or may be put."""
    slot = np.int64(key & mask)
    while stamps[slot] == stamp and table[slot] != key:
        slot = np.int64((np.uint64(slot) + np.uint64(1)) & mask)
    return slot


@kernel
def _measure(data: Any, offsets: Any, classes: Any, seed: Any, found: Any) -> None:
    longest = 0
    for row in range(len(found)):
        longest = max(longest, offsets[row + 1] - offsets[row])
    most_words = longest // 2 + 2  # a word of one letter and a blank, or an ideograph's three bytes
    room = 16
    while room < longest + 4:  # as large as any row's part of it below, and twice its words
        room *= 2
    hashes = np.empty(most_words, np.uint64)
    sizes = np.empty(most_words, np.int64)
    phrases = np.empty(most_words, np.uint64)
    table = np.empty(room, np.uint64)
    stamps = np.zeros(room, np.int32)
    times = np.empty(room, np.int32)
    stamp = 0
    code: Any = 0
    kind: Any = 0
    for row in range(len(found)):
        begin, end = offsets[row], offsets[row + 1]
        size = 16
        while size < end - begin + 4:
            size *= 2
        mask = np.uint64(size - 1)
        # Words, and lines that stood there before.
        words, word, chars, starts_with_digit = 0, np.uint64(0), 0, False
        line, line_chars, letters, prose, again = seed, 0, 0, 0, 0
        stamp += 1
        at = begin
        while at <= end:
            if at == end:
                code, kind = 10, 0
                at += 1
            else:
                first = data[at]
                if first < 0x80:
                    code = np.int64(first)
                    at += 1
                elif first < 0xE0:
                    code = (np.int64(first) & 0x1F) << 6 | np.int64(data[at + 1]) & 0x3F
                    at += 2
                elif first < 0xF0:
                    code = (
                        (np.int64(first) & 0x0F) << 12
                        | (np.int64(data[at + 1]) & 0x3F) << 6
                        | np.int64(data[at + 2]) & 0x3F
                    )
                    at += 3
                else:
                    code = (
                        (np.int64(first) & 0x07) << 18
                        | (np.int64(data[at + 1]) & 0x3F) << 12
                        | (np.int64(data[at + 2]) & 0x3F) << 6
                        | np.int64(data[at + 3]) & 0x3F
                    )
                    at += 4
                kind = np.int64(classes[min(code, len(classes) - 1)])
            digit = 48 <= code <= 57
            if kind != 1 and chars > 0:
                if not starts_with_digit:
                    hashes[words] = _mixed(word)
                    sizes[words] = chars
                    words += 1
                chars = 0
            if kind == 1:
                if chars == 0:
                    word, starts_with_digit = seed, digit
                word = (word ^ np.uint64(code + 1)) * np.uint64(0x9E3779B97F4A7C15)
                word ^= word >> np.uint64(32)
                chars += 1
            elif kind == 2:
                word = (seed ^ np.uint64(code + 1)) * np.uint64(0x9E3779B97F4A7C15)
                word ^= word >> np.uint64(32)
                hashes[words] = _mixed(word)
                sizes[words] = 1
                words += 1
            if code == 10:
                if letters >= _LINE_LETTERS:
                    key = _mixed(line)
                    slot = _place(table, stamps, stamp, mask, key)
                    if stamps[slot] == stamp:
                        again += line_chars
                    stamps[slot] = stamp
                    table[slot] = key
                    prose += line_chars
                line, line_chars, letters = seed, 0, 0
            else:
                line = (line ^ np.uint64(code + 1)) * np.uint64(0x9E3779B97F4A7C15)
                line ^= line >> np.uint64(32)
                line_chars += 1
                if kind > 0 and not digit:
                    letters += 1
        total = 0
        for one in range(words):
            total += sizes[one]
        total = max(total, 1)
        found[row, _WORDS] = words
        found[row, _LINES] = again / max(prose, 1)

        # Phrases of four words, and how often each is there.
        stamp += 1
        most, back, often = 0, 0, False
        for one in range(words - 3):
            key = hashes[one]
            for other in range(one + 1, one + 4):
                key = _mixed(key * np.uint64(0x9E3779B97F4A7C15) + hashes[other])
            phrases[one] = key
            slot = _place(table, stamps, stamp, mask, key)
            if stamps[slot] != stamp:
                stamps[slot] = stamp
                table[slot] = key
                times[slot] = 0
            times[slot] += 1
        for one in range(words - 3):
            number = times[_place(table, stamps, stamp, mask, phrases[one])]
            if number > 1:
                back += sizes[one]
                most = max(most, number * (sizes[one] + sizes[one + 1] + sizes[one + 2] + sizes[one + 3]))
                often = often or number >= 4
        found[row, _TOP] = min(most / total, 1.0)

        # Only where phrases of four words come back can phrases of ten.
        if back > 0.2 * total:
            stamp += 1
            covered, until = 0, 0
            for one in range(words - 9):
                key = hashes[one]
                for other in range(one + 1, one + 10):
                    key = _mixed(key * np.uint64(0x9E3779B97F4A7C15) + hashes[other])
                slot = _place(table, stamps, stamp, mask, key)
                if stamps[slot] == stamp:
                    for other in range(max(one, until), one + 10):
                        covered += sizes[other]
                    until = one + 10
                stamps[slot] = stamp
                table[slot] = key
            found[row, _REPEATED] = covered / total

        # A phrase of at most twelve words said five times brings each of its phrases of four words five times, or four.
        if often:
            run = 0
            for length in range(1, LONGEST_PHRASE + 1):
                same = 0
                for one in range(words - length + 1):
                    if one < words - length and hashes[one] == hashes[one + length]:
                        same += 1
                        continue
                    if same > 0 and same + length >= 5 * length:
                        run = max(run, same + length)
                    same = 0
            found[row, _RUN] = run
