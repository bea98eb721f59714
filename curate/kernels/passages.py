"""Passages of texts, where they are and how they compare: sentences, lines and windows of tokens.

Tokens are those of `curate.kernels.shingles`, but each character is folded alone, so that every token has its place in
the text as it is. What a window or a unit is hashed to has 64 bits; `verified` compares the texts themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from curate.kernels.characters import CONTEXT, KIND_SHIFT, LETTER, SINGLE, SPACE, kind_of, table
from curate.kernels.compiled import in_parallel, inlined, kernel
from curate.kernels.overlap import is_known, known_table
from curate.kernels.shingles import U64, Bytes, Hashes, Longs, buffers, mixed, sort_distinct

Table = np.ndarray[Any, np.dtype[np.uint32]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

FINGERPRINTS, FIND, SENTENCES = range(3)
"""What a walk over texts gives: what they may share, what of it is known, or every sentence."""

_STEP = U64(0x9E3779B97F4A7C15)
_BASIS = U64(0xCBF29CE484222325)
_PRIME = U64(0x100000001B3)
_UNIT_SALT = U64(0xD6E8FEB86659FD93)
_KIND = np.uint32(KIND_SHIFT)
_KINDS = np.uint32(3)
_CODE = np.uint32((1 << KIND_SHIFT) - 1)

_ENDS, _CLOSES, _BREAKS = (np.uint32(1 << bit) for bit in (23, 24, 25))
"""Bits of an entry: it ends a sentence, may stand behind such an end, or ends a line."""

_FLAGGED = (
    (_ENDS, ".!?。~…"),
    (_CLOSES, "\"'”’)」』】]》*"),
    (_BREAKS, "\n\x0b\x0c\r\x85\u2028\u2029"),
)
_NONE = np.zeros(0, dtype=np.uint64)
_TICK = ord("`")
_STOP, _COLON = ord("."), ord(":")
_ZERO, _NINE = ord("0"), ord("9")


@dataclass(frozen=True)
class Found:
    """Windows or units of texts, in the order of the texts and of their places."""

    hashes: Hashes
    texts: Longs
    """Which text each is in."""
    places: Longs
    """Which token of the text it begins with."""
    begins: Longs
    ends: Longs
    """Where it is in the text's UTF-8 bytes."""

    def where(self, wanted: Flags) -> Found:
        """Just some of them."""
        return Found(
            self.hashes[wanted], self.texts[wanted], self.places[wanted], self.begins[wanted], self.ends[wanted]
        )


@cache
def folding() -> Table:
    """For each code point what it is folded to, and its kind; what folding makes several characters of, or what depends
    on its neighbours, stays as it is."""
    entries = table().copy()
    for code in np.flatnonzero(entries >= CONTEXT).tolist():
        entries[code] = code | kind_of(chr(code)) << KIND_SHIFT
    folded_to = entries & _CODE
    for flag, chars in _FLAGGED:
        entries[np.isin(folded_to, [ord(char) for char in chars])] |= flag
    return entries


@inlined
def _decoded(data: Any, at: Any) -> Any:
    """The code point at a place, and the place behind it."""
    byte = data[at]
    if byte < 0x80:
        code = np.uint32(byte)
        after = at + 1
    elif byte < 0xE0:
        code = (np.uint32(byte & 0x1F) << np.uint32(6)) | np.uint32(data[at + 1] & 0x3F)
        after = at + 2
    elif byte < 0xF0:
        code = (
            (np.uint32(byte & 0x0F) << np.uint32(12))
            | (np.uint32(data[at + 1] & 0x3F) << np.uint32(6))
            | np.uint32(data[at + 2] & 0x3F)
        )
        after = at + 3
    else:
        code = (
            (np.uint32(byte & 0x07) << np.uint32(18))
            | (np.uint32(data[at + 1] & 0x3F) << np.uint32(12))
            | (np.uint32(data[at + 2] & 0x3F) << np.uint32(6))
            | np.uint32(data[at + 3] & 0x3F)
        )
        after = at + 4
    return code, after


