"""Files as streams of UTF-8 bytes, whatever their compression and encoding; and what an importer is."""

from __future__ import annotations

import codecs
import tempfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import orjson
import zstandard

from schemas.dataset import Reject, held_text
from schemas.errors import Rejected, UserError

CHUNK_BYTES = 2 << 20
"""How much of a file is read at a time."""

MAX_ROW_BYTES = 32 << 20
"""A row whose text is longer than this is rejected as `too_large`."""

MAX_DEPTH = 200
"""Objects and lists nested deeper than this are rejected as `too_deep`; what writes JSON stops at 254."""

MAX_RATIO = 300
"""A compressed file that grows by more than this is taken for a bomb. Text reaches 30 or so, gzip at most 1,032."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_RATIO_FROM = 64 << 20
_SAMPLE_BYTES = 1 << 20
_BLOCK_ROWS = 4096
_ZSTD_PIECE_BYTES = 2048
"""How much is unpacked at a time: 128 KB come out of 4 bytes at most, so a bomb shows before it fills the memory."""


@dataclass(frozen=True)
class InputFile:
    """One file to read: where it is, the name rows refer to it by, the source its rows belong to, and its encoding."""

    path: Path
    name: str
    source: str
    encoding: str | None = None

    @property
    def suffix(self) -> str:
        """The ending that names its format, lower case, compression endings left out: `.jsonl` for `a.JSONL.gz`."""
        endings = [ending.lower() for ending in self.path.suffixes]
        while endings and endings[-1] in (".gz", ".zst", ".zstd"):
            endings.pop()
        return endings[-1] if endings else ""


@dataclass
class Block:
    """Some rows of a file as dicts, with the line each began on, and what could not be read beside them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    part: str | None = None
    rejects: list[Reject] = field(default_factory=list)
    bytes_read: int = 0
    """How much of the file on disk has been read so far."""

    def full(self) -> bool:
        """Whether it is time to hand the block on."""
        return len(self.rows) >= _BLOCK_ROWS or len(self.rejects) >= _BLOCK_ROWS


class Importer(ABC):
    """Reads one file format. One subclass per file in curate/importers."""

    suffixes: ClassVar[tuple[str, ...]]
    """Endings it reads, without compression endings."""

    @abstractmethod
    def blocks(self, file: InputFile) -> Iterator[Block]:
        """The file's rows in order. What cannot be read comes out as rejects; what a file holds raises nothing."""

    def line_blocks(self, file: InputFile) -> Iterator[LineBlock] | None:
        """The file as runs of JSON lines not parsed yet, or None if it is not JSON Lines."""
        return None


@dataclass
class LineBlock:
    """Some whole lines of JSON, not parsed yet."""

    file: InputFile
    data: bytes
    """The lines, the last with or without its end; empty if there are only rejects."""
    first_line: int
    rejects: list[Reject]
    bytes_read: int
    offset: int | None = None
    """Where in the file `data` stands as it is; None if it was unpacked or decoded."""

    def parse(self) -> Block:
        """The rows, line by line."""
        block = Block(rejects=list(self.rejects), bytes_read=self.bytes_read)
        for line, raw in enumerate(self.data.split(b"\n") if self.data else (), start=self.first_line):
            if not raw or raw.isspace():
                continue
            try:
                if len(raw) > MAX_ROW_BYTES:
                    raise too_large("line")
                row = parse_json(raw)
                if type(row) is not dict:
                    raise Rejected("not_an_object", "the line is not a JSON object")
            except Rejected as why:
                block.rejects.append(reject(self.file, line, why, raw))
            else:
                block.rows.append(row)
                block.lines.append(line)
        return block


