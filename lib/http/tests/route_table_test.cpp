// SPDX-License-Identifier: Apache-2.0
// Routes: matching, decoding, 404 and 405, conflicts.

#include <belay/http/route_table.hpp>
#include <doctest/doctest.h>

#include <string>

namespace http = belay::http;
using namespace std::string_literals;
using http::method;
using outcome = http::route_match::outcome;

namespace {

http::route_table make_table() {
  http::route_table t;
  t.add(method::get, "/");                     // 0
  t.add(method::get, "/users");                // 1
  t.add(method::post, "/users");               // 2
  t.add(method::get, "/users/{id}");           // 3
  t.add(method::get, "/users/me");             // 4
  t.add(method::post, "/users/{user}/posts");  // 5
  t.add(method::get, "/a b/{x}/{y}");          // 6
  t.add(method::get, "/_belay/");              // 7
  t.add(method::delete_, "/users/{id}");       // 8
  return t;
}

}  // namespace

TEST_CASE("route table: literals, parameters, methods") {
  const auto t = make_table();
  const auto found = [&](method verb, std::string_view path) {
    const auto m = t.find(verb, path);
    return m.what == outcome::found ? static_cast<int>(m.route) : -1;
  };
  CHECK(found(method::get, "/") == 0);
  CHECK(found(method::get, "/users") == 1);
  CHECK(found(method::post, "/users") == 2);
  CHECK(found(method::get, "/users/7") == 3);
  CHECK(found(method::get, "/users/me") == 4);
  CHECK(found(method::delete_, "/users/me") == 8);  // the literal has no DELETE
  CHECK(found(method::post, "/users/7/posts") == 5);
  CHECK(found(method::get, "/_belay/") == 7);
  CHECK(t.pattern(5) == "/users/{user}/posts");
  CHECK(t.size() == 9);
}

TEST_CASE(
    "route table: parameters are named by the route and decoded; an encoded slash stays in its segment") {
  const auto t = make_table();
  CHECK(t.find(method::post, "/users/7/posts").parameter("user") == "7");
  const auto m = t.find(method::get, "/a%20b/1%2F2/%e2%82%ac");
  REQUIRE(m.what == outcome::found);
  CHECK(m.parameters == std::vector<http::path_parameter>{{"x", "1/2"}, {"y", "\xe2\x82\xac"}});
  CHECK(t.find(method::get, "/users/a%2Fposts").parameter("id") == "a/posts");
  CHECK_FALSE(m.parameter("z"));
}

TEST_CASE("route table: nothing is normalised, and dot segments match nothing") {
  const auto t = make_table();
  for (const char* path : {"",         "users",         "//users",         "/users/",   "/users//",
                           "/USERS",   "/users/7/",     "/users/7/posts/", "/_belay",   "/users/..",
                           "/users/.", "/users/%2e%2e", "/users/.%2E",     "/../users", "/users/%zz",
                           "/users/%", "/nothing",      "/users/7/8",      "*",         "/users%2Fme"}) {
    CAPTURE(path);
    CHECK(t.find(method::get, path).what == outcome::not_found);
  }
  CHECK(t.find(method::get, "/users/...").parameter("id") == "...");
}

TEST_CASE("route table: a wrong method is told which are allowed") {
  const auto t = make_table();
  const auto m = t.find(method::put, "/users");
  CHECK(m.what == outcome::method_not_allowed);
  CHECK(m.allow == "GET, HEAD, POST, OPTIONS");
  CHECK(t.find(method::get, "/users/7/posts").allow == "POST, OPTIONS");
  CHECK(t.find(method::head, "/users/7/posts").what == outcome::method_not_allowed);
  CHECK(t.find(method::other, "/users").what == outcome::method_not_allowed);
  CHECK(t.find(method::put, "/users/me").allow ==
        "GET, HEAD, DELETE, OPTIONS");  // both patterns match the path
  CHECK(t.find(method::put, "/nothing").what == outcome::not_found);
}

TEST_CASE("route table: HEAD is served by GET unless it has a route [row 441]") {
  auto t = make_table();
  CHECK(t.find(method::head, "/users/7").route == 3);
  const auto own = t.add(method::head, "/users/{id}");
  CHECK(t.find(method::head, "/users/7").route == own);
}

TEST_CASE("route table: OPTIONS is answered with the allowed methods unless it has a route") {
  auto t = make_table();
  const auto m = t.find(method::options, "/users");
  CHECK(m.what == outcome::options);
  CHECK(m.allow == "GET, HEAD, POST, OPTIONS");
  CHECK(t.find(method::options, "*").what == outcome::options);
  CHECK(t.find(method::options, "/nothing").what == outcome::not_found);
  const auto own = t.add(method::options, "/users");
  CHECK(t.find(method::options, "/users").what == outcome::found);
  CHECK(t.find(method::options, "/users").route == own);
}

TEST_CASE("route table: a conflicting route is refused with both names, and the table stays as it was") {
  auto t = make_table();
  try {
    t.add(method::get, "/users/{name}");
    FAIL("accepted");
  } catch (const belay::misuse_error& e) {
    const std::string text = e.what();
    CHECK(text.find("/users/{name}") != std::string::npos);
    CHECK(text.find("/users/{id}") != std::string::npos);
    CHECK(text.find("GET") != std::string::npos);
  }
  CHECK_THROWS_AS(t.add(method::post, "/users"), belay::misuse_error);
  CHECK(t.size() == 9);
  CHECK(t.find(method::get, "/users/7").route == 3);
  CHECK(t.add(method::put, "/users/{name}") == 9);
  CHECK(t.find(method::put, "/users/7").parameter("name") == "7");
  CHECK(t.find(method::get, "/users/7").parameter("id") == "7");
}

TEST_CASE("route table: a malformed pattern is refused") {
  http::route_table t;
  for (const char* pattern : {"", "users", "/{}", "/{a", "/a}", "/x{a}", "/{a}x", "/{a}/{a}", "/{a b}", "//a",
                              "/a//b", "/a?b", "/a#b", "/..", "/a/./b"}) {
    CAPTURE(pattern);
    CHECK_THROWS_AS(t.add(method::get, pattern), belay::misuse_error);
  }
  CHECK_THROWS_AS(t.add(method::other, "/a"), belay::misuse_error);
  CHECK(t.size() == 0);
}
