"""Scrubbed datasets hold no personal data anywhere, still are what they were, and say what was done."""

from __future__ import annotations

import json
import random
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import yaml

from curate.lineage import difference, trace
from curate.personal_data.detect import Detector
from curate.personal_data.replace import Keys, Replacing
from curate.personal_data.surrogates import Surrogates, is_surrogate
from curate.recipe import load_recipe
from curate.running import run_recipe
from curate.scrubbing import KEY_FILE, scrub, verify_scrubbed
from curate.stages.personal_data import PersonalData
from schemas.dataset import DatasetWriter, Reject, Told, open_dataset, problems
from schemas.errors import UserError
from schemas.rows import KINDS, columns, content_columns, content_digest, row_ids
from schemas.sources import Source
from tests.helpers import curate, curate_json, write_rows

KEY = b"a key for tests that nobody else has"


def luhn(body: str) -> str:
    total = sum(int(d) if place % 2 else sum(divmod(2 * int(d), 10)) for place, d in enumerate(reversed(body)))
    return f"{body}{-total % 10}"


def id_card(number: int) -> str:
    body = f"110105{1950 + number % 50}{1 + number % 12:02d}{1 + number % 28:02d}{number % 1000:03d}"
    return body + "10X98765432"[sum(int(char) * 2 ** (17 - place) for place, char in enumerate(body)) % 11]


def iban(number: int) -> str:
    account = f"37040044{number:010d}"
    return f"DE{98 - int(f'{account}131400') % 97:02d}{account}"


def wide(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if char.isdigit() else char for char in text)


CANARIES = {
    "mobile": lambda n: f"139{20_000_000 + n * 7919}",
    "wide mobile": lambda n: wide(f"186{30_000_000 + n * 6007}"),
    "grouped mobile": lambda n: f"+86 137-{1000 + n}-{9000 - n * 3}",
    "mail": lambda n: f"zhang.wei{n}q@mail{n}.corp.cn",
    "card": lambda n: luhn(f"45391488{n:07d}"),
    "bank card": lambda n: luhn(f"622202{n * 37:012d}"),
    "id card": lambda n: id_card(n),
    "account": lambda n: iban(n * 991),
    "address": lambda n: f"8.{n // 200 + 20}.{n % 200 + 30}.{n % 90 + 101}",
    "key": lambda n: f"sk-proj-Ab{n:04d}xYzQwErTyUiOp{n * 13:06d}KjHg",
}
"""Values that are somebody's, by kind: each of its number, all different."""


class Canaries:
    """Makes values nobody has used yet, and remembers them."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, kind: str | None = None) -> str:
        number = len(self.made)
        kind = kind or list(CANARIES)[number % len(CANARIES)]
        self.made.append(str(CANARIES[kind](number)))
        return self.made[-1]

    def chinese(self) -> str:
        return f"我的资料是{self()}，请核对；也可用{self()}。"

    def english(self) -> str:
        return f"Mine is {self()}, and the other one is {self()}."


def everything_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file below a folder with all that it says: as bytes, and unpacked where they are packed."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        yield name, name
        if not path.is_file():
            continue
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "gb18030", "latin-1"):
            yield name, path.read_bytes().decode(encoding, "replace")
        if path.suffix == ".parquet":
            whole = pq.read_table(path)
            yield name, json.dumps(whole.to_pylist(), ensure_ascii=False) + str(whole.schema.metadata)
            yield name, json.dumps(pq.read_metadata(path).to_dict(), ensure_ascii=False, default=repr)
        if path.suffix == ".arrow":
            with pyarrow.ipc.open_file(path) as reader:
                yield name, json.dumps(reader.read_all().to_pylist(), ensure_ascii=False)


def plain(text: str) -> str:
    """Text with escapes, widths and separators undone, so that a value shows whatever it was written as."""
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    text = "".join(chr(ord(char) - 0xFEE0) if "\uff01" <= char <= "\uff5e" else char for char in text)
    return re.sub(r"[ \-]", "", text).casefold()


def left_in(folder: Path, values: list[str]) -> list[tuple[str, str]]:
    wanted = {plain(value): value for value in values}
    found = []
    for name, text in everything_in(folder):
        whole = plain(text)
        found += [(name, value) for key, value in wanted.items() if key in whole]
    return found


def chat_row(canary: Canaries, number: int) -> dict[str, Any]:
    escaped = canary("mail").replace("@", "\\u0040")
    arguments = json.dumps({"phone": canary(), "to": [canary("mail")], "note": canary.chinese()}, ensure_ascii=False)
    calls = [{"id": "c1", "type": "function", "function": {"name": "send", "arguments": arguments}}]
    schema = {"type": "object", "properties": {"to": {"type": "string", "description": canary.english()}}}
    tools = [{"type": "function", "function": {"name": "send", "description": canary(), "parameters": schema}}]
    said = [
        {"role": "system", "content": f"你是客服，电话{canary('mobile')}。"},
        {"role": "user", "content": canary.chinese() if number % 2 else canary.english(), "name": canary("mail")},
        {"role": "assistant", "content": None, "reasoning": canary.english(), "tool_calls": calls},
        {"role": "tool", "content": f'{{"mail": "{escaped}", "phone": {canary("mobile")}}}', "tool_call_id": "c1"},
        {"role": "assistant", "content": f'好的：\n```json\n{{"card": "{canary("card")}"}}\n```\n{canary()}'},
    ]
    return {
        "messages": said,
        "tools": tools,
        "id": canary("mail"),
        "task": f"回访 {canary('mobile')}",
        "customer": {"phone": int(canary("mobile")), "mail": canary("mail"), canary("mail"): 1},
        "raw": json.dumps({"deep": json.dumps({"deeper": canary()})}),
        "wide": f"手机：{canary('wide mobile')}",
    }


def planted(folder: Path) -> tuple[Path, Canaries]:
    """A dataset with values in every place there is: made by an import and a run that drops rows."""
    canary = Canaries()
    rows: list[Any] = [chat_row(canary, number) for number in range(20)]
    rows += [{"instruction": canary.english(), "input": canary(), "output": canary.chinese()} for _ in range(8)]
    rows += [{"instruction": f"删去 {canary()}", "output": canary("mobile")} for _ in range(6)]
    named = folder / "in" / f"export_{canary('mobile')}_{canary('mail')}.jsonl"
    path = write_rows(named, rows)
    broken = "".join(f'{{"instruction": "{canary()}", "output": "{canary.chinese()}" oops\n' for _ in range(10))
    path.write_text(path.read_text(encoding="utf-8") + broken, encoding="utf-8")
    told = ["--evidence", f"contract with {canary('mail')}", "--consent", f"电话 {canary('mobile')}"]
    told += ["--licence", f"ask {canary('mail')}", "--training", "allowed"]
    imported = curate_json("import", path, "--out", folder / "raw", *told)
    assert imported["rejected"] == 10
    stages = [
        {"use": "length", "min_chars": 20},
        {"use": "where", "column": "task", "op": "!=", "value": canary("mobile")},
    ]
    recipe = {"name": f"for {canary('mail')}", "inputs": [imported["dataset"]], "stages": stages}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    ran = curate_json("run", folder / "recipe.yaml", "--out", folder / "cleaned")
    assert sum(ran["dropped"].values()) == 6
    return folder / "cleaned", canary


@dataclass(frozen=True)
class Planted:
    """Where values were planted: files, the dataset imported from them, the one cleaned from that; and the values."""

    files: Path
    raw: Path
    cleaned: Path
    values: list[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory for the key that is made when none is named."""
    monkeypatch.chdir(tmp_path_factory.mktemp("home"))
    return Path.cwd()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    cleaned, canary = planted(folder)
    return Planted(folder / "in", folder / "raw", cleaned, canary.made)


