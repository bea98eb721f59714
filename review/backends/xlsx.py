"""Workbooks for people without a server: one for each person, blind, shuffled, and checked when they come back."""

from __future__ import annotations

import os
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from review.asked import Asked, Review, key_of, keyed
from review.backend import Backend, Given, Messages, Progress, Record
from review.display import visible
from review.forms import ANSWER, Lang, Option, Question, Words
from schemas.errors import UserError, UserErrors

SHEET, ABOUT, GUIDE, LISTS = "review", "about", "guide", "lists"
FIRST_ROW = 2
CELL_CHARS = 32_000
"""Excel takes 32,767 characters in a cell; what is cut is said."""

MOST_BYTES = 100 << 20
MOST_UNPACKED = 1 << 30
MOST_SHOWN = 50

_NUMBER = Words("No.", "序号")
_ID = Words("Id (leave as it is)", "编号（请勿修改）")
_PROMPT = Words("Conversation", "对话")
_ANSWER = Words("Answer", "回答")
_PLACE = Words("Place of answer", "排名：回答")
_YES = Words("yes", "是")
_CUT = Words("… (cut; {n} characters in all)", "……（已截断，共 {n} 个字符）")
_WHO = {
    "system": Words("System", "系统"),
    "user": Words("User", "用户"),
    "assistant": Words("Assistant", "助手"),
    "tool": Words("Tool", "工具"),
}


class _Column(NamedTuple):
    """A column that people fill in: the question, which part of it, its title, and words to values."""

    question: Question
    part: str
    title: str
    words: dict[str, str]


@dataclass(frozen=True)
class _Read:
    """A workbook that came back."""

    path: Path
    person: str
    given: dict[str, Given]
    rows: int


