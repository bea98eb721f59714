"""How much of a text is code."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives, only, share

_BLOCK = r"(?ms)^[ \t>]*```.*?(?:^[ \t>]*```[^\n]*|\z)"


class CodeShare(Measure):
    """Share of characters in code blocks between lines of three backticks, those lines included, 0 to 1."""

    type = "numbers"
    unit = "share"

    examples = (
        gives(0.5, instruction="Print.", answer="So, like:\n\n```\nf()\n```"),
        gives(1.0, instruction="写代码", answer="```python\nprint('好')\n```"),
        gives(0.0, instruction="What is `ls`?", answer="`ls` lists files."),
        gives(0.0, instruction="你好", answer="您好！"),
        gives(None, instruction="Hi", answer=""),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        chars = text.str.len_chars()
        # A null costs nothing: only texts that have code are copied.
        prose = only(text.str.contains("```", literal=True), text).str.replace_all(_BLOCK, "").str.len_chars()
        return share(chars - prose.fill_null(chars), chars)
