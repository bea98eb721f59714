"""The format doctor: `curate check`."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from curate.files import InputFile
from curate.read import Found, Piece, Reading, file_encoding, find_rows, importer_for, read_files
from schemas.console import progress
from schemas.errors import Rejected
from schemas.excerpt import excerpt
from schemas.formats import FORMATS, plan_for

_EXAMPLES = 5
_SAMPLE = 20

HINTS = {
    "no_rows": "the file is empty or holds only a header: look at how it was made",
    "bad_json": "mend the line, or write the file again with a JSON library; nothing else on other lines is affected",
    "invalid_utf8": "name the encoding with --encoding (for example gb18030), or convert the file to UTF-8",
    "invalid_unicode": "write the character as itself in UTF-8; half a \\u pair is no character",
    "duplicate_key": "keep one of the two values; readers disagree about which one counts",
    "missing_field": "fill the field, or map another column to it with --map FIELD=COLUMN",
    "wrong_type": "write the field in the type that is named",
    "unknown_format": "map your columns, as in --map instruction=COLUMN --map output=COLUMN; see `curate formats`",
    "unknown_role": "use user, assistant, system or tool (or human and gpt)",
    "not_text": "assay trains on text; leave out rows with images or audio",
    "not_an_object": "each row is a JSON object with named fields",
    "bad_tool_call": "a function_call is JSON with a name and arguments",
    "bad_tools": "tools is a JSON list of tool descriptions",
    "too_large": "split the text, or leave the row out",
    "too_deep": "flatten the nested objects",
    "number_too_large": "write long numbers as text, in quotes",
    "truncated_file": "the file was cut off: copy or download it again",
    "damaged_file": "copy or download the file again",
    "compression_bomb": "unpack it by hand if you trust it",
    "bad_csv": "close the quotation marks; a quote inside a cell is doubled",
    "wrong_field_count": "put cells that hold the separator or line ends into quotes",
    "duplicate_column": "give each column its own name",
    "empty_conversation": "a conversation needs at least one message",
    "no_prompt": "add a prompt, or begin both conversations with the same turns",
    "unknown_file": "these files hold no rows that are read",
}
"""What to do about each reason for which input is rejected."""

_SPEAKER = frozenset({"role", "sender", "from", "speaker", "author", "发送者", "角色", "说话人"})
_SPOKEN = frozenset({"content", "text", "message", "msg", "body", "value", "内容", "消息", "文本"})
_ASKS = ("question", "query", "prompt", "instruct", "ask", "request", "input", "title", "subject", "问", "题", "指令")
_ANSWERS = ("answer", "respon", "reply", "output", "complet", "solution", "target", "body", "答", "回", "输出", "解")
_TEXT = ("text", "content", "body", "document", "正文", "文本", "内容")
_LONG_CHARS = 80


def check_paths(paths: Sequence[Path], reading: Reading) -> dict[str, Any]:
    """Each file's format, and why; its usable rows; and every problem by kind with examples. Reads everything."""
    reading = reading.checked()
    found = find_rows(paths, reading)
    report = _Report(found)
    sizes = {file.name: file.path.stat().st_size for file in found.files}
    done = dict.fromkeys(sizes, 0)
    rows = 0
    with progress("check", sum(sizes.values())) as shown:
        for piece in read_files(found.files, reading):
            report.add(piece)
            done[piece.file.name] = piece.bytes_read
            rows += piece.frame.height if piece.frame is not None else 0
            shown.at(sum(done.values()), rows, f"check {piece.file.name}")
    return report.result(reading)