@kernel
def _with(out: Any, used: int, value: Any, place: int, begin: int, end: int) -> Any:
    """`out` with one more line, in an array twice as long where there is no room."""
    if used == len(out):
        longer = np.empty((2 * used + 64, 4), np.uint64)
        longer[:used] = out
        out = longer
    out[used, 0] = value
    out[used, 1] = U64(place)
    out[used, 2] = U64(begin)
    out[used, 3] = U64(end)
    return out


@kernel
def _walk(
    data: Bytes, begin: int, end: int, chars: Table, mode: int, k: int, span: int, least: int, fences: bool,
    known: Hashes, top: Any, windows: Any, units: Any, used: Longs,
) -> Any:  # fmt: skip
    """Add what `mode` asks for of one text to `windows` and `units`, of which `used` lines are filled."""
    per_window = span - k + 1
    drop_k = U64(1)
    for _ in range(k):
        drop_k *= _STEP
    drop_span = U64(1)
    for _ in range(span):
        drop_span *= _STEP
    ring = np.zeros(span, np.uint64)
    ring_begin = np.zeros(span, np.int64)
    ring_word = np.zeros(span, np.uint8)
    room = 1
    while room <= per_window:
        room *= 2
    queue = np.zeros(room, np.uint64)
    queue_place = np.zeros(room, np.int64)
    slot = 0
    slot_k = span - k
    queue_from = 0
    queue_size = 0
    rolling_k = U64(0)
    rolling = U64(0)
    words_within = 0
    tokens = 0
    unfenced = 0
    last = U64(0)
    any_last = False
    last_known = False
    # the sentence, the one before it, and the line
    s_hash, s_top, s_tokens, s_words, s_begin, s_end, s_place = U64(0), U64(1), 0, 0, 0, 0, 0
    s_number = False
    s_code = np.uint32(0)
    p_hash, p_tokens, p_words, p_begin, p_place = U64(0), 0, 0, 0, 0
    l_hash, l_tokens, l_words, l_begin, l_place, l_sentences = U64(0), 0, 0, 0, 0, 0
    ticks = 0
    fenced = False
    fence_line = False
    ended = False
    wide: Any = False
    gap = False
    broke = False
    word = _BASIS
    in_word = False
    digits: Any = False
    word_begin = 0
    word_end = 0
    at = begin
    while at <= end:
        start = at
        finish = at == end
        raw = np.uint32(10)
        if finish:
            at += 1
            entry = np.uint32(SPACE)
        else:
            raw, at = _decoded(data, at)
            entry = chars[raw]
        kind = (entry >> _KIND) & _KINDS
        code = entry & _CODE
        if kind == LETTER:
            if not in_word:
                in_word = True
                word_begin = start
                digits = True
            word = (word ^ U64(code)) * _PRIME
            word_end = at
            digits = digits and _ZERO <= code <= _NINE
            continue
        if kind == SPACE and not in_word and not finish:
            gap = True
            if entry & _BREAKS:
                broke = True
            continue
        for turn in range(3):
            if turn == 0:
                if not in_word:
                    continue
                token = mixed(word)
                t_begin, t_end = word_begin, word_end
                is_word = True
                is_number = digits
                t_code, t_flags = np.uint32(0), np.uint32(0)
                word = _BASIS
                in_word = False
            elif turn == 1:
                if kind == SPACE:
                    gap = True
                    if entry & _BREAKS:
                        broke = True
                    continue
                token = mixed(_BASIS ^ (U64(code) * _STEP))
                t_begin, t_end = start, at
                is_word = kind == SINGLE
                is_number = False
                t_code, t_flags = code, entry & (_ENDS | _CLOSES)
            else:
                if not finish:
                    continue
                token = U64(0)
                t_begin, t_end = end, end
                is_word = False
                is_number = False
                t_code, t_flags = np.uint32(0), np.uint32(0)
                broke = True
            stays = ended and not gap and t_flags != 0
            if s_tokens and (broke or (ended and not stays and (wide or gap or (is_word and t_code != 0)))):
                s_value = mixed(s_hash ^ _UNIT_SALT)
                if mode == SENTENCES and s_words:
                    units = _with(units, used[1], s_value, s_place, s_begin, s_end)
                    used[1] += 1
                elif mode != SENTENCES and not fenced and not fence_line:
                    # What ends in a colon leads to what comes behind it: alone it is no passage.
                    leads = s_code == _COLON
                    if not leads and s_words >= least and (mode == FINGERPRINTS or is_known(s_value, known, top)):
                        units = _with(units, used[1], s_value, s_place, s_begin, s_end)
                        used[1] += 1
                    if not leads and p_tokens and (p_words < least or s_words < least) and p_words + s_words >= least:
                        both = mixed((p_hash * s_top + s_hash) ^ _UNIT_SALT)
                        if mode == FINGERPRINTS or is_known(both, known, top):
                            units = _with(units, used[1], both, p_place, p_begin, s_end)
                            used[1] += 1
                    p_hash, p_tokens, p_words, p_begin, p_place = s_hash, s_tokens, s_words, s_begin, s_place
                    l_sentences += 1
                    if not leads and broke and l_sentences > 1 and l_words >= least:
                        l_value = mixed(l_hash ^ _UNIT_SALT)
                        if mode == FINGERPRINTS or is_known(l_value, known, top):
                            units = _with(units, used[1], l_value, l_place, l_begin, s_end)
                            used[1] += 1
                s_hash, s_top, s_tokens, s_words = U64(0), U64(1), 0, 0
                ended = False
                if broke:
                    l_hash, l_tokens, l_words, l_sentences = U64(0), 0, 0, 0
                    ticks = 0
                    fence_line = False
            elif ended and not stays:
                ended = False
            if turn == 2:
                break
            if s_tokens == 0:
                s_begin = t_begin
                s_place = tokens
            if l_tokens == 0:
                l_begin = t_begin
                l_place = tokens
            s_hash = s_hash * _STEP + token
            s_top *= _STEP
            s_tokens += 1
            s_words += 1 if is_word else 0
            s_end = t_end
            s_code = t_code
            l_hash = l_hash * _STEP + token
            l_tokens += 1
            l_words += 1 if is_word else 0
            if fences and t_code == _TICK and ticks == l_tokens - 1:
                ticks += 1
                if ticks == 3:
                    fenced = not fenced
                    fence_line = True
                    p_tokens = 0
            if s_tokens == 1:
                s_number = is_number
            if t_flags & _ENDS and not (t_code == _STOP and s_number and s_tokens == 2):
                wide = (wide and ended) or raw >= 0x80
                ended = True
            gap = False
            broke = False
            # windows
            unfenced = 0 if fenced or fence_line else unfenced + 1
            rolling = rolling * _STEP + token
            if tokens >= span:
                words_within -= ring_word[slot]
                rolling -= ring[slot] * drop_span
            if mode != SENTENCES:
                old_k = U64(0)
                if tokens >= k:
                    old_k = ring[slot_k]
                rolling_k = rolling_k * _STEP + token - old_k * drop_k
                gram = mixed(rolling_k)
            ring[slot] = token
            ring_begin[slot] = t_begin
            ring_word[slot] = 1 if is_word else 0
            words_within += 1 if is_word else 0
            tokens += 1
            slot = slot + 1 if slot + 1 < span else 0
            slot_k = slot_k + 1 if slot_k + 1 < span else 0
            if mode == SENTENCES or tokens < k:
                continue
            place = tokens - k
            while queue_size:
                back = (queue_from + queue_size - 1) & (room - 1)
                if queue[back] < gram:
                    break
                queue_size -= 1
            back = (queue_from + queue_size) & (room - 1)
            queue[back] = gram
            queue_place[back] = place
            queue_size += 1
            if tokens < span:
                continue
            if queue_place[queue_from] < tokens - span:
                queue_from = (queue_from + 1) & (room - 1)
                queue_size -= 1
            if words_within < least or unfenced < span:
                continue
            least_gram = queue[queue_from]
            if mode == FINGERPRINTS:
                if not any_last or least_gram != last:
                    windows = _with(windows, used[0], least_gram, 0, 0, 0)
                    used[0] += 1
                    last = least_gram
                    any_last = True
                continue
            if not any_last or least_gram != last:
                last = least_gram
                any_last = True
                last_known = is_known(least_gram, known, top)
            if last_known:
                first = ring_begin[slot]
                windows = _with(windows, used[0], mixed(rolling), tokens - span, first, t_end)
                used[0] += 1
    return windows, units


