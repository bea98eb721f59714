"""Functions and methods with docstrings → rows that ask for the code, an explanation, or the docstring."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator

from curate.collectors.collector import Collector, Found, Refused, choose, is_chinese, width
from schemas.errors import nearest

TASKS = ("write_function", "explain_function", "document_function")
"""What can be asked about a function; see `Code.tasks`."""


class Code(Collector):
    """Rows from Python source files. The source is parsed, never imported or run.

    `write_function` answers with the code alone by default: the question already holds the docstring, and where
    answers repeat it, 33 % of their characters over Python's own library are copied: the loss would reward copying.
    To make the code learnable rather than guessable, the question also shows what the function uses from around it:
    imports, constants, signatures of its neighbours.
    """

    tasks: list[str] = Field(
        default=list(TASKS),
        description="what to ask about each function: write_function, explain_function, document_function",
    )
    lang: str = Field(
        default="auto", description="language of the instructions: en, zh, or auto for the docstring's own"
    )
    min_lines: int = Field(default=3, ge=1, description="lines a function must have, not counting its docstring")
    max_lines: int = Field(default=120, ge=1, description="lines a function may have, not counting its docstring")
    min_docstring_chars: int = Field(
        default=20,
        ge=0,
        description="characters a docstring's description must have; a Chinese one counts as two",
    )
    private: bool = Field(default=False, description="also functions and classes whose names start with an underscore")
    tests: bool = Field(default=False, description="also test files and test functions")
    generated: bool = Field(default=False, description="also generated files and folders of other people's code")
    docstrings: bool = Field(default=False, description="keep the docstring in the answers of write_function")
    context: bool = Field(default=True, description="show the imports and neighbours a function uses in write_function")
    fenced: bool = Field(default=True, description="put code in answers between ```python fences")
    max_kilobytes: int = Field(default=1_000, ge=1, description="largest file that is read, in kB")

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: list[str]) -> list[str]:
        for task in value:
            if task not in TASKS:
                raise ValueError(f"there is no task named {task!r}: {nearest(task, TASKS)}")
        return [task for task in TASKS if task in value]

    @field_validator("lang")
    @classmethod
    def _known_lang(cls, value: str) -> str:
        if value not in ("auto", "en", "zh"):
            raise ValueError(f"there is no language named {value!r}: {nearest(value, ('auto', 'en', 'zh'))}")
        return value

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        return (".py",)

    def collect(self, files: Sequence[tuple[Path, str]]) -> Iterator[Found | Refused]:
        for path, name in files:
            yield from self._file(path, name)

    def _file(self, path: Path, file: str) -> Iterator[Found | Refused]:
        left_out = self._left_out(file)
        if left_out is not None:
            yield Refused(file, None, *left_out)
            return
        try:
            if path.stat().st_size > self.max_kilobytes * 1000:
                yield Refused(file, None, "too_large", f"is larger than {self.max_kilobytes:,} kB")
                return
            data = path.read_bytes()
        except OSError as error:
            yield Refused(file, None, "unreadable", error.strerror or type(error).__name__)
            return
        parsed = _parse(data, file)
        if isinstance(parsed, Refused):
            yield parsed
            return
        if not self.generated and _GENERATED.search(parsed.source[:2000]):
            yield Refused(file, None, "generated", "says at its top that a program wrote it")
            return
        for function in parsed.functions():
            yield from self._function(parsed, function, file)

    def _left_out(self, file: str) -> tuple[str, str] | None:
        *folders, name = Path(file).parts
        if not self.generated:
            for folder in folders:
                if folder.lower() in _VENDORED or folder.endswith(".egg-info"):
                    return "vendored", f"lies in a folder named {folder}"
            if name.endswith(("_pb2.py", "_pb2_grpc.py")):
                return "generated", "is named as protobuf's compiler names files"
        if not self.tests:
            tests = (
                name.startswith("test_") or name.endswith("_test.py") or name in ("conftest.py", "tests.py", "test.py")
            )
            if tests or any(folder.lower() in ("test", "tests", "testing") for folder in folders):
                return "test_file", "is named as tests are"
        return None

    def _function(self, module: _Module, function: _Function, file: str) -> Iterator[Found | Refused]:
        docstring = function.docstring
        if docstring is None or (not docstring and not function.node.body[1:]):
            return
        reason = self._reason(function, docstring)
        if reason is not None:
            yield Refused(file, function.node.lineno, *reason, held=f"{function.name}: {docstring}")
            return
        for task in self.tasks:
            question, answer = self._ask(task, module, function, docstring)
            yield Found(
                messages=[{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
                file=file,
                line=function.node.lineno,
                part=function.name,
                task=task,
                extra={"language": "python", "kind": "method" if function.classes else "function"},
            )

    def _reason(self, function: _Function, docstring: str) -> tuple[str, str] | None:
        if not self.private and function.is_private:
            return "private", "its name or its class's name starts with an underscore"
        if not self.tests and function.is_test:
            return "test", "is a test"
        if function.shares_lines:
            return "one_line", "its docstring shares a line with code"
        if function.is_stub:
            return "no_body", "does nothing but pass, raise NotImplementedError or wait to be overridden"
        lines = len(function.without_docstring)
        if lines < self.min_lines:
            return "too_short", f"has {lines} lines, fewer than {self.min_lines}"
        if lines > self.max_lines:
            return "too_long", f"has {lines} lines, more than {self.max_lines}"
        if _LICENCE.search(docstring):
            return "licence_note", "its docstring holds a copyright or licence note"
        if _is_trivial(docstring, function):
            return "trivial_docstring", "its docstring says no more than its name"
        if width(_description(docstring)) < self.min_docstring_chars:
            return "short_docstring", f"its docstring describes it in fewer than {self.min_docstring_chars} characters"
        return None

    def _ask(self, task: str, module: _Module, function: _Function, docstring: str) -> tuple[str, str]:
        own = "zh" if is_chinese(_description(docstring)) else "en"
        lang = own if self.lang == "auto" else self.lang
        key = f"{task}:{function.name}"
        if task == "write_function":
            return self._ask_to_write(lang, key, module, function, docstring)
        code = _fence(function.in_class(function.without_docstring))
        if task == "explain_function":
            text = _description(docstring)
            brief = len(re.findall(r"[.。!?！？](?:\s|$)", text)) <= 1 and "\n\n" not in text
            phrasing = choose(_PHRASINGS[lang, "brief" if brief else "explain"], key)
            if own != lang:
                phrasing = phrasing.replace("\n\n", f" {_ANSWER_IN[lang, own]}\n\n", 1)
            return phrasing.format(the=function.noun(lang), code=code), text
        wish = _STYLE_WISHES[lang].get(_style(docstring), "")
        if own != lang:
            wish += _WRITE_IN[lang, own]
        question = choose(_PHRASINGS[lang, "document"], key).format(the=function.noun(lang), code=code, wish=wish)
        return question, self._code(function.with_docstring)

    def _ask_to_write(
        self, lang: str, key: str, module: _Module, function: _Function, docstring: str
    ) -> tuple[str, str]:
        # Where there is nothing but a description, half of the questions give it as prose: people ask both ways.
        prose = _description(docstring) == _reflow(docstring) and choose("01", f"prose:{key}") == "1"
        inner = [] if prose else function.docstring_lines
        stub = _fence(module.stub(function, inner, with_context=self.context))
        phrasing = choose(_PHRASINGS[lang, "write_prose" if prose else "write_stub"], key)
        once = "" if prose or self.docstrings else _NO_REPEAT[lang]
        question = phrasing.format(the=function.noun(lang), text=_description(docstring), stub=stub, once=once)
        return question.rstrip(), self._code(function.with_docstring if self.docstrings else function.without_docstring)

    def _code(self, lines: Sequence[str]) -> str:
        return _fence(lines) if self.fenced else "\n".join(lines)


_Definition = ast.FunctionDef | ast.AsyncFunctionDef

_VENDORED = frozenset(
    """node_modules site-packages dist-packages bower_components .git .hg .svn .tox .nox .venv venv .env env virtualenv
    .eggs __pycache__ __pypackages__ build dist _build vendor vendored _vendor _vendored third_party third-party
    thirdparty extern""".split()  # noqa: SIM905 - a list of words reads as words
)
_GENERATED = re.compile(
    r"^\s*(?:#|\"\"\"|\'\'\').*(?:@generated|auto-?(?:matically)?[ -]?generated|generated by|do not (?:edit|modify)"
    r"|自动生成|请勿(?:手动)?(?:修改|编辑))",
    re.IGNORECASE | re.MULTILINE,
)
_LICENCE = re.compile(
    r"copyright (?:\(c\)|©|\d{4})|©\s*\d{4}|\blicen[sc]ed under\b|SPDX-License-Identifier|all rights reserved"
    r"|permission is hereby granted|版权所有|版权归|著作权",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Function:
    """A function of a module: where it is, and its lines with and without docstring, moved to the left margin."""

    node: _Definition
    classes: tuple[ast.ClassDef, ...]
    module: _Module

    @cached_property
    def name(self) -> str:
        return ".".join([*(cls.name for cls in self.classes), self.node.name])

    @cached_property
    def docstring(self) -> str | None:
        found = ast.get_docstring(self.node, clean=False)
        return None if found is None else inspect.cleandoc(found).strip()

    @property
    def is_private(self) -> bool:
        names = [*(cls.name for cls in self.classes), self.node.name]
        return any(name.startswith("_") and not (name.startswith("__") and name.endswith("__")) for name in names)

    @property
    def is_test(self) -> bool:
        in_test = any(
            cls.name.startswith("Test") or any("TestCase" in ast.unparse(base) for base in cls.bases)
            for cls in self.classes
        )
        return in_test or self.node.name.startswith("test_") or self.node.name == "test"

    @property
    def shares_lines(self) -> bool:
        """Whether the docstring stands on a line with other code, where it cannot be taken out line by line."""
        first = self.node.body[0]
        if self.module.lines[first.lineno - 1][: first.col_offset].strip():
            return True
        return len(self.node.body) > 1 and self.node.body[1].lineno <= (first.end_lineno or first.lineno)

    @property
    def is_stub(self) -> bool:
        return all(_does_nothing(statement) for statement in self.node.body[1:])

    @cached_property
    def _rows(self) -> range:
        """Indices into the module's lines, decorators included."""
        start = min([self.node.lineno, *(decorator.lineno for decorator in self.node.decorator_list)])
        return range(start - 1, self.node.end_lineno or self.node.lineno)

    @cached_property
    def _docstring_rows(self) -> range:
        first = self.node.body[0]
        return range(first.lineno - 1, first.end_lineno or first.lineno)

    @cached_property
    def with_docstring(self) -> list[str]:
        return self._shifted(self._rows)

    @cached_property
    def docstring_lines(self) -> list[str]:
        return self._shifted(self._docstring_rows)

    @cached_property
    def without_docstring(self) -> list[str]:
        rows = [row for row in self._rows if row not in self._docstring_rows]
        at = sum(1 for row in rows if row < self._docstring_rows.start)
        while at < len(rows) and not self.module.lines[rows[at]].strip():
            del rows[at]
        return self._shifted(rows)

    @cached_property
    def signature(self) -> list[str]:
        """From the first decorator to the colon, as written; rebuilt where comments or the body get in the way."""
        first = self.node.body[0]
        rows = [*range(self._rows.start, first.lineno - 1)]
        while rows and (not (line := self.module.lines[rows[-1]].strip()) or line.startswith("#")):
            rows.pop()
        written = self._shifted(rows)
        if written and written[-1].rstrip().endswith(":") and "#" not in written[-1]:
            return written
        bare = type(self.node)(**{**dict(ast.iter_fields(self.node)), "body": [ast.Expr(ast.Constant(...))]})
        return ast.unparse(ast.fix_missing_locations(bare)).removesuffix("...").rstrip().split("\n")

    def in_class(self, lines: Sequence[str]) -> list[str]:
        """Lines of this function as they stand in its class: under the class's first line, indented."""
        if not self.classes:
            return list(lines)
        return [_class_line(self.classes), *self._indented(lines)]

    def _indented(self, lines: Sequence[str]) -> list[str]:
        # Lines inside a multi-line string are text, but for the docstring: moving them would change what the code does.
        frozen = self._frozen_lines
        return [line if not line.strip() or line in frozen else f"    {line}" for line in lines]

    @cached_property
    def _frozen_lines(self) -> frozenset[str]:
        return frozenset(self.module.lines[row] for row in self._rows if self._is_frozen(row))

    @cached_property
    def _has_long_strings(self) -> bool:
        """Whether it holds strings of several lines beside its docstring: finding their lines costs a tokenizer run."""
        strings = (inner for inner in ast.walk(self.node) if isinstance(inner, ast.Constant | ast.JoinedStr))
        long = [one for one in strings if one.end_lineno != one.lineno]
        return any(one.lineno != self.node.body[0].lineno for one in long)

    def _is_frozen(self, row: int) -> bool:
        return self._has_long_strings and row in self.module.inside_strings and row not in self._docstring_rows

    def _shifted(self, rows: Sequence[int]) -> list[str]:
        column = self.node.col_offset
        lines: list[str] = []
        for row in rows:
            line = self.module.lines[row]
            if self._is_frozen(row):
                lines.append(line)
                continue
            if line.lstrip().startswith("#") and _LICENCE.search(line):
                continue
            margin = len(line) - len(line.lstrip())
            lines.append(line[min(column, margin) :].rstrip())
        return lines

    def noun(self, lang: str) -> str:
        """How a question calls it: kind, name, and for a method its class and what that extends."""
        name = self.node.name
        is_async = isinstance(self.node, ast.AsyncFunctionDef)
        if lang == "zh":
            word = ("异步" if is_async else "") + ("方法" if self.classes else "函数")
            if not self.classes:
                return f"Python {word} `{name}`"
            return f"类 `{self._class_name}`{self._bases('（继承自 {}）', '、')}的{word} `{name}`"
        word = "async " if is_async else ""
        if not self.classes:
            return f"the {word}Python function `{name}`"
        return f"the {word}method `{name}` of the class `{self._class_name}`{self._bases(' (a subclass of {})', ', ')}"

    @property
    def _class_name(self) -> str:
        return ".".join(cls.name for cls in self.classes)

    def _bases(self, form: str, separator: str) -> str:
        bases = [ast.unparse(base) for base in self.classes[-1].bases if ast.unparse(base) != "object"]
        return form.format(separator.join(f"`{base}`" for base in bases)) if bases else ""


