// SPDX-License-Identifier: Apache-2.0
// GET /users/{id}/dashboard, whole and partial.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

std::int64_t open_account(bank& app, std::int64_t user) {
  return id_of(require(app.post("/accounts", R"({"user_id":)" + std::to_string(user) + "}"), 201));
}

/// Takes a table away for a while: the part of the dashboard that needs it fails.
class table_gone {
 public:
  table_gone(bank& app, std::string name) : database_(app.database_url()), name_(std::move(name)) {
    database_.execute("ALTER TABLE " + name_ + " RENAME TO " + name_ + "_away");
  }
  table_gone(const table_gone&) = delete;
  table_gone& operator=(const table_gone&) = delete;
  ~table_gone() { database_.execute("ALTER TABLE " + name_ + "_away RENAME TO " + name_); }

 private:
  database database_;
  const std::string name_;
};

}  // namespace

TEST_CASE("dashboard: shows the user with their accounts, and nobody else's") {
  bank app;
  const auto user = app.add_user();
  const auto other = app.add_user();
  const auto first = open_account(app, user);
  const auto foreign = open_account(app, other);
  const auto second = open_account(app, user);
  require(app.post("/accounts/" + std::to_string(second) + "/deposits", R"({"amount":42})"), 201);

  const auto answer = app.get("/users/" + std::to_string(user) + "/dashboard");
  check_json(answer, 200);
  const auto body = answer.json();
  CHECK(has_members(body, {"user", "posts", "comments", "accounts"}));
  CHECK(body.at("user") == app.get("/users/" + std::to_string(user)).json());
  CHECK(body.at("posts").as_array().empty());
  CHECK(body.at("comments").as_array().empty());
  REQUIRE(body.at("accounts").as_array().size() == 2);
  CHECK(body.at("accounts").at(0) == app.get("/accounts/" + std::to_string(first)).json());
  CHECK(body.at("accounts").at(1) == app.get("/accounts/" + std::to_string(second)).json());
  CHECK(body.at("accounts").at(1).at("balance") == 42);
  CHECK(foreign != first);
}

TEST_CASE("dashboard: a new user has empty parts") {
  bank app;
  const auto user = app.add_user();
  const auto body = app.get("/users/" + std::to_string(user) + "/dashboard").json();
  for (const char* part : {"posts", "comments", "accounts"}) CHECK(body.at(part).as_array().empty());
}

TEST_CASE("dashboard: the user's own posts and comments, the newest first") {
  bank app;
  const auto user = app.add_user();
  const auto other = app.add_user();
  const auto write = [&app](std::int64_t by, std::string_view title) {
    const std::string body = R"({"title":")" + std::string(title) + R"(","body":"text"})";
    return require(app.post("/users/" + std::to_string(by) + "/posts", body), 201).json();
  };
  const auto comment = [&app](const boost::json::value& on, std::int64_t by) {
    const std::string body = R"({"body":"text","user_id":)" + std::to_string(by) + "}";
    const std::string target = "/posts/" + std::to_string(on.at("id").as_int64()) + "/comments";
    return require(app.post(target, body), 201).json();
  };
  const auto first = write(user, "first");
  const auto foreign = write(other, "foreign");
  const auto second = write(user, "second");
  comment(first, other);
  const auto older = comment(foreign, user);
  const auto newer = comment(first, user);

  const auto body = require(app.get("/users/" + std::to_string(user) + "/dashboard"), 200).json();
  CHECK(body.at("posts") == boost::json::value(boost::json::array{second, first}));
  CHECK(body.at("comments") == boost::json::value(boost::json::array{newer, older}));
}

TEST_CASE("dashboard: lists show the newest hundred") {
  bank app;
  const auto user = app.add_user();
  {
    database direct(app.database_url());
    direct.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 105) "
        "INSERT INTO posts (user_id, title, body) SELECT " +
        std::to_string(user) + ", 'title ' || i, 'text' FROM n");
  }
  const auto posts =
      require(app.get("/users/" + std::to_string(user) + "/dashboard"), 200).json().at("posts").as_array();
  REQUIRE(posts.size() == 100);
  CHECK(posts.front().at("title") == "title 105");
  CHECK(posts.back().at("title") == "title 6");
}

TEST_CASE("dashboard: 404 for a user that is not there, in both modes") {
  bank app;
  check_problem(app.get("/users/9/dashboard"), 404, "user_not_found", "/users/9/dashboard");
  check_problem(app.get("/users/9/dashboard?partial=true"), 404, "user_not_found", "/users/9/dashboard");
}

