"""JSON documents: an array of objects, an object that holds one, or objects one after another; also JSON Lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from curate.files import (
    MAX_ROW_BYTES,
    Block,
    Importer,
    InputFile,
    Stream,
    detect_encoding,
    ending_block,
    parse_json,
    reject,
    utf8_chunks,
)
from curate.importers.jsonl import JsonLines
from schemas.dataset import HELD_CHARS
from schemas.errors import Rejected

_SPACE = re.compile(r"[ \t\r\n,\x00\ufeff]*")
_NEXT_OBJECT = re.compile(r"\}\s*,?\s*(?=\{)")
_HEAD = 1 << 16


class JsonDocument(Importer):
    """Reads a JSON array of any size in bounded memory."""

    suffixes: ClassVar = (".json",)

    def blocks(self, file: InputFile) -> Iterator[Block]:
        encoding = file.encoding or detect_encoding(file.path)
        head = _head(file, encoding)
        if _is_lines(head):
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
        while True:
            end = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            self.line += self.text.count("\n", self.at, end)
            self.at = end
            if end < len(self.text):
                return self.text[end]
            if not self.more():
                return ""

    def element(self) -> tuple[int, Any]:
        """Line and value of the element that begins here. Raises Rejected, standing behind it."""
        line = self.line
        while True:
            try:
                _, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                unfinished = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - 16
                if unfinished and not self.ended and len(self.text) - self.at <= MAX_ROW_BYTES and self.more():
                    continue
                why = "not valid JSON" if not (unfinished and self.ended) else "the file ends in the middle of it"
                raise self._resynchronised(
                    Rejected("bad_json" if not (unfinished and self.ended) else "truncated_file", f"{why}: {error.msg}")
                ) from None
            except RecursionError:
                raise self._resynchronised(Rejected("too_deep", "objects or lists are nested too deeply")) from None
            break
        raw, begin = self.text[self.at : end], self.at
        self.line += self.text.count("\n", begin, end)
        self.at = end
        if len(raw) > MAX_ROW_BYTES:
            raise _Held(Rejected("too_large", f"the object is longer than {MAX_ROW_BYTES >> 20} MB"), raw)
        try:
            return line, parse_json(raw.encode("utf-8", "surrogateescape"))
        except Rejected as why:
            raise _Held(why, raw) from None

    def _resynchronised(self, why: Rejected) -> Rejected:
        """The refusal with what was skipped to reach the next object."""
        begin, held = self.at, ""
        while True:
            found = _NEXT_OBJECT.search(self.text, self.at + 1)
            held = held or self.text[begin : (found.end() if found else len(self.text))][: HELD_CHARS + 1]
            if found:
                self.line += self.text.count("\n", self.at, found.end())
                self.at = found.end()
                return _Held(why, held)
            self.line += self.text.count("\n", self.at)
            self.at = max(self.at, len(self.text) - 1)
            if not self.more():
                self.at = len(self.text)
                return _Held(why, held)
            begin = self.at

    def blocks(self) -> Iterator[Block]:
        block = Block()
        if self.skip() == "[":
            self.at += 1
            yield from self._elements(block, closing="]")
        else:
            yield from self._documents(block)
        ending = ending_block(self.file, self.stream, self.line)
        if ending:
            yield ending

    def _elements(self, block: Block, closing: str) -> Iterator[Block]:
        closed = False
        while True:
            first = self.skip()
            if first == closing:
                self.at += 1
                closed = True
                if self.skip() == "":
                    break
                continue
            if first == "":
                break
            line = self.line
            try:
                line, row = self.element()
                if type(row) is not dict:
                    raise _Held(
                        Rejected("not_an_object", "the element is not a JSON object"),
                        json.dumps(row, ensure_ascii=False),
                    )
            except _Held as why:
                block.rejects.append(reject(self.file, line, why.why, why.held))
            else:
                block.rows.append(row)
                block.lines.append(line)
            if block.full():
                block.bytes_read = self.stream.bytes_read
                yield block
                block = Block()
        if (
            not closed
            and closing
            and not self.stream.problem
            and not (block.rejects and block.rejects[-1].reason == "truncated_file")
        ):
            block.rejects.append(
                reject(
                    self.file, self.line, Rejected("truncated_file", "the array has no end; the rows before were read")
                )
            )
        block.bytes_read = self.stream.bytes_read
        yield block

    def _documents(self, block: Block) -> Iterator[Block]:
        """Objects one after another; an object that holds one list of objects stands for that list."""
        if self.skip() == "":
            yield block
            return
        line = self.line
        try:
            line, value = self.element()
        except _Held as why:
            block.rejects.append(reject(self.file, line, why.why, why.held))
            yield from self._elements(block, closing="")
            return
        rows = _rows_of(value)
        for row in rows:
            if isinstance(row, dict):
                block.rows.append(row)
                block.lines.append(line)
            else:
                block.rejects.append(
                    reject(self.file, line, Rejected("not_an_object", "not a JSON object"), json.dumps(row))
                )
            if block.full():
                yield block
                block = Block()
        yield from self._elements(block, closing="")


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


def _rows_of(value: Any) -> list[Any]:
    """The rows in a document: those of its only list of objects, or the document itself."""
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list) and inner and isinstance(inner[0], dict)]
        speaks = any(key in lists[0][0] for key in ("role", "from", "human")) if len(lists) == 1 else True
        if not speaks:
            return list(lists[0])
    return [value]
