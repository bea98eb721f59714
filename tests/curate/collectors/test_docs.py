"""Rows from documents."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from curate.collectors.collector import Found, Refused, width
from curate.collectors.docs import Docs
from curate.collectors.docs.split import split
from curate.collectors.docs.wording import question

LONG = "This sentence is long enough to be worth a row, for it says something that one could want to know about."
LANG = (
    "这一段文字足够长，可以单独成为一条数据，因为它说明了读者可能想要了解的内容，包括安装步骤、配置方法和注意事项等。"
)


def collect(tmp_path: Path, content: str | bytes, name: str, **settings: Any) -> list[Found | Refused]:
    path = tmp_path / Path(name).name
    path.write_bytes(dedent(content).lstrip("\n").encode() if isinstance(content, str) else content)
    return list(Docs(**settings).collect([(path, name)]))


def answers(out: list[Found | Refused]) -> dict[str, str]:
    return {str(one.part): str(one.messages[1]["content"]) for one in out if isinstance(one, Found)}


def reasons(out: list[Found | Refused]) -> list[str]:
    return [one.reason for one in out if isinstance(one, Refused)]


# ---- Markdown


def test_headings_keep_their_path_and_line(tmp_path: Path) -> None:
    out = collect(
        tmp_path,
        f"""
        # Guide
        ## Install
        ### Linux
        {LONG}
        ### Windows
        {LONG}

        Use
        ===
        {LONG}
        """,
        "guide.md",
    )

    assert [(one.part, one.line) for one in out if isinstance(one, Found)] == [
        ("Guide > Install > Linux", 3),
        ("Guide > Install > Windows", 5),
        ("Use", 8),
    ]
    assert reasons(out) == []


def test_the_question_names_heading_and_place(tmp_path: Path) -> None:
    out = collect(tmp_path, f"# Guide\n## Install\n### Linux\n{LONG}\n", "guide.md")

    assert isinstance(out[0], Found)
    asked = out[0].messages[0]["content"]
    assert "Linux" in asked
    assert "Guide > Install" in asked


def test_a_chinese_section_is_asked_about_in_chinese(tmp_path: Path) -> None:
    out = collect(tmp_path, f"# 手册\n## 安装\n{LANG}\n", "手册.md")

    assert isinstance(out[0], Found)
    assert "“手册”" in out[0].messages[0]["content"]
    assert out[0].part == "手册 > 安装"


def test_code_and_tables_stay_as_they_are(tmp_path: Path) -> None:
    body = f"{LONG}\n\n```sh\n# not a heading\nrun <b> [x](y) <!-- kept -->\n```\n\n| a | b |\n| - | - |\n| 1 | 2 |"

    out = collect(tmp_path, f"# Guide\n\n{body}\n", "guide.md")

    assert answers(out) == {"Guide": body}


def test_front_matter_comments_badges_and_dead_links_are_left_out(tmp_path: Path) -> None:
    out = collect(
        tmp_path,
        f"""
        ---
        title: "The Handbook"
        layout: page
        ---
        # Start
        [![build](https://x/badge.svg)](https://x)
        <!-- a secret
        over lines -->
        - [Start](#start)
        - [End](#end)

        <p align="center">{LONG}</p>
        See [the guide](guide.md), [the site](https://example.org) and [`code`][ref].

        [ref]: https://example.org/code
        """,
        "x.md",
    )

    assert answers(out) == {
        "Start": f"{LONG}\nSee the guide, [the site](https://example.org) and [`code`](https://example.org/code)."
    }
    assert isinstance(out[0], Found)
    assert out[0].extra["title"] == "The Handbook"
    assert out[0].line == 5


def test_short_sections_join_the_one_above_and_nothing_is_lost(tmp_path: Path) -> None:
    out = collect(tmp_path, f"# Options\n## -v\nVerbose.\n## -q\nQuiet.\n## -x\n{LONG}\n", "o.md")

    assert answers(out) == {"Options > -x": LONG}
    assert reasons(out) == ["too_short"]
    assert isinstance(out[0], Refused)
    assert "Verbose." in out[0].held
    assert "Quiet." in out[0].held

    longer = collect(tmp_path, f"# Options\n{LONG}\n## -v\nVerbose.\n## -q\nQuiet.\n", "o.md")

    assert answers(longer) == {"Options": f"{LONG}\n\n**-v**\n\nVerbose.\n\n**-q**\n\nQuiet."}


def test_an_empty_section_is_refused_and_a_heading_of_others_is_not(tmp_path: Path) -> None:
    out = collect(tmp_path, f"# A\n## B\n{LONG}\n## C\n# D\n", "a.md")

    assert [(one.reason, one.line) for one in out if isinstance(one, Refused)] == [
        ("empty_section", 4),
        ("empty_section", 5),
    ]


def test_licences_and_lists_of_links_are_refused(tmp_path: Path) -> None:
    links = "\n".join(f"- [a page about something {n}](https://example.org/{n})" for n in range(9))
    licence = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and files."

    out = collect(tmp_path, f"# Links\n{links}\n# Terms\n{licence}\n", "a.md")

    assert reasons(out) == ["navigation", "licence_text"]


def test_a_long_section_is_split_between_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"{number}. {LONG}" for number in range(10)]

    out = collect(tmp_path, "# Guide\n" + "\n\n".join(paragraphs), "a.md", max_chars=500)

    parts = answers(out)
    assert list(parts) == ["Guide (1/3)", "Guide (2/3)", "Guide (3/3)"]
    assert "\n\n".join(parts.values()) == "\n\n".join(paragraphs)
    assert all(width(part) <= 500 for part in parts.values())
    assert isinstance(out[1], Found)
    assert out[1].messages[0]["content"].endswith("(part 2 of 3)")


def test_a_table_is_split_under_its_head_and_long_code_is_refused() -> None:
    table = "\n".join(["| a | b |", "| --- | --- |", *(f"| {number} | some text |" for number in range(40))])
    code = "```\n" + "x = 1\n" * 200 + "```"

    parts, too_long = split(f"{table}\n\n{code}", 400)

    assert all(part.startswith("| a | b |\n| --- | --- |\n") for part in parts)
    assert sum(part.count("some text") for part in parts) == 40
    assert too_long == [code]


def test_a_document_without_headings_is_called_after_its_file(tmp_path: Path) -> None:
    out = collect(tmp_path, LONG, "docs/getting-started.md")

    assert [one.part for one in out if isinstance(one, Found)] == ["getting started"]


# ---- HTML


def test_a_page_keeps_what_it_is_about(tmp_path: Path) -> None:
    out = collect(
        tmp_path,
        f"""
        <html><head><title>Install — The Book</title><style>p {{}}</style><script>alert(1)</script></head><body>
        <nav><ul><li><a href="/">Home</a></li></ul></nav><div class="sidebar">Menu</div>
        <main><h1>Install<a class="headerlink" href="#i">¶</a></h1><!-- hidden --><p>{LONG}</p>
        <h2>On <code>Linux</code></h2>
        <pre><code class="language-sh"># no heading
        run</code></pre><p>{LONG}</p>
        <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>&lt;i&gt;2&lt;/i&gt;</td></tr></table>
        </main><footer>Imprint</footer></body></html>
        """,
        "install.html",
    )

    found = answers(out)
    assert list(found) == ["Install", "Install > On Linux"]
    assert found["Install"] == LONG
    assert "```sh\n# no heading\n" in found["Install > On Linux"]
    assert "| a | b |\n| --- | --- |\n| 1 | <i>2</i> |" in found["Install > On Linux"]
    assert [one.line for one in out] == [3, 4]
    assert isinstance(out[0], Found)
    assert out[0].extra["title"] == "The Book"
    whole = str(out)
    assert not any(word in whole for word in ("Home", "Menu", "Imprint", "hidden", "alert"))


# ---- reStructuredText

RST = f"""
Guide
=====

.. note:: Take care.

Install
-------

{LONG} See :ref:`the guide <guide>`, :class:`~a.b.Name` and ``code``.

.. code-block:: python
   :emphasize-lines: 1

   print("# no heading")

.. versionadded:: 2.0

.. toctree::

   other

==== ====
a    b
==== ====
1    2
==== ====
"""


def test_restructuredtext_becomes_markdown(tmp_path: Path) -> None:
    out = collect(tmp_path, RST, "guide.rst")

    text = answers(out)["Guide > Install"]
    assert text.startswith(f"{LONG} See the guide, `Name` and `code`.")
    assert '```python\nprint("# no heading")\n```' in text
    assert "**Added in version 2.0.**" in text
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |" in text
    assert "other" not in text
    assert next(one.line for one in out if isinstance(one, Found) and one.part == "Guide > Install") == 6


def test_restructuredtext_reads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("TOP SECRET")
    out = collect(
        tmp_path,
        f"""
        Guide
        =====

        {LONG}

        .. include:: {tmp_path}/secret.txt

        .. raw:: html
           :file: {tmp_path}/secret.txt

        .. csv-table::
           :file: {tmp_path}/secret.txt

        .. literalinclude:: {tmp_path}/secret.txt
        """,
        "guide.rst",
    )

    assert answers(out) == {"Guide": LONG}


def test_markup_that_docutils_cannot_read_is_accounted_for(tmp_path: Path) -> None:
    out = collect(tmp_path, f"Guide\n=====\n\n{LONG}\n\n.. note::\n   :size: 3\n\n   Lost.\n", "guide.rst")

    assert answers(out) == {"Guide": LONG}
    assert [one.detail for one in out if isinstance(one, Refused)] == ["cannot be read as reStructuredText at line 6"]


# ---- plain text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"Guide\n=====\n\nInstall\n-------\n\n{LONG}\n", ["Guide > Install"]),
        (f"1 Start\n\n{LONG}\n\n1.1 More\n\n{LONG}\n\n2 End\n\n{LONG}\n", ["1 Start", "1 Start > 1.1 More", "2 End"]),
        (
            f"第一章 总则\n\n{LANG}\n\n第一节 目的\n{LANG}\n\n第二章 附则\n{LANG}\n",
            ["第一章 总则", "第一章 总则 > 第一节 目的", "第二章 附则"],
        ),
        (f"SYNOPSIS\n\n{LONG}\n\nDESCRIPTION\n\n{LONG}\n", ["SYNOPSIS", "DESCRIPTION"]),
        (LONG, ["note"]),
    ],
)
def test_plain_text_is_divided_by_what_looks_like_headings(tmp_path: Path, text: str, parts: list[str]) -> None:
    assert list(answers(collect(tmp_path, text, "note.txt"))) == parts


@pytest.mark.parametrize("codec", ["gb18030", "utf-16", "utf-16-le"])
def test_other_encodings_are_read(tmp_path: Path, codec: str) -> None:
    out = collect(tmp_path, f"第一章 总则\n\n{LANG}\n\n第二章 附则\n\n{LANG}\n".encode(codec), "a.txt")

    assert answers(out) == {"第一章 总则": LANG, "第二章 附则": LANG}


# ---- DOCX


def docx(body: str, **parts: bytes) -> bytes:
    types = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{types}.document.main+xml"/>'
            f'<Override PartName="/word/styles.xml" ContentType="{types}.styles+xml"/></Types>',
        )
        space = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
        archive.writestr(
            "_rels/.rels",
            f'<Relationships {space}><Relationship Id="r1" Type="{kind}/officeDocument" Target="word/document.xml"/>'
            "</Relationships>",
        )
        archive.writestr(
            "word/_rels/document.xml.rels",
            f'<Relationships {space}><Relationship Id="r1" Type="{kind}/styles" Target="styles.xml"/></Relationships>',
        )
        main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
        styles = "".join(
            f'<w:style w:type="paragraph" w:styleId="{level}"><w:name w:val="heading {level}"/></w:style>'
            for level in (1, 2)
        )
        archive.writestr("word/styles.xml", f'<w:styles xmlns:w="{main}">{styles}</w:styles>')
        archive.writestr(
            "word/document.xml", body.replace("<w:body>", f'<w:document xmlns:w="{main}"><w:body>', 1) + "</w:document>"
        )
        for name, data in parts.items():
            archive.writestr(name, data)
    return out.getvalue()


def paragraph(text: str, style: int = 0) -> str:
    styled = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{styled}<w:r><w:t>{text}</w:t></w:r></w:p>"


def test_word_headings_and_tables_are_kept(tmp_path: Path) -> None:
    cell = "<w:tc>{}</w:tc>"
    table = "".join(
        "<w:tr>" + "".join(cell.format(paragraph(text)) for text in row) + "</w:tr>"
        for row in (("年限", "天数"), ("1", "5"))
    )
    body = paragraph("手册", 1) + paragraph("休假", 2) + paragraph(LANG) + f"<w:tbl>{table}</w:tbl>"

    out = collect(tmp_path, docx(f"<w:body>{body}</w:body>"), "手册.docx")

    assert answers(out) == {"手册 > 休假": f"{LANG}\n\n| 年限 | 天数 |\n| --- | --- |\n| 1 | 5 |"}


def test_a_word_document_without_heading_styles_is_divided_by_its_numbering(tmp_path: Path) -> None:
    lines = ["第一章 总则", LANG, "第二章 附则", LANG]

    out = collect(tmp_path, docx(f"<w:body>{''.join(map(paragraph, lines))}</w:body>"), "a.docx")

    assert list(answers(out)) == ["第一章 总则", "第二章 附则"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (docx("<w:body></w:body>", bomb=b"\0" * 20_000_000), "archive_bomb"),
        (docx('<!DOCTYPE x [<!ENTITY a "b">]><w:body></w:body>'), "xml_entities"),
        (docx('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><w:body></w:body>'), "xml_entities"),
        (docx("<w:body>" + "<w:tbl><w:tr><w:tc>" * 500 + "</w:tc></w:tr></w:tbl>" * 500 + "</w:body>"), "too_deep"),
        (b"\xd0\xcf\x11\xe0" + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "old_format"),
        (b"PK\x03\x04 not an archive", "damaged"),
        (docx(f"<w:body>{paragraph(LONG)}</w:body>")[:600], "damaged"),
    ],
)
def test_hostile_word_files_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reasons(collect(tmp_path, data, "a.docx")) == [reason]


# ---- PDF


def pdf(*pages: list[tuple[float, float, str]], content: bytes | None = None) -> bytes:
    """A PDF whose pages hold lines of text: size, height above the foot of the page, words."""
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for at, lines in enumerate(pages):
        drawn = " ".join(f"BT /F1 {size} Tf 72 {height} Td ({text}) Tj ET" for size, height, text in lines).encode()
        drawn = content if content is not None else drawn
        box = "/Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
        page = f"<<{box}/Contents {5 + 2 * at} 0 R>>"
        packed = zlib.compress(drawn)
        stream = b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed)
        objects += [page.encode(), stream]
    out = b"%PDF-1.4\n"
    places = []
    for number, one in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        size,
        table,
        size,
        len(out),
    )


PAPER = pdf(
    [
        (20, 700, "Handbook"),
        (14, 660, "Holidays"),
        (10, 640, "Everyone who works here has thirty days of paid leave in a year, and asks for"),
        (10, 628, "them in the calendar at least two weeks before they begin, so that work is plan-"),
        (10, 616, "ned in time."),
        (9, 30, "Page 1 of 2"),
    ],
    [
        (14, 700, "Sickness"),
        (10, 680, "Whoever is ill calls before ten in the morning. From the third day on a note of a"),
        (10, 668, "doctor is needed, which is sent to the office."),
        (9, 30, "Page 2 of 2"),
    ],
)


def test_headings_of_a_pdf_are_told_by_their_size(tmp_path: Path) -> None:
    out = collect(tmp_path, PAPER, "a.pdf")

    assert answers(out) == {
        "Handbook > Holidays": "Everyone who works here has thirty days of paid leave in a year, and asks for them in "
        "the calendar at least two weeks before they begin, so that work is planned in time.",
        "Handbook > Sickness": "Whoever is ill calls before ten in the morning. From the third day on a note of a "
        "doctor is needed, which is sent to the office.",
    }
    assert [one.extra["page"] for one in out if isinstance(one, Found)] == [1, 2]


def test_only_so_many_pages_are_read(tmp_path: Path) -> None:
    out = collect(tmp_path, PAPER, "a.pdf", max_pages=1)

    assert list(answers(out)) == ["Handbook > Holidays"]
    assert reasons(out) == ["too_many_pages"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pdf([]), "no_text_layer"),
        (b"%PDF-1.4\n" + bytes(range(256)) * 100, "damaged"),
        (b"<html>", "damaged"),
        (PAPER[: len(PAPER) // 2], "no_text_layer"),
        (PAPER.replace(b"/Root 1 0 R", b"/Root 1 0 R/Encrypt<</Filter/Standard/V 9/R 9>>"), "encrypted"),
    ],
)
def test_pdfs_that_cannot_be_used_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reasons(collect(tmp_path, data, "a.pdf")) in ([reason], ["damaged"])


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_read(tmp_path: Path) -> None:
    (tmp_path / "bomb.pdf").write_bytes(pdf([], content=b"q " * 20_000_000))
    (tmp_path / "a.md").write_text(LONG)

    out = list(Docs(timeout_seconds=1).collect([(tmp_path / name, name) for name in ("bomb.pdf", "a.md")]))

    assert reasons(out) == ["too_slow"]
    assert list(answers(out)) == ["a"]


# ---- hostile text


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("<div>" * 50_000 + "x", "a.html"),
        ("<b><i>" * 2_000 + LONG, "a.html"),
        ("<!--" * 100_000, "a.html"),
        ("<![CDATA[" * 50_000, "a.html"),
        ("<h1>a</h1><p>" + "&#xD800; " * 100, "a.html"),
        (">" * 50_000 + "x", "a.md"),
        ("- " * 20_000 + "x", "a.md"),
        ("[" * 100_000 + "x", "a.md"),
        ("[a](" * 50_000, "a.md"),
        ("# " + "*a " * 20_000, "a.md"),
        ("\n" * 100_000, "a.md"),
        ("---\n" * 10_000, "a.md"),
        ("\n\n".join(" " * depth + "x" for depth in range(700)), "a.rst"),
        ("*" * 100_000 + "\n\n`" * 1_000, "a.rst"),
        (".. |a| replace:: |a|\n\n|a|\n", "a.rst"),
        ("x" * 1_000_000, "a.txt"),
    ],
)
def test_hostile_text_ends_in_rows_or_reasons(tmp_path: Path, content: str, name: str) -> None:
    out = collect(tmp_path, content.encode(), name, timeout_seconds=30)

    assert out
    assert not {"unreadable", "too_slow"} & set(reasons(out))


def test_the_reader_may_open_nothing_else_and_connect_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x")
    program = f"""
import socket
from curate.collectors.docs.reader import _confine
_confine([])
for forbidden in (
    lambda: open({str(tmp_path / "other")!r}),
    lambda: open({str(tmp_path / "new")!r}, "w"),
    lambda: socket.create_connection(("127.0.0.1", 9)),
    lambda: __import__("os").system("true"),
    lambda: __import__("subprocess").Popen(["true"]),
):
    try:
        forbidden()
    except PermissionError:
        print("refused")
"""
    path = os.pathsep.join(one for one in sys.path if one)

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )

    assert done.stdout.split() == ["refused"] * 5


# ---- wording


@pytest.mark.parametrize(
    ("title", "path", "lang", "asked"),
    [
        ("Guide", ["Guide", "How to install it"], "en", "How do I install it?"),
        ("Guide", ["Guide", "What is a row?"], "en", "What is a row?"),
        ("手册", ["手册", "如何安装"], "zh", "如何安装？"),
        ("Guide", ["Guide", "2.1 Setup"], "en", "“Setup”"),
        ("Guide", [], "en", "“Guide”"),
    ],
)
def test_headings_become_questions(title: str, path: list[str], lang: str, asked: str) -> None:
    assert asked in question(title, path, lang=lang, key="k").replace("? (Guide)", "?")


def test_questions_about_sections_vary_and_stay_the_same() -> None:
    asked = [question("Guide", ["Guide", "Setup"], lang="en", key=str(number)) for number in range(60)]

    assert len(set(asked)) >= 5
    assert asked == [question("Guide", ["Guide", "Setup"], lang="en", key=str(number)) for number in range(60)]
