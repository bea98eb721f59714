"""E-mail addresses, also between Chinese characters."""

from __future__ import annotations

from functools import cache
from typing import Any

import regex

from .shape import FLAGS, ShapeRecognizer, plain

_LOCAL = r"[0-9A-Za-zÀ-ɏ_](?:[0-9A-Za-zÀ-ɏ_.+'~\-]{0,63})"
_LABEL = r"[0-9A-Za-zÀ-ɏ](?:[0-9A-Za-zÀ-ɏ\-]{0,62})"
_AT_IN_WORDS = r" ?[\[(（{<] ?at ?[\])）}>] ?"
_DOT_IN_WORDS = r"(?: ?[\[(（{<] ?dot ?[\])）}>] ?|[.．])"
# Without brackets only at hosts that give addresses to everybody: who looks at example dot com is no address.
_HOST = (
    r"(?:qq|163|126|139|189|263|yeah|foxmail|sina|sohu|aliyun|tom|gmail|googlemail|hotmail|outlook|live|msn|yahoo|icloud"
    r"|proton|protonmail|gmx|aol|mail)"
)
_END = r"(?:com(?:[.．]cn)?|cn|net|org|me|de|ru|co[.．]uk)"
_MAIL = r"(?:mail|邮箱|邮件|郵箱|write to|contact|reach|联系|聯繫|发到|发给|发送到)"
_BOUND = r"(?<![0-9A-Za-z_.#/@\-])"
_ENDED = r"(?![0-9A-Za-z@_]|[.．\-][0-9A-Za-z])"
_SPOKEN = rf"[ \t]at[ \t]{_HOST}[ \t]dot[ \t](?:com(?:[ \t]dot[ \t]cn)?|cn|net|org|me|de|ru){_ENDED}"
_PRONOUN = r"(?!(?:me|us|him|her|them|you|it|up|out|is|are|be|look|address|account|mail|e-?mail|inbox)[ \t])"


class EmailAddressRecognizer(ShapeRecognizer):
    """Local part, @ and a domain below a public suffix; also with full-width signs, or `(at)` and `(dot)`. At hosts
    where everybody may have one also `name#qq.com`, and `name at qq dot com` where it is no English sentence."""

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
        (
            "# for @",
            rf"{_BOUND}[0-9A-Za-z_](?:[0-9A-Za-z_.+\-]{{1,63}})[#＃](?:vip[.．])?{_HOST}[.．]{_END}{_ENDED}",
            0.5,
        ),
        (
            "spoken",
            rf"{_BOUND}(?=[0-9A-Za-z_.+\-]{{0,40}}[0-9_.+\-])[0-9A-Za-z_](?:[0-9A-Za-z_.+\-]{{1,40}}){_SPOKEN}",
            0.5,
        ),
        (
            "spoken of",
            rf"{_BOUND}(?=[0-9A-Za-z_])(?<={_MAIL}[^\n@]{{0,24}}){_PRONOUN}[0-9A-Za-z_](?:[0-9A-Za-z_.+\-]{{0,40}})"
            rf"{_SPOKEN}",
            0.5,
        ),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        if "@" not in plain(pattern_text) and _OF_HOST.search(pattern_text):
            return True
        domain = plain(pattern_text).rpartition("@")[2]
        for word in ("at", "dot"):
            domain = domain if "@" in pattern_text else domain.replace(f"({word})", ".").replace(f"[{word}]", ".")
        found = suffixes()(domain.replace(" ", ""))
        return bool(found.suffix and found.domain)


_OF_HOST = regex.compile(rf"[#＃](?:vip[.．])?{_HOST}[.．]{_END}$|{_SPOKEN}$", FLAGS)


@cache
def suffixes() -> Any:
    """The public suffixes that tldextract's own package holds: nothing is fetched, and no cache is written."""
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
