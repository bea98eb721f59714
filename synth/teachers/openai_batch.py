"""The Batch API: many requests in one file, answered within a day at half the price, and never ordered twice.

What is ordered is written down before it is ordered, in a file of its own in the project home, and stays there until
its answers are in the journal. A run that comes after a kill finds the order there by a mark that it carries, waits for
it, and pays nothing again.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

import orjson

from schemas.errors import UserError
from synth.teachers.http import Client
from synth.teachers.line import Flow, Kept, Lost, NotSent, Reply
from synth.teachers.openai_api import ApiLine, Endpoint, Teacher, error_of, retry_after

FOLDER = "batches"

_TOGETHER = 50_000
_GATHER_SECONDS = 1.0
_POLL_SECONDS = (0.5, 30.0)
_CALL_SECONDS = 60.0
_MOVE_SECONDS = 1800.0
_PATIENCE_SECONDS = 300.0
_FULL_SECONDS = 60.0
_HINT = "leave `transport: batch` out where the model or the account has no batches"
_LOOKS, _LOOK_SECONDS = 3, 1.0
_PAGES = 50
_MAX_FILE_BYTES = 1 << 30
_ENDED = ("completed", "failed", "expired", "cancelled")
_LIMITS = ("token_limit_exceeded", "rate_limit_exceeded", "request_limit_exceeded")


@dataclass(eq=False)
class _Order:
    """A batch, from before it is ordered until all its answers are in the journal. `keys` are those that are not."""

    path: Path
    mark: str
    made: int
    keys: set[str]
    batch: str = ""
    handle: int = -1
    following: bool = False
    wanted: dict[str, asyncio.Future[Reply]] = field(default_factory=dict)
    found: dict[str, Reply] | None = None


class BatchLine(ApiLine):
    """A line by the Batch API. `folder` holds what was ordered; `tell` is told how orders fare."""

    together = _TOGETHER

    def __init__(
        self,
        teacher: Teacher,
        endpoint: Endpoint,
        folder: Path,
        tell: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        super().__init__(teacher, endpoint)
        self._client = Client(endpoint.url, self.headers)
        self._folder = folder / FOLDER
        self._tell = tell
        self._of = {"address": endpoint.shown, "model": teacher.model, "revision": teacher.revision}
        self._orders: dict[str, _Order] = {}
        self._gathered: dict[str, bytes] = {}
        self._bytes = 0
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._flush: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Get ready, and find what was ordered before. Raises UserError for what cannot be read or written."""
        await self._client.open()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._folder.glob("*.json")):
                self._take_up(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{self._folder} cannot be used: {error}") from error

    async def close(self) -> None:
        """Let go of orders and connections; what is ordered stays so."""
        if self._flush is not None:
            self._flush.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for handle in {order.handle for order in self._orders.values()}:
            os.close(handle)
        self._orders.clear()
        await self._client.close()

    def keeps(self, key: str) -> bool:
        """Whether a request is in a batch that was ordered."""
        return key in self._orders

    def forget(self, key: str) -> None:
        """The answer to a request is in the journal, or will not come: its order need not be kept for it."""
        order = self._orders.pop(key, None)
        if order is not None:
            order.keys.discard(key)
            if not order.keys:
                order.path.unlink(missing_ok=True)
                os.close(order.handle)

    async def ask(self, key: str, body: Mapping[str, Any], sample: int, flow: Flow) -> Reply:
        """Order an answer, or wait for one that is ordered. Raises Lost, NotSent or Kept; UserError when it cannot."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        order = self._orders.get(key)
        if order is not None and order.found is not None:
            return order.found[key]
        if order is not None:
            order.wanted[key] = future
            if not order.following:
                self._begin(self._follow(order))
        else:
            said = {"custom_id": key, "method": "POST", "url": f"/v1{self.path}", "body": self.said(body, sample)}
            line = orjson.dumps(said) + b"\n"
            full = len(self._gathered) >= self.endpoint.batch_rows
            if self._gathered and (full or self._bytes + len(line) > self.endpoint.batch_bytes):
                self._order()
            self._gathered[key], self._waiting[key] = line, future
            self._bytes += len(line)
            if self._flush is not None:
                self._flush.cancel()
            self._flush = loop.call_later(_GATHER_SECONDS, self._order)
        try:
            return await future
        except asyncio.CancelledError:
            if key in self._orders:
                raise Kept from None
            self._gathered.pop(key, None)
            self._waiting.pop(key, None)
            raise NotSent("not ordered yet") from None

    # Orders.

    def _begin(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _order(self) -> None:
        """Order what was gathered."""
        gathered, self._gathered, self._bytes = self._gathered, {}, 0
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if not gathered:
            return
        mark = secrets.token_hex(16)
        order = _Order(self._folder / f"{mark}.json", mark, int(time.time()), set(gathered))
        order.wanted = {key: self._waiting.pop(key) for key in gathered}
        try:
            self._put_down(order)
        except OSError as error:
            _fail(order, UserError(f"{order.path} cannot be written: {error.strerror}", hint="make room"))
            return
        self._orders.update(dict.fromkeys(order.keys, order))
        self._begin(self._follow(order, b"".join(gathered.values())))

    def _put_down(self, order: _Order) -> None:
        """Write an order down for good, before it is ordered, and keep it to ourselves for as long as we live."""
        side = order.path.with_suffix(".new")
        order.handle = os.open(side, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(order.handle, fcntl.LOCK_EX)
        self._note(order, {**self._of, "mark": order.mark, "made": order.made, "keys": sorted(order.keys)})
        side.rename(order.path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _note(self, order: _Order, said: Mapping[str, Any]) -> None:
        """Add a line to what is written down of an order."""
        line = orjson.dumps(said) + b"\n"
        if os.write(order.handle, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(order.handle)

    def _take_up(self, path: Path) -> None:
        """Take up an order of ours from a process that is gone."""
        lines = path.read_bytes().split(b"\n")[:-1]  # what is behind the last line break was torn off
        said: dict[str, Any] = {}
        gone: set[str] = set()
        for line in lines:
            said.update(orjson.loads(line))
            gone.update(said.pop("gone", ()))
        if any(said.get(name) != value for name, value in self._of.items()):
            return
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a living process sees to it
            os.close(handle)
            return
        order = _Order(path, said["mark"], said["made"], set(said["keys"]) - gone, said.get("batch", ""), handle)
        self._orders.update(dict.fromkeys(order.keys, order))

    async def _follow(self, order: _Order, data: bytes = b"") -> None:
        """See an order through: from its lines, where they are still to be sent, to its answers."""
        order.following = True
        try:
            if data:
                await self._send(order, data)
            elif not order.batch:
                order.batch = await self._find(order)
            said = await self._wait(order) if order.batch else {"status": "cancelled"}
            found = await self._collect(said)
            if said["status"] == "failed" and not found and _failure(said)[0] not in _LIMITS:
                detail = self.clean(" ".join(_failure(said)))
                for key in list(order.keys):  # ordered anew when what is wrong with it is mended
                    self.forget(key)
                raise UserError(f"{self.endpoint.shown} takes no such batch: {detail}", hint=_HINT)
        except Exception as error:
            _fail(order, error)
            return
        finally:
            order.following = False
        order.found = {key: found[key] for key in order.keys if key in found and found[key].status == 200}
        wanted, order.wanted = order.wanted, {}
        gone = sorted(order.keys - order.found.keys())
        if gone:  # said before any of them is ordered anew: who comes later must look for it there
            self._note(order, {"gone": gone})
        for key in gone:
            self.forget(key)
        for key, future in wanted.items():
            if future.done():
                continue
            if key in found:
                future.set_result(found[key])
            elif said["status"] == "completed":
                future.set_exception(Lost("the batch is complete, and this answer is not in it"))
            else:
                future.set_result(_unanswered(said))

    async def _send(self, order: _Order, data: bytes) -> None:
        """Upload the lines and order the batch."""
        cut = secrets.token_hex(24)
        form = (
            f'--{cut}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{cut}\r\nContent-Disposition: form-data; name="file"; filename="{order.mark}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        kind = f"multipart/form-data; boundary={cut}"
        whole = b"%b%b\r\n--%b--\r\n" % (form.encode(), data, cut.encode())
        file = await self._call("POST", "/files", whole, kind=kind, seconds=_MOVE_SECONDS)
        asked = {
            "input_file_id": file["id"],
            "endpoint": f"/v1{self.path}",
            "completion_window": "24h",
            "metadata": {"assay": order.mark},
        }

        async def ordered() -> dict[str, Any]:
            return {"id": found} if (found := await self._find(order)) else {}

        said = await self._call("POST", "/batches", orjson.dumps(asked), in_doubt=ordered)
        order.batch = str(said["id"])
        self._note(order, {"batch": order.batch})

    async def _find(self, order: _Order) -> str:
        """The batch that carries an order's mark: nothing when it was never ordered. A list may lag a little."""
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(_LOOK_SECONDS)
            after = ""
            for _ in range(_PAGES):
                said = await self._call("GET", f"/batches?limit=100{after}")
                for one in said["data"]:
                    if (one.get("metadata") or {}).get("assay") == order.mark:
                        found = str(one["id"])
                        self._note(order, {"batch": found})
                        return found
                if not said.get("has_more") or said["data"][-1].get("created_at", 0) < order.made - 3600:
                    break
                after = f"&after={quote(str(said['data'][-1]['id']), safe='')}"
        return ""

    async def _wait(self, order: _Order) -> dict[str, Any]:
        """What is said of a batch when it has ended."""
        pause, status = _POLL_SECONDS[0], ""
        hint = f"see that its key is that by which it was ordered; {order.path} says what was, and without that file "
        while True:
            said = await self._call(
                "GET", f"/batches/{quote(order.batch, safe='')}", hint=hint + "its answers are bought again"
            )
            if said["status"] != status and self._tell is not None:
                status = said["status"]
                counts = said.get("request_counts") or {}
                self._tell(
                    {
                        "event": "batch",
                        "endpoint": self.endpoint.shown,
                        "batch": order.batch,
                        "status": status,
                        "requests": len(order.keys),
                        "completed": counts.get("completed"),
                        "failed": counts.get("failed"),
                    }
                )
            if said["status"] in _ENDED:
                return said
            await asyncio.sleep(pause)
            pause = min(_POLL_SECONDS[1], 1.5 * pause)

    async def _collect(self, said: Mapping[str, Any]) -> dict[str, Reply]:
        """What a batch answered, by key."""
        found: dict[str, Reply] = {}
        for name in ("output_file_id", "error_file_id"):
            if not said.get(name):
                continue
            path = f"/files/{quote(str(said[name]), safe='')}/content"
            for line in (await self._fetch("GET", path, seconds=_MOVE_SECONDS)).split(b"\n"):
                with suppress(ValueError, LookupError, TypeError, AttributeError):  # a line that says nothing
                    one = orjson.loads(line)
                    answered = one["response"]
                    if answered and answered.get("status_code"):
                        found.setdefault(one["custom_id"], _reply(answered))
        return found

    # Calls.

    async def _call(self, method: str, path: str, data: bytes = b"", **how: Any) -> dict[str, Any]:
        """What the endpoint says to a call, read."""
        try:
            said = orjson.loads(await self._fetch(method, path, data, **how))
            if isinstance(said, dict):
                return said
        except ValueError:
            pass
        raise UserError(f"{self.endpoint.shown}{path.partition('?')[0]} says nothing that can be read")

    async def _fetch(
        self,
        method: str,
        path: str,
        data: bytes = b"",
        *,
        kind: str = "application/json",
        seconds: float = _CALL_SECONDS,
        hint: str = "",
        in_doubt: Callable[[], Awaitable[dict[str, Any]]] | None = None,
    ) -> bytes:
        """Call until it works. `in_doubt`: what to see after a call that may have worked before it is made again.

        Raises UserError when it is turned down, or nothing works for minutes.
        """
        began, pause = monotonic(), 0.5
        while True:
            wait = None
            try:
                async with asyncio.timeout(seconds):
                    reply = await self._client.ask(
                        method, path, data, Flow(monotonic()), kind=kind, most_bytes=_MAX_FILE_BYTES
                    )
            except (NotSent, Lost, TimeoutError) as error:
                said = self.clean(error)
            else:
                if reply.status == 200:
                    return self._key.hidden_in(reply.body)
                said = self.clean(f"{reply.status} {' '.join(filter(None, error_of(reply)))}")
                if reply.status < 500 and reply.status not in (408, 409, 425, 429):
                    raise UserError(f"{self.endpoint.shown}{path.partition('?')[0]} refuses us: {said}", hint=hint)
                wait = retry_after(reply.headers, time.time())
            if monotonic() - began > _PATIENCE_SECONDS:
                raise UserError(
                    f"{self.endpoint.shown} has not answered for {monotonic() - began:.0f} seconds: {said}",
                    hint="what is ordered goes on there; the same command picks it up, and pays for nothing again",
                )
            if in_doubt is not None and (found := await in_doubt()):
                return orjson.dumps(found)
            await asyncio.sleep(min(_PATIENCE_SECONDS, pause if wait is None else wait))
            pause = min(30.0, 2 * pause)


def _reply(answered: Mapping[str, Any]) -> Reply:
    return Reply(int(answered["status_code"]), {}, orjson.dumps(answered.get("body")))


def _failure(said: Mapping[str, Any]) -> tuple[str, str]:
    """The code and the message of a batch that failed as a whole."""
    errors = said.get("errors")
    listed = errors.get("data") if isinstance(errors, Mapping) else errors
    first = listed[0] if isinstance(listed, list) and listed else {}
    return str(first.get("code") or ""), str(first.get("message") or "")


def _unanswered(said: Mapping[str, Any]) -> Reply:
    """What is said of a request that a batch did not come to, by no fault of its own: refused, and asked again."""
    full = said["status"] == "failed"
    detail = _failure(said)[1] if full else f"the batch is {said['status']}"
    told = {"error": {"code": "rate_limit_exceeded", "message": detail}}
    return Reply(429, {"retry-after": f"{_FULL_SECONDS if full else 0:g}"}, orjson.dumps(told))


def _fail(order: _Order, error: Exception) -> None:
    """Nothing more will be heard of an order now."""
    wanted, order.wanted = order.wanted, {}
    for future in wanted.values():
        if not future.done():
            future.set_exception(error)
