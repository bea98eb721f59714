"""Rows as tokens, and which of them the loss counts.

A row is rendered by the model's chat template, tokenised whole, and every token that begins where the assistant speaks
is supervised, the one that ends its turn included. A row that cannot be used is set aside with a reason; none is
dropped in silence, and none is trained on with nothing supervised.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import orjson

from schemas.errors import UserError
from schemas.excerpt import excerpt
from train.chat_template import ChatTemplate, Rendered
from train.recipe import Reasoning, Truncation
from train.rendering import BEGIN, END, TemplateRefusesError

ROLES = ("system", "user", "assistant", "tool")
ENCODING = 1
"""Raised whenever the same row, template and tokenizer give other tokens or weights than before."""

BATCH = 512
"""Rows that are tokenised at once, on all cores."""

_OPEN, _CLOSE = "\ufdd3", "\ufdd4"
"""What stands around a special token that a row itself spells out, so that it is read as plain text."""

_FORBIDDEN = re.compile(f"[{BEGIN}{END}{_OPEN}{_CLOSE}]")
_THINK, _THOUGHT = "<think>", "</think>"

Ids = np.ndarray[Any, np.dtype[np.int32]]
Weights = np.ndarray[Any, np.dtype[np.float32]]


class Reason:
    """Why a row is set aside."""

    ROLE = "wrong_role"
    NO_ANSWER = "no_answer"
    EMPTY = "empty_answer"
    CALLS = "bad_tool_calls"
    WEIGHT = "bad_weight"
    CHARACTER = "forbidden_character"
    REFUSED = "template_refused"
    LOST = "lost_in_template"
    TOO_LONG = "too_long"
    NOTHING = "no_supervised_token"


@dataclass(frozen=True)
class SetAside:
    """A row that is not trained on."""

    id: str
    where: str
    reason: str
    detail: str

    def as_json(self) -> dict[str, str]:
        """Its line in set_aside.jsonl."""
        return {"id": self.id, "where": self.where, "reason": self.reason, "detail": self.detail}


class Encoded(NamedTuple):
    """One row as tokens."""

    id: str
    task: str
    ids: Ids
    weights: Weights
    """Of each token: 0 is read only; else what it counts in the loss."""


@dataclass(frozen=True)
class TokenRows:
    """Rows as tokens, one behind the other."""

    ids: Ids
    weights: Weights
    starts: np.ndarray[Any, np.dtype[np.int64]]
    """Where each row begins, and behind the last where it ends."""
    row_ids: list[str]
    tasks: list[str]

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Tokens of each row."""
        return np.diff(self.starts)

    @property
    def supervised(self) -> int:
        """Tokens that the loss counts."""
        return int((self.weights > 0).sum())

    def row(self, place: int) -> tuple[Ids, Weights]:
        """Tokens and weights of one row."""
        span = slice(self.starts[place], self.starts[place + 1])
        return self.ids[span], self.weights[span]


@dataclass
class Told:
    """What became of the rows while they were turned into tokens."""

    rows: int = 0
    set_aside: list[SetAside] = field(default_factory=list)
    turns_dropped: int = 0
    """Rows that lost their oldest turns, being too long."""
    answers_cut: int = 0
    """Rows whose last answer lost its end, being too long."""
    special_as_text: int = 0
    """Rows that spell out a special token, which was read as plain text."""

    @property
    def reasons(self) -> dict[str, int]:
        """Rows set aside, by reason."""
        return dict(Counter(one.reason for one in self.set_aside).most_common())


class _Aside(Exception):  # noqa: N818 - a verdict on a row
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class _Silent(_Aside):
    """None of the answers counts."""


