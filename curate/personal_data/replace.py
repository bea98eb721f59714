"""Texts and rows with personal data replaced, however deeply it lies: in lists, in JSON, behind escapes (pure).

A text that is JSON, or a code block of JSON in a text, is taken apart into its strings and numbers, and each is looked
at by itself, read as it is meant (`\\u0040` is @) and with its key before it, which says what it is. What is replaced
is written so that the JSON stays JSON; everything else in it keeps every byte. Elsewhere a text is also looked at with
escapes, percent signs and HTML entities read and invisible characters left out, so that none of them hides a value.
"""

from __future__ import annotations

import html
import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson
import polars as pl

from curate.arrays import lists
from curate.personal_data.detect import Detector
from curate.personal_data.surrogates import Surrogates, is_surrogate
from schemas.excerpt import excerpt

VERSION = 1
"""Raised whenever the same findings are replaced otherwise than before."""

With = Literal["tag", "surrogate", "mask", "drop_row"]
"""What stands in the place of a value: its type in brackets, a keyed surrogate, asterisks in its shape; or the row
goes, and what is kept of it has tags."""

FOUND: dict[str, pl.DataType] = {
    "row": pl.UInt32(),
    "field": pl.String(),
    "type": pl.String(),
    "count": pl.UInt32(),
    "example": pl.String(),
}
"""What was found in one field of one row: its place, the column (`messages.content`), the type, how often, and for the
first few of a type an excerpt with every finding as a tag."""

_PASSES = 3
_EXAMPLES = 3
_AROUND = 40
_NESTED = 5
"""How many texts of JSON are looked into that lie one in another as strings."""

_IDS = ("id", "content_hash", "row_id", "row_hash", "parents")
_ID = r"^[0-9a-f]{32}$"
_PATHS = ("origin.file", "origin.part", "path", "source")
"""Columns in which words are joined by `_`, which is a letter to patterns."""

_IN_NAMES = re.compile(
    r"_|\.(?:jsonl?|ndjson|[ct]sv|txt|parquet|arrow|feather|ipc|xls[xm]?|md|rst|html?|docx?|pdf|zst|gz)(?![A-Za-z0-9])"
)
"""What stands between the words of a file's name, and what a name ends in."""

