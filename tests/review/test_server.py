"""The review server as people and programs meet it: started, stopped, killed, and asked for what is not theirs."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from review import environment
from tests.review.conftest import ReviewServer, serving
from tests.review.forms import PENDING, answer, asked, made_dataset, names, put_records


def review(*arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the `review` command as a user does."""
    command = [sys.executable, "-m", "review.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=dict(os.environ) | settings
    )


def test_the_server_is_argilla(review_server: ReviewServer) -> None:
    found = review_server.client().get("/status").json()

    assert found["version"] == "2.8.0"
    assert found["search_engine"]["name"] == "assay"


def test_only_this_machine_and_its_owner_have_access(review_server: ReviewServer) -> None:
    folder = review_server.home / "review"

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.*") if path.is_file()}

    assert review_server.url.startswith("http://127.0.0.1:")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {modes[name] for name in ("people.json", "secret.key", "argilla.db", "server.log")} == {0o600}


def test_pages_may_fetch_and_run_only_what_is_the_servers_own(review_server: ReviewServer) -> None:
    headers = httpx.get(review_server.url).headers

    assert "'nonce-" in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert httpx.get(review_server.url, headers={"Origin": "https://example.com"}).headers.get(
        "access-control-allow-origin"
    ) in (None, review_server.url)


def test_a_second_server_is_kept_away_from_the_same_home(review_server: ReviewServer) -> None:
    ran = review("serve", "--home", review_server.home, "--port", 0, "--json")

    assert ran.returncode == 2
    said = json.loads(ran.stdout)["errors"][0]
    assert "runs on" in said["message"]
    assert review_server.url in said["message"]


def test_a_port_that_is_taken_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ran = review("serve", "--home", tmp_path / "home", "--port", port)

    assert ran.returncode == 2
    assert f"port {port} of 127.0.0.1 cannot be used" in ran.stderr
    assert not (tmp_path / "home" / "review" / "people.json").exists()


