"""Rows from Python source."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pydantic import ValidationError

from curate.collectors.code import Code
from curate.collectors.collector import Found, Refused

HYPOTENUSE = '''
import math

SCALE = 2


def scaled(x):
    return x * SCALE


def hypotenuse(a: float, b: float) -> float:
    """Return the length of the longest side of a right triangle.

    Args:
        a: One side.
        b: The other side.
    """
    # Pythagoras
    total = scaled(a) ** 2 + scaled(b) ** 2
    return math.sqrt(total)
'''


def collect(tmp_path: Path, source: str, name: str = "shapes.py", **settings: Any) -> list[Found | Refused]:
    path = tmp_path / "input.py"
    path.write_text(dedent(source), encoding="utf-8")
    return list(Code(**settings).collect([(path, name)]))


def rows(out: list[Found | Refused]) -> dict[str, Found]:
    return {str(one.task): one for one in out if isinstance(one, Found)}


def reasons(out: list[Found | Refused]) -> list[str]:
    return [one.reason for one in out if isinstance(one, Refused)]


def question(row: Found) -> str:
    return str(row.messages[0]["content"])


def answer(row: Found) -> str:
    return str(row.messages[1]["content"])


def code(text: str) -> str:
    return text.removeprefix("```python\n").removesuffix("\n```")


def test_a_function_gives_a_row_for_each_task(tmp_path: Path) -> None:
    out = collect(tmp_path, HYPOTENUSE)

    found = rows(out)
    assert list(found) == ["write_function", "explain_function", "document_function"]
    assert {(row.part, row.line, row.file) for row in found.values()} == {("hypotenuse", 11, "shapes.py")}
    assert [message["role"] for message in found["write_function"].messages] == ["user", "assistant"]


def test_the_code_to_write_is_asked_for_with_what_it_uses(tmp_path: Path) -> None:
    row = rows(collect(tmp_path, HYPOTENUSE))["write_function"]

    assert "import math" in question(row)
    assert "def scaled(x): ..." in question(row)
    assert "SCALE" not in question(row)
    assert "def hypotenuse(a: float, b: float) -> float:" in question(row)
    assert "longest side" in question(row)


def test_the_code_to_write_leaves_out_the_docstring_and_keeps_comments(tmp_path: Path) -> None:
    row = rows(collect(tmp_path, HYPOTENUSE))["write_function"]

    assert code(answer(row)) == dedent(
        """\
        def hypotenuse(a: float, b: float) -> float:
            # Pythagoras
            total = scaled(a) ** 2 + scaled(b) ** 2
            return math.sqrt(total)"""
    )


def test_the_docstring_stays_in_the_answer_when_asked_for(tmp_path: Path) -> None:
    row = rows(collect(tmp_path, HYPOTENUSE, docstrings=True))["write_function"]

    assert '"""Return the length' in answer(row)
    assert "repeat" not in question(row)


def test_an_explanation_is_the_description_without_the_arguments(tmp_path: Path) -> None:
    row = rows(collect(tmp_path, HYPOTENUSE))["explain_function"]

    assert answer(row) == "Return the length of the longest side of a right triangle."
    assert "longest side" not in question(row)


def test_a_documented_function_is_the_function_as_it_was(tmp_path: Path) -> None:
    row = rows(collect(tmp_path, HYPOTENUSE))["document_function"]

    assert code(answer(row)) == HYPOTENUSE[HYPOTENUSE.index("def hypotenuse") :].rstrip()
    assert "Google style" in question(row)
    assert "longest side" not in question(row)


METHOD = '''
class Basket(dict, Base):
    def total(self) -> int:
        """Add up the prices of what lies in the basket."""
        return 0 + sum(self.values())

    class Line:
        @property
        @cached(
            size=3,
        )
        async def label(self) -> str:
            """Give the label that is printed on the till's receipt."""
            template = f"""
  {self.name}
            is it
            """
            other = self.price(
                1,
            )
            return template + other

        def price(self, n: int) -> str:
            return str(n)
'''


def test_a_method_comes_with_its_class(tmp_path: Path) -> None:
    found = rows(collect(tmp_path, METHOD, min_lines=2, tasks=["write_function"]))

    row = found["write_function"]
    assert row.part == "Basket.Line.label"
    assert "class Line:" in question(row)
    assert "def price(self, n: int) -> str: ..." in question(row)
    assert "self.name" in question(row)
    assert row.extra["kind"] == "method"


