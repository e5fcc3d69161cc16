"""A real PostgreSQL server of a test's own: an empty cluster in a temporary folder, at a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 60.0


def binaries() -> Path | None:
    """Folder of the server's programs; None where PostgreSQL is not installed."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "postgres").is_file()), None)


class PostgresServer:
    """Use it as a context manager. The server refuses to run as root, so root's tests run it as another user."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="clickpick-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def __enter__(self) -> PostgresServer:
        command = [
            self._programs / "initdb",
            "-D",
            self._folder / "data",
            "-U",
            "tester",
            "-A",
            "trust",
            "-N",
        ]
        if os.geteuid() == 0:
            shutil.chown(self._folder, *self._user().values())
        subprocess.run(
            [*command, "--locale=C.UTF-8", "-E", "UTF8"],
            check=True, stdout=subprocess.DEVNULL, cwd=self._folder, **self._user(),
        )  # fmt: skip
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        log = (self._folder / "log").open("ab")
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._folder}",
        ]
        options = [word for setting in [*settings, "fsync=off"] for word in ("-c", setting)]
        with log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *options],
                stdout=log, stderr=log, cwd=self._folder, **self._user(),
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self._address("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends all connections and stops in good order, SIGQUIT stops as in a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_SECONDS)
            self._process = None

    def new_database(self) -> str:
        """The address of an empty database, as ClickPick is told it."""
        self._numbers += 1
        name = f"test{self._numbers}"
        self._run(f"CREATE DATABASE {name}")
        return self._address(name)

    def drop_database(self, url: str) -> None:
        self._run(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _address(self, name: str) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/{name}"

    def _user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        known = {entry.pw_name for entry in pwd.getpwall()}
        entry = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
        return {"user": entry.pw_uid, "group": entry.pw_gid}
