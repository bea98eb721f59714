"""Bring a server's database up to date: tables, search, a workspace and an account for everybody in the file of people.

Whatever is there already is left alone, so that it may run at every start, and while a server runs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from alembic import command  # type: ignore[import-not-found]
from alembic.config import Config  # type: ignore[import-not-found]
from argilla_server.contexts import accounts
from argilla_server.database import ALEMBIC_CONFIG_FILE, AsyncSessionLocal
from argilla_server.enums import UserRole
from argilla_server.models import User, Workspace, WorkspaceUser

from review.server import index, people

WORKSPACE = "review"
"""The workspace that everybody belongs to."""


def bring_up_to_date(database: Path) -> None:
    """Make or migrate Argilla's tables, and ours beside them."""
    db = index.connect(database)
    # Readers do not wait for a writer, and an answer is on disk when it is acknowledged: WAL, and synchronous=FULL,
    # which is SQLite's default and stays.
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    database.chmod(0o600)
    migrations = Config()  # not the file of it, which would set up logging anew
    migrations.set_main_option("script_location", str(Path(ALEMBIC_CONFIG_FILE).parent / "alembic"))
    command.upgrade(migrations, "head")
    db = index.connect(database)
    index.prepare(db)
    db.close()


async def make_accounts(folder: Path) -> None:
    """Make accounts for the people in the file that have none yet, and note in it that they have one now."""
    with people.alone(folder):
        known = people.read_people(folder)
        async with AsyncSessionLocal() as db:
            workspace = await Workspace.get_by(db, name=WORKSPACE)
            if workspace is None:
                workspace = await accounts.create_workspace(db, {"name": WORKSPACE})
            for person in known:
                if not person.made and await User.get_by(db, username=person.name) is None:
                    await _make(db, person, workspace.id)
        if not all(person.made for person in known):
            people.write_people(folder, [replace(person, made=True) for person in known])


async def _make(db: Any, person: people.Person, workspace: Any) -> None:
    user = await User.create(
        db,
        first_name=person.name,
        username=person.name,
        role=UserRole(person.role),
        api_key=person.api_key,
        password_hash=accounts.hash_password(person.password),
        autocommit=False,
    )
    await db.flush()
    await WorkspaceUser.create(db, workspace_id=workspace, user_id=user.id, autocommit=False)
    await db.commit()
