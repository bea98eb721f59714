"""PDF with a text layer → sections. Headings come from the outline, else from type size, else from numbering."""

from __future__ import annotations

import io
import re
import statistics
import unicodedata
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
    from pdfminer.psexceptions import PSException
    from pdfplumber.utils.exceptions import PdfminerException

    if b"%PDF-" not in data[:1024]:
        raise Rejected("damaged", "is no PDF")
    try:
        with pdfplumber.open(io.BytesIO(data), laparams=_LAYOUT, raise_unicode_errors=False) as pdf:
            count = len(pdf.pages)
            lines: list[_Line] = []
            without_text: list[int] = []
            for number, page in enumerate(pdf.pages[:max_pages], start=1):
                found = list(_lines(page, number))
                if not found and _has_pictures(page.layout):
                    without_text.append(number)
                lines += found
                page.close()
            outline = _outline(pdf.doc)
            title = _title(pdf.metadata)
    except (PdfminerException, PSException, PDFPasswordIncorrect, PDFEncryptionError) as error:
        # pdfplumber wraps pdfminer's errors.
        wrapped = [error, *error.args]
        if any(isinstance(one, PDFPasswordIncorrect | PDFEncryptionError) for one in wrapped):
            raise Rejected("encrypted", "is protected with a password") from error
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
    is_code: bool = False


def _lines(page: Any, number: int) -> Iterator[_Line]:
    """Lines of a page in reading order, with ruled tables as one line each where they stand."""
    from pdfminer.layout import LTTextBox, LTTextLine

    layout = page.layout
    height = float(page.height)
    tables = _tables(page)
    given: set[int] = set()
    boxes = [item for item in layout if isinstance(item, LTTextBox)]
    for box_number, box in enumerate(_in_reading_order(boxes, float(page.width))):
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
            text = " ".join(line.get_text().translate(_PLAIN).split())
            if text:
                size, bold, mono = _face(line)
                top = (height - line.y1) / height
                line_height = line.y1 - line.y0
                shown = line.get_text().translate(_PLAIN).rstrip() if mono else text
                yield _Line(shown, number, size, bold, top, line.x0, line.x1, line_height, box_number, is_code=mono)


def _in_reading_order(boxes: list[Any], width: float) -> list[Any]:
    """Boxes of a page set in two columns: what stands left before what stands right, between what spans both.

    Other pages keep pdfminer's order, which goes by nearness and often jumps between columns.
    """
    left = [box for box in boxes if box.x1 < 0.55 * width and box.x0 < 0.45 * width]
    gutter = max((box.x1 for box in left), default=0.0)
    right = [box for box in boxes if box.x0 >= max(gutter - 2, 0.45 * width)]
    across = [box for box in boxes if box not in left and box not in right]
    tall = [sum(box.height for box in side) for side in (left, right, across)]
    if min(len(left), len(right)) < 2 or min(tall[:2]) < 0.3 * max(tall[:2]) or tall[2] > sum(tall[:2]):
        return boxes
    cuts = sorted((box.y0 for box in across), reverse=True)

    def place(box: Any) -> tuple[int, int, float]:
        middle = (box.y0 + box.y1) / 2
        band = sum(cut > middle for cut in cuts)
        return (2 * band, 0, -middle) if box in across else (2 * band + 1, int(box in right), -middle)

    return sorted(boxes, key=place)


_PLAIN = {
    0x00: None,
    0x00AD: "-",
    0xFB00: "ff",
    0xFB01: "fi",
    0xFB02: "fl",
    0xFB03: "ffi",
    0xFB04: "ffl",
    # Chinese PDFs often say a radical where they draw a character: ⼿ for 手.
    **{code: unicodedata.normalize("NFKC", chr(code)) for code in range(0x2F00, 0x2FD6)},
    0x2F3E: "户",
    0x2EA0: "民",
    0x2EC5: "见",
    0x2EC6: "角",
    0x2ED3: "长",
    0x2ED4: "门",
    0x2EDB: "风",
    0x2EDC: "飞",
    0x2EE2: "马",
    0x2EEC: "齐",
    0x2EE9: "黄",
}


def _face(line: Any) -> tuple[float, bool, bool]:
    from pdfminer.layout import LTChar

    sizes: Counter[float] = Counter()
    bold = mono = total = 0
    for char in line:
        if isinstance(char, LTChar) and char.get_text().strip():
            sizes[round(char.size * 2) / 2] += 1
            total += 1
            bold += (
                re.search(r"bold|black|heavy|semibold|demi|simhei|黑体|[-,]b\b", char.fontname, re.IGNORECASE)
                is not None
            )
            mono += (
                re.search(r"mono|courier|consol|menlo|typewriter|cmtt|code|fixed", char.fontname, re.IGNORECASE)
                is not None
            )
    return (sizes.most_common(1)[0][0] if sizes else 0.0), bold > 0.6 * max(total, 1), mono > 0.9 * max(total, 1)


def _has_pictures(layout: Any) -> bool:
    from pdfminer.layout import LTFigure, LTImage

    return any(isinstance(item, LTImage | LTFigure) for item in layout)


def _tables(page: Any) -> list[tuple[float, float, float, float, str]]:
    # Only tables with ruled lines: columns guessed from gaps are wrong too often to train on.
    if not _has_grid(page.layout):
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


