"""What a collector is: settings and one method that turns paths into rows; and how all of them read and word text."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from schemas.errors import Rejected


@dataclass(frozen=True, slots=True)
class Found:
    """One row that a collector made.

    `messages` are dicts with `role` and `content`, and may have the other columns of a message. `line` counts from 1.
    `extra` is anything JSON can hold that has no column.
    """

    messages: list[dict[str, Any]]
    file: str
    line: int | None = None
    part: str | None = None
    task: str | None = None
    external_id: str | None = None
    tools: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that did not become a row: where, a snake_case reason, a sentence, what it held (cut when written)."""

    file: str
    line: int | None
    reason: str
    detail: str
    held: str = ""


class Collector(BaseModel, ABC):
    """Settings of one way to make rows; the fields are command line options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: ClassVar[int] = 1
    """Raised whenever the same input gives other rows than before."""

    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version affects the rows; their versions enter the fingerprint."""

    @abstractmethod
    def collect(self, files: Sequence[tuple[Path, str]]) -> Iterator[Found | Refused]:
        """Rows and refusals in a fixed order. `files` are pairs of the path to read and the name to give as `file`.

        Never raises for what a file holds: whatever cannot be used comes out as Refused. Memory is bounded by the
        largest single file.
        """

    @classmethod
    @abstractmethod
    def suffixes(cls) -> tuple[str, ...]:
        """Endings of the files it reads, lower case with the dot; others in a folder are passed over and counted."""


def encoding_of(data: bytes) -> str:
    """Name of the codec that reads these bytes: UTF-8, UTF-16, GB18030 or what charset-normalizer finds.

    UTF-8 with a few broken bytes is still UTF-8, so that the broken place is reported rather than read as another
    encoding. Raises Rejected for what is not text.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return codec
    head = data[:_PROBE_BYTES]
    if b"\x00" in head:
        if (wide := _utf16(head)) is None:
            raise Rejected("not_text", "holds zero bytes")
        return wide
    broken = _broken_share(data)
    if broken < 0.2:
        return "utf-8"
    if _looks_like_gb18030(head):
        return "gb18030"
    import charset_normalizer

    best = charset_normalizer.from_bytes(head).best()
    if best is None:
        raise Rejected("bad_encoding", "is in no encoding that could be recognised")
    return str(best.encoding)


def decode(data: bytes) -> str:
    """The text that bytes of a recognised encoding hold, without a byte order mark and with `\\n` line ends.

    Raises Rejected where they do not hold text.
    """
    codec = encoding_of(data)
    try:
        text = data.decode(codec)
    except (UnicodeDecodeError, LookupError) as error:
        place = f" at byte {error.start:,}" if isinstance(error, UnicodeDecodeError) else ""
        raise Rejected("bad_encoding", f"cannot be read as {codec}{place}") from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def is_chinese(text: str) -> bool:
    """Whether a text reads as Chinese: enough ideographs beside its Latin words, and not Japanese."""
    han = len(_HAN.findall(text))
    if not han or len(_KANA.findall(text)) > han * 0.2:
        return False
    return han >= 0.3 * (han + len(_LATIN_WORD.findall(text)))


def width(text: str) -> int:
    """Length of a text in Latin characters: an ideograph says about as much as two, and spaces do not count twice."""
    text = " ".join(text.split())
    return len(text) + len(_HAN.findall(text))


def choose(phrasings: Sequence[str], key: str) -> str:
    """One of several phrasings, always the same for the same key."""
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
    return phrasings[int.from_bytes(digest, "big") % len(phrasings)]


_PROBE_BYTES = 262_144
_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002ebef]")
_KANA = re.compile("[\u3040-\u30ff]")
_WRITING = re.compile(
    "[\t\n\r -~\u00a0-\u024f\u0370-\u06ff\u2010-\u2027\u2030-\u205e\u3000-\u30ff"
    "\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]"
)
_LATIN_WORD = re.compile("[A-Za-z][A-Za-z'_-]*")


def _utf16(head: bytes) -> str | None:
    """Which UTF-16 without a mark these bytes are: the one with more ASCII in it, if nearly all of it is writing."""
    texts = {codec: head[: len(head) // 2 * 2].decode(codec, "replace") for codec in ("utf-16-le", "utf-16-be")}
    codec = max(texts, key=lambda one: sum(letter < "\x80" for letter in texts[one]))
    return codec if len(_WRITING.findall(texts[codec])) > 0.9 * len(texts[codec]) else None


def _broken_share(data: bytes) -> float:
    """Which share of what is not ASCII cannot be read as UTF-8; 0 for valid UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        head = (
            data[:_PROBE_BYTES].decode("utf-8", "replace")
            if len(data) > _PROBE_BYTES
            else data.decode("utf-8", "replace")
        )
        broken = head.count("\ufffd")
        others = sum(1 for letter in head if letter > "\x7f")
        return broken / others if others else 0.0
    return 0.0


def _looks_like_gb18030(data: bytes) -> bool:
    """Whether bytes read as GB18030 give mostly the common characters of GB 2312's first level."""
    text = data.decode("gb18030", "replace")
    high = [letter for letter in text if letter > "\x7f"]
    han = _HAN.findall(text)
    if not han or len(han) < 0.5 * len(high) or text.count("\ufffd") > 0.01 * len(high) + 1:
        return False
    common = 0
    for letter in han:
        coded = letter.encode("gb18030")
        common += len(coded) == 2 and 0xB0 <= coded[0] <= 0xD7 and coded[1] >= 0xA1
    return common >= 0.7 * len(han)
