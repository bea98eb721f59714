"""JSON documents: an array of objects, an object that holds one, or objects one after another; also JSON Lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from curate.files import (
    MAX_ROW_BYTES,
    TOO_DEEP,
    Block,
    Importer,
    InputFile,
    Stream,
    detect_encoding,
    ending_block,
    parse_json,
    reject,
    too_large,
    utf8_chunks,
)
from curate.importers.jsonl import JsonLines
from schemas.dataset import HELD_CHARS
from schemas.errors import Rejected
from schemas.formats import FORMATS, plan_for

_SPACE = re.compile(r"[ \t\r\n,\x00\ufeff]*")
_NEXT_OBJECT = re.compile(r"[}\]]\s*,?\s*(?=\{)")
_STRING = r'"(?:[^"\\]++|\\.)*+"'
_LIST_OF_OBJECTS = re.compile(
    rf"(\{{(?:\s*{_STRING}\s*:\s*(?:{_STRING}|[-+.\w]+)\s*,)*+)\s*({_STRING})\s*:\s*\[\s*(?=\{{)", re.S
)
_HEAD = 1 << 16


class JsonDocument(Importer):
    """Reads a JSON array of any size in bounded memory."""

    suffixes: ClassVar = (".json",)

    def blocks(self, file: InputFile) -> Iterator[Block]:
        encoding = file.encoding or detect_encoding(file.path)
        head = _head(file, encoding)
        if _is_lines(head) and not _holds_rows(head.lstrip("\ufeff \t\r\n"), 0):
            yield from JsonLines().blocks(InputFile(file.path, file.name, file.source, encoding))
            return
        yield from _Document(file, encoding).blocks()


def _head(file: InputFile, encoding: str) -> str:
    chunk = next(utf8_chunks(Stream(file.path), encoding), b"")
    return chunk[:_HEAD].decode("utf-8", errors="replace")


def _is_lines(head: str) -> bool:
    """Whether a document's beginning is JSON Lines: its first line is a whole object, or the second begins one."""
    stripped = head.lstrip("\ufeff \t\r\n")
    if not stripped.startswith("{"):
        return False
    lines = [line.strip() for line in stripped.split("\n", 3)[:2]]
    try:
        json.loads(lines[0])
    except (ValueError, RecursionError):
        return len(lines) > 1 and lines[0].endswith("}") and lines[1].startswith("{")
    return True


