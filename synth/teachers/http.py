"""A lean HTTP/1.1 client for one address: a third of the CPU a request that aiohttp needs.

Keep-alive, TLS, proxies, and limits on all that an endpoint may send. A connection serves one request at a time; one on
which anything is odd is closed.
"""

from __future__ import annotations

import asyncio
import re
import socket
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, unquote, urlsplit

from schemas.egress import is_here
from schemas.errors import UserError
from synth.teachers.line import Flow, Lost, NotSent, Reply

if TYPE_CHECKING:
    import ssl

MAX_ANSWER_BYTES = 64 << 20
CONNECT_SECONDS = 10.0

_MAX_HEAD_BYTES = 64 << 10
_MAX_CHUNK_LINE_BYTES = 4 << 10
_IDLE_SECONDS = 4.0
"""Many servers close what was idle for 5 seconds (uvicorn, Node): what is sent just then is lost, perhaps billed."""

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?")
_SAFE = "/%:@!$&'()*+,;=~"


class Client:
    """Connections to one base address. `headers` go with every request. Raises UserError for a header that is none."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(base)
        assert parts.hostname is not None
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
        self._here = is_here(base)
        self._tls = parts.scheme == "https"
        self._at = (host, parts.port or (443 if self._tls else 80))
        shown = f"[{host}]" if ":" in host else host
        self._authority = shown if parts.port is None else f"{shown}:{parts.port}"
        self._path, self._query = quote(parts.path.rstrip("/"), safe=_SAFE), quote(parts.query, safe=_SAFE + "?")
        lines = [f"Host: {self._authority}", "Accept: */*", "Accept-Encoding: identity", "User-Agent: assay"]
        for name, value in headers.items():
            if not _NAME.fullmatch(name.encode()) or not value.isprintable() or not value.isascii():
                raise UserError(f"the header {name!r} cannot be sent", hint="its value is one line of plain ASCII")
            lines.append(f"{name}: {value}")
        self._common = "\r\n".join(lines)
        self._heads: dict[tuple[str, str, str], bytes] = {}
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._proxy: tuple[str, int, str] | None = None
        self._context: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Get ready: certificates, and the proxy that the environment names for such addresses, if any.

        Raises UserError for a proxy that cannot be used.
        """
        from urllib.request import getproxies, proxy_bypass

        if self._tls:
            import ssl

            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        direct = self._here or proxy_bypass(self._authority)  # a proxy cannot reach this machine, and would see the key
        named = None if direct else getproxies().get("https" if self._tls else "http")
        if named:
            parts = urlsplit(named if "://" in named else f"http://{named}")
            if parts.scheme != "http" or not parts.hostname:
                raise UserError(f"a proxy by {parts.scheme} cannot be used", hint="name one that is spoken to by http")
            login = ""
            if parts.username is not None:
                pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                login = f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
            self._proxy = (parts.hostname, parts.port or 80, login)

    async def close(self) -> None:
        """Close all connections."""
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        flow: Flow,
        *,
        kind: str = "application/json",
        most_bytes: int = MAX_ANSWER_BYTES,
    ) -> Reply:
        """Send and wait for the whole answer, noting in `flow` when bytes come. `path` is under the base address.

        Redirects are not followed. Raises NotSent or Lost.
        """
        head = self._heads.get((method, path, kind)) or self._head(method, path, kind)
        try:
            connection = self._waiting() or await self._connect()
        except (OSError, TimeoutError, _Refused) as error:
            raise NotSent(str(error) or type(error).__name__) from None
        try:
            reading = await connection.ask(b"%b%d\r\n\r\n%b" % (head, len(body), body), flow, most_bytes)
        except (OSError, ValueError) as error:
            connection.abort()
            raise Lost(str(error) or type(error).__name__) from None
        except BaseException:
            connection.abort()
            raise
        self._release(connection, reading)
        try:
            return Reply(reading.status, reading.headers, reading.body(most_bytes))
        except ValueError as error:
            raise Lost(str(error)) from None

    def _head(self, method: str, path: str, kind: str) -> bytes:
        target, _, asked = path.partition("?")
        query = "&".join(part for part in (self._query, asked) if part)
        target = self._path + target + (f"?{query}" if query else "")
        login = ""
        if self._proxy is not None and not self._tls:
            target, login = f"http://{self._authority}{target}", self._proxy[2]
        head = f"{method} {target} HTTP/1.1\r\n{self._common}\r\n{login}Content-Type: {kind}\r\nContent-Length: "
        if len(self._heads) >= 16:  # the paths of polls are many
            self._heads.clear()
        self._heads[method, path, kind] = data = head.encode("ascii")
        return data

    def _waiting(self) -> _Connection | None:
        """The connection used last, if it is still good."""
        idle, stale = self._idle, monotonic() - _IDLE_SECONDS
        while idle and idle[0].since < stale:
            idle.popleft().abort()
        while idle:
            connection = idle.pop()
            if connection.good():
                return connection
        return None

    def _release(self, connection: _Connection, reading: Reading) -> None:
        if reading.keep and connection.good() and not connection.transport.get_write_buffer_size():
            connection.since = monotonic()
            self._idle.append(connection)
        else:
            connection.abort()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()

        def made() -> _Connection:
            return _Connection(self._open)

        async with asyncio.timeout(CONNECT_SECONDS):
            if self._proxy is None:
                name = self._at[0] if self._tls else None
                _, connection = await loop.create_connection(made, *self._at, ssl=self._context, server_hostname=name)
            else:
                host, port, login = self._proxy
                _, connection = await loop.create_connection(made, host, port)
                if self._tls:
                    await self._tunnel(connection, login)
        held = connection.transport.get_extra_info("socket")
        if held is not None:
            _keep_alive(held)
        return connection

    async def _tunnel(self, connection: _Connection, login: str) -> None:
        assert self._context is not None
        host, port = self._at
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        asked = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{login}\r\n"
        try:
            reading = await connection.ask(asked.encode("ascii"), Flow(monotonic()), _MAX_HEAD_BYTES, tunnel=True)
        except ValueError as error:
            connection.abort()
            raise _Refused(f"the proxy: {error}") from None
        except BaseException:
            connection.abort()
            raise
        if reading.status != 200:
            connection.abort()
            raise _Refused(f"the proxy says {reading.status}")
        secured = await asyncio.get_running_loop().start_tls(
            connection.transport, connection, self._context, server_hostname=host
        )
        if secured is None:
            raise _Refused("the connection was closed within the proxy")
        connection.transport = secured


