"""How texts are split into words for search, and how a search is read. Pure.

The words are those of SQLite's own tokenizer, with one exception: in scripts that put no spaces between words each
character is a word of its own. A run of them is looked for as a phrase, so 退款 finds 申请退款的流程 and not 款退.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

EVERY = "every"
"""Column that holds the same word in every row, so that a search can ask for all but some."""

PIECE = "\ue000"
"""Stands between the messages of a chat as a word of its own, so that no phrase reaches from one into the next."""

MAX_CHARS = 2_000
"""A longer search is refused."""

MAX_WORDS = 100
"""A search of more words and phrases is refused; each costs a look-up."""

_MAX_DEPTH = 20

# Han with its extensions, kana, bopomofo, Thai, Lao, Burmese and Khmer: written without spaces between words.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uaa60-\uaa7f\uf900-\ufaff\U00020000-\U0003ffff])"
)
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0: 0x20}
_LEAF = re.compile(r'"([^"]*)"?|([^\s"()|]+)')
_SLOP = re.compile(r"~\d*$")


class BadSearch(ValueError):  # noqa: N818 - a verdict on what was asked
    """What was asked for cannot be searched for; says why."""


def spaced(text: str) -> str:
    """A text as SQLite's tokenizer finds our words in it: full-width Latin made plain, characters set apart."""
    plain = text.translate(_HALF_WIDTH).encode("utf-8", "replace").decode("utf-8")
    return _UNSPACED.sub(r" \1 ", plain)


def words_of_field(value: Any) -> str:
    """The searchable text of one field of a record: a text, a chat (what was said, not by whom) or a custom object."""
    if isinstance(value, str):
        return spaced(value)
    if isinstance(value, list) and all(isinstance(turn, dict) and "content" in turn for turn in value):
        pieces: list[Any] = [turn["content"] for turn in value]
    else:
        pieces = [value]
    found: list[str] = []
    while pieces:
        piece = pieces.pop()
        if isinstance(piece, dict):
            pieces.extend(piece.values())
        elif isinstance(piece, list):
            pieces.extend(piece)
        elif piece is not None and not isinstance(piece, bool):
            found.append(spaced(str(piece)))
    return f" {PIECE} ".join(reversed(found))


@dataclass(frozen=True)
class _Node:
    """Part of a search as SQLite reads it; `negative`: what it must not match."""

    match: str
    negative: bool = False


def match_expression(query: str, columns: list[str]) -> str | None:
    """A search as FTS5 reads it, over some of the columns; "" if nothing was asked, None if nothing can be found.

    Read as Argilla's engines read it: words are joined by AND, `|` is OR, `-` is NOT, "..." a phrase, a final `*` any
    ending, with parentheses; operators apply from left to right. Whatever else is in it is text, never an error.
    Raises BadSearch when it is too long.
    """
    if len(query) > MAX_CHARS:
        raise BadSearch(f"a search of more than {MAX_CHARS} characters")
    if not query.strip():
        return ""
    reader = _Reader(query.translate(_HALF_WIDTH), "{" + " ".join(columns) + "}")
    node = reader.group(0)
    if node is None:
        return None
    return _not(node) if node.negative else node.match


class _Reader:
    """Reads a search once from left to right."""

    def __init__(self, query: str, columns: str) -> None:
        self.query = query
        self.columns = columns
        self.place = 0
        self.words = 0

    def group(self, depth: int) -> _Node | None:
        """What stands up to a closing parenthesis, or the end."""
        found: _Node | None = None
        either = negative = False
        while self.place < len(self.query):
            char = self.query[self.place]
            if char == ")":
                self.place += 1
                if depth:
                    break
            elif char.isspace():
                self.place += 1
                negative = False  # a dash that stands alone is a dash
            elif char == "+":
                self.place += 1
            elif char == "|":
                self.place += 1
                either = True
            elif char == "-":
                self.place += 1
                negative = not negative
            else:
                node = self.operand(depth)
                if node is not None:
                    node = _Node(node.match, node.negative != negative)
                    found = node if found is None else _joined(found, node, either=either)
                either = negative = False
        return found

    def operand(self, depth: int) -> _Node | None:
        if self.query[self.place] == "(":
            self.place += 1
            if depth >= _MAX_DEPTH:
                raise BadSearch(f"a search with more than {_MAX_DEPTH} parentheses in one another")
            return self.group(depth + 1)
        match = _LEAF.match(self.query, self.place)
        assert match is not None
        self.place = match.end()
        text = match[1] if match[2] is None else _SLOP.sub("", match[2])
        ending = text.endswith("*") and match[2] is not None
        words = spaced(text.rstrip("*") if ending else text)
        if not any(map(_in_word, words)):
            return None
        self.words += 1
        if self.words > MAX_WORDS:
            raise BadSearch(f"a search for more than {MAX_WORDS} words and phrases")
        quoted = words.replace('"', " ")
        return _Node(f'{self.columns} : "{quoted}"{" *" if ending else ""}')


def _in_word(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LNM" or category in ("So", "Co")


def _joined(left: _Node, right: _Node, *, either: bool) -> _Node:
    if either:
        return _Node(f"({_positive(left)} OR {_positive(right)})")
    if left.negative and right.negative:
        return _Node(f"({left.match} OR {right.match})", negative=True)
    if left.negative:
        left, right = right, left
    return _Node(f"({left.match} {'NOT' if right.negative else 'AND'} {right.match})")


def _positive(node: _Node) -> str:
    return _not(node) if node.negative else node.match


def _not(node: _Node) -> str:
    return f"({EVERY} : x NOT {node.match})"