class Xlsx(Backend):
    """A folder of workbooks."""

    timed = False

    @property
    def address(self) -> None:
        """Workbooks are files on this machine, whoever they are handed to."""
        return

    @property
    def _review(self) -> Review:
        return Review(self.access.home, self.pushed.name)

    def prepare(self) -> dict[str, Any]:
        """Note the folder and the people. Raises UserError when there are too few."""
        old = self.pushed.place
        people = list(dict.fromkeys([*old.get("people", ()), *self.access.people]))
        for name in people:
            if not name.strip() or not name.isprintable() or len(name) > 60 or set(name) & set('/\\:*?"<>|'):
                raise UserError(f"{name!r} cannot name a person and a file", hint="for example --people anna,bo")
        if len(people) < self.pushed.overlap:
            raise UserError(
                f"each row is asked of {self.pushed.overlap} people, and there are {len(people)}",
                hint="name them: --people anna,bo; or give --overlap 1",
            )
        folder = self.access.folder or Path(old.get("folder", self._review.folder / "workbooks"))
        return {**old, "folder": str(folder), "people": people}

    def check(self, asked: Sequence[Asked]) -> None:
        """Each needs people who may have it."""
        self._assigned(asked, self._review)

    def send(self, records: Iterator[Record]) -> Iterator[Sequence[str]]:
        """Write a workbook for each person who gets something; ids when all are on disk."""
        ready = {record.asked.id: record for record in records}
        if not ready:
            return
        review = self._review
        given = self._assigned([record.asked for record in ready.values()], review)
        review.assign({id_: people for id_, people in given.items() if id_ in ready})
        folder = Path(self.pushed.place["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        key = key_of(self.access.home)
        # Of what has arrived nothing is written again: somebody may be filling it in.
        number = 1 + review.deliveries()
        for person in self.pushed.place["people"]:
            mine = [record for id_, record in ready.items() if person in given[id_]]
            mine.sort(key=lambda record: keyed(key, "sheet", person, record.asked.id))
            if mine:
                self._write(folder / f"{self.pushed.name}-{number}-{person}.xlsx", person, mine, key)
        yield list(ready)

    def answers(self) -> Iterator[Sequence[Given]]:
        """What the workbooks in the folder say. Raises UserErrors naming every cell that cannot be read."""
        for one in self._read():
            yield list(one.given.values())

    def progress(self) -> Progress:
        """How far people are, by the workbooks in the folder."""
        assigned = self._review.assigned()
        people: Counter[str] = Counter()
        done: Counter[str] = Counter()
        for one in self._read():
            people[one.person] += len(one.given)
            done.update(one.given.keys())
        answered = sum(done[id_] >= self.pushed.overlap for id_ in assigned)
        return Progress(len(assigned), answered, people.total(), dict(people))

    # ── who gets what ────────────────────────────────────────────────────────────────────────────────────────────────

    def _assigned(self, asked: Sequence[Asked], review: Review) -> dict[str, list[str]]:
        """Thing to people: as many as wanted, those who have least; gold to all, a repeat to those who had it first,
        a third opinion to one who had neither."""
        people = self.pushed.place["people"]
        known = review.assigned()
        everything = review.asked()
        load: Counter[str] = Counter(dict.fromkeys(people, 0))
        had: dict[tuple[str, tuple[int, ...]], set[str]] = defaultdict(set)
        for id_, those in known.items():
            load.update(those)
            if id_ in everything:
                had[_unit(everything[id_])].update(those)
        key = key_of(self.access.home)
        found: dict[str, list[str]] = {}
        for one in sorted(asked, key=lambda one: one.repeat):
            if one.id in known:
                found[one.id] = known[one.id]
                continue
            if one.why == "gold":
                those = list(people)
            elif one.repeat:
                those = sorted(had[_unit(one)])
            else:
                free = [person for person in people if not one.again or person not in had[_unit(one)]]
                count = 1 if one.again else self.pushed.overlap
                if len(free) < count:
                    raise UserError(
                        "everybody has seen a row that wants a third opinion", hint="name another person: --people NAME"
                    )
                order = {person: keyed(key, "who", one.id, person) for person in free}
                those = sorted(free, key=lambda person: (load[person], order[person]))[:count]
            found[one.id] = those
            load.update(those)
            had[_unit(one)].update(those)
        return found

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _lang(self) -> Lang:
        return cast(Lang, self.pushed.lang)

    def _columns(self) -> list[_Column]:
        """The columns that people fill in."""
        lang = self._lang
        found = []
        for one in self.form.questions:
            title = one.title.in_(lang)
            if one.kind == "choice":
                words = {option.words.in_(lang): option.value for option in one.options}
                found.append(_Column(one, "", title, words))
            elif one.kind == "choices":
                found += [
                    _Column(one, option.value, _part(title, option, lang), {_YES.in_(lang): "yes"})
                    for option in one.options
                ]
            elif one.kind == "rating":
                numbers = {str(value): str(value) for value in range(1, one.most + 1)}
                found.append(_Column(one, "", f"{title} (1–{one.most})", numbers))
            elif one.kind == "ranking":
                places = [str(place) for place in range(1, self.pushed.k + 1)]
                titles = [f"{_PLACE.in_(lang)} {place}" for place in places]
                each = dict(zip(places, places, strict=True))
                found += [
                    _Column(one, f"{ANSWER}{place}", said, each) for place, said in zip(places, titles, strict=True)
                ]
            else:
                found.append(_Column(one, "", title, {}))
        return found

    def _shown(self) -> list[str]:
        """Titles of the columns before those that people fill in."""
        lang = self._lang
        count = {"two": 2, "several": self.pushed.k, "one": 1, "row": 0}[self.form.shows]
        names = ["A", "B"] if self.form.shows == "two" else [str(place + 1) for place in range(count)]
        titles = [f"{_ANSWER.in_(lang)} {name}" for name in names] if count != 1 else [_ANSWER.in_(lang)]
        return [_NUMBER.in_(lang), _ID.in_(lang), _PROMPT.in_(lang), *titles]

    def _write(self, path: Path, person: str, records: Sequence[Record], key: bytes) -> None:
        import openpyxl
        from openpyxl.styles import Alignment, Font, Protection
        from openpyxl.utils import get_column_letter
        from openpyxl.worksheet.datavalidation import DataValidation

        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.title = SHEET
        shown, columns = self._shown(), self._columns()
        last = FIRST_ROW + len(records) - 1
        lists = book.create_sheet(LISTS)
        for place, title in enumerate([*shown, *(column.title for column in columns)], start=1):
            _put(sheet.cell(1, place), title)
            sheet.cell(1, place).font = Font(bold=True)
            sheet.cell(1, place).alignment = Alignment(wrap_text=True, vertical="top")
            wide = 6 if place == 1 else 14 if place == 2 else 60 if place <= len(shown) else 22
            sheet.column_dimensions[get_column_letter(place)].width = wide
        for number, record in enumerate(records):
            line = FIRST_ROW + number
            texts = [str(number + 1), _checked(record.asked.id, self.pushed.name, person, key)]
            texts += [self._text(record.prompt, True), *(self._text(answer, False) for answer in record.answers)]
            for place, text in enumerate(texts, start=1):
                _put(sheet.cell(line, place), text)
                sheet.cell(line, place).alignment = Alignment(wrap_text=place > 2, vertical="top")
            for place in range(len(shown) + 1, len(shown) + len(columns) + 1):
                sheet.cell(line, place).protection = Protection(locked=False)
                sheet.cell(line, place).alignment = Alignment(wrap_text=True, vertical="top")
        for number, column in enumerate(columns, start=1):
            if not column.words:
                continue
            for row, word in enumerate(column.words, start=1):
                if word.isdigit():  # as people type it: Excel tells the number 1 from the text 1
                    lists.cell(row, number).value = int(word)
                else:
                    _put(lists.cell(row, number), word)
            letter, target = get_column_letter(number), get_column_letter(len(shown) + number)
            choice = DataValidation(
                "list", formula1=f"={LISTS}!${letter}$1:${letter}${len(column.words)}", allow_blank=True
            )
            choice.errorTitle, choice.error, choice.showErrorMessage = "?", " / ".join(column.words)[:250], True
            choice.add(f"{target}{FIRST_ROW}:{target}{last}")
            sheet.add_data_validation(choice)
        sheet.freeze_panes = sheet.cell(FIRST_ROW, 3)
        sheet.column_dimensions["B"].hidden = True
        sheet.protection.sheet = True  # without a password: against slips, not against people
        for name in ("formatColumns", "formatRows", "sort", "autoFilter"):
            setattr(sheet.protection, name, False)
        guide = book.create_sheet(GUIDE)
        guide.column_dimensions["A"].width = 110
        for number, text in enumerate((self.access.guidelines or self.form.guide.in_(self._lang)).split("\n"), start=1):
            _put(guide.cell(number, 1), text)
            guide.cell(number, 1).alignment = Alignment(wrap_text=True, vertical="top")
        about = book.create_sheet(ABOUT)
        for number, (name, value) in enumerate((("review", self.pushed.name), ("person", person)), start=1):
            _put(about.cell(number, 1), name)
            _put(about.cell(number, 2), value)
        for hidden in (lists, about):
            hidden.sheet_state = "hidden"
        temporary = path.with_name(f".{path.name}.part")
        book.save(temporary)
        temporary.replace(path)

    def _text(self, messages: Messages, named: bool) -> str:
        """Turns as the text of a cell; each with its speaker where there is more than one."""
        pieces = []
        for one in messages:
            said = "\n".join(part for part in (one.get("content"), one.get("tool_calls")) if part)
            who = _WHO.get(one["role"], Words(one["role"], one["role"])).in_(self._lang)
            pieces.append(f"[{who}] {said}" if named or len(messages) > 1 else said)
        text = visible("\n\n".join(pieces))
        if len(text) > CELL_CHARS:
            return text[:CELL_CHARS] + _CUT.in_(self._lang).format(n=f"{len(text):,}")
        return text

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self) -> list[_Read]:
        folder = self.access.folder or Path(self.pushed.place["folder"])
        paths = sorted(path for path in folder.glob("*.xlsx") if not path.name.startswith(("~$", ".")))
        if not paths:
            raise UserError(f"{folder} holds no workbooks", hint="put those that came back there, or give --from DIR")
        asked = self._review.asked()
        key = key_of(self.access.home)
        errors: list[UserError] = []
        read = [one for path in paths if (one := self._workbook(path, asked, key, errors)) is not None]
        seen: dict[tuple[str, str], Path] = {}
        for one in read:
            for id_, given in one.given.items():
                other = seen.setdefault((one.person, id_), one.path)
                if other != one.path and self._differs(read, other, one.person, given):
                    errors.append(
                        UserError(
                            f"{one.path.name} and {other.name} hold different answers of {one.person} to the same row",
                            hint="keep only the later workbook in the folder",
                            file=str(one.path),
                        )
                    )
                    break
        if errors:
            more = len(errors) - MOST_SHOWN
            if more > 0:
                errors = [*errors[:MOST_SHOWN], UserError(f"and {more} more", hint="mend these first")]
            raise UserErrors(errors)
        return read

    def _differs(self, read: Sequence[_Read], path: Path, person: str, given: Given) -> bool:
        return any(
            one.path == path and one.person == person and one.given[given.asked].values != given.values for one in read
        )

    def _workbook(self, path: Path, asked: Mapping[str, Asked], key: bytes, errors: list[UserError]) -> _Read | None:
        def wrong(message: str, hint: str) -> None:
            errors.append(UserError(f"{path.name}: {message}", hint=hint, file=str(path)))

        import openpyxl

        began = datetime.now(UTC)
        try:
            _check_size(path)
            book = openpyxl.load_workbook(path, read_only=False, data_only=False, keep_links=False)
        except UserError as error:
            errors.append(error)
            return None
        except Exception as error:  # a broken workbook raises whatever its part of the library raises
            wrong(f"cannot be opened: {type(error).__name__}", "ask for it again, saved as .xlsx")
            return None
        if SHEET not in book.sheetnames or ABOUT not in book.sheetnames:
            wrong("is not one of our workbooks", "send back the workbook itself, not a copy of its cells")
            return None
        about = {str(row[0].value): str(row[1].value) for row in book[ABOUT].iter_rows(min_row=1, max_row=2, max_col=2)}
        if about.get("review") != self.pushed.name:
            wrong(
                f"is of the review {about.get('review')!r}", f"put workbooks of {self.pushed.name} only into the folder"
            )
            return None
        person = about.get("person", "")
        # openpyxl takes this moment for a time that a workbook does not tell.
        saved = book.properties.modified.replace(tzinfo=UTC)
        if saved >= began:
            saved = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return self._answers(path, book[SHEET], person, saved.isoformat(), asked, key, wrong)

    def _answers(
        self, path: Path, sheet: Any, person: str, at: str, asked: Mapping[str, Asked], key: bytes, wrong: Any
    ) -> _Read:
        shown, columns = self._shown(), self._columns()
        given: dict[str, Given] = {}
        where: dict[str, str] = {}
        rows = 0
        most = FIRST_ROW + 2 * len(asked) + 1_000
        for line in sheet.iter_rows(
            min_row=FIRST_ROW, max_row=min(sheet.max_row, most), max_col=len(shown) + len(columns)
        ):
            cells = line[len(shown) :]
            said = line[1].value
            if said is None and all(cell.value is None for cell in line):
                continue
            rows += 1
            id_ = str(said).partition(".")[0]
            if id_ not in asked or said != _checked(id_, self.pushed.name, person, key):
                wrong(
                    f"cell {line[1].coordinate}: the id was changed, or is from another workbook",
                    "undo the change: answers are matched to rows by it",
                )
                continue
            if id_ in where:
                wrong(f"cell {line[1].coordinate}: the same id as in {where[id_]}", "keep one of the two rows")
                continue
            where[id_] = line[1].coordinate
            values = self._values(cells, columns, wrong)
            if values:
                given[id_] = Given(id_, person, values, at)
        return _Read(path, person, given, rows)

    def _values(self, cells: Sequence[Any], columns: Sequence[_Column], wrong: Any) -> dict[str, Any]:
        """Question to value of one row; nothing where nobody answered it."""
        values: dict[str, Any] = {}
        if all(cell.value is None or str(cell.value).strip() == "" for cell in cells):
            return values
        for cell, column in zip(cells, columns, strict=True):
            text = "" if cell.value is None else str(cell.value).strip()
            if cell.data_type == "f":
                wrong(f"cell {cell.coordinate}: a formula is no answer", "write the answer itself")
                continue
            if text.endswith(".0") and text[:-2].isdigit():
                text = text[:-2]
            name = column.question.name
            if not text:
                if column.question.required:
                    wrong(f"cell {cell.coordinate}: {column.title!r} is not answered", "choose one from the list")
                continue
            if column.words and text not in column.words:
                wrong(f"cell {cell.coordinate}: {text[:40]!r} is no answer", f"one of: {', '.join(column.words)}"[:300])
                continue
            value = column.words.get(text, text)
            if column.question.kind == "choices":
                values.setdefault(name, []).append(column.part)
            elif column.question.kind == "ranking":
                values.setdefault(name, []).append({"value": column.part, "rank": int(value)})
            else:
                values[name] = int(value) if column.question.kind == "rating" else value
        return values


def _part(title: str, option: Option, lang: Lang) -> str:
    return f"{title} {option.words.in_(lang)}"


def _unit(asked: Asked) -> tuple[str, tuple[int, ...]]:
    return asked.row_id, tuple(sorted(asked.shown))


def _checked(id_: str, review: str, person: str, key: bytes) -> str:
    """An id with a mark that says that it is from this person's workbook."""
    return f"{id_}.{keyed(key, 'cell', review, person, id_).hex()[:8]}"


def _put(cell: Any, text: str) -> None:
    """Text into a cell, as text whatever it begins with: a row's `=HYPERLINK(…)` is shown and never computed."""
    cell.value = text
    if cell.data_type != "n" and text:
        cell.data_type = "s"
        cell.quotePrefix = text[0] in "=+-@\t\r"


def _check_size(path: Path) -> None:
    """Raise UserError for a file that would fill the memory."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(one.file_size for one in packed.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path.name} is no workbook: {error}", hint="ask for it again", file=os.fspath(path)) from None
    if size > MOST_BYTES or unpacked > MOST_UNPACKED:
        raise UserError(
            f"{path.name} is too large for a workbook of answers", hint="ask for it again", file=os.fspath(path)
        )