class Stream:
    """The decompressed bytes of a file, chunk by chunk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.bytes_read = 0
        self.packed = False
        self.problem: Rejected | None = None
        """Set when the stream ended early; what came before is good."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes, decompressed. After the last chunk `problem` says whether there should have been more."""
        with self.path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            raw = self._raw(file)
            self.packed = magic.startswith((_GZIP, _ZSTD))
            if magic.startswith(_GZIP):
                yield from self._gzip(raw)
            elif magic.startswith(_ZSTD):
                yield from self._zstd(raw)
            else:
                yield from raw

    def _raw(self, file: Any) -> Iterator[bytes]:
        while chunk := file.read(CHUNK_BYTES):
            self.bytes_read += len(chunk)
            yield chunk

    def _too_much(self, written: int) -> bool:
        if written > _RATIO_FROM and written > MAX_RATIO * max(self.bytes_read, 1):
            self.problem = Rejected("compression_bomb", f"grows to more than {MAX_RATIO} times its size when unpacked")
            return True
        return False

    def _gzip(self, raw: Iterator[bytes]) -> Iterator[bytes]:
        unpack = zlib.decompressobj(31)
        written = 0
        fresh = True
        for packed in raw:
            rest = packed
            while rest:
                if unpack.eof:
                    rest = rest.lstrip(b"\x00")
                    if not rest:
                        break
                    unpack, fresh = zlib.decompressobj(31), True
                try:
                    chunk = unpack.decompress(rest, CHUNK_BYTES)
                except zlib.error as error:
                    self.problem = Rejected("damaged_file", f"the gzip stream is damaged: {error}")
                    return
                fresh = False
                rest = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
                written += len(chunk)
                if chunk:
                    yield chunk
                if self._too_much(written):
                    return
        if not unpack.eof and not fresh:
            self.problem = Rejected(
                "truncated_file", "the gzip stream ends in the middle; the rows before that were read"
            )

    def _zstd(self, raw: Iterator[bytes]) -> Iterator[bytes]:
        options = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        unpack = options.decompressobj()
        written, fresh = 0, True
        waiting: list[bytes] = []
        held = 0
        for packed in raw:
            rest = packed
            while rest:
                if unpack.eof:
                    unpack, fresh = options.decompressobj(), True
                piece, rest = rest[:_ZSTD_PIECE_BYTES], rest[_ZSTD_PIECE_BYTES:]
                try:
                    chunk = unpack.decompress(piece)
                except zstandard.ZstdError as error:
                    self.problem = Rejected("damaged_file", f"the zstd stream is damaged: {error}")
                    break
                fresh = False
                if unpack.eof:
                    rest = unpack.unused_data + rest
                waiting.append(chunk)
                held += len(chunk)
                written += len(chunk)
                if held >= CHUNK_BYTES:
                    yield b"".join(waiting)
                    waiting, held = [], 0
                if self._too_much(written):
                    break
            if self.problem is not None:
                break
        if held:
            yield b"".join(waiting)
        if self.problem is None and not unpack.eof and not fresh:
            self.problem = Rejected(
                "truncated_file", "the zstd stream ends in the middle; the rows before that were read"
            )


@contextmanager
def unpacked(file: InputFile) -> Iterator[Path]:
    """The path of the file, or of a temporary copy of what is packed in it. Raises Rejected if that is not whole."""
    with file.path.open("rb") as begin:
        packed = begin.read(4).startswith((_GZIP, _ZSTD))
    if not packed:
        yield file.path
        return
    stream = Stream(file.path)
    with tempfile.NamedTemporaryFile(suffix=file.suffix) as copy:
        for chunk in stream.chunks():
            copy.write(chunk)
        copy.flush()
        if stream.problem is not None:
            raise stream.problem
        yield Path(copy.name)


