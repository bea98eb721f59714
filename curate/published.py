"""What is generated from the stages and formats: the JSON Schema of recipes, and the tables in the READMEs.

`python -m curate.published` writes them; a test holds that they are up to date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curate.measure import describe_measures
from curate.recipe import STAGES, describe_stages
from curate.stage import Stage
from schemas.formats import FORMATS
from schemas.lookup import find
from schemas.report_measures import TITLES, UNITS_ZH

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "schemas" / "json" / "recipe.json"
READMES = {"README.md": "en", "README.zh.md": "zh"}

CHINESE = {
    "balance": "按任务、来源或语言设上限，超出的行按种子随机舍去",
    "boilerplate": "整个回答只是客套话、一个词的应付，或只说自己是 AI 而没有帮助",
    "conflicting_answers": "问题几乎相同，而回答在数字、日期、是与否或文件名称上互相矛盾",
    "decontaminate": "与评测集有一段连续相同的文字，或问的就是评测题",
    "detect_language": "识别语言并填入 `lang`；代码、粤语和中英混合单独标出",
    "empty": "指令、回答或正文为空，或只有空白和标点",
    "exact_duplicates": "内容相同的行，忽略全角半角、标点、大小写和空白的差别",
    "language": "按语言保留或舍去",
    "flaws": "某项是非指标为“是”：JSON 无法解析、代码块未闭合、只复述问题、不可能存在的链接等",
    "language_mismatch": "回答所用语言既不是提问者用过的，也不是其要求的",
    "length": "过短或过长（按字符）",
    "near_duplicates": "与某一保留行近似重复；每一对都按精确的 Jaccard 相似度核对",
    "normalise_text": "统一 Unicode，去除控制字符，修复乱码",
    "personal_data": "个人信息替换为类型标签、带密钥的替身或星号，或剔除整行",
    "placeholder": "残留的占位内容：TODO、[插入姓名]、{{customer_name}}",
    "refusal": "拒绝回答，而不是真正回答",
    "repeated_passages": "在许多行中逐字重复的段落：报告、从行中删去，或剔除大部分为此的行",
    "repetition": "行、短语或词组反复出现",
    "top_by_score": "按另一个数据集的分数保留最好的行",
    "truncated": "回答中途断掉",
    "where": "保留满足列条件的行",
}
"""What each stage does, in Chinese, for the Chinese README."""

_HEADS = {
    "en": (
        "| stage | kind | what it does | reasons |",
        "| format | kind of row | what it is |",
        "| measure | gives | what it is |",
    ),
    "zh": ("| 阶段 | 类型 | 作用 | 原因 |", "| 格式 | 行的种类 | 内容 |", "| 指标 | 取值 | 含义 |"),
}


def stage_table(lang: str) -> str:
    """The table of stages in Markdown, in `en` or `zh`."""
    lines = [_HEADS[lang][0], "|---|---|---|---|"]
    for one in describe_stages():
        does = CHINESE[one["name"]] if lang == "zh" else one["description"].rstrip(".")
        reasons = ", ".join(f"`{reason}`" for reason in one["reasons"])
        lines.append(f"| `{one['name']}` | {one['kind']} | {does} | {reasons} |")
    return "\n".join(lines)


def format_table(lang: str) -> str:
    """The table of formats in Markdown."""
    lines = [_HEADS[lang][1], "|---|---|---|"]
    lines += [f"| `{one.name}` | {one.kind} | {one.description} |" for one in FORMATS.values()]
    return "\n".join(lines)


def measure_table(lang: str) -> str:
    """The table of measures in Markdown."""
    lines = [_HEADS[lang][2], "|---|---|---|"]
    for one in describe_measures():
        given = one["unit"] or one["type"]
        does = one["description"].rstrip(".")
        if lang == "zh":
            given, does = UNITS_ZH.get(given, given), TITLES[one["name"]].zh
        lines.append(f"| `{one['name']}` | {given} | {does} |")
    return "\n".join(lines)


def filled(text: str, lang: str) -> str:
    """A README with its generated parts as they should be."""
    tables = {"stages": stage_table(lang), "measures": measure_table(lang), "formats": format_table(lang)}
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe: editors complete and check recipes by it."""
    stages: list[dict[str, Any]] = [
        {
            "type": "object",
            "properties": {"use": {"type": "string", "pattern": "\\.py$"}, "name": {"type": "string"}},
            "required": ["use"],
            "description": "a stage of your own, by the path of its file",
        }
    ]
    for one in describe_stages():
        schema = find(STAGES, one["name"], Stage).model_json_schema()
        schema["description"] = one["description"]
        schema["properties"] = {
            "use": {"const": one["name"]},
            "name": {"type": "string"},
            **schema.get("properties", {}),
        }
        schema["required"] = ["use", *schema.get("required", [])]
        stages.append(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["stages"],
        "properties": {
            "name": {"type": "string"},
            "description": {"type": "string"},
            "inputs": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "stages": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, *stages]}},
        },
    }


def schema_text() -> str:
    """The recipe schema as its file's text."""
    return json.dumps(recipe_schema(), ensure_ascii=False, indent=2) + "\n"


def write() -> None:
    """Write the schema and the generated parts of the READMEs."""
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    for name, lang in READMES.items():
        path = ROOT / name
        path.write_text(filled(path.read_text(encoding="utf-8"), lang), encoding="utf-8")


if __name__ == "__main__":
    write()