JSON_COLUMNS = ("tools", "messages.tool_calls", "value", "extra")


def filled(dtype: Any, name: str, canary: Canaries) -> Any:
    """A value of a column, with somebody's values in every text of it."""
    if isinstance(dtype, pl.List):
        return [filled(dtype.inner, name, canary) for _ in range(2)]
    if isinstance(dtype, pl.Struct):
        return {one.name: filled(one.dtype, f"{name}.{one.name}", canary) for one in dtype.fields}
    if dtype == pl.String:
        if name.endswith(JSON_COLUMNS):
            return json.dumps([{"deep": canary.chinese(), canary("mail"): [int(canary("mobile"))]}], ensure_ascii=False)
        return canary.english() if len(canary.made) % 2 else canary.chinese()
    return {pl.Boolean(): True, pl.Int64(): 3, pl.Float64(): 0.5}[dtype]


def dataset_of(kind: str, folder: Path, canary: Canaries, rows: int = 4) -> Path:
    """A dataset of a kind with values in every text of every column, of dropped rows and rejected input too."""
    source = f"来自 {canary('mail')}"
    made = []
    for number in range(2 * rows):
        row = {name: filled(dtype, name, canary) for name, dtype in columns(kind).items()}
        row["source"], row["copy"] = source, 0
        content = content_digest({name: row[name] for name in content_columns(kind)})
        row["content_hash"] = content.hex()
        row["id"] = row_ids(source, content, pl.Series([number]).to_numpy()).hex()
        made.append(row)
    frame = pl.DataFrame(made, schema=columns(kind))
    writer = DatasetWriter(folder, kind)
    writer.add(frame.head(rows))
    marks = {name: pl.lit(canary.chinese()) for name in ("stage", "reason", "because")}
    writer.drop(frame.tail(rows).with_columns(**marks))
    writer.rejects.add(Reject(f"导出_{canary('mobile')}.jsonl", 7, "bad_json", canary.english(), canary.chinese()))
    writer.close()
    told = Source(name=source, kind="buy", licence=canary.english(), terms=canary.chinese(), consent=canary.english())
    known: dict[str, Any] = {
        "command": "run",
        "name": canary.english(),
        "fingerprint": "0" * 64,
        "sources": {source: told},
    }
    known |= {"recipe": {"note": canary.chinese()}}
    known["inputs"] = [{"path": canary("mail"), "fingerprint": "1" * 64}]
    writer.finish(Told(2 * rows + 1, known))
    return folder


def scrubbed(given: Path, out: Path, **settings: Any) -> Path:
    made = scrub(given, out, settings)
    assert not made.already
    return out


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key").write_bytes(KEY)
    return str(tmp_path / "key")


