"""How many links there are."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives


class UrlCount(Measure):
    """How many web addresses there are: http://…, https://… and www.…."""

    type = "numbers"
    unit = "addresses"

    examples = (
        gives(2, instruction="Where?", answer="See https://docs.python.org/3/ and www.python.org."),
        gives(1, instruction="在哪里下载？", answer="请访问https://www.python.org/downloads下载。"),
        gives(0, instruction="What does www mean?", answer="www is short for World Wide Web."),
        gives(0, instruction="你好", answer=""),
    )

    def value(self, field: Field) -> pl.Expr:
        # With its scheme an address's www. is no second one: the scheme's match takes it along.
        found = r"(?i)https?://[^\s/]|(?:^|[^\w./@]|\p{Han})www\.[a-z0-9-]+\.[a-z]"
        return self.text(field).str.count_matches(found).cast(pl.Int64)
