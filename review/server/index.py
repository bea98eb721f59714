"""What search needs beyond Argilla's own tables, kept in the same file: words of texts, vectors as numbers.

Triggers note in the same transaction which records changed; a search first catches up on those, each batch in one
transaction. So the index cannot fall out of step with the tables, wherever a process is killed.
"""

# ruff: noqa: S608 - what is put together into SQL here are constants of this file and numbers from its own tables

from __future__ import annotations

import json
import sqlite3
from array import array
from pathlib import Path
from typing import Any

from review.server.text import EVERY, words_of_field

BUSY_SECONDS = 30
"""How long a statement waits for another one that writes."""

_BATCH = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS assay_due (record_id TEXT PRIMARY KEY, dataset_id TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS assay_due_of ON assay_due (dataset_id);
CREATE TABLE IF NOT EXISTS assay_texts (
    number INTEGER PRIMARY KEY, dataset_id TEXT UNIQUE NOT NULL, fields TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS assay_rows (number INTEGER PRIMARY KEY, record_id TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS assay_due_vectors (
    vector_settings_id TEXT, record_id TEXT, PRIMARY KEY (vector_settings_id, record_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS assay_vectors (
    vector_settings_id TEXT, record_id TEXT, value BLOB NOT NULL, PRIMARY KEY (vector_settings_id, record_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS assay_queue ON records (dataset_id, inserted_at, id, status);
"""

_DUE = (
    "INSERT INTO assay_due SELECT {row}.id, {row}.dataset_id "
    "WHERE NOT EXISTS (SELECT 1 FROM assay_due WHERE record_id = {row}.id);"
)
_DUE_VECTOR = (
    "INSERT INTO assay_due_vectors SELECT {row}.vector_settings_id, {row}.record_id WHERE NOT EXISTS (SELECT 1 FROM "
    "assay_due_vectors WHERE vector_settings_id = {row}.vector_settings_id AND record_id = {row}.record_id);"
)
_TRIGGERS = {
    "assay_record_made": "AFTER INSERT ON records BEGIN " + _DUE.format(row="new"),
    "assay_record_changed": "AFTER UPDATE OF fields ON records WHEN old.fields IS NOT new.fields BEGIN "
    + _DUE.format(row="new"),
    "assay_record_gone": "AFTER DELETE ON records BEGIN " + _DUE.format(row="old"),
    "assay_vector_made": "AFTER INSERT ON vectors BEGIN " + _DUE_VECTOR.format(row="new"),
    "assay_vector_changed": "AFTER UPDATE OF value ON vectors BEGIN " + _DUE_VECTOR.format(row="new"),
    "assay_vector_gone": "AFTER DELETE ON vectors BEGIN " + _DUE_VECTOR.format(row="old"),
}

# M*: marks are parts of words in Indic scripts; So: an emoji is a word.
_TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* N* Co So M*'"


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the server's database, on which statements are their own transactions unless one is begun."""
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA cache_size = -32000")
    return db


def settle(path: Path) -> None:
    """Move everything from the write-ahead log into the database itself: for the end of a server."""
    db = connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def prepare(db: sqlite3.Connection) -> None:
    """Make the index where it is missing and mend what a kill left: for the start of a server, after migrations."""
    db.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _TABLES.split(";")):
        db.execute(statement)
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    for name, trigger in _TRIGGERS.items():
        db.execute(f"CREATE TRIGGER IF NOT EXISTS {name} {trigger} END")
    if not there.issuperset(_TRIGGERS):  # a new database, or one whose tables were made anew beneath the index
        db.execute("INSERT OR IGNORE INTO assay_due SELECT id, dataset_id FROM records")
        db.execute("INSERT OR IGNORE INTO assay_due_vectors SELECT vector_settings_id, record_id FROM vectors")
    gone = "SELECT dataset_id FROM assay_texts WHERE dataset_id NOT IN (SELECT id FROM datasets)"
    for (dataset,) in db.execute(gone).fetchall():
        _forget(db, dataset)
    db.execute("DELETE FROM assay_due WHERE dataset_id NOT IN (SELECT id FROM datasets)")
    _mend_statuses(db)
    db.execute("COMMIT")


def _mend_statuses(db: sqlite3.Connection) -> None:
    """Set the status of records whose last answer was stored just before a kill, and its consequence was not.

    Also of those whose dataset was given another overlap, when the job that follows was lost.
    """
    enough = (
        "(SELECT count(*) FROM responses WHERE record_id = records.id AND status = 'submitted') >= "
        "(SELECT json_extract(distribution, '$.min_submitted') FROM datasets WHERE id = records.dataset_id)"
    )
    db.execute(f"UPDATE records SET status = 'completed' WHERE status = 'pending' AND {enough}")
    db.execute(f"UPDATE records SET status = 'pending' WHERE status = 'completed' AND NOT {enough}")


def catch_up(db: sqlite3.Connection, dataset: str) -> tuple[str, list[str]] | None:
    """Index what changed in a dataset; the table of its words and the names of its columns' fields.

    None if the dataset is gone. Safe to call from several threads and processes at once.
    """
    table = _table(db, dataset)
    while table is not None and _some_due(db, dataset):
        db.execute("BEGIN IMMEDIATE")
        try:
            table = _made_table(db, dataset)
            if table is not None:
                _index(db, dataset, *table)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    return table


def catch_up_vectors(db: sqlite3.Connection, settings: str) -> None:
    """Turn the vectors that changed into numbers, one blob of 32-bit floats each."""
    due = "SELECT record_id FROM assay_due_vectors WHERE vector_settings_id = ? LIMIT ?"
    while db.execute(due, (settings, 1)).fetchone():
        db.execute("BEGIN IMMEDIATE")
        try:
            records = [record for (record,) in db.execute(due, (settings, _BATCH))]
            for record in records:
                key = (settings, record)
                where = "WHERE vector_settings_id = ? AND record_id = ?"
                found = db.execute(f"SELECT value FROM vectors {where}", key).fetchone()
                db.execute(f"DELETE FROM assay_vectors {where}", key)
                if found:
                    numbers = array("f", map(float, json.loads(found[0]))).tobytes()
                    db.execute("INSERT INTO assay_vectors VALUES (?, ?, ?)", (*key, numbers))
                db.execute(f"DELETE FROM assay_due_vectors {where}", key)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise


def forget(db: sqlite3.Connection, dataset: str) -> None:
    """Drop the index of a dataset that was deleted."""
    db.execute("BEGIN IMMEDIATE")
    try:
        _forget(db, dataset)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _forget(db: sqlite3.Connection, dataset: str) -> None:
    for (number,) in db.execute("SELECT number FROM assay_texts WHERE dataset_id = ?", (dataset,)).fetchall():
        db.execute(f"DROP TABLE IF EXISTS assay_text_{number}")
    db.execute("DELETE FROM assay_texts WHERE dataset_id = ?", (dataset,))
    db.execute("DELETE FROM assay_due WHERE dataset_id = ?", (dataset,))
    db.execute("DELETE FROM assay_rows WHERE record_id NOT IN (SELECT id FROM records)")
    db.execute("DELETE FROM assay_vectors WHERE vector_settings_id NOT IN (SELECT id FROM vectors_settings)")
    db.execute("DELETE FROM assay_due_vectors WHERE vector_settings_id NOT IN (SELECT id FROM vectors_settings)")


def _some_due(db: sqlite3.Connection, dataset: str) -> bool:
    return db.execute("SELECT 1 FROM assay_due WHERE dataset_id = ? LIMIT 1", (dataset,)).fetchone() is not None


def _table(db: sqlite3.Connection, dataset: str) -> tuple[str, list[str]] | None:
    """The table of a dataset's words, made if it is missing or of other fields; None if there is no such dataset."""
    fields = _fields(db, dataset)
    found = db.execute("SELECT number, fields FROM assay_texts WHERE dataset_id = ?", (dataset,)).fetchone()
    if found and json.loads(found[1]) == fields:
        return f"assay_text_{found[0]}", fields
    db.execute("BEGIN IMMEDIATE")
    try:
        made = _made_table(db, dataset)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return made


def _made_table(db: sqlite3.Connection, dataset: str) -> tuple[str, list[str]] | None:
    if not db.execute("SELECT 1 FROM datasets WHERE id = ?", (dataset,)).fetchone():
        return None
    fields = _fields(db, dataset)
    found = db.execute("SELECT number, fields FROM assay_texts WHERE dataset_id = ?", (dataset,)).fetchone()
    if found and json.loads(found[1]) == fields:
        return f"assay_text_{found[0]}", fields
    if found:
        _forget(db, dataset)
    said = json.dumps(fields)
    number = db.execute("INSERT INTO assay_texts (dataset_id, fields) VALUES (?, ?)", (dataset, said)).lastrowid
    columns = ", ".join([EVERY, *(f"f{place}" for place in range(len(fields)))])
    db.execute(f'CREATE VIRTUAL TABLE assay_text_{number} USING fts5({columns}, tokenize = "{_TOKENIZER}")')
    db.execute(
        "INSERT OR IGNORE INTO assay_due SELECT id, dataset_id FROM records WHERE dataset_id = ?",
        (dataset,),
    )
    return f"assay_text_{number}", fields


def _fields(db: sqlite3.Connection, dataset: str) -> list[str]:
    """Names of a dataset's fields that hold text, in order; a published dataset keeps them."""
    rows = db.execute(
        "SELECT name FROM fields WHERE dataset_id = ? AND json_extract(settings, '$.type') <> 'image' "
        "ORDER BY inserted_at, id",
        (dataset,),
    )
    return [name for (name,) in rows]


def _index(db: sqlite3.Connection, dataset: str, table: str, fields: list[str]) -> None:
    """Index one batch of the records that are due, within a transaction."""
    due = db.execute(
        "SELECT assay_due.record_id, assay_rows.number, records.fields FROM assay_due "
        "LEFT JOIN assay_rows ON assay_rows.record_id = assay_due.record_id "
        "LEFT JOIN records ON records.id = assay_due.record_id WHERE assay_due.dataset_id = ? LIMIT ?",
        (dataset, _BATCH),
    ).fetchall()
    places = ", ".join("?" * (len(fields) + 2))
    columns = ", ".join(["rowid", EVERY, *(f"f{place}" for place in range(len(fields)))])
    for record, number, text in due:
        if number is not None:
            db.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))
        if text is None:
            db.execute("DELETE FROM assay_rows WHERE record_id = ?", (record,))
        else:
            if number is None:
                number = db.execute("INSERT INTO assay_rows (record_id) VALUES (?)", (record,)).lastrowid
            held: dict[str, Any] = json.loads(text) or {}
            words = [words_of_field(held.get(name)) for name in fields]
            db.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", (number, "x", *words))
        db.execute("DELETE FROM assay_due WHERE record_id = ?", (record,))