def _mark_bad(error: UnicodeError) -> tuple[str, int]:
    """Put a lone surrogate where bytes could not be decoded, so that just the line they stand in is rejected."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("assay_mark_bad", _mark_bad)


UTF8 = ("utf-8", "ascii")
"""Encodings of text that is UTF-8 already."""


def utf8_chunks(stream: Stream, encoding: str) -> Iterator[bytes]:
    """The stream's text as UTF-8 bytes without a byte order mark. Bytes that cannot be decoded become invalid UTF-8."""
    chunks = stream.chunks()
    if encoding in UTF8:
        first = next(chunks, b"")
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)("assay_mark_bad")
    first_text = True
    for chunk in chunks:
        text = decoder.decode(chunk)
        if first_text and text:
            text, first_text = text.removeprefix("\ufeff"), False
        yield text.encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", True).encode("utf-8", "surrogatepass")


def detect_encoding(path: Path) -> str:
    """The encoding of a text file: utf-8, utf-16-le, utf-16-be, utf-32, gb18030, or what charset-normalizer finds.

    Looked up in the first part that is not ASCII. A file with a few bad bytes in it is still UTF-8.
    """
    sample, start = b"", b""
    for chunk in Stream(path).chunks():
        start = start or chunk[:4]
        if not chunk.isascii() or b"\x00" in chunk[:4096]:
            sample = chunk
            break
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if start.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if start.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    if not sample:
        return "utf-8"
    return _guess(_from_first_high_byte(sample))


def _from_first_high_byte(sample: bytes) -> bytes:
    """A sample that begins with the line of the first byte that is not ASCII."""
    high = next((at for at in range(0, len(sample), 4096) if not sample[at : at + 4096].isascii()), 0)
    begin = sample.rfind(b"\n", 0, high) + 1
    return sample[begin : begin + _SAMPLE_BYTES]


def _guess(sample: bytes) -> str:
    begin = sample[:4096]
    even, odd = begin[::2].count(0), begin[1::2].count(0)
    # In UTF-16 a twentieth of all bytes are zero as soon as there is any punctuation, and nearly all on one side.
    if (even + odd) * 20 > len(begin) and max(even, odd) > 4 * min(even, odd):
        return "utf-16-be" if even > odd else "utf-16-le"
    cut = sample[: sample.rfind(b"\n") + 1] or sample
    if _decodes(cut, "utf-8"):
        return "utf-8"
    decoded = codecs.getincrementaldecoder("utf-8")("replace").decode(cut)
    bad = decoded.count("\ufffd")
    if bad * 2 <= sum(not char.isascii() for char in decoded):
        return "utf-8"  # with some bad bytes in it; of what other encodings write, few characters are good UTF-8
    if any(_decodes(cut[: len(cut) - less], "gb18030") for less in range(4)) and _looks_chinese(cut):
        return "gb18030"
    import charset_normalizer

    best = charset_normalizer.from_bytes(cut[: 1 << 16]).best()
    return best.encoding if best is not None else "utf-8"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _looks_chinese(data: bytes) -> bool:
    """Whether most of what is not ASCII decodes to the ideographs and punctuation that Chinese text is made of."""
    text = [char for char in data.decode("gb18030", errors="ignore") if not char.isascii()]
    common = sum("\u4e00" <= char <= "\u9fa5" or char in "，。！？；：、“”‘’（）《》【】…—～￥·" for char in text)
    return common * 10 >= len(text) * 6


def checked_encoding(name: str) -> str:
    """The codec's own name for an encoding. Raises UserError if there is none."""
    try:
        found = codecs.lookup(name).name
    except LookupError:
        raise UserError(
            f"there is no encoding named {name!r}", hint="for example utf-8, gb18030, big5, utf-16"
        ) from None
    return {"utf-8-sig": "utf-8", "gbk": "gb18030", "gb2312": "gb18030"}.get(found, found)


TOO_DEEP = f"objects or lists are nested more than {MAX_DEPTH} deep"
"""What is wrong with a row that is rejected as `too_deep`."""


