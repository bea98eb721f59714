"""PDF with a text layer → sections. Headings come from the outline, else from type size and weight, else from numbering."""

from __future__ import annotations

import io
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from curate.collectors.docs.document import Document, Heading, Section, nest
from curate.collectors.docs.plain import numbering
from curate.collectors.docs.rst import table
from schemas.errors import Rejected


def read_pdf(data: bytes, max_pages: int) -> Document:
    """The sections of a PDF, with the page each begins on."""
    import pdfplumber
    from pdfminer.pdfdocument import PDFEncryptionError, PDFPasswordIncorrect
    from pdfminer.pdfparser import PDFSyntaxError
    from pdfminer.psexceptions import PSException

    if b"%PDF-" not in data[:1024]:
        raise Rejected("damaged", "is no PDF")
    try:
        with pdfplumber.open(io.BytesIO(data), laparams=_LAYOUT, raise_unicode_errors=False) as pdf:
            count = len(pdf.pages)
            lines: list[_Line] = []
            without_text: list[int] = []
            for number, page in enumerate(pdf.pages[:max_pages], start=1):
                found = list(_lines(page, number))
                if not found and page.images:
                    without_text.append(number)
                lines += found
                page.close()
            outline = _outline(pdf.doc)
            title = _title(pdf.metadata)
    except Exception as error:
        # pdfplumber wraps pdfminer's errors, and hostile files make pdfminer raise almost anything.
        wrapped = [error, *error.args]
        if any(isinstance(one, PDFPasswordIncorrect | PDFEncryptionError) for one in wrapped):
            raise Rejected("encrypted", "is protected with a password") from error
        if isinstance(error, PSException | PDFSyntaxError):
            raise Rejected("damaged", f"cannot be read as PDF: {type(error).__name__}") from error
        if isinstance(error, MemoryError | RecursionError):
            raise
        raise Rejected("damaged", f"cannot be read as PDF: {type(wrapped[-1]).__name__}") from error
    text = "".join(line.text for line in lines)
    if len("".join(text.split())) < 10:
        raise Rejected("no_text_layer", "holds no text, only pictures of it: recognise it first (OCR)")
    unreadable = 4 * text.count("(cid:") + text.count("\ufffd")
    if unreadable > 0.2 * len(text):
        raise Rejected("unreadable_text", "its fonts do not say which characters they draw")
    unused = []
    if without_text:
        shown = ", ".join(str(number) for number in without_text[:20])
        unused.append(("no_text_layer", f"pages without text: {shown}{' and more' if len(without_text) > 20 else ''}"))
    if count > max_pages:
        unused.append(("too_many_pages", f"pages {max_pages + 1:,} to {count:,} were not read"))
    lines = _without_running_lines(lines, min(count, max_pages))
    return Document(title, _sections(lines, outline), unused)