def test_a_subclass_names_what_it_extends(tmp_path: Path) -> None:
    out = collect(tmp_path, METHOD, min_lines=2, tasks=["explain_function"])

    assert "the class `Basket` (a subclass of `dict`, `Base`)" in question(next(o for o in out if isinstance(o, Found)))


def test_decorators_async_and_multi_line_strings_survive_the_move_to_the_margin(tmp_path: Path) -> None:
    row = rows(collect(tmp_path, METHOD, tasks=["document_function"]))["document_function"]

    written = code(answer(row))
    assert written.startswith('@property\n@cached(\n    size=3,\n)\nasync def label(self) -> str:\n    """Give')
    assert 'f"""\n  {self.name}\n            is it\n            """' in written
    assert "\n    other = self.price(\n        1,\n    )\n" in written


def test_every_answer_that_is_code_does_what_the_source_did(tmp_path: Path) -> None:
    out = collect(tmp_path, METHOD + HYPOTENUSE, min_lines=1, fenced=False)

    wanted: dict[str, str] = {}
    for node in ast.walk(ast.parse(METHOD + HYPOTENUSE)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            wanted[f"document_function {node.name}"] = ast.unparse(node)
            if ast.get_docstring(node):
                node.body = node.body[1:]
            wanted[f"write_function {node.name}"] = ast.unparse(node)
    for row in out:
        if isinstance(row, Found) and row.task != "explain_function":
            name = str(row.part).split(".")[-1]
            assert ast.unparse(ast.parse(answer(row))) == wanted[f"{row.task} {name}"]


CHINESE = '''
def 清理(目录: str, 天数: int = 30) -> int:
    """删除目录中超过指定天数没有访问的缓存文件。

    参数：
        目录: 缓存所在的目录
    """
    过期 = [文件 for 文件 in 列出(目录) if 年龄(文件) > 天数]
    for 文件 in 过期:
        删除(文件)
    return len(过期)
'''


def test_a_chinese_docstring_is_asked_about_in_chinese(tmp_path: Path) -> None:
    found = rows(collect(tmp_path, CHINESE))

    assert "函数 `清理`" in question(found["write_function"])
    assert answer(found["explain_function"]) == "删除目录中超过指定天数没有访问的缓存文件。"


def test_a_language_that_is_told_says_in_which_the_answer_stands(tmp_path: Path) -> None:
    english = rows(collect(tmp_path, CHINESE, lang="en"))
    chinese = rows(collect(tmp_path, HYPOTENUSE, lang="zh"))

    assert "Answer in Chinese." in question(english["explain_function"])
    assert "Write it in Chinese." in question(english["document_function"])
    assert "请用英文回答" in question(chinese["explain_function"])


def test_questions_vary_and_are_the_same_every_time(tmp_path: Path) -> None:
    source = "\n".join(
        f'def job_{number}(a):\n    """Send the parcel number {number} on its way."""\n    b = a\n    return b\n'
        for number in range(40)
    )

    first = collect(tmp_path, source, tasks=["write_function"])
    second = collect(tmp_path, source, tasks=["write_function"])

    assert first == second
    assert len({question(row).split("`")[0] for row in first if isinstance(row, Found)}) >= 5


@pytest.mark.parametrize(
    ("docstring", "reason"),
    [
        ("Get name.", "trivial_docstring"),
        ("Get the name of this.", "trivial_docstring"),
        ("See parent class.", "trivial_docstring"),
        ("TODO: write this", "trivial_docstring"),
        ("Test.", "trivial_docstring"),
        ("见父类", "trivial_docstring"),
        ("内部方法", "trivial_docstring"),
        ("x.__len__() <==> len(x)", "trivial_docstring"),
        ("Do it.", "short_docstring"),
        (":param a: what is to be done here and why", "short_docstring"),
        ("Copyright (c) 2020 Somebody. Reads the name from disk.", "licence_note"),
    ],
)
def test_a_docstring_that_says_nothing_is_refused(tmp_path: Path, docstring: str, reason: str) -> None:
    out = collect(tmp_path, f'def get_name(self):\n    """{docstring}"""\n    a = 1\n    return a\n')

    assert reasons(out) == [reason]
    assert out[0].line == 1


@pytest.mark.parametrize("docstring", ["Test whether the file can be read.", "测试连接是否可用，失败时抛出异常"])
def test_a_docstring_that_begins_like_a_trivial_one_is_kept(tmp_path: Path, docstring: str) -> None:
    out = collect(tmp_path, f'def get_name(self):\n    """{docstring}"""\n    a = 1\n    return a\n')

    assert reasons(out) == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('def _quiet(a):\n    """Send the parcel on its way."""\n    b = a\n    return b\n', "private"),
        (
            'class _Box:\n    def open(a):\n        """Send the parcel off."""\n        b = a\n        return b\n',
            "private",
        ),
        ('def test_it(a):\n    """Send the parcel on its way."""\n    b = a\n    return b\n', "test"),
        ('def send(a):\n    """Send the parcel on its way."""\n    raise NotImplementedError("later")\n', "no_body"),
        ('def send(a):\n    """Send the parcel on its way."""\n    return a\n', "too_short"),
        ('def send(a):\n    """Send the parcel on its way."""; b = 1\n    return b\n', "one_line"),
        ('def send(a):\n    """Send the parcel off."""\n' + "    a += 1\n" * 200, "too_long"),
    ],
)
def test_a_function_that_trains_nothing_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    assert reasons(collect(tmp_path, source)) == [reason]


