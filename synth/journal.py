"""Every answer that was paid for, on disk before it counts, shared by all jobs and safe with several processes at once.

One append-only file in the project home. A line is a checksum and a record:

    c KEY JOB OWNER TOKENS MONEY                 claim: about to be sent, so much of the budget is reserved
    a KEY JOB PROMPT COMPLETION MONEY {answer}   answered: what it cost and what it said; closes the claim
    l KEY JOB                                    lost: sent and never answered, perhaps billed; closes the claim
    r KEY JOB                                    released: certainly not billed; closes the claim

A claim keeps a second process from buying the same answer, and says after a kill what may have been billed. Every
append is made under a lock, behind all that others appended; the lock is held for microseconds. A line that a kill or a
full disk tore is cut off by the next process that writes; a line that does not match its checksum is left out and
counted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import orjson

from schemas.errors import UserError
from synth.budget import Amount, Budget, Spent
from synth.request import Answer

FILE = "answers.v1.journal"
Claim = Literal["mine", "answered", "elsewhere", "over"]

_BLOCK_BYTES = 1 << 22
_JOB = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_LENGTH_BITS = 32


class Journal:
    """The answers and the spending of every job in a project home. Not for several threads, but `sync` may run in one.

    Raises UserError when the folder cannot be written.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "synth"
        self.owner = secrets.token_hex(8)
        self.damaged = 0
        """Lines left out because they do not match their checksum: their answers would be paid for again."""
        self.healed = 0
        """Torn tails cut off, or completed."""
        self.refreshed = 0
        """Counts up when another process's answers are taken in: they count once `sync` has run."""
        self._answers: dict[bytes, int] = {}
        self._claims: dict[bytes, tuple[str, str, Amount]] = {}
        self._spent: dict[str, Spent] = {}
        self._end = 0
        try:
            (self.folder / "owners").mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.folder / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._alive = os.open(self._owner_file(self.owner), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be written: {error.strerror}", hint="choose another project home with --home"
            ) from error
        fcntl.flock(self._alive, fcntl.LOCK_EX)
        with self._locked():
            pass
        self.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._answers)

    def close(self) -> None:
        """Make everything durable and let go of the files; claims still open count as perhaps billed."""
        self.sync()
        self._owner_file(self.owner).unlink(missing_ok=True)
        os.close(self._alive)
        os.close(self._file)

    def find(self, key: str) -> Answer | None:
        """The answer to a request, if anybody has paid for it."""
        name = bytes.fromhex(key)
        place = self._answers.get(name)
        if place is None:
            return None
        record = _checked(os.pread(self._file, place & (1 << _LENGTH_BITS) - 1, place >> _LENGTH_BITS))
        if record is None or not record.startswith(b"a " + key.encode()):
            self.damaged += 1
            del self._answers[name]
            return None
        said = orjson.loads(record.split(b" ", 6)[6])
        said["tool_calls"] = tuple(said["tool_calls"])
        return Answer(key=key, **said)

    def spent(self, job: str) -> Spent:
        """What a job has spent up to the last refresh, in all processes; kept up to date."""
        spent = self._spent.get(job)
        if spent is None:
            spent = self._spent[job] = Spent()
        return spent

    def refresh(self) -> None:
        """Take in what other processes have written."""
        if os.fstat(self._file).st_size != self._end:
            with self._locked():
                pass

    def claim(self, wanted: Sequence[tuple[str, Amount]], job: str, budget: Budget) -> list[Claim]:
        """Reserve what each request may cost at most, before it is sent.

        `answered` when it is in the journal by now, `elsewhere` while a living process has claimed it, `over` when the
        job's budget does not cover it; else it is `mine` until `answer`, `lose` or `release` is called.
        """
        if not _JOB.fullmatch(job):
            raise ValueError(f"not a job's name: {job!r}")
        said: list[Claim] = []
        records = []
        with self._locked():
            committed = self.spent(job).committed
            for key, most in wanted:
                name = bytes.fromhex(key)
                held = self._claims.get(name)
                if name in self._answers:
                    said.append("answered")
                elif held and held[0] != self.owner and self._lives(held[0]):
                    said.append("elsewhere")
                elif not budget.allows(committed, most):
                    said.append("over")
                else:
                    said.append("mine")
                    committed = Amount(committed.tokens + most.tokens, committed.money + most.money)
                    head = b"c %b %b %b" % (key.encode(), job.encode(), self.owner.encode())
                    records.append(b"%b %d %d" % (head, most.tokens, most.money))
            self._append(records)
        return said

    def answer(self, arrived: Sequence[tuple[Answer, tuple[int, int], int]], job: str) -> None:
        """Write answers down, each with the tokens (prompt, completion) and the money (pico) it is taken to have cost.

        They count once `sync` has run after this.
        """
        records = []
        for answer, (prompt, completion), money in arrived:
            said = {
                "text": answer.text,
                "tool_calls": answer.tool_calls,
                "finish_reason": answer.finish_reason,
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
                "model": answer.model,
                "id": answer.id,
                "refused": answer.refused,
                "reasoning": answer.reasoning,
            }
            head = b"a %b %b %d %d %d" % (answer.key.encode(), job.encode(), prompt, completion, money)
            records.append(head + b" " + orjson.dumps(said))
        with self._locked():
            self._append(records)

    def lose(self, key: str, job: str) -> None:
        """Close a claim whose request was sent and not answered: its whole reservation counts as spent."""
        with self._locked():
            self._append([b"l %b %b" % (key.encode(), job.encode())])

    def release(self, key: str, job: str) -> None:
        """Close a claim that certainly cost nothing."""
        with self._locked():
            self._append([b"r %b %b" % (key.encode(), job.encode())])

    def adopt(self, keys: Sequence[str]) -> None:
        """Close the claims of ours, and of processes that died, on requests whose answers are kept for us: they are
        claimed anew, and nothing of them was lost."""
        with self._locked():
            records = []
            for key in keys:
                held = self._claims.get(bytes.fromhex(key))
                if held and (held[0] == self.owner or not self._lives(held[0])):
                    records.append(b"r %b %b" % (key.encode(), held[1].encode()))
            self._append(records)

    def sync(self) -> None:
        """Flush to disk: what was written before survives a power cut."""
        os.fdatasync(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The file to ourselves, with everything in it taken in and its tail whole."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            if os.fstat(self._file).st_size != self._end:
                self._take_in()
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _append(self, records: Sequence[bytes]) -> None:
        lines = [b"%08x %b\n" % (zlib.crc32(record), record) for record in records]
        data = b"".join(lines)
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise UserError(
                f"{self.folder / FILE} cannot be written: {error.strerror}",
                hint="make room and run the same command again: nothing that is in it is paid for again",
            ) from error
        for record, line in zip(records, lines, strict=True):
            self._apply(record, self._end, len(line))
            self._end += len(line)

    def _take_in(self) -> None:
        """Read what was appended since, heal its tail."""
        size = os.fstat(self._file).st_size
        if size < self._end:
            raise UserError(
                f"{self.folder / FILE} has become shorter while it was in use",
                hint="only `synth` may write in it; run the same command again",
            )
        tail = b""
        start = self._end
        while start + len(tail) < size:
            block = os.pread(self._file, _BLOCK_BYTES, start + len(tail))
            if not block:
                break
            *lines, tail = (tail + block).split(b"\n")
            for line in lines:
                record = _checked(line)
                if record is None or not self._apply(record, start, len(line) + 1):
                    self.damaged += 1
                start += len(line) + 1
        self._end = start
        self.refreshed += 1
        if tail:
            self.healed += 1
            record = _checked(tail)
            if record is None:
                os.ftruncate(self._file, start)
            else:
                os.write(self._file, b"\n")
                self._apply(record, start, len(tail) + 1)
                self._end += len(tail) + 1

    def _apply(self, record: bytes, start: int, length: int) -> bool:
        """Take one record into memory; False when it is none of ours."""
        kind, _, rest = record.partition(b" ")
        try:
            if kind == b"a":
                key, job, prompt, completion, money, _said = rest.split(b" ", 5)
                name = bytes.fromhex(key.decode())
                spent = self.spent(job.decode())
                spent.prompt_tokens += int(prompt)
                spent.completion_tokens += int(completion)
                spent.money += int(money)
                spent.answers += 1
                self._answers.setdefault(name, start << _LENGTH_BITS | length)
                self._close(name)
            elif kind == b"c":
                key, job, owner, tokens, money = rest.split(b" ")
                name = bytes.fromhex(key.decode())
                self._close(name, lost=True)  # its owner died without a word
                most = Amount(int(tokens), int(money))
                self._claims[name] = (owner.decode(), job.decode(), most)
                spent = self.spent(job.decode())
                spent.reserved += 1
                spent.reserved_tokens += most.tokens
                spent.reserved_money += most.money
            elif kind in (b"l", b"r"):
                self._close(bytes.fromhex(rest.split(b" ")[0].decode()), lost=kind == b"l")
            else:
                return False
        except ValueError:
            return False
        return True

    def _close(self, name: bytes, *, lost: bool = False) -> None:
        held = self._claims.pop(name, None)
        if held is None:
            return
        _, job, most = held
        spent = self.spent(job)
        spent.reserved -= 1
        spent.reserved_tokens -= most.tokens
        spent.reserved_money -= most.money
        if lost:
            spent.uncertain += 1
            spent.uncertain_tokens += most.tokens
            spent.uncertain_money += most.money

    def _lives(self, owner: str) -> bool:
        """Whether the process that made a claim still runs: it holds a lock until it ends, however it ends."""
        if not re.fullmatch(r"[0-9a-f]{16}", owner):
            return False
        path = self._owner_file(owner)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        path.unlink(missing_ok=True)
        return False

    def _owner_file(self, owner: str) -> Path:
        return self.folder / "owners" / owner


def _checked(line: bytes) -> bytes | None:
    """The record in a line, if it matches its checksum."""
    line = line.removesuffix(b"\n")
    return line[9:] if line[:9] == b"%08x " % zlib.crc32(memoryview(line)[9:]) else None
