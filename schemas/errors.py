"""What can go wrong because of input, drawn as a tree.

UserError            a person's mistake: shown as a sentence with a hint, exit status 2, never a traceback
├── RecipeError      a recipe or --set names something that does not exist or cannot be
├── DatasetError     a folder is not a whole dataset, or not the one that was expected
└── UserErrors       several of the above, reported at once
Rejected             one row, line or file cannot become a row: goes to rejected.jsonl, never stops a run
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """A mistake a person can mend: what is wrong, where, and what to do next.

    `file` and `line` (counted from 1) say where, when a file is what is wrong.
    """

    def __init__(self, message: str, *, hint: str = "", file: str = "", line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.file = file
        self.line = line

    def as_json(self) -> dict[str, object]:
        """The error as `--json` prints it."""
        return {"message": self.message, "hint": self.hint, "file": self.file, "line": self.line}


class RecipeError(UserError):
    """A recipe says something that cannot be done."""


class DatasetError(UserError):
    """A folder is not a whole dataset, or not the one that was expected."""


class UserErrors(UserError):  # noqa: N818 - several errors
    """Several mistakes found in one go."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = list(errors)


def raise_all(errors: Sequence[UserError]) -> None:
    """Raise the mistakes found, all at once and in the order of their lines; nothing if there are none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserErrors(sorted(errors, key=lambda error: (error.file, error.line or 0)))


class Rejected(Exception):  # noqa: N818 - a verdict on a row, not an error of the program
    """One row cannot be used.

    `reason` is a short snake_case name that is counted and shown (`missing_field`, `bad_json`); `detail` says what was
    found, in words, and never carries more of the row than a field's name.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known name closest to `name`, or lists them all."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else ""
