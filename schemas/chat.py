"""Conversations: which text of a row a stage looks at, and how texts are rewritten, for every kind of row (pure)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import polars as pl

from schemas.rows import content_columns

Field = Literal["instruction", "answer", "conversation", "prompt", "chosen", "rejected", "text"]
"""What a stage looks at in a row, whatever the row's kind. See `field`."""

FIELDS: tuple[str, ...] = get_args(Field)

TURN_SEPARATOR = "\n"
"""What stands between turns where several are looked at as one text."""

TURNS = "turns"
"""Name of the conversation with each assistant's turn marked, for comparing rows: see `field`."""

ANSWER_MARK = "\ufdd0"
"""Stands before and behind a marked turn: a code point that is no character, and in no text."""


def _contents(messages: pl.Expr, *, role: str | None = None) -> pl.Expr:
    element = pl.element()
    wanted = element.struct.field("content").is_not_null()
    if role is not None:
        wanted = wanted & (element.struct.field("role") == role)
    return messages.list.eval(element.filter(wanted).struct.field("content"))


def _joined(messages: pl.Expr) -> pl.Expr:
    return _contents(messages).list.join(TURN_SEPARATOR)


def _marked(messages: pl.Expr) -> pl.Expr:
    element = pl.element()
    content, mark = element.struct.field("content"), pl.lit(ANSWER_MARK)
    said = pl.when(element.struct.field("role") == "assistant").then(mark + content + mark).otherwise(content)
    return messages.list.eval(said.drop_nulls()).list.join(TURN_SEPARATOR)


def _last(messages: pl.Expr, role: str) -> pl.Expr:
    return _contents(messages, role=role).list.last()


def _without_last_answer(messages: pl.Expr) -> pl.Expr:
    ends_in_answer = messages.list.last().struct.field("role") == "assistant"
    return pl.when(ends_in_answer).then(messages.list.head(messages.list.len() - 1)).otherwise(messages)


def field(kind: str, name: str) -> pl.Expr:
    """Expression for the text that `name` means in rows of `kind`; null where such rows have none.

    - instruction: the last user turn before the answer (of the prompt, where there are several answers)
    - answer: the last assistant turn (the chosen or first answer where there are several; the whole of a plain text)
    - conversation: every turn, the better answer included
    - prompt: every turn before the final answer
    - chosen, rejected: the better and the worse answer
    - text: the whole text of a Text row; elsewhere the conversation
    - turns: the conversation, with marks about what the assistant says: "explain this code" is not "write it"
    """
    nothing = pl.lit(None, dtype=pl.String)
    if kind == "chat":
        messages = pl.col("messages")
        table = {
            "instruction": _last(messages, "user"),
            "answer": _last(messages, "assistant"),
            "conversation": _joined(messages),
            "prompt": _joined(_without_last_answer(messages)),
            "text": _joined(messages),
            TURNS: _marked(messages),
        }
    elif kind == "preference":
        whole = pl.concat_list("prompt", "chosen")
        table = {
            "instruction": _last(pl.col("prompt"), "user"),
            "answer": _joined(pl.col("chosen")),
            "conversation": _joined(whole),
            "prompt": _joined(pl.col("prompt")),
            "chosen": _joined(pl.col("chosen")),
            "rejected": _joined(pl.col("rejected")),
            "text": _joined(whole),
            TURNS: _marked(whole),
        }
    elif kind == "candidates":
        first = pl.col("answers").list.first().struct.field("messages")
        every = pl.col("answers").list.eval(_joined(pl.element().struct.field("messages"))).list.join(TURN_SEPARATOR)
        whole_text = pl.concat_str([_joined(pl.col("prompt")), every], separator=TURN_SEPARATOR)
        table = {
            "instruction": _last(pl.col("prompt"), "user"),
            "answer": _joined(first),
            "conversation": whole_text,
            "prompt": _joined(pl.col("prompt")),
            "text": whole_text,
            TURNS: whole_text,
        }
    elif kind == "text":
        table = {name: pl.col("text") for name in ("answer", "conversation", "text", TURNS)}
    else:
        table = {}
    return table.get(name, nothing)


def rewrite(kind: str, change: Callable[[pl.Expr], pl.Expr]) -> dict[str, pl.Expr]:
    """New content columns in which `change` was applied to every text that people or models wrote.

    Message contents and reasoning, plain texts and titles change; tool calls and tool descriptions do not.
    """

    def messages(value: pl.Expr) -> pl.Expr:
        return value.list.eval(
            pl.element().struct.with_fields(
                change(pl.element().struct.field("content")).alias("content"),
                change(pl.element().struct.field("reasoning")).alias("reasoning"),
            )
        )

    if kind == "text":
        return {"text": change(pl.col("text")), "title": change(pl.col("title"))}
    if kind == "candidates":
        answers = pl.col("answers").list.eval(
            pl.element().struct.with_fields(messages(pl.element().struct.field("messages")).alias("messages"))
        )
        return {"prompt": messages(pl.col("prompt")), "answers": answers}
    conversations = [name for name in content_columns(kind) if name in ("messages", "prompt", "chosen", "rejected")]
    return {name: messages(pl.col(name)) for name in conversations}