@dataclass(frozen=True)
class _Module:
    """A parsed file and what its functions can see."""

    source: str
    tree: ast.Module

    @cached_property
    def lines(self) -> list[str]:
        return self.source.split("\n")

    def functions(self) -> list[_Function]:
        """Functions and methods in the order of the file, without those inside other functions."""
        found: list[_Function] = []
        stack: list[tuple[ast.AST, tuple[ast.ClassDef, ...]]] = [(self.tree, ())]
        while stack:
            node, classes = stack.pop()
            for child in ast.iter_child_nodes(node):
                if isinstance(child, _Definition):
                    found.append(_Function(child, classes, self))
                elif isinstance(child, ast.ClassDef):
                    stack.append((child, (*classes, child)))
                elif isinstance(child, ast.stmt | ast.ExceptHandler):
                    stack.append((child, classes))
        return sorted(found, key=lambda function: function.node.lineno)

    @cached_property
    def inside_strings(self) -> frozenset[int]:
        """Indices of lines that start inside a string."""
        rows: set[int] = set()
        depth_at: list[int] = []
        try:
            for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
                kind = tokenize.tok_name[token.type]
                if kind == "STRING":
                    rows.update(range(token.start[0], token.end[0]))
                elif kind in ("FSTRING_START", "TSTRING_START"):
                    depth_at.append(token.start[0])
                elif kind in ("FSTRING_END", "TSTRING_END"):
                    rows.update(range(depth_at.pop(), token.end[0]))
        except (tokenize.TokenError, SyntaxError, IndexError):
            pass
        return frozenset(rows)

    @cached_property
    def _offers(self) -> dict[str, tuple[int, str]]:
        """Names the module binds at its top: the line and how to show it in a line of code."""
        offers: dict[str, tuple[int, str]] = {}
        for node in _top_level(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    bound = alias.asname or alias.name.split(".")[0]
                    one = (
                        ast.Import([alias])
                        if isinstance(node, ast.Import)
                        else ast.ImportFrom(node.module, [alias], node.level)
                    )
                    offers.setdefault(bound, (node.lineno, ast.unparse(one)))
            elif isinstance(node, _Definition):
                offers.setdefault(node.name, (node.lineno, _one_line_stub(node)))
            elif isinstance(node, ast.ClassDef):
                offers.setdefault(node.name, (node.lineno, f"{_class_line((node,))} ..."))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                text = self.lines[node.lineno - 1] if node.lineno == node.end_lineno else ""
                for target in targets:
                    if isinstance(target, ast.Name):
                        shown = text.strip() if text and len(text) <= 100 else f"{target.id} = ..."
                        offers.setdefault(target.id, (node.lineno, shown))
        return offers

    def stub(self, function: _Function, inner: Sequence[str], *, with_context: bool) -> list[str]:
        """What the question shows: what the function uses from around it, its signature, and `inner` as its body."""
        own = [*function.signature, *(inner or ["    ..."])]
        used = _used_names(function.node) if with_context else []
        itself = {function.node.name, *(cls.name for cls in function.classes)}
        around = sorted({self._offers[name] for name in used if name in self._offers and name not in itself})
        lines = _joined_imports([text for _, text in around[:_MAX_CONTEXT]])
        if lines:
            lines.append("")
        if not function.classes:
            return [*lines, *own]
        lines.append(_class_line(function.classes))
        if with_context:
            neighbours = _used_of_class(function)[:_MAX_CONTEXT]
            lines += [f"    {text}" for text in neighbours]
            if neighbours:
                lines.append("")
        return lines + function._indented(own)


_MAX_CONTEXT = 12


def _parse(data: bytes, file: str) -> _Module | Refused:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        source = data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except (SyntaxError, UnicodeError, LookupError, ValueError) as error:
        return Refused(file, None, "undecodable", f"cannot be read as the encoding it declares: {type(error).__name__}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Module(source.removeprefix("\ufeff"), ast.parse(source.removeprefix("\ufeff")))
    except SyntaxError as error:
        held = (error.text or "").strip()
        return Refused(file, error.lineno, "syntax_error", f"is not Python {_PYTHON}: {error.msg}", held)
    except (RecursionError, MemoryError):
        return Refused(file, None, "too_deep", "is nested too deeply to parse")
    except ValueError as error:
        return Refused(file, None, "syntax_error", f"is not Python {_PYTHON}: {error}")


_PYTHON = "3"


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements at the top of a module, those under `if` and `try` included."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If | ast.Try | ast.With | ast.ExceptHandler):
                stack.append(child)
            elif isinstance(child, ast.stmt):
                yield child


def _joined_imports(lines: Sequence[str]) -> list[str]:
    """Lines of code with names imported from one module brought onto one line."""
    joined: list[str] = []
    for line in lines:
        start, found, name = line.partition(" import ")
        if found and joined and start.startswith("from ") and joined[-1].startswith(f"{start} import "):
            joined[-1] += f", {name}"
        else:
            joined.append(line)
    return joined


def _does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass):
        return True
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Raise) and statement.exc is not None:
        raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        return isinstance(raised, ast.Name) and raised.id in ("NotImplementedError", "NotImplemented")
    if isinstance(statement, ast.Return):
        return statement.value is None or (
            isinstance(statement.value, ast.Name) and statement.value.id == "NotImplemented"
        )
    return False


