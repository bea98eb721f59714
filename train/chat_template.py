"""Chat templates: a conversation as the text a model reads, and which of it the assistant says.

A template is a program of someone else's; train/rendering.py says where it runs. It sees plain values only, and what it
writes is cut off where it grows out of all proportion.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UserError, nearest
from train.rendering import BEGIN, END, Here, Program, TemplateGivenUpError, TemplateRefusesError, apart

FOLDER = Path(__file__).parent / "templates"
"""Where our own templates are."""

MAX_TEMPLATE_CHARS = 1 << 18
_MOST_TIMES = 50
_MOST_MORE = 1 << 20

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")

Messages = Sequence[Mapping[str, Any]]
"""Turns as templates see them: role, content, and where there are any tool_calls, name, reasoning_content."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as text."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Where the assistant speaks, one span for each of its turns, in characters of `text`."""


class ChatTemplate:
    """A compiled chat template. `tokens` are the special tokens it may name (bos_token, eos_token, ...); `ours` is one
    that ships with the program, and runs in this process. Raises UserError where it cannot be read."""

    def __init__(
        self,
        text: str,
        name: str,
        tokens: Mapping[str, str],
        *,
        today: datetime.date | None = None,
        ours: bool = False,
    ) -> None:
        if len(text) > MAX_TEMPLATE_CHARS:
            raise UserError(f"the chat template of {name} is longer than {MAX_TEMPLATE_CHARS:,} characters")
        self.text = text
        self.name = name
        self.today = today or datetime.date.today()
        self.ours = ours
        self.marks_generation = bool(_MARK.search(text))
        try:
            self._program: Program = (Here if ours else apart)(text, tuple(tokens.items()), self.today)
        except TemplateRefusesError as error:
            raise UserError(f"the chat template of {name} cannot be read: {error}", hint="see its line there") from None

    def render(self, messages: Messages, tools: Sequence[Any] | None = None, **variables: Any) -> Rendered:
        """The conversation as text. Raises TemplateRefusesError; UserError where the template comes to no end again and
        again."""
        said = {"messages": messages, "tools": tools or None, "add_generation_prompt": False} | variables
        try:
            most = _MOST_MORE + _MOST_TIMES * (len(json.dumps(messages)) + len(json.dumps(tools)))
            return _without_marks(self._program.write(said, most))
        except TemplateGivenUpError as error:
            raise UserError(
                f"the chat template of {self.name} does not work: {error}",
                hint="choose another with --set chat_template=NAME",
            ) from None
        except RecursionError:
            raise TemplateRefusesError("it is nested too deep") from None


def load_template(name: str, tokens: Mapping[str, str], *, today: datetime.date | None = None) -> ChatTemplate:
    """One of our templates by name, or that in a .jinja file. Raises UserError."""
    path = Path(name) if is_file(name) else FOLDER / f"{name}.jinja"
    if not is_file(name) and name not in ours():
        raise UserError(f"there is no chat template {name!r}", hint=nearest(name, ours()) + "; or name a .jinja file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the chat template {path} cannot be read: {error}", hint="check the path") from None
    template = ChatTemplate(text, name, tokens, today=today, ours=not is_file(name))
    if not template.marks_generation:
        raise UserError(
            f"the chat template {path} does not say what the assistant says",
            hint="put {% generation %} and {% endgeneration %} around it, end-of-turn token included",
        )
    return template


def is_file(name: str) -> bool:
    """Whether a name of a chat template is that of a file, and not of one of ours."""
    return name.endswith((".jinja", ".j2"))


def ours() -> list[str]:
    """Names of our own templates."""
    return sorted(path.stem for path in FOLDER.glob("*.jinja"))


@dataclass(frozen=True)
class Chosen:
    """The template to train with, and how far it says what the model's own says."""

    template: ChatTemplate
    because: str
    differs_on: tuple[str, ...] = ()
    """What the model's own template renders otherwise: tools, reasoning; turns and system too of one that the recipe
    names."""
    asked_for: bool = False
    """Whether the recipe names it: then it is what the model is served with."""


