"""The index of search never falls out of step with Argilla's tables, whatever is done to them and whenever."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from review.server import index
from review.server.search import Found, search, similar

# The parts of Argilla's tables that the index looks at.
TABLES = """
CREATE TABLE datasets (id CHAR(32) PRIMARY KEY, distribution JSON NOT NULL);
CREATE TABLE fields (
    id INTEGER PRIMARY KEY, name VARCHAR, settings JSON, inserted_at DATETIME,
    dataset_id CHAR(32) REFERENCES datasets (id) ON DELETE CASCADE
);
CREATE TABLE records (
    id CHAR(32) PRIMARY KEY, fields JSON, metadata JSON, external_id VARCHAR, status VARCHAR DEFAULT 'pending',
    inserted_at DATETIME DEFAULT '', updated_at DATETIME DEFAULT '',
    dataset_id CHAR(32) REFERENCES datasets (id) ON DELETE CASCADE
);
CREATE TABLE responses (id INTEGER PRIMARY KEY, record_id CHAR(32), user_id CHAR(32), status VARCHAR, "values" JSON);
CREATE TABLE vectors_settings (id CHAR(32) PRIMARY KEY, dataset_id CHAR(32));
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY, vector_settings_id CHAR(32), value JSON,
    record_id CHAR(32) REFERENCES records (id) ON DELETE CASCADE
);
"""


def made(path: Path, *, overlap: int = 1) -> sqlite3.Connection:
    """A database with one dataset d of one text field, prepared for search."""
    db = index.connect(path)
    db.executescript(TABLES)
    db.execute("INSERT INTO datasets VALUES ('d', ?)", (json.dumps({"min_submitted": overlap}),))
    db.execute("""INSERT INTO fields VALUES (1, 'text', '{"type": "text"}', '', 'd')""")
    index.prepare(db)
    return db


def put(db: sqlite3.Connection, record: str, text: str, dataset: str = "d") -> None:
    db.execute(
        "INSERT INTO records (id, fields, dataset_id) VALUES (?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET fields = excluded.fields",
        (record, json.dumps({"text": text}), dataset),
    )


def ids(found: Found) -> set[str]:
    return {record for record, _ in found.records}


WORDS = st.sampled_from(["退款", "refund", "late", "发票"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdef"), st.lists(WORDS, max_size=3).map(" ".join)),
        st.tuples(st.just("delete"), st.sampled_from("abcdef"), st.just("")),
        st.tuples(st.just("undone"), st.sampled_from("abcdef"), WORDS),
        st.tuples(st.just("search"), st.just(""), WORDS),
        st.tuples(st.just("killed"), st.just(""), st.just("")),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_a_search_finds_what_the_tables_hold_after_any_history(
    tmp_path: Path, steps: list[tuple[str, str, str]]
) -> None:
    path = tmp_path / "argilla.db"
    path.unlink(missing_ok=True)
    db = made(path)
    held: dict[str, str] = {}

    for what, record, text in steps:
        if what == "put":
            put(db, record, text)
            held[record] = text
        elif what == "delete":
            db.execute("DELETE FROM records WHERE id = ?", (record,))
            held.pop(record, None)
        elif what == "undone":  # a transaction that never ends leaves nothing, in the index either
            db.execute("BEGIN")
            put(db, record, text)
            db.execute("ROLLBACK")
        elif what == "killed":
            db.close()
            db = index.connect(path)
            index.prepare(db)
        else:
            found = ids(search(db, "d", query=text))
            assert found == {one for one, words in held.items() if text in words}

    for word in ("退款", "refund"):
        assert ids(search(db, "d", query=word)) == {one for one, words in held.items() if word in words}
    db.close()


def test_a_kill_while_the_index_is_written_loses_nothing(tmp_path: Path) -> None:
    db = made(tmp_path / "argilla.db")
    put(db, "a", "refund")
    torn = index.connect(tmp_path / "argilla.db")
    torn.execute("BEGIN IMMEDIATE")
    torn.execute("DELETE FROM assay_due")
    torn.close()  # as a kill does: the transaction never ended

    found = search(db, "d", query="refund")

    assert ids(found) == {"a"}


def test_a_deleted_dataset_leaves_nothing_behind(tmp_path: Path) -> None:
    db = made(tmp_path / "argilla.db")
    put(db, "a", "refund")
    search(db, "d", query="refund")

    db.execute("DELETE FROM datasets WHERE id = 'd'")
    index.prepare(db)  # as at a start, after a kill between Argilla's deleting and ours

    assert ids(search(db, "d", query="refund")) == set()
    left = [row for table in ("texts", "rows", "due") for row in db.execute(f"SELECT * FROM assay_{table}")]
    assert left == []
    assert not db.execute("SELECT name FROM sqlite_master WHERE name GLOB 'assay_text_[0-9]*'").fetchall()


def test_tables_that_were_made_anew_are_indexed_anew(tmp_path: Path) -> None:
    db = made(tmp_path / "argilla.db")
    put(db, "a", "late")
    search(db, "d", query="late")
    db.executescript(
        "CREATE TABLE moved AS SELECT * FROM records; DROP TABLE records; ALTER TABLE moved RENAME TO records;"
        """UPDATE records SET fields = '{"text": "refund"}';"""
    )

    index.prepare(db)

    assert ids(search(db, "d", query="refund")) == {"a"}
    assert ids(search(db, "d", query="late")) == set()


def test_a_field_that_is_searched_alone_does_not_find_the_others(tmp_path: Path) -> None:
    db = made(tmp_path / "argilla.db")
    db.execute("""INSERT INTO fields VALUES (2, '回答', '{"type": "text"}', '', 'd')""")
    fields = json.dumps({"text": "how to refund", "回答": "退款流程"})
    db.execute("INSERT INTO records (id, fields, dataset_id) VALUES ('a', ?, 'd')", (fields,))

    assert ids(search(db, "d", query="退款", field="回答")) == {"a"}
    assert ids(search(db, "d", query="退款", field="text")) == set()
    assert ids(search(db, "d", query="refund 退款")) == {"a"}


def test_statuses_that_a_kill_left_behind_are_mended_at_the_next_start(tmp_path: Path) -> None:
    db = made(tmp_path / "argilla.db", overlap=2)
    put(db, "a", "one")
    put(db, "b", "two")
    db.execute("UPDATE records SET status = 'completed' WHERE id = 'b'")
    for user in ("u", "v"):
        db.execute("INSERT INTO responses (record_id, user_id, status) VALUES ('a', ?, 'submitted')", (user,))

    index.prepare(db)

    assert dict(db.execute("SELECT id, status FROM records")) == {"a": "completed", "b": "pending"}


def test_vectors_follow_their_table(tmp_path: Path) -> None:
    db = made(tmp_path / "argilla.db")
    db.execute("INSERT INTO vectors_settings VALUES ('v', 'd')")
    for record, value in (("a", "[1, 0]"), ("b", "[0, 1]"), ("c", "[-1, 0]"), ("z", "[0, 0]")):
        put(db, record, "text")
        db.execute("INSERT INTO vectors (vector_settings_id, record_id, value) VALUES ('v', ?, ?)", (record, value))
    first = similar(db, "d", "v", [1, 0])
    db.execute("UPDATE vectors SET value = '[1, 1]' WHERE record_id = 'c'")
    db.execute("DELETE FROM vectors WHERE record_id = 'a'")

    second = similar(db, "d", "v", [1, 0])

    assert [(record, round(score, 3)) for record, score in first.records] == [
        ("a", 1.0),
        ("b", 0.5),
        ("z", 0.5),
        ("c", 0.0),
    ]
    assert [record for record, _ in second.records] == ["c", "b", "z"]


def test_hostile_texts_are_indexed_and_harm_nothing(tmp_path: Path) -> None:
    db = made(tmp_path / "argilla.db")
    hostile = ["a\x00b refund", "\ud800 refund", "'); DROP TABLE records; -- refund", "refund " + "x" * 100_000]
    for number, text in enumerate(hostile):
        put(db, str(number), text)

    assert ids(search(db, "d", query="refund")) == {"0", "1", "2", "3"}
    assert ids(search(db, "d", query="DROP TABLE")) == {"2"}
