"""A row as people see it in a browser: pieces of text for a page that shows them side by side, all of them harmless.

Argilla puts a record as JSON into a script on a page of the server's own origin, by a text replacement, before any
template runs. What a template escapes is therefore not enough: `</script>` in an answer would end that script, and
`$&` or `#TEMPLATE#` would be replaced. `defused` breaks these sequences with an invisible word joiner, which `restored`
takes out again from what people copy into their answers. Everything else is left to the template's `{{...}}`.
"""

from __future__ import annotations

import re
from typing import Any

from review.forms import Lang, Words
from schemas.excerpt import printable

SHOWN_CHARS = 60_000
"""How much of one turn is shown; what is cut is said."""

_JOINER = "\u2060"
_DANGEROUS = re.compile(r"<(?=!--|/?script)|\$(?=[$&`'])|#(?=TEMPLATE#|RECORD_OBJECT#)", re.IGNORECASE)
_DEFUSED = re.compile(f"([<$#]){_JOINER}")

# One pass each over a line, no nested repeats: linear in the text.
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([A-Za-z0-9_+#.\-]{0,30})")
_HEADING = re.compile(r"#{1,6} +(.+)")
_ITEM = re.compile(r"( *)(?:([-*+])|(\d{1,4})[.)、]) +(.+)")
_INLINE = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*")

_WHO = {
    "system": Words("System", "系统"),
    "user": Words("User", "用户"),
    "assistant": Words("Assistant", "助手"),
    "tool": Words("Tool", "工具"),
}
_CUT = Words("… (cut; {n} characters in all)", "……（已截断，共 {n} 个字符）")


def defused(text: str) -> str:
    """`text` with an invisible character inside every sequence that would leave the script it is put into."""
    return _DANGEROUS.sub(lambda found: found[0] + _JOINER, text)


def restored(text: str) -> str:
    """`text` without what `defused` put in."""
    return _DEFUSED.sub(r"\1", text)


def visible(text: str) -> str:
    """`text` with control and bidirectional characters made visible; lines stay lines."""
    if text.isascii() and text.isprintable():
        return text
    return "\n".join(line if line.isprintable() else printable(line) for line in text.splitlines())


def turn(role: str, text: str, lang: Lang) -> dict[str, Any]:
    """One turn for the page: {who, role, blocks}."""
    return {"who": _WHO.get(role, Words(role, role)).in_(lang), "role": role, "blocks": blocks(text, lang)}


def blocks(text: str, lang: Lang = "en") -> list[dict[str, Any]]:
    """Markdown as pieces for a template: {code, name} for a code block, and {text | head | item: parts} where a part is
    {t}, {b} bold or {c} code. What is not understood stays text; nothing is lost but the marks."""
    whole = len(text)
    if whole > SHOWN_CHARS:
        text = text[:SHOWN_CHARS]
    found: list[dict[str, Any]] = []
    lines = [defused(line) for line in visible(text).split("\n")]
    plain: list[str] = []

    def flush() -> None:
        said = "\n".join(plain).strip("\n")
        if said:
            found.append({"text": _parts(said)})
        plain.clear()

    place = 0
    while place < len(lines):
        line = lines[place]
        if fence := _FENCE.match(line):
            flush()
            end = place + 1
            while end < len(lines) and lines[end].strip() != fence[1]:
                end += 1
            found.append({"code": "\n".join(lines[place + 1 : end]), "name": fence[2]})
            place = end + 1
            continue
        if heading := _HEADING.fullmatch(line):
            flush()
            found.append({"head": _parts(heading[1])})
        elif item := _ITEM.fullmatch(line):
            flush()
            mark = "•" if item[2] else f"{item[3]}."
            found.append({"item": _parts(item[4]), "mark": mark, "deep": len(item[1]) >= 2})
        elif not line.strip():
            flush()
        else:
            plain.append(line)
        place += 1
    flush()
    if whole > SHOWN_CHARS:
        found.append({"text": [{"t": _CUT.in_(lang).format(n=f"{whole:,}")}]})
    return found


def _parts(text: str) -> list[dict[str, str]]:
    parts: list[dict[str, str]] = []
    end = 0
    for found in _INLINE.finditer(text):
        if found.start() > end:
            parts.append({"t": text[end : found.start()]})
        parts.append({"c": found[1]} if found[1] is not None else {"b": found[2]})
        end = found.end()
    if end < len(text):
        parts.append({"t": text[end:]})
    return parts


_BLOCKS = (
    "{{#each blocks}}"
    '{{#if code}}<div>{{#if name}}<span class="r-name">{{name}}</span>{{/if}}<pre>{{code}}</pre></div>{{/if}}'
    '{{#if head}}<p class="r-head">{{#each head}}{{t}}{{b}}{{#if c}}<code>{{c}}</code>{{/if}}{{/each}}</p>{{/if}}'
    '{{#if item}}<p class="r-item{{#if deep}} r-deep{{/if}}"><i>{{mark}}</i><span>'
    "{{#each item}}{{t}}{{#if b}}<b>{{b}}</b>{{/if}}{{#if c}}<code>{{c}}</code>{{/if}}{{/each}}</span></p>{{/if}}"
    "{{#if text}}<p>"
    "{{#each text}}{{t}}{{#if b}}<b>{{b}}</b>{{/if}}{{#if c}}<code>{{c}}</code>{{/if}}{{/each}}</p>{{/if}}"
    "{{/each}}"
)

TEMPLATE = (
    """<style>
body { margin: 0; font: 15px/1.6 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  color: var(--fg-primary, inherit); overflow-wrap: anywhere; }
p { margin: 0 0 .6em; white-space: pre-wrap; }
.r-head { font-weight: 650; }
.r-item { display: flex; gap: .5em; margin-bottom: .3em; } .r-item i { font-style: normal; opacity: .65; flex: none; }
.r-deep { padding-left: 1.4em; }
pre { margin: 0 0 .7em; padding: .6em .8em; white-space: pre-wrap; border-radius: 5px;
  background: rgba(128,128,128,.13); font: 13px/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font: .9em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; background: rgba(128,128,128,.13);
  border-radius: 3px; padding: 0 .25em; white-space: pre-wrap; }
.r-name { float: right; font-size: 11px; opacity: .6; padding: .2em .6em; }
.r-turn { border-left: 3px solid rgba(128,128,128,.35); padding-left: .9em; margin-bottom: 1em; }
.r-who { font-size: 12px; font-weight: 650; opacity: .65; margin-bottom: .2em; }
.r-answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19em), 1fr)); gap: 1em; }
.r-answer { border: 1px solid rgba(128,128,128,.35); border-radius: 8px; padding: .8em 1em; min-width: 0; }
.r-answer h3 { margin: 0 0 .5em; font-size: 14px; }
</style>
{{#each record.fields.row.turns}}<div class="r-turn"><div class="r-who">{{who}}</div>"""
    + _BLOCKS
    + """</div>{{/each}}
<div class="r-answers">
{{#each record.fields.row.answers}}<div class="r-answer"><h3>{{name}}</h3>{{#each turns}}"""
    '{{#if who}}<div class="r-who">{{who}}</div>{{/if}}'
    + _BLOCKS
    + """{{/each}}</div>{{/each}}
</div>
"""
)
"""How Argilla shows a row. Handlebars' `{{...}}` escapes HTML; there is no `{{{...}}}`, no script and no `$` in it."""