def _class_line(classes: Sequence[ast.ClassDef]) -> str:
    last = classes[-1]
    inside = [*(ast.unparse(base) for base in last.bases), *(ast.unparse(keyword) for keyword in last.keywords)]
    return f"class {last.name}({', '.join(inside)}):" if inside else f"class {last.name}:"


def _one_line_stub(node: _Definition) -> str:
    prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{prefix} {node.name}({ast.unparse(node.args)}){returns}: ..."


def _used_names(node: _Definition) -> list[str]:
    used: dict[str, None] = {}
    bound: set[str] = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            if isinstance(inner.ctx, ast.Load):
                used[inner.id] = None
            else:
                bound.add(inner.id)
        elif isinstance(inner, ast.Global):
            bound.difference_update(inner.names)
    return [name for name in used if name not in bound]


def _used_of_class(function: _Function) -> list[str]:
    """What a method uses of its own class: attributes it reads as a comment, methods it calls as one-line stubs."""
    arguments = [*function.node.args.posonlyargs, *function.node.args.args]
    if not arguments:
        return []
    itself = {arguments[0].arg, function.classes[-1].name}
    used: dict[str, None] = {}
    for inner in ast.walk(function.node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id in itself:
            used[inner.attr] = None
    members = {child.name: child for child in function.classes[-1].body if isinstance(child, _Definition)}
    methods = [_one_line_stub(members[name]) for name in used if name in members and name != function.node.name]
    fields = [f"{arguments[0].arg}.{name}" for name in used if name not in members]
    return ([f"# {', '.join(fields[:_MAX_CONTEXT])}"] if fields else []) + methods


def _fence(lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall(r"^\s*(`{3,})", text, re.MULTILINE)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{text}\n{fence}"


_SECTION = re.compile(
    r"(?:args?|arguments?|parameters?|params?|keyword arguments?|keyword args|kwargs|returns?|yields?|raises|throws"
    r"|exceptions?|examples?|usage|notes?|attributes|see also|references|todo|warnings?|warns|inputs?|outputs?"
    r"|side effects|methods|参数(?:说明)?|返回(?:值)?|异常|抛出|示例|例子|用法|注意|备注|说明)"
    r"\s*(?:[:：]{1,2}\s*(?:\S.*)?)?$"
    r"|:(?:param|parameter|arg|argument|key|keyword|type|returns?|rtype|raises?|except|exception|var|ivar|cvar|vartype"
    r"|yields?|ytype|meta)\b[^:]*:"
    r"|@(?:param|type|return|rtype|raise)|>>>|\.\. |[-=]{4,}$",
    re.IGNORECASE,
)
_LIST_ITEM = re.compile(r"(?:[-*+•]|\d+[.)、]|[（(]\d+[)）])\s*\S|[\w.*`-]+\s+(?:--|-|–|:)\s")
_ROLE = re.compile(r":(?:[A-Za-z][\w+.-]*:){0,2}[A-Za-z][\w+.-]*:`~?!?([^`<>]+?)(?:\s*<[^`<>]*>)?`")


def _description(docstring: str) -> str:
    """The part of a docstring that says what the function does: all before parameters, examples and directives."""
    kept: list[str] = []
    cut = False
    for line in docstring.split("\n"):
        # "Returns:" alone or with text starts a section; "Returns the sum." is a sentence.
        if (
            kept
            and _SECTION.match(line)
            and (":" in line or "：" in line or _next_is_rule(docstring, line) or line[:1] in ">.-=@")
        ):
            cut = True
            break
        if not kept and line.startswith((":param", ":return", "@param", ">>>")):
            cut = True
            break
        kept.append(line)
    if cut:
        while kept and (not kept[-1].strip() or kept[-1].rstrip().endswith((":", "："))):
            kept.pop()
    return _reflow("\n".join(kept))


def _next_is_rule(docstring: str, line: str) -> bool:
    lines = docstring.split("\n")
    after = lines[lines.index(line) + 1] if lines.index(line) + 1 < len(lines) else ""
    return bool(re.fullmatch(r"\s*[-=~]{3,}\s*", after))


def _reflow(text: str) -> str:
    """Text without reStructuredText marks, its hard line breaks joined where paragraphs are plain."""
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    paragraphs: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.rstrip() for line in paragraph.split("\n")]
        plain = not any(line.startswith((" ", "\t", ">>>", "|", "+-")) or _LIST_ITEM.match(line) for line in lines[1:])
        if plain and not lines[0].startswith((" ", "\t", ">>>", "|")):
            joined = lines[0]
            for line in lines[1:]:
                joined += line if joined[-1:] > "\u2e7f" and line[:1] > "\u2e7f" else f" {line}"
            lines = [joined]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs).strip()


