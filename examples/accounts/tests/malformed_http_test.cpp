// SPDX-License-Identifier: Apache-2.0
// Bytes that are no request: the connection is told why and closed, the service goes on.
#include <doctest/doctest.h>

#include <random>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

const std::string good = make_request("GET", "/health/live");

/// The answer to the bytes, on a connection that must then be closed.
response answer_to(bank& app, std::string_view bytes) {
  client connection = app.connect();
  connection.send(bytes);
  response answer = connection.read();
  CHECK(answer.closes());
  CHECK(connection.ends());
  return answer;
}

}  // namespace

TEST_CASE("malformed requests: 400 and the connection closes") {
  bank app;
  const std::string host = "Host: x\r\n";
  const std::string post = "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
  const std::vector<std::string> requests{
      "garbage\r\n\r\n",
      "GET\r\n\r\n",
      "GET /health/live\r\n\r\n",
      "GET  /health/live HTTP/1.1\r\n" + host + "\r\n",
      "GET /health/live  HTTP/1.1\r\n" + host + "\r\n",
      "GET /health /live HTTP/1.1\r\n" + host + "\r\n",
      "G@T /health/live HTTP/1.1\r\n" + host + "\r\n",
      "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03\r\n\r\n",  // a TLS hello
      std::string("\0\0\0\0\r\n\r\n", 8),
      "GET /health/live HTTP/1.1\r\n\r\n",  // no Host
      "GET /health/live HTTP/1.1\r\n" + host + "Bad Name: x\r\n\r\n",
      "GET /health/live HTTP/1.1\r\n" + host + "Name : x\r\n\r\n",
      "GET /health/live HTTP/1.1\r\n" + host + "NoColon\r\n\r\n",
      "GET /health/live HTTP/1.1\r\n" + host + ": empty\r\n\r\n",
      "GET /health/live HTTP/1.1\r\n" + host + std::string("X: a\0b\r\n\r\n", 10),
      "GET /health/live HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n",
      post + "Content-Length: -1\r\n\r\n",
      post + "Content-Length: 1x\r\n\r\n",
      post + "Content-Length: 99999999999999999999999\r\n\r\n",
      post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
      post + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
      post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}garbage\r\n0\r\n\r\n",
      post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
  };
  for (const std::string& request : requests) {
    CAPTURE(request);
    const auto answer = answer_to(app, request);
    CHECK(answer.status == 400);
    CHECK(answer.json().at("code") == "bad_request");
    CHECK(answer.json().at("status") == 400);
    CHECK(text_of(answer.json().as_object(), "trace_id") == answer.trace_id());
    CHECK(app.get("/health/live").status == 200);
  }
}

TEST_CASE("targets that cannot be decoded: 400") {
  bank app;
  for (const std::string target : {"/users/%00", "/users/1%00", "/users?after=1%00", "/users/%zz",
                                   "/users/%2", "/users/%", "users", "*"}) {
    CAPTURE(target);
    const auto answer = app.get(target);
    CHECK(answer.status == 400);
    CHECK(answer.json().at("code") == "bad_request");
  }
}

TEST_CASE("unknown HTTP version: 505") {
  bank app;
  for (const std::string version : {"HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.9"}) {
    CAPTURE(version);
    const auto answer = answer_to(app, "GET /health/live " + version + "\r\nHost: x\r\n\r\n");
    CHECK(answer.status == 505);
    CHECK(answer.json().at("code") == "http_version_not_supported");
  }
  // The preface of HTTP/2 with prior knowledge.
  CHECK(answer_to(app, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status == 505);
}

TEST_CASE("garbage behind a good request: that one is answered, the rest refused") {
  bank app;
  for (const std::string& garbage : {std::string("garbage\r\n\r\n"), std::string("\0\x01\x02\r\n\r\n", 7),
                                     std::string("GET / HTTP/1.1\r\nbad line\r\n\r\n")}) {
    CAPTURE(garbage);
    client connection = app.connect();
    connection.send(make_request("GET", "/health/live") + garbage);
    CHECK(connection.read().status == 200);
    CHECK(connection.read().status == 400);
    CHECK(connection.ends());
  }
}

TEST_CASE("a body longer than announced: its rest is no request") {
  bank app;
  client connection = app.connect();
  const std::string body = json_user("long@example.com");
  connection.send(make_post("/users", body) + "{\"more\":1}\r\n\r\n");
  CHECK(connection.read().status == 201);
  CHECK(connection.read().status == 400);
  CHECK(connection.ends());
}

TEST_CASE("connections that end early: no failure, nothing left in use") {
  bank app;
  const std::string post = make_post("/users", json_user("early@example.com"));
  for (const std::string& part : {std::string(), good.substr(0, 4), good.substr(0, good.size() - 2),
                                  post.substr(0, post.size() - 5), std::string("\r\n")}) {
    CAPTURE(part);
    for (const std::string how : {"close", "abort", "half"}) {
      client connection = app.connect();
      connection.send(part);
      if (how == "close") connection.close();
      if (how == "abort") connection.abort();
      if (how == "half") {
        connection.half_close();
        CHECK(connection.ends());
      }
    }
  }
  CHECK(app.wait_for_idle());
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM users") == 0);
}

TEST_CASE("half-closed after a whole request: one whole answer or none, then the end") {
  bank app;
  for (int i = 0; i < 10; ++i) {
    client connection = app.connect();
    connection.send(make_post("/users", json_user("half" + std::to_string(i) + "@example.com")));
    connection.half_close();
    const auto answer = connection.try_read();
    if (answer) check_json(*answer, 201);
    CHECK(connection.ends());
  }
  CHECK(app.wait_for_idle());
}

TEST_CASE("random bytes: whatever comes, the service goes on") {
  bank app;
  app.allow_unread_answers();
  std::mt19937 random(20261121);
  for (int round = 0; round < 100; ++round) {
    std::string bytes =
        round % 2 == 0 ? make_post("/users", json_user("r@example.com")) : std::string(200, ' ');
    for (std::size_t i = 0; i < 1 + bytes.size() / 20; ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
    }
    client connection = app.connect();
    static_cast<void>(connection.try_send(bytes));
    connection.half_close();
    while (const auto answer = connection.try_read()) CHECK((answer->status < 500 || answer->status == 505));
  }
  CHECK(app.get("/health/live").status == 200);
}
