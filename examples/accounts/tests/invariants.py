#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random transfers while everything goes wrong, and the books afterwards.

usage: invariants.py BINARY [--postgres] [--loops 1] [--seconds 600] [--clients 8] [--seed N]
exit: 0 all holds, 1 something does not, 2 usage, 77 there is no PostgreSQL

Clients move money, each transfer under a key of its own. Some leave in the middle of a request or before the answer, some set deadlines that
are too short, and whoever got no answer asks again with the same key, now and at the end. Meanwhile the service is stalled (SIGSTOP), stopped
(SIGTERM) and killed (SIGKILL), and started again on the same database; with --postgres, the database server, too. What must hold: no money appears or is lost, every 201 that a client
saw is there as it was told, each key moved money at most once, nothing is in use when nobody asks any more, no request opens a file for good, and the service neither ends by
itself nor answers 500.

The seed is printed; the same seed makes the same choices (when they meet is up to the machine).
"""
import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

from support import postgres

ACCOUNTS = 8
START_BALANCE = 1000


class Wrong(Exception):
    """Something that must hold does not."""


class Service:
    def __init__(self, binary, loops, directory, database):
        self.binary = binary
        self.loops = loops
        self.directory = directory
        self.database = database
        self.events = collections.Counter()
        self.port = 0
        self.process = None
        self.reader = None

    def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ACCOUNTS_")}
        self.process = subprocess.Popen(
            [self.binary, "--listen", "127.0.0.1:0", "--log", "json", "--db", self.database,
             "--loops", str(self.loops)],
            cwd=self.directory, env=environment, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            record = json.loads(line)
            if record["event"] == "listening":
                self.port = int(record["url"].rsplit(":", 1)[1])
                self.reader = threading.Thread(target=self._count, args=(self.process.stderr,))
                self.reader.start()
                return
        raise Wrong("the service did not start")

    def _count(self, lines):
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                self.events["half a line"] += 1  # of a process that was killed
                continue
            self.events[record["event"]] += 1
            if record["event"] in ("lost_failure", "forced_exit", "service_failed", "start_failed") or record.get("status") == 500:
                print(line, file=sys.stderr)

    def end(self, how):
        if (died := self.process.poll()) is not None:
            raise Wrong(f"it had ended by itself, with status {died}")
        self.process.send_signal(how)
        status = self.process.wait(timeout=40)
        self.reader.join()
        self.process.stderr.close()
        if how == signal.SIGTERM and status != 0:
            raise Wrong(f"SIGTERM: exit status {status}")

    def ask(self, method, target, body=None, headers=None, timeout=30.0):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            fields = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, target, None if body is None else json.dumps(body), fields)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


class Client(threading.Thread):
    """Moves money until it is told to end."""

    def __init__(self, service, number, seed, ending):
        super().__init__()
        self.service = service
        self.number = number
        self.random = random.Random(f"{seed}/client {number}")
        self.ending = ending
        self.confirmed = {}  # key -> (body, transfer)
        self.open = {}  # key -> body: asked for, and nobody knows
        self.answers = collections.Counter()
        self.wrong = []

    def run(self):
        count = 0
        while not self.ending.is_set():
            count += 1
            source, target = self.random.sample(range(1, ACCOUNTS + 1), 2)
            body = {"from": source, "to": target, "amount": self.random.randint(1, 50)}
            what = self.random.random()
            key = f"{self.number}-{count}"
            if what < 0.15:
                self.vanish(key, body, part=self.random.random())
            elif what < 0.30 and self.open:
                key = self.random.choice(sorted(self.open))
                self.transfer(key, self.open[key], {})
            elif what < 0.40:
                self.transfer(key, body, {"Belay-Deadline-Ms": str(self.random.randint(1, 20))})
            else:
                self.transfer(key, body, {})

    def vanish(self, key, body, part):
        """Sends the request, or a part of it, and goes."""
        text = json.dumps(body)
        request = (f"POST /transfers HTTP/1.1\r\nHost: bank\r\nContent-Type: application/json\r\n"
                   f"Idempotency-Key: {key}\r\nContent-Length: {len(text)}\r\n\r\n{text}").encode()
        if part < 0.5:
            request = request[:int(len(request) * part * 2)]
        self.open[key] = body
        try:
            with socket.create_connection(("127.0.0.1", self.service.port), timeout=5) as of:
                of.sendall(request)
        except OSError:
            pass
        self.answers["vanished"] += 1

    def transfer(self, key, body, headers):
        self.open[key] = body
        try:
            status, answer = self.service.ask("POST", "/transfers", body, {"Idempotency-Key": key, **headers})
        except (OSError, http.client.HTTPException, ValueError):
            self.answers["no answer"] += 1
            time.sleep(0.02)  # it is being started again
            return
        self.answers[status] += 1
        if status == 201:
            del self.open[key]
            self.confirmed[key] = (body, answer)
            if {k: answer[k] for k in body} != body:
                self.wrong.append(f"{key}: asked for {body}, got {answer}")
        elif status in (409, 422):
            # No money: nothing was done, and the key is free.
            del self.open[key]
            if status == 422:
                self.wrong.append(f"{key}: {answer}")
        elif status not in (503, 504):
            self.wrong.append(f"{key}: {status} {answer}")


def disturb(service, server, rng, until, report):
    """Stalls, stops and kills the service, and the server of its database if there is one, until the time is over."""
    ways = ["stall", "stop", "kill"] + (["stall database", "stop database", "kill database"] if server else [])
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.2, 1.5))
        what = rng.choice(ways)
        if time.monotonic() >= until:
            break
        report[what] += 1
        if what == "stall":
            service.process.send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.05, 0.6))
            service.process.send_signal(signal.SIGCONT)
        elif what == "stall database":
            server.pause(rng.uniform(0.05, 0.6))
        elif what in ("stop database", "kill database"):
            server.stop(signal.SIGINT if what == "stop database" else signal.SIGKILL)
            server.start()
        else:
            service.end(signal.SIGTERM if what == "stop" else signal.SIGKILL)
            service.start()


def wait_for_idle(service, limit=20.0):
    until = time.monotonic() + limit
    idle = 0
    while True:
        # Each loop tells of itself, and the system chooses one for each connection.
        status, answer = service.ask("GET", "/health/ready")
        idle = idle + 1 if status == 200 and not any(answer["in_use"].values()) else 0
        if idle == (1 if service.loops == 1 else 10 * service.loops):
            return
        if time.monotonic() > until:
            raise Wrong(f"in use when nobody asks: {answer}")
        if idle == 0:
            time.sleep(0.02)


def check_open_files(service):
    """After many requests it has no more files and sockets open than before."""
    def ask(count):
        for number in range(count):
            service.ask("GET", f"/users/{number % ACCOUNTS + 1}/dashboard")
        wait_for_idle(service)

    def open_files():
        return len(os.listdir(f"/proc/{service.process.pid}/fd"))

    ask(20 * service.loops)
    before = open_files()
    ask(200)
    until = time.monotonic() + 20
    while open_files() > before:
        if time.monotonic() > until:
            raise Wrong(f"{open_files()} open files after 200 requests, {before} before")
        time.sleep(0.02)


class File:
    """The books in SQLite."""

    def __init__(self, path):
        self.path = path

    def query(self, sql):
        with sqlite3.connect(self.path) as db:
            return list(db.execute(sql))


class Server:
    """The books in PostgreSQL."""

    def __init__(self, server, database):
        self.server = server
        self.database = database

    def query(self, sql):
        rows = self.server.query(self.database, sql)
        return [tuple(int(text) if text.lstrip("-").isdigit() else text for text in row) for row in rows]


def check_books(books, clients):
    for account, balance, expected in books.query(
            "SELECT id, balance, (SELECT coalesce(sum(amount), 0) FROM deposits WHERE account_id = a.id)"
            " + (SELECT coalesce(sum(amount), 0) FROM transfers WHERE to_id = a.id)"
            " - (SELECT coalesce(sum(amount), 0) FROM transfers WHERE from_id = a.id) FROM accounts a"):
        if balance != expected or balance < 0:
            raise Wrong(f"account {account} has {balance}, its transfers say {expected}")
    (total,), = books.query("SELECT sum(balance) FROM accounts")
    if total != ACCOUNTS * START_BALANCE:
        raise Wrong(f"{total} in all accounts, {ACCOUNTS * START_BALANCE} were paid in")
    made = {row[0]: row[1:] for row in books.query("SELECT id, from_id, to_id, amount FROM transfers")}
    keys = dict(books.query("SELECT key, transfer_id FROM idempotency_keys"))
    if sorted(keys.values()) != sorted(made):
        raise Wrong("transfers and keys do not belong to each other one to one")
    for client in clients:
        for key, (body, answer) in client.confirmed.items():
            if keys.get(key) != answer["id"] or made[answer["id"]] != (body["from"], body["to"], body["amount"]):
                raise Wrong(f"{key}: a client was told {answer}, the books say {made.get(keys.get(key))}")
    return len(made)


def serve(service, server, books, seconds, count, seed):
    for number in range(1, ACCOUNTS + 1):
        status, answer = service.ask("POST", "/users", {"email": f"user{number}@example.com", "name": "Ada"})
        assert (status, answer.get("id")) == (201, number), answer
        status, account = service.ask("POST", "/accounts", {"user_id": number})
        assert (status, account["id"]) == (201, number)
        assert service.ask("POST", f"/accounts/{number}/deposits", {"amount": START_BALANCE})[0] == 201
    ending = threading.Event()
    clients = [Client(service, number, seed, ending) for number in range(count)]
    disturbances = collections.Counter()
    try:
        for client in clients:
            client.start()
        disturb(service, server, random.Random(f"{seed}/disturb"), time.monotonic() + seconds, disturbances)
    finally:
        ending.set()
        for client in clients:
            client.join()
    # Whoever does not know asks once more: then everybody knows.
    for client in clients:
        for key, body in sorted(client.open.items()):
            client.transfer(key, body, {})
        if client.open:
            raise Wrong(f"client {client.number} got no answer at the end: {client.open}")
        if client.wrong:
            raise Wrong("\n".join(client.wrong))
    wait_for_idle(service)
    check_open_files(service)
    service.end(signal.SIGTERM)
    transfers = check_books(books, clients)
    answers = sum((client.answers for client in clients), collections.Counter())
    confirmed = sum(len(client.confirmed) for client in clients)
    if service.events["lost_failure"]:
        raise Wrong(f"{service.events['lost_failure']} failures were lost")
    print(f"{transfers} transfers, {confirmed} of them confirmed; answers {dict(answers)}; "
          f"disturbed by {dict(disturbances)}; records {dict(service.events)}")
    if confirmed == 0 or not disturbances:
        raise Wrong("nothing happened")


def run(binary, loops, server, seconds, count, seed):
    with tempfile.TemporaryDirectory() as directory:
        name = server.create() if server else ""
        books = Server(server, name) if server else File(os.path.join(directory, "bank.db"))
        service = Service(binary, loops, directory, server.url(name) if server else "sqlite:bank.db")
        service.start()
        try:
            serve(service, server, books, seconds, count, seed)
        finally:
            if service.process.poll() is None:
                service.end(signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    told = parser.parse_args()
    print(f"seed {told.seed}", flush=True)
    if told.postgres and postgres.missing():
        print(postgres.missing(), file=sys.stderr)
        return 77
    try:
        with postgres.Postgres() if told.postgres else contextlib.nullcontext() as server:
            run(os.path.abspath(told.binary), told.loops, server, told.seconds, told.clients, told.seed)
    except Wrong as wrong:
        print(f"invariants.py: seed {told.seed}: {wrong}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
