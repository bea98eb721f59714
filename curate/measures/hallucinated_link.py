"""Links that lead nowhere."""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from urllib.parse import urlsplit

import polars as pl

from curate.measure import Field, Measure, ascii_edges, gives, only

_CODE = r"(?s)```.*?(?:```|\z)|~~~.*?(?:~~~|\z)|`[^`\n]*`|<[a-zA-Z/!][^<>]*>"
# [text](), [text](#), [text](url), [text](http://): nothing behind the link.
_EMPTY = (
    r"(?:^|[^\w\])$])\[[^\[\]\n]{0,200}?[\p{L}]{2}[^\[\]\n]{0,200}?\]\(\s*(?:#?|https?://|(?i:urls?|links?|the link"
    r"|source|insert[^()\n]{0,40}|your[^()\n]{0,40}|链接|网址|地址|来源|此处[^()\n]{0,20}|插入[^()\n]{0,20}))\s*\)"
)
_URL = re.compile(
    r"(?i)(?<![A-Za-z0-9_\"'=`])https?://[^\s\"'<>"
    r"()\[\]{}（）【】《》“”，。；、！？\\\u3000-\u303f\u4e00-\u9fff]{1,2000}"
    r"|(?<![A-Za-z0-9_./@\"'=`-])www\.[a-z0-9.-]{1,200}"
    r"[^\s\"'<>()\[\]{}（）【】《》“”，。；、！？\\\u3000-\u303f\u4e00-\u9fff]{0,2000}"
)
_MADE_UP = re.compile(
    r"(?:your|my|some|sample|example|fake|company|domain)-?(?:link|url|website|site|domain|company(?:-?name)?|name|store"
    r"|blog|app)|placeholder|link|url|website(?:-?name)?|site|web-?page|page|insert-?link|x{3,}|abcxyz|xyzabc"
)
"""Names that stand for a name."""
_RESERVED = frozenset(
    ("example", "test", "invalid", "localhost", "local", "internal", "lan", "home", "corp", "onion", "arpa", "alt")
)
"""Top-level names that are set aside (RFC 2606, 6761, 6762, 7686, 8244, 9476) or used within networks."""
_EXAMPLES = frozenset(("example.com", "example.org", "example.net", "example.edu"))
_UNFILLED = re.compile(
    r"(?i)x{4,}|/your[-_/]|/insert[-_]|/path/to/|[?&=/](?:id|video_?id|article_?id|video_?url)$|=(?:x{3,}|abc123"
    r"|123456789\d*)$|\.\.\.|…"
)
_FOR_EXAMPLE = re.compile(r"(?i)example|e\.g\.|such as|like|looks|比如|例如|如：|示例|类似|形如")
_MOST_LINKS = 1_000
_NOT_PROSE = ascii_edges(
    r"(?i)\b(?:examples?|placeholders?|templates?|dummy|fake|fictional|imaginary|sample|url|urls|html|css|code"
    r"|script|regex|api|endpoint|curl|json|xml|yaml|markdown|http\w*|domain|website address|hyperlinks?|web ?page"
    r"|landing page|phishing|robots)\b"
    r"|示例|例子|模板|模版|虚构|假的|代码|脚本|正则|接口|网页|域名|超链接|链接格式|标签|钓鱼"
)


