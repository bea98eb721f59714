"""Rows that say something."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from curate.stage import Filter, drop, keep

# White space, control and invisible characters, and punctuation. Symbols (emoji, mathematics) say something, and so do
# the marks that are names of operators: "%" answers "which operator is the remainder?".
_NOTHING = r"^[\s\p{C}\p{Z}\p{P}\u{3164}\u{FFA0}\u{2800}]*$"
_OPERATOR = r"^\s*[%&@#*/\\]{1,2}\s*$"
_MARKER = r"(?i)^\s*<?\s*no\s?(?:in|out)put\s*>?\s*$"


class Empty(Filter):
    """Drop rows whose instruction, answer or text is missing, white space, invisible or only punctuation."""

    examples = (
        keep(instruction="Say hello.", answer="Hello!"),
        keep(instruction="打个招呼。", answer="你好！"),
        keep(instruction="Rate it with an emoji.", answer="👍"),
        keep(instruction="Which operator is the remainder in C?", answer="%"),
        keep(instruction="1+1等于几？", answer="2"),
        keep(
            messages=[
                {"role": "user", "content": "What is the weather in Paris?"},
                {"role": "assistant", "content": None, "tool_calls": '[{"function": {"name": "weather"}}]'},
            ]
        ),
        keep(
            messages=[
                {"role": "user", "content": "查一下北京的天气"},
                {"role": "assistant", "content": "", "tool_calls": '[{"function": {"name": "weather"}}]'},
            ]
        ),
        drop("no_answer", instruction="Say hello.", answer=""),
        drop("no_answer", instruction="打个招呼。", answer="　\n\u200b\ufeff"),
        drop("no_answer", instruction="Tell a joke.", answer="..."),
        drop("no_answer", instruction="讲个笑话。", answer="……。"),
        drop("no_answer", instruction="Tell a joke.", answer="<nooutput>"),
        drop("no_answer", messages=[{"role": "user", "content": "有人吗？"}]),
        drop(
            "no_answer",
            messages=[
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello! What can I do?"},
                {"role": "user", "content": "Write a poem."},
                {"role": "assistant", "content": None},
            ],
        ),
        drop("no_instruction", instruction=" ", answer="Water boils at 100 °C at sea level."),
        drop("no_instruction", instruction="？？", answer="水在海平面的沸点是一百摄氏度。"),
        drop("no_instruction", messages=[{"role": "assistant", "content": "Water boils."}]),
        keep(text="水在一百度沸腾。"),
        keep(text="Water boils."),
        drop("no_text", text="\u3000\n"),
        drop("no_text", text="---"),
        keep(prompt="2+2?", chosen="4", rejected="5"),
        keep(prompt="你好", chosen="你好！", rejected="干嘛？"),
        drop("no_chosen", prompt="2+2?", chosen="", rejected="5"),
        drop("no_rejected", prompt="你好", chosen="你好！", rejected="。"),
        drop("no_instruction", prompt="", chosen="4", rejected="5"),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        # A kind of row that has turns has the field `prompt`, which is text even where there is none; one that has
        # not (Text) has a null there. The same holds for `chosen`.
        has_turns, has_pair = self.text("prompt").is_not_null(), self.text("chosen").is_not_null()
        calls = {name: _ends_in_call(name) for name in ("messages", "chosen", "rejected")}
        return {
            "no_instruction": has_turns & _blank(self.text("instruction")),
            "no_answer": has_turns & ~has_pair & (_blank(self.text("answer")) | _ends_unsaid()) & ~calls["messages"],
            "no_chosen": has_pair & _blank(self.text("chosen")) & ~calls["chosen"],
            "no_rejected": has_pair & _blank(self.text("rejected")) & ~calls["rejected"],
            "no_text": ~has_turns & _blank(self.text("text")),
        }

    def because(self) -> dict[str, pl.Expr]:
        fields = {"no_instruction": "instruction", "no_answer": "answer", "no_text": "text"}
        fields |= {"no_chosen": "chosen", "no_rejected": "rejected"}
        return {reason: _found(self.text(name)) for reason, name in fields.items()}  # type: ignore[arg-type]


def _blank(text: pl.Expr) -> pl.Expr:
    said = ~text.str.contains(_NOTHING) | text.str.contains(_OPERATOR)
    return ~said.fill_null(False) | text.str.contains(_MARKER).fill_null(False)


def _last_answer(name: str) -> pl.Expr:
    """The last assistant turn of a column of messages, where rows have that column."""
    own = pl.element().filter(pl.element().struct.field("role") == "assistant")
    return cs.by_name(name, require_all=False).list.eval(own).list.last()


def _ends_in_call(name: str) -> pl.Expr:
    called = _last_answer(name).struct.field("tool_calls").str.contains(r"\{").fill_null(False)
    return pl.any_horizontal(pl.lit(False), called)


def _ends_unsaid() -> pl.Expr:
    """Whether the last assistant turn has no content: the field `answer` is then an earlier turn."""
    unsaid = _last_answer("messages").struct.field("content").is_null()
    return pl.any_horizontal(pl.lit(False), unsaid)


def _found(text: pl.Expr) -> pl.Expr:
    chars = text.str.len_chars()
    return (
        pl.when(text.is_null())
        .then(pl.lit("missing"))
        .otherwise(pl.format("{} characters, none of them a word", chars))
    )
