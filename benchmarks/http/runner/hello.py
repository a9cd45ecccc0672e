# SPDX-License-Identifier: Apache-2.0
"""GET /hello: the same answer from each server that is here."""

import http.client
import re
import shutil
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .load import closed_loop, fixed_rate, idle_connections
from .server import Broken, Server, free_port, resident_kib

ROOT = Path(__file__).resolve().parents[3]
PEERS = ROOT / "benchmarks/http/peers"
BUILT = ROOT / "build/bench/benchmarks/http"
GENERATOR = BUILT / "belay_http_load"
ANSWER = {"message": "hello, world"}
YARDSTICK = "bare epoll, C++"


@dataclass
class Peer:
    name: str
    command: list[str]  # PORT is replaced
    cwd: Path
    ours: bool = False
    env: dict[str, str] = field(default_factory=dict)
    counted: Path | None = None  # the same program, counting its allocations
    holds_idle: bool = True  # whether its memory for idle connections is measured

    def start(self, directory: Path) -> Server:
        port = free_port()
        command = [part.replace("PORT", str(port)) for part in self.command]
        # FastAPI's modules are found from where they are; logs go to the temporary directory.
        server = Server(self.name, command, port=port, cwd=directory, env={"PYTHONPATH": str(self.cwd), **self.env})
        try:
            server.wait_ready("/hello")
            server.check_json("/hello", ANSWER)
        except BaseException:
            server.stop()
            raise
        return server


def peers(directory: Path) -> tuple[list[Peer], list[str]]:
    """Those that can run here, and why others cannot."""
    found, missing = [], []
    for name, program, ours in (
        (YARDSTICK, "bare_epoll", False),
        ("Belay http::server", "hello_server", True),
        ("Belay service::app", "hello_app", True),
        ("Boost.Beast, C++", "beast", False),
    ):
        path = BUILT / f"belay_http_{program}"
        if not path.exists():
            raise Broken(f"{path} is not built: cmake --preset bench && cmake --build --preset bench --target belay_http_peers")
        counted = BUILT / f"belay_http_{program}_counted"
        found.append(Peer(name, [str(path), "PORT"], directory, ours, counted=counted if ours else None, holds_idle=program != "beast"))
    if go := shutil.which("go"):
        binary = directory / "hello_go"
        built = subprocess.run([go, "build", "-o", binary, PEERS / "hello.go"], capture_output=True, text=True, cwd=directory)
        if built.returncode != 0:
            raise Broken(f"go build: {built.stderr}")
        found.append(Peer("Go net/http", [str(binary), "PORT"], directory, env={"GOMAXPROCS": "1"}))
    else:
        missing.append("Go: install golang-go")
    if node := shutil.which("node"):
        found.append(Peer("node http", [node, str(PEERS / "hello.mjs"), "PORT"], directory))
    else:
        missing.append("node: install nodejs")
    if has_fastapi("uvloop", "httptools"):
        command = ["/usr/bin/python3", "-m", "uvicorn", "fastapi_hello:app", "--port", "PORT", *UVICORN]
        found.append(Peer("FastAPI, uvicorn", command, PEERS, holds_idle=False))
    else:
        missing.append("FastAPI: install python3-fastapi python3-uvicorn python3-uvloop python3-httptools")
    return found, missing


UVICORN = ["--loop", "uvloop", "--http", "httptools", "--workers", "1", "--no-access-log", "--log-level", "warning"]


def has_fastapi(*more: str) -> bool:
    names = ", ".join(("fastapi", "uvicorn", *more))
    return subprocess.run(["/usr/bin/python3", "-c", f"import {names}"], capture_output=True).returncode == 0


def allocations_per_request(peer: Peer, directory: Path) -> float:
    """The difference of two runs, so that start and end do not count."""

    def asked(requests: int) -> int:
        counting = Peer(peer.name + " counted", [str(peer.counted), "PORT"], directory)
        server = counting.start(directory)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            for _ in range(requests):
                connection.request("GET", "/hello")
                connection.getresponse().read()
            connection.close()
        finally:
            told = server.stop()
        return int(re.search(r"^allocations (\d+)$", told, re.MULTILINE)[1])

    return (asked(1100) - asked(100)) / 1000


@dataclass
class Row:
    name: str
    per_cpu_second: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)  # to the yardstick in the same round
    per_second: list[float] = field(default_factory=list)
    resident: int = 0
    percentiles: list[dict[str, float]] = field(default_factory=list)
    rate: float = 0
    allocations: float | None = None


def measure(who: list[Peer], directory: Path, seconds: float, rounds: int, say) -> list[Row]:
    rows = {p.name: Row(p.name) for p in who}
    for number in range(rounds):
        for peer in who:
            say(f"round {number + 1} of {rounds}: {peer.name}")
            server = peer.start(directory)
            try:
                row = rows[peer.name]
                closed_loop(server, "/hello", 1)
                done = closed_loop(server, "/hello", seconds)
                row.per_cpu_second.append(done.per_cpu_second)
                row.per_second.append(done.per_second)
                server.check_json("/hello", ANSWER)
                row.rate = done.per_second / 2
                row.percentiles.append(fixed_rate(server, GENERATOR, "/hello", row.rate, seconds))
                row.resident = max(row.resident, resident_kib(server.pid))
            finally:
                server.stop()
        yardstick = rows[YARDSTICK].per_cpu_second
        for row in rows.values():
            row.ratio.append(row.per_cpu_second[-1] / yardstick[-1])
    for peer in who:
        if peer.counted is not None:
            rows[peer.name].allocations = allocations_per_request(peer, directory)
    return list(rows.values())


def table(rows: list[Row]) -> str:
    lines = [
        "| GET /hello | requests per CPU second | to bare epoll | requests/s, closed loop | at half of that: p50 / p99 / p99.9, us | memory, MiB | allocations |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        at = {key: statistics.median(p[key] for p in row.percentiles) for key in ("p50_us", "p99_us", "p999_us")}
        allocations = "" if row.allocations is None else f"{row.allocations:.1f}"
        lines.append(
            f"| {row.name} | {statistics.median(row.per_cpu_second):,.0f} | {100 * statistics.median(row.ratio):.0f} % "
            f"| {statistics.median(row.per_second):,.0f} | {at['p50_us']:,.0f} / {at['p99_us']:,.0f} / {at['p999_us']:,.0f} "
            f"| {row.resident / 1024:.0f} | {allocations} |"
        )
    return "\n".join(lines)


def idle_table(who: list[Peer], directory: Path, count: int, say) -> str:
    lines = [f"| {count:,} idle connections | before, MiB | with them, MiB | KiB each |", "| --- | --- | --- | --- |"]
    for peer in who:
        if not peer.holds_idle:
            continue
        say(f"{count} idle connections: {peer.name}")
        server = peer.start(directory)
        try:
            before, after = idle_connections(server, "/hello", count)
        finally:
            server.stop()
        lines.append(f"| {peer.name} | {before / 1024:.1f} | {after / 1024:.1f} | {(after - before) / count:.1f} |")
    return "\n".join(lines)