_TRIVIAL = re.compile(
    # what only points elsewhere, with where
    r"(?:(?:see|same as|refer to|cf\.?|inherit\w*|overrid\w*|delegat\w*|wrapper (?:for|of|around)|alias (?:for|of|to)"
    r"|proxy (?:for|of|to)|todo|fixme|xxx|tbd|ditto|deprecated|helper for)\b"
    r"|参见|参考|同上|同父类|见(?:父类|上|下)|继承自|重写父类|覆盖父类|待办|已废弃).{0,60}"
    # what says nothing at all
    r"|(?:docstring|doc|test|internal|private|helper|stub|placeholder|undocumented|no docstring|not documented|noop"
    r"|no-op|n/?a|as above|测试|内部|重写|覆盖|辅助|别名|废弃)"
    r"(?: ?(?:use(?: only)?|function|method|case|使用|方法|函数|用例))?[.。!！]?",
    re.IGNORECASE | re.DOTALL,
)
_FILLER = frozenset(
    """a an the of to for from in on this that its it is and or with by self function method class object helper returns
    return""".split()  # noqa: SIM905 - a list of words reads as words
)


def _is_trivial(docstring: str, function: _Function) -> bool:
    """Whether a docstring says nothing that the name does not say."""
    text = docstring.strip()
    if "<==>" in text:  # as CPython once documented slots: x.__len__() <==> len(x)
        return True
    if _TRIVIAL.fullmatch(text) and width(text) < 80 and "\n\n" not in text:
        return True
    words = {_stem(word) for word in re.findall(r"[^\W\d_]+", text.lower()) if word not in _FILLER}
    named = re.sub(
        r"([a-z0-9])([A-Z])", r"\1 \2", " ".join([function.node.name, *(cls.name for cls in function.classes)])
    )
    names = {_stem(word) for word in re.findall(r"[^\W\d_]+", named.replace("_", " ").lower())}
    return not words - names


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "es", "ed", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word[: -len(ending)]
            break
    return word.rstrip("ey")