class _Report:
    def __init__(self, found: Found) -> None:
        self.found = found
        self.usable: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = defaultdict(Counter)
        self.formats: dict[str, Counter[str]] = defaultdict(Counter)
        self.problems: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, piece: Piece) -> None:
        name = piece.file.name
        if piece.frame is not None and piece.kind is not None:
            self.usable[name] += piece.frame.height
            self.kinds[name][piece.kind] += piece.frame.height
        self.formats[name].update(piece.formats)
        for reject in piece.rejects:
            self.refused[name] += 1
            problem = self.problems.setdefault(
                (reject.reason, name),
                {"count": 0, "line": reject.line, "message": excerpt(reject.detail), "examples": [], "rows": []},
            )
            problem["count"] += 1
            if reject.reason == "unknown_format" and len(problem["rows"]) < _SAMPLE:
                problem["rows"].append(_row_of(reject.held))
            if len(problem["examples"]) < _EXAMPLES:
                example = {
                    "file": name,
                    "line": reject.line,
                    "message": excerpt(reject.detail),
                    "held": excerpt(reject.held),
                }
                problem["examples"].append(example)

    def result(self, reading: Reading) -> dict[str, Any]:
        files = [self._file(file, reading) for file in self.found.files]
        problems = [
            {
                "kind": reason,
                "file": file,
                "line": problem["line"],
                "count": problem["count"],
                "message": problem["message"],
                "hint": columns_hint(problem["rows"], file) or HINTS.get(reason, "see the examples"),
                "examples": problem["examples"],
            }
            for (reason, file), problem in sorted(self.problems.items(), key=lambda item: (-item[1]["count"], item[0]))
        ]
        problems += [
            {
                "kind": "no_rows",
                "file": file["name"],
                "line": None,
                "count": 0,
                "message": "there are no rows in it",
                "hint": HINTS["no_rows"],
                "examples": [],
            }
            for file in files
            if not file["rows"]
        ]
        return {
            "files": files,
            "problems": problems,
            "rows": sum(file["rows"] for file in files),
            "usable": sum(file["usable"] for file in files),
            "passed_over": self.found.passed_over,
        }

    def _file(self, file: InputFile, reading: Reading) -> dict[str, Any]:
        usual = self.formats[file.name].most_common()
        name = usual[0][0] if usual and usual[0][1] else None
        return {
            "path": str(file.path),
            "name": file.name,
            "format": name,
            "why": _why(file, name, reading),
            "formats": {form: rows for form, rows in usual if rows},
            "kinds": dict(self.kinds[file.name]),
            "encoding": file_encoding(file),
            "rows": self.usable[file.name] + self.refused[file.name],
            "usable": self.usable[file.name],
        }


def _quoted(name: str) -> str:
    """A name as it is written on a command line."""
    return name if re.fullmatch(r"[\w.,:/+-]+", name) else shlex.quote(name)


def _row_of(held: str) -> dict[str, Any]:
    try:
        row = orjson.loads(held)
    except orjson.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}


def columns_hint(rows: Sequence[Mapping[str, Any]], file: str) -> str | None:
    """What to do about rows whose columns no format has, where their names or contents tell; None where they do not."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    plain = {name.strip().lower() for name in names}
    if plain & _SPEAKER and plain & _SPOKEN:
        return f"each row is one message of a chat: `curate collect chats {_quoted(file)} --out DIR` joins them"
    chars = {name: [len(row[name]) for row in rows if isinstance(row.get(name), str)] for name in names}
    texts = {name: sum(found) / len(found) for name, found in chars.items() if found}
    asks = next((name for name in texts if any(word in name.lower() for word in _ASKS)), None)
    answers = next((name for name in texts if name != asks and any(word in name.lower() for word in _ANSWERS)), None)
    if asks and answers:
        mapped = f"--map instruction={_quoted(asks)} --map output={_quoted(answers)}"
        return f"if {asks!r} asks and {answers!r} answers: {mapped}"
    long = [name for name in texts if texts[name] >= _LONG_CHARS]
    if not long:
        return None
    likely = max(long, key=lambda name: (any(word in name.lower() for word in _TEXT), texts[name]))
    return f"if {likely!r} is plain text to train on: --map text={_quoted(likely)}"


def _why(file: InputFile, name: str | None, reading: Reading) -> str:
    """What a file's format was recognised by, or the columns it has."""
    try:
        for block in importer_for(file).blocks(file):
            for row in block.rows[:200]:
                row = {reading.columns.get(key, key): value for key, value in row.items()}
                if name is None:
                    return excerpt(f"no format has its columns: {', '.join(map(str, row))}", 200)
                plan = plan_for(row, FORMATS[name] if reading.format else None)
                if plan is not None and plan.format.name == name:
                    return excerpt(plan.why(), 200)
    except Rejected:
        pass
    return "no row could be read" if name is None else "named with --format" if reading.format else ""
