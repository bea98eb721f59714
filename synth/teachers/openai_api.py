"""A teacher behind one or several OpenAI-compatible endpoints: what is said to it, and what it says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import orjson

from schemas.egress import is_here
from schemas.errors import UserError
from synth.budget import Price
from synth.request import Answer
from synth.structured import told_in_words
from synth.teachers.embeddings import as_embeddings, read_embeddings
from synth.teachers.http import Client
from synth.teachers.line import Flow, Lost, Reply, counted
from synth.teachers.responses import as_responses, read_response

Api = Literal["chat", "responses", "embeddings"]
Transport = Literal["http", "openai", "batch", "vllm", "llama"]

_DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?"
)
_DETAIL_CHARS = 300
_MINUTE_RESET_SECONDS = 70.0
_SHORTEST_SECRET = 12
"""Shorter keys are words that local servers want (`ollama`, `EMPTY`), and may well stand in an answer."""

_CREDENTIALS = re.compile(r"://[^/\s@]{1,200}@")


class Secret:
    """A key that no repr, log or error shows."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(***)" if self.value else "Secret()"

    def hidden_in(self, data: bytes) -> bytes:
        """The same bytes without the key: an endpoint may repeat it in its errors, and even in its answers."""
        return data.replace(self.value.encode(), b"***") if len(self.value) >= _SHORTEST_SECRET else data