@pytest.mark.parametrize("with_", ["tag", "surrogate", "mask", "drop_row"])
def test_no_planted_value_is_left_anywhere(place: Planted, tmp_path: Path, key: str, with_: str) -> None:
    assert len(set(place.values)) == len(place.values) >= 500
    assert {value for _, value in left_in(place.cleaned, place.values)} > set(place.values[:300])
    settings = {"with": with_} | ({"key_file": key} if with_ == "surrogate" else {})

    out = scrubbed(place.cleaned, tmp_path / "out", **settings)

    assert left_in(out, place.values) == []
    assert list(problems(out)) == []
    assert verify_scrubbed(out, {})["left"] == []


@pytest.mark.parametrize("with_", ["tag", "surrogate", "drop_row"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_value_is_left_in_any_column_of_any_kind(kind: str, tmp_path: Path, key: str, with_: str) -> None:
    canary = Canaries()
    given = dataset_of(kind, tmp_path / "raw", canary)
    assert len(left_in(given / "data", canary.made) + left_in(given / "dropped", canary.made)) > 100

    out = scrubbed(given, tmp_path / "out", key_file=key, **{"with": with_})

    assert left_in(out, canary.made) == []
    assert list(problems(out)) == []
    assert verify_scrubbed(out, {})["left"] == []


def test_no_value_is_left_of_judged_and_compared_rows_in_files(tmp_path: Path) -> None:
    canary = Canaries()
    rows: list[dict[str, Any]] = [
        {"prompt": canary.english(), "completion": canary.chinese(), "label": True, "note": canary()},
        {"prompt": canary.chinese(), "completion": canary.english(), "label": False, "by": canary("mail")},
        {"prompt": canary.english(), "chosen": canary.chinese(), "rejected": canary.english(), "by": canary("mail")},
        {"text": canary.english(), "title": canary(), "path": f"/srv/{canary('mail')}"},
        {"text": canary.chinese(), canary("mail"): canary("mobile")},
        {"oops": [canary.chinese()]},
    ]
    given = write_rows(tmp_path / "in" / f"rows_{canary('mobile')}.jsonl", rows)

    out = scrubbed(given, tmp_path / "out")

    kinds = {path.name for path in out.iterdir()}
    assert kinds == {"chat", "preference", "text"}
    assert left_in(out, canary.made) == []
    assert not [one for kind in kinds for one in problems(out / kind)]
    assert sum(sum(open_dataset(out / kind).manifest.counts.rejected.values()) for kind in kinds) == 1


@pytest.mark.parametrize("given", ["raw", "files"])
def test_no_value_is_left_of_an_import_or_of_files(place: Planted, tmp_path: Path, given: str) -> None:
    out = scrubbed(getattr(place, given), tmp_path / "out")

    assert left_in(out, place.values) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command_prints_no_value_and_verifies_its_result(place: Planted, tmp_path: Path) -> None:
    ran = [curate("scrub", place.cleaned, "--out", tmp_path / "out", "--report", tmp_path / "page.html", cwd=tmp_path)]
    ran += [curate("scrub", "--verify", folder) for folder in (tmp_path / "out", place.cleaned)]

    assert [one.returncode for one in ran] == [0, 0, 1]
    assert not [value for value in place.values for one in ran if plain(value) in plain(one.stdout + one.stderr)]
    assert "names were not looked for" in ran[0].stdout
    assert "nothing is left" in ran[1].stdout
    assert "CN_MOBILE" in ran[2].stdout
    assert left_in(tmp_path, place.values) == []


def test_verifying_says_where_values_are_left_and_shows_none(place: Planted) -> None:
    found = verify_scrubbed(place.cleaned, {})

    assert not found["ok"]
    assert found["personal_data"]["EMAIL_ADDRESS"] > 50
    assert {one["file"] for one in found["left"]} >= {"data/", "dropped/", "manifest.json"}
    assert {"messages.content", "messages.tool_calls", "extra", "external_id"} <= {
        one["field"] for one in found["left"]
    }
    said = plain(json.dumps(found, ensure_ascii=False))
    assert not [value for value in place.values if plain(value) in said]


def test_a_stray_file_in_the_folder_is_found(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Hi", "output": "Hello"}])
    out = scrubbed(rows, tmp_path / "out")
    (out / "notes 13912345678.txt").write_text("li.lei@corp.cn", encoding="utf-8")

    found = verify_scrubbed(out, {})

    assert found["personal_data"] == {"CN_MOBILE": 1, "EMAIL_ADDRESS": 1}
    assert {(one["file"], one["where"]) for one in found["left"]} == {
        ("notes <CN_MOBILE>.txt", "its name"),
        ("notes <CN_MOBILE>.txt", "line 1"),
    }


# --- Ids -------------------------------------------------------------------------------------------------


def frame_of(folder: Path) -> pl.DataFrame:
    return pl.concat(open_dataset(folder).batches())


def test_ids_are_new_and_the_same_old_id_is_the_same_new_one_everywhere(tmp_path: Path, key: str) -> None:
    chats = dataset_of("chat", tmp_path / "chats", Canaries())
    ids = frame_of(chats)["id"].to_list()
    hashes = frame_of(chats)["content_hash"].to_list()
    scores = dataset_of("score", tmp_path / "given", Canaries())
    writer = DatasetWriter(tmp_path / "scores", "score")
    frame = frame_of(scores).with_columns(
        pl.Series("row_id", ids),
        pl.Series("row_hash", hashes),
        pl.Series("parents", [[one] for one in ids]),
    )
    said = [content_digest(row).hex() for row in frame.select(content_columns("score")).iter_rows(named=True)]
    writer.add(frame.with_columns(pl.Series("content_hash", said)))
    because = [json.dumps({"kept": one, "similarity": 0.9}) for one in ids]
    marks: dict[str, Any] = {"stage": pl.lit("near"), "reason": pl.lit("copy"), "because": pl.Series(because)}
    writer.drop(frame.with_columns(id=pl.Series([one[::-1] for one in ids]), **marks))
    writer.close()
    manifest = open_dataset(scores).manifest
    known = {"command": "run", "name": "scores", "fingerprint": "0" * 64, "sources": manifest.sources, "inputs": []}
    writer.finish(Told(8, known))

    outs = [scrubbed(one, tmp_path / f"new-{one.name}", key_file=key) for one in (chats, tmp_path / "scores")]

    new = frame_of(outs[0])["id"].to_list()
    after, (gone,) = frame_of(outs[1]), open_dataset(outs[1]).dropped()
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in new)
    assert not {*new, *after["id"]} & {*ids, *frame["id"]}
    assert after["row_id"].to_list() == new
    assert after["parents"].to_list() == [[one] for one in new]
    assert [json.loads(one)["kept"] for one in gone["because"]] == new
    assert [json.loads(one)["similarity"] for one in gone["because"]] == [0.9] * 4
    assert not set(after["row_hash"]) & {*hashes, *new}
    assert [list(problems(out)) for out in outs] == [[], []]
    shown = json.loads((outs[1] / "report.json").read_text(encoding="utf-8"))["examples"]
    assert {one["id"] for one in shown} <= set(gone["id"])


@pytest.mark.parametrize("with_", ["tag", "surrogate", "mask", "drop_row"])
def test_no_hash_of_what_rows_said_is_left_anywhere(place: Planted, tmp_path: Path, with_: str) -> None:
    old = open_dataset(place.cleaned)
    manifests = [old.manifest, open_dataset(place.raw).manifest]
    hashes = [one for manifest in manifests for one in (manifest.digest, manifest.fingerprint)]
    hashes += [one.fingerprint for manifest in manifests for one in manifest.inputs]
    frames = [*old.batches(), *old.dropped()]
    hashes += [one for frame in frames for name in ("id", "content_hash") for one in frame[name]]

    out = scrubbed(place.cleaned, tmp_path / "out", **{"with": with_})

    assert len(hashes) > 60
    assert left_in(out, hashes) == []


def test_ids_depend_on_the_key(tmp_path: Path, key: str) -> None:
    (tmp_path / "other").write_bytes(KEY[::-1])
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Mail?", "output": "li.lei@corp.cn"}])

    outs = [
        scrubbed(rows, tmp_path / name, key_file=used)
        for name, used in (("one", key), ("two", key), ("three", str(tmp_path / "other")))
    ]

    one, two, three = (frame_of(out)["id"][0] for out in outs)
    assert one == two != three
    assert (outs[0] / "data" / "00000.parquet").read_bytes() == (outs[1] / "data" / "00000.parquet").read_bytes()


def test_a_dataset_and_the_file_it_was_imported_from_give_the_same_rows(tmp_path: Path) -> None:
    rows: list[Any] = [{"instruction": "Mail?", "output": f"li.lei{number}@corp.cn"} for number in range(50)]
    path = write_rows(tmp_path / "rows.jsonl", [*rows, {"oops": 13912345678}])
    curate_json("import", path, "--out", tmp_path / "raw")

    outs = [scrubbed(given, tmp_path / name) for name, given in (("one", tmp_path / "raw"), ("two", path))]

    one, two = (open_dataset(out) for out in outs)
    assert frame_of(outs[0]).equals(frame_of(outs[1]))
    assert one.manifest.counts == two.manifest.counts
    assert list(one.rejected()) == list(two.rejected())
    assert one.manifest.sources == two.manifest.sources


def test_files_that_hold_no_rows_are_told_of_without_a_value(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"oops": 13912345678}])

    with pytest.raises(UserError, match="none of 1 rows") as told:
        scrub(path, tmp_path / "out", {})

    assert "13912345678" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_the_number_of_a_contract_is_no_driving_licence(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Hi", "output": "Hello"}])
    curate_json("import", rows, "--out", tmp_path / "raw", "--licence", "agreement A1234567")

    out = scrubbed(tmp_path / "raw", tmp_path / "out")

    assert verify_scrubbed(out, {})["left"] == []
    assert "A1234567" in (out / "README.md").read_text(encoding="utf-8")


def test_a_kill_leaves_no_row_as_it_was(tmp_path: Path) -> None:
    canary = Canaries()
    rows = [{"instruction": canary.english(), "output": canary.chinese()} for _ in range(3000)]
    path = write_rows(tmp_path / "in" / "rows.jsonl", rows)
    command = [sys.executable, "-m", "curate.cli", "scrub", str(path), "--out", "out/new"]
    seen: set[str] = set()
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        while running.poll() is None and not any("data" in name for name in seen):
            seen |= {one.relative_to(tmp_path).as_posix() for one in (tmp_path / "out").rglob("*")}
            time.sleep(0.005)
        running.kill()

    left = [*(tmp_path / "out").rglob("*")]

    assert left
    assert not (tmp_path / "out" / "new").exists()
    assert left_in(tmp_path / "out", canary.made) == []


def test_ids_are_kept_when_asked_and_a_finding_says_what_that_means(tmp_path: Path, elsewhere: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Mail?", "output": "li.lei@corp.cn"}])
    raw = curate_json("import", rows, "--out", tmp_path / "raw")["dataset"]

    made = curate_json("scrub", raw, "--out", tmp_path / "out", "--keep-ids")

    assert frame_of(tmp_path / "out")["id"].to_list() == frame_of(tmp_path / "raw")["id"].to_list()
    assert {one["kind"]: one["count"] for one in made["findings"]}["ids_kept"] == 1
    assert (made["ids"], made["key"], made["key_file"]) == ("kept", None, None)
    assert list(elsewhere.iterdir()) == []


def test_new_ids_are_another_run_than_kept_ones(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Mail?", "output": "li.lei@corp.cn"}])
    scrub(rows, tmp_path / "out", {})

    again = scrub(rows, tmp_path / "out", {})

    assert again.already
    with pytest.raises(UserError, match="another run"):
        scrub(rows, tmp_path / "out", {}, keep_ids=True)


def test_a_scrubbed_row_can_be_explained_and_compared(place: Planted, tmp_path: Path) -> None:
    out = scrubbed(place.cleaned, tmp_path / "out")
    new = frame_of(out)["id"].to_list()

    way, told = trace(out, new[0]), difference(place.cleaned, out)

    assert (way["id"], way["fate"]) == (new[0], "kept")
    assert way["missing"]
    assert told["rows"]["added"] == told["rows"]["removed"] == len(new)
    with pytest.raises(UserError, match="there is no row"):
        trace(out, frame_of(place.cleaned)["id"][0])


# --- What a row still is ---------------------------------------------------------------------------------


def test_messages_tools_and_code_survive(place: Planted, tmp_path: Path, key: str) -> None:
    before = pl.concat(open_dataset(place.raw / "chat" if (place.raw / "chat").exists() else place.raw).batches())

    out = scrubbed(place.raw, tmp_path / "out", key_file=key, **{"with": "surrogate"})

    after = pl.concat(open_dataset(out).batches())
    assert [shape(row) for row in after["messages"].to_list()] == [shape(row) for row in before["messages"].to_list()]
    for old, new in zip(before.iter_rows(named=True), after.iter_rows(named=True), strict=True):
        for name in ("tools", "extra"):
            assert keys_of(json.loads(new[name] or "null")) == keys_of(json.loads(old[name] or "null"))


def shape(messages: list[dict[str, Any]]) -> list[Any]:
    """What of a conversation must not change: who speaks, what is null, calls and code blocks."""
    found = []
    for turn in messages:
        calls = json.loads(turn["tool_calls"] or "[]")
        found.append(
            (
                turn["role"],
                turn["tool_call_id"],
                [name for name, value in turn.items() if value is None],
                [(call["id"], call["function"]["name"], keys_of(call["function"]["arguments"])) for call in calls],
                (turn["content"] or "").count("```"),
            )
        )
    return found


def keys_of(value: Any) -> Any:
    """A JSON value with every text and number left out, and keys that are no words."""
    if isinstance(value, str) and value[:1] in "{[":
        return keys_of(json.loads(value))
    if isinstance(value, dict):
        return {key if "@" not in key else "mail": keys_of(inner) for key, inner in value.items()}
    return [keys_of(inner) for inner in value] if isinstance(value, list) else None


def replaced(text: str, with_: Any = "tag") -> str:
    return Replacing(Detector(), with_, Surrogates(KEY)).text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{ "n" : 1.50,  "mail": "li\\u0040corp.cn", "é": "\\u00e9" }',
            '{ "n" : 1.50,  "mail": "<EMAIL_ADDRESS>", "é": "\\u00e9" }',
        ),
        ('{"phone": 13912345678}', '{"phone": "<CN_MOBILE>"}'),
        ('{"电话": 13912345678.0, "a": [13700001111]}', '{"电话": "<CN_MOBILE>", "a": ["<CN_MOBILE>"]}'),
        ('{"a@corp.cn": 1, "b@corp.cn": 2}', '{"<EMAIL_ADDRESS>": 1, "<EMAIL_ADDRESS>-2": 2}'),
        ('{"j": "{\\"mail\\": \\"a@corp.cn\\"}"}', '{"j": "{\\"mail\\": \\"<EMAIL_ADDRESS>\\"}"}'),
        ('见：\n```json\n{"phone": 13912345678}\n```\n完', '见：\n```json\n{"phone": "<CN_MOBILE>"}\n```\n完'),
        ('Sure: {"phone": 13912345678, "x": 1}', 'Sure: {"phone": "<CN_MOBILE>", "x": 1}'),
        ("a\\u0040corp.cn", "<EMAIL_ADDRESS>"),
        ("write to bob&#64;corp.com", "write to <EMAIL_ADDRESS>"),
        ("Hi\\nbob@corp.com, x%3Dbob@corp.com", "Hi\\n<EMAIL_ADDRESS>, x%3D<EMAIL_ADDRESS>"),
        ("?x\\u003dbob@corp.com&y=1", "?x\\u003d<EMAIL_ADDRESS>&y=1"),
        ("\\u006c\\u0069@\\u0063orp.cn", "<EMAIL_ADDRESS>"),
        ("postgres://u:p%40ssw0rd@db.host/x", "<SECRET>"),
        ("\ufeff电话\n13912345678\u200b", "\ufeff电话\n<CN_MOBILE>\u200b"),
        ("手机139\u200b1234\u200b5678。", "手机<CN_MOBILE>。"),
        ("电话：\\n１３９１２３４５６７８", "电话：\\n<CN_MOBILE>"),
        ("Nothing { in [ here ```json\n{oops\n```", "Nothing { in [ here ```json\n{oops\n```"),
    ],
)
def test_a_value_is_replaced_where_it_stands_and_nothing_else(text: str, expected: str) -> None:
    assert replaced(text) == expected