_HIDDEN = (
    r"\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[nrt/\"']|%[2-7][0-9A-Fa-f]|&#[0-9]{2,6};|&#[xX][0-9A-Fa-f]{2,5};"
    r"|&(?:commat|period|amp|plus|lowbar|hyphen|colon|sol|nbsp);"
    r"|[\x{ad}\x{200b}-\x{200f}\x{2060}-\x{2064}\x{feff}\x{fe00}-\x{fe0f}]"
)
_HIDDEN_PY = re.compile(re.sub(r"\\x\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), _HIDDEN))
_LONGEST_ESCAPE = 8
_ESCAPED = re.compile(r"\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|&#[0-9]{2,6};|&#[xX][0-9A-Fa-f]{2,5};")
"""Escapes whose own letters and digits say nothing: what they stand for is looked at where they are read."""
_STRUCTURED = r"^\s*[\[{]|```[A-Za-z]{0,12}\s*[\[{]"
_FENCE = re.compile(r"```[A-Za-z]{0,12}[ \t]*\r?\n(?=\s*[\[{])")
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|-?[0-9][0-9.eE+\-]*+', re.DOTALL)
_COLON = re.compile(r"\s*:")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_BARE = re.compile(r"[\"']\s*:\s*\Z")
_AFTER_BARE = re.compile(r"\s*(?:[,}\]\r\n]|\Z)")
_SHORTEST_NUMBER = 5


@dataclass(frozen=True)
class Span:
    """A finding in a text: where, and of which type."""

    begin: int
    end: int
    type: str


@dataclass
class Replaced:
    """Texts in which personal data was replaced."""

    texts: pl.Series
    found: dict[str, Counter[str]]
    """Text as it was to the types found in it."""
    examples: dict[str, list[tuple[str, str]]]
    """Type to the first few texts in which it was found, each with an excerpt."""


@dataclass(frozen=True)
class Replacing:
    """How personal data is found and replaced. `surrogates` are needed to replace it `with_` them."""

    detector: Detector
    with_: With = "tag"
    surrogates: Surrogates | None = None

    def texts(self, texts: pl.Series, *, paths: bool = False) -> Replaced:
        """Each text with what is found in it replaced. `paths`: a `_` stands between words."""
        distinct = texts.drop_nulls().unique(maintain_order=True)
        new = distinct.to_list()
        found: dict[str, Counter[str]] = {}
        examples: dict[str, list[tuple[str, str]]] = {}
        changed: Sequence[int] = range(len(new))
        # What was replaced changes what stands beside it, and what overlapped is a finding of its own: so the texts
        # that changed are looked at again.
        for _ in range(_PASSES):
            again = []
            for place, node in zip(changed, self._searched([new[place] for place in changed], paths), strict=True):
                counted = Counter(span.type for leaf in node.leaves() for span in leaf.spans)
                if not counted:
                    continue
                original = distinct[place]
                new[place] = node.written(self._instead)
                found.setdefault(original, Counter()).update(counted)
                again.append(place)
                for type_ in counted:
                    known = examples.setdefault(type_, [])
                    if len(known) < _EXAMPLES:
                        known.append((original, _excerpt(node, type_)))
            changed = again
        shown = [said for some in examples.values() for _, said in some]
        masked = dict(zip(shown, self._tagged(shown), strict=True))
        for type_, some in examples.items():
            examples[type_] = [(original, masked[said]) for original, said in some]
        return Replaced(_looked_up(texts, distinct, pl.Series(new, dtype=pl.String)), found, examples)

    def _tagged(self, excerpts: Sequence[str]) -> list[str]:
        """Excerpts with what only a later pass would find in them as tags, too."""
        said = list(excerpts)
        for _ in range(_PASSES if said else 0):
            said = [node.written(lambda type_, _: f"<{type_}>") for node in self._searched(said, False)]
        return said

    def text(self, text: str) -> str:
        """One text with what is found in it replaced."""
        return str(self.texts(pl.Series([text])).texts[0])

    def _searched(self, texts: Sequence[str], paths: bool) -> list[_Node]:
        """The texts taken apart, with their findings."""
        nodes = _nodes(pl.Series(texts, dtype=pl.String))
        leaves = [leaf for node in nodes for leaf in node.leaves()]
        scanned = pl.Series([leaf.before + leaf.text for leaf in leaves], dtype=pl.String)
        views: list[tuple[_Node, str, _Offsets | None]] = [
            (leaf, text, None) for leaf, text in zip(leaves, scanned.to_list(), strict=True)
        ]
        for place in scanned.str.contains(_HIDDEN).arg_true().to_list():
            leaf, text, _ = views[place]
            views.append((leaf, *_read(text)))
            views[place] = (leaf, _ESCAPED.sub(_blank, text), None)
        if paths:
            apart = [(leaf, _IN_NAMES.sub(_blank, text), offsets) for leaf, text, offsets in views]
            views += [new for new, old in zip(apart, views, strict=True) if new[1] != old[1]]
        findings = self.detector.find(pl.Series([text for _, text, _ in views], dtype=pl.String))
        for place, begin, end, type_ in findings.select("text", "begin", "end", "type").iter_rows():
            leaf, text, offsets = views[place]
            if is_surrogate(type_, text[begin:end]):
                continue
            if offsets is not None:
                begin, end = offsets.span(begin, end)
            else:
                begin = _behind_escape(text, begin)
            begin, end = max(begin - len(leaf.before), 0), end - len(leaf.before)
            if begin < end:
                leaf.spans.append(Span(begin, end, type_))
        for leaf in leaves:
            if len(leaf.spans) > 1:
                leaf.spans = _settled(leaf.spans)
        return nodes

    def _instead(self, type_: str, text: str) -> str:
        """What stands in the place of a value."""
        if self.with_ in ("tag", "drop_row"):
            return f"<{type_}>"
        value = _read(text)[0] if _HIDDEN_PY.search(text) else text
        if self.with_ == "mask":
            return "".join("*" if char.isalnum() else char for char in value)
        assert self.surrogates is not None
        return self.surrogates.of(type_, value)

    def rows(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """`frame`, whatever its columns, with every text at every depth replaced; and what was found, as `FOUND`."""
        gathered: list[tuple[str, pl.Series, np.ndarray[Any, np.dtype[np.int64]]]] = []

        def gather(name: str, texts: pl.Series, rows: np.ndarray[Any, np.dtype[np.int64]]) -> pl.Series:
            gathered.append((name, texts, rows))
            return texts

        everywhere = np.arange(frame.height, dtype=np.int64)
        for name in frame.columns:
            _walked(frame[name], name, everywhere, gather)
        changed, found = self._gathered(gathered)
        if not found.height:
            return frame, found
        rest = iter(changed)
        columns = [_walked(frame[name], name, everywhere, lambda *_: next(rest)) for name in frame.columns]
        return pl.DataFrame(columns), found

    def _gathered(
        self, gathered: Sequence[tuple[str, pl.Series, np.ndarray[Any, np.dtype[np.int64]]]]
    ) -> tuple[list[pl.Series], pl.DataFrame]:
        changed: dict[int, pl.Series] = {}
        found: list[tuple[int, str, str, int, str | None]] = []
        shown: Counter[str] = Counter()
        for paths in (False, True):
            chosen = [place for place, (name, _, _) in enumerate(gathered) if (name in _PATHS) == paths]
            kept = {place: _no_id(gathered[place][1]) if _is_id(gathered[place][0]) else None for place in chosen}
            parts = [gathered[place][1] if kept[place] is None else kept[place] for place in chosen]
            if not parts:
                continue
            replaced = self.texts(pl.concat([part.alias("text") for part in parts if part is not None]), paths=paths)
            excerpts = {(type_, text): said for type_, some in replaced.examples.items() for text, said in some}
            begin = 0
            for place in chosen:
                name, texts, rows = gathered[place]
                new = replaced.texts[begin : begin + len(texts)].alias(texts.name)
                begin += len(texts)
                ids = kept[place]
                changed[place] = new if ids is None else texts.zip_with(ids.is_null(), new)
                if not replaced.found:
                    continue
                # Python sees only the texts in which something was found.
                hits = texts.is_in(pl.Series(list(replaced.found), dtype=pl.String).implode()).fill_null(False)
                for flat in hits.arg_true().to_list():
                    text = texts[flat]
                    for type_, count in sorted(replaced.found[text].items()):
                        example = excerpts.get((type_, text)) if shown[type_] < _EXAMPLES else None
                        shown[type_] += example is not None
                        found.append((int(rows[flat]), name, type_, count, example))
        counted = pl.DataFrame(found, schema=FOUND, orient="row")
        return [changed[place] for place in range(len(gathered))], counted


def _is_id(name: str) -> bool:
    return name in _IDS


def _no_id(texts: pl.Series) -> pl.Series:
    """The texts of a column of ids that are none: ids are hashes, and no hash is personal data."""
    frame = texts.to_frame("text")
    return frame.select(pl.when(~pl.col("text").str.contains(_ID)).then("text")).to_series()


def _looked_up(texts: pl.Series, old: pl.Series, new: pl.Series) -> pl.Series:
    """`texts` with each of `old` as `new`."""
    differs = old != new
    if not differs.any():
        return texts
    pairs = pl.DataFrame({"old": old, "new": new}).filter(differs)
    frame = texts.to_frame("old").join(pairs, on="old", how="left", maintain_order="left")
    return frame.select(pl.coalesce("new", "old").alias(texts.name)).to_series()


def _walked(
    series: pl.Series,
    name: str,
    rows: np.ndarray[Any, np.dtype[np.int64]],
    visit: Callable[[str, pl.Series, np.ndarray[Any, np.dtype[np.int64]]], pl.Series],
) -> pl.Series:
    """`series` with what `visit(name, texts, rows)` makes of the texts at every depth, all of one name end to end;
    `rows` says which row each lies in."""
    if isinstance(series.dtype, pl.List):
        lengths = series.list.len().fill_null(0).to_numpy()
        flat = series.explode(empty_as_null=False, keep_nulls=False)
        inner = _walked(flat, name, np.repeat(rows, lengths), visit)
        if inner is flat:
            return series
        offsets = np.zeros(len(series) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        null = series.is_null() if series.null_count() else None
        whole = pl.from_arrow(lists(offsets, inner.to_arrow(compat_level=pl.CompatLevel.newest()), null))
        assert isinstance(whole, pl.Series)
        return whole.alias(series.name)
    if isinstance(series.dtype, pl.Struct):
        parts = series.struct.unnest()
        walked = [_walked(parts[part], f"{name}.{part}", rows, visit) for part in parts.columns]
        if all(new is parts[part] for new, part in zip(walked, parts.columns, strict=True)):
            return series
        return parts.with_columns(walked).to_struct(series.name)
    return visit(name, series, rows) if series.dtype == pl.String else series


# ── what a text is made of ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Node:
    """A text that is looked at as it stands, or one made of parts, between which nothing is looked at."""

    text: str
    before: str = ""
    """What stands before the text while it is looked at: the key it has in JSON."""
    parts: list[_Part] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def leaves(self) -> Iterator[_Node]:
        """The texts that are looked at, in order."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.node.leaves()

    def written(self, instead: Callable[[str, str], str]) -> str:
        """The text with `instead(type, value)` for every finding."""
        if not self.parts:
            return self.piece(0, len(self.text), self.spans, instead)
        pieces, end = [], 0
        keys = Keys()
        for part in self.parts:
            new = part.node.written(instead) if any(leaf.spans for leaf in part.node.leaves()) else part.node.text
            pieces += [self.text[end : part.begin], part.written(self.text, new, keys)]
            end = part.end
        return "".join([*pieces, self.text[end:]])

    def piece(self, begin: int, end: int, spans: Iterable[Span], instead: Callable[[str, str], str]) -> str:
        """The text from `begin` to `end` with `instead(type, value)` for each of the findings in it, in order."""
        pieces = []
        for span in spans:
            old = self.text[span.begin : span.end]
            new = instead(span.type, old)
            if "\\" in old:  # part of a JSON string, or of a program's, that stands in the text
                new = json.dumps(new, ensure_ascii=False)[1:-1]
            if not _NUMBER.fullmatch(new) and self._is_bare(span):
                new = f'"{new}"'
            pieces += [self.text[begin : span.begin], new]
            begin = span.end
        return "".join([*pieces, self.text[begin:end]])

    def _is_bare(self, span: Span) -> bool:
        """Whether a finding is a number in JSON that stands in a text: `"phone": 13812345678`."""
        return (
            self.text[span.begin : span.end].isdigit()
            and _BARE.search(self.text[max(span.begin - 20, 0) : span.begin]) is not None
            and _AFTER_BARE.match(self.text, span.end) is not None
        )


@dataclass
class _Part:
    """A part of a text: where it stands, and what it is there."""

    begin: int
    end: int
    kind: Literal["text", "string", "key", "number"]
    node: _Node

    def written(self, whole: str, new: str, keys: Keys) -> str:
        """What stands in its place for its new text."""
        old = whole[self.begin : self.end]
        if self.kind == "key":
            new = keys.new(self.node.text, new)
        if new == self.node.text:
            return old
        if self.kind == "text":
            return new
        if self.kind == "number" and _NUMBER.fullmatch(new):
            return new + old[len(self.node.text) :]
        return json.dumps(new, ensure_ascii="\\u" in old and old.isascii())


class Keys:
    """Names as they were and as they are written: no two different ones become one."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}
        self._taken: dict[str, int] = {}

    def new(self, old: str, wanted: str) -> str:
        """What is written for a name, which would be `wanted`."""
        if old not in self._written:
            name = wanted
            while name in self._taken:
                self._taken[wanted] += 1
                name = f"{wanted}-{self._taken[wanted]}"
            self._taken[name] = 1
            self._written[old] = name
        return self._written[old]


def _nodes(texts: pl.Series) -> list[_Node]:
    structured = texts.str.contains(_STRUCTURED)
    return [
        _parsed(text, "", _NESTED) if has else _Node(text)
        for text, has in zip(texts.to_list(), structured.to_list(), strict=True)
    ]


def _parsed(text: str, before: str, depth: int) -> _Node:
    """A text taken apart where it is JSON or holds code blocks of JSON."""
    if depth and text.lstrip()[:1] in ("{", "[") and _is_json(text):
        return _Node(text, before, _tokens(text, depth))
    parts, end = [], 0
    if depth and "```" in text:
        for begin, after in _fences(text):
            if _is_json(text[begin:after]):
                parts += [_Part(end, begin, "text", _Node(text[end:begin])) for _ in range(end < begin)]
                parts.append(_Part(begin, after, "text", _parsed(text[begin:after], "", depth)))
                end = after
    if parts and end < len(text):
        parts.append(_Part(end, len(text), "text", _Node(text[end:])))
    return _Node(text, before, parts)


def _fences(text: str) -> Iterator[tuple[int, int]]:
    """Where the insides of code blocks that may be JSON begin and end."""
    place = 0
    while found := _FENCE.search(text, place):
        end = text.find("```", found.end())
        if end < 0:
            return
        yield found.end(), end
        place = end + 3


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _tokens(text: str, depth: int) -> list[_Part]:
    """The strings and longer numbers of JSON that is known to be right."""
    parts, key = [], ""
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0] != '"':
            plain = token.removesuffix(".0")  # how a spreadsheet writes a telephone number
            if len(plain) >= _SHORTEST_NUMBER:
                parts.append(_Part(found.start(), found.end(), "number", _Node(plain, key)))
            continue
        said = orjson.loads(token)
        if _COLON.match(text, found.end()):
            key = f"{said}: "
            parts.append(_Part(found.start(), found.end(), "key", _Node(said)))
        elif said:
            parts.append(_Part(found.start(), found.end(), "string", _parsed(said, key, depth - 1)))
    return parts


# ── what a text hides ────────────────────────────────────────────────────────────────────────────────────────────────


class _Offsets:
    """Where characters of a text that was read stand in the text as written."""

    def __init__(self, read: Sequence[int], begins: Sequence[int], ends: Sequence[int]) -> None:
        """The character read at each of the places `read`, in order, was written from `begins` to `ends`; those behind
        it, to the next place, as they are."""
        self._read, self._begins, self._ends = read, begins, ends

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """A span of what was read, as written."""
        return self._of(begin)[0], self._of(end - 1)[1]

    def _of(self, place: int) -> tuple[int, int]:
        nearest = bisect_right(self._read, place) - 1
        if nearest < 0:
            return place, place + 1
        begin, end = self._begins[nearest], self._ends[nearest]
        beyond = place - self._read[nearest]
        return (begin, end) if beyond == 0 else (end + beyond - 1, end + beyond)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _behind_escape(text: str, begin: int) -> int:
    """`begin`, or where an escape ends that it lies in: in `\\nbob@corp.com` bob is written to, not nbob."""
    for found in _HIDDEN_PY.finditer(text, max(begin - _LONGEST_ESCAPE, 0), begin + _LONGEST_ESCAPE):
        if found.start() < begin < found.end():
            return found.end()
    return begin


_NAMED = {"n": "\n", "r": "\r", "t": "\t"}


def _read(text: str) -> tuple[str, _Offsets]:
    """`text` as it is meant, and where what it says stands."""
    pieces: list[str] = []
    read: list[int] = []
    begins: list[int] = []
    ends: list[int] = []
    length = last = 0
    known: dict[str, str] = {}
    for found in _HIDDEN_PY.finditer(text):
        hidden = found[0]
        said = known.get(hidden)
        if said is None:
            said = known[hidden] = _meant(hidden)
        begin, end = found.span()
        if begin > last:
            pieces.append(text[last:begin])
            if last:  # what stands between two of them, from its first character on
                read.append(length)
                begins.append(last)
                ends.append(last + 1)
            length += begin - last
        if said:
            pieces.append(said)
            read.append(length)
            begins.append(begin)
            ends.append(end)
            length += 1
        last = end
    if last < len(text):
        pieces.append(text[last:])
        read.append(length)
        begins.append(last)
        ends.append(last + 1)
    return "".join(pieces), _Offsets(read, begins, ends)


def _meant(hidden: str) -> str:
    if hidden[0] == "\\":
        if hidden[1] in "ux":
            char = chr(int(hidden[2:], 16))
            return char if not "\ud800" <= char <= "\udfff" else "?"
        return _NAMED.get(hidden[1], hidden[1])
    if hidden[0] == "%":
        return chr(int(hidden[1:], 16))
    if hidden[0] == "&":
        return html.unescape(hidden)[:1] or "?"
    return ""


def _settled(spans: Sequence[Span]) -> list[Span]:
    """Findings in order; those that overlap become one, of the longest one's type, and of two alike the later's."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.begin, -one.end)):
        if found and span.begin < found[-1].end:
            last = found.pop()
            longest = max(span, last, key=lambda one: one.end - one.begin)
            span = Span(last.begin, max(last.end, span.end), longest.type)
        found.append(span)
    return found


def _excerpt(node: _Node, type_: str) -> str:
    """An excerpt around the first finding of a type, every finding as a tag."""
    leaf = next(leaf for leaf in node.leaves() if any(span.type == type_ for span in leaf.spans))
    first = next(place for place, span in enumerate(leaf.spans) if span.type == type_)
    begin, end = leaf.spans[first].begin - _AROUND, leaf.spans[first].end + _AROUND
    before, behind = leaf.spans[:first], leaf.spans[first + 1 :]
    low = next((place for place, span in enumerate(before) if span.end > begin), first)
    high = first + 1 + next((place for place, span in enumerate(behind) if span.begin >= end), len(behind))
    begin = max(min([begin, *(span.begin for span in leaf.spans[low : low + 1])]), 0)
    end = min(max([end, leaf.spans[high - 1].end]), len(leaf.text))
    said = leaf.piece(begin, end, leaf.spans[low:high], lambda kind, _: f"<{kind}>")
    cut = ("…" if begin else leaf.before) + said + ("…" if end < len(leaf.text) else "")
    return excerpt(cut, 4 * _AROUND)