def _style(docstring: str) -> str:
    if re.search(r"^(?:Args|Arguments|Returns|Raises|Yields):\s*$", docstring, re.MULTILINE):
        return "google"
    if re.search(r"^(?:Parameters|Returns|Yields|Raises)\n-{3,}", docstring, re.MULTILINE):
        return "numpy"
    if re.search(r"^:(?:param|returns?|raises?|rtype)\b", docstring, re.MULTILINE):
        return "sphinx"
    if ">>> " in docstring:
        return "doctest"
    return "short" if "\n" not in docstring.strip() else ""


_STYLE_WISHES = {
    "en": {
        "google": " Use Google style, with sections for arguments and results.",
        "numpy": " Use NumPy style, with underlined sections.",
        "sphinx": " Use Sphinx fields such as `:param:` and `:return:`.",
        "doctest": " Include an example that doctest can run.",
        "short": " One line is enough.",
    },
    "zh": {
        "google": "使用 Google 风格，分节写明参数与返回值。",
        "numpy": "使用 NumPy 风格，小节标题加下划线。",
        "sphinx": "使用 Sphinx 字段，如 `:param:`、`:return:`。",
        "doctest": "请附上可由 doctest 运行的示例。",
        "short": "一行即可。",
    },
}
_WRITE_IN = {("en", "zh"): " Write it in Chinese.", ("zh", "en"): "文档字符串用英文写。"}
_ANSWER_IN = {("en", "zh"): "Answer in Chinese.", ("zh", "en"): "请用英文回答。"}
_NO_REPEAT = {"en": " Do not repeat the docstring.", "zh": "不必重复文档字符串。"}