def any_json(chance: random.Random, depth: int = 0) -> Any:
    leaves = [
        "13912345678",
        "li.lei@corp.cn",
        '世界 "q" \\ / é\n',
        "",
        13912345678,
        8.5,
        True,
        None,
        '{"mail": "a@corp.cn"}',
    ]
    kind = chance.random() + depth / 6
    if kind > 0.7:
        return chance.choice(leaves)
    inner = [any_json(chance, depth + 1) for _ in range(chance.randrange(4))]
    keys = chance.sample(["phone", "mail", "b@corp.cn", "13712345678"], 4)
    return inner if kind > 0.4 else dict(zip(keys, inner, strict=False))


@pytest.mark.parametrize("with_", ["tag", "surrogate", "mask"])
def test_any_json_stays_json_of_the_same_structure(with_: Any) -> None:
    chance = random.Random(with_)
    values = [[any_json(chance)] for _ in range(200)]
    texts = [json.dumps(value, ensure_ascii=chance.random() < 0.5) for value in values]

    after = Replacing(Detector(), with_, Surrogates(KEY)).texts(pl.Series(texts)).texts.to_list()

    assert [structure(json.loads(text)) for text in after] == [structure(value) for value in values]
    assert not [text for text in after if "12345678" in text or "corp.cn" in text]