@kernel
def _walk_all(
    data: Bytes, offsets: Longs, chars: Table, mode: int, k: int, span: int, least: int, fences: bool, known: Hashes,
    top: Any, window_ends: Longs, unit_ends: Longs,
) -> Any:  # fmt: skip
    windows = np.empty((256, 4), np.uint64)
    units = np.empty((256, 4), np.uint64)
    used = np.zeros(2, np.int64)
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        if begin < end:
            windows, units = _walk(
                data, begin, end, chars, mode, k, span, least, fences, known, top, windows, units, used
            )
        window_ends[text] = used[0]
        unit_ends[text] = used[1]
    return windows[: used[0]].copy(), units[: used[1]].copy()


@kernel
def _sets(windows: Any, units: Any, window_ends: Longs, unit_ends: Longs, out: Hashes, sizes: Longs) -> int:
    """The distinct hashes of each text's windows and units, sorted, one set after another; how many."""
    used = 0
    w = 0
    u = 0
    counts = np.zeros(65537, np.int64)
    spare = np.empty(len(out), np.uint64)
    for text in range(len(sizes)):
        here = out[used:]
        count = 0
        while w < window_ends[text]:
            here[count] = windows[w, 0]
            count += 1
            w += 1
        while u < unit_ends[text]:
            here[count] = units[u, 0]
            count += 1
            u += 1
        sizes[text] = sort_distinct(here, count, spare, counts)
        used += sizes[text]
    return used


