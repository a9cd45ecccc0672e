# SPDX-License-Identifier: Apache-2.0
"""The dashboard and the transfers of the reference service, beside the same on FastAPI and asyncpg."""

import json
import random
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import postgres
from .hello import GENERATOR, PEERS, ROOT, UVICORN, has_fastapi
from .load import closed_loop, fixed_rate
from .server import Broken, Server, free_port

# So many accounts that two transfers seldom meet; the first users have posts and a comment on each.
USERS, WRITERS, POSTS, BALANCE = 200, 20, 5, 10**12
ACCOUNTS = ROOT / "build/bench/examples/accounts/accounts"
DASHBOARD = "/users/7/dashboard"
SCRIPT = ROOT / "benchmarks/http/transfers.lua"

SEED = f"""
INSERT INTO users (email, name) SELECT 'user' || n || '@example.org', 'User ' || n FROM generate_series(1, {USERS}) n;
INSERT INTO posts (user_id, title, body) SELECT u, 'Post ' || n, repeat('text ', 20) FROM generate_series(1, {WRITERS}) u, generate_series(1, {POSTS}) n;
INSERT INTO comments (post_id, user_id, body) SELECT id, user_id, 'a comment' FROM posts;
INSERT INTO accounts (user_id, balance) SELECT u, {BALANCE} FROM generate_series(1, {USERS}) u;
ANALYZE;
"""


def created(server: Server, path: str, body: object) -> dict | None:
    status, _, text = server.request("POST", path, body)
    if status == 404:
        return None  # this service does not have it yet
    if status != 201:
        raise Broken(f"{server.name}: POST {path} is answered {status}: {text[:200]!r}")
    return json.loads(text)


def seed_by_requests(server: Server) -> None:
    for n in range(1, USERS + 1):
        user = created(server, "/users", {"email": f"user{n}@example.org", "name": f"User {n}"})["id"]
        for i in range(1, POSTS + 1 if n <= WRITERS else 1):
            post = created(server, f"/users/{user}/posts", {"title": f"Post {i}", "body": "text " * 20})
            if post is not None:
                created(server, f"/posts/{post['id']}/comments", {"user_id": user, "body": "a comment"})
        account = created(server, "/accounts", {"user_id": user})["id"]
        created(server, f"/accounts/{account}/deposits", {"amount": BALANCE})


@dataclass
class Row:
    name: str
    database: str
    dashboard: list[float] = field(default_factory=list)  # per CPU second of the service
    dashboard_total: list[float] = field(default_factory=list)  # and of the database
    transfers: list[float] = field(default_factory=list)
    transfers_total: list[float] = field(default_factory=list)
    percentiles: list[dict[str, float]] = field(default_factory=list)
    note: str = ""


class Service:
    """One of the two, with its data."""

    def __init__(self, row: Row, server: Server, database: postgres.Postgres | None):
        self.row, self.server, self.database = row, server, database

    def dashboard(self, user: int) -> dict:
        status, _, body = self.server.request("GET", f"/users/{user}/dashboard")
        if status != 200:
            raise Broken(f"{self.row.name}: the dashboard is answered {status}: {body[:200]!r}")
        return json.loads(body)

    def check_money(self) -> None:
        """Soon after the load: its last transfers may still be under way, and the balances are not read at one moment."""
        end = time.monotonic() + 5
        while sum(a["balance"] for u in range(1, USERS + 1) for a in self.dashboard(u)["accounts"]) != USERS * BALANCE:
            if time.monotonic() > end:
                raise Broken(f"{self.row.name}: money was lost or made")
            time.sleep(0.1)

    def check(self) -> None:
        """That it does what is measured."""
        page = self.dashboard(7)
        if set(page) != {"user", "posts", "comments", "accounts"} or page["user"]["email"] != "user7@example.org":
            raise Broken(f"{self.row.name}: the dashboard is {str(page)[:200]}")
        counts = len(page["posts"]), len(page["comments"])
        if counts != (POSTS, POSTS):
            self.row.note = f"its dashboard has {counts[0]} posts and {counts[1]} comments instead of {POSTS} of each"
        key = {"Idempotency-Key": f"check-{random.getrandbits(64)}"}
        order = {"from": 1, "to": 2, "amount": 3}
        answers = [self.server.request("POST", "/transfers", order, key) for _ in range(2)]
        if [a[0] for a in answers] != [201, 201] or json.loads(answers[0][2]) != json.loads(answers[1][2]):
            raise Broken(f"{self.row.name}: a transfer and the same again: {answers}")
        other = self.server.request("POST", "/transfers", {**order, "amount": 4}, key)
        if other[0] != 422 or json.loads(other[2])["code"] != "idempotency_mismatch":
            raise Broken(f"{self.row.name}: another transfer with the same key is answered {other[0]}")
        self.check_money()

    def load(self, path: str, seconds: float, per_cpu: list[float], total: list[float], **more) -> float:
        before = self.database.cpu() if self.database else 0.0
        done = closed_loop(self.server, path, seconds, 16, **more)
        database = self.database.cpu() - before if self.database else 0.0
        per_cpu.append(done.per_cpu_second)
        total.append(done.requests / (done.cpu + database))
        return done.per_second

    def measure(self, seconds: float) -> None:
        closed_loop(self.server, DASHBOARD, 1, 16)
        rate = self.load(DASHBOARD, seconds, self.row.dashboard, self.row.dashboard_total)
        self.row.percentiles.append(fixed_rate(self.server, GENERATOR, DASHBOARD, rate / 2, seconds, 16))
        arguments = [str(random.getrandbits(48)), str(USERS)]
        self.load("/transfers", seconds, self.row.transfers, self.row.transfers_total, script=SCRIPT, arguments=arguments)
        self.check_money()


