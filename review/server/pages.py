"""Argilla's web pages, with scripts allowed only where they are the pages' own.

As they come, the pages run what rows hold: a plain text that looks like HTML is shown in a frame that may run scripts,
a chat without Markdown is written into the page as it is, and a row of a custom field is put between script tags,
where `</script>` ends it. A row could so act as whoever looks at it. Here, what is no Markdown is shown as the text it
is. Besides, each start of a server chooses a secret word, its nonce: scripts of the pages carry it, and browsers are
told to run no others. Scripts of a custom field's template, which is the work of the dataset's owner, carry it too;
handlers such as onclick= do not run.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

# How the pages' code begins the scripts that it writes into frames. Beginnings are matched, so that the rest of the
# code, which has the word <script> in other uses, stays as it is.
_OWN = re.compile(
    r"<script(?=>const record = #RECORD_OBJECT#|>\\n  const record = #RECORD_OBJECT#|>\\n  Handlebars\.registerHelper"
    r"|>\\nif \(parent\))"
)
_RECORD = "JSON.stringify(this.sdkRecord)"
# Written so, a record cannot end the script it stands in, nor be taken for the place of the template, nor be read as
# a pattern of what to put there.
_RECORD_ESCAPED = _RECORD + r'.replace(/[<#$]/g,(function(c){return"\\u00"+c.charCodeAt(0).toString(16)}))'
_TEMPLATE = '.replace("#TEMPLATE#",this.content)'
_FILLED = (
    '.replace("#TEMPLATE#",(function(t){return function(){return t.replace(/<script/gi,"MARKED")}})(this.content))'
)
# Where a text field and a message of a chat are shown without Markdown.
_PLAIN_TEXT = re.compile(
    r'\w\.isHTML\?\w\("Sandbox",\{attrs:\{content:\w\.fieldText\}\}\):'
    r'(\w\("div",\{class:\w\.classes,domProps:\{)innerHTML(?=:\w\._s\(\w\.fieldText\)\})'
)
_PLAIN_CHAT = re.compile(
    r'("MarkdownRenderer",\{attrs:\{markdown:(\w)\}\}\):\w\("span",\{domProps:\{)innerHTML(?=:\w\._s\(\2\)\})'
)


def policy(nonce: str) -> str:
    """What browsers may load and run for our pages, as a Content-Security-Policy.

    Nothing comes from elsewhere: a picture in a row's Markdown would tell its host who reads what and when. A custom
    field's template is compiled in the browser, hence unsafe-eval.
    """
    return "; ".join(
        [
            "default-src 'self' data: blob:",
            f"script-src 'self' 'unsafe-eval' 'nonce-{nonce}'",
            "style-src 'self' 'unsafe-inline'",
            "frame-src 'self'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        ]
    )


def guard(folder: Path, nonce: str) -> None:
    """Mark the pages' own scripts in this start's copy of them. Raises RuntimeError if they are not as expected."""
    marked = f"<script nonce={nonce}"
    done: Counter[str] = Counter()
    for path in folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("<script>", f"{marked}>"), encoding="utf-8")
    for path in folder.rglob("*.js"):
        before = text = path.read_text(encoding="utf-8")
        for what, place, instead in (
            ("scripts", _OWN, marked),
            ("records", re.compile(re.escape(_RECORD)), _RECORD_ESCAPED),
            ("templates", re.compile(re.escape(_TEMPLATE)), _FILLED.replace("MARKED", marked)),
            ("texts", _PLAIN_TEXT, None),
            ("chats", _PLAIN_CHAT, None),
        ):
            text, times = place.subn(lambda match, to=instead: to or match[1] + "textContent", text)  # type: ignore[misc]
            done[what] += times
        if text != before:
            path.write_text(text, encoding="utf-8")
    if len(+done) < 5:
        raise RuntimeError("the pages of Argilla are not those that this version of assay knows how to guard")