class _Document:
    """A sliding window of decoded text, from which elements are taken one by one."""

    def __init__(self, file: InputFile, encoding: str) -> None:
        self.file = file
        self.stream = Stream(file.path)
        self.chunks = utf8_chunks(self.stream, encoding)
        self.tail = b""
        self.text = ""
        self.at = 0
        self.line = 1
        self.indent: str | None = None
        """What stands before the coming element on its line; None if that is not just space."""
        self.known: set[str] = set()
        """Keys of the last good row."""
        self.ended = False
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        chunk = next(self.chunks, None)
        if chunk is None:
            self.ended = True
            rest, self.tail = self.tail, b""
            if not rest:
                return False
            data = rest
        else:
            data = self.tail + chunk
            # Keep an unfinished character for the next chunk.
            keep = next((less for less in range(1, 4) if less <= len(data) and data[-less] >= 0xC0), 0)
            whole = not keep or _finished(data[-keep:])
            self.tail = b"" if whole else data[-keep:]
            data = data if whole else data[:-keep]
        # Bytes that are no text become lone surrogates, which make just their own object invalid.
        self.text = self.text[self.at :] + data.decode("utf-8", errors="surrogateescape")
        self.at = 0
        return True

    def skip(self) -> str:
        """The next character that matters, or '' at the end."""
        space = ""
        while True:
            end = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            space += self.text[self.at : end]
            self.at = end
            if end < len(self.text) or not self.more():
                break
        self.line += space.count("\n")
        _, newline, indent = space.rpartition("\n")
        self.indent = indent if newline and not indent.strip() else None
        return self.text[self.at : self.at + 1]

    def element(self) -> tuple[int, Any]:
        """Line and value of the element that begins here. Raises Rejected, standing behind it."""
        line = self.line
        while True:
            try:
                _, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                unfinished = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - 16
                too_long = len(self.text) - self.at > MAX_ROW_BYTES
                if unfinished and not self.ended and not too_long and self.more():
                    continue
                if unfinished and self.ended:
                    why = Rejected("truncated_file", f"the file ends in the middle of it: {error.msg}")
                elif unfinished and too_long:
                    why = too_large("object")
                else:
                    why = Rejected("bad_json", f"not valid JSON: {error.msg}")
                raise self._resynchronised(why) from None
            except RecursionError:
                raise self._resynchronised(Rejected("too_deep", TOO_DEEP)) from None
            break
        raw, begin = self.text[self.at : end], self.at
        self.line += self.text.count("\n", begin, end)
        self.at = end
        if len(raw) > MAX_ROW_BYTES:
            raise _Held(too_large("object"), raw)
        try:
            return line, parse_json(raw.encode("utf-8", "surrogateescape"))
        except Rejected as why:
            raise _Held(why, raw) from None

    def _resynchronised(self, why: Rejected) -> Rejected:
        """The refusal with what was skipped to reach the next object."""
        begin, held = self.at, ""
        while True:
            found = self._next()
            held = held or self.text[begin : (found or len(self.text))][: HELD_CHARS + 1]
            if found:
                self.line += self.text.count("\n", self.at, found)
                self.at = found
                return _Held(why, held)
            keep = max(self.at, len(self.text) - 1 - len(self.indent or ""))
            self.line += self.text.count("\n", self.at, keep)
            self.at = keep
            if not self.more():
                self.line += self.text.count("\n", self.at)
                self.at = len(self.text)
                return _Held(why, held)
            begin = self.at

    def _next(self) -> int | None:
        """Where the next object begins that is a neighbour of this one and does not stand inside of it, if in view.

        It stands under this one, where each has a line of its own, or has a column in common with the last good row.
        """
        below = None
        if self.indent is not None:
            below = re.compile(rf"\n{self.indent}(?:,[ \t]*)?(?=\{{)").search(self.text, self.at + 1)
        end = below.end() if below else len(self.text)
        for found in _NEXT_OBJECT.finditer(self.text, self.at + 1, end):
            try:
                row, _ = self.decoder.raw_decode(self.text, found.end())
            except (ValueError, RecursionError):
                row = {}
            if self.known & row.keys() or (self.indent is None and not (self.known and row)):
                return found.end()
        return below.end() if below else None

    def blocks(self) -> Iterator[Block]:
        first = self.skip()
        if first == "[":
            self.at += 1
            yield from self._elements("]")
        elif first == "{" and _holds_rows(self.text, self.at):
            yield from self._members()
        yield from self._elements("")
        ending = ending_block(self.file, self.stream, self.line)
        if ending:
            yield ending

    def _elements(self, closing: str, part: str | None = None) -> Iterator[Block]:
        """The rows up to `closing`, or to the end of the file."""
        block = Block(part=part)
        while True:
            first = self.skip()
            if first == "":
                break
            if first in ("]", "}"):
                self.at += 1
                if first == closing:
                    closing = ""
                    break
                continue
            line = self.line
            try:
                line, row = self.element()
                if type(row) is not dict:
                    said = json.dumps(row, ensure_ascii=False)
                    raise _Held(Rejected("not_an_object", "the element is not a JSON object"), said)
            except _Held as why:
                block.rejects.append(reject(self.file, line, why.why, why.held))
            else:
                block.rows.append(row)
                block.lines.append(line)
                self.known = set(row)
            if block.full():
                block.bytes_read = self.stream.bytes_read
                yield block
                block = Block(part=part)
        cut = any(one.reason == "truncated_file" for one in block.rejects[-1:])
        if closing and not self.stream.problem and not cut:
            why_cut = Rejected("truncated_file", "the list has no end; the rows before were read")
            block.rejects.append(reject(self.file, self.line, why_cut))
        block.bytes_read = self.stream.bytes_read
        yield block

    def _members(self) -> Iterator[Block]:
        """The rows in the lists of an object, each list a part of the file. What else it says is passed over."""
        self.at += 1
        while self.skip() == '"':
            try:
                _, key = self.element()
                if self.skip() != ":":
                    return
                self.at += 1
                if self.skip() == "[" and self._begins_object():
                    self.at += 1
                    yield from self._elements("]", key)
                else:
                    self.element()
            except _Held as why:
                yield Block(rejects=[reject(self.file, self.line, why.why, why.held)])
                return
        self.at += self.text.startswith("}", self.at)

    def _begins_object(self) -> bool:
        """Whether the list that begins here holds objects."""
        while not (found := re.compile(r"\[\s*(\S)").match(self.text, self.at)) and self.more():
            pass
        return found is not None and found[1] == "{"


def _finished(tail: bytes) -> bool:
    """Whether bytes that begin with a leading byte are a whole character (or can never become one)."""
    lead = tail[0]
    return len(tail) >= (4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2)


class _Held(Rejected):
    """A refusal with the text it is about."""

    def __init__(self, why: Rejected, held: str) -> None:
        super().__init__(why.reason, why.detail)
        self.why = why
        self.held = held[: HELD_CHARS + 1]


def _holds_rows(text: str, at: int) -> bool:
    """Whether the only object in some text is no row itself, but holds lists of rows, as in {"data": [{...}, ...]}."""
    found = _LIST_OF_OBJECTS.match(text, at)
    if found is None:
        return False
    try:
        beside = json.loads(found[1].rstrip(", \t\r\n") + "}")
        key = json.loads(found[2])
    except ValueError:
        return False
    if key.strip().lower() in _FIELDS or plan_for(beside) is not None:
        return False
    decoder = json.JSONDecoder()
    try:
        first, _ = decoder.raw_decode(text, found.end())
        if {"role", "from", "human"} & first.keys():
            return False
        _, end = decoder.raw_decode(text, at)
    except (ValueError, RecursionError):
        return True  # it does not end in view
    return not text[end:].strip(" \t\r\n,\x00\ufeff")


_FIELDS = frozenset(name for form in FORMATS.values() for field, more in form.fields.items() for name in (field, *more))
"""Columns that a row may have: a list in one of them is no list of rows."""
