"""Argilla, on this machine or the team's: any server of version 2, by its SDK, and by REST where that has no verb."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson

from review.asked import Asked
from review.backend import Backend, Given, Messages, Progress, Record
from review.display import TEMPLATE, defused, turn, visible
from review.forms import ANSWER, Form, Lang, Question, Words
from schemas.console import note
from schemas.errors import UserError

WORKSPACE = "review"
"""The workspace that is used where none is named: everybody on a local server belongs to it."""

FIELD = "row"
MOST_RECORDS = 250
MOST_BYTES = 2 << 20
"""How much is sent in one request."""

PAGE = 500
READINGS = 3
"""How often answers are read from the first to the last before it counts that they do not hold still."""

TRIES = 7
"""How often a request is made before its failure counts; pauses double from a quarter of a second."""

_NAMES_OF_TWO = ("A", "B")
_ANSWER = Words("The answer", "回答")
_ROW = Words("Row", "数据")
_TITLES = {
    "task": Words("Task", "任务"),
    "lang": Words("Language", "语言"),
    "length": Words("Length", "长度"),
    "round": Words("Round", "轮次"),
    "source": Words("Source", "来源"),
    "score": Words("Score", "分数"),
    "shown": Words("Order shown", "展示顺序"),
}
_HIDDEN = ("source", "score", "shown")
"""What only owners and admins see: it could tell which answer is whose, or which row is gold."""

Found = TypeVar("Found")


class Argilla(Backend):
    """An Argilla server."""

    _client: Any = None

    @property
    def address(self) -> str:
        """The server's address: as given, as it was, or that of the server that runs on this machine."""
        return self._where()[0]

    def _where(self) -> tuple[str, str]:
        """Address and key. Raises UserError when there is no server or no key."""
        place = self.pushed.place
        url = self.access.url or (None if place.get("local") else place.get("url"))
        if url is None or (self.access.url is None and place.get("local")):
            from review.serving import running

            local = running(self.access.home)
            if local is None:
                raise UserError(
                    f"no review server runs on {self.access.home}",
                    hint="start one in another window: review serve; or name one: --url URL --api-key-file FILE",
                )
            return local.url, local.api_key
        path = self.access.key_file or place.get("key_file")
        if path is None:
            raise UserError(
                f"{url} asks for a key", hint="put an owner's or admin's API key into a file: --api-key-file"
            )
        try:
            with Path(path).open(encoding="utf-8") as file:
                key = file.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"the key file {path} cannot be read: {error}", hint="it holds the key and nothing else"
            ) from None
        if not key or not key.isascii() or not key.isprintable():
            raise UserError(f"the key file {path} holds no key", hint="it holds the key and nothing else")
        return url.rstrip("/"), key

    def prepare(self) -> dict[str, Any]:
        """Find or make the data set."""
        url, _ = self._where()
        place = dict(self.pushed.place)
        local = self.access.url is None and place.get("local", "url" not in place)
        if place.get("dataset"):
            self._settings(place["dataset"])
            return place | {"url": url}
        made = self._patiently(self._make)
        key_file = None if local else str(self.access.key_file)
        return {"url": url, "local": local, "key_file": key_file, **made}

    def check(self, asked: Sequence[Asked]) -> None:
        """Whoever is in the workspace may answer."""

    def send(self, records: Iterator[Record]) -> Iterator[Sequence[str]]:
        """Put records there by their ids: one that is there already is replaced by itself."""
        dataset = self.pushed.place["dataset"]
        editable = self._settings(dataset).get("edited")
        batch: list[bytes] = []
        ids: list[str] = []
        for record in records:
            batch.append(orjson.dumps(self._item(record, editable)))
            ids.append(record.asked.id)
            if len(batch) >= MOST_RECORDS or sum(map(len, batch)) >= MOST_BYTES:
                yield self._upsert(dataset, batch, ids)
                batch, ids = [], []
        if batch:
            yield self._upsert(dataset, batch, ids)

    def answers(self) -> Iterator[Sequence[Given]]:
        """Every submitted answer. It is read again when records came or went meanwhile, which moves others about.

        Raises UserError when they never stop doing so.
        """
        dataset = self.pushed.place["dataset"]
        for _ in range(READINGS):
            seen: set[str] = set()
            totals: set[int] = set()
            offset = 0
            while not totals or offset < min(totals):
                params = {"include": "responses", "offset": offset, "limit": PAGE}
                page = self._ask("GET", f"/api/v1/datasets/{dataset}/records", params=params)
                totals.add(page["total"])
                items = page["items"]
                if not items:
                    break
                offset += len(items)
                seen.update(item["id"] for item in items)
                yield [
                    Given(
                        item["external_id"],
                        response["user_id"],
                        {name: answer["value"] for name, answer in (response["values"] or {}).items()},
                        response["updated_at"],
                    )
                    for item in items
                    for response in item.get("responses") or ()
                    if response["status"] == "submitted" and item["external_id"]
                ]
            if totals == {len(seen)}:
                return
        raise UserError(
            f"records of the review {self.pushed.name} keep coming or going on the server while they are read",
            hint="pull again when nobody adds or deletes any; what has been read is kept",
        )

    def progress(self) -> Progress:
        """How far people are, as the server counts."""
        dataset = self.pushed.place["dataset"]
        whole = self._ask("GET", f"/api/v1/datasets/{dataset}/progress")
        people = self._ask("GET", f"/api/v1/datasets/{dataset}/users/progress")
        each = {one["username"]: one["completed"]["submitted"] + one["pending"]["submitted"] for one in people["users"]}
        return Progress(whole["total"], whole["completed"], sum(each.values()), each)

    # ── the data set ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _make(self) -> dict[str, Any]:
        import argilla as rg  # type: ignore[import-untyped, unused-ignore]

        client = self._connected()
        name = self.access.workspace or WORKSPACE
        workspace = client.workspaces(name)
        if workspace is None:
            workspace = rg.Workspace(name=name, client=client).create()
            note(f"made the workspace {name}: add your annotators to it on the server")
        found = client.datasets(self.pushed.name, workspace=workspace)
        if found is not None:
            # Half made, if this is ours and the command was cut off: what holds records is somebody's.
            ours = self.pushed.place.get("making") and not found.progress()["total"]
            if found._model.status == "ready" and not ours:
                raise UserError(
                    f"{client.api_url} has a data set named {self.pushed.name} that this project home did not push",
                    hint="choose another --name",
                )
            found.delete()
        dataset = rg.Dataset(name=self.pushed.name, workspace=workspace, settings=self._form(rg, client), client=client)
        dataset.create()
        return {"workspace": name, "dataset": str(dataset.id)}

    def _form(self, rg: Any, client: Any) -> Any:
        lang = cast(Lang, self.pushed.lang)
        terms = [
            rg.TermsMetadataProperty(
                name=name, title=_TITLES[name].in_(lang), visible_for_annotators=name not in _HIDDEN, client=client
            )
            for name in ("task", "lang", "source", "shown")
        ]
        numbers = [
            rg.IntegerMetadataProperty(name=name, title=_TITLES[name].in_(lang), client=client)
            for name in ("length", "round")
        ]
        score = rg.FloatMetadataProperty(
            name="score", title=_TITLES["score"].in_(lang), visible_for_annotators=False, client=client
        )
        return rg.Settings(
            guidelines=self.access.guidelines or self.form.guide.in_(lang),
            fields=[rg.CustomField(name=FIELD, title=_ROW.in_(lang), template=TEMPLATE, _client=client)],
            questions=[self._question(rg, client, one, lang) for one in self.form.questions],
            metadata=[*terms, *numbers, score],
            distribution=rg.TaskDistribution(min_submitted=self.pushed.overlap),
        )

    def _question(self, rg: Any, client: Any, one: Question, lang: Lang) -> Any:
        said = {"name": one.name, "title": one.title.in_(lang), "required": one.required, "client": client}
        options = {option.value: option.words.in_(lang) for option in one.options}
        if one.kind == "choice":
            return rg.LabelQuestion(labels=options, **said)
        if one.kind == "choices":
            return rg.MultiLabelQuestion(labels=options, visible_labels=len(options), **said)
        if one.kind == "rating":
            return rg.RatingQuestion(values=list(range(1, one.most + 1)), **said)
        if one.kind == "ranking":
            places = range(1, self.pushed.k + 1)
            named = {f"{ANSWER}{place}": f"{_ANSWER.in_(lang)} {place}" for place in places}
            return rg.RankingQuestion(values=named, **said)
        return rg.TextQuestion(use_markdown=False, **said)

    def _settings(self, dataset: str) -> dict[str, str]:
        """Question to its id. Raises UserError when the data set is gone."""
        found = self._ask("GET", f"/api/v1/datasets/{dataset}/questions")
        return {one["name"]: one["id"] for one in found["items"]}

    def _item(self, record: Record, editable: str | None) -> dict[str, Any]:
        lang = cast(Lang, self.pushed.lang)
        asked = record.asked
        metadata = {
            "task": asked.task,
            "lang": asked.lang,
            "source": asked.source,
            "shown": ",".join(map(str, asked.shown)) or None,
            "length": sum(asked.chars),
            "round": asked.round,
            "score": asked.score,
        }
        item: dict[str, Any] = {
            "external_id": asked.id,
            "fields": {FIELD: shown(self.form, record, lang)},
            "metadata": {
                name: defused(visible(value)[:200]) if isinstance(value, str) else value
                for name, value in metadata.items()
                if value is not None
            },
        }
        if editable and record.editable.strip():
            item["suggestions"] = [{"question_id": editable, "value": defused(record.editable)}]
        return item

    def _upsert(self, dataset: str, batch: Sequence[bytes], ids: Sequence[str]) -> Sequence[str]:
        body = b'{"items":[' + b",".join(batch) + b"]}"
        headers = {"Content-Type": "application/json"}
        self._ask("PUT", f"/api/v1/datasets/{dataset}/records/bulk", content=body, headers=headers)
        return list(ids)

    # ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _connected(self) -> Any:
        """The SDK's client, logged in. Raises UserError when the server is not there or does not know the key."""
        if self._client is None:
            warnings.filterwarnings("ignore", module="argilla")  # it warns of every name that is not there
            import argilla as rg  # type: ignore[import-untyped, unused-ignore]

            url, key = self._where()
            self._client = self._patiently(lambda: rg.Argilla(api_url=url, api_key=key, timeout=120, retries=2))
        return self._client

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        client = self._connected()

        def once() -> Any:
            response = client.http_client.request(method, path, **given)
            response.raise_for_status()
            return response.json()

        return self._patiently(once)

    def _patiently(self, act: Callable[[], Found]) -> Found:
        """What `act` returns, tried again while the server is away or stumbles. Raises UserError when it stays so."""
        import httpx
        from argilla._exceptions import ArgillaError  # type: ignore[import-untyped, unused-ignore]

        pause, last = 0.25, ""
        for _ in range(TRIES):
            try:
                return act()
            except httpx.HTTPStatusError as error:
                status, last = error.response.status_code, _detail(error.response)
                if status < 500 and status not in (408, 429):
                    raise self._refused(status, last) from None
            except httpx.TransportError as error:
                last = f"{type(error).__name__}: {error}"
            except ArgillaError as error:
                status = getattr(error, "status_code", 401)
                last = str(error)
                if status < 500:
                    raise self._refused(status, last) from None
            time.sleep(pause)
            pause *= 2
        raise UserError(
            f"{self._where()[0]} does not answer as it should: {last[:300]}",
            hint="look whether the server runs, then run the same command again: it continues where it stopped",
        )

    def _refused(self, status: int, detail: str) -> UserError:
        url = self._where()[0]
        if status == 401:
            return UserError(f"{url} does not know the API key", hint="copy it from the server: My settings, API key")
        if status == 403:
            return UserError(f"{url}: the key's owner may not do this", hint="use the key of an owner or an admin")
        if status == 404:
            return UserError(
                f"{url} has no data set for the review {self.pushed.name} any more",
                hint="it was deleted there; push the rows under another --name; answers pulled earlier are kept",
            )
        return UserError(f"{url} refused ({status}): {detail[:300]}", hint="see the server's log")


