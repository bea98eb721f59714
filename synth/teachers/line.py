"""What the runner needs of a way to a teacher, and which ways there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from synth.request import Answer

if TYPE_CHECKING:
    from synth.teachers.openai_api import Endpoint, Teacher


class NotSent(Exception):  # noqa: N818 - an outcome
    """The request has not reached the endpoint, and is not billed."""


class Lost(Exception):  # noqa: N818 - an outcome
    """The request went out and no answer came back whole: it may have been billed."""


class Kept(Exception):  # noqa: N818 - an outcome
    """We stop waiting, and the answer is kept for us: the next run that asks the same gets it, and does not pay."""


@dataclass(slots=True)
class Flow:
    """When a request was sent and when its answer's latest bytes came; the watch over hung connections reads it.

    `max_tokens` is how long the answer may be.
    """

    sent: float
    heard: float = 0.0
    max_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the HTTP status, the headers by name in lower case, the body without the key."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line(Protocol):
    """An open line to one endpoint.

    `together` is 0 where the engine finds out how many requests may be in flight. Where it is not, so many are handed
    over at once, and an answer may take hours: the line itself sees to it that it comes, or says that it will not.
    `spoken` is what the line was found to have to say differently: it changes when `learn` has learnt something.
    """

    teacher: Teacher
    endpoint: Endpoint
    together: int

    @property
    def spoken(self) -> object: ...

    async def open(self) -> None:
        """Get ready to ask."""

    async def close(self) -> None:
        """Let go of everything."""

    async def ask(self, key: str, body: Mapping[str, Any], sample: int, flow: Flow) -> Reply:
        """Ask and wait for the answer. Raises NotSent, Lost or, when cancelled, Kept; UserError when nothing helps."""

    def read(self, key: str, body: bytes) -> Answer:
        """The answer in the body of a reply with status 200. Raises Lost when there is none in it."""

    def clean(self, error: object) -> str:
        """What an error says, short and without anything secret."""

    def learn(self, detail: str) -> bool:
        """Take a complaint about what is not supported to heart; True when asking again may work."""

    def keeps(self, key: str) -> bool:
        """Whether the answer to a request asked before, by whatever process, is kept for us."""

    def forget(self, key: str) -> None:
        """A request needs no answer any more: it is in the journal, or will not come."""


def counted(said: Any) -> int:
    """A number of tokens as an endpoint says it; 0 for what is none."""
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else 0


def line_to(
    teacher: Teacher, endpoint: Endpoint, folder: Path, tell: Callable[[Mapping[str, Any]], None] | None = None
) -> Line:
    """A line to an endpoint by the transport it names.

    `folder` is for what must outlive the process, `tell` is told of what takes long. Raises UserError for one that
    cannot be used.
    """
    if endpoint.transport == "openai":
        from synth.teachers.openai_sdk import SdkLine

        return SdkLine(teacher, endpoint)
    if endpoint.transport == "batch":
        from synth.teachers.openai_batch import BatchLine

        return BatchLine(teacher, endpoint, folder, tell)
    if endpoint.transport == "vllm":
        from synth.teachers.vllm_offline import VllmLine

        return VllmLine(teacher, endpoint)
    if endpoint.transport == "llama":
        from synth.teachers.llama_server import LlamaLine

        return LlamaLine(teacher, endpoint)
    from synth.teachers.openai_api import HttpLine

    return HttpLine(teacher, endpoint)
