# SPDX-License-Identifier: Apache-2.0
"""Load on a server, and what it costs: closed loop (wrk), fixed rate (belay_http_load), idle connections."""

import json
import re
import resource
import select
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .server import Broken, Server, cpu_seconds, pin, resident_kib


@dataclass
class Closed:
    requests: int
    seconds: float
    cpu: float

    @property
    def per_cpu_second(self) -> float:
        return self.requests / self.cpu

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def closed_loop(
    server: Server, path: str, seconds: float, connections: int = 32, script: Path | None = None, arguments: list[str] | None = None
) -> Closed:
    """As fast as `connections` clients can, each of which waits for its answer."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}"]
    if script is not None:
        command += ["-s", str(script)]
    command += [f"http://127.0.0.1:{server.port}{path}"]
    if arguments:
        command += ["--", *arguments]
    before = cpu_seconds(server.pid)
    told = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, preexec_fn=pin(1))
    cpu = cpu_seconds(server.pid) - before
    if told.returncode != 0:
        raise Broken(f"wrk: {told.stderr.strip()}")
    for trouble in ("Non-2xx", "Socket errors"):
        if trouble in told.stdout:
            line = next(line for line in told.stdout.splitlines() if trouble in line)
            raise Broken(f"{server.name}: {line.strip()}")
    counted = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", told.stdout)
    if counted is None or int(counted[1]) == 0:
        raise Broken(f"{server.name}: wrk counted nothing")
    took = float(counted[2]) * {"ms": 0.001, "s": 1, "m": 60}[counted[3]]
    return Closed(int(counted[1]), took, max(cpu, 0.01))


def fixed_rate(server: Server, generator: Path, path: str, rate: float, seconds: float, connections: int = 32) -> dict[str, float]:
    """So many requests a second, whatever the server does; latencies count from when each was due."""
    command = [str(generator), str(server.port), path, str(rate), str(seconds), str(connections)]
    before = cpu_seconds(server.pid)
    told = subprocess.run(command, capture_output=True, text=True, timeout=10 * seconds + 60, preexec_fn=pin(1))
    if told.returncode != 0:
        raise Broken(f"{server.name}: {told.stderr.strip()}")
    figures = json.loads(told.stdout)
    figures["cpu"] = cpu_seconds(server.pid) - before
    return figures


def idle_connections(server: Server, path: str, count: int) -> tuple[int, int]:
    """KiB of the process before and with `count` connections that have had an answer and are kept open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 100:
        raise Broken(f"RLIMIT_NOFILE is {hard}: too few for {count} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    opened: list[socket.socket] = []
    try:
        server.check_json(path, json.loads(server.request("GET", path)[2]))
        before = resident_kib(server.pid)
        while len(opened) < count:
            some = []
            for _ in range(min(200, count - len(opened))):
                s = socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=(f"127.0.1.{len(opened) % 200 + 1}", 0))
                opened.append(s)
                some.append(s)
                s.sendall(request)
            for s in some:
                if not s.recv(4096).startswith(b"HTTP/1.1 200"):
                    raise Broken(f"{server.name}: connection {len(opened)} got no answer")
        after = resident_kib(server.pid)
        gone = select.poll()
        for s in opened:
            gone.register(s, select.POLLIN)
        if ended := gone.poll(0):
            raise Broken(f"{server.name}: it has ended {len(ended)} of {count} connections")
        return before, after
    finally:
        for s in opened:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
