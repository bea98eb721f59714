"""JSON that is none."""

from __future__ import annotations

import json
import re

import polars as pl

from curate.measure import Field, Measure, ascii_edges, gives, only
from curate.measures.open_code_fence import blocks

_ASKED = ascii_edges(
    r"(?i)\b(?:respond|reply|answer|output|return|give|provide|produce|format|generate|present|write|convert|extract"
    r"|result)\w*\b[^.?!\n]*?"
    r"\b(?:in|as|to|into|using|with|of|only|a|valid) (?:(?:a|an|valid|strict|the|following|only|pure|raw"
    r"|well-formed) ){0,3}json\b"
    r"|\b(?:return|output|respond with|reply with|give me) (?:(?:only|valid|pure|strict|raw) )*json\b"
    r"|\bjson (?:only|output|format)\b|\bjson\s*[:：]\s*$"
    r"|(?:以|用|按|按照|采用|使用|为|成|返回|输出|生成|给出|转换?为|转换?成|只)[^。！？\n]*?json(?:\s?(?:的?(?:格式"
    r"|形式|字符串|对象|数组|数据|结构))|[，。,.\s]|$)"
)
# JSON is then the subject, and the answer's a program or an explanation.
_ABOUT = ascii_edges(
    r"(?i)\b(?:what is|what's|how (?:do|to|can|does|would)|explain|difference|why|python|javascript|java|php|ruby"
    r"|golang|rust|c#|c\+\+|script|function|code|parse|parser|parsing|program|api|schema|jsonl|yaml|json lines"
    r"|invalid|error|fix|broken|template|example|sample|pseudo\w*)\b"
    r"|什么是|是什么|怎么|如何|为什么|区别|代码|函数|脚本|程序|解析|接口|示例|例子|模板|模版|报错|错误|修复"
)
# Comments, dots and names of things to fill in: JSON as it is shown to people, not meant for a machine.
_SHOWN = re.compile(r"(?:^|[\s,{\[])(?://|/\*|#)|\.\.\.|…|<[\w\s-]{2,40}>|\{\{|\$\{", re.MULTILINE)


class InvalidJson(Measure):
    """Whether JSON was to be given and cannot be parsed: a ```json block, or an answer in JSON that was asked for.

    Sure cases only. Blocks with comments, `…` or something to fill in count where JSON was asked for; an answer counts
    that begins like JSON (`{` or `[`) and breaks before its end, but not one in other words. Where a program, a schema
    or an example was asked for nothing is judged but blocks.
    """

    type = "true/false"
    libraries = ("orjson",)

    examples = (
        gives(True, instruction="List two cities in JSON format.", answer='{"cities": ["Oslo", "Rome"'),
        gives(True, instruction="Return the result as JSON only.", answer="{'name': 'Ann', 'age': 3}"),
        gives(True, instruction="请以JSON格式返回姓名和年龄。", answer='{"姓名": "小明", "年龄": 3,}'),
        gives(True, instruction="介绍一下配置", answer='如下：\n```json\n{"端口": 80 "主机": "a"}\n```'),
        gives(False, instruction="List two cities in JSON format.", answer='{"cities": ["Oslo", "Rome"]}'),
        gives(False, instruction="Return JSON only.", answer="[1, 2]\n\nThese are the two numbers."),
        gives(False, instruction="Output as JSON.", answer='{"a": 1}\n{"a": 2}'),
        gives(False, instruction="请以JSON格式返回。", answer='```json\n{"姓名": "小明"}\n```'),
        gives(False, instruction="How does a config look?", answer='```json\n{\n  // the port\n  "port": 80\n}\n```'),
        gives(False, instruction="Write a Python function that returns JSON.", answer="[x for x in y]"),
        gives(False, instruction="什么是集合？", answer="{1, 2} 是一个集合。"),
        gives(False, instruction="Name a city in JSON format.", answer="I cannot do that."),
    )

    def value(self, field: Field) -> pl.Expr:
        text, instruction = self.text(field), self.text("instruction")
        # A null costs nothing: few rows have to do with JSON.
        about = only(instruction.str.contains_any(["json"], ascii_case_insensitive=True), instruction)
        asked = (about.str.contains(_ASKED) & ~about.str.contains(_ABOUT)).fill_null(False)
        fenced = only(text.str.contains("```", literal=True), text).str.contains(r"```[ \t]*(?i-u:json)")
        likely = fenced.fill_null(False) | (asked & text.str.head(100).str.contains(r"^\s*[{\[]"))
        pair = pl.struct(answer=only(likely, text), asked=asked)
        found = pair.map_batches(_broken, return_dtype=pl.Boolean, is_elementwise=True)
        return pl.when(text.is_not_null()).then(found.fill_null(False))

    def seen(self, field: Field) -> pl.Expr:
        return pl.format("“{}”", self.text(field).str.extract(r"(?i)(?:```\s*json\s*)?([{\[](?s:.{0,60}))", 1))


def _broken(pairs: pl.Series) -> pl.Series:
    answers, asked = pairs.struct.field("answer"), pairs.struct.field("asked")
    return pl.Series(
        [text is not None and _is_broken(text, wanted) for text, wanted in zip(answers, asked, strict=True)],
        dtype=pl.Boolean,
    )


def _is_broken(text: str, asked: bool) -> bool:
    fenced = [code for info, code, closed in blocks(text) if closed and info.casefold() == "json"]
    if fenced or not asked or "```" in text:
        return any(not _parses(code) and (asked or not _SHOWN.search(code)) for code in fenced)
    return not _parses(text) and not _begins_with_json(text)


def _parses(text: str) -> bool:
    """Whether it is JSON, or JSON on each of several lines."""
    import orjson

    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip()[0] in "{[" and line.rstrip()[-1] in "}]" for line in lines):
            return False
        try:
            for line in lines:
                orjson.loads(line)
        except orjson.JSONDecodeError:
            return False
    return True


def _begins_with_json(text: str) -> bool:
    """Whether it is JSON up to some place, and words from there on."""
    try:
        value, _ = json.JSONDecoder(parse_constant=_refused).raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list)


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