def test_the_address_of_a_server_that_was_killed_is_forgotten_when_another_starts(tmp_path: Path) -> None:
    left = tmp_path / "home" / "review" / "server.json"
    left.parent.mkdir(parents=True)
    left.write_text(json.dumps({"url": "http://127.0.0.1:6900", "pid": 1, "folder": str(left.parent)}))

    ran = review("serve", "--home", tmp_path / "home", "--port", "70000")

    assert ran.returncode == 2
    assert not left.exists(), "its port may be another's by now"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "no.such.host.invalid"), "is no address of this machine"),
        (("--port", "70000"), "is no port"),
        (("--home", "/dev/null/x"), "cannot be made"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(tmp_path: Path, arguments: tuple[str, str], message: str) -> None:
    ran = review("serve", "--home", tmp_path, *arguments)

    assert ran.returncode == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_a_package_index_the_installation_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": "/dev/null"}

    ran = review("serve", "--home", tmp_path / "home", "--port", 0, XDG_CACHE_HOME=str(tmp_path / "cache"), **nowhere)

    assert ran.returncode == 2
    assert "once for all projects" in ran.stdout
    assert "no package index could be reached" in ran.stderr
    left = [path for path in (tmp_path / "cache" / "assay" / "review-server").iterdir() if path.is_dir()]
    assert left == []


def test_a_killed_installation_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = environment.cache_folder()
    monkeypatch.setattr(environment, "REQUIREMENTS", tmp_path / "requirements.txt")
    (tmp_path / "requirements.txt").write_text("# nothing is needed\n", encoding="utf-8")
    said: list[str] = []
    first = environment.server_python(said.append)
    half = first.parent.parent.with_name(f".{first.parent.parent.name}.killed")
    first.parent.parent.rename(half)

    python = environment.server_python(said.append)

    assert python.exists()
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [python.parent.parent.name]
    assert environment.server_python(said.append) == python
    assert said.count("the review server is installed") == 2


def test_people_are_invited_while_the_server_runs(review_server: ReviewServer) -> None:
    ran = review("users", "add", "小王", "--home", review_server.home, "--json")
    client = review_server.client("小王")

    listed = json.loads(review("users", "list", "--home", review_server.home, "--json").stdout)["users"]
    assert ran.returncode == 0
    assert client.get("/me").json()["role"] == "annotator"
    assert [one["name"] for one in client.get("/me/workspaces").json()["items"]] == ["review"]
    assert {"name": "小王", "role": "annotator", "answers": 0} in listed
    assert listed[0]["role"] == "owner"


@pytest.mark.parametrize(
    ("name", "role", "message"),
    [
        ("annotator1", "annotator", "is a person called 'annotator1' already"),
        ("x", "owner", "'owner' is no role"),
        ("x", "anotator", "'anotator' is no role"),
        (" ", "annotator", "is no name"),
        ("a\nb", "annotator", "is no name"),
    ],
)
def test_who_cannot_be_invited_is_said(review_server: ReviewServer, name: str, role: str, message: str) -> None:
    ran = review("users", "add", name, "--role", role, "--home", review_server.home)

    assert ran.returncode == 2
    assert message in ran.stderr


def test_passwords_are_in_no_log_and_no_list(review_server: ReviewServer) -> None:
    secrets = [review_server.password("owner"), review_server.api_key]

    shown = review("users", "list", "--home", review_server.home).stdout
    shown += (review_server.home / "review" / "server.log").read_text(encoding="utf-8")

    assert not [secret for secret in secrets if secret in shown]


def test_what_is_not_ones_own_is_neither_seen_nor_changed(review_server: ReviewServer) -> None:
    owner = review_server.client()
    dataset = made_dataset(owner, "rights", metadata={"judge": "float", "lang": "terms"}, hidden=("judge",))
    rows = [
        {"external_id": str(n), "fields": {"text": "text"}, "metadata": {"judge": 0.5, "lang": "zh"}} for n in range(3)
    ]
    ids = put_records(owner, dataset, rows)
    elsewhere = owner.post("/workspaces", json={"name": "elsewhere"}).raise_for_status().json()["id"]
    review("users", "add", "admin1", "--role", "admin", "--home", review_server.home)
    one, two, admin = (review_server.client(name) for name in ("annotator1", "annotator2", "admin1"))
    theirs = answer(two, ids[0], {"verdict": "good"})
    record = {"items": [{"fields": {"text": "mine"}}]}

    def refused(client: httpx.Client, method: str, address: str, body: Any = None) -> bool:
        return client.request(method, address, json=body).status_code in (401, 403, 404)

    assert refused(one, "POST", f"/datasets/{dataset}/records/search", {})
    assert refused(one, "POST", f"/datasets/{dataset}/records/bulk", record)
    assert refused(one, "PATCH", f"/records/{ids[0]}", {"metadata": {"lang": "en"}})
    assert refused(one, "DELETE", f"/datasets/{dataset}")
    assert refused(one, "PUT", f"/responses/{theirs}", {"status": "discarded"})
    assert refused(one, "DELETE", f"/responses/{theirs}")
    assert refused(one, "GET", "/users")
    assert refused(one, "POST", "/users", {"first_name": "x", "username": "x", "password": "12345678", "role": "owner"})
    assert refused(admin, "POST", "/workspaces", {"name": "another"})
    assert refused(admin, "GET", f"/workspaces/{elsewhere}")
    assert refused(httpx.Client(base_url=f"{review_server.url}/api/v1"), "GET", "/me/datasets")
    found = asked(one, dataset, mine=True)["items"][0]["record"]
    assert found["metadata"] == {"lang": "zh"}
    with_responses = one.post(f"/me/datasets/{dataset}/records/search?include=responses", json={}).json()["items"]
    assert not [one for item in with_responses for one in item["record"]["responses"]]
    assert asked(admin, dataset)["total"] == 3
    assert asked(owner, dataset)["items"][0]["record"]["metadata"] == {"judge": 0.5, "lang": "zh"}


def test_every_acknowledged_answer_outlives_a_kill(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        server.start()
        owner = server.client()
        dataset = made_dataset(owner, "killed", overlap=2)
        put_records(owner, dataset, [{"external_id": str(n), "fields": {"text": f"text {n}"}} for n in range(200)])
        acknowledged: set[tuple[str, str]] = set()
        enough = threading.Event()

        def answering(name: str, client: httpx.Client) -> None:
            try:
                for item in asked(client, dataset, PENDING, mine=True, limit=200)["items"]:
                    answer(client, item["record"]["id"], {"verdict": "good"})
                    acknowledged.add((name, item["record"]["external_id"]))
                    if len(acknowledged) >= 15:
                        enough.set()
            except httpx.HTTPError:
                return

        people = ("annotator1", "annotator2", "annotator3")
        threads = [threading.Thread(target=answering, args=(name, server.client(name))) for name in people]
        for thread in threads:
            thread.start()
        enough.wait(timeout=120)
        assert server.process is not None
        server.process.kill()
        for thread in threads:
            thread.join()
        token = owner.headers["Authorization"]
        server.kill()

        server.start()
        kept: set[tuple[str, str]] = set()
        for name in people:
            submitted = {"type": "terms", "scope": PENDING["scope"], "values": ["submitted"]}
            found = asked(server.client(name), dataset, submitted, mine=True, limit=200)
            kept |= {(name, one) for one in names(found)}
        twice = {one for _, one in kept if sum(pair[1] == one for pair in kept) >= 2}
        done = names(
            asked(
                server.client(),
                dataset,
                {**PENDING, "scope": {"entity": "record", "property": "status"}, "values": ["completed"]},
                limit=200,
            )
        )
        with httpx.Client(base_url=f"{server.url}/api/v1", headers={"Authorization": token}) as client:
            me = client.get("/me")
        ended = server.stop()

    assert len(acknowledged) >= 15
    assert acknowledged <= kept
    assert set(done) == twice
    assert me.json()["username"] == "owner", "whoever was logged in still is"
    assert ended == 0
    assert not (tmp_path / "home" / "review" / "server.json").exists()
    assert not (tmp_path / "home" / "review" / ".tmp").exists()


def test_a_copy_taken_while_people_answer_is_whole_and_takes_the_place(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        server.start()
        owner, one = server.client(), server.client("annotator1")
        dataset = made_dataset(owner, "copied")
        ids = put_records(owner, dataset, [{"external_id": str(n), "fields": {"text": "退款"}} for n in range(5)])
        answer(one, ids[0], {"verdict": "good"})
        put_records(owner, dataset, [{"external_id": "0", "fields": {"text": "退款"}}], upsert=True)
        warned = "Warning" in server.errors.read_text(), "Warning" in (server.home / "review/server.log").read_text()

        ran = review("backup", "--home", server.home, "--out", tmp_path / "other" / "review")
        again = review("backup", "--home", server.home, "--out", tmp_path / "other" / "review")

    assert warned == (False, True), "what libraries warn of is in the log, and not on the terminal"
    db = sqlite3.connect(tmp_path / "other" / "review" / "argilla.db")
    assert ran.returncode == 0
    assert again.returncode == 2
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    with serving(tmp_path / "other") as server:
        server.start()
        assert asked(server.client(), dataset, text="退款")["total"] == 5
        assert asked(server.client("annotator1"), dataset, PENDING, mine=True)["total"] == 4


def test_a_new_overlap_and_webhooks_are_followed_by_jobs_without_redis(review_server: ReviewServer) -> None:
    owner = review_server.client()
    dataset = made_dataset(owner, "jobs", overlap=2)
    ids = put_records(owner, dataset, [{"fields": {"text": str(n)}} for n in range(3)])
    told: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as hearer:
        address = f"http://127.0.0.1:{hearer.getsockname()[1]}/"
        hook = {"url": address, "events": ["response.created"], "description": "test"}
        webhook = owner.post("/webhooks", json=hook).raise_for_status().json()["id"]

        answer(review_server.client("annotator1"), ids[0], {"verdict": "good"})
        hearer.settimeout(60)
        connection, _ = hearer.accept()
        told.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.close()
        owner.delete(f"/webhooks/{webhook}").raise_for_status()
    owner.patch(f"/datasets/{dataset}", json={"distribution": {"strategy": "overlap", "min_submitted": 1}})

    until = time.monotonic() + 60
    while owner.get(f"/datasets/{dataset}/progress").json()["completed"] != 1:
        assert time.monotonic() < until, "the record is not completed"
        time.sleep(0.2)
    assert b"POST / HTTP/1.1" in told[0]


def test_help_loads_nothing_of_the_server() -> None:
    script = "import sys, json; import review.cli; print(json.dumps([*{name.split('.')[0] for name in sys.modules}]))"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert not {"httpx", "sqlite3", "argilla", "polars", "pydantic"} & set(json.loads(ran.stdout))