def structure(value: Any) -> Any:
    """A JSON value without its texts, numbers and keys."""
    if isinstance(value, str) and value[:1] == "{":
        return structure(json.loads(value))
    if isinstance(value, dict):
        return [structure(inner) for inner in value.values()]
    return [structure(inner) for inner in value] if isinstance(value, list) else value if value in (True, None) else "x"


def test_numbers_in_json_stay_numbers_with_surrogates() -> None:
    found = json.loads(replaced('{"phone": 13912345678}', "surrogate"))

    assert isinstance(found["phone"], int)
    assert is_surrogate("CN_MOBILE", str(found["phone"]))


def test_masks_keep_the_shape() -> None:
    assert replaced("电话 139-1234-5678，邮箱 li.lei@corp.cn", "mask") == "电话 ***-****-****，邮箱 **.***@****.**"


@pytest.mark.parametrize("with_", ["tag", "surrogate", "mask"])
def test_replacing_again_changes_nothing(place: Planted, with_: Any) -> None:
    frame = pl.concat(open_dataset(place.cleaned).batches())
    replacing = Replacing(Detector(), with_, Surrogates(KEY))
    once, _ = replacing.rows(frame)

    again, found = replacing.rows(once)

    assert found.is_empty()
    assert again.equals(once)


def test_rows_keep_what_is_no_text(place: Planted) -> None:
    frame = pl.concat(open_dataset(place.cleaned).batches())

    after, _ = Replacing(Detector()).rows(frame)

    assert after.schema == frame.schema
    assert after.select("id", "content_hash", "copy", "parents").equals(
        frame.select("id", "content_hash", "copy", "parents")
    )


