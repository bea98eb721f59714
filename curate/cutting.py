"""Cutting pieces out of the texts of rows, with the white space around them mended (pure)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from curate.arrays import column_array
from curate.marks import content_hashes
from schemas.chat import TURN_SEPARATOR
from schemas.rows import columns, content_columns

CUTS = {"ordinal": pl.Int64(), "field": pl.String(), "begin": pl.Int64(), "end": pl.Int64()}
"""Columns of what is cut out: a row, the field looked at, and where in the UTF-8 bytes of that field's text."""

_SENTENCE = re.compile(r"[^\n.!?。！？]*[\n.!?。！？]*")
_MOST_COMPARED = 500


def without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """`text` without some parts of it, in order, given in UTF-8 bytes. What stood on both sides of a part is parted by
    as many line ends as the wider of the two gaps had, or a space if there was white space; the text's edges have none.
    """
    data = text.encode()
    kept, at = [], 0
    for begin, end in spans:
        kept.append(data[at:begin].decode())
        at = max(at, end)
    kept.append(data[at:].decode())
    made = kept[:1]
    for place, piece in enumerate(kept[1:], 2):
        if piece.strip() or place == len(kept):
            made[-1:] = _joined(made[-1], piece)
    return "".join(made)


def _joined(left: str, right: str) -> list[str]:
    """The two sides of a cut, and what is to be between them."""
    before, after = left.rstrip(), right.lstrip()
    gap_before, gap_after = left[len(before) :], right[: len(right) - len(after)]
    if not after:
        return [before]
    # What goes on behind the cut keeps its indentation: that of its own line, or of the line that the cut began.
    indent = (gap_after if "\n" in gap_after else gap_before).rpartition("\n")[2]
    if not before:
        return [indent + after if "\n" in gap_after else after]
    wider = max(gap_after, gap_before, key=lambda gap: gap.count("\n"))
    if "\n" not in wider:
        return [before, " " if gap_before or gap_after else "", after]
    return [before, wider[: wider.rfind("\n") + 1] + indent, after]


def _turns(messages: list[dict[str, Any]], role: str | None = None) -> list[dict[str, Any]]:
    return [one for one in messages or [] if one["content"] is not None and (role is None or one["role"] == role)]


def pieces(kind: str, name: str, row: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """The texts that a field of a row is made of, in order, each as a dict and the key in it; joined by
    TURN_SEPARATOR they are what `schemas.chat.field` gives."""
    if kind == "text":
        return [(row, "text")] if name in ("answer", "conversation", "text") and row["text"] is not None else []
    turns: list[dict[str, Any]] = []
    if kind == "chat":
        messages = row["messages"] or []
        if name in ("instruction", "answer"):
            turns = _turns(messages, "user" if name == "instruction" else "assistant")[-1:]
        elif name == "prompt":
            turns = _turns(messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages)
        elif name in ("conversation", "text"):
            turns = _turns(messages)
    elif kind in ("preference", "candidates"):
        answers = row.get("answers") or []
        better = row["chosen"] if kind == "preference" else answers[0]["messages"] if answers else []
        every = [row["chosen"]] if kind == "preference" else [one["messages"] for one in answers]
        if name == "instruction":
            turns = _turns(row["prompt"], "user")[-1:]
        elif name == "prompt":
            turns = _turns(row["prompt"])
        elif name == "answer" or (kind == "preference" and name == "chosen"):
            turns = _turns(better)
        elif kind == "preference" and name == "rejected":
            turns = _turns(row["rejected"])
        elif name in ("conversation", "text"):
            turns = [turn for messages in (row["prompt"], *every) for turn in _turns(messages)]
    return [(turn, "content") for turn in turns]


def _cut(kind: str, name: str, row: dict[str, Any], spans: Sequence[tuple[int, int]]) -> bool:
    """Cut parts out of a field of a row, in place; whether anything changed. A turn that would be left with nothing
    stays as it was, because a conversation with an empty turn is none."""
    changed = False
    first = 0
    for holder, key in pieces(kind, name, row):
        text = holder[key]
        after = first + len(text.encode())
        here = [(max(begin, first) - first, min(end, after) - first) for begin, end in spans if begin < after]
        left = without(text, [(begin, end) for begin, end in here if begin < end])
        if left != text and left.strip():
            holder[key] = left
            changed = True
        first = after + len(TURN_SEPARATOR)
    return changed


def cut_out(frame: pl.DataFrame, kind: str, cuts: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """`frame` (with `ordinal`, ascending) with parts of its rows' texts cut out, and how many rows changed."""
    here = cuts.filter(pl.col("ordinal").is_in(frame["ordinal"].implode())).sort("ordinal", "field", "begin")
    if here.is_empty():
        return frame, 0
    names = list(content_columns(kind))
    touched = here["ordinal"].unique(maintain_order=True)
    some = frame.filter(pl.col("ordinal").is_in(touched.implode()))
    rows = dict(zip(touched.to_list(), some.select(names).to_dicts(), strict=True))
    changed: dict[int, None] = {}
    for ordinal, name, spans in _by_field(here):
        if _cut(kind, name, rows[ordinal], spans):
            changed[ordinal] = None
    if not changed:
        return frame, 0
    own = columns(kind)
    made = {name: column_array([row[name] for row in rows.values()], own[name]) for name in names}
    after = some.with_columns(pl.Series(name, pl.from_arrow(values), dtype=own[name]) for name, values in made.items())
    after = after.with_columns(pl.Series("content_hash", content_hashes(after, kind), dtype=pl.String))
    rest = frame.filter(~pl.col("ordinal").is_in(touched.implode()))
    return pl.concat([rest, after]).sort("ordinal"), len(changed)


def _by_field(cuts: pl.DataFrame) -> Iterator[tuple[int, str, list[tuple[int, int]]]]:
    grouped = cuts.group_by("ordinal", "field", maintain_order=True).agg("begin", "end")
    for ordinal, name, begins, ends in grouped.iter_rows():
        yield ordinal, name, list(zip(begins, ends, strict=True))


def cut_parts(before: dict[str, Any], after: dict[str, Any], kind: str) -> list[str]:
    """What of a row's texts is not there any more, sentence by sentence; of a long row the whole stretch between the
    first and the last difference."""
    found: list[str] = []
    for name in ("conversation", "rejected"):
        for (one, key), (other, _) in zip(pieces(kind, name, before), pieces(kind, name, after), strict=False):
            found += _missing(_SENTENCE.findall(one[key]), _SENTENCE.findall(other[key]))
    return found


def _missing(before: list[str], after: list[str]) -> list[str]:
    said = [part for part in before if part.strip()]
    one, other = ([part.strip() for part in parts if part.strip()] for parts in (before, after))
    first = 0
    while first < min(len(one), len(other)) and one[first] == other[first]:
        first += 1
    last = 0
    while last < min(len(one), len(other)) - first and one[-1 - last] == other[-1 - last]:
        last += 1
    said, one, other = (parts[first : len(parts) - last] for parts in (said, one, other))
    if max(len(one), len(other)) > _MOST_COMPARED:
        return ["".join(said).strip()]
    changes = difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    return ["".join(said[i:j]).strip() for tag, i, j, _, _ in changes if tag != "equal" and i < j]
