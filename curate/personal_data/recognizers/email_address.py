"""E-mail addresses, also between Chinese characters."""

from __future__ import annotations

from functools import cache
from typing import Any

from .shape import ShapeRecognizer, plain

_LOCAL = r"[0-9A-Za-zÀ-ɏ_](?:[0-9A-Za-zÀ-ɏ_.+'~\-]{0,63})"
_LABEL = r"[0-9A-Za-zÀ-ɏ](?:[0-9A-Za-zÀ-ɏ\-]{0,62})"
_AT_IN_WORDS = r" ?[\[(（{<] ?at ?[\])）}>] ?"
_DOT_IN_WORDS = r"(?: ?[\[(（{<] ?dot ?[\])）}>] ?|[.．])"


class EmailAddressRecognizer(ShapeRecognizer):
    """Local part, @ and a domain below a public suffix; also with full-width signs, or `(at)` and `(dot)`."""

    ENTITY = "EMAIL_ADDRESS"
    SHAPES = (
        (
            "address",
            rf"(?<![0-9A-Za-zÀ-ɏ_.+~\-]){_LOCAL}[@＠](?:{_LABEL}[.．]){{1,8}}[A-Za-z]{{2,24}}"
            r"(?![0-9A-Za-z@_]|:[\w./~\-]|-[A-Za-z0-9])",
            0.5,
        ),
        (
            "in words",
            rf"(?<![0-9A-Za-z_.\-])[0-9A-Za-z_](?:[0-9A-Za-z_.+\-]{{0,63}}){_AT_IN_WORDS}"
            rf"(?:[0-9A-Za-z](?:[0-9A-Za-z\-]{{0,62}}){_DOT_IN_WORDS}){{1,8}}[A-Za-z]{{2,24}}(?![0-9A-Za-z@_])",
            0.5,
        ),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        domain = plain(pattern_text).rpartition("@")[2]
        for word in ("at", "dot"):
            domain = domain if "@" in pattern_text else domain.replace(f"({word})", ".").replace(f"[{word}]", ".")
        found = suffixes()(domain.replace(" ", ""))
        return bool(found.suffix and found.domain)


@cache
def suffixes() -> Any:
    """The public suffixes that tldextract's own package holds: nothing is fetched, and no cache is written."""
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