# --- Keys ------------------------------------------------------------------------------------------------


def test_a_value_has_one_surrogate_in_every_dataset_of_a_key(tmp_path: Path, key: str) -> None:
    one = write_rows(tmp_path / "one.jsonl", [{"instruction": "电话？", "output": "打13912345678，找小李。"}])
    two = write_rows(tmp_path / "two.jsonl", [{"instruction": "Phone?", "output": "It is +86 139-1234-5678, ask."}])

    outs = [scrubbed(path, tmp_path / path.stem, key_file=key, **{"with": "surrogate"}) for path in (one, two)]

    said = [re.sub(r"\D", "", next(open_dataset(out).batches())["messages"][0][1]["content"]) for out in outs]
    assert said[1] == "86" + said[0]
    assert said[0] != "13912345678"


def test_a_key_is_made_for_its_owner_alone_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Mail?", "output": "li.lei@corp.cn"}])

    outs = [scrubbed(rows, tmp_path / name, **{"with": "surrogate"}) for name in ("one", "two")]

    made = tmp_path / KEY_FILE
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert open_dataset(outs[0]).manifest.digest == open_dataset(outs[1]).manifest.digest
    assert not left_in(outs[0], [made.read_text().strip()])


def test_a_key_inside_the_result_is_refused(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Mail?", "output": "li.lei@corp.cn"}])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "key").write_bytes(KEY)

    with pytest.raises(UserError, match="over it"):
        scrub(rows, tmp_path / "out", {"with": "surrogate", "key_file": str(tmp_path / "out" / "key")})


def test_another_key_is_another_run_and_the_key_is_nowhere(tmp_path: Path, key: str) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Mail?", "output": "li.lei@corp.cn"}])
    curate_json("import", rows, "--out", tmp_path / "raw")
    (tmp_path / "other").write_bytes(KEY[::-1])
    recipe = tmp_path / "recipe.yaml"
    stage = {"use": "personal_data", "with": "surrogate"}
    prints: list[str] = []
    for name in (key, str(tmp_path / "other")):
        recipe.write_text(yaml.safe_dump({"stages": [stage | {"key_file": name}]}), encoding="utf-8")
        made = run_recipe(load_recipe(str(recipe), inputs=[tmp_path / "raw"]), tmp_path / f"ran{len(prints)}")
        prints.append(made.datasets[0].manifest.fingerprint)

    assert prints[0] != prints[1]
    assert left_in(tmp_path / "ran0", [KEY.decode()]) == []
    assert left_in(tmp_path / "ran0", ["li.lei@corp.cn"]) == []


def test_surrogates_in_a_recipe_do_not_depend_on_the_order_of_rows(tmp_path: Path, key: str) -> None:
    numbers = [f"+44 20 7946 {number:04d}" for number in range(40)] + [f"1391234{number:04d}" for number in range(40)]
    texts = pl.Series([f"call {number} or 8.{20 + place}.30.101" for place, number in enumerate(numbers)])
    stages = [PersonalData.model_validate({"with": "surrogate", "key_file": key}) for _ in range(2)]

    one, two = (
        stage.replacing.texts(given).texts for stage, given in zip(stages, (texts, texts.reverse()), strict=True)
    )

    assert one.to_list() == two.reverse().to_list()
    assert len(set(one)) == len(one)
    assert re.fullmatch(r"call <PHONE_NUMBER-[0-9a-f]{16}> or <IP_ADDRESS-[0-9a-f]{16}>", one[0])
    assert re.match(r"call 2[0-9]{10} ", one[79])
    assert "<" not in stages[0].in_one_order().replacing.text(texts[0])


def test_a_key_that_cannot_be_made_is_told_of(tmp_path: Path, elsewhere: Path) -> None:
    (elsewhere / KEY_FILE.parent).write_text("not a folder", encoding="utf-8")
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Hi", "output": "Hello"}])

    with pytest.raises(UserError, match="key"):
        scrub(rows, tmp_path / "out", {})

    assert not (tmp_path / "out").exists()


# --- What is told ----------------------------------------------------------------------------------------


def test_the_report_counts_and_says_first_that_names_were_not_looked_for(place: Planted, tmp_path: Path) -> None:
    out = scrubbed(place.cleaned, tmp_path / "out")

    told = json.loads((out / "report.json").read_text(encoding="utf-8"))["scrubbed"]
    page = (out / "report.html").read_text(encoding="utf-8")
    lines = [line for line in re.sub(r"<style.*?</style>|<[^>]*>", "\n", page, flags=re.DOTALL).splitlines() if line]
    assert told["values"] == sum(told["types"].values()) == sum(one[2] for one in told["by_source"])
    assert told["values"] == sum(one[2] for one in told["by_field"])
    assert {one["type"] for one in told["examples"]} == set(told["types"])
    assert {"messages.content", "dropped: messages.content", "manifest"} <= {one[0] for one in told["by_field"]}
    first = next(place for place, line in enumerate(lines) if "Names were not looked for." in line)
    assert first < next(place for place, line in enumerate(lines) if "rows" in line and "kept" in line)
    assert "未查找人名。" in page


def test_a_recipe_tells_of_what_was_replaced_before_rows_were_compared(place: Planted, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    stages = [{"use": "personal_data"}, {"use": "exact_duplicates"}, {"use": "empty"}]
    recipe.write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")

    (made,) = run_recipe(load_recipe(str(recipe), inputs=[place.cleaned]), tmp_path / "ran").datasets

    told = json.loads((made.folder / "report.json").read_text(encoding="utf-8"))["scrubbed"]
    assert told["rows"] == made.manifest.steps[0].edited == made.manifest.counts.rows_in
    assert {"personal_data_replaced", "names_not_looked_for"} <= {one["kind"] for one in made.manifest.findings}


def test_the_result_as_json_has_counts_by_type(tmp_path: Path) -> None:
    rows = [{"instruction": "Mail?", "output": "li.lei@corp.cn"}, {"instruction": "你好", "output": "您好"}]
    path = write_rows(tmp_path / "rows.jsonl", rows)

    made = curate_json("scrub", path, "--out", tmp_path / "out", "--with", "drop_row")

    assert made["personal_data"] == {"EMAIL_ADDRESS": 1}
    assert (made["rows_in"], made["rows_out"], made["dropped"]) == (2, 1, {"personal_data": 1})
    assert made["names"] is False
    (gone,) = open_dataset(tmp_path / "out").dropped()
    assert gone["because"].to_list() == ["EMAIL_ADDRESS 1"]
    assert gone["messages"][0][1]["content"] == "<EMAIL_ADDRESS>"


def test_sources_are_scrubbed_only_when_names_were_looked_for(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Mail?", "output": "li.lei@corp.cn"}])

    out = scrubbed(rows, tmp_path / "out")

    manifest = open_dataset(out).manifest
    assert [source.personal_data for source in manifest.sources.values()] == ["unknown"]
    assert "names_not_looked_for" in {one["kind"] for one in manifest.findings}


def test_only_the_types_asked_for_are_replaced(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "?", "output": "li.lei@corp.cn, 手机13912345678"}])

    out = scrubbed(rows, tmp_path / "out", entities=["CN_MOBILE"])

    assert next(open_dataset(out).batches())["messages"][0][1]["content"] == "li.lei@corp.cn, 手机<CN_MOBILE>"


def test_two_sources_whose_names_hold_values_stay_two(tmp_path: Path) -> None:
    for number in ("13912345678", "13712345678"):
        write_rows(tmp_path / "in" / f"{number}.jsonl", [{"instruction": "Hi", "output": f"Hello from {number}"}])
    both = [tmp_path / "raw"]
    for path in sorted((tmp_path / "in").iterdir()):
        curate_json("import", path, "--out", tmp_path / path.stem)
        both.append(tmp_path / path.stem)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("stages: [{use: empty}]", encoding="utf-8")
    run_recipe(load_recipe(str(recipe), inputs=both[1:]), tmp_path / "raw")

    out = scrubbed(tmp_path / "raw", tmp_path / "out")

    assert list(open_dataset(out).manifest.sources) == ["<CN_MOBILE>", "<CN_MOBILE>-2"]
    assert list(problems(out)) == []


def test_a_source_whose_name_grows_can_still_be_read(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Hi", "output": "Hello"}])
    names = ["a@b.cn " * 28, "a@b.cn " * 28 + "x"]
    for number, name in enumerate(names):
        curate_json("import", rows, "--out", tmp_path / f"in{number}", "--source", name)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("stages: [{use: empty}]", encoding="utf-8")
    run_recipe(load_recipe(str(recipe), inputs=[tmp_path / "in0", tmp_path / "in1"]), tmp_path / "raw")

    out = scrubbed(tmp_path / "raw", tmp_path / "out")

    assert len(open_dataset(out).manifest.sources) == 2
    assert list(problems(out)) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"entities": ["CN_MOBIL"]}, "CN_MOBIL"),
        ({"with": "tga"}, "tga"),
        ({"with": "surrogate", "key_file": "nowhere"}, "nowhere"),
        ({"with": "tag", "key_file": "nowhere"}, "nowhere"),
    ],
)
def test_a_wrong_setting_is_told(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Hi", "output": "Hello"}])

    with pytest.raises(UserError, match=said):
        scrub(rows, tmp_path / "out", settings)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("护照 https://bob:secret9@corp-mail.com/x—E12345678", "E12345678"),
        ("61.135.13.40/00:1B:44:11:3A:B7", "61.135.13.40"),
        ("出生 https://bob:secret9@corp-mail.com/x—1990-01-02", "1990-01-02"),
    ],
)
def test_an_example_hides_what_only_a_later_look_finds(text: str, hidden: str) -> None:
    replaced = Replacing(Detector(), "tag").texts(pl.Series([text]))

    shown = " ".join(said for some in replaced.examples.values() for _, said in some)
    assert shown
    assert hidden in text and hidden not in shown
    assert "secret9" not in shown