@dataclass(frozen=True)
class Passages:
    """What passages are: windows of `span` tokens, and sentences, lines, and pairs of a short sentence and the one
    before or behind it; all of at least `least` words, ideographs and kana.

    Two texts that share a window share one of its fingerprints: the least hash among the windows of a third as many
    tokens in it (winnowing: Schleimer, Wilkerson and Aiken 2003). With `fences` nothing between lines of ``` counts.
    """

    span: int = 50
    least: int = 5
    fences: bool = True

    def fingerprints(self, texts: pl.Series) -> tuple[Hashes, Longs]:
        """Hashes of what each text may share with others, sorted and distinct, one text after another; how many each
        has."""
        sizes = np.zeros(len(texts), dtype=np.int64)

        def work(begin: int, end: int) -> Hashes:
            windows, units, window_ends, unit_ends, _ = self._walked(texts, begin, end, FINGERPRINTS, _NONE)
            out = np.empty(len(windows) + len(units), dtype=np.uint64)
            used = _sets(windows, units, window_ends, unit_ends, out, sizes[begin:end])
            return out[:used]

        parts = in_parallel(work, len(texts), _slices(texts))
        return np.concatenate([_NONE, *parts]), sizes

    def find(self, texts: pl.Series, known: Hashes) -> tuple[Found, Found]:
        """The windows with a fingerprint, and the units with a hash, among `known`, which is sorted."""
        return self._found(texts, FIND, known)

    def sentences(self, texts: pl.Series) -> Found:
        """Every sentence of the texts that has a word; the end of a line ends one."""
        return self._found(texts, SENTENCES, _NONE)[1]

    def _found(self, texts: pl.Series, mode: int, known: Hashes) -> tuple[Found, Found]:
        def work(begin: int, end: int) -> tuple[Found, Found]:
            windows, units, window_ends, unit_ends, offsets = self._walked(texts, begin, end, mode, known)
            return (
                _found(windows, window_ends, begin, offsets),
                _found(units, unit_ends, begin, offsets),
            )

        parts = in_parallel(work, len(texts), _slices(texts))
        return _joined([part[0] for part in parts]), _joined([part[1] for part in parts])

    def _walked(self, texts: pl.Series, begin: int, end: int, mode: int, known: Hashes) -> Any:
        data, offsets = buffers(texts.slice(begin, end - begin))
        top = known_table(known) if mode == FIND else np.zeros(1, dtype=np.bool_)
        window_ends, unit_ends = (np.zeros(end - begin, dtype=np.int64) for _ in range(2))
        k = max(1, self.span // 3)
        windows, units = _walk_all(
            data, offsets, folding(), mode, k, self.span, self.least, self.fences, known, top, window_ends, unit_ends
        )
        return windows, units, window_ends, unit_ends, offsets


def _slices(texts: pl.Series) -> int:
    return max(8, int(texts.str.len_bytes().sum() or 0) >> 21)


def _found(lines: Any, ends: Longs, first: int, offsets: Longs) -> Found:
    texts = np.repeat(np.arange(len(ends), dtype=np.int64), np.diff(ends, prepend=0))
    begins = offsets[texts]
    places = lines[:, 1].astype(np.int64)
    return Found(
        lines[:, 0].copy(), texts + first, places, lines[:, 2].astype(np.int64) - begins,
        lines[:, 3].astype(np.int64) - begins,
    )  # fmt: skip


def _joined(parts: list[Found]) -> Found:
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return Found(_NONE, nothing, nothing, nothing, nothing)
    names = ("hashes", "texts", "places", "begins", "ends")
    return Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


# --- Which are the same ------------------------------------------------------------------------------------


@kernel
def _identify(hashes: Hashes, ids: Longs) -> int:
    """A number for each hash, those that come first lower; how many there are. The table grows with what is distinct,
    not with what is there."""
    size = 1 << 12
    keys = np.zeros(size, np.uint64)
    held = np.full(size, -1, np.int64)
    count = 0
    for i in range(len(hashes)):
        slot = np.int64(mixed(hashes[i]) & U64(size - 1))
        while held[slot] >= 0 and keys[slot] != hashes[i]:
            slot = (slot + 1) & (size - 1)
        if held[slot] < 0:
            keys[slot] = hashes[i]
            held[slot] = count
            ids[i] = count
            count += 1
            if 2 * count > size:
                old_keys, old_held = keys, held
                size *= 4
                keys = np.zeros(size, np.uint64)
                held = np.full(size, -1, np.int64)
                for old in range(len(old_held)):
                    if old_held[old] >= 0:
                        slot = np.int64(mixed(old_keys[old]) & U64(size - 1))
                        while held[slot] >= 0:
                            slot = (slot + 1) & (size - 1)
                        keys[slot] = old_keys[old]
                        held[slot] = old_held[old]
        else:
            ids[i] = held[slot]
    return count


@kernel
def _count(ids: Longs, texts: Longs, first: Longs, counts: Longs) -> None:
    """In how many texts each is, and where it is first."""
    last = np.full(len(counts), -1, np.int64)
    for i in range(len(ids)):
        one = ids[i]
        if last[one] < 0:
            first[one] = i
        if last[one] != texts[i]:
            last[one] = texts[i]
            counts[one] += 1


@kernel
def _same(data: Bytes, a: int, a_end: int, b: int, b_end: int, chars: Table) -> bool:
    """Whether two pieces of text have the same tokens."""
    before = np.uint32(SPACE)
    while True:
        a_gap = False
        b_gap = False
        a_entry = np.uint32(SPACE)
        b_entry = np.uint32(SPACE)
        a_any = False
        b_any = False
        while a < a_end:
            raw, a = _decoded(data, a)
            a_entry = chars[raw]
            if (a_entry >> _KIND) & _KINDS != SPACE:
                a_any = True
                break
            a_gap = True
        while b < b_end:
            raw, b = _decoded(data, b)
            b_entry = chars[raw]
            if (b_entry >> _KIND) & _KINDS != SPACE:
                b_any = True
                break
            b_gap = True
        if not a_any or not b_any:
            return a_any == b_any
        if a_entry != b_entry:
            return False
        kind = (a_entry >> _KIND) & _KINDS
        if kind == LETTER and before == LETTER and a_gap != b_gap:
            return False
        before = kind


@kernel
def _verify(
    data: Bytes, offsets: Longs, texts: Longs, places: Longs, begins: Longs, ends: Longs, ids: Longs, first: Longs,
    chars: Table, begin: int, end: int, right: Flags,
) -> None:  # fmt: skip
    i = begin
    while i < end:
        r = first[ids[i]]
        # windows that follow each other here and where they came first are compared at one go
        j = i
        q = r
        while (
            j + 1 < end
            and texts[j + 1] == texts[i]
            and places[j + 1] == places[j] + 1
            and first[ids[j + 1]] == q + 1
            and texts[q + 1] == texts[r]
            and places[q + 1] == places[q] + 1
        ):
            j += 1
            q += 1
        here, there = offsets[texts[i]], offsets[texts[r]]
        if i == r or _same(data, here + begins[i], here + ends[j], there + begins[r], there + ends[q], chars):
            for one in range(i, j + 1):
                right[one] = True
        else:
            for one in range(i, j + 1):
                other = first[ids[one]]
                right[one] = _same(
                    data, here + begins[one], here + ends[one], there + begins[other], there + ends[other], chars
                )
        i = j + 1


@dataclass(frozen=True)
class Shared:
    """Windows or units that are in several texts."""

    found: Found
    ids: Longs
    """Which of them are the same, by a number."""
    counts: Longs
    """In how many texts those of each number are."""


def shared(found: Found, texts: pl.Series, least: int) -> Shared:
    """Those that are in at least `least` of the texts, each compared with the first of its kind by its text, token by
    token."""
    ids, counts, first = _numbered(found)
    often = counts[ids] >= least
    found = found.where(often)
    ids, counts, first = _numbered(found)
    data, offsets = buffers(texts)
    right = np.zeros(len(ids), dtype=np.bool_)
    in_parallel(
        lambda begin, end: _verify(
            data, offsets, found.texts, found.places, found.begins, found.ends, ids, first, folding(), begin, end, right
        ),
        len(ids),
    )
    if not right.all():
        found = found.where(right)
        ids, counts, _ = _numbered(found)
        often = counts[ids] >= least
        found = found.where(often)
        ids, counts, _ = _numbered(found)
    return Shared(found, ids, counts)


def _numbered(found: Found) -> tuple[Longs, Longs, Longs]:
    ids = np.empty(len(found.hashes), dtype=np.int64)
    count = _identify(found.hashes, ids)
    first, counts = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    _count(ids, found.texts, first, counts)
    return ids, counts, first


# --- What they cover ---------------------------------------------------------------------------------------


@kernel
def _is_blank(data: Bytes, begin: int, end: int, chars: Table) -> bool:
    while begin < end:
        raw, begin = _decoded(data, begin)
        if (chars[raw] >> _KIND) & _KINDS != SPACE:
            return False
    return True


@kernel
def _merge(data: Bytes, offsets: Longs, texts: Longs, begins: Longs, ends: Longs, chars: Table, out: Any) -> int:
    """Stretches, in order, joined where nothing visible is between them; how many are left."""
    count = 0
    for i in range(len(texts)):
        here = offsets[texts[i]]
        if (
            count
            and out[count - 1, 0] == texts[i]
            and (begins[i] <= out[count - 1, 2] or _is_blank(data, here + out[count - 1, 2], here + begins[i], chars))
        ):
            out[count - 1, 1] = min(out[count - 1, 1], begins[i])
            out[count - 1, 2] = max(out[count - 1, 2], ends[i])
        else:
            out[count, 0] = texts[i]
            out[count, 1] = begins[i]
            out[count, 2] = ends[i]
            count += 1
    return count


@dataclass(frozen=True)
class Stretches:
    """Parts of texts, in order, that do not touch each other: which text, and where in its bytes."""

    texts: Longs
    begins: Longs
    ends: Longs


def stretches(texts: pl.Series, *parts: Found) -> Stretches:
    """What windows and units cover together."""
    data, offsets = buffers(texts)

    def merged(which: Longs, begins: Longs, ends: Longs) -> Any:
        out = np.empty((len(which), 3), dtype=np.int64)
        return out[: _merge(data, offsets, which, begins, ends, folding(), out)]

    # Each part is nearly in order already, and a run of windows is one stretch: only few have to be sorted.
    few = np.concatenate([merged(part.texts, part.begins, part.ends) for part in parts])
    few = few[np.lexsort((few[:, 1], few[:, 0]))]
    made = merged(*(np.ascontiguousarray(few[:, place]) for place in range(3)))
    return Stretches(*(made[:, place].copy() for place in range(3)))


@kernel
def _inside(
    texts: Longs, begins: Longs, ends: Longs, by_texts: Longs, by_begins: Longs, by_ends: Longs, out: Longs
) -> None:
    at = 0
    for i in range(len(texts)):
        while at < len(by_texts) and (by_texts[at] < texts[i] or (by_texts[at] == texts[i] and by_ends[at] < ends[i])):
            at += 1
        if at < len(by_texts) and by_texts[at] == texts[i] and by_begins[at] <= begins[i]:
            out[i] = at


def within(sentences: Found, cover: Stretches) -> Stretches:
    """Of each stretch what its first to its last whole sentence takes up; marks at its edges stay out, because they may
    close or open what is around it."""
    inside = np.full(len(sentences.texts), -1, dtype=np.int64)
    _inside(sentences.texts, sentences.begins, sentences.ends, cover.texts, cover.begins, cover.ends, inside)
    which = np.flatnonzero(inside >= 0)
    found, first = np.unique(inside[which], return_index=True)
    last = np.append(first, len(which))[1:] - 1
    return Stretches(cover.texts[found], sentences.begins[which[first]], sentences.ends[which[last]])


@kernel
def _letters(data: Bytes, begin: int, end: int, chars: Table) -> int:
    count = 0
    while begin < end:
        raw, begin = _decoded(data, begin)
        kind = (chars[raw] >> _KIND) & _KINDS
        if kind in (LETTER, SINGLE):
            count += 1
    return count


@kernel
def _all_letters(
    data: Bytes, offsets: Longs, texts: Longs, begins: Longs, ends: Longs, chars: Table, out: Longs
) -> None:
    for i in range(len(texts)):
        here = offsets[texts[i]]
        out[texts[i]] += _letters(data, here + begins[i], here + ends[i], chars)


def letters(texts: pl.Series, part: Stretches | None = None) -> Longs:
    """How many letters, digits, ideographs and kana each text has, in the whole or in some stretches."""
    data, offsets = buffers(texts)
    if part is None:
        every = np.arange(len(texts), dtype=np.int64)
        part = Stretches(every, np.zeros(len(texts), dtype=np.int64), np.diff(offsets))
    out = np.zeros(len(texts), dtype=np.int64)
    _all_letters(data, offsets, part.texts, part.begins, part.ends, folding(), out)
    return out


# --- How far they go ---------------------------------------------------------------------------------------


@kernel
def _next(data: Bytes, at: int, end: int, chars: Table) -> Any:
    """The hash of the next token of a text, where it ends, and whether there is one."""
    word = _BASIS
    in_word = False
    while at < end:
        raw, after = _decoded(data, at)
        entry = chars[raw]
        kind = (entry >> _KIND) & _KINDS
        if kind == LETTER:
            word = (word ^ U64(entry & _CODE)) * _PRIME
            in_word = True
        elif in_word:
            break
        elif kind != SPACE:
            return mixed(_BASIS ^ (U64(entry & _CODE) * _STEP)), after, True
        at = after
    return mixed(word), at, in_word


@kernel
def _extend(data: Bytes, offsets: Longs, texts: Longs, at: Longs, chars: Table) -> None:
    while True:
        token, first_at, any_left = _next(data, at[0], offsets[texts[0] + 1], chars)
        if not any_left:
            return
        moved = np.empty_like(at)
        moved[0] = first_at
        for i in range(1, len(texts)):
            other, after, more = _next(data, at[i], offsets[texts[i] + 1], chars)
            if not more or other != token:
                return
            moved[i] = after
        at[:] = moved


def extended(texts: pl.Series, which: Longs, ends: Longs) -> Longs:
    """How far texts go on saying the same, from where they all said the same up to `ends`."""
    data, offsets = buffers(texts)
    at = offsets[which] + ends
    _extend(data, offsets, which, at, folding())
    return at - offsets[which]