def parse_json(raw: bytes) -> Any:
    """The JSON value spelled by some bytes. Raises Rejected for anything that would not survive: bad JSON or Unicode,
    a key that occurs twice in one object, numbers beyond 64 bits, nesting too deep."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _why_not_json(raw, error) from None
    if type(value) is not dict and type(value) is not list:
        return value
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _deeper_than(MAX_DEPTH, value):
        raise Rejected("too_deep", TOO_DEEP)
    keys, odd = _count_keys(value)
    # Each key is followed by a colon. More of them than keys: a key occurs twice, or a text holds `":`. Look closer.
    if odd or raw.count(b'":') != keys or b" :" in raw or b"\t:" in raw or b"\n:" in raw or b"\r:" in raw:
        _look_closer(raw)
    return value


def _deeper_than(most: int, value: Any) -> bool:
    """Whether objects and lists are nested deeper than `most` levels."""
    level = [value]
    for _ in range(most):
        inner = [one for outer in level for one in (outer.values() if type(outer) is dict else outer)]
        level = [one for one in inner if type(one) in (dict, list)]
    return bool(level)


def _count_keys(value: Any) -> tuple[int, bool]:
    """How many keys there are in all objects, and whether a number may have lost digits."""
    keys, odd = 0, False
    todo = [value]
    for one in todo:
        if type(one) is dict:
            keys += len(one)
            one = one.values()
        for inner in one:
            kind = type(inner)
            if kind is str:
                continue
            if kind is dict or kind is list:
                todo.append(inner)
            elif kind is float and abs(inner) >= 9.2e18:
                odd = True
    return keys, odd


def _look_closer(raw: bytes) -> None:
    import json

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise Rejected("duplicate_key", f"the key {twice[:60]!r} occurs more than once in one object")
        return found

    def small(text: str) -> int:
        number = int(text) if len(text) < 25 else 1 << 70
        if not -(1 << 63) <= number < 1 << 64:
            raise Rejected("number_too_large", "a number does not fit into 64 bits; write it as text")
        return number

    def finite(text: str) -> float:
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise Rejected("number_too_large", "a number is too large for a 64-bit float")
        return number

    try:
        json.loads(raw, object_pairs_hook=unique, parse_int=small, parse_float=finite)
    except RecursionError:
        raise Rejected("too_deep", TOO_DEEP) from None


def _why_not_json(raw: bytes, error: orjson.JSONDecodeError) -> Rejected:
    said = str(error)
    if not _decodes(raw, "utf-8"):
        said = "bytes that are not UTF-8; `curate check` says which encoding a file seems to be in, --encoding names it"
        return Rejected("invalid_utf8", said)
    if "depth limit" in said:
        return Rejected("too_deep", TOO_DEEP)
    if "surrogate" in said:
        return Rejected("invalid_unicode", "half a surrogate pair, which is no character")
    if b"NaN" in raw or b"Infinity" in raw:
        return Rejected(
            "bad_json", f"not valid JSON (NaN and Infinity are not): {error.msg} at character {error.pos + 1}"
        )
    return Rejected("bad_json", f"not valid JSON: {error.msg} at character {error.pos + 1}")


def too_large(what: str) -> Rejected:
    """The refusal of a row that is too long."""
    return Rejected("too_large", f"the {what} is longer than {MAX_ROW_BYTES >> 20} MB")


def reject(file: InputFile, line: int | None, why: Rejected, held: bytes | str = b"") -> Reject:
    """The record of something in a file that was rejected."""
    # Text of a file that is not quite UTF-8 has lone surrogates in it, which no JSON can hold.
    raw = held.encode("utf-8", "backslashreplace") if isinstance(held, str) else held
    return Reject(file.name, line, why.reason, why.detail, held_text(raw))


def ending_block(file: InputFile, stream: Stream, line: int | None) -> Block | None:
    """A block with the stream's problem, if the file ended early."""
    if stream.problem is None:
        return None
    return Block(rejects=[reject(file, line, stream.problem)], bytes_read=stream.bytes_read)