def _has_grid(layout: Any) -> bool:
    """Whether a page has lines both ways, or frames, that could make a table; looking closer costs up to a second."""
    from pdfminer.layout import LTCurve

    across = down = frames = 0
    for item in layout:
        if isinstance(item, LTCurve):
            across += item.height < 2 and item.width > 8
            down += item.width < 2 and item.height > 4
            frames += item.stroke and item.width > 8 and item.height > 4
    return 4 <= across + down + frames <= 3_000 and ((across >= 2 and down >= 2) or frames >= 4)


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
        r"\.(?:docx?|pdf|tex|dvi|indd|pages|html?)$"
        r"|^(?:microsoft word|untitled|document\d*|文档\d*|无标题|about:blank)",
        title,
        re.IGNORECASE,
    )
    return title if 2 <= len(title) <= 150 and not junk else None


def _without_running_lines(lines: list[_Line], pages: int) -> list[_Line]:
    """Lines without page numbers, and without heads and feet that come again page after page."""
    places: defaultdict[tuple[str, int], set[int]] = defaultdict(set)

    def key(line: _Line) -> tuple[str, int]:
        return re.sub(r"\d+", "#", line.text), round(line.top * 50)

    at_edge = [line for line in lines if not line.is_table and (line.top < 0.08 or line.top > 0.92)]
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
            if len(places[key(line)]) >= max(min(pages, 3), 0.25 * pages, 2) or re.fullmatch(r"\w+://\S+", line.text):
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
        if line.is_table or (line.is_code and line.size <= body) or not _may_be_heading(line.text):
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
    """Lines as Markdown: paragraphs whole again, words that were hyphenated too, lists, code and tables as such."""
    edges = _edges(lines)
    widths = [line.right - line.left for line in lines if not line.is_table and not line.is_code]
    usual = statistics.median(widths) if widths else 0.0
    blocks: list[str] = []
    last: _Line | None = None
    code: list[_Line] = []
    for line in lines:
        if code and not line.is_code:
            blocks.append(_code(code))
            code = []
            last = None
        if line.is_code:
            code.append(line)
        elif line.is_table:
            blocks.append(line.text)
            last = None
        elif not re.search(r"\.{6,}\s*\d+$", line.text):  # a line of a table of contents
            if last is not None and _continues(last, line, usual, edges[last.page, round(last.left / 40)]):
                blocks[-1] = _joined(blocks[-1], line.text)
            else:
                blocks.append(_BULLET.sub("- ", line.text))
            last = line
    if code:
        blocks.append(_code(code))
    text = ""
    for block in blocks:
        in_list = block.startswith("- ") and text.rsplit("\n", 1)[-1].startswith("- ")
        text += ("\n" if in_list else "\n\n" if text else "") + block
    return text


def _edges(lines: list[_Line]) -> dict[tuple[int, int], float]:
    """How far to the right lines reach, by page and where they begin: the right edge of their column."""
    edges: dict[tuple[int, int], float] = {}
    for line in lines:
        if not line.is_table:
            for at in range(round(line.left / 40) - 1, round(line.left / 40) + 2):
                edges[line.page, at] = max(edges.get((line.page, at), 0.0), line.right)
    return edges


_BULLET = re.compile(r"^[•◦▪●‣∙·○■□➢➤]\s*")
_ITEM = re.compile(
    r"[•◦▪●‣∙·○■□➢➤]\s*|[-–—*]\s|(?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)]\s"
    r"|[（(](?:\d{1,2}|[a-zA-Z一二三四五六七八九十])[)）]"
)


def _code(lines: list[_Line]) -> str:
    """Lines set in a typewriter face as a block of code, indented as they stand on the page."""
    left = min(line.left for line in lines)
    texts = []
    for line in lines:
        step = max((line.right - line.left) / max(len(line.text), 1), 1.0)
        texts.append(" " * round((line.left - left) / step) + line.text)
    return "\n".join(["```", *texts, "```"])


def _joined(before: str, text: str) -> str:
    if re.search(r"[a-z]-$", before) and text[:1].islower():
        return before[:-1] + text
    space = "" if before[-1:] > "\u2e7f" and text[:1] > "\u2e7f" else " "
    return f"{before}{space}{text}"


def _continues(last: _Line, line: _Line, usual: float, edge: float) -> bool:
    """Whether a line goes on with the paragraph of the one before it."""
    if _ITEM.match(line.text) or abs(last.size - line.size) > 0.2 * max(last.size, line.size):
        return False
    ended = re.search(r"[.!?:。！？：…\"”)]$", last.text) is not None
    full = last.right > edge - 0.2 * max(usual, 1.0)
    if line.page == last.page and line.box == last.box:
        # A short last line ends a paragraph, and so does a line that ends a sentence before an indented one.
        return full and not (ended and line.left > last.left + 8) and not (ended and last.right < edge - 0.08 * usual)
    if not full or ended or last.right - last.left < 0.8 * usual:
        return False
    # Over the column or page, or where a box broke off because a line begins in another face.
    below = line.page == last.page and 0 < line.top - last.top < 0.03 and abs(line.left - last.left) < 4
    onward = line.page <= last.page + 1 and (line.text[:1].islower() or line.text[:1] > "\u2e7f")
    return below or onward
