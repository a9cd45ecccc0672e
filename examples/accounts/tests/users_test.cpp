// SPDX-License-Identifier: Apache-2.0
// POST /users, GET /users/{id} and the keyset pages of GET /users.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

TEST_CASE("POST /users: a new e-mail gets 201, its address and the whole user") {
  bank app;
  const auto answer = app.post("/users", json_user("ada@example.com", "Ada Lovelace"));
  check_json(answer, 201);
  const auto user = answer.json();
  CHECK(has_members(user, {"id", "email", "name", "created_at"}));
  CHECK(user.at("id").as_int64() >= 1);
  CHECK(user.at("email") == "ada@example.com");
  CHECK(user.at("name") == "Ada Lovelace");
  CHECK(is_time(text_of(user.as_object(), "created_at")));
  CHECK(answer.header("Location") == "/users/" + std::to_string(id_of(answer)));

  const auto again = app.get(answer.header("Location").value_or("/"));
  check_json(again, 200);
  CHECK(again.json() == user);
}

TEST_CASE("POST /users: names of any script and unknown members are taken") {
  bank app;
  const std::string longest(200, 'x');
  for (const std::string& name :
       {std::string("Зоя Ångström 猫 😀"), longest, std::string("Robert'); DROP TABLE users;--")}) {
    CAPTURE(name);
    const auto email = "u" + std::to_string(name.size()) + "@example.com";
    const auto answer = app.post("/users", json_user(email, name));
    check_json(answer, 201);
    CHECK(app.get("/users/" + std::to_string(id_of(answer))).json().at("name").as_string() == name);
  }
  std::string umlauts;
  for (int i = 0; i < 200; ++i) umlauts += "ü";  // 200 characters, 400 bytes
  check_json(app.post("/users", json_user("umlaut@example.com", umlauts)), 201);
  check_json(app.post("/users", R"({"email":"extra@example.com","name":"E","admin":true,"id":77})"), 201);
}

TEST_CASE("POST /users: an e-mail that is there already is refused, whatever its letter case") {
  bank app;
  require(app.post("/users", json_user("Ada@Example.com")), 201);
  check_problem(app.post("/users", json_user("Ada@Example.com", "Another")), 409, "email_taken", "/users");
  check_problem(app.post("/users", json_user("ADA@example.COM")), 409, "email_taken", "/users");
  const auto users = app.get("/users").json();
  CHECK(users.at("items").as_array().size() == 1);
  CHECK(users.at("items").at(0).at("email") == "Ada@Example.com");
}

TEST_CASE("GET /users/{id}: 404 for a user that is not there") {
  bank app;
  check_problem(app.get("/users/1"), 404, "user_not_found", "/users/1");
  check_problem(app.get("/users/9223372036854775807"), 404, "user_not_found", "/users/9223372036854775807");
}

TEST_CASE("GET /users: without users the page is empty") {
  bank app;
  const auto answer = app.get("/users");
  check_json(answer, 200);
  CHECK(answer.json() == boost::json::value{{"items", boost::json::array{}}, {"next", nullptr}});
  CHECK(!answer.header("Link"));
}

TEST_CASE("GET /users: following next or Link visits each user once, in the order of ids") {
  bank app;
  std::vector<std::int64_t> created;
  for (int i = 0; i < 5; ++i) created.push_back(app.add_user());
  std::vector<std::int64_t> seen;
  std::vector<std::size_t> sizes;
  std::string target = "/users?limit=2";
  for (int page = 0; page < 10 && !target.empty(); ++page) {
    const auto answer = app.get(target);
    check_json(answer, 200);
    const auto body = answer.json();
    CHECK(has_members(body, {"items", "next"}));
    for (const auto& user : body.at("items").as_array()) {
      CHECK(has_members(user, {"id", "email", "name", "created_at"}));
      seen.push_back(user.at("id").as_int64());
    }
    sizes.push_back(body.at("items").as_array().size());
    target.clear();
    if (body.at("next").is_null()) {
      CHECK(!answer.header("Link"));
    } else {
      CHECK(body.at("next") == seen.back());
      target = "/users?limit=2&after=" + std::to_string(seen.back());
      CHECK(answer.header("Link") == "<" + target + ">; rel=\"next\"");
    }
  }
  CHECK(seen == created);
  CHECK(sizes == std::vector<std::size_t>{2, 2, 1});
}

TEST_CASE("GET /users: a full last page has no next") {
  bank app;
  for (int i = 0; i < 4; ++i) app.add_user();
  const auto first = app.get("/users?limit=2&after=0").json();
  const auto after = first.at("next").as_int64();
  const auto last = app.get("/users?after=" + std::to_string(after) + "&limit=2");
  CHECK(last.json().at("items").as_array().size() == 2);
  CHECK(last.json().at("next").is_null());
  CHECK(!last.header("Link"));
  const auto beyond = app.get("/users?after=9223372036854775807").json();
  CHECK(beyond.at("items").as_array().empty());
}

TEST_CASE("GET /users: 50 a page unless the limit says otherwise, 200 at most") {
  bank app;
  database direct(app.database_url());
  direct.execute(
      "INSERT INTO users(email, name, created_at) "
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 210) "
      "SELECT 'u' || i || '@example.com', 'U', '2026-01-01T00:00:00Z' FROM n");
  const auto count = [&](std::string_view target) {
    return app.get(target).json().at("items").as_array().size();
  };
  CHECK(count("/users") == 50);
  CHECK(count("/users?limit=1") == 1);
  CHECK(count("/users?limit=200") == 200);
}

TEST_CASE("GET /users: every bad query value is named at once") {
  bank app;
  for (const std::string bad :
       {"0", "-1", "201", "x", "", "1.5", "1e2", "99999999999999999999", "%201", "0x10"}) {
    CAPTURE(bad);
    check_invalid(app.get("/users?limit=" + bad), "/users", {"/query/limit"});
  }
  for (const std::string bad : {"-1", "x", "", "1.5", "9223372036854775808"}) {
    CAPTURE(bad);
    check_invalid(app.get("/users?after=" + bad), "/users", {"/query/after"});
  }
  check_invalid(app.get("/users?limit=0&after=x"), "/users", {"/query/limit", "/query/after"});
}
