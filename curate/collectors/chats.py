"""Conversation logs → one row per conversation: messages are grouped, ordered, merged and given roles."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field, field_validator

from curate.collectors.collector import Collector, Found, Refused, encoding_of
from schemas.errors import Rejected


class Chats(Collector):
    """Rows from JSONL, JSON or CSV that hold one message a line, or one conversation a line as a list of messages.

    Columns are found by their names, in Chinese or English; a setting names the one to take instead. Without a session
    column a customer's messages are one conversation until the customer has been silent for `gap_minutes`.
    """

    session: str = Field(default="", description="column that says which conversation a message belongs to")
    time: str = Field(default="", description="column with the time of a message")
    role: str = Field(default="", description="column that says who speaks")
    text: str = Field(default="", description="column with what was said")
    agent: str = Field(default="", description="column that names the agent")
    score: str = Field(default="", description="column with the rating of the agent or conversation")
    customer: str = Field(default="", description="column that names the customer")
    messages: str = Field(default="", description="column with the list of messages, where a line is a conversation")
    role_map: list[str] = Field(
        default=[], description="what roles in the log mean, as NAME=user, NAME=assistant, NAME=system or NAME=skip"
    )
    gap_minutes: float = Field(
        default=120.0, ge=0, description="silence after which a new conversation begins, in minutes; 0 for never"
    )
    system: bool = Field(default=False, description="keep messages of the system as such; else they are left out")
    greetings: bool = Field(default=False, description="keep what the assistant says before the user's first message")
    min_score: float | None = Field(default=None, description="leave out conversations rated lower than this")
    unrated: bool = Field(default=True, description="keep conversations that nobody rated when min_score is given")
    max_megabytes: int = Field(default=1_000, ge=1, description="largest file that is read, in MB")

    @field_validator("role_map")
    @classmethod
    def _readable_map(cls, value: list[str]) -> list[str]:
        for one in value:
            name, found, role = one.rpartition("=")
            if not found or not name or role not in ("user", "assistant", "system", "skip"):
                raise ValueError(f"{one!r} is not NAME=user, NAME=assistant, NAME=system or NAME=skip")
        return value

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        return (".jsonl", ".ndjson", ".json", ".csv", ".tsv")

    def collect(self, files: Sequence[tuple[Path, str]]) -> Iterator[Found | Refused]:
        for path, file in files:
            try:
                if path.stat().st_size > self.max_megabytes * 1_000_000:
                    yield Refused(file, None, "too_large", f"is larger than {self.max_megabytes:,} MB")
                    continue
                data = path.read_bytes()
            except OSError as error:
                yield Refused(file, None, "unreadable", error.strerror or type(error).__name__)
                continue
            yield from self._file(data, file)

    def _file(self, data: bytes, file: str) -> Iterator[Found | Refused]:
        if not data.strip():
            yield Refused(file, None, "empty", "is empty")
            return
        try:
            entries = list(_entries(data, Path(file).suffix.lower(), file))
        except Rejected as error:
            yield Refused(file, None, error.reason, error.detail)
            return
        records = [entry for entry in entries if not isinstance(entry, Refused)]
        columns = self._columns([record for _, record in records[:1_000]])
        if records and columns.text is None and columns.messages is None:
            known = ", ".join(list(records[0][1])[:12])
            yield Refused(file, records[0][0], "no_text_column", f"no column holds messages; columns are: {known}")
            return
        refusals = [entry for entry in entries if isinstance(entry, Refused)]
        roles = self._roles()
        conversations: dict[str, _Conversation] = {}
        for line, record in records:
            if columns.messages is not None and isinstance(record.get(columns.messages), list):
                conversation, bad = self._whole(line, record, columns, roles, file)
                refusals += bad
                conversations[f"\x00{line}"] = conversation
                continue
            message = self._message(line, record, columns, roles, file)
            if isinstance(message, Refused):
                refusals.append(message)
                continue
            key = _text(record.get(columns.session)) if columns.session else ""
            by_customer = "" if key or not columns.customer else _text(record.get(columns.customer))
            name = key or f"\x01{by_customer}"
            conversations.setdefault(name, _Conversation(key or by_customer or None)).messages.append(message)
        yield from sorted(refusals, key=lambda refused: refused.line or 0)
        for conversation in conversations.values():
            for number, messages in enumerate(parts := self._split(conversation.messages), start=1):
                own = conversation.name
                numbered = f"{own}#{number}" if own is not None and len(parts) > 1 else own
                yield self._row(messages, numbered, conversation.scores, file)

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> _Columns:
        """Which column is which: as told, else by its name."""
        present = Counter(name for record in records for name, value in record.items() if value not in (None, ""))
        lists = [name for name in present if any(_is_messages(record.get(name)) for record in records[:50])]
        told = {
            "session": self.session,
            "time": self.time,
            "role": self.role,
            "text": self.text,
            "agent": self.agent,
            "score": self.score,
            "customer": self.customer,
        }
        messages = self.messages or next((name for name in lists if _plain(name) in _NAMES["messages"]), None)
        inner = present
        if messages or lists:
            messages = messages or lists[0]
            inner = Counter(
                name
                for record in records[:200]
                for one in (record.get(messages) if isinstance(record.get(messages), list) else None) or ()
                if isinstance(one, dict)
                for name in one
            )
        found: dict[str, str | None] = {}
        for what, given in told.items():
            where = inner if what in ("time", "role", "text") else inner + present
            found[what] = given or _named(what, where, taken={one for one in (messages, *found.values()) if one})
        return _Columns(messages=messages, **found)

    def _roles(self) -> dict[str, str]:
        told = {_plain(one.rpartition("=")[0]): one.rpartition("=")[2] for one in self.role_map}
        return {**_ROLES, **told}

    def _message(
        self, line: int, record: Mapping[str, Any], columns: _Columns, roles: Mapping[str, str], file: str
    ) -> _Message | Refused:
        held = orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS)[:2_000].decode("utf-8", "replace")
        text = _text(record.get(columns.text)) if columns.text else ""
        score = _score(record.get(columns.score)) if columns.score else None
        time = _time(record.get(columns.time)) if columns.time else None
        if not text and score is not None:  # the customer rates, and says nothing
            return _Message(line, "rating", "", time, "", score)
        if not text:
            return Refused(file, line, "empty_text", "says nothing", held)
        said = _text(record.get(columns.role)) if columns.role else ""
        agent = _text(record.get(columns.agent)) if columns.agent else ""
        role = roles.get(_plain(said))
        if role is None and said and said == agent:
            role = "assistant"
        if role is None and said and columns.customer and said == _text(record.get(columns.customer)):
            role = "user"
        if role is None:
            detail = f"no role is known as {said[:40]!r}: name it with role_map" if said else "does not say who speaks"
            return Refused(file, line, "unknown_role", detail, held)
        return _Message(line, role, text, time, agent, score)

    def _whole(
        self, line: int, record: Mapping[str, Any], columns: _Columns, roles: Mapping[str, str], file: str
    ) -> tuple[_Conversation, list[Refused]]:
        """The conversation that one line holds, and the messages in it that cannot be used."""
        name = _text(record.get(columns.session)) if columns.session else ""
        conversation = _Conversation(name or None)
        agent = _text(record.get(columns.agent)) if columns.agent else ""
        score = _score(record.get(columns.score)) if columns.score else None
        if score is not None:
            conversation.scores.append(score)
        refused: list[Refused] = []
        for one in record[columns.messages or ""]:
            if not isinstance(one, dict):
                refused.append(
                    Refused(file, line, "bad_message", "is no object with a role and a text", str(one)[:2_000])
                )
                continue
            message = self._message(line, one, columns, roles, file)
            if isinstance(message, Refused):
                refused.append(message)
            else:
                conversation.messages.append(message if message.agent else message.by(agent))
        return conversation, refused

    def _split(self, messages: Sequence[_Message]) -> list[list[_Message]]:
        """Messages in the order of their times, a new list after every long silence."""
        # A message without a time stays behind the one it followed in the file.
        placed: list[tuple[float, _Message]] = []
        now = -math.inf
        for message in messages:
            now = message.time if message.time is not None else now
            placed.append((now, message))
        placed.sort(key=lambda one: one[0])
        parts: list[list[_Message]] = []
        last = -math.inf
        for at, message in placed:
            silent = self.gap_minutes and last > -math.inf and at - last > self.gap_minutes * 60
            if not parts or silent:
                parts.append([])
            elif any(_is_repeat(message, other) for other in parts[-1][-3:]):
                parts[-1].append(message.without_text())
                continue
            parts[-1].append(message)
            last = at
        return parts

    def _row(
        self, messages: Sequence[_Message], name: str | None, scores: Sequence[float], file: str
    ) -> Found | Refused:
        line = min(message.line for message in messages)
        left_out: Counter[str] = Counter()
        turns = _turns(messages, left_out, system=self.system)
        if not self.greetings:
            while (first := next((at for at, turn in enumerate(turns) if turn.role != "system"), None)) is not None:
                if turns[first].role != "assistant":
                    break
                left_out["greeting"] += turns.pop(first).merged
        held = "\n".join(f"{message.role}: {message.text}" for message in messages)[:2_000]
        if any(message.role == "tool" for message in messages):
            detail = "holds calls of tools, which an answer cannot be learnt without: import it, do not collect it"
            return Refused(file, line, "tool_calls", detail, held)
        if not any(message.role == "assistant" for message in messages):
            return Refused(file, line, "no_answer", f"nobody answers in {_count(messages)}", held)
        if not any(turn.role == "user" for turn in turns):
            return Refused(file, line, "no_question", f"nobody asks in {_count(messages)}", held)
        while turns and turns[-1].role != "assistant":
            left_out["unanswered"] += turns.pop().merged
        if not any(turn.role == "user" for turn in turns):
            return Refused(file, line, "no_answer", f"nobody answers a question in {_count(messages)}", held)
        ratings = list(dict.fromkeys(scores)) or [message.score for message in messages if message.score is not None]
        rating = round(sum(ratings) / len(ratings), 4) if ratings else None
        if self.min_score is not None:
            if rating is None and not self.unrated:
                return Refused(file, line, "unrated", "nobody rated it", held)
            if rating is not None and rating < self.min_score:
                return Refused(file, line, "low_score", f"is rated {rating:g}, lower than {self.min_score:g}", held)
        agents = list(dict.fromkeys(one.agent for one in messages if one.agent and one.role == "assistant"))
        extra: dict[str, Any] = {"messages_in": len(messages)}
        if left_out:
            extra["left_out"] = dict(sorted(left_out.items()))
        if agents:
            extra["agent"] = agents[0] if len(agents) == 1 else agents
        if rating is not None:
            extra["score"] = rating
        return Found(
            messages=[{"role": turn.role, "content": "\n".join(turn.texts)} for turn in turns],
            file=file,
            line=line,
            part=name,
            task="conversation",
            external_id=name,
            extra=extra,
        )


@dataclass(frozen=True, slots=True)
class _Columns:
    session: str | None
    time: str | None
    role: str | None
    text: str | None
    agent: str | None
    score: str | None
    customer: str | None
    messages: str | None


@dataclass(frozen=True, slots=True)
class _Message:
    line: int
    role: str
    text: str
    time: float | None
    agent: str
    score: float | None

    def by(self, agent: str) -> _Message:
        return _Message(self.line, self.role, self.text, self.time, agent, self.score)

    def without_text(self) -> _Message:
        return _Message(self.line, self.role, "", self.time, self.agent, self.score)


@dataclass
class _Conversation:
    name: str | None
    messages: list[_Message] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


@dataclass
class _Turn:
    role: str
    texts: list[str]
    merged: int


def _turns(messages: Sequence[_Message], left_out: Counter[str], *, system: bool) -> list[_Turn]:
    """What each speaker said until another spoke; counts what was left out."""
    turns: list[_Turn] = []
    for message in messages:
        if not message.text:
            left_out["rating" if message.role == "rating" else "repeated"] += 1
        elif message.role == "skip" or (message.role == "system" and not system):
            left_out["system"] += 1
        elif turns and turns[-1].role == message.role:
            turns[-1].texts.append(message.text)
            turns[-1].merged += 1
        else:
            turns.append(_Turn(message.role, [message.text], 1))
    return turns


def _is_repeat(message: _Message, other: _Message) -> bool:
    """Whether a log holds a message twice: same speaker, same words, same moment."""
    same = (message.role, message.text, message.time) == (other.role, other.text, other.time)
    return same and message.time is not None


def _count(messages: Sequence[_Message]) -> str:
    return f"{len(messages):,} messages" if len(messages) != 1 else "one message"


# ---- what a file holds

_Entry = tuple[int, dict[str, Any]]


def _entries(data: bytes, suffix: str, file: str) -> Iterator[_Entry | Refused]:
    """Objects of a file with their lines, and what could not be read. Raises Rejected where the whole file cannot."""
    codec = encoding_of(data)
    if suffix in (".csv", ".tsv"):
        yield from _csv_entries(_decoded(data, codec), suffix, file)
    elif suffix == ".json":
        yield from _json_entries(_decoded(data, codec), file)
    else:
        # UTF-8 goes line by line: one broken character costs one line.
        raw = data.removeprefix(b"\xef\xbb\xbf") if codec.startswith("utf-8") else _decoded(data, codec).encode()
        yield from _jsonl_entries(raw, file)


def _decoded(data: bytes, codec: str) -> str:
    try:
        return data.decode(codec).removeprefix("\ufeff")
    except (UnicodeDecodeError, LookupError) as error:
        place = f" at byte {error.start:,}" if isinstance(error, UnicodeDecodeError) else ""
        raise Rejected("bad_encoding", f"cannot be read as {codec}{place}") from error


def _jsonl_entries(raw: bytes, file: str) -> Iterator[_Entry | Refused]:
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            held = line[:2_000].decode("utf-8", "replace")
            yield Refused(file, number, "bad_json", f"is not JSON: {error.msg}", held)
            continue
        if isinstance(value, dict):
            yield number, value
        elif _is_messages(value):
            yield number, {"messages": value}
        else:
            yield Refused(file, number, "not_an_object", f"is a JSON {_JSON_NAMES.get(type(value), 'value')}", "")


def _json_entries(text: str, file: str) -> Iterator[_Entry | Refused]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "\n{" in text.strip():  # JSON Lines under another name
            yield from _jsonl_entries(text.encode(), file)
            return
        raise Rejected("bad_json", f"is not JSON: {error.msg}, line {error.lineno}") from error
    if isinstance(value, dict):
        inner = [one for one in value.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
        is_conversation = any(_plain(name) in _NAMES["messages"] and _is_messages(one) for name, one in value.items())
        value = inner[0] if len(inner) == 1 and not (is_conversation and _speaks(inner[0])) else [value]
    if not isinstance(value, list):
        raise Rejected("not_an_object", "holds neither an object nor a list of objects")
    for number, one in enumerate(value, start=1):
        if isinstance(one, dict):
            yield number, one
        elif _is_messages(one):
            yield number, {"messages": one}
        else:
            yield Refused(file, number, "not_an_object", f"is a JSON {_JSON_NAMES.get(type(one), 'value')}", "")


def _csv_entries(text: str, suffix: str, file: str) -> Iterator[_Entry | Refused]:
    head = text[: text.find("\n")] if "\n" in text else text
    delimiter = "\t" if suffix == ".tsv" else max(",;\t|", key=head.count)
    csv.field_size_limit(10_000_000)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Refused(file, start, "bad_csv", f"is not CSV: {error}", "")
            continue
        if columns is None:
            columns = [cell.strip() for cell in cells]
        elif len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
            held = delimiter.join(cells)[:2_000]
            yield Refused(file, start, "bad_csv", f"has {len(cells)} cells under {len(columns)} columns", held)
        elif any(cell.strip() for cell in cells):
            yield start, dict(zip(columns, cells, strict=False))


_JSON_NAMES: dict[type, str] = {
    list: "list",
    str: "string",
    int: "number",
    float: "number",
    bool: "value",
    type(None): "null",
}


def _is_messages(value: object) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value[:5]) and _speaks(value)
    )


def _speaks(value: Sequence[Mapping[str, Any]]) -> bool:
    """Whether objects look like messages: some text and, if it has one, a speaker."""
    names = {_plain(str(name)) for one in value[:5] for name in one}
    return bool(names & _NAMES["text"]) and bool(names & _NAMES["role"])


# ---- what columns, roles, times and ratings are called

_Column = Literal["session", "time", "role", "text", "agent", "score", "customer", "messages"]

_NAMES: dict[str, frozenset[str]] = {
    what: frozenset(names.split())
    for what, names in {
        "session": """
            sessionid session conversationid conversation convid conv chatid dialogid dialogueid dialog ticketid
            ticket threadid thread caseid callid roomid contactid 会话id 会话 会话编号 会话号 对话id 对话编号 对话
            工单号 工单id 工单 单号 咨询id""",
        "time": """
            time timestamp ts createdat created createtime createdtime sentat sendtime date datetime msgtime
            messagetime sendat eventtime 时间 发送时间 消息时间 创建时间 日期 时间戳""",
        "role": """
            role sender from speaker sendertype fromtype author authorrole direction usertype msgfrom participant
            participantrole senderrole 发送者 角色 发送方 发言人 说话人 发送人 身份 消息来源 来源 方向 发送者类型""",
        "text": """
            text content message msg body value utterance messagetext msgcontent reply chattext 内容 消息 消息内容
            文本 正文 聊天内容 对话内容 发言内容""",
        "agent": """
            agentid agent agentname staffid staff staffname operator operatorid servicer csr representative assignee
            客服 客服id 客服编号 客服工号 工号 客服姓名 坐席 坐席id 座席 坐席工号 坐席编号 接待客服""",
        "score": """
            score rating satisfaction csat stars star rate evaluation nps agentscore satisfactionscore qualityscore
            评分 满意度 评价 得分 星级 客服评分 满意度评分 服务评分 打分""",
        "customer": """
            customerid customer userid user visitorid visitor clientid client customername buyer buyerid uid openid
            客户 客户id 用户id 用户 买家 买家id 访客 访客id 客户编号 会员id""",
        "messages": """
            messages conversations conversation turns dialog dialogue chat history utterances transcript 消息
            消息列表 对话 会话 聊天记录 对话内容""",
    }.items()
}
_ROLES: dict[str, str] = {
    name: role
    for role, names in {
        "user": """
            user customer client visitor human guest buyer consumer enduser member caller contact requester usr c u
            in inbound incoming 客户 用户 买家 访客 顾客 会员 消费者 来访者 咨询者 学员 患者 业主""",
        "assistant": """
            assistant agent staff bot robot gpt model ai support operator representative rep csr service servicer
            seller advisor chatbot out outbound outgoing admin employee 客服 坐席 座席 机器人 助手 人工客服 智能客服
            卖家 商家 店家 店铺 工作人员 顾问 员工 客服人员 人工 小助手 医生 老师""",
        "system": """
            system sys event notice notification info developer 系统 系统消息 系统通知 通知 事件 提示 系统提示""",
        "tool": "tool function functioncall toolcall observation functionresponse toolresponse",
        "skip": "note internalnote 备注 内部备注",
    }.items()
    for name in names.split()
}
_WORDS_OF_SATISFACTION = {
    "非常满意": 5.0, "很满意": 5.0, "十分满意": 5.0, "满意": 4.0, "比较满意": 4.0, "一般": 3.0, "不满意": 2.0,
    "很不满意": 1.0, "非常不满意": 1.0, "好评": 5.0, "中评": 3.0, "差评": 1.0,
    "verysatisfied": 5.0, "satisfied": 4.0, "neutral": 3.0, "dissatisfied": 2.0, "unsatisfied": 2.0,
    "verydissatisfied": 1.0, "veryunsatisfied": 1.0, "excellent": 5.0, "good": 4.0, "fair": 3.0, "poor": 2.0,
    "bad": 1.0,
}  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.:：()（）]+", "", name).lower()


def _named(what: str, present: Mapping[str, int], taken: set[str]) -> str | None:
    """The column that is called what such columns are called; of several the one most often filled, then the first."""
    named = [name for name in present if _plain(name) in _NAMES[what] and name not in taken]
    return max(named, key=lambda name: present[name], default=None)


def _text(value: object) -> str:
    """What a cell says: of lists of parts, as OpenAI's format has them, the texts."""
    if value is None:
        return ""
    if isinstance(value, list):
        parts = [one.get("text") if isinstance(one, dict) else one for one in value]
        return "\n".join(part for part in parts if isinstance(part, str)).strip()
    if isinstance(value, dict):
        return _text(value.get("text") or value.get("content"))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").strip()


