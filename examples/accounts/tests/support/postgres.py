# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of one's own in a temporary directory, as an unprivileged user; stopped by its own pid."""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PROGRAMS = "/usr/lib/postgresql/15/bin"


def missing():
    """Why there can be none here, or nothing."""
    if not os.path.exists(os.path.join(PROGRAMS, "initdb")):
        return "PostgreSQL 15 is not installed (apt-get install postgresql-15)"
    if os.geteuid() == 0 and not any(user.pw_name == "postgres" for user in pwd.getpwall()):
        return "root must not run PostgreSQL, and there is no user postgres"
    return ""


def lives(pid):
    """Not of one that has ended and whose new parent has not asked for its status yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as of:
            return ") Z " not in of.read()
    except OSError:
        return False


class Postgres:
    def __init__(self, *settings):
        """`settings`: of the server, as `fsync=off`."""
        self.settings = [word for one in settings for word in ("-c", one)]
        self.owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.directory = tempfile.mkdtemp(prefix="accounts-postgres-")
        self.process = None
        self.count = 0
        try:
            if self.owner:
                os.chown(self.directory, self.owner.pw_uid, self.owner.pw_gid)
            self.data = os.path.join(self.directory, "data")
            self._run("initdb", "-D", self.data, "-A", "trust", "-U", "bank", "--no-sync", "--no-locale", "-E", "UTF8")
            with socket.socket() as of:
                of.bind(("127.0.0.1", 0))
                self.port = of.getsockname()[1]
            self.start()
        except BaseException:
            self.close()
            raise

    def _as_owner(self):
        return {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []} if self.owner else {}

    def _run(self, program, *arguments):
        done = subprocess.run([os.path.join(PROGRAMS, program), *arguments], cwd=self.directory, capture_output=True,
                              text=True, **self._as_owner())
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def start(self):
        """Starts it, and waits until it answers."""
        log = os.path.join(self.directory, "log")
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [os.path.join(PROGRAMS, "postgres"), "-D", self.data, "-p", str(self.port), "-k", self.directory,
                 "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60", *self.settings],
                cwd=self.directory, stdout=output, stderr=output, **self._as_owner())
        until = time.monotonic() + 30
        while True:
            try:
                self.query("postgres", "SELECT 1")
                return
            except RuntimeError as why:
                if self.process.poll() is not None or time.monotonic() > until:
                    with open(log, encoding="utf-8", errors="replace") as output:
                        raise RuntimeError(f"PostgreSQL does not start: {why}: {output.read()[-500:]}") from why
            time.sleep(0.05)

    def _everybody(self):
        """The server's processes; each is in a session of its own."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as of:
            children = [int(pid) for pid in of.read().split()]
        return [self.process.pid, *children]

    def _signal(self, everybody, what):
        for pid in everybody:
            try:
                os.kill(pid, what)
            except ProcessLookupError:
                pass  # ended by itself meanwhile

    def stop(self, how=signal.SIGINT):
        """SIGINT: at once, what runs is rolled back. SIGKILL: all of its processes, without a word."""
        if how == signal.SIGKILL:
            everybody = self._everybody()
            self._signal(everybody, signal.SIGKILL)
            self.process.wait(timeout=30)
            until = time.monotonic() + 30
            while left := [pid for pid in everybody if lives(pid)]:
                if time.monotonic() > until:
                    raise RuntimeError(f"PostgreSQL was killed, and of its processes there are still {left}")
                time.sleep(0.01)  # its memory is theirs, too
        else:
            self.process.send_signal(how)
            self.process.wait(timeout=30)

    def pause(self, seconds):
        """Nobody gets an answer for so long."""
        everybody = self._everybody()
        self._signal(everybody, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self._signal(everybody, signal.SIGCONT)

    def create(self):
        """A new database; gives its name."""
        self.count += 1
        name = f"bank_{self.count}"
        self.query("postgres", f"CREATE DATABASE {name}")
        return name

    def url(self, database):
        return f"postgresql://bank@127.0.0.1:{self.port}/{database}"

    def query(self, database, sql):
        """Rows of texts."""
        text = self._run("psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                         str(self.port), "-U", "bank", "-d", database, "-c", sql)
        return [line.split("\t") for line in text.splitlines()]

    def close(self):
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
