"""Long sections → parts, between paragraphs; code and tables stay whole."""

from __future__ import annotations

import re

from curate.collectors.collector import width


def split(text: str, max_chars: int) -> tuple[list[str], list[str]]:
    """Parts of a text that are each short enough, and the blocks that are too long and cannot be cut."""
    if width(text) <= max_chars:
        return [text], []
    pieces: list[str] = []
    too_long: list[str] = []
    for block in blocks_of(text):
        if width(block) <= max_chars:
            pieces.append(block)
        elif block.lstrip().startswith("|"):
            pieces += _table_parts(block, max_chars)
        elif _is_whole(block):
            too_long.append(block)
        else:
            for piece in _sentences(block, max_chars):
                (pieces if width(piece) <= max_chars else too_long).append(piece)
    # Parts of like length: one of three words after one of four thousand teaches nothing.
    left = sum(map(width, pieces))
    parts: list[list[str]] = []
    length = goal = 0
    for piece in pieces:
        size = width(piece)
        # What ends in a colon stays with what it introduces.
        introduces = bool(parts) and parts[-1][-1].rstrip().endswith((":", "："))
        if not parts or length + size > max_chars or (length + size // 2 > goal and not introduces):
            parts.append([])
            goal = left // -(-left // max_chars)
            length = 0
        parts[-1].append(piece)
        length += size
        left -= size
    return ["\n\n".join(part) for part in parts if part], too_long


def blocks_of(text: str) -> list[str]:
    """Blocks of a Markdown text: paragraphs, lists with what is indented under them, tables, code with its fences."""
    blocks: list[list[str]] = [[]]
    fence = ""
    for line in text.split("\n"):
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if fence:
            blocks[-1].append(line)
            if mark and mark.group(1).startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if mark:
            fence = mark.group(1)
        if not line.strip():
            blocks.append([])
        elif not blocks[-1] and line.startswith(("    ", "\t")) and len(blocks) > 1 and blocks[-2]:
            # Indented after a blank line: code, or the rest of a list item.
            blocks.pop()
            blocks[-1] += ["", line]
        else:
            blocks[-1].append(line)
    return ["\n".join(block) for block in blocks if block]


def _table_parts(block: str, max_chars: int) -> list[str]:
    """A Markdown table as several, each under the same head."""
    head, rows = block.split("\n")[:2], block.split("\n")[2:]
    parts: list[list[str]] = [[]]
    for row in rows:
        if parts[-1] and width("\n".join([*head, *parts[-1], row])) > max_chars:
            parts.append([])
        parts[-1].append(row)
    return ["\n".join([*head, *part]) for part in parts]


def _is_whole(block: str) -> bool:
    return re.match(r"\s*(?:`{3,}|~{3,}|    |\t)", block) is not None


def _sentences(block: str, max_chars: int) -> list[str]:
    """A long paragraph or list in pieces that end with a line or a sentence; what has neither stays whole."""
    ends = r"(?<=\n)" if block.count("\n") > 3 else r"(?<=[.!?])\s+|(?<=[。！？；])"
    pieces: list[list[str]] = []
    length = 0
    for sentence in re.split(ends, block):
        size = width(sentence) + 1
        if not pieces or length + size > max_chars:
            pieces.append([])
            length = 0
        glue = "" if not pieces[-1] or pieces[-1][-1].endswith("\n") or pieces[-1][-1][-1:] > "\u2e7f" else " "
        pieces[-1] += [glue, sentence]
        length += size
    return [text for piece in pieces if (text := "".join(piece).rstrip())]
