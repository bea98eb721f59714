"""The openai SDK as the way to an endpoint: ten times the CPU a request, for whom its ways with proxies matter."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl

from schemas.egress import is_here
from schemas.errors import UserError
from synth.teachers.http import CONNECT_SECONDS, MAX_ANSWER_BYTES
from synth.teachers.line import Flow, Lost, NotSent, Reply
from synth.teachers.openai_api import ApiLine, Endpoint, Teacher


class SdkLine(ApiLine):
    """A line by openai.AsyncOpenAI, without its own retries and time limits: the runner has better ones.

    Raises UserError when the SDK is not installed.
    """

    def __init__(self, teacher: Teacher, endpoint: Endpoint) -> None:
        super().__init__(teacher, endpoint)
        try:
            self._openai: Any = importlib.import_module("openai")
            # Which of httpx and its successors the SDK is built on differs by its version.
            self._httpx: Any = importlib.import_module(
                type(self._openai.DEFAULT_CONNECTION_LIMITS).__module__.partition(".")[0]
            )
        except ImportError as error:
            raise UserError(
                f"{endpoint.shown} is to be asked by the openai SDK, and it is not installed",
                hint="pip install openai, or leave `transport: openai` out: what comes back is the same",
            ) from error
        self._client: Any = None
        self._extra: dict[str, Any] = {}

    async def open(self) -> None:
        """Make the client."""
        base, _, query = self.endpoint.url.partition("?")
        if not any(name.lower() == "authorization" for name in self.headers):
            self._extra = {"Authorization": self._openai.Omit()}
        self._client = self._openai.AsyncOpenAI(
            base_url=base,
            api_key="none",
            max_retries=0,
            default_headers=self.headers,
            default_query=dict(parse_qsl(query)),
            http_client=self._openai.DefaultAsyncHttpxClient(
                follow_redirects=False,
                trust_env=not is_here(base),  # a proxy cannot reach this machine, and would see the rows and the key
                timeout=self._httpx.Timeout(None, connect=CONNECT_SECONDS),
                limits=self._httpx.Limits(max_connections=None, keepalive_expiry=4.0),
            ),
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()

    async def ask(self, key: str, body: Mapping[str, Any], sample: int, flow: Flow) -> Reply:
        """Send and wait for the whole answer, noting in `flow` when bytes come. Raises NotSent or Lost."""
        said = self.said(body, sample)
        asked = "input" if self.endpoint.api == "responses" else "messages"
        api = self._client.responses if self.endpoint.api == "responses" else self._client.chat.completions
        rest = {name: value for name, value in said.items() if name not in ("model", asked)}
        try:
            async with api.with_streaming_response.create(
                model=said["model"], **{asked: said[asked]}, extra_body=rest, extra_headers=self._extra
            ) as response:
                flow.heard = monotonic()
                parts, size = [], 0
                async for part in response.iter_bytes():
                    flow.heard = monotonic()
                    parts.append(part)
                    size += len(part)
                    if size > MAX_ANSWER_BYTES:
                        raise Lost(f"the answer is over {MAX_ANSWER_BYTES >> 20} MiB")
                return self._reply(response.status_code, response.headers, b"".join(parts))
        except self._openai.APIStatusError as error:
            return self._reply(error.response.status_code, error.response.headers, error.response.content)
        except (self._openai.OpenAIError, self._httpx.HTTPError, OSError) as error:
            cause = error.__cause__ or error
            never = (self._httpx.ConnectError, self._httpx.ConnectTimeout, self._httpx.UnsupportedProtocol)
            raise (NotSent if isinstance(cause, never) else Lost)(str(cause) or type(cause).__name__) from None

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        said = {name.lower(): value for name, value in headers.items()}
        return Reply(status, said, self._key.hidden_in(body))
