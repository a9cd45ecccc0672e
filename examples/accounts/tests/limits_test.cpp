// SPDX-License-Identifier: Apache-2.0
// How much a request may be: bodies of 1 MiB, heads of 16 KiB, and Expect: 100-continue.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

constexpr std::size_t largest_body = 1024 * 1024;

/// A valid body of exactly this size.
std::string padded(std::size_t size, std::string_view email) {
  std::string body = json_user(email);
  return body.append(size - body.size(), ' ');
}

std::string head_of_post(const std::string& field) {
  return "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + field + "\r\n\r\n";
}

}  // namespace

TEST_CASE("body: exactly 1 MiB is taken, announced or chunked") {
  bank app;
  client connection = app.connect();
  check_json(connection.post("/users", padded(largest_body, "full@example.com")), 201);
  const std::string body = padded(largest_body, "chunked@example.com");
  connection.send(head_of_post("Transfer-Encoding: chunked") + "80000\r\n" + body.substr(0, 0x80000) +
                  "\r\n80000\r\n" + body.substr(0x80000) + "\r\n0\r\n\r\n");
  check_json(connection.read(), 201);
}

TEST_CASE("body over 1 MiB, announced: 413 before it is sent") {
  bank app;
  for (const std::string length : {"1048577", "4294967296", "9223372036854775807"}) {
    CAPTURE(length);
    client connection = app.connect();
    connection.send(head_of_post("Content-Length: " + length));
    check_problem(connection.read(), 413, "payload_too_large", "/users");
    CHECK(connection.ends());
  }
}

TEST_CASE("body over 1 MiB, sent whole: the client can read its 413") {
  bank app;
  client announced = app.connect();
  announced.send(head_of_post("Content-Length: 3000000"));
  static_cast<void>(announced.try_send(std::string(3'000'000, ' ')));
  check_problem(announced.read(), 413, "payload_too_large", "/users");

  client chunked = app.connect();
  chunked.send(head_of_post("Transfer-Encoding: chunked"));
  const std::string chunk = "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
  for (int i = 0; i < 40 && !chunked.has_bytes(milliseconds{0}); ++i) {
    if (!chunked.try_send(chunk)) break;
  }
  check_problem(chunked.read(), 413, "payload_too_large", "/users");
}

TEST_CASE("body over 1 MiB in one announced chunk: 413") {
  bank app;
  client connection = app.connect();
  connection.send(head_of_post("Transfer-Encoding: chunked") + "fffffff\r\n" + std::string(4096, ' '));
  static_cast<void>(connection.try_send(std::string(largest_body, ' ')));
  check_problem(connection.read(), 413, "payload_too_large", "/users");
}

TEST_CASE("head: 15 KiB is taken") {
  bank app;
  CHECK(app.get("/health/live", {{"X-Long", std::string(15 * 1024, 'x')}}).status == 200);
  CHECK(app.get("/health/live?" + std::string(15 * 1024, 'x')).status == 200);
  fields many;
  for (int i = 0; i < 400; ++i) many.emplace_back("X-" + std::to_string(i), std::string(20, 'x'));
  CHECK(app.get("/health/live", many).status == 200);
}

TEST_CASE("head over 16 KiB: 431, and the connection closes") {
  bank app;
  fields many;
  for (int i = 0; i < 1000; ++i) many.emplace_back("X-" + std::to_string(i), std::string(20, 'x'));
  const std::vector<std::string> requests{
      make_request("GET", "/health/live", {}, {{"X-Long", std::string(17 * 1024, 'x')}}),
      make_request("GET", "/health/live", {}, many),
      make_request("GET", "/" + std::string(17 * 1024, 'x')),
      "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Endless: " + std::string(17 * 1024, 'x'),
      "GET /" + std::string(17 * 1024, 'x'),
      make_request("GET", "/health/live", {}, {{"X-Huge", std::string(500 * 1024, 'x')}}),
  };
  for (const std::string& request : requests) {
    CAPTURE(request.substr(0, 60));
    client connection = app.connect();
    static_cast<void>(connection.try_send(request));
    const auto answer = connection.read();
    CHECK(answer.status == 431);
    CHECK(answer.json().at("code") == "headers_too_large");
    CHECK(answer.closes());
    CHECK(connection.ends());
  }
}

TEST_CASE("Expect: 100-continue is honoured") {
  bank app;
  client connection = app.connect();
  const std::string body = json_user("patient@example.com");
  connection.send(head_of_post("Expect: 100-continue\r\nContent-Length: " + std::to_string(body.size())));
  const auto interim = connection.read();
  CHECK(interim.status == 100);
  CHECK(!connection.has_bytes(milliseconds{20}));
  connection.send(body);
  check_json(connection.read(), 201);
  CHECK(connection.get("/health/live").status == 200);
}

TEST_CASE("Expect: 100-continue with a body that is too large gets 413 at once") {
  bank app;
  client connection = app.connect();
  connection.send(head_of_post("Expect: 100-continue\r\nContent-Length: 1048577"));
  check_problem(connection.read(), 413, "payload_too_large", "/users");
}

TEST_CASE("after every kind of refused size the service answers and uses nothing") {
  bank app;
  for (int i = 0; i < 5; ++i) {
    client body = app.connect();
    body.send(head_of_post("Content-Length: 2000000"));
    CHECK(body.read().status == 413);
    client head = app.connect();
    static_cast<void>(head.try_send("GET /" + std::string(20'000, 'x')));
    CHECK(head.read().status == 431);
  }
  CHECK(app.wait_for_idle());
  check_json(app.post("/users", json_user("after@example.com")), 201);
}
