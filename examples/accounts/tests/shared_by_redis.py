#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Banks that share a Redis: what one learns of the service behind the quotes, the others know; without Redis each goes on by itself.

usage: shared_by_redis.py BINARY     exit: 0 all holds, 1 something does not, 2 usage, 77 there is no Redis
"""
import http.server
import json
import os
import sys
import threading
import time
import unittest

import black_box
from support import redis


class Upstream:
    """Quotes, or 503, as a test wants it; counts who asks."""

    def __init__(self):
        self.good = True
        self.asked = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.asked += 1
                body = json.dumps({"symbol": self.path.rsplit("/", 1)[1], "price": 5}).encode()
                self.send_response(200 if outer.good else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Banks(unittest.TestCase):
    def setUp(self):
        self.upstream = Upstream()
        self.addCleanup(self.upstream.close)
        self.redis = redis.Redis()
        self.addCleanup(self.redis.close)
        self.banks = []

    def start(self, *options, url=None):
        bank = black_box.Service("--quotes-url", self.upstream.url, "--redis", url or self.redis.url(), *options)
        self.banks.append(bank)
        self.addCleanup(lambda: bank.process.poll() is None and bank.stop())
        return bank

    def stop_all(self):
        for bank in self.banks:
            self.assertEqual(bank.stop(), 0)

    def open_breaker(self, bank, symbol="ABC"):
        """With a symbol of which there is no good quote yet."""
        self.upstream.good = False
        statuses = []
        while not statuses or statuses[-1] != 503:
            statuses.append(bank.ask("GET", f"/quotes/{symbol}").status)
            self.assertLess(len(statuses), 20, statuses)
        return statuses

    def wait_for_quote(self, bank):
        until = time.monotonic() + 20
        while bank.ask("GET", "/quotes/ABC").status != 200:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def events(self, bank, name):
        return [record for record in bank.records if record["event"] == name]

    def test_what_one_has_learned_the_others_know(self):
        one, other = self.start("--loops", "2"), self.start("--loops", "2")
        self.open_breaker(one)
        self.assertEqual(self.redis.keys(), ["accounts:v1:breaker:quotes"])
        before = self.upstream.asked
        for bank in (one, other):
            for _ in range(10):
                answer = bank.ask("GET", "/quotes/ABC")
                self.assertEqual((answer.status, answer.json()["code"]), (503, "quotes_unavailable"))
                self.assertIn(int(answer.headers["Retry-After"]), (1, 2))
        self.assertEqual(self.upstream.asked, before)
        self.upstream.good = True
        self.wait_for_quote(other)
        self.assertEqual(one.ask("GET", "/quotes/ABC").status, 200)
        self.stop_all()
        self.assertEqual(sum(len([r for r in self.events(b, "policy") if r["state"] == "open"]) for b in self.banks), 1)
        self.assertFalse(self.events(one, "lost_failure") + self.events(other, "lost_failure"))

    def test_without_redis_each_has_its_own(self):
        self.redis.kill()
        one, other = self.start(), self.start()
        for bank in (one, other):
            self.assertEqual(bank.ask("GET", "/quotes/ABC").status, 200)
        self.open_breaker(one, "XYZ")
        self.assertEqual(other.ask("GET", "/quotes/XYZ").status, 502)  # nobody has told it
        self.upstream.good = True
        self.assertEqual(other.ask("GET", "/quotes/XYZ").status, 200)
        self.stop_all()
        for bank in (one, other):
            # That Redis is away is told, and not with each request.
            told = self.events(bank, "lost_failure")
            self.assertEqual(len(told), 1, told)
            self.assertIn(f"127.0.0.1:{self.redis.port}", json.dumps(told))

    def test_a_redis_that_goes_and_comes_back(self):
        bank = self.start()
        self.assertEqual(bank.ask("GET", "/quotes/ABC").status, 200)
        self.redis.kill()
        for _ in range(5):
            self.assertEqual(bank.ask("GET", "/quotes/ABC").status, 200)
        self.redis.start()
        until = time.monotonic() + 20
        while not self.redis.keys():
            self.assertEqual(bank.ask("GET", "/quotes/ABC").status, 200)
            self.assertLess(time.monotonic(), until)
        self.stop_all()

    def test_a_redis_that_says_nothing_takes_little_time(self):
        bank = self.start()
        self.assertEqual(bank.ask("GET", "/quotes/ABC").status, 200)
        self.redis.stall()
        try:
            for _ in range(3):
                started = time.monotonic()
                answer = bank.ask("GET", "/quotes/ABC")
                self.assertEqual((answer.status, answer.json()["stale"]), (200, False))
                self.assertLess(time.monotonic() - started, 0.9)
            self.stop_all()
        finally:
            self.redis.go_on()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    black_box.BINARY = os.path.abspath(sys.argv.pop(1))
    if redis.missing():
        print(redis.missing(), file=sys.stderr)
        sys.exit(77)
    unittest.main()
