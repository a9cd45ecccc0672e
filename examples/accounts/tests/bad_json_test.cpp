// SPDX-License-Identifier: Apache-2.0
// Bodies that are no JSON, or JSON of the wrong media type or shape.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

std::string nested(std::size_t depth) {
  return R"({"email":"d@example.com","name":"D","x":)" + std::string(depth, '[') + std::string(depth, ']') +
         "}";
}

}  // namespace

TEST_CASE("malformed JSON: 400, on a connection that stays open") {
  bank app;
  const std::vector<std::string> bodies{
      "",
      " ",
      "{",
      "}",
      "nul",
      "{]",
      "'x'",
      R"({"email":"a@b.c","name":"A")",
      R"({"email":"a@b.c","name":"A",})",
      R"({"email":"a@b.c" "name":"A"})",
      R"({email:"a@b.c","name":"A"})",
      R"({"email":"a@b.c","name":"A"}{})",
      R"({"email":"a@b.c","name":"A"}x)",
      R"({"email":"a@b.c","name":"\x"})",
      R"({"email":"a@b.c","name":"\ud800"})",  // half of a surrogate pair
      R"({"email":"a@b.c","name":"A","n":01})",
      R"({"email":"a@b.c","name":"A","n":NaN})",
      "{\"email\":\"a@b.c\",\"name\":\"A\nB\"}",  // raw control character
      std::string("{\"email\":\"a@b.c\",\"name\":\"A\0\"}", 29),
      std::string("\0", 1),
      "{\"email\":\"a@b.c\",\"name\":\"\xff\xfe\"}",       // not UTF-8
      "{\"email\":\"a@b.c\",\"name\":\"\xc0\xaf\"}",       // overlong form of '/'
      "{\"email\":\"a@b.c\",\"name\":\"\xed\xa0\x80\"}",   // surrogate in UTF-8
      "\xef\xbb\xbf{\"email\":\"a@b.c\",\"name\":\"A\"}",  // byte order mark
      R"({"email":"a@b.c","name":"A","name":"B"})",        // duplicate keys
      R"({"email":"a@b.c","name":"A","x":[{"k":1,"k":2}]})",
      R"({"email":"a@b.c","name":"A","\u006eame":"B"})",  // the same key, spelt otherwise
      nested(40),
      nested(100'000),
      std::string(100'000, '['),
      std::string(50'000, '{'),
  };
  client connection = app.connect();
  for (const std::string& body : bodies) {
    CAPTURE(body.substr(0, 80));
    check_problem(connection.post("/users", body), 400, "malformed_json", "/users");
  }
  check_json(connection.post("/users", nested(10)), 201);  // moderate nesting is fine
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM users") == 1);
}

TEST_CASE("malformed JSON: every POST route refuses it") {
  bank app;
  for (const std::string target : {"/users", "/accounts", "/accounts/1/deposits", "/transfers"}) {
    CAPTURE(target);
    check_problem(app.post(target, "{"), 400, "malformed_json", target);
  }
}

TEST_CASE("JSON that is no object: 422 at the root") {
  bank app;
  for (const std::string body :
       {"[]", "null", "true", "1", "\"text\"", "[{\"email\":\"a@b.c\",\"name\":\"A\"}]"}) {
    CAPTURE(body);
    for (const std::string target : {"/users", "/accounts", "/transfers"}) {
      check_invalid(app.post(target, body), target, {""});
    }
  }
}

TEST_CASE("Content-Type: POST takes JSON only") {
  bank app;
  const std::string body = json_user("a@example.com");
  for (const std::string type :
       {"text/plain", "application/xml", "application/x-www-form-urlencoded", "application/jsonp",
        "multipart/form-data; boundary=x", "json", "", "text/json", "application/json-seq"}) {
    CAPTURE(type);
    const auto answer = app.connect().request("POST", "/users", body, {{"Content-Type", type}});
    check_problem(answer, 415, "unsupported_media_type", "/users");
  }
  check_problem(app.connect().request("POST", "/users", body), 415, "unsupported_media_type", "/users");
  check_problem(app.connect().request("POST", "/transfers", "{"), 415, "unsupported_media_type",
                "/transfers");
  int user = 0;
  for (const std::string type : {"application/json", "application/json; charset=utf-8",
                                 "Application/JSON;charset=UTF-8", "application/json ;charset=\"utf-8\""}) {
    CAPTURE(type);
    const std::string other = json_user("t" + std::to_string(++user) + "@example.com");
    check_json(app.connect().request("POST", "/users", other, {{"Content-Type", type}}), 201);
  }
}
