"""Addresses of pages, also between Chinese characters."""

from __future__ import annotations

from .email_address import suffixes
from .shape import ShapeRecognizer

_HOST = r"(?:[0-9A-Za-zÀ-ɏ](?:[0-9A-Za-zÀ-ɏ_\-]{0,62})\.){1,8}[A-Za-z0-9]{2,24}"
_IPV4 = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
_REST = r"(?::[0-9]{1,5})?(?:[/?#](?:[0-9A-Za-z\-._~:/?#\[\]@!$&'()*+,;=%|]{0,2000}[0-9A-Za-z\-_~/#=&$+%])?)?"
_USER = r"(?:[0-9A-Za-z\-._~%!$&*+,;=:]{1,128}@)?"


class PageUrlRecognizer(ShapeRecognizer):
    """http, https, ftp and www addresses below a public suffix or at a number; no bare domains."""

    ENTITY = "URL"
    SHAPES = (
        ("with scheme", rf"(?<![A-Za-z])(?:https?|ftps?|sftp)://{_USER}(?:{_HOST}|{_IPV4}){_REST}", 0.6),
        ("www", rf"(?<![0-9A-Za-z_@./\-])www[0-9]{{0,2}}\.{_HOST}{_REST}", 0.5),
    )

    def invalidate_result(self, pattern_text: str) -> bool:
        found = suffixes()(pattern_text)
        return not (found.ipv4 or (found.suffix and found.domain))