@dataclass(frozen=True)
class Endpoint:
    """One address that serves a teacher's model.

    `url` is the base, as the openai SDK's `base_url` (`https://host/v1`). The key is read from the environment variable
    `key_env` or from the file `key_file`; it is sent as a bearer token, or bare in another header (Azure's `api-key`).
    `requests_per_minute` and `tokens_per_minute` need saying only where the
    endpoint does not tell them in its headers. `structured` is what it does with a JSON Schema: `json_schema` takes it,
    `words` needs it told in the prompt; an endpoint that refuses the first is given the second. Some models want
    `completion_cap: max_completion_tokens`; that too is found out.

    `api` is what is spoken, /chat/completions or /responses; answers and their keys are the same. Or it is /embeddings,
    whose answers are vectors (synth/embedding.py), by `http` only. `transport` is how:
    `http` our own lean client, `openai` the SDK (for what only it can do with proxies and certificates), `batch` the
    Batch API (hours, at half the price; at most `batch_rows` and `batch_bytes` a file), `vllm` no address but the
    engine in this process, whose url is `http://localhost` and whose `options` are vllm.LLM's.
    """

    url: str
    key_env: str = ""
    key_header: str = "Authorization"
    key_file: str = ""
    requests_per_minute: float = 0
    tokens_per_minute: float = 0
    structured: Literal["json_schema", "words"] = "json_schema"
    completion_cap: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    api: Api = "chat"
    transport: Transport = "http"
    batch_rows: int = 50_000
    batch_bytes: int = 100 << 20
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and self.url.isprintable()
        except ValueError:
            raise UserError("an endpoint's address is none", hint="as in https://api.openai.com/v1") from None
        if not good:
            raise UserError(f"{self.shown!r} is not the address of an endpoint", hint="as in https://api.openai.com/v1")
        for name, said, known in (("api", self.api, Api), ("transport", self.transport, Transport)):
            if said not in get_args(known):
                raise UserError(
                    f"{self.shown} has the {name} {said!r}", hint=f"give one of {', '.join(get_args(known))}"
                )
        if self.batch_rows < 1 or self.batch_bytes < 1:
            raise UserError(
                f"a batch for {self.shown} may hold nothing", hint="give batch_rows and batch_bytes 1 or more"
            )
        if self.transport == "vllm" and not is_here(self.url):
            raise UserError(
                f"vLLM runs in this process, and asks nobody at {self.shown}",
                hint="leave the address out, or leave `transport: vllm` out to ask a vLLM server there",
            )
        if self.api == "embeddings" and self.transport != "http":
            raise UserError(f"embeddings of {self.shown} are asked for by http", hint="leave transport out")
        if parts.username or parts.password:
            raise UserError(f"the address of {self.shown} holds a password", hint="name its variable with key_env")

    @property
    def shown(self) -> str:
        """The address without what may be secret in it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def key(self) -> Secret:
        """The key, read now. Raises UserError when it is named and not there."""
        if self.key_env:
            value = os.environ.get(self.key_env, "").strip()
            if not value:
                raise UserError(
                    f"{self.key_env} is not set", hint=f"export {self.key_env}=… with the key of {self.shown}"
                )
        elif self.key_file:
            try:
                value = Path(self.key_file).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(
                    f"{self.key_file} cannot be read", hint=f"it should hold the key of {self.shown}"
                ) from error
        else:
            value = ""
        if not value.isascii() or not value.isprintable():
            raise UserError(f"the key of {self.shown} holds characters that no key has", hint="copy it again")
        return Secret(value)


@dataclass(frozen=True)
class Teacher:
    """A model that is asked, at one or several endpoints that all serve it.

    `model` and `revision` are part of every request's key: another model is another answer, another endpoint is not.
    `max_tokens` caps the completion of a request that does not do so itself, so that a budget can be kept.
    """

    name: str
    model: str
    endpoints: tuple[Endpoint, ...]
    revision: str = ""
    price: Price = field(default_factory=Price)
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise UserError(f"the teacher {self.name} has no endpoint", hint="give at least one address")
        if self.max_tokens < 1:
            raise UserError(f"the teacher {self.name} may answer with {self.max_tokens} tokens", hint="give 1 or more")


class ApiLine:
    """What all lines to an endpoint have that speaks one of OpenAI's APIs: its key, its words, what it supports not."""

    together = 0

    def __init__(self, teacher: Teacher, endpoint: Endpoint) -> None:
        self.teacher = teacher
        self.endpoint = endpoint
        self.structured = endpoint.structured
        self.completion_cap = endpoint.completion_cap
        self.path = _PATHS[endpoint.api]
        self.headers = dict(endpoint.headers)
        self._key = endpoint.key()
        if self._key.value:
            bearer = endpoint.key_header.lower() == "authorization"
            self.headers[endpoint.key_header] = f"Bearer {self._key.value}" if bearer else self._key.value

    @property
    def spoken(self) -> object:
        """What `learn` may change."""
        return self.structured, self.completion_cap

    def said(self, body: Mapping[str, Any], sample: int) -> dict[str, Any]:
        """What to send: the body as this endpoint takes it, with the model. A seed is moved on by the sample."""
        if self.endpoint.api == "embeddings":
            return as_embeddings(body, self.teacher.model)
        said = told_in_words(body) if self.structured == "words" else dict(body)
        said["model"] = self.teacher.model
        if sample and isinstance(said.get("seed"), int):
            said["seed"] += sample
        if self.endpoint.api == "responses":
            return as_responses(said)
        if self.completion_cap != "max_tokens" and "max_tokens" in said:
            said[self.completion_cap] = said.pop("max_tokens")
        return said

    def read(self, key: str, body: bytes) -> Answer:
        """The answer in a body. Raises Lost when there is none in it."""
        return _READERS[self.endpoint.api](key, body)

    def keeps(self, key: str) -> bool:
        """Nothing is kept for us."""
        return False

    def forget(self, key: str) -> None:
        """There is nothing to forget."""

    def clean(self, error: object) -> str:
        """What an error says, short and without the key."""
        said = _CREDENTIALS.sub("://***@", str(error) or type(error).__name__)
        for value in self.endpoint.headers.values():
            said = said.replace(value, "***") if len(value) >= _SHORTEST_SECRET else said
        return self._key.hidden_in(said.encode()).decode(errors="replace")[:_DETAIL_CHARS]

    def learn(self, detail: str) -> bool:
        """Take a complaint about what is not supported to heart; True when asking again may work."""
        said = detail.lower()
        if self.structured == "json_schema" and any(
            word in said for word in ("response_format", "json_schema", "guided", "structured output")
        ):
            self.structured = "words"
            return True
        if self.completion_cap == "max_tokens" and "max_completion_tokens" in said:
            self.completion_cap = "max_completion_tokens"
            return True
        return False


