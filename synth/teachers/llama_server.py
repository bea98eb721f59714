"""A teacher behind llama.cpp's server, which goes on with an assistant's turn that was begun and with no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from synth.task import tag_of
from synth.teachers.http import Client
from synth.teachers.line import Flow, Lost, Reply
from synth.teachers.openai_api import Endpoint, HttpLine, Teacher

_CHAT_ONLY = ("messages", "continue_final_message", "add_generation_prompt")


class LlamaLine(HttpLine):
    """A line by our own HTTP client. Where a user's turn was begun, the model's own template writes it down
    (`/apply-template`, which costs nothing), and the bare text is gone on with: asked in a chat, the server would take
    what was begun for the assistant's."""

    def __init__(self, teacher: Teacher, endpoint: Endpoint) -> None:
        super().__init__(teacher, endpoint)
        self._root = Client(endpoint.url.rstrip("/").removesuffix("/v1"), self.headers)

    async def open(self) -> None:
        """Get ready to send. Raises UserError for a proxy that cannot be used."""
        await super().open()
        await self._root.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._root.close()
        await super().close()

    async def ask(self, key: str, body: Mapping[str, Any], sample: int, flow: Flow) -> Reply:
        """Send and wait for the whole answer, noting in `flow` when bytes come. Raises NotSent or Lost."""
        messages = body["messages"]
        if not body.get("continue_final_message") or messages[-1].get("role") != "user":
            return await super().ask(key, body, sample, flow)
        mark = tag_of(str(messages))
        begun = {**messages[-1], "content": f"{messages[-1].get('content') or ''}{mark}"}
        asked = orjson.dumps({"messages": [*messages[:-1], begun], "add_generation_prompt": False})
        written = await self._root.ask("POST", "/apply-template", asked, flow)
        if written.status != 200:
            return Reply(written.status, written.headers, self._key.hidden_in(written.body))
        prompt, found, _ = _text_of(written.body, "prompt").rpartition(mark)
        if not found:
            raise Lost("the model's template does not show what the user says")
        said = {name: value for name, value in self.said(body, sample).items() if name not in _CHAT_ONLY}
        reply = await self._client.ask("POST", "/completions", orjson.dumps({**said, "prompt": prompt}), flow)
        return Reply(reply.status, reply.headers, self._key.hidden_in(_as_chat(reply)))


def _text_of(body: bytes, name: str) -> str:
    try:
        return str(orjson.loads(body)[name])
    except (ValueError, LookupError, TypeError):
        raise Lost("the answer is not that of llama.cpp's server") from None


def _as_chat(reply: Reply) -> bytes:
    """The body of `/completions` as that of `/chat/completions`; of an error, as it is."""
    if reply.status != 200:
        return reply.body
    try:
        said = orjson.loads(reply.body)
        choice = said["choices"][0]
        message = {"role": "assistant", "content": choice["text"]}
        return orjson.dumps({**said, "choices": [{"message": message, "finish_reason": choice["finish_reason"]}]})
    except (ValueError, LookupError, TypeError):
        raise Lost("the answer is not that of /completions") from None