_LAYOUT = {"line_margin": 0.5, "char_margin": 2.0, "word_margin": 0.1, "boxes_flow": 0.5}
_MAX_HEADING_CHARS = 120


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of text, or a whole table, with how it is set."""

    text: str
    page: int
    size: float
    bold: bool
    top: float
    left: float
    right: float
    height: float
    box: int
    """Number of the block on its page that it belongs to; lines of one block are one paragraph."""
    is_table: bool = False


def _lines(page: Any, number: int) -> Iterator[_Line]:
    """Lines of a page in reading order, with ruled tables as one line each where they stand."""
    from pdfminer.layout import LTTextBox, LTTextLine

    layout = page.layout
    height = float(page.height)
    tables = _tables(page)
    given: set[int] = set()
    for box_number, box in enumerate(item for item in layout if isinstance(item, LTTextBox)):
        for line in box:
            if not isinstance(line, LTTextLine):
                continue
            middle_x, middle_y = (line.x0 + line.x1) / 2, height - (line.y0 + line.y1) / 2
            inside = next(
                (
                    at
                    for at, (x0, top, x1, bottom, _) in enumerate(tables)
                    if x0 <= middle_x <= x1 and top <= middle_y <= bottom
                ),
                None,
            )
            if inside is not None:
                if inside not in given:
                    given.add(inside)
                    x0, top, x1, bottom, text = tables[inside]
                    yield _Line(
                        text, number, 0.0, False, top / height, x0, x1, bottom - top, -1 - inside, is_table=True
                    )
                continue
            text = " ".join(
                _LIGATURES.sub(lambda found: _LIGATURE[found.group()], line.get_text()).replace("\x00", "").split()
            )
            if text:
                size, bold = _type(line)
                top = (height - line.y1) / height
                yield _Line(text, number, size, bold, top, line.x0, line.x1, line.y1 - line.y0, box_number)


_LIGATURE = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "\u00ad": "-"}
_LIGATURES = re.compile("|".join(_LIGATURE))


def _type(line: Any) -> tuple[float, bool]:
    from pdfminer.layout import LTChar

    sizes: Counter[float] = Counter()
    bold = total = 0
    for char in line:
        if isinstance(char, LTChar) and char.get_text().strip():
            sizes[round(char.size * 2) / 2] += 1
            total += 1
            bold += (
                re.search(r"bold|black|heavy|semibold|demi|simhei|黑体|[-,]b\b", char.fontname, re.IGNORECASE)
                is not None
            )
    return (sizes.most_common(1)[0][0] if sizes else 0.0), bold > 0.6 * max(total, 1)


def _tables(page: Any) -> list[tuple[float, float, float, float, str]]:
    # Only tables with ruled lines: columns guessed from gaps are wrong too often to train on.
    if not 4 <= len(page.rects) + len(page.lines) <= 3_000:
        return []
    found = []
    for one in page.find_tables():
        rows = [[" ".join((cell or "").split()).replace("|", "\\|") for cell in row] for row in one.extract()]
        rows = [row for row in rows if any(row)]
        if (
            len(rows) >= 2
            and max(len(row) for row in rows) >= 2
            and sum(bool(cell) for row in rows for cell in row) > 0.4 * sum(map(len, rows))
        ):
            x0, top, x1, bottom = one.bbox
            found.append((x0, top, x1, bottom, table(rows)))
    return found


def _outline(document: Any) -> list[tuple[int, str]]:
    try:
        entries = []
        for level, title, *_ in document.get_outlines():
            entries.append((int(level), " ".join(str(title).split())))
            if len(entries) > 5_000:
                break
        return [entry for entry in entries if entry[1]]
    except Exception:
        return []


def _title(metadata: dict[str, Any]) -> str | None:
    title = metadata.get("Title")
    if not isinstance(title, str):
        return None
    title = " ".join(title.replace("\x00", "").split())
    junk = re.search(
        r"\.(?:docx?|pdf|tex|dvi|indd|pages|html?)$|^(?:microsoft word|untitled|document\d*|文档\d*|无标题|about:blank)",
        title,
        re.IGNORECASE,
    )
    return title if 2 <= len(title) <= 150 and not junk else None


def _without_running_lines(lines: list[_Line], pages: int) -> list[_Line]:
    """Lines without page numbers, and without heads and feet that come again page after page."""
    places: defaultdict[tuple[str, int], set[int]] = defaultdict(set)

    def key(line: _Line) -> tuple[str, int]:
        return re.sub(r"\d+", "#", line.text), round(line.top * 50)

    at_edge = [line for line in lines if not line.is_table and (line.top < 0.1 or line.top > 0.88)]
    for line in at_edge:
        places[key(line)].add(line.page)
    edge = {id(line) for line in at_edge}
    kept = []
    for line in lines:
        if id(line) in edge:
            if re.fullmatch(
                r"(?:[-–—·|]\s*)?(?:page|第)?\s*\d{1,4}\s*(?:页)?\s*(?:(?:of|/|共)\s*\d+\s*页?)?(?:\s*[-–—·|])?",
                line.text,
                re.IGNORECASE,
            ):
                continue
            if pages >= 3 and len(places[key(line)]) >= max(3, 0.25 * pages):
                continue
        kept.append(line)
    return kept


def _sections(lines: list[_Line], outline: list[tuple[int, str]]) -> list[Section]:
    lines = _joined_headings(lines)
    headings = _by_outline(lines, outline) or _by_type(lines) or _by_number(lines)
    first = headings[0].start if headings else len(lines)
    sections = [Section((), _flow(lines[:first]), None, lines[0].page if lines else 1)]
    ends = [*(heading.start for heading in headings[1:]), len(lines)]
    for heading, path, end in zip(headings, nest(headings), ends, strict=False):
        sections.append(Section(path, _flow(lines[heading.body : end]), None, heading.page))
    return sections


def _joined_headings(lines: list[_Line]) -> list[_Line]:
    """Lines with a heading that was set over two lines brought together, and a number joined to its title."""
    body = _body_size(lines)
    joined: list[_Line] = []
    for line in lines:
        last = joined[-1] if joined else None
        if (
            last is not None
            and not line.is_table
            and last.size > body * 1.1
            and line.size == last.size
            and line.bold == last.bold
            and line.page == last.page
            and len(last.text) + len(line.text) < _MAX_HEADING_CHARS
            and not numbering(line.text)
            and (line.box == last.box or abs(line.top - last.top) < 0.004)
        ):
            space = "" if last.text[-1] > "\u2e7f" and line.text[0] > "\u2e7f" else " "
            joined[-1] = replace(last, text=f"{last.text}{space}{line.text}", right=max(last.right, line.right))
        else:
            joined.append(line)
    return joined


def _body_size(lines: list[_Line]) -> float:
    sizes: Counter[float] = Counter()
    for line in lines:
        if not line.is_table:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _by_outline(lines: list[_Line], outline: list[tuple[int, str]]) -> list[Heading]:
    """Headings that the outline names, each found in the text after the one before; none where most cannot be found."""
    if len(outline) < 2:
        return []
    body = _body_size(lines)
    found: list[Heading] = []
    at = 0
    for level, title in outline:
        wanted = _squeezed(title)
        bare = re.sub(r"^\d+", "", wanted)
        for index in range(at, len(lines)):
            line = lines[index]
            if line.is_table or len(line.text) > _MAX_HEADING_CHARS + 40:
                continue
            shown = _squeezed(line.text)
            stands_out = line.size > body * 1.05 or line.bold or numbering(line.text) > 0
            if wanted and stands_out and (shown == wanted or (len(bare) > 3 and re.sub(r"^\d+", "", shown) == bare)):
                found.append(Heading(level, title, index, index + 1, line.page))
                at = index + 1
                break
    return found if len(found) >= 2 and len(found) >= 0.5 * len(outline) else []


def _by_type(lines: list[_Line]) -> list[Heading]:
    """Headings that are set larger than the text, or in bold on a line of their own."""
    body = _body_size(lines)
    picked: list[tuple[int, tuple[float, bool]]] = []
    for index, line in enumerate(lines):
        if line.is_table or not _may_be_heading(line.text):
            continue
        larger = line.size >= body * 1.12
        # Bold text of body size is a heading only when it opens a block and the block goes on in another weight.
        opens = index == 0 or lines[index - 1].box != line.box or lines[index - 1].page != line.page
        follows = index + 1 < len(lines) and not lines[index + 1].bold
        alone = line.bold and line.size >= body * 0.98 and opens and follows
        if larger or alone:
            picked.append((index, (line.size, line.bold)))
    total = sum(len(line.text) for line in lines)
    if not picked or sum(len(lines[index].text) for index, _ in picked) > 0.3 * total:
        return []
    styles = sorted({style for _, style in picked}, reverse=True)
    levels: dict[tuple[float, bool], int] = {}
    level, last_size = 0, None
    for size, bold in styles:
        if last_size is None or size < last_size * 0.96 or size <= body * 1.05:
            level += 1
        levels[size, bold] = level
        last_size = size
    headings = []
    for index, style in picked:
        deeper = numbering(lines[index].text)
        headings.append((Heading(levels[style], lines[index].text, index, index + 1, lines[index].page), deeper))
    return _with_numbers(headings)


def _with_numbers(headings: list[tuple[Heading, int]]) -> list[Heading]:
    """Headings of one style whose numbers differ in depth are as deep as their numbers say."""
    depths: defaultdict[int, set[int]] = defaultdict(set)
    for heading, depth in headings:
        if depth:
            depths[heading.level].add(depth)
    mixed = {level for level, found in depths.items() if len(found) > 1}
    if not mixed:
        return [heading for heading, _ in headings]
    return [
        replace(heading, level=heading.level * 10 + (depth if heading.level in mixed else 0))
        for heading, depth in headings
    ]


def _may_be_heading(text: str) -> bool:
    if not 2 <= len(text) <= _MAX_HEADING_CHARS or len(re.findall(r"[^\W\d_]", text)) < 2:
        return False
    if re.search(r"\.{4,}\s*\d+$|[,;，；、]$", text) or re.match(r"[•◦▪●–—*-]\s", text):
        return False
    return not re.search(r"[a-z]{2}\.$|。$", text) or len(text) < 30


def _by_number(lines: list[_Line]) -> list[Heading]:
    found = [
        Heading(level, line.text, index, index + 1, line.page)
        for index, line in enumerate(lines)
        if not line.is_table and (level := numbering(line.text))
    ]
    return found if len(found) >= 2 else []


def _flow(lines: list[_Line]) -> str:
    """Lines as paragraphs: hard breaks joined, words that were hyphenated made whole."""
    paragraphs: list[str] = []
    last: _Line | None = None
    usual = (
        statistics.median(widths)
        if (widths := [line.right - line.left for line in lines if not line.is_table])
        else 0.0
    )
    for line in lines:
        if line.is_table:
            paragraphs.append(line.text)
            last = None
            continue
        if re.search(r"\.{6,}\s*\d+$", line.text):  # a line of a table of contents
            continue
        if last is not None and _continues(last, line, usual):
            before = paragraphs[-1]
            if before.endswith("-") and line.text[:1].islower() and re.search(r"[a-z]-$", before):
                paragraphs[-1] = before[:-1] + line.text
            elif before[-1:] > "\u2e7f" and line.text[:1] > "\u2e7f":
                paragraphs[-1] = before + line.text
            else:
                paragraphs[-1] = f"{before} {line.text}"
        else:
            paragraphs.append(line.text)
        last = line
    text = ""
    for paragraph in paragraphs:
        item = re.match(r"[•◦▪●‣∙·]\s*", paragraph)
        shown = f"- {paragraph[item.end() :]}" if item else paragraph
        text += ("\n" if item and text.rsplit("\n", 1)[-1].startswith("- ") else "\n\n" if text else "") + shown
    return text


_ITEM = re.compile(
    r"[•◦▪●‣∙·]\s*|[-–—*]\s|(?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)]\s|[（(](?:\d{1,2}|[a-zA-Z一二三四五六七八九十])[)）]"
)


def _continues(last: _Line, line: _Line, usual: float) -> bool:
    if _ITEM.match(line.text) or abs(last.size - line.size) > 1:
        return False
    if line.page != last.page or line.box != last.box:
        # A paragraph goes on over the page or column when it stopped in the middle of a sentence.
        return (
            line.page <= last.page + 1
            and last.right - last.left > 0.85 * usual
            and not re.search(r"[.!?:;。！？：；…\"”)]$", last.text)
            and (line.text[:1].islower() or line.text[:1] > "\u2e7f")
        )
    # A short last line ends a paragraph, where the next begins indented or with a capital.
    ended = re.search(r"[.!?:。！？：…\"”]$", last.text) is not None
    short = last.right < line.right - 0.15 * max(usual, 1.0)
    indented = line.left > last.left + 8
    return not (ended and (short or indented))
