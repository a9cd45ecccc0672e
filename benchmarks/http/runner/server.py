# SPDX-License-Identifier: Apache-2.0
"""A server under measurement: started on a free port, checked, read from /proc, stopped by its own pid."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Broken(Exception):
    """A server that does not do what is measured: there is no figure for it."""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, also those that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_seconds_of_tree(pid: int) -> float:
    """Of a process and its children, with those that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total = sum(int(fields[i]) for i in (11, 12, 13, 14)) / TICKS
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            total += cpu_seconds(int(child))
        except FileNotFoundError:
            continue  # it has just ended; its parent counts it from now on
    return total


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Broken(f"process {pid} has no memory")


def pin(cpu: int):
    """Servers on one CPU, load on another, so that neither moves; on a machine with one, nothing."""
    if len(os.sched_getaffinity(0)) < 2:
        return None
    cpus = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cpus[cpu % len(cpus)]})


class Server:
    def __init__(self, name: str, command: list[str], *, port: int, cwd: Path, env: dict[str, str] | None = None):
        self.name, self.port, self.log = name, port, cwd / f"{name.replace(' ', '_').replace('/', '_')}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=cwd, env={**os.environ, **(env or {})}, preexec_fn=pin(0)
            )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> str:
        """Ends it, and gives what it has written."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.log.read_text(errors="replace")

    def request(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None):
        """Status, headers, body of one request on a connection of its own."""
        with_body = {} if body is None else {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {**with_body, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def wait_ready(self, path: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                if self.request("GET", path)[0] != 503:  # it listens, and is starting
                    return
            except OSError:
                pass  # not yet
            time.sleep(0.05)
        raise Broken(f"{self.name} does not serve: {self.stop()[-500:]}")

    def check_json(self, path: str, expected: object) -> None:
        """The answer to be measured: status, fields and body."""
        status, fields, body = self.request("GET", path)
        if status != 200:
            raise Broken(f"{self.name}: GET {path} is answered {status}")
        for field in ("Date", "Content-Length"):
            if field not in fields:
                raise Broken(f"{self.name}: the answer has no {field}")
        if fields.get_content_type() != "application/json":
            raise Broken(f"{self.name}: the answer is {fields.get_content_type()}")
        if fields.get("Connection", "keep-alive").lower() != "keep-alive":
            raise Broken(f"{self.name}: it does not keep the connection")
        if json.loads(body) != expected:
            raise Broken(f"{self.name}: the answer is {body[:200]!r}")