_PHRASINGS: dict[tuple[str, str], tuple[str, ...]] = {
    ("en", "write_prose"): (
        "Write {the}.\n\n{text}\n\nIt goes here:\n\n{stub}",
        "{text}\n\nImplement this as {the}:\n\n{stub}",
        "Implement {the}, given this outline:\n\n{stub}\n\nWhat it does: {text}",
        "Here is what {the} should do:\n\n{text}\n\nWrite it with this signature.\n\n{stub}",
        "I need {the}. {text}\n\nPlease fill in the body:\n\n{stub}",
    ),
    ("en", "write_stub"): (
        "Complete {the}.{once}\n\n{stub}",
        "Write the body of {the}; its docstring says what it has to do.{once}\n\n{stub}",
        "{stub}\n\nImplement {the} as its docstring describes.{once}",
        "Implement {the}, going by its docstring.{once}\n\n{stub}",
        "Here is the signature and docstring of {the}. Write the code.{once}\n\n{stub}",
    ),
    ("en", "explain"): (
        "Explain what {the} does.\n\n{code}",
        "What does {the} do, and how does it behave?\n\n{code}",
        "{code}\n\nDescribe the behaviour of {the}.",
        "Read this code and explain the purpose of {the}.\n\n{code}",
        "I do not understand {the}. What is it for?\n\n{code}",
    ),
    ("en", "brief"): (
        "Say in one sentence what {the} does.\n\n{code}",
        "What does {the} do? Answer briefly.\n\n{code}",
        "{code}\n\nSummarise {the} in a sentence.",
        "Give a one-sentence summary of {the}.\n\n{code}",
    ),
    ("en", "document"): (
        "Add a docstring to {the}.{wish}\n\n{code}",
        "Document {the} and leave its code as it is.{wish}\n\n{code}",
        "{code}\n\nWrite a docstring for {the} and return the whole definition.{wish}",
        "There is no docstring on {the}. Add one.{wish}\n\n{code}",
    ),
    ("zh", "write_prose"): (
        "请编写{the}。\n\n{text}\n\n代码框架如下：\n\n{stub}",
        "{text}\n\n请用{the}实现上述功能：\n\n{stub}",
        "按照下面的签名实现{the}：\n\n{stub}\n\n功能说明：{text}",
        "我需要{the}，它的功能是：{text}\n\n请补全代码：\n\n{stub}",
    ),
    ("zh", "write_stub"): (
        "请补全{the}。{once}\n\n{stub}",
        "根据文档字符串实现{the}。{once}\n\n{stub}",
        "{stub}\n\n请按文档字符串的说明写出{the}的代码。{once}",
        "下面给出了{the}的签名和文档字符串，请写出实现。{once}\n\n{stub}",
    ),
    ("zh", "explain"): (
        "请解释{the}的作用。\n\n{code}",
        "{the}做了什么？请说明它的行为。\n\n{code}",
        "{code}\n\n说明{the}的功能。",
        "阅读下面的代码，讲讲{the}是干什么用的。\n\n{code}",
    ),
    ("zh", "brief"): (
        "用一句话说明{the}的作用。\n\n{code}",
        "{the}是做什么的？请简要回答。\n\n{code}",
        "{code}\n\n用一句话概括{the}。",
    ),
    ("zh", "document"): (
        "请为{the}添加文档字符串。{wish}\n\n{code}",
        "给{the}补上文档字符串，代码保持不变。{wish}\n\n{code}",
        "{code}\n\n请为{the}编写文档字符串，并返回完整定义。{wish}",
    ),
}