class HallucinatedLink(Measure):
    """Whether a link leads nowhere: `[text]()`, a top-level domain that does not exist, www.website.com, example.com.

    Looked for outside code. Top-level domains are those of the Public Suffix List (https://publicsuffix.org) as
    `tldextract` ships it; nothing is asked of the network, so that a link may well be dead and yet pass. A link that
    the instruction gave is nobody's invention, and where one asks for code or an example made-up names are right.
    """

    type = "true/false"
    libraries = ("tldextract",)

    examples = (
        gives(True, instruction="Where can I read more?", answer="See https://www.example.com/articles/rain for more."),
        gives(True, instruction="Where can I read more?", answer="Read the [full report]() by the WHO."),
        gives(True, instruction="A source?", answer="Source: http://www.link.com/rain"),
        gives(True, instruction="A video?", answer="Watch https://www.youtube.com/watch?v=xxxxxxxx"),
        gives(True, instruction="哪里可以看到？", answer="请访问 https://www.rainreport.cmo/2020 了解更多。"),
        gives(True, instruction="有来源吗？", answer="来源：[世界卫生组织](链接)"),
        gives(False, instruction="Where can I read more?", answer="See https://docs.python.org/3/library/re.html."),
        gives(False, instruction="哪里下载？", answer="请访问https://www.python.org/downloads，然后点下载。"),
        gives(False, instruction="Where is it served?", answer="At http://localhost:8080/ and http://192.168.1.20/."),
        gives(False, instruction="Is https://example.com/a up?", answer="Yes, https://example.com/a answers."),
        gives(False, instruction="Fetch a page.", answer="```\ncurl https://example.com\n```"),
        gives(False, instruction="Write an example of a URL.", answer="https://www.example.com/page"),
        gives(False, instruction="什么是数组？", answer="数组如 a[0](见上)，[1](2)。"),
        gives(False, instruction="Hi", answer="Hello!"),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        # A null costs nothing: few texts have links.
        linked = only(text.str.contains(r"(?i-u:http|www\.|\]\()"), text)
        instruction = only(linked.is_not_null(), self.text("instruction")).fill_null("")
        linked = only(~instruction.str.contains(_NOT_PROSE), linked)
        prose = linked.str.replace_all(_CODE, " ")
        empty = prose.str.contains(_EMPTY)
        pair = pl.struct(prose=only(prose.str.contains(r"(?i)https?://|www\."), prose), instruction=instruction)
        found = pair.map_batches(_lead_nowhere, return_dtype=pl.Boolean, is_elementwise=True)
        return pl.when(text.is_not_null()).then((empty | found).fill_null(False))

    def seen(self, field: Field) -> pl.Expr:
        prose = self.text(field).str.replace_all(_CODE, " ")
        pair = pl.struct(prose=prose, instruction=self.text("instruction").fill_null(""))
        return pl.coalesce(
            prose.str.extract(_EMPTY, 0).str.strip_chars(),
            pair.map_batches(_invented, return_dtype=pl.String, is_elementwise=True),
        )


def _invented(pairs: pl.Series) -> pl.Series:
    rows = zip(pairs.struct.field("prose"), pairs.struct.field("instruction"), strict=True)
    return pl.Series([text and _first_invented(text, asked) for text, asked in rows], dtype=pl.String)


def _lead_nowhere(pairs: pl.Series) -> pl.Series:
    return _invented(pairs).is_not_null()


def _first_invented(text: str, instruction: str) -> str | None:
    """The first link that leads nowhere and that the instruction does not name, or None."""
    given = instruction.casefold()
    for found in islice(_URL.finditer(text), _MOST_LINKS):
        link = found[0].rstrip(".,;:!?*_~")
        host = _host(link)
        if (
            host
            and _is_invented(link, host)
            and host not in given
            and not _FOR_EXAMPLE.search(text[max(found.start() - 60, 0) : found.start()])
        ):
            return link
    return None


def _host(link: str) -> str:
    try:
        return (urlsplit(link if "//" in link[:8] else f"http://{link}").hostname or "").rstrip(".")
    except ValueError:  # brackets or letters that no address has
        return ""


def _is_invented(link: str, host: str) -> bool:
    labels = host.split(".")
    if len(labels) < 2 or labels[-1] in _RESERVED or labels[-1].isdigit() or "" in labels:
        return False  # within a network, an address in numbers, or cut off
    own = labels[1:] if labels[0] == "www" else labels
    return (
        labels[-1] not in _top_level()
        or ".".join(labels[-2:]) in _EXAMPLES
        or (len(own) == 2 and _MADE_UP.fullmatch(own[0]) is not None)
        or _UNFILLED.search(link.partition(host)[2]) is not None
    )


@cache
def _top_level() -> frozenset[str]:
    """Every top-level domain there is, in Latin letters (`xn--…`) and its own."""
    from tldextract import TLDExtract

    names = {suffix.rpartition(".")[2] for suffix in TLDExtract(suffix_list_urls=(), cache_dir=None).tlds}
    return frozenset(names | {name.encode("idna").decode() for name in names if not name.isascii()})