class Encoder:
    """Turns conversations into tokens, for one model and one set of settings.

    `tokenizer` is transformers' and stays as it is; `stop_ids` are the tokens at which the model ends its turn. Raises
    UserError when a turn rendered by the template does not end in one of them, supervised.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate,
        stop_ids: Iterable[int],
        *,
        max_length: int = 1024,
        truncation: Truncation = "turns",
        reasoning: Reasoning = "keep",
    ) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise UserError(
                f"the tokenizer is a {type(tokenizer).__name__}, which cannot say where its tokens begin",
                hint="use a version of the model that has a tokenizer.json",
            )
        self._backend = copy.deepcopy(backend)
        self._backend.no_truncation()
        self._backend.no_padding()
        self.tokenizer = tokenizer
        self.template = template
        self.stop_ids = frozenset(stop_ids)
        self.max_length = max_length
        self.truncation = truncation
        self.reasoning = reasoning
        special = sorted(
            {one.content for one in tokenizer.added_tokens_decoder.values() if one.special and one.content}
        )
        self._special = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)")
        self._check_end_of_turn()

    @cached_property
    def _literal(self) -> Any:
        """The tokenizer for special tokens that are text."""
        backend = copy.deepcopy(self._backend)
        backend.encode_special_tokens = True
        return backend

    @cached_property
    def _writes(self) -> set[str]:
        """What of a conversation the template writes, besides questions and answers."""
        ask, answer = {"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}
        call = {"type": "function", "function": {"name": "calledbyname", "arguments": {}}}
        tool = {"type": "function", "function": {"name": "offeredtool", "description": "", "parameters": {}}}
        calling = {"role": "assistant", "content": "", "tool_calls": [call]}
        told = {"role": "tool", "content": "toldbytool", "name": "calledbyname"}
        probes: dict[str, tuple[str, list[dict[str, Any]], list[Any] | None]] = {
            "tools": ("offeredtool", [ask, answer], [tool]),
            "tool calls": ("calledbyname", [ask, calling], None),
            "tool answers": ("toldbytool", [ask, calling, told, answer], None),
            "system turns": ("besaid", [{"role": "system", "content": "besaid"}, ask, answer], None),
        }
        found = set()
        for what, (word, messages, tools) in probes.items():
            try:
                if word in self.template.render(messages, tools).text:
                    found.add(what)
            except TemplateRefusesError:
                # A template that refuses says why when it comes to such a row.
                found.add(what)
        return found

    def _check_end_of_turn(self) -> None:
        turns = [("user", "Hi"), ("assistant", "Hello."), ("user", "Hi"), ("assistant", "Hello.")]
        messages = [{"role": role, "content": content} for role, content in turns]
        try:
            rendered = self.template.render(messages)
        except TemplateRefusesError as error:
            raise UserError(
                f"the chat template {self.template.name} takes no plain conversation: {error}",
                hint="choose another with --set chat_template=NAME",
            ) from None
        if len(rendered.spans) != 2:
            raise UserError(
                f"the chat template {self.template.name} marks {len(rendered.spans)} of two answers as the assistant's",
                hint="put {% generation %} and {% endgeneration %} around each, once",
            )
        ids, weights = self._tokens(rendered, [1.0, 1.0], [])
        supervised = np.flatnonzero(weights)
        ends = supervised[np.append(np.diff(supervised) > 1, [True])]
        last = [int(ids[place]) for place in ends]
        if len(last) == 2 and all(one in self.stop_ids for one in last):
            return
        names = [str(self.tokenizer.convert_ids_to_tokens(one)) for one in (last or ids[-1:].tolist())]
        stops = ", ".join(str(self.tokenizer.convert_ids_to_tokens(one)) for one in sorted(self.stop_ids)) or "none"
        raise UserError(
            f"by the chat template {self.template.name} an answer ends in {names[-1]!r}, and the model stops at "
            f"{stops}: it would never learn to stop",
            hint="put the end-of-turn token inside {% generation %}, or name it with --set eos_token=TOKEN if the "
            "model is to stop there",
        )

    def encode(self, rows: Iterable[Mapping[str, Any]], told: Told) -> Iterator[Encoded]:
        """The rows as tokens, in order, those that are set aside left out and written down in `told`.

        `rows` have `id`, `messages`, `tools`, `task` and `origin` as a dataset of kind chat has them.
        """
        source = iter(rows)
        while batch := list(itertools.islice(source, BATCH)):
            told.rows += len(batch)
            prepared: list[tuple[Mapping[str, Any], _Prepared] | SetAside] = []
            for row in batch:
                try:
                    prepared.append((row, self._prepare(row)))
                except _Aside as aside:
                    prepared.append(_set_aside(row, aside))
            plain = [one[1].rendered.text for one in prepared if isinstance(one, tuple) and not one[1].literal]
            encodings = iter(self._backend.encode_batch(plain, add_special_tokens=False))
            for one in prepared:
                if isinstance(one, SetAside):
                    told.set_aside.append(one)
                    continue
                row, ready = one
                encoding = None if ready.literal else next(encodings)
                try:
                    ids, weights = self._finish(ready, encoding, told)
                except _Aside as aside:
                    told.set_aside.append(_set_aside(row, aside))
                    continue
                told.special_as_text += ready.literal
                yield Encoded(row["id"], row.get("task") or "", ids, weights)

    def _prepare(self, row: Mapping[str, Any]) -> _Prepared:
        """The row rendered. Raises _Aside."""
        messages, weights = self._messages(row["messages"])
        offered = row.get("tools")
        tools = _json_list(offered, "tools") if offered else None
        hits = 0
        guarded = []
        for message in messages:
            message, more = self._guarded(message)
            guarded.append(message)
            hits += more
        guarded_tools, more = self._guarded(tools)
        return self._rendered(guarded, weights, guarded_tools, literal=bool(hits + more))

    def _messages(self, said: Sequence[Mapping[str, Any]] | None) -> tuple[list[dict[str, Any]], list[float]]:
        """Turns as templates see them, up to the last answer, and the weight of each answer. Raises _Aside."""
        messages: list[dict[str, Any]] = []
        weights = []
        last = max((place for place, one in enumerate(said or ()) if one["role"] == "assistant"), default=-1)
        for place, turn in enumerate((said or ())[: last + 1]):
            role, content = turn["role"], turn["content"] or ""
            if role not in ROLES:
                raise _Aside(Reason.ROLE, f"turn {place + 1} is of {excerpt(role, 40)!r}")
            message: dict[str, Any] = {"role": role, "content": content}
            calls = turn.get("tool_calls")
            if calls:
                message["tool_calls"] = _calls(_json_list(calls, f"tool_calls of turn {place + 1}"))
            message |= {name: turn[name] for name in ("name", "tool_call_id") if turn.get(name)}
            if role == "assistant":
                reasoning, message["content"] = _split(turn.get("reasoning"), content)
                weight = 1.0 if turn.get("weight") is None else float(turn["weight"])
                if not 0 <= weight < 1e6:
                    raise _Aside(Reason.WEIGHT, f"turn {place + 1} has the weight {weight:g}")
                if weight and not message["content"].strip() and not calls:
                    raise _Aside(Reason.EMPTY, f"turn {place + 1} says nothing")
                if reasoning and self.reasoning != "drop":
                    message |= {"reasoning_content": reasoning, "thinking": reasoning}
                weights.append(weight)
            messages.append(message)
        if not weights:
            raise _Aside(Reason.NO_ANSWER, "the assistant says nothing")
        if not any(weights):
            raise _Aside(Reason.NO_ANSWER, "every answer has the weight 0")
        return messages, weights

    def _guarded(self, value: Any) -> tuple[Any, int]:
        """Texts at any depth with special tokens in them marked as text, and how many there are. Raises _Aside."""
        if isinstance(value, str):
            if _FORBIDDEN.search(value):
                raise _Aside(Reason.CHARACTER, "it holds a code point that is no character")
            return self._special.subn(lambda found: f"{_OPEN}{found[0]}{_CLOSE}", value)
        if isinstance(value, dict):
            pairs = [(self._guarded(key), self._guarded(inner)) for key, inner in value.items()]
            return {key[0]: inner[0] for key, inner in pairs}, sum(key[1] + inner[1] for key, inner in pairs)
        if isinstance(value, list):
            items = [self._guarded(inner) for inner in value]
            return [one for one, _ in items], sum(more for _, more in items)
        return value, 0

    def _rendered(
        self, messages: list[dict[str, Any]], weights: list[float], tools: list[Any] | None, *, literal: bool
    ) -> _Prepared:
        try:
            rendered = self.template.render(messages, tools)
        except TemplateRefusesError as error:
            raise _Aside(Reason.REFUSED, excerpt(str(error), 200)) from None
        answers = [message for message in messages if message["role"] == "assistant"]
        if len(rendered.spans) != len(answers):
            raise _Aside(Reason.LOST, f"{len(rendered.spans)} of {len(answers)} answers stand in the text")
        needed = {
            "tools": bool(tools),
            "tool calls": any("tool_calls" in one for one in answers),
            "tool answers": any(one["role"] == "tool" for one in messages),
            "system turns": messages[0]["role"] == "system",
        }
        lost = [what for what, used in needed.items() if used and what not in self._writes]
        if lost:
            raise _Aside(Reason.LOST, f"the chat template leaves out {lost[0]}")
        silent: list[tuple[int, int]] = []
        weights = list(weights)
        for place, ((begin, end), answer) in enumerate(zip(rendered.spans, answers, strict=True)):
            said = rendered.text[begin:end]
            reasoning = answer.get("reasoning_content", "").strip()
            if reasoning and reasoning not in said:
                # The template leaves the reasoning of earlier turns out: learning those is learning not to reason.
                weights[place] = 0.0
            thought = said.find(_THOUGHT)
            opened = said[:thought].strip() if thought >= 0 else ""
            if (thought >= 0 and opened in (_THINK, "")) or (reasoning and self.reasoning == "mask" and thought >= 0):
                # An empty block of reasoning belongs to the question: it is how one asks for no reasoning.
                after = thought + len(_THOUGHT)
                after += len(said[after:]) - len(said[after:].lstrip("\n"))
                silent.append((begin, begin + after))
        if not any(weights):
            raise _Silent(Reason.LOST, "the chat template leaves the reasoning out")
        return _Prepared(messages, weights, tools, rendered, silent, literal)

    def _finish(self, ready: _Prepared, encoding: Any, told: Told) -> tuple[Ids, Weights]:
        """Tokens and weights of a rendered row, made to fit. Raises _Aside."""
        ids, weights = self._tokens(ready.rendered, ready.weights, ready.silent, encoding, literal=ready.literal)
        if len(ids) > self.max_length:
            if self.truncation == "none":
                raise _Aside(Reason.TOO_LONG, f"{len(ids):,} tokens")
            if self.truncation == "turns":
                shorter = self._without_oldest(ready)
                if shorter is not None:
                    told.turns_dropped += 1
                    ids, weights = shorter
            if len(ids) > self.max_length:
                ids, weights = ids[: self.max_length], weights[: self.max_length]
                if not weights.any():
                    raise _Aside(Reason.TOO_LONG, "the answer begins behind max_length")
                told.answers_cut += 1
        # The first token is predicted from nothing, so it never counts.
        if not weights[1:].any():
            raise _Aside(Reason.NOTHING, "no token of it is supervised")
        return ids, weights

    def _without_oldest(self, ready: _Prepared) -> tuple[Ids, Weights] | None:
        """The row without as few of its oldest exchanges as make it fit, or else without as many as still leave an
        answer that counts; None if it has only one."""
        head = [one for one in ready.messages[:1] if one["role"] == "system"]
        asked = [place for place, one in enumerate(ready.messages) if one["role"] == "user"][1:]
        low, high, found, shortest = 0, len(asked) - 1, None, None
        while low <= high:  # what is left only gets shorter, so half of the places can be ruled out each time
            middle = (low + high) // 2
            rest = ready.messages[asked[middle] :]
            answers = sum(one["role"] == "assistant" for one in rest)
            try:
                again = self._rendered([*head, *rest], ready.weights[-answers:], ready.tools, literal=ready.literal)
            except _Silent:
                high = middle - 1  # without still older ones
                continue
            except _Aside:
                low = middle + 1
                continue
            tokens = self._tokens(again.rendered, again.weights, again.silent, literal=ready.literal)
            if len(tokens[0]) <= self.max_length:
                found, high = tokens, middle - 1
            else:
                shortest, low = tokens, middle + 1
        return found if found is not None else shortest

    def _tokens(
        self,
        rendered: Rendered,
        weights: Sequence[float],
        silent: Sequence[tuple[int, int]],
        encoding: Any = None,
        *,
        literal: bool = False,
    ) -> tuple[Ids, Weights]:
        """Token ids of a text, and the weight of each by where it begins."""
        if literal:
            ids, begins = self._in_pieces(rendered.text)
        else:
            encoding = encoding or self._backend.encode(rendered.text, add_special_tokens=False)
            ids = np.asarray(encoding.ids, dtype=np.int32)
            begins = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)[:, 0]
        counted = np.zeros(len(ids), dtype=np.float32)
        for (begin, end), weight in zip(rendered.spans, weights, strict=True):
            counted[(begins >= begin) & (begins < end)] = weight
        for begin, end in silent:
            counted[(begins >= begin) & (begins < end)] = 0.0
        return ids, counted

    def _in_pieces(self, text: str) -> tuple[Ids, np.ndarray[Any, np.dtype[np.int64]]]:
        """Token ids of a text in which some special tokens are marked as text, and where each begins."""
        ids: list[int] = []
        begins: list[int] = []
        place, plain = 0, False
        for piece in re.split(f"([{_OPEN}{_CLOSE}])", text):
            if piece in (_OPEN, _CLOSE):
                plain = piece == _OPEN
            elif piece:
                encoding = (self._literal if plain else self._backend).encode(piece, add_special_tokens=False)
                ids += encoding.ids
                begins += [place + begin for begin, _ in encoding.offsets]
            place += len(piece)
        return np.asarray(ids, dtype=np.int32), np.asarray(begins, dtype=np.int64)


@dataclass(frozen=True)
class _Prepared:
    """A row on its way to tokens."""

    messages: list[dict[str, Any]]
    weights: list[float]
    tools: list[Any] | None
    rendered: Rendered
    silent: list[tuple[int, int]]
    literal: bool


def gathered(rows: Iterable[Encoded]) -> TokenRows:
    """The rows one behind the other."""
    ids, weights, lengths, row_ids, tasks = [], [], [], [], []
    for row in rows:
        ids.append(row.ids)
        weights.append(row.weights)
        lengths.append(len(row.ids))
        row_ids.append(row.id)
        tasks.append(row.task)
    return TokenRows(
        np.concatenate(ids) if ids else np.zeros(0, dtype=np.int32),
        np.concatenate(weights) if weights else np.zeros(0, dtype=np.float32),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        row_ids,
        tasks,
    )


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Which rows share a sequence of at most `room` tokens: best fit, longest first (Coffman et al. 1984). A row that
    is longer has a sequence to itself. Takes time linear in the rows times `room` / 64."""
    bins: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(room + 1)]
    mask = 0  # bit k is set where a bin has room for k tokens exactly
    for place in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        length = lengths[place]
        fitting = mask >> length if length <= room else 0
        if fitting:
            left = length + (fitting & -fitting).bit_length() - 1
            number = with_room[left].pop()
            if not with_room[left]:
                mask &= ~(1 << left)
            bins[number].append(place)
            left -= length
        else:
            number = len(bins)
            bins.append([place])
            left = max(room - length, 0)
        if left:
            with_room[left].append(number)
            mask |= 1 << left
    return bins


