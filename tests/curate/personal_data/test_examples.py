"""What is found in texts written by hand as people type: by type, with values that look alike and are none."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import pytest
import regex

from curate.personal_data.analyzer import ENTITIES
from curate.personal_data.detect import Detector
from schemas.excerpt import mask

_MARKED = regex.compile("⟦(.*?)⟧")
_NOTHING = "none"


@dataclass(frozen=True)
class Example:
    """A text, the type that is looked for in it (`none`: any type), and where its values are."""

    type: str
    text: str
    spans: tuple[tuple[int, int], ...]


def _read(line: str) -> Example:
    kind, _, marked = line.partition("\t")
    text, spans, end = "", [], 0
    for found in _MARKED.finditer(marked):
        text += marked[end : found.start()]
        spans.append((len(text), len(text) + len(found[1])))
        text, end = text + found[1], found.end()
    return Example(kind, text + marked[end:], tuple(spans))


def _examples() -> list[Example]:
    """`type<TAB>text`, values in ⟦⟧; all invented, of areas and banks that do not exist where possible."""
    lines = Path(__file__).with_name("examples.tsv").read_text(encoding="utf-8").splitlines()
    return [_read(line) for line in lines]


@cache
def _found() -> dict[str, set[tuple[int, str, int, int]]]:
    """By type: place of the example, type, begin and end of what is found."""
    findings = Detector().find(pl.Series([example.text for example in _examples()]))
    found: dict[str, set[tuple[int, str, int, int]]] = defaultdict(set)
    for place, begin, end, kind, _ in findings.iter_rows():
        found[kind].add((place, kind, begin, end))
    return found


def test_there_are_enough_examples() -> None:
    examples = _examples()

    kinds = {example.type for example in examples}
    assert len(examples) >= 600
    assert len({example.text for example in examples}) == len(examples)
    assert kinds - {_NOTHING} <= set(ENTITIES)
    for kind in kinds - {_NOTHING}:
        assert any(not example.spans for example in examples if example.type == kind), f"no hard negative for {kind}"


@pytest.mark.parametrize("kind", sorted({example.type for example in _examples()} - {_NOTHING}))
def test_values_of_a_type_are_found_exactly_and_nothing_else_is(kind: str) -> None:
    here = [(place, example) for place, example in enumerate(_examples()) if example.type == kind]
    wanted = {(place, kind, *span) for place, example in here for span in example.spans}

    found = {one for one in _found()[kind] if _examples_of(one[0]) == kind}

    recall, precision = len(found & wanted) / len(wanted), len(found & wanted) / max(1, len(found))
    print(f"{kind}: recall {recall:.3f} of {len(wanted)}, precision {precision:.3f} of {len(found)}")
    assert recall >= 0.95, sorted(wanted - found)
    assert precision >= 0.95, sorted(found - wanted)


def test_nothing_is_found_where_numbers_are_nobodys() -> None:
    here = {place for place, example in enumerate(_examples()) if example.type == _NOTHING}

    found = [one for several in _found().values() for one in several if one[0] in here]

    assert found == []


@cache
def _types() -> list[str]:
    return [example.type for example in _examples()]


def _examples_of(place: int) -> str:
    return _types()[place]


@pytest.mark.parametrize("kind", sorted({example.type for example in _examples()} - {_NOTHING}))
def test_what_is_found_is_masked_wherever_a_row_is_shown(kind: str) -> None:
    examples = [example for example in _examples() if example.type == kind and example.spans]

    shown = {example.text: mask(example.text) for example in examples}

    assert [text for text, masked in shown.items() if masked == text] == []
    values = [(example.text[begin:end], shown[example.text]) for example in examples for begin, end in example.spans]
    assert [value for value, masked in values if value in masked] == []