def shown(form: Form, record: Record, lang: Lang) -> dict[str, Any]:
    """A record as the template shows it: {turns, answers: [{name, turns}]}. Names of models are not in it."""
    turns = [_turn(one, lang) for one in record.prompt]
    if form.shows == "two":
        names = list(_NAMES_OF_TWO)
    elif form.shows == "several":
        names = [f"{_ANSWER.in_(lang)} {place}" for place in range(1, len(record.answers) + 1)]
    else:
        names = [_ANSWER.in_(lang)]
    answers = [
        {"name": name, "turns": _answer(messages, lang)} for name, messages in zip(names, record.answers, strict=False)
    ]
    return {"turns": turns, "answers": answers}


def _answer(messages: Messages, lang: Lang) -> list[dict[str, Any]]:
    """An answer's turns; of one turn it need not be said whose it is."""
    turns = [_turn(one, lang) for one in messages]
    if len(turns) == 1:
        turns[0]["who"] = ""
    return turns


def _turn(message: dict[str, Any], lang: Lang) -> dict[str, Any]:
    text = message.get("content") or ""
    if calls := message.get("tool_calls"):
        text = f"{text}\n```json\n{calls}\n```".lstrip("\n")
    return turn(message["role"], text, lang)


def _detail(response: Any) -> str:
    try:
        return str(response.json().get("detail", ""))
    except ValueError:
        return str(response.text[:300])