@dataclass(frozen=True)
class Piece:
    """A stretch of a row as it is shown, and what it counts in the loss."""

    text: str
    weight: float


def shown(rows: TokenRows, place: int, tokenizer: Any, chars: int = 600) -> list[Piece]:
    """A row as the model reads it, cut into what the loss counts and what not; masked and cut as every row shown."""
    ids, weights = rows.row(place)
    edges = [0, *(np.flatnonzero(np.diff(weights)) + 1).tolist(), len(ids)]
    pieces = []
    for begin, end in itertools.pairwise(edges):
        if end > begin:
            text = tokenizer.decode(ids[begin:end].tolist(), clean_up_tokenization_spaces=False)
            pieces.append(Piece(excerpt(text, chars), float(weights[begin])))
    return pieces


def _split(reasoning: str | None, content: str) -> tuple[str, str]:
    """Reasoning and answer of a turn, where they may stand in one text."""
    if not reasoning and content.lstrip().startswith(_THINK) and _THOUGHT in content:
        inside, _, rest = content.partition(_THOUGHT)
        return inside.lstrip().removeprefix(_THINK).strip(), rest.lstrip("\n")
    return (reasoning or "").strip(), content


def _json_list(text: str, what: str) -> list[Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _Aside(Reason.CALLS, f"{what} is no JSON") from None
    if not isinstance(found, list):
        raise _Aside(Reason.CALLS, f"{what} is no list")
    return found


def _calls(calls: list[Any]) -> list[Any]:
    """Tool calls whose arguments are objects, as templates expect them, and not JSON in a string."""
    found = []
    for call in calls:
        inner = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise _Aside(Reason.CALLS, "a tool call names no function")
        arguments = inner.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = orjson.loads(arguments)
            except orjson.JSONDecodeError:
                raise _Aside(Reason.CALLS, "the arguments of a tool call are no JSON") from None
        found.append({"type": "function", "function": {"name": inner["name"], "arguments": arguments or {}}})
    return found


def where_of(row: Mapping[str, Any]) -> str:
    """The file and line that a row came from, as it may be shown; empty where it is not known."""
    origin = row.get("origin") or {}
    where = excerpt(origin["file"], 200) if origin.get("file") else ""
    return f"{where}:{origin['line']}" if where and origin.get("line") is not None else where


def _set_aside(row: Mapping[str, Any], aside: _Aside) -> SetAside:
    return SetAside(row["id"], where_of(row), aside.reason, aside.detail)