_CLOCK = re.compile(r"(\d{1,2})[:：时点](\d{1,2})(?:[:：分](\d{1,2})(?:[.,](\d{1,6})\d*)?)?")
_YEAR_FIRST = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?")
_YEAR_LAST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")


def _time(value: object) -> float | None:
    """Seconds since 1970 of a moment in ISO form, as an epoch number, or as people write it; None for anything else.

    Times without a zone are read as UTC: only differences count here.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _epoch(float(value))
    text = str(value).strip()
    if re.fullmatch(r"\d{9,19}(?:\.\d+)?", text):
        return _epoch(float(text))
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        found = _written(text)
        if found is None:
            return None
        moment = found
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment.timestamp()


def _epoch(number: float) -> float | None:
    for unit in (1.0, 1e3, 1e6, 1e9):
        if 1e8 <= number / unit < 1e10:
            return number / unit
    return None


def _written(text: str) -> dt.datetime | None:
    """A date as people write it: 2026/3/2 10:15, 2026年3月2日 下午3:05, 03/02/2026 3:05 PM (month first)."""
    if date := _YEAR_FIRST.search(text):
        year, month, day = (int(part) for part in date.groups())
    elif date := _YEAR_LAST.search(text):
        month, day, year = (int(part) for part in date.groups())
        if month > 12:
            month, day = day, month
    else:
        return None
    hour = minute = second = micro = 0
    if clock := _CLOCK.search(text, date.end()):
        hour, minute, second = (int(part or 0) for part in clock.groups()[:3])
        micro = int((clock.group(4) or "0").ljust(6, "0"))
        afternoon = re.search(r"\bpm\b|\dpm|下午|晚上|傍晚", text, re.IGNORECASE) is not None
        morning = re.search(r"\bam\b|\dam|上午|凌晨|早上", text, re.IGNORECASE) is not None
        if afternoon and hour < 12:
            hour += 12
        elif morning and hour == 12:
            hour = 0
    try:
        return dt.datetime(year, month, day, hour, minute, second, micro)
    except ValueError:
        return None


def _score(value: object) -> float | None:
    """A rating as a number: 4, "4.5", "4/5", "5星", "满意"; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    text = str(value).strip()
    if text and set(text) <= {"★", "☆"}:
        return float(text.count("★"))
    if found := re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*(?:星|分|stars?|points?|/\s*\d+|%)?", text, re.IGNORECASE):
        return float(found.group(1))
    return _WORDS_OF_SATISFACTION.get(_plain(text))