def test_a_function_without_docstring_is_no_input_that_was_lost(tmp_path: Path) -> None:
    assert collect(tmp_path, "def send(a):\n    b = a\n    return b\n") == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("node_modules/x/a.py", "vendored"),
        ("env/lib/site-packages/x.py", "vendored"),
        ("build/a.py", "vendored"),
        ("api_pb2.py", "generated"),
        ("tests/a.py", "test_file"),
        ("test_a.py", "test_file"),
    ],
)
def test_files_that_are_not_ones_own_code_are_left_out(tmp_path: Path, name: str, reason: str) -> None:
    assert reasons(collect(tmp_path, HYPOTENUSE, name)) == [reason]
    assert len(collect(tmp_path, HYPOTENUSE, name, tests=True, generated=True)) == 3


def test_a_generated_file_says_so_at_its_top(tmp_path: Path) -> None:
    assert reasons(collect(tmp_path, "# Generated by the protocol compiler. DO NOT EDIT!\n" + HYPOTENUSE)) == [
        "generated"
    ]


def test_licence_notes_stay_out_of_answers(tmp_path: Path) -> None:
    source = HYPOTENUSE.replace("# Pythagoras", "# Copyright (c) 2020 Somebody\n    # Pythagoras")

    for row in rows(collect(tmp_path, source)).values():
        assert "Copyright" not in question(row) + answer(row)


def test_a_syntax_error_is_refused_with_its_line(tmp_path: Path) -> None:
    out = collect(tmp_path, "a = 1\n\nprint 'two'\n")

    assert reasons(out) == ["syntax_error"]
    assert out[0].line == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"# -*- coding: utf-8 -*-\na = '\xff'\n", "undecodable"),
        (b"# -*- coding: nonsense -*-\n", "undecodable"),
        (b"x = " + b"-" * 100_000 + b"1", "too_deep"),
        (b"x = a" + b".b" * 100_000, "too_deep"),
        (b"x = " + b"(" * 5_000, "syntax_error"),
        (b"x = '\x00'", "syntax_error"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(data)

    assert reasons(list(Code().collect([(path, "a.py")]))) == [reason]


def test_a_declared_encoding_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"# -*- coding: gbk -*-\n" + CHINESE.encode("gbk"))

    assert len(rows(list(Code().collect([(path, "a.py")])))) == 3


def test_nothing_of_the_input_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    collect(tmp_path, f"open({str(marker)!r}, 'w')\n" + HYPOTENUSE)

    assert not marker.exists()


def test_code_that_holds_a_fence_gets_a_longer_one(tmp_path: Path) -> None:
    source = 'def send(a):\n    """Send the parcel on its way."""\n    b = """\n```\n"""\n    return b\n'

    row = rows(collect(tmp_path, source))["write_function"]

    assert answer(row).startswith("````python\n")


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ValidationError, match="did you mean 'write_function'"):
        Code(tasks=["write_funtion"])
