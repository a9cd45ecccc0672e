// SPDX-License-Identifier: Apache-2.0
// Members, path parameters and amounts that are not what they should be: 422 names each of them at once.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

/// JSON values that are no integer from 1 to 2^63-1.
const std::vector<std::string> bad_integers{"0",
                                            "-1",
                                            "-9223372036854775808",
                                            "9223372036854775808",
                                            "18446744073709551615",
                                            "18446744073709551616",
                                            "1.5",
                                            "1.0",
                                            "1e2",
                                            "-0",
                                            "\"1\"",
                                            "\"\"",
                                            "\"abc\"",
                                            "true",
                                            "null",
                                            "[]",
                                            "[1]",
                                            "{}",
                                            "123456789012345678901234567890"};

}  // namespace

TEST_CASE("POST /users: every failing field is named at once") {
  bank app;
  check_invalid(app.post("/users", "{}"), "/users", {"/email", "/name"});
  check_invalid(app.post("/users", R"({"email":1,"name":null})"), "/users", {"/email", "/name"});
  check_invalid(app.post("/users", R"({"email":"","name":""})"), "/users", {"/email", "/name"});
  check_invalid(app.post("/users", R"({"email":"a@example.com","name":{}})"), "/users", {"/name"});
  check_invalid(app.post("/users", R"({"Email":"a@example.com","NAME":"A"})"), "/users", {"/email", "/name"});
}

TEST_CASE("POST /users: e-mails that cannot be one") {
  bank app;
  const std::vector<std::string> emails{"",
                                        " ",
                                        "ada",
                                        "@",
                                        "ada@",
                                        "@example.com",
                                        "a@b@c.com",
                                        "ada@@example.com",
                                        "a da@example.com",
                                        " a@example.com",
                                        "a@example.com ",
                                        "a@.com",
                                        "a@com.",
                                        "a@b..com",
                                        "a\r\nBcc: x@example.com",
                                        "a@example.com\r\nX: y",
                                        "a\t@example.com",
                                        std::string("a\0@example.com", 14),
                                        "a@exam\x7fple.com",
                                        std::string(65, 'a') + "@example.com",
                                        "a@" + std::string(250, 'b') + ".com",
                                        std::string(100'000, 'a') + "@example.com"};
  client connection = app.connect();
  for (const std::string& email : emails) {
    CAPTURE(email.substr(0, 80));
    check_invalid(connection.post("/users", json_user(email)), "/users", {"/email"});
  }
  for (const std::string& email : {std::string("a+b@example.com"), std::string("O'Neil@sub.example.co.uk"),
                                   std::string(64, 'a') + "@example.com"}) {
    CAPTURE(email);
    check_json(connection.post("/users", json_user(email)), 201);
  }
}

TEST_CASE("POST /users: names that are empty, too long or hold control characters") {
  bank app;
  std::string umlauts;
  for (int i = 0; i < 201; ++i) umlauts += "ü";
  const std::vector<std::string> names{
      "",           " ",    " \t ",        std::string(201, 'x'),      umlauts,  std::string(900'000, 'x'),
      "line\nfeed", "a\rb", "\x1b[31mred", std::string("nul\0nul", 7), "del\x7f"};
  client connection = app.connect();
  for (const std::string& name : names) {
    CAPTURE(name.substr(0, 80));
    check_invalid(connection.post("/users", json_user("a@example.com", name)), "/users", {"/name"});
  }
  for (const std::string name : {R"("\u0000")", R"("a\u0000b")", "1", "true", "null", "[]", "[\"Ada\"]"}) {
    CAPTURE(name);
    check_invalid(connection.post("/users", R"({"email":"a@example.com","name":)" + name + "}"), "/users",
                  {"/name"});
  }
}

TEST_CASE("ids and amounts in bodies: only integers from 1 to 2^63-1") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  const std::string a = std::to_string(from);
  const std::string b = std::to_string(to);
  client connection = app.connect();
  for (const std::string& bad : bad_integers) {
    CAPTURE(bad);
    check_invalid(connection.post("/accounts", R"({"user_id":)" + bad + "}"), "/accounts", {"/user_id"});
    const std::string deposits = "/accounts/" + a + "/deposits";
    check_invalid(connection.post(deposits, R"({"amount":)" + bad + "}"), deposits, {"/amount"});
    check_invalid(
        connection.post("/transfers", R"({"from":)" + a + R"(,"to":)" + b + R"(,"amount":)" + bad + "}"),
        "/transfers", {"/amount"});
    check_invalid(connection.post("/transfers", R"({"from":)" + bad + R"(,"to":)" + b + R"(,"amount":1})"),
                  "/transfers", {"/from"});
    check_invalid(
        connection.post("/transfers", R"({"from":)" + bad + R"(,"to":)" + bad + R"(,"amount":)" + bad + "}"),
        "/transfers", {"/from", "/to", "/amount"});
  }
  check_invalid(connection.post("/transfers", "{}"), "/transfers", {"/from", "/to", "/amount"});
  check_invalid(connection.post("/accounts", "{}"), "/accounts", {"/user_id"});
  CHECK(app.balance(from) == 100);
  CHECK(app.balance(to) == 0);
}

TEST_CASE("ids in paths: an encoded NUL is refused before any route is looked for") {
  bank app;
  for (const char* target : {"/users/%00", "/accounts/1%00"}) {
    client connection = app.connect();
    check_problem(connection.get(target), 400, "bad_request", "/");
  }
}

TEST_CASE("ids in paths: only integers from 1 to 2^63-1") {
  bank app;
  const std::vector<std::string> bad_ids{"0",
                                         "-1",
                                         "9223372036854775808",
                                         "99999999999999999999999",
                                         "1.5",
                                         "%221%22",
                                         "abc",
                                         "1a",
                                         "0x1",
                                         "1e3",
                                         "%201",
                                         "1%20",
                                         "%31%2F2",
                                         "%D9%A1",
                                         "1%0d%0aX-Evil:%201",
                                         std::string(2'000, '9')};
  client connection = app.connect();
  for (const std::string& id : bad_ids) {
    CAPTURE(id.substr(0, 80));
    for (const std::string& target : {"/users/" + id, "/users/" + id + "/dashboard", "/accounts/" + id}) {
      const auto answer = connection.get(target);
      check_invalid(answer, target, {"/path/id"});
      CHECK(!answer.header("X-Evil"));
    }
    const std::string target = "/accounts/" + id + "/deposits";
    check_invalid(connection.post(target, R"({"amount":-5})"), target, {"/path/id", "/amount"});
  }
}

TEST_CASE("header injection: nothing of the input reaches the head of an answer") {
  bank app;
  client connection = app.connect();
  for (const std::string target :
       {"/users?limit=1%0d%0aX-Evil:%201", "/users?after=%0d%0a%0d%0aHTTP/1.1%20200%20OK",
        "/nowhere%0d%0aX-Evil:%201", "/users/1%0d%0aSet-Cookie:%20a=b/dashboard"}) {
    CAPTURE(target);
    const auto answer = connection.get(target);
    CHECK((answer.status == 422 || answer.status == 404));
    for (const auto& [name, value] : answer.headers) {
      CHECK(name != "X-Evil");
      CHECK(name != "Set-Cookie");
      CHECK(value.find("X-Evil") == std::string::npos);
    }
  }
  CHECK(!connection.has_bytes(milliseconds{10}));
}
