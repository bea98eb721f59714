"""Pairs pushed to a real server, answered by five people, and pulled: every answer exactly once, whatever is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from review.agreement import agreement
from review.asked import Asked, Pushed, Review, key_of, pseudonym
from review.backend import Access
from review.backends.argilla import Argilla
from review.cli import app
from review.export import Terms, export
from review.labels import pull
from review.serving import add_person
from review.votes import read_votes
from schemas.dataset import problems
from schemas.errors import UserError
from tests.review.conftest import ReviewServer, serving
from tests.review.made import coin, pair, pairs, write_dataset

PENDING = {
    "filters": {
        "type": "and",
        "and": [
            {"type": "terms", "scope": {"entity": "response", "property": "status"}, "values": ["pending"]},
            {"type": "terms", "scope": {"entity": "record", "property": "status"}, "values": ["pending"]},
        ],
    }
}


def review(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "review.cli", *map(str, arguments), "--json"]


def run(*arguments: object, status: int = 0) -> dict[str, Any]:
    """Run the `review` command in this process, as often as a test likes; its object."""
    ran = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if isinstance(ran.exception, UserError):
        assert status == 2
        return {"errors": [ran.exception.as_json()]}
    assert ran.exit_code == status, ran.output
    found: dict[str, Any] = orjson.loads(ran.stdout)
    return found


def killed(ready: Callable[[], bool], *arguments: object) -> bool:
    """Start the `review` command, and kill it at once when `ready`; whether it was still running."""
    process = subprocess.Popen(review(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not ready():
        time.sleep(0.005)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return alive


def when(number: int, written: Callable[[], int]) -> Callable[[], bool]:
    """When to kill a command: as soon as it has written something, or after a time that differs from case to case."""
    if number % 2 == 0:
        before = written()
        return lambda: written() > before
    until = time.monotonic() + random.Random(number).uniform(0.5, 4)
    return lambda: time.monotonic() > until


def people_of(server: ReviewServer, count: int) -> dict[str, httpx.Client]:
    """So many annotators, logged in, by their ids."""
    names = ["annotator1", "annotator2", "annotator3", *(f"annotator{number}" for number in range(4, count + 1))]
    for name in names[3:]:
        add_person(server.home, name, "annotator", lambda _: None)
    clients = [server.client(name) for name in names[:count]]
    return {client.get("/me").json()["id"]: client for client in clients}


def answer_everything(client: httpx.Client, person: str, dataset: str, most: int = 10**9) -> dict[str, str]:
    """Answer what is pending, page by page, as the web page does; what was acknowledged, thing to value."""
    said: dict[str, str] = {}
    address = f"/me/datasets/{dataset}/records/search"
    while len(said) < most:
        page = client.post(address, json=PENDING, params={"limit": 20, "offset": 0}).json()
        if not page["items"]:
            return said
        items, values = [], {}
        for item in page["items"]:
            record = item["record"]
            values[record["external_id"]] = "left" if coin(record["external_id"], person) < 0.5 else "right"
            answers = {"better": {"value": values[record["external_id"]]}, "margin": {"value": "2"}}
            items.append({"record_id": record["id"], "status": "submitted", "values": answers})
        done = client.post("/me/responses/bulk", json={"items": items})
        done.raise_for_status()
        arrived = [one["item"] is not None for one in done.json()["items"]]
        said |= {asked: value for (asked, value), there in zip(values.items(), arrived, strict=True) if there}
    return said


def round_trip(server: ReviewServer, tmp_path: Path, name: str, rows: int, kills: int) -> dict[str, Any]:
    home = server.home
    dataset = write_dataset(tmp_path / "d", "preference", pairs(rows))
    pushing = ["push", dataset, "--as", "pairs", "--name", name, "--home", home, "--repeat", "0.05"]
    state = Review(home, name)
    for number in range(kills):
        killed(when(number, lambda: len(state.sent())), *pushing)
    pushed = run(*pushing)
    there = server.client().get(f"/datasets/{pushed['place']['dataset']}/records", params={"limit": 1}).json()["total"]
    people = people_of(server, 5)

    with ThreadPoolExecutor(5) as pool:
        answering = [
            pool.submit(answer_everything, client, person, pushed["place"]["dataset"])
            for person, client in people.items()
        ]
        pulling = ["pull", name, "--out", tmp_path / "labels", "--home", home]
        for number in range(kills):
            killed(when(number, lambda: len(state.answers())), *pulling)
        said = {
            (asked, person): value
            for person, one in zip(people, answering, strict=True)
            for asked, value in one.result().items()
        }
    pulled = run(*pulling)
    again = run(*pulling)

    key = key_of(home)
    names = {person: pseudonym(key, "argilla", person) for person in people}
    asked = state.asked()
    expected = Counter(
        (one, names[person], asked[one].shown[0 if value == "left" else 1]) for (one, person), value in said.items()
    )
    reviewed = read_votes(tmp_path / "labels")
    found = Counter((vote.asked, vote.person, vote.value) for vote in reviewed.votes["better"])
    assert there == pushed["asked"] == len(state.sent()) == len(asked)
    assert found == expected
    assert pulled["answers"] == len(said) >= 2 * len(asked)
    assert again["already"] and again["fingerprint"] == pulled["fingerprint"]
    assert list(problems(tmp_path / "labels")) == []
    return pulled


def test_every_answer_comes_back_exactly_once(review_server: ReviewServer, tmp_path: Path) -> None:
    round_trip(review_server, tmp_path, "round-trip", 300, 2)

    told = agreement(read_votes(tmp_path / "labels"), resamples=50)
    made = export(tmp_path / "labels", tmp_path / "out", Terms("preference", ties="soft"))
    status = run("status", "round-trip", "--home", review_server.home)

    assert (status["asked"], status["arrived"], status["answered"]) == (315, 315, 315)
    assert set(status["people"]) >= {"annotator1", "annotator2", "annotator3", "annotator4", "annotator5"}
    assert told["position_effect"]["low"] < 0.5 < told["position_effect"]["high"]
    assert made["rows_in"] == 300


@pytest.mark.soak
def test_ten_thousand_pairs_come_back_exactly_once(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        server.start()

        round_trip(server, tmp_path, "round-trip", 10_000, 8)


def test_answers_survive_the_server_and_its_data_set(review_server: ReviewServer, tmp_path: Path) -> None:
    home = review_server.home
    dataset = write_dataset(tmp_path / "d", "preference", pairs(4))
    pushed = run("push", dataset, "--as", "pairs", "--name", "lost", "--home", home, "--overlap", 1)
    (person, client), *_ = people_of(review_server, 1).items()
    said = answer_everything(client, person, pushed["place"]["dataset"])
    first = run("pull", "lost", "--out", tmp_path / "labels", "--home", home)

    record = client.post(f"/me/datasets/{pushed['place']['dataset']}/records/search", json={}).json()["items"][0]
    owner = review_server.client()
    owner.delete(f"/datasets/{pushed['place']['dataset']}/records", params={"ids": record["record"]["id"]})
    second = run("pull", "lost", "--out", tmp_path / "labels", "--home", home)
    owner.delete(f"/datasets/{pushed['place']['dataset']}").raise_for_status()
    gone = run("pull", "lost", "--out", tmp_path / "labels", "--home", home, status=2)

    assert first["answers"] == second["answers"] == len(said) == 4
    assert "no data set for the review lost any more" in gone["errors"][0]["message"]
    assert len(read_votes(tmp_path / "labels").votes["better"]) == 4


def test_an_answer_that_was_changed_counts_as_it_is_now(review_server: ReviewServer, tmp_path: Path) -> None:
    home = review_server.home
    dataset = write_dataset(tmp_path / "d", "preference", [pair("q", "a", "b")])
    pushed = run("push", dataset, "--as", "pairs", "--name", "changed", "--home", home, "--overlap", 2)
    (_, client), *_ = people_of(review_server, 1).items()
    search = f"/me/datasets/{pushed['place']['dataset']}/records/search"
    record = client.post(search, json={}).json()["items"][0]["record"]
    body = {"status": "submitted", "values": {"better": {"value": "tie"}, "why": {"value": "第一次"}}}
    answer = client.post(f"/records/{record['id']}/responses", json=body).json()
    run("pull", "changed", "--out", tmp_path / "labels", "--home", home)

    body["values"] = {"better": {"value": "both_bad"}}
    client.put(f"/responses/{answer['id']}", json=body).raise_for_status()
    pulled = run("pull", "changed", "--out", tmp_path / "labels", "--home", home)

    votes = read_votes(tmp_path / "labels").votes
    assert [vote.value for vote in votes["better"]] == ["both_bad"]
    assert "why" not in votes
    assert pulled["answers"] == 1


def moving(monkeypatch: pytest.MonkeyPatch, changes: int) -> None:
    """A server of twenty records, read in pages of five, of which the first is deleted after each page; so often."""
    records, left = list(range(20)), iter(range(changes))

    def ask(self: Argilla, method: str, path: str, *, params: dict[str, Any]) -> dict[str, Any]:
        page, total = records[params["offset"] : params["offset"] + params["limit"]], len(records)
        if next(left, None) is not None:
            records.pop(0)
        items = []
        for one in page:
            answer: dict[str, Any] = {"user_id": "u", "status": "submitted", "updated_at": "2025-03-10T18:00:00"}
            answer["values"] = {"better": {"value": "neither" if one % 2 else "left"}}
            items.append({"id": str(one), "external_id": f"thing {one}", "responses": [answer]})
        return {"items": items, "total": total}

    monkeypatch.setattr(Argilla, "_ask", ask)
    monkeypatch.setattr("review.backends.argilla.PAGE", 5)


def asked_about(home: Path, numbers: range) -> Review:
    state = Review(home, "r")
    state.save(Pushed("r", "pairs", "argilla", "preference", {}, "en", 1, {"dataset": "d"}))
    state.ask([Asked(f"thing {n}", f"row {n}", "h", (0, 1), (1, 1), "s", "", 1) for n in numbers])
    return state


def test_answers_are_read_again_when_a_record_went_meanwhile_and_each_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(monkeypatch, changes=1)
    state = asked_about(tmp_path, range(10))

    found = pull("r", tmp_path / "labels", Access(tmp_path))

    assert {asked for asked, _ in state.answers()} == {f"thing {n}" for n in range(0, 10, 2)}
    assert (found["foreign"], found["refused"]) == (10, {"better": 5})


def test_records_that_never_hold_still_are_said_and_what_was_read_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(monkeypatch, changes=1000)
    state = asked_about(tmp_path, range(10))

    with pytest.raises(UserError, match="keep coming or going") as caught:
        pull("r", tmp_path / "labels", Access(tmp_path))

    assert "pull again" in str(caught.value.hint)
    assert len(state.answers()) >= 3
    assert not (tmp_path / "labels").exists()


def test_annotators_see_no_order_no_source_and_no_verdict(review_server: ReviewServer, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(3), task="support")
    pushed = run("push", dataset, "--as", "pairs", "--name", "blind", "--home", review_server.home, "--gold", "0.4")
    client = review_server.client("annotator1")

    found = client.post(f"/me/datasets/{pushed['place']['dataset']}/records/search?include=suggestions", json={}).json()

    for item in found["items"]:
        assert item["record"]["metadata"].keys() == {"task", "length", "round"}
        assert not item["record"]["suggestions"]
        assert "gold" not in str(item) and "chosen" not in str(item)


def test_a_data_set_of_somebody_else_is_left_alone(review_server: ReviewServer, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(2))
    run("push", dataset, "--as", "pairs", "--name", "mine", "--home", review_server.home)
    other = tmp_path / "home"
    key = tmp_path / "key"
    key.write_text(review_server.api_key)
    reach = ["--url", review_server.url, "--api-key-file", key, "--home", other]

    refused = run("push", dataset, "--as", "pairs", "--name", "mine", *reach, status=2)
    made = run("push", dataset, "--as", "pairs", "--name", "yours", *reach)

    assert "that this project home did not push" in refused["errors"][0]["message"]
    assert not Review(other, "mine").exists
    assert made["sent"] == 2
    held = b"".join(path.read_bytes() for path in other.rglob("*") if path.is_file())
    assert review_server.api_key.encode() not in held


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("http://127.0.0.1:9", "some-key", "does not answer as it should"),
        (None, "wrong-key", "does not know the API key"),
        (None, "", "holds no key"),
    ],
)
def test_a_server_that_cannot_be_used_is_a_mistake_that_says_so(
    review_server: ReviewServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, key: str, said: str
) -> None:
    monkeypatch.setattr("review.backends.argilla.TRIES", 2)
    dataset = write_dataset(tmp_path / "d", "preference", pairs(2))
    (tmp_path / "key").write_text(key)
    reach = ["--url", url or review_server.url, "--api-key-file", tmp_path / "key", "--home", tmp_path / "home"]

    found = run("push", dataset, "--as", "pairs", *reach, status=2)

    assert said in found["errors"][0]["message"]
    assert not key or key not in str(found)


@contextmanager
def stumbling(url: str) -> Iterator[tuple[str, Counter[str]]]:
    """A way to a server on which of every seven requests one is answered with an error and one is cut off; its address
    and how often that happened."""
    happened: Counter[str] = Counter()

    class Way(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            happened["requests"] += 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if happened["requests"] % 7 == 2:
                happened["errors"] += 1
                self.send_error(500)
                return
            sent = {name: self.headers[name] for name in ("X-Argilla-Api-Key", "Content-Type") if name in self.headers}
            answer = httpx.request(self.command, url + self.path, content=body, headers=sent, timeout=60)
            if happened["requests"] % 7 == 5:
                happened["cut_off"] += 1  # what it asked for was done, and nobody heard
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None: ...

    for method in ("GET", "POST", "PUT"):
        setattr(Way, f"do_{method}", Way.pass_on)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Way)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", happened
    finally:
        server.shutdown()
        server.server_close()


def test_errors_and_lost_connections_are_outlived(
    review_server: ReviewServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("review.backends.argilla.MOST_RECORDS", 3)
    monkeypatch.setattr("review.backends.argilla.PAGE", 3)
    dataset = write_dataset(tmp_path / "d", "preference", pairs(30))
    (tmp_path / "key").write_text(review_server.api_key)

    common = ["--api-key-file", tmp_path / "key", "--home", tmp_path / "home"]
    pushing = ["push", dataset, "--as", "pairs", "--name", "stumbling"]
    run(*pushing, "--limit", 3, "--url", review_server.url, *common)

    with stumbling(review_server.url) as (url, happened):
        reach = ["--url", url, *common]
        pushed = run(*pushing, *reach)
        (person, client), *_ = people_of(review_server, 1).items()
        said = answer_everything(client, person, pushed["place"]["dataset"])
        pulled = run("pull", "stumbling", "--out", tmp_path / "labels", *reach)

    total = review_server.client().get(f"/datasets/{pushed['place']['dataset']}/records").json()["total"]
    assert total == pushed["asked"] == 30
    assert pulled["answers"] == len(said) == 30
    assert happened["errors"] and happened["cut_off"]
