# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of our own in a temporary directory, as an unprivileged user."""

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

from .server import Broken, cpu_seconds_of_tree, free_port

HERE = Path("/usr/lib/postgresql/15/bin")


def installed() -> bool:
    return (HERE / "initdb").exists() and (os.geteuid() != 0 or any(u.pw_name == "postgres" for u in pwd.getpwall()))


class Postgres:
    """With its usual settings: what is committed is on the disk."""

    def __init__(self, directory: Path):
        self.directory, self.port = directory, free_port()
        # Root must not run it.
        self.owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        directory.mkdir()
        if self.owner is not None:
            os.chown(directory, self.owner.pw_uid, self.owner.pw_gid)
        self.data = directory / "data"
        self._run(HERE / "initdb", "-D", self.data, "-A", "trust", "-U", "bench", "--no-sync", "--no-locale", "-E", "UTF8")
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [HERE / "postgres", "-D", self.data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-k", directory],
                stdout=log, stderr=log, cwd=directory, **self._as_owner(),
            )  # fmt: skip
        end = time.monotonic() + 20
        while subprocess.run([HERE / "pg_isready", "-q", "-U", "bench", "-d", "postgres", "-h", "127.0.0.1", "-p", str(self.port)]).returncode != 0:
            if time.monotonic() > end or self.process.poll() is not None:
                self.stop()
                raise Broken("PostgreSQL does not start: " + (directory / "log").read_text()[-500:])
            time.sleep(0.05)

    def _as_owner(self) -> dict[str, object]:
        if self.owner is None:
            return {}
        return {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}

    def _run(self, *command: object) -> None:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=self.directory, **self._as_owner())
        if done.returncode != 0:
            raise Broken(f"{command[0]}: {done.stderr.strip()[-500:]}")

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(2)  # SIGINT: a fast shutdown
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def create(self, database: str) -> str:
        """A new database; gives its URL."""
        self.sql("postgres", f"CREATE DATABASE {database}")
        return f"postgresql://bench@127.0.0.1:{self.port}/{database}"

    def sql(self, database: str, text: str) -> None:
        self._run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port, "-U", "bench", "-d", database, "-c", text)

    def cpu(self) -> float:
        return cpu_seconds_of_tree(self.process.pid)