def asked_for(
    template: ChatTemplate, own: str | None, name: str, tokens: Mapping[str, str], stops: Sequence[str]
) -> Chosen:
    """A template that the recipe names, for a model whose own is `own`."""
    differs: tuple[str, ...] = ()
    if own is not None:
        try:
            differs = _differences(ChatTemplate(own, name, tokens, today=template.today), template, stops)
        except UserError:
            differs = ("turns",)  # its own cannot be read
    return Chosen(template, "chosen by chat_template", differs, asked_for=True)


def choose(own: str | None, name: str, tokens: Mapping[str, str], stops: Sequence[str], *, today: Any = None) -> Chosen:
    """The template for a model whose own is `own`: its own if that marks what the assistant says, else the one of ours
    that writes the same text. `stops` are the tokens that end a turn. Raises UserError where there is none."""
    if own is None:
        raise UserError(
            f"{name} has no chat template, so it is a base model: nobody has said how a conversation looks to it",
            hint="choose one it has tokens for: --set chat_template=chatml",
        )
    theirs = ChatTemplate(own, name, tokens, today=today)
    if theirs.marks_generation:
        return Chosen(theirs, "the model's own marks what the assistant says")
    best: Chosen | None = None
    for candidate in ours():
        template = load_template(candidate, tokens, today=today)
        differs = _differences(theirs, template, stops)
        if "turns" in differs:
            continue
        if best is None or len(differs) < len(best.differs_on):
            best = Chosen(template, f"writes what {name}'s own template writes", differs)
    if best is None:
        raise UserError(
            f"the chat template of {name} does not mark what the assistant says, and none of ours writes the same text",
            hint="copy it to a .jinja file, put {% generation %} and {% endgeneration %} around the assistant's text, "
            "end-of-turn token included, and give --set chat_template=FILE",
        )
    return best


def serving_template(template: ChatTemplate) -> str:
    """A template as models are served with it: the same text, nothing marked."""
    return re.sub(r"\{%([-+]?)\s*(?:end)?generation\s*([-+]?)%\}", r"{#\1 \2#}", template.text)


_TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
_CALL = {"type": "function", "function": {"name": "f", "arguments": {"city": "苏州", "days": 2}}}


def _turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


_PROBES: tuple[tuple[str, tuple[list[dict[str, Any]], list[Any] | None]], ...] = (
    ("turns", ([_turn("user", "Hi"), _turn("assistant", "Hello.")], None)),
    ("turns", ([_turn("user", " 你好\n"), _turn("assistant", "\n您好！ "), _turn("user", "x"),
                _turn("assistant", "y")], None)),
    ("system", ([_turn("system", "Be brief."), _turn("user", "Hi"), _turn("assistant", "Hello.")], None)),
    ("reasoning", ([_turn("user", "1+1?"), _turn("assistant", "2", reasoning_content="add"), _turn("user", "+1?"),
                    _turn("assistant", "3", reasoning_content="add again")], None)),
    ("tools", ([_turn("system", "S"), _turn("user", "Hi"), _turn("assistant", "Hello.")], [_TOOL])),
    ("tools", ([_turn("user", "Rain?"), _turn("assistant", "", tool_calls=[_CALL]), _turn("tool", '{"rain": 1}'),
                _turn("assistant", "Yes.")], [_TOOL])),
)  # fmt: skip


def _differences(theirs: ChatTemplate, candidate: ChatTemplate, stops: Sequence[str]) -> tuple[str, ...]:
    """What two templates render differently; that one of them refuses is a difference, that both do is none."""
    found = []
    for what, (messages, tools) in _PROBES:
        left, right = (_text(one, messages, tools) for one in (theirs, candidate))
        same = (left == right and (left is not None or what != "turns")) or (
            left is not None and right is not None and right in {left + stop for stop in stops}
        )
        if not same and what not in found:
            found.append(what)
    return tuple(found)


def _text(template: ChatTemplate, messages: Messages, tools: Sequence[Any] | None) -> str | None:
    try:
        return template.render(messages, tools).text
    except TemplateRefusesError:
        return None


def _without_marks(written: str) -> Rendered:
    pieces, spans, length, begun = [], [], 0, -1
    for piece in re.split(f"([{BEGIN}{END}])", written):
        if piece == BEGIN:
            begun = length
        elif piece == END:
            spans.append((begun, length))
        else:
            pieces.append(piece)
            length += len(piece)
    return Rendered("".join(pieces), tuple(spans))