def test_two_steps_that_scrub_are_both_on_the_page(tmp_path: Path) -> None:
    said = "电话13912345678，邮箱a@qinghe-mail.cn"
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": "联系？", "output": said}])
    (tmp_path / "r.yaml").write_text(
        "stages:\n"
        "  - {use: personal_data, name: tags, entities: [CN_MOBILE]}\n"
        "  - {use: personal_data, name: masks, entities: [EMAIL_ADDRESS], with: mask}\n"
    )
    curate("import", rows, "--out", tmp_path / "in")

    curate_json("run", tmp_path / "r.yaml", "--input", tmp_path / "in", "--out", tmp_path / "out")

    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    parts = [part for name, part in report.items() if name.startswith("scrubbed")]
    assert [part["types"] for part in parts] == [{"CN_MOBILE": 1}, {"EMAIL_ADDRESS": 1}]


def test_names_that_become_one_are_told_apart() -> None:
    keys = Keys()

    written = [keys.new(f"1391234{number:04}", "<CN_MOBILE>") for number in range(2_000)]

    assert len(set(written)) == 2_000
    assert written[:3] == ["<CN_MOBILE>", "<CN_MOBILE>-2", "<CN_MOBILE>-3"]
    assert keys.new("13912340001", "<CN_MOBILE>") == "<CN_MOBILE>-2"
