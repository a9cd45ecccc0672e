#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The contract of the service, asked by a client in another language: Python's standard library and nothing else.

usage: black_box.py BINARY [--postgres]     exit: 0 all holds, 1 something does not, 2 usage, 77 there is no PostgreSQL

Each service has a database of its own: a file, or one on a PostgreSQL that is started for this run. ACCOUNTS_TEST_DB names another, which
must be empty.
"""
import concurrent.futures
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

from support import postgres

TIME = re.compile(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")
TRACE = re.compile(r"\A00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\Z")
BINARY = ""
SERVER = None  # of PostgreSQL


class Service:
    """The service on a port and a database of its own."""

    def __init__(self, *options):
        self.directory = tempfile.TemporaryDirectory()
        self.records = []
        self.database = SERVER.create() if SERVER is not None else ""
        url = SERVER.url(self.database) if SERVER is not None else os.environ.get("ACCOUNTS_TEST_DB", "sqlite:bank.db")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ACCOUNTS_")}
        self.process = subprocess.Popen(
            [BINARY, "--listen", "127.0.0.1:0", "--log", "json", "--db", url, *options],
            cwd=self.directory.name, env=environment, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            record = json.loads(line)
            self.records.append(record)
            if record["event"] == "listening":
                self.port = int(record["url"].rsplit(":", 1)[1])
                break
        else:
            raise AssertionError("it did not start")
        self.reader = threading.Thread(target=self._collect)
        self.reader.start()

    def _collect(self):
        for line in self.process.stderr:
            self.records.append(json.loads(line))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=20)
        self.reader.join()
        self.process.stderr.close()
        self.directory.cleanup()
        return status

    def ask(self, method, target, body=None, headers=None, raw=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            fields = dict(headers or {})
            if body is not None:
                raw = json.dumps(body).encode()
                fields.setdefault("Content-Type", "application/json")
            connection.request(method, target, body=raw, headers=fields)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


def read_answers(of, count, heads_only=()):
    """Reads `count` answers with Content-Length from a socket: (status, header text, body)."""
    buffer = b""
    answers = []
    while len(answers) < count:
        while b"\r\n\r\n" not in buffer:
            piece = of.recv(65536)
            if not piece:
                return answers
            buffer += piece
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        status = int(head.split()[1])
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        wanted = int(length.group(1)) if length and len(answers) not in heads_only and status >= 200 else 0
        while len(buffer) < wanted:
            buffer += of.recv(65536)
        answers.append((status, head.decode(), buffer[:wanted]))
        buffer = buffer[wanted:]
    return answers


class Contract(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service()
        cls.users = 0

    @classmethod
    def tearDownClass(cls):
        status = cls.service.stop()
        assert status == 0, f"exit status {status}"
        bad = [r for r in cls.service.records if not {"time", "level", "event"} <= r.keys() or not TIME.match(r["time"])]
        assert not bad, bad

    def ask(self, *args, **kwargs):
        answer = self.service.ask(*args, **kwargs)
        self.assertRegex(answer.headers["traceparent"], TRACE)
        return answer

    def check_problem(self, answer, status, code=None, pointers=None):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers.get_content_type(), "application/problem+json")
        body = answer.json()
        self.assertEqual({"type", "title", "status", "detail", "instance", "code", "trace_id"}, body.keys() - {"errors"})
        self.assertEqual(body["status"], status)
        self.assertEqual(body["trace_id"], TRACE.match(answer.headers["traceparent"]).group(1))
        if code:
            self.assertEqual(body["code"], code)
        if pointers is not None:
            self.assertEqual({e["pointer"] for e in body["errors"]}, set(pointers))
        return body

    def add_user(self):
        Contract.users += 1
        answer = self.ask("POST", "/users", {"email": f"user{Contract.users}@example.com", "name": "Ada"})
        self.assertEqual(answer.status, 201, answer.body)
        return answer.json()["id"]

    def add_account(self, amount=0):
        answer = self.ask("POST", "/accounts", {"user_id": self.add_user()})
        self.assertEqual(answer.status, 201)
        account = answer.json()["id"]
        if amount:
            self.assertEqual(self.ask("POST", f"/accounts/{account}/deposits", {"amount": amount}).status, 201)
        return account

    def balance(self, account):
        return self.ask("GET", f"/accounts/{account}").json()["balance"]

    def test_users(self):
        made = self.ask("POST", "/users", {"email": "grace@example.com", "name": "Grace \u00fc \"Q\""})
        self.assertEqual(made.status, 201)
        user = made.json()
        self.assertEqual(user.keys(), {"id", "email", "name", "created_at"})
        self.assertEqual(user["name"], "Grace \u00fc \"Q\"")
        self.assertRegex(user["created_at"], TIME)
        self.assertEqual(made.headers["Location"], f"/users/{user['id']}")
        self.assertEqual(self.ask("GET", made.headers["Location"]).json(), user)
        again = self.ask("POST", "/users", {"email": "grace@example.com", "name": "Grace"})
        self.check_problem(again, 409, "email_taken")
        self.check_problem(self.ask("POST", "/users", {"email": "x", "name": ""}), 422, pointers={"/email", "/name"})
        self.check_problem(self.ask("GET", "/users/99999"), 404, "user_not_found")
        self.check_problem(self.ask("GET", "/users/abc"), 422, pointers={"/path/id"})

    def test_users_by_pages(self):
        ids = [self.add_user() for _ in range(3)]
        page = self.ask("GET", f"/users?limit=2&after={ids[0] - 1}")
        body = page.json()
        self.assertEqual([u["id"] for u in body["items"]], ids[:2])
        self.assertEqual(page.headers["Link"], f'</users?limit=2&after={body["next"]}>; rel="next"')
        self.check_problem(self.ask("GET", "/users?limit=0&after=x"), 422, pointers={"/query/limit", "/query/after"})

    def test_posts_comments_and_dashboard(self):
        user = self.add_user()
        post = self.ask("POST", f"/users/{user}/posts", {"title": "T", "body": "B"})
        self.assertEqual(post.status, 201)
        self.assertEqual(post.json().keys(), {"id", "user_id", "title", "body", "created_at"})
        comment = self.ask("POST", f"/posts/{post.json()['id']}/comments", {"user_id": user, "body": "C"})
        self.assertEqual(comment.status, 201)
        self.assertEqual(comment.json().keys(), {"id", "post_id", "user_id", "body", "created_at"})
        account = self.ask("POST", "/accounts", {"user_id": user}).json()
        page = self.ask("GET", f"/users/{user}/dashboard").json()
        self.assertEqual(page.keys(), {"user", "posts", "comments", "accounts"})
        self.assertEqual(page["posts"], [post.json()])
        self.assertEqual(page["comments"], [comment.json()])
        self.assertEqual(page["accounts"], [account])
        self.assertEqual(self.ask("GET", f"/users/{user}/dashboard?partial=true").json()["missing"], [])
        self.check_problem(self.ask("GET", "/users/99999/dashboard"), 404, "user_not_found")
        self.check_problem(self.ask("POST", "/users/99999/posts", {"title": "T", "body": "B"}), 404, "user_not_found")
        self.check_problem(self.ask("POST", "/posts/99999/comments", {"user_id": user, "body": "B"}), 404,
                           "post_not_found")
        for where, body in ((f"/users/{user}/posts", {"title": "T"}), (f"/posts/{post.json()['id']}/comments", {"user_id": user})):
            self.check_problem(self.ask("POST", where, {**body, "body": "a\0b"}), 422, pointers={"/body"})

    def test_transfers(self):
        one, other = self.add_account(100), self.add_account()
        made = self.ask("POST", "/transfers", {"from": one, "to": other, "amount": 60})
        self.assertEqual(made.status, 201)
        self.assertEqual(made.json().keys(), {"id", "from", "to", "amount", "created_at"})
        self.assertEqual((self.balance(one), self.balance(other)), (40, 60))
        poor = self.ask("POST", "/transfers", {"from": one, "to": other, "amount": 41})
        self.check_problem(poor, 409, "insufficient_funds")
        self.check_problem(self.ask("POST", "/transfers", {"from": one, "to": 99999, "amount": 1}), 404)
        self.check_problem(self.ask("POST", "/transfers", {"from": one, "to": one, "amount": 0}), 422,
                           pointers={"/to", "/amount"})
        self.check_problem(self.ask("POST", "/transfers", {}), 422, pointers={"/from", "/to", "/amount"})
        self.check_problem(self.ask("POST", "/transfers", {"from": one, "to": other, "amount": 1.5}), 422,
                           pointers={"/amount"})
        self.assertEqual((self.balance(one), self.balance(other)), (40, 60))

    def test_idempotency_keys(self):
        one, other = self.add_account(100), self.add_account()
        key = {"Idempotency-Key": f"key-{one}"}
        body = {"from": one, "to": other, "amount": 10}
        first = self.ask("POST", "/transfers", body, key)
        second = self.ask("POST", "/transfers", body, key)
        self.assertEqual((first.status, second.status), (201, 201))
        self.assertEqual(first.json(), second.json())
        self.check_problem(self.ask("POST", "/transfers", {**body, "amount": 11}, key), 422, "idempotency_mismatch")
        self.assertEqual(self.balance(one), 90)
        # At the same time: once.
        key = {"Idempotency-Key": f"race-{one}"}
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.ask("POST", "/transfers", body, key)))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({a.status for a in answers}, {201})
        self.assertEqual(len({a.body for a in answers}), 1)
        self.assertEqual(self.balance(one), 80)

    def test_a_key_whose_transfer_takes_all_the_money(self):
        # Who had to wait for the transfer under the same key is told of it, and not that there is no money.
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            for _ in range(15):
                order = {"from": self.add_account(100), "to": self.add_account(), "amount": 100}
                key = {"Idempotency-Key": f"all-{uuid.uuid4()}"}
                answers = list(threads.map(lambda _: self.service.ask("POST", "/transfers", order, key), range(4)))
                self.assertEqual([a.status for a in answers], [201] * 4, [a.body for a in answers])
                self.assertEqual(len({a.json()["id"] for a in answers}), 1)

    def test_deposits_do_not_overflow(self):
        account = self.add_account(2**63 - 1)
        self.check_problem(self.ask("POST", f"/accounts/{account}/deposits", {"amount": 1}), 422, "balance_overflow")
        self.check_problem(self.ask("POST", f"/accounts/{account}/deposits", {"amount": 2**63}), 422,
                           pointers={"/amount"})
        self.assertEqual(self.balance(account), 2**63 - 1)
        self.check_problem(self.ask("POST", "/accounts/99999/deposits", {"amount": 1}), 404, "account_not_found")

    def test_reports(self):
        user = self.add_user()
        asked = self.ask("POST", "/reports", {"user_id": user})
        self.assertEqual(asked.status, 202)
        where = asked.headers["Location"]
        for _ in range(1000):
            report = self.ask("GET", where).json()
            if report["state"] != "pending":
                break
            time.sleep(0.01)
        self.assertEqual(report["state"], "done")
        self.check_problem(self.ask("GET", "/reports/99999"), 404, "report_not_found")

    def test_quotes_without_an_upstream(self):
        answer = self.ask("GET", "/quotes/ABC")
        self.check_problem(answer, 503, "quotes_unavailable")
        self.assertTrue(int(answer.headers["Retry-After"]) >= 1)

    def test_errors_before_the_handler(self):
        self.check_problem(self.ask("GET", "/nothing"), 404, "not_found")
        refused = self.ask("DELETE", "/users")
        self.check_problem(refused, 405, "method_not_allowed")
        self.assertEqual({m.strip() for m in refused.headers["Allow"].split(",")}, {"GET", "HEAD", "POST", "OPTIONS"})
        self.check_problem(self.ask("POST", "/users", raw=b"{", headers={"Content-Type": "application/json"}), 400,
                           "malformed_json")
        self.check_problem(self.ask("POST", "/users", raw=b"{}", headers={"Content-Type": "text/plain"}), 415)
        self.check_problem(self.ask("POST", "/users", raw=b" " * (2**20 + 1),
                                    headers={"Content-Type": "application/json"}), 413)
        self.check_problem(self.ask("GET", "/users", headers={"X-Large": "x" * 17000}), 431)

    def test_deadlines(self):
        self.assertEqual(self.ask("GET", "/users", headers={"Belay-Deadline-Ms": "5000"}).status, 200)
        self.check_problem(self.ask("GET", "/users", headers={"Belay-Deadline-Ms": "0"}), 400)
        self.check_problem(self.ask("GET", "/users", headers={"Belay-Deadline-Ms": "soon"}), 400)

    def test_trace_context(self):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        answer = self.ask("GET", "/users", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
        self.assertEqual(TRACE.match(answer.headers["traceparent"]).group(1), trace)

    def test_head_has_no_body(self):
        with self.service.socket() as of:
            of.sendall(b"HEAD /users HTTP/1.1\r\nHost: a\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            head, live = read_answers(of, 2, heads_only={0})
        self.assertEqual((head[0], live[0]), (200, 200))
        self.assertRegex(head[1].lower(), r"content-length: [1-9]")
        self.assertEqual(json.loads(live[2]), {"status": "ok"})

    def test_chunked_body(self):
        body = json.dumps({"email": "chunked@example.com", "name": "Ada"}).encode()
        with self.service.socket() as of:
            of.sendall(b"POST /users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                       b"Transfer-Encoding: chunked\r\n\r\n")
            for byte in body:
                of.sendall(b"1;x=y\r\n" + bytes([byte]) + b"\r\n")
            of.sendall(b"0\r\nTrailer: ignored\r\n\r\n")
            (status, _, text), = read_answers(of, 1)
        self.assertEqual(status, 201)
        self.assertEqual(json.loads(text)["email"], "chunked@example.com")

    def test_pipelining_keeps_the_order(self):
        ids = [self.add_user() for _ in range(10)]
        with self.service.socket() as of:
            of.sendall(b"".join(f"GET /users/{i} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for i in ids))
            answers = read_answers(of, len(ids))
        self.assertEqual([json.loads(body)["id"] for _, _, body in answers], ids)

    def test_expect_continue(self):
        body = b'{"email":"expects@example.com","name":"Ada"}'
        with self.service.socket() as of:
            of.sendall(b"POST /users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                       b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
            self.assertEqual(read_answers(of, 1)[0][0], 100)
            of.sendall(body)
            self.assertEqual(read_answers(of, 1)[0][0], 201)

    def test_unknown_version(self):
        with self.service.socket() as of:
            of.sendall(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n")
            self.assertEqual(read_answers(of, 1)[0][0], 505)

    def test_health(self):
        self.assertEqual(self.ask("GET", "/health/live").status, 200)
        ready = self.ask("GET", "/health/ready")
        self.assertEqual((ready.status, ready.json()["status"]), (200, "ready"))

    def test_metrics_can_be_parsed(self):
        self.add_user()
        answer = self.ask("GET", "/metrics")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        text = answer.body.decode()
        self.assertTrue(text.endswith("\n"))
        sample = re.compile(r'\A([a-zA-Z_:][a-zA-Z0-9_:]*)'
                            r'(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)\Z')
        types = {}
        seen = set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, types)
                types[name] = kind
            elif not line.startswith("# HELP "):
                match = sample.match(line)
                self.assertTrue(match, line)
                float(match.group(3).replace("Inf", "inf"))
                family = match.group(1)
                if family not in types:
                    family = re.sub(r"_(bucket|sum|count)\Z", "", family)
                self.assertIn(family, types)
                self.assertNotIn(match.group(1, 2), seen)
                seen.add(match.group(1, 2))
        self.assertEqual(types["belay_http_requests_total"], "counter")
        self.assertEqual(types["belay_http_request_duration_seconds"], "histogram")

    def test_inspector(self):
        self.assertEqual(self.ask("GET", "/_belay/").status, 200)
        self.assertTrue(self.ask("GET", "/_belay/tasks.json").json())
        self.check_problem(self.ask("GET", "/_belay/", headers={"Host": "evil.example"}), 403)


    def subscribe(self, last=None):
        return Events.open(self.service, last)

    def test_events_one_for_each_transfer(self):
        one, other = self.add_account(1000), self.add_account()
        before = self.ask("POST", "/transfers", {"from": one, "to": other, "amount": 1}).json()
        with self.subscribe() as events, self.subscribe() as second:
            self.assertEqual(events.status, 200)
            self.assertIn("content-type: text/event-stream", events.head.lower())
            self.assertRegex(events.head, r"(?i)traceparent: 00-")
            made = [self.ask("POST", "/transfers", {"from": one, "to": other, "amount": n}).json() for n in (2, 3)]
            for stream in (events, second):
                # What is told of what happened just before is up to the database.
                event = stream.next()
                while int(event["id"]) <= before["id"]:
                    event = stream.next()
                for transfer in made:
                    if transfer is not made[0]:
                        event = stream.next()
                    self.assertEqual(event["event"], "transfer")
                    self.assertEqual(event["id"], str(transfer["id"]))
                    self.assertEqual(json.loads(event["data"]), transfer)
        # Whoever comes back gets what happened since.
        with self.subscribe(before["id"]) as events:
            ids = [int(events.next()["id"]) for _ in made]
        self.assertEqual(ids, [transfer["id"] for transfer in made])
        # Of one that was never told of, nothing comes after it.
        with self.subscribe(10**12) as events:
            events.socket.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                events.next()
        self.check_problem(self.ask("GET", "/events", headers={"Last-Event-ID": "x"}), 422,
                           pointers={"/header/Last-Event-ID"})

    def test_events_of_a_long_time_come_in_order(self):
        with self.subscribe(0) as events:
            one, other = self.add_account(1000), self.add_account()
            for _ in range(150):
                last = self.ask("POST", "/transfers", {"from": one, "to": other, "amount": 1}).json()["id"]
            ids = []
            while not ids or ids[-1] < last:
                ids.append(int(events.next()["id"]))
        self.assertEqual(ids, list(range(1, last + 1)))

    def test_events_leave_nothing_when_the_client_goes(self):
        streams = [self.subscribe() for _ in range(5)]
        self.assertEqual(self.ask("GET", "/health/ready").json()["in_use"]["subscribers"], 5)
        for stream in streams:
            stream.close()
        for _ in range(1000):
            left = self.ask("GET", "/health/ready").json()["in_use"]["subscribers"]
            if left == 0:
                break
            time.sleep(0.01)
        self.assertEqual(left, 0)


class Events:
    """A stream of server-sent events in chunks, as it comes."""

    def __init__(self, of):
        self.socket = of
        self.file = of.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.head = ""
        while (line := self.file.readline().decode()) != "\r\n":
            self.head += line
        self.text = b""

    @staticmethod
    def open(service, last=None):
        of = service.socket()
        after = "" if last is None else f"Last-Event-ID: {last}\r\n"
        of.sendall(f"GET /events HTTP/1.1\r\nHost: a\r\n{after}\r\n".encode())
        return Events(of)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def next(self):
        """The next event as a dict; None when the stream has ended in good order."""
        while True:
            while b"\n\n" not in self.text:
                size = int(self.file.readline(), 16)
                self.text += self.file.read(size)
                assert self.file.readline() == b"\r\n"
                if size == 0:
                    return None
            block, self.text = self.text.split(b"\n\n", 1)
            event = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
            if "data" in event:
                return event


class Loops(unittest.TestCase):
    """Several loops, which share one port, are one bank."""

    @classmethod
    def setUpClass(cls):
        cls.service = Service("--loops", "3")
        first = cls.service.ask("POST", "/users", {"email": "ada@example.com", "name": "Ada"}).json()["id"]
        cls.user = first
        cls.accounts = [cls.service.ask("POST", "/accounts", {"user_id": first}).json()["id"] for _ in range(2)]
        for account in cls.accounts:
            assert cls.service.ask("POST", f"/accounts/{account}/deposits", {"amount": 1000}).status == 201

    @classmethod
    def tearDownClass(cls):
        status = cls.service.stop()
        assert status == 0, f"exit status {status}"
        steps = {step["name"] for step in cls.service.records[-1]["steps"]}
        assert {"database", "loop 1: database", "loop 2: database"} <= steps, steps

    def transfer(self, key=None):
        body = {"from": self.accounts[0], "to": self.accounts[1], "amount": 1}
        return self.service.ask("POST", "/transfers", body, {"Idempotency-Key": key} if key else None)

    def everywhere(self, ask, count=24):
        """What `ask` gives, `count` times on threads and connections of their own: so on all loops."""
        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            return [one.result() for one in [threads.submit(ask) for _ in range(count)]]

    def test_events_of_all_loops_reach_all_subscribers_at_once(self):
        streams = [Events.open(self.service) for _ in range(16)]
        try:
            seen = {self.service.ask("GET", "/health/ready").json()["in_use"]["subscribers"] for _ in range(40)}
            self.assertGreater(len(seen), 1, "all on one loop")
            started = time.monotonic()
            for _ in range(20):
                made = self.transfer().json()["id"]
                for stream in streams:
                    while int(stream.next()["id"]) < made:
                        pass  # of a test before
            # By looking each second alone, it would be 20 seconds at least.
            self.assertLess(time.monotonic() - started, 10)
        finally:
            for stream in streams:
                stream.close()

    def test_a_key_is_used_once(self):
        answers = self.everywhere(lambda: self.transfer("on-all-loops"))
        self.assertEqual({answer.status for answer in answers}, {201})
        self.assertEqual(len({answer.body for answer in answers}), 1)

    def test_no_money_is_lost(self):
        answers = self.everywhere(lambda: [self.transfer().status for _ in range(4)])
        self.assertEqual({status for of in answers for status in of}, {201})
        balances = [self.service.ask("GET", f"/accounts/{account}").json()["balance"] for account in self.accounts]
        self.assertEqual(sum(balances), 2000)

    def test_reports_that_any_loop_is_asked_for_are_made(self):
        for answer in self.everywhere(lambda: self.service.ask("POST", "/reports", {"user_id": self.user}), 12):
            self.assertEqual(answer.status, 202)
            until = time.monotonic() + 20
            while (state := self.service.ask("GET", answer.headers["Location"]).json()["state"]) == "pending":
                self.assertLess(time.monotonic(), until)
                time.sleep(0.02)
            self.assertEqual(state, "done")


class LoopsWithoutUpstream(unittest.TestCase):
    def test_the_breaker_is_one_for_all_loops(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and does not listen
            service = Service("--loops", "3", "--quotes-url", f"http://127.0.0.1:{nobody.getsockname()[1]}/")
            try:
                while (status := service.ask("GET", "/quotes/ABC").status) != 503:
                    self.assertEqual(status, 502)
                self.assertEqual({service.ask("GET", "/quotes/ABC").status for _ in range(30)}, {503})
                opened = [r for r in service.records if r["event"] == "policy" and r["state"] == "open"]
                self.assertEqual(len(opened), 1)
            finally:
                self.assertEqual(service.stop(), 0)


class InterruptedCommit(unittest.TestCase):
    def test_nobody_knows_and_asking_again_with_the_key_is_safe(self):
        if SERVER is None:
            self.skipTest("of PostgreSQL only: a file does not go away")
        service = Service()
        try:
            user = service.ask("POST", "/users", {"email": "ada@example.com", "name": "Ada"}).json()["id"]
            accounts = [service.ask("POST", "/accounts", {"user_id": user}).json()["id"] for _ in range(2)]
            service.ask("POST", f"/accounts/{accounts[0]}/deposits", {"amount": 100})
            SERVER.query(service.database, """
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON transfers DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION slow()""")
            order = {"from": accounts[0], "to": accounts[1], "amount": 10}
            with concurrent.futures.ThreadPoolExecutor(1) as threads:
                asked = threads.submit(service.ask, "POST", "/transfers", order, {"Idempotency-Key": "once"})
                until = time.monotonic() + 10
                while SERVER.query("postgres", "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' "
                                   "AND state = 'active'") == [["0"]]:
                    self.assertLess(time.monotonic(), until)
                SERVER.stop(signal.SIGKILL)
                answer = asked.result()
            self.assertEqual((answer.status, answer.json()["code"]), (504, "outcome_unknown"))
            self.assertNotIn("Retry-After", answer.headers)
            self.assertNotIn("postgres", answer.body.decode())
            SERVER.start()
            SERVER.query(service.database, "DROP TRIGGER slow ON transfers")
            until = time.monotonic() + 20
            while (again := service.ask("POST", "/transfers", order, {"Idempotency-Key": "once"})).status != 201:
                self.assertIn(again.status, (503, 504))
                self.assertLess(time.monotonic(), until)
            self.assertEqual(service.ask("GET", f"/accounts/{accounts[1]}").json()["balance"], 10)
        finally:
            if SERVER.process.poll() is not None:
                SERVER.start()
            self.assertEqual(service.stop(), 0)
        told = [record for record in service.records if record.get("code") == "outcome_unknown"]
        self.assertEqual(len(told), 1)
        self.assertIn("pg_xact_status", json.dumps(told))


class Shutdown(unittest.TestCase):
    def test_sigterm_ends_the_events_in_good_order(self):
        service = Service()
        of = service.socket()
        of.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        with Events(of) as events:
            self.assertEqual(events.status, 200)
            self.assertEqual(service.stop(), 0)
            self.assertIsNone(events.next())

    def test_sigterm_ends_with_0_and_a_report(self):
        service = Service()
        self.assertEqual(service.ask("GET", "/users").status, 200)
        self.assertEqual(service.stop(), 0)
        self.assertEqual(service.records[-1]["event"], "shutdown_report")

    def test_usage(self):
        run = subprocess.run([BINARY, "--nonsense"], capture_output=True, timeout=20, check=False)
        self.assertEqual(run.returncode, 2)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    BINARY = os.path.abspath(sys.argv.pop(1))
    if "--postgres" not in sys.argv:
        unittest.main()
    sys.argv.remove("--postgres")
    if postgres.missing():
        print(postgres.missing(), file=sys.stderr)
        sys.exit(77)
    with postgres.Postgres() as SERVER:
        unittest.main()