class HttpLine(ApiLine):
    """A line by our own HTTP client."""

    def __init__(self, teacher: Teacher, endpoint: Endpoint) -> None:
        super().__init__(teacher, endpoint)
        self._client = Client(endpoint.url, self.headers)

    async def open(self) -> None:
        """Get ready to send. Raises UserError for a proxy that cannot be used."""
        await self._client.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def ask(self, key: str, body: Mapping[str, Any], sample: int, flow: Flow) -> Reply:
        """Send and wait for the whole answer, noting in `flow` when bytes come. Raises NotSent or Lost."""
        reply = await self._client.ask("POST", self.path, orjson.dumps(self.said(body, sample)), flow)
        return Reply(reply.status, reply.headers, self._key.hidden_in(reply.body))


def read_answer(key: str, body: bytes) -> Answer:
    """The answer in a body of `/chat/completions`. Raises Lost when there is none in it.

    A body without usage counts as no tokens; the caller knows what was reserved.
    """
    try:
        said = orjson.loads(body)
        if "choices" not in said and "error" in said:
            raise Lost(f"an error with status 200: {error_of(Reply(200, {}, body))[1]}")
        choice = said["choices"][0]
        message = choice["message"]
        usage = said.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        text, refusal = _text(message.get("content")), message.get("refusal")
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        calls = message.get("tool_calls") or ()
        finish = str(choice.get("finish_reason") or "")
        answer = Answer(
            key=key,
            text=str(refusal) if refusal and not text else text,
            tool_calls=tuple(call for call in calls if isinstance(call, dict)),
            finish_reason=finish,
            prompt_tokens=counted(usage.get("prompt_tokens")),
            completion_tokens=counted(usage.get("completion_tokens")),
            model=str(said.get("model") or ""),
            id=str(said.get("id") or ""),
            refused=bool(refusal) or finish == "content_filter",
            reasoning=reasoning if isinstance(reasoning, str) else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Lost("the answer is not that of /chat/completions") from None
    return answer


_PATHS: Mapping[Api, str] = {"chat": "/chat/completions", "responses": "/responses", "embeddings": "/embeddings"}
_READERS: Mapping[Api, Callable[[str, bytes], Answer]] = {
    "chat": read_answer,
    "responses": read_response,
    "embeddings": read_embeddings,
}


def error_of(reply: Reply) -> tuple[str, str]:
    """The code and the message of an error, as far as the endpoint gives them."""
    try:
        said = orjson.loads(reply.body)
        error = said.get("error", said)
        if isinstance(error, str):
            return "", error[:_DETAIL_CHARS]
        code = error.get("code") or error.get("type") or ""
        return str(code), str(error.get("message") or error.get("detail") or "")[:_DETAIL_CHARS]
    except (ValueError, AttributeError):
        return "", reply.body[:_DETAIL_CHARS].decode(errors="replace")


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Seconds that the endpoint asks us to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < 1e6:
            return seconds
    if "retry-after" in headers:
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - wall)
        except (ValueError, TypeError):
            return None
    return None


def rate_limits(headers: Mapping[str, str]) -> dict[str, tuple[float, float | None]]:
    """What the headers say of `requests` and `tokens`: how many a minute, and how many are left.

    OpenAI, Azure, Groq, Mistral and others send `x-ratelimit-limit-requests` and its like. A limit that is full again
    only after more than a minute is one of a day, and says nothing about the minute: it is left out.
    """
    found: dict[str, tuple[float, float | None]] = {}
    if "x-ratelimit-limit-requests" not in headers and "x-ratelimit-limit-tokens" not in headers:
        return found
    for kind in ("requests", "tokens"):
        try:
            limit = float(headers[f"x-ratelimit-limit-{kind}"])
        except (KeyError, ValueError):
            continue
        if not 0 < limit < 1e12:
            continue
        try:
            remaining = float(headers[f"x-ratelimit-remaining-{kind}"])
        except (KeyError, ValueError):
            remaining = None
        if duration(headers.get(f"x-ratelimit-reset-{kind}", "")) <= _MINUTE_RESET_SECONDS:
            found[kind] = (limit, remaining)
    return found


def duration(said: str) -> float:
    """Seconds in `6m0s`, `120ms`, `1.5s` or a bare number; 0 for anything else."""
    try:
        return float(said) if 0 <= float(said) < 1e9 else 0.0
    except ValueError:
        found = _DURATION.fullmatch(said)
    if not found:
        return 0.0
    days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds + milliseconds / 1000


def _text(content: Any) -> str | None:
    """The text of a message whose content is text, or a list of parts."""
    if content is None or isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")
