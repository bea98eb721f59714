"""What each character is when texts are compared: NFKC, case folded, and a kind of token."""

from __future__ import annotations

import sys
import tempfile
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from curate.kernels.compiled import CACHE

SPACE, LETTER, SINGLE, MARK = range(4)
"""Kinds: what separates tokens; letters, digits and their accents, which make a token of a run of them; ideographs and
kana, and every other visible character, each a token of its own."""

KIND_SHIFT = 21
"""A table's entry has the folded code point below this bit, and the kind above."""

CONTEXT = 1 << 31
"""Set where folding a character depends on its neighbours or gives several: such texts are folded by `folded`."""

_VERSION = 2

# Han, kana, and the marks that belong to them; half-width kana become full-width ones before they are looked up.
_SINGLES = (
    (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B), (0x3041, 0x3096), (0x309D, 0x309F),
    (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0x1B000, 0x1B16F), (0x20000, 0x323AF),
)  # fmt: skip


def folded(text: str) -> str:
    """The text in Unicode normal form NFKC and case folded."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@cache
def table() -> np.ndarray[Any, np.dtype[np.uint32]]:
    """For each code point what it is folded to, and its kind. Worked out once for each version of Unicode."""
    path = CACHE / f"characters-{_VERSION}-{unicodedata.unidata_version}.npy"
    try:
        found: np.ndarray[Any, np.dtype[np.uint32]] = np.load(path, allow_pickle=False)
        if found.shape == (0x110000,) and found.dtype == np.uint32:
            return found
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or cut off by somebody else's crash
    made = _made()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            np.save(file, made, allow_pickle=False)
        Path(file.name).replace(path)
    except OSError:
        pass  # a read-only home only costs the second that this takes
    return made


def _made() -> np.ndarray[Any, np.dtype[np.uint32]]:
    second = _second_in_compositions()
    entries = np.zeros(0x110000, dtype=np.uint32)
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code < 0xE000:
            continue
        char = chr(code)
        to = folded(char)
        joins = any(ord(one) in second or unicodedata.combining(one) for one in (char, to[-1:]) if one)
        if len(to) != 1 or joins:
            entries[code] = CONTEXT
        else:
            entries[code] = ord(to) | kind_of(to) << KIND_SHIFT
    return entries


def kind_of(char: str) -> int:
    """What kind of token a folded character belongs to."""
    category = unicodedata.category(char)
    if category in ("Cc", "Cf") or category[0] == "Z":
        return SPACE
    if any(begin <= ord(char) <= end for begin, end in _SINGLES):
        return SINGLE
    return LETTER if category[0] in "LNM" else MARK


def _second_in_compositions() -> set[int]:
    """Characters that join the one before them: the second part of canonical decompositions, and Hangul vowels and
    tails."""
    found = set(range(0x1160, 0x1200))
    for code in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code))
        if parts and not parts.startswith("<") and " " in parts:
            found.add(int(parts.split()[1], 16))
    return found


def tokens(text: str) -> list[str]:
    """The tokens of a text, folded: runs of letters and digits, and every other visible character alone."""
    found: list[str] = []
    word: list[str] = []
    for char in folded(text):
        kind = kind_of(char)
        if kind == LETTER:
            word.append(char)
            continue
        if word:
            found.append("".join(word))
            word = []
        if kind != SPACE:
            found.append(char)
    return [*found, "".join(word)] if word else found
