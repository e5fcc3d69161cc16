"""The tables' versions: what Alembic does to a database that another version of ClickPick made.

To change a table: change `backend.tables`, add a revision to the folder ``versions``, and name it in `HEAD`. Tables
without a version are of before there were migrations; the first revisions leave what is there alone.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from backend.errors import ConfigProblem

HEAD = "0006"
"""The revision that `backend.tables` describes; known here, so that an up-to-date database opens without Alembic."""
TABLE = "alembic_version"


def revision(connection: Connection) -> str | None:
    """The revision of a database; None for a new one, and for one of before there were migrations."""
    if not inspect(connection).has_table(TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {TABLE}")).scalar()  # noqa: S608 - our own name
    return None if found is None else str(found)


def upgrade(connection: Connection) -> None:
    """Bring a database to `HEAD`. The transaction must exclude other writers, so that one process does it.

    Raises ConfigProblem where a newer ClickPick has been at work.
    """
    current = revision(connection)
    if current == HEAD:
        return  # another process was first
    from alembic import command  # noqa: PLC0415 - a third of a second, and hardly ever needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if current is not None and current not in known:
        raise ConfigProblem(
            f"the tables of the database are of a newer ClickPick: their revision is {current}, and this version knows "
            f"{min(known)} to {max(known)}; start the newer version again, or restore a backup of before"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
