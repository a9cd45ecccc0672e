// SPDX-License-Identifier: Apache-2.0
// Unknown routes, wrong methods, HEAD, keep-alive and pipelining.
#include <doctest/doctest.h>

#include <algorithm>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

bool lists(const std::string& allow, std::string_view method) {
  std::string packed = "," + allow + ",";
  std::erase(packed, ' ');
  return packed.find("," + std::string(method) + ",") != std::string::npos;
}

}  // namespace

TEST_CASE("unknown route: 404, whatever the method") {
  bank app;
  client connection = app.connect();
  for (const std::string target :
       {"/", "/nowhere", "/users/", "//users", "/Users", "/users/1/", "/users/1/nothing", "/health",
        "/users/1/dashboard/x", "/accounts", "/../etc/passwd", "/users/../users", "/%75sers/x/y"}) {
    CAPTURE(target);
    if (target == "/accounts") continue;  // a route, but not for GET: see below
    check_problem(connection.get(target), 404, "not_found", target);
  }
  check_problem(connection.post("/nowhere", "{}"), 404, "not_found", "/nowhere");
  check_problem(connection.request("DELETE", "/nowhere"), 404, "not_found", "/nowhere");
  check_problem(connection.get("/nowhere?secret=1"), 404, "not_found", "/nowhere");
}

TEST_CASE("wrong method: 405 with the methods that are allowed") {
  bank app;
  struct row {
    std::string target;
    std::vector<std::string> allowed;
  };
  client connection = app.connect();
  for (const row& route :
       {row{"/users", {"GET", "POST"}}, row{"/users/1", {"GET"}}, row{"/users/1/dashboard", {"GET"}},
        row{"/accounts", {"POST"}}, row{"/accounts/1", {"GET"}}, row{"/accounts/1/deposits", {"POST"}},
        row{"/transfers", {"POST"}}, row{"/health/live", {"GET"}}, row{"/health/ready", {"GET"}}}) {
    for (const std::string method : {"GET", "POST", "PUT", "DELETE", "PATCH"}) {
      if (std::ranges::count(route.allowed, method) > 0) continue;
      CAPTURE(route.target);
      CAPTURE(method);
      const auto answer = connection.request(method, route.target);
      check_problem(answer, 405, "method_not_allowed", route.target);
      const std::string allow = answer.header("Allow").value_or("");
      for (const std::string& allowed : route.allowed) CHECK_MESSAGE(lists(allow, allowed), allow);
      CHECK(!lists(allow, method));
    }
  }
  check_problem(connection.request("BREW", "/users"), 405, "method_not_allowed", "/users");
}

TEST_CASE("HEAD: the head of the GET, no body") {
  bank app;
  const auto user = app.add_user();
  client connection = app.connect();
  for (const std::string& target :
       {std::string("/health/live"), "/users/" + std::to_string(user), std::string("/users")}) {
    CAPTURE(target);
    const auto head = connection.request("HEAD", target);
    CHECK(head.status == 200);
    const auto get = connection.get(target);  // also shows that no stray body follows
    CHECK(head.header("Content-Length") == get.header("Content-Length"));
    CHECK(head.header("Content-Type") == get.header("Content-Type"));
  }
  CHECK(connection.request("HEAD", "/users/999").status == 404);
  CHECK(connection.get("/health/live").status == 200);
}

TEST_CASE("keep-alive: answers and errors of the application leave the connection open") {
  bank app;
  client connection = app.connect();
  for (int i = 0; i < 3; ++i) {
    CHECK(connection.get("/health/live").status == 200);
    check_problem(connection.get("/nowhere"), 404, "not_found", "/nowhere");
    check_problem(connection.post("/users", "{"), 400, "malformed_json", "/users");
    check_invalid(connection.post("/users", "{}"), "/users", {"/email", "/name"});
    check_problem(connection.request("POST", "/users", "xyz"), 415, "unsupported_media_type", "/users");
    const auto last = connection.get("/users/1");
    check_problem(last, 404, "user_not_found", "/users/1");
    CHECK(!last.closes());
  }
}

TEST_CASE("Connection: close ends it after the answer, as does HTTP/1.0") {
  bank app;
  client closing = app.connect();
  const auto answer = closing.get("/health/live", {{"Connection", "close"}});
  CHECK(answer.status == 200);
  CHECK(answer.closes());
  CHECK(closing.ends());

  client old = app.connect();
  old.send("GET /health/live HTTP/1.0\r\n\r\n");
  CHECK(old.read().status == 200);
  CHECK(old.ends());
}

TEST_CASE("pipelining: all are answered, in order") {
  bank app;
  const auto user = app.add_user();
  client connection = app.connect();
  std::string requests;
  for (int i = 0; i < 20; ++i) {
    requests += make_request("GET", "/health/live");
    requests += make_post("/users", json_user("pipe" + std::to_string(i) + "@example.com"));
    requests += make_request("GET", "/users/" + std::to_string(user + i + 1));
    requests += make_request("GET", "/nowhere");
  }
  connection.send(requests);
  for (int i = 0; i < 20; ++i) {
    CHECK(connection.read().status == 200);
    const auto created = connection.read();
    CHECK(created.status == 201);
    CHECK(connection.read().json() == created.json());
    CHECK(connection.read().status == 404);
  }
}

TEST_CASE("a request in single bytes is read like any other") {
  bank app;
  client connection = app.connect();
  for (const char byte : make_post("/users", json_user("slow@example.com")))
    connection.send(std::string_view(&byte, 1));
  check_json(connection.read(), 201);
}

TEST_CASE("a chunked body is read like any other") {
  bank app;
  client connection = app.connect();
  const std::string head =
      "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: "
      "chunked\r\n\r\n";
  const std::string body = json_user("chunks@example.com");
  std::string chunks;
  for (const char byte : body) chunks += std::string("1\r\n") + byte + "\r\n";
  connection.send(head + chunks + "0\r\nX-Trailer: yes\r\n\r\n");
  check_json(connection.read(), 201);
  CHECK(connection.get("/health/live").status == 200);
}