TEST_CASE("dashboard: partial is true or false, and the id an integer") {
  bank app;
  for (const std::string bad : {"1", "yes", "", "TRUE", "null"}) {
    CAPTURE(bad);
    check_invalid(app.get("/users/1/dashboard?partial=" + bad), "/users/1/dashboard", {"/query/partial"});
  }
  check_invalid(app.get("/users/x/dashboard?partial=x"), "/users/x/dashboard",
                {"/path/id", "/query/partial"});
}

TEST_CASE("dashboard?partial=true: with nothing missing it says so") {
  bank app;
  const std::string target = "/users/" + std::to_string(app.add_user()) + "/dashboard";
  const auto whole = app.get(target).json();
  const auto partial = app.get(target + "?partial=true");
  check_json(partial, 200);
  CHECK(has_members(partial.json(), {"user", "posts", "comments", "accounts", "missing"}));
  CHECK(partial.json().at("missing").as_array().empty());
  CHECK(partial.json().at("accounts") == whole.at("accounts"));
  CHECK(app.get(target + "?partial=false").json() == whole);
}

TEST_CASE("dashboard?partial=true: what failed is named, the rest is there, the log has it once") {
  bank app;
  const std::string target = "/users/" + std::to_string(app.add_user()) + "/dashboard";
  const auto whole = app.get(target).json();
  response partial;
  {
    const table_gone fault(app, "accounts");
    partial = app.get(target + "?partial=true");
  }
  check_json(partial, 200);
  const auto body = partial.json();
  CHECK(has_members(body, {"user", "posts", "comments", "accounts", "missing"}));
  CHECK(body.at("user") == whole.at("user"));
  CHECK(body.at("posts") == whole.at("posts"));
  CHECK(body.at("accounts").is_null());
  CHECK(body.at("missing") == boost::json::value(boost::json::array{"accounts"}));
  const std::string inside = on_postgres() ? "does not exist" : "no such table";
  CHECK(partial.body.find(inside) == std::string::npos);

  const auto line = app.service().err().wait_for_line(
      [&](const std::string& text) { return text.find(inside) != std::string::npos; }, milliseconds{2'000});
  REQUIRE(line);
  std::vector<boost::json::object> found;
  for (const auto& record : app.service().records()) {
    if (text_of(record, "trace_id") == partial.trace_id() && text_of(record, "level") != "info" &&
        text_of(record, "level") != "debug") {
      found.push_back(record);
    }
  }
  REQUIRE(found.size() == 1);
  app.expect_record(text_of(found[0], "event"));

  const auto healed = app.get(target);  // the fault leaves nothing behind
  check_json(healed, 200);
  CHECK(healed.json() == whole);
}

TEST_CASE("dashboard?partial=true: all that failed is named") {
  bank app;
  const std::string target = "/users/" + std::to_string(app.add_user()) + "/dashboard?partial=true";
  response partial;
  {
    const table_gone no_posts(app, "posts");
    const table_gone no_comments(app, "comments");
    partial = app.get(target);
  }
  check_json(partial, 200);
  CHECK(partial.json().at("missing") == boost::json::value(boost::json::array{"posts", "comments"}));
  CHECK(partial.json().at("posts").is_null());
  CHECK(partial.json().at("accounts").is_array());
  app.expect_record("dashboard_part_missing");
  app.expect_record("dashboard_part_missing");
}

TEST_CASE("dashboard?partial=true: without the user there is no page, and the log has one failure") {
  bank app;
  const std::string target = "/users/" + std::to_string(app.add_user()) + "/dashboard";
  response failed;
  {
    const table_gone no_users(app, "users");
    const table_gone no_posts(app, "posts");
    failed = app.get(target + "?partial=true");
  }
  check_problem(failed, 500, "internal", target);
  check_json(app.get(target + "?partial=true"), 200);
}

TEST_CASE("dashboard: when a part fails the whole fails, once, without internals") {
  bank app;
  const std::string target = "/users/" + std::to_string(app.add_user()) + "/dashboard";
  response failed;
  {
    const table_gone fault(app, "accounts");
    failed = app.get(target);
  }
  check_problem(failed, 500, "internal", target);
  CHECK(failed.json().at("detail") == "internal error");
  CHECK(failed.body.find("accounts_away") == std::string::npos);
  CHECK(failed.body.find("table") == std::string::npos);
  check_json(app.get(target), 200);
}
