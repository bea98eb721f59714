"""Code blocks that are not closed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from curate.measure import Field, Measure, gives, only

_FENCE = re.compile(r"^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


class OpenCodeFence(Measure):
    """Whether a code block is opened and never closed, so that all that follows is shown as code.

    Fences are read as CommonMark reads them (https://spec.commonmark.org/0.31.2/#fenced-code-blocks): closed by at
    least as many of the same character and nothing behind; indentation is not looked at. The stage `truncated` drops
    answers that also break off there.
    """

    type = "true/false"

    examples = (
        gives(True, instruction="Print.", answer="Here:\n```python\nprint(1)"),
        gives(True, instruction="打印", answer="代码如下：\n```python\nprint(1)\n\n以上就是全部代码。"),
        gives(True, instruction="Print.", answer="````\n```\nprint(1)\n```"),
        gives(True, instruction="Print.", answer="```\nprint(1)\n``` This prints one."),
        gives(False, instruction="Print.", answer="```python\nprint(1)\n```\nThis prints one."),
        gives(False, instruction="打印", answer="1. 先写：\n   ```python\n   print(1)\n   ```\n2. 再运行。"),
        gives(False, instruction="Show Markdown.", answer="````md\n```python\nprint(1)\n```\n````"),
        gives(False, instruction="Print.", answer="~~~\n```\n~~~"),
        gives(False, instruction="What is it?", answer="```print(1)``` prints one."),
        gives(False, instruction="打印", answer="用 `print(1)`。"),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        # Few texts have a fence, and the others cost nothing.
        fenced = only(text.str.contains("```", literal=True) | text.str.contains("~~~", literal=True), text)
        found = fenced.map_batches(_open, return_dtype=pl.Boolean, is_elementwise=True)
        return pl.when(text.is_not_null()).then(found.fill_null(False))


def _open(texts: pl.Series) -> pl.Series:
    said = [None if text is None else any(not closed for _, _, closed in blocks(text)) for text in texts]
    return pl.Series(texts.name, said, dtype=pl.Boolean)


def blocks(text: str) -> Iterator[tuple[str, str, bool]]:
    """The code blocks of a text: what stands behind the opening fence, the code, and whether the block is closed."""
    fence, info, begin = "", "", 0
    for found in _FENCE.finditer(text):
        mark, behind = found.groups()
        if not fence:
            # Behind backticks there may be none: ```so``` is code within a line.
            if mark[0] != "`" or "`" not in behind:
                fence, info, begin = mark, behind.strip(), found.end()
        elif mark.startswith(fence) and not behind.strip():
            yield info, text[begin : found.start()], True
            fence = ""
    if fence:
        yield info, text[begin:], False