class _Refused(Exception):  # noqa: N818 - an outcome
    """A proxy does not let us through."""


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, among: set[_Connection]) -> None:
        self.since = 0.0
        self._among = among
        self._closed = False
        self._waiter: asyncio.Future[Reading] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._among.add(self)

    def good(self) -> bool:
        return not self._closed and not self.transport.is_closing()

    def abort(self) -> None:
        self._closed = True
        self.transport.abort()

    def ask(self, data: bytes, flow: Flow, most_bytes: int, *, tunnel: bool = False) -> asyncio.Future[Reading]:
        """Send a request; what is to come of it. It fails with OSError or ValueError."""
        self._flow, self._reading = flow, Reading(most_bytes, tunnel=tunnel)
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return waiter

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():  # what nobody asked for
            self.abort()
            return
        self._flow.heard = monotonic()
        try:
            if self._reading.feed(data):
                self._waiter = None
                waiter.set_result(self._reading)
        except ValueError as error:
            self._waiter = None
            waiter.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        self._among.discard(self)
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if error is None and self._reading.ended():
            waiter.set_result(self._reading)
        else:
            waiter.set_exception(error if isinstance(error, OSError) else OSError("the connection was closed"))


class Reading:
    """One response as it comes in, however it is cut. Raises ValueError for what is none, or is too large."""

    __slots__ = ("_chunked", "_held", "_left", "_most", "_parts", "_seen", "_tunnel", "headers", "keep", "status")

    def __init__(self, most_bytes: int, *, tunnel: bool = False) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.keep = False
        self._most = most_bytes
        self._tunnel = tunnel
        self._held = bytearray()
        self._seen = 0
        self._parts: list[bytes] = []
        self._left = -1  # bytes of the body, or of the chunk, that are still to come; -1 for as many as come
        self._chunked = False

    def feed(self, data: bytes) -> bool:
        """Take in what came; whether the response is whole."""
        self._seen += len(data)
        if self._seen > self._most + _MAX_HEAD_BYTES:
            raise ValueError(f"the answer is over {self._most >> 20} MiB")
        if not self.status:
            rest = self._read_head(data)
            if rest is None:
                return False
            if self._left == 0 and not self._chunked:
                self.keep = self.keep and not rest
                return True
            data = rest
        if self._chunked:
            return self._dechunk(data)
        self._parts.append(data)
        if self._left < 0:
            return False
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("more came than was announced")
        return not self._left

    def ended(self) -> bool:
        """Whether the end of the connection is that of the response."""
        return bool(self.status) and self._left < 0 and not self._chunked

    def body(self, most_bytes: int) -> bytes:
        """The body, unpacked."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        packed = self.headers.get("content-encoding", "identity").lower()
        if packed == "identity":
            return data
        if packed not in ("gzip", "x-gzip", "deflate"):
            raise ValueError(f"the answer is packed by {packed[:20]!r}, and nobody asked for it")
        unpacker = zlib.decompressobj(47 if "gzip" in packed else 15)
        try:
            whole = unpacker.decompress(data, most_bytes)
        except zlib.error as error:
            raise ValueError(f"the answer cannot be unpacked: {error}") from None
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ValueError("the answer cannot be unpacked, or is too large")
        return whole

    def _read_head(self, data: bytes) -> bytes | None:
        """Read the head when it is whole, and interim ones before it; what is behind it."""
        held = self._held
        start = max(0, len(held) - 3)
        held += data
        while (end := held.find(b"\r\n\r\n", start)) >= 0 and end <= _MAX_HEAD_BYTES:
            head, start = bytes(held[:end]), 0
            del held[: end + 4]
            self._begin(head)
            if self.status:
                rest = bytes(held)
                held.clear()
                return rest
        if len(held) > _MAX_HEAD_BYTES:
            raise ValueError("the answer's head is too large")
        return None

    def _begin(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        found = _STATUS.fullmatch(first)
        if found is None:
            raise ValueError("this is no HTTP/1.1")
        status, headers = int(found[2]), self.headers
        if status < 200 and status != 101:
            return
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not _NAME.fullmatch(name):
                raise ValueError("a header is none")
            key, said = name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
            if key in headers:
                if key == "content-length" and headers[key] != said:
                    raise ValueError("the answer has two lengths")
                said = said if key == "content-length" else f"{headers[key]}, {said}"
            headers[key] = said
        self.status = status
        close = headers.get("connection", "").lower()
        self.keep = "close" not in close and (found[1] == b"1" or "keep-alive" in close)
        if status in (204, 304) or (self._tunnel and status == 200):
            self._left = 0
            return
        length, coded = headers.get("content-length"), headers.get("transfer-encoding", "").lower()
        if coded:
            if coded != "chunked":
                raise ValueError(f"the answer is sent as {coded[:20]!r}, and nobody asked for it")
            self._chunked, self._left = True, 0
            self.keep = self.keep and length is None
        elif length is not None:
            if not re.fullmatch("[0-9]{1,15}", length):
                raise ValueError("the answer's length is none")
            self._left = int(length)
            if self._left > self._most:
                raise ValueError(f"the answer is over {self._most >> 20} MiB")
        else:
            self.keep = False

    def _dechunk(self, data: bytes) -> bool:
        """Take in part of a body in chunks; whether it was the last."""
        if self._held:
            data = bytes(self._held) + data
            self._held.clear()
        at = 0
        while at < len(data):
            if self._left > 2:  # of the chunk, and the two that end it
                part = data[at : at + self._left - 2]
                self._parts.append(part)
                self._left -= len(part)
                at += len(part)
                continue
            if self._left > 0:
                if data[at] != b"\n\r"[self._left - 1]:
                    raise ValueError("a chunk does not end where it should")
                self._left -= 1
                at += 1
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            line, at = data[at:end], end + 2
            if self._left == -2:  # behind the last chunk
                if not line:
                    self.keep = self.keep and at == len(data)
                    return True
                continue
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise ValueError("a chunk's length is none")
            size = int(found[1], 16)
            if size > self._most:
                raise ValueError(f"the answer is over {self._most >> 20} MiB")
            self._left = size + 2 if size else -2
        if len(data) - at > _MAX_CHUNK_LINE_BYTES:
            raise ValueError("a chunk's head is too large")
        self._held += data[at:]
        return False


def _keep_alive(held: socket.socket) -> None:
    """Have the system notice within a minute or two that the other side is gone, and routers keep a silent line open
    while a long answer is made."""
    held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            held.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