def start_ours(row: Row, directory: Path, url: str, database: postgres.Postgres | None) -> Service:
    port = free_port()
    command = [str(ACCOUNTS), "--listen", f"127.0.0.1:{port}", "--db", url, "--log", "json"]
    server = Server(row.name, command, port=port, cwd=directory)
    service = Service(row, server, database)
    try:
        server.wait_ready("/health/ready")
        seed_by_requests(server)
        service.check()
    except BaseException:
        server.stop()
        raise
    return service


def start_fastapi(row: Row, directory: Path, url: str, database: postgres.Postgres) -> Service:
    port = free_port()
    command = ["/usr/bin/python3", "-m", "uvicorn", "service:app", "--port", str(port), *UVICORN]
    env = {"PYTHONPATH": str(PEERS / "fastapi_accounts"), "ACCOUNTS_DSN": url, "PYTHONDONTWRITEBYTECODE": "1"}
    server = Server(row.name, command, port=port, cwd=directory, env=env)
    service = Service(row, server, database)
    try:
        server.wait_ready(DASHBOARD)
        service.check()
    except BaseException:
        server.stop()
        raise
    return service


def takes_postgresql() -> bool:
    """Whether the service here speaks to PostgreSQL: nobody listens at this port, so it must fail otherwise than by usage (2)."""
    command = [str(ACCOUNTS), "--listen", "127.0.0.1:0", "--db", "postgresql://bench@127.0.0.1:1/none"]
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode != 2
    except subprocess.TimeoutExpired:
        return True


def measure(directory: Path, seconds: float, rounds: int, say, *, only_check: bool = False) -> tuple[list[Row], list[str]]:
    if not ACCOUNTS.exists():
        raise Broken(f"{ACCOUNTS} is not built: cmake --build --preset bench --target accounts")
    if not postgres.installed():
        return [], ["FastAPI accounts: install postgresql-15"]
    if not has_fastapi("uvloop", "httptools", "asyncpg"):
        return [], ["FastAPI accounts: install python3-fastapi python3-uvicorn python3-uvloop python3-httptools python3-asyncpg"]
    rows = {"fastapi": Row("FastAPI, asyncpg", "PostgreSQL"), "sqlite": Row("Belay accounts", "SQLite")}
    if takes_postgresql():
        rows["postgresql"] = Row("Belay accounts on PostgreSQL", "PostgreSQL")
    with postgres.Postgres(directory / "postgres") as database:
        for number in range(1 if only_check else rounds):
            for key, row in rows.items():
                say(f"round {number + 1} of {rounds}: {row.name}")
                if key == "fastapi":
                    url = database.create(f"fastapi{number}")
                    database.sql(f"fastapi{number}", (PEERS / "fastapi_accounts/schema.sql").read_text() + SEED)
                    service = start_fastapi(row, directory, url, database)
                elif key == "sqlite":
                    service = start_ours(row, directory, f"sqlite:{directory}/accounts{number}.db", None)
                else:
                    service = start_ours(row, directory, database.create(f"accounts{number}"), database)
                try:
                    if not only_check:
                        service.measure(seconds)
                finally:
                    service.server.stop()
    return list(rows.values()), []


def table(rows: list[Row]) -> str:
    peer = rows[0]
    lines = [
        "| service, database | dashboards per CPU second of the service | transfers per CPU second of the service "
        "| with the database's CPU: dashboards, transfers | dashboards at half load: p50 / p99 / p99.9, us |",
        "| --- | --- | --- | --- | --- |",
    ]

    def cell(own: list[float], theirs: list[float]) -> str:
        return f"{statistics.median(own):,.0f} ({statistics.median(a / b for a, b in zip(own, theirs)):.1f} x)"

    for row in rows:
        at = {k: statistics.median(p[k] for p in row.percentiles) for k in ("p50_us", "p99_us", "p999_us")}
        lines.append(
            f"| {row.name}, {row.database} | {cell(row.dashboard, peer.dashboard)} | {cell(row.transfers, peer.transfers)} "
            f"| {cell(row.dashboard_total, peer.dashboard_total)}, {cell(row.transfers_total, peer.transfers_total)} "
            f"| {at['p50_us']:,.0f} / {at['p99_us']:,.0f} / {at['p999_us']:,.0f} |"
        )
    lines += ["", *(f"{row.name}: {row.note}." for row in rows if row.note)]
    return "\n".join(lines).rstrip()
