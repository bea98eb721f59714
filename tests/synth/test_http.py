"""The HTTP client: whatever a server does, an answer comes back whole, or is known not to have."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from schemas.errors import UserError
from synth.teachers.http import Client, Reading
from synth.teachers.line import Flow, Lost, NotSent, Reply

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def read(data: bytes, size: int, most: int = 1 << 20) -> Reading:
    """A response that comes in pieces of so many bytes, to its end and that of the connection."""
    reading = Reading(most)
    for at in range(0, len(data), size):
        if reading.feed(data[at : at + size]):
            assert at + size >= len(data)
            return reading
    if not reading.ended():
        raise ValueError("the connection was closed")
    return reading


WHOLE = {
    "length": b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-One: 1\r\n\r\n{"a": "\xe4\xbd\xa0"}',
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx-one:1\r\n\r\n"
    b'5;ext="x"\r\n{"a":\r\n07 \r\n "\xe4\xbd\xa0"}\r\n0\r\nTrailer: yes\r\n\r\n',
    "end": b'HTTP/1.0 200 OK\r\nX-ONE: \t1 \r\n\r\n{"a": "\xe4\xbd\xa0"}',
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\nx-one: 1\r\n\r\n{"a": "\xe4\xbd\xa0"}',
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_an_answer_is_read_however_it_is_cut(name: str, size: int) -> None:
    reading = read(WHOLE[name], size)

    assert (reading.status, reading.headers["x-one"]) == (200, "1")
    assert reading.body(100).decode() == '{"a": "你"}'


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nspace : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nmore than that",
        b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nless",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokno\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 9_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_200_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000,
        b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: x\r\n\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("size", [61, 65_536])
def test_what_is_no_whole_answer_is_known_to_be_none(data: bytes, size: int) -> None:
    with pytest.raises(ValueError):
        read(data, size)


def test_ten_thousand_interim_answers_are_borne() -> None:
    reading = read(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000 + OK, 65_536)

    assert reading.body(10) == b"ok"


def test_a_packed_answer_is_unpacked_and_a_bomb_is_not() -> None:
    packed, bomb = gzip.compress(b"ok"), gzip.compress(b"\x00" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"

    assert read(head % (len(packed), packed), 9).body(1000) == b"ok"
    with pytest.raises(ValueError, match="too large"):
        read(head % (len(bomb), bomb), 9999).body(1000)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port that does what it is told with each connection."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(served, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def request_of(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head and the body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
    return head, await reader.readexactly(length)


async def ask(client: Client, body: bytes = b"{}") -> Reply:
    return await client.ask("POST", "/chat", body, Flow(monotonic()))


def test_a_connection_is_used_again_and_what_is_sent_is_what_was_meant() -> None:
    heads: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            head, body = await request_of(reader)
            heads.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def play() -> list[bytes]:
        async with server(serve) as port:
            client = Client(f"http://127.0.0.1:{port}/v1/?api-version=2", {"Authorization": "Bearer k"})
            await client.open()
            found = [(await ask(client, b"%d" % number)).body for number in range(5)]
            await client.close()
            return found

    assert asyncio.run(play()) == [b"0", b"1", b"2", b"3", b"4"]
    assert connections == 1
    assert heads[0].startswith(b"POST /v1/chat?api-version=2 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Bearer k\r\n" in heads[0]


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK)

    async def play() -> int:
        async with server(serve) as port:
            client = Client(f"http://127.0.0.1:{port}", {})
            await client.open()
            for _ in range(5):
                assert (await ask(client)).body == b"ok"
                await asyncio.sleep(0.02)
            await client.close()
        return 5

    assert asyncio.run(play()) == 5


def test_bytes_that_nobody_asked_for_do_not_become_the_next_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await request_of(reader)
            writer.write(OK.replace(b"ok", body))
            if body == b"01":
                writer.write(OK.replace(b"ok", b"!!"))
                await writer.drain()

    async def play() -> list[bytes]:
        async with server(serve) as port:
            client = Client(f"http://127.0.0.1:{port}", {})
            await client.open()
            found = []
            for number in range(3):
                try:
                    found.append((await ask(client, b"%02d" % number)).body)
                except Lost:
                    found.append(b"lost")
                await asyncio.sleep(0.02)
            await client.close()
            return found

    assert asyncio.run(play()) in ([b"00", b"01", b"02"], [b"00", b"lost", b"02"])


@pytest.mark.parametrize("sends", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"nonsense\r\n\r\n"])
def test_an_answer_that_breaks_off_is_lost_and_a_closed_port_was_sent_nothing(sends: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(sends)

    async def play() -> None:
        async with server(serve) as port:
            client = Client(f"http://127.0.0.1:{port}", {})
            await client.open()
            with pytest.raises(Lost):
                await ask(client)
        with pytest.raises(NotSent):
            await ask(client)
        await client.close()

    asyncio.run(play())


def test_a_redirect_is_not_followed_and_a_cancelled_request_closes_its_connection() -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await request_of(reader)
        if body == b"wait":
            await reader.read()
            closed.set()
        writer.write(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    async def play() -> int:
        async with server(serve) as port:
            client = Client(f"http://127.0.0.1:{port}", {})
            await client.open()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await ask(client, b"wait")
            await asyncio.wait_for(closed.wait(), 5)
            status = (await ask(client)).status
            await client.close()
            return status

    assert asyncio.run(play()) == 307


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,DNS:teacher.example "
        f"-keyout {folder}/key.pem -out {folder}/cert.pem".split(),
        check=True,
        capture_output=True,
    )
    return folder


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await request_of(reader)
        writer.write(OK)


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def test_tls_is_spoken_and_a_certificate_nobody_vouches_for_is_told(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> list[str]:
        found = []
        async with server(answer, server_context(certificate)) as port:
            for _ in range(2):
                client = Client(f"https://localhost:{port}", {})
                await client.open()
                try:
                    found.append((await ask(client)).body.decode())
                except NotSent as error:
                    found.append(str(error))
                await client.close()
                monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        return found

    refused, spoken = asyncio.run(play())
    assert "certificate verify failed" in refused
    assert spoken == "ok"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_proxy_is_gone_through(certificate: Path, monkeypatch: pytest.MonkeyPatch, tls: bool, loop: str) -> None:
    heads: list[bytes] = []
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        target = head.split(b" ")[1].decode()
        port = int(target.rpartition(":")[2].partition("/")[0])
        inward, outward = await asyncio.open_connection("127.0.0.1", port)
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            outward.write(head)
        await asyncio.gather(pipe(reader, outward), pipe(inward, writer))

    async def play() -> bytes:
        context = server_context(certificate) if tls else None
        async with server(answer, context) as port, server(proxy) as through:
            monkeypatch.setenv("https_proxy" if tls else "http_proxy", f"http://me:pass%20word@127.0.0.1:{through}")
            client = Client(f"http{'s' * tls}://teacher.example:{port}", {})
            await client.open()
            found = [(await ask(client)).body for _ in range(2)]
            await client.close()
            return b" ".join(found)

    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(play()) == b"ok ok"
    assert len(heads) == 1
    assert heads[0].startswith(b"CONNECT teacher.example:" if tls else b"POST http://teacher.example:")
    assert b"\r\nProxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in heads[0]


def test_a_proxy_that_says_no_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async def play() -> None:
        async with server(proxy) as port:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
            client = Client("https://models.example/v1", {})
            await client.open()
            with pytest.raises(NotSent, match="the proxy says 407"):
                await ask(client)
            await client.close()

    asyncio.run(play())


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "ключ"])
def test_a_header_that_would_break_out_is_the_users_to_mend(value: str) -> None:
    with pytest.raises(UserError, match="cannot be sent"):
        Client("http://127.0.0.1:1", {"X-Own": value})


def test_a_path_with_odd_characters_stays_one_line() -> None:
    client = Client("http://bücher.example/v1/ü?a=b c", {})

    head = client._head("POST", "/chat", "application/json")

    assert head.startswith(b"POST /v1/%C3%BC/chat?a=b%20c HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n")
