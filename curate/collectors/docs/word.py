"""DOCX → sections: Word's own heading styles make the paths."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from dataclasses import replace

from curate.collectors.docs.document import Document, without_lines
from curate.collectors.docs.html import read_html
from curate.collectors.docs.plain import read_plain
from schemas.errors import Rejected


def read_word(data: bytes) -> Document:
    """The sections of a DOCX file. Without heading styles it is divided by its numbering, as plain text is."""
    import mammoth  # type: ignore[import-untyped]

    _check(data)
    if _MATH in _part(data, "word/document.xml"):
        # Word's equations become LaTeX. Importing markitdown takes over a second, so only for documents that have some.
        from markitdown.converter_utils.docx.pre_process import pre_process_docx

        data = pre_process_docx(io.BytesIO(data)).read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        html = mammoth.convert_to_html(
            io.BytesIO(data), style_map=_STYLES, include_embedded_style_map=False, external_file_access=False
        ).value
    document = without_lines(read_html(f"<body>{html}</body>"))
    if not any(section.path for section in document.sections):
        document = without_lines(read_plain("\n\n".join(section.text for section in document.sections)))
    return replace(document, title=_title(data))


_STYLES = "\n".join(
    [
        "p[style-name='Title'] => h1:fresh",
        "p[style-name='标题'] => h1:fresh",
        *(f"p[style-name='标题 {level}'] => h{level}:fresh" for level in range(1, 7)),
        "p[style-name^='toc'] => !",
        "p[style-name^='TOC'] => !",
        "p[style-name^='目录'] => !",
        "p[style-name='Code'] => pre:separator('\\n')",
        "p[style-name='HTML Preformatted'] => pre:separator('\\n')",
        "u => u",
    ]
)
_MATH = b"<m:oMath"
_MAX_UNPACKED = 300_000_000
_MAX_XML = 100_000_000
_MAX_ENTRIES = 10_000
_MAX_RATIO = 300


def _check(data: bytes) -> None:
    """Raises Rejected for what is no DOCX, cannot be opened, or would unpack to something huge or harmful."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise Rejected("encrypted", "is protected with a password")
        raise Rejected("old_format", "is a DOC file of Word 97, not DOCX: save it as DOCX")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_ENTRIES:
                raise Rejected("archive_bomb", f"holds {len(entries):,} files")
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > _MAX_UNPACKED or unpacked > _MAX_RATIO * max(len(data), 10_000):
                raise Rejected("archive_bomb", f"unpacks {len(data):,} bytes to {unpacked:,}")
            if any(entry.flag_bits & 1 for entry in entries):
                raise Rejected("encrypted", "is protected with a password")
            if "word/document.xml" not in {entry.filename for entry in entries}:
                raise Rejected("not_docx", "holds no word/document.xml")
            for entry in entries:
                if entry.filename.endswith((".xml", ".rels")):
                    if entry.file_size > _MAX_XML:
                        raise Rejected("archive_bomb", f"holds {entry.file_size:,} bytes of XML in one part")
                    with archive.open(entry) as part:
                        # Sizes in the directory can lie; the stream is read no further than they say.
                        _check_xml(part.read(entry.file_size + 1), entry.file_size)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise Rejected("damaged", f"cannot be opened as an archive: {error}") from error


def _check_xml(xml: bytes, size: int) -> None:
    if len(xml) > size:
        raise Rejected("archive_bomb", "holds more than its directory says")
    packed = xml.replace(b"\x00", b"") if b"\x00" in xml[:200] else xml
    if b"<!DOCTYPE" in packed or b"<!ENTITY" in packed:
        raise Rejected("xml_entities", "declares XML entities, which no Word document does")


def _part(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name) if name in archive.namelist() else b""


def _title(data: bytes) -> str | None:
    found = re.search(
        r"<dc:title[^<>]*>([^<]+)</dc:title>", _part(data, "docProps/core.xml").decode("utf-8", "replace")
    )
    if not found:
        return None
    import html

    title = " ".join(html.unescape(found.group(1)).split())
    return (
        title
        if len(title) <= 120
        and not re.search(r"\.docx?$|^(?:untitled|document\d*|文档\d*|无标题)$", title, re.IGNORECASE)
        else None
    )
