"""Addresses of machines (IPv4, IPv6), also beside Chinese characters."""

from __future__ import annotations

import ipaddress

from .shape import ShapeRecognizer, plain

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_V4 = rf"(?:{_OCTET}[.．]){{3}}{_OCTET}(?:/[0-9]{{1,2}})?"
_WIDE = r"(?:[0-9０-９]{1,3}[.．。]){3}[0-9０-９]{1,3}"
_END = r"(?![0-9A-Za-z_]|[.．][0-9A-Za-z]|-[0-9A-Za-z]| ?(?:版|version))"
_NOT_VERSION = (
    r"(?<!(?:\bversion|\bver|\bv|版本号?|版|\brelease|\bbuild|固件|内核|驱动|升级到|更新到|chapter|section|章|节|==|>=|<=|~=|\^"
    r"|chrome|firefox|edge|safari|opera)[ .:：/]{0,2})"
)
_V6 = r"(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{1,4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?:/[0-9]{1,3})?"


_WITHIN_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"),
    )
)
"""Addresses that every network may use for itself (RFC 1918, 3927, 4193, 6598): they lead to nobody."""


class IpAddressRecognizer(ShapeRecognizer):
    """Addresses that can be some machine's in the whole net: no version numbers, masks, loopback or unspecified
    addresses, nor those that are used within networks."""

    ENTITY = "IP_ADDRESS"
    SHAPES = (
        ("IPv4", rf"(?<![0-9A-Za-z_.．\-])(?=[0-9]{{1,3}}[.．]){_NOT_VERSION}{_V4}{_END}", 0.6),
        (
            "IPv4, full-width",
            rf"(?<![0-9０-９A-Za-z_.．])(?=[0-9０-９]{{1,3}}[.．。]){_NOT_VERSION}{_WIDE}(?![0-9０-９A-Za-z_])",
            0.6,
        ),
        ("IPv6", rf"(?<![0-9A-Za-z_:.])(?=[0-9a-f]{{0,4}}:){_V6}(?![0-9A-Za-z_:]|\.[0-9])", 0.6),
    )

    def invalidate_result(self, pattern_text: str) -> bool:
        text = plain(pattern_text).replace("。", ".")
        try:
            address = ipaddress.ip_interface(text).ip
        except ValueError:
            return True
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            return True
        if any(address in network for network in _WITHIN_NETWORKS):
            return True
        if address.version == 4:
            # 1.2.3.4 is a section or a version more often than a machine.
            return text.startswith(("255.", "0.")) or text.endswith(".0.0.0") or len(text) <= 7
        # Names in C++ and clock times have few groups.
        return sum(len(group) for group in text.partition("/")[0].split(":")) < 6 or text.count(":") < 3
