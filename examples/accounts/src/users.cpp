// SPDX-License-Identifier: Apache-2.0
// Users, and the mail that welcomes them.

#include <belay/db/error.hpp>
#include <boost/json/object.hpp>

#include <memory>

#include "json.hpp"
#include "routes.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
using belay::task;

task<belay::db::row> insert_user(const store& db, const std::string& email, const std::string& name) {
  try {
    co_return co_await db.transact([&](const statements& c) -> task<belay::db::row> {
      auto row = co_await c.query_one(
          "INSERT INTO users (email, name) VALUES (?, ?) RETURNING " + std::string(user_columns), email,
          name);
      co_return std::move(row).value();
    });
  } catch (const belay::db::constraint_error& broken) {
    // Here, so that what it replaces, with a rollback that failed besides, stays its cause.
    if (broken.type() == belay::db::constraint_type::unique) throw email_taken();
    throw;
  }
}

mail welcome(const belay::db::row& user) {
  return {.to = user.get<std::string>("email"),
          .subject = "Welcome",
          .body = "Hello " + user.get<std::string>("name") + ", your account is ready.",
          // With the time: another bank, or this one with a new database, has a user of this number, too.
          .key = "welcome-" + std::to_string(user.get<std::int64_t>("id")) + "-" +
                 user.get<std::string>("created_at")};
}

task<http::response> create_user(belay::service::request& asked, const database& db,
                                 const std::shared_ptr<mailer>& mails) {
  http::validation check;
  http::json_reader body(asked.http(), check);
  const std::string email = body.required_string("email");
  const std::string name = body.required_string("name", name_rule);
  if (!check.failed_at("/email") && !check.failed_at("")) check_email(email, check);
  check.finish();
  // The place for the mail comes before the user: where there is none, nothing has happened.
  const auto greeting = std::make_shared<mail>();
  asked.run_after_response("welcome_mail", [mails, greeting, trace = asked.trace()]() -> task<> {
    co_await mails->send(std::move(*greeting), trace);
  });
  const belay::db::row created = co_await insert_user(*db, email, name);
  *greeting = welcome(created);
  http::response response = answer(http::status::created, to_json(created));
  response.headers.add("Location", "/users/" + std::to_string(created.get<std::int64_t>("id")));
  co_return response;
}

task<http::response> get_user(belay::service::request& asked, const database& db) {
  http::validation check;
  const std::int64_t id = asked.path_id("id", check);
  check.finish();
  const auto found =
      co_await db->query_one("SELECT " + std::string(user_columns) + " FROM users WHERE id = ?", id);
  if (!found) throw user_not_found(id);
  co_return answer(http::status::ok, to_json(*found));
}

task<http::response> list_users(belay::service::request& asked, const database& db) {
  http::validation check;
  const std::int64_t limit =
      check.optional_integer("/query/limit", asked.query("limit"), {.min = 1, .max = 200}).value_or(50);
  const std::int64_t after =
      check.optional_integer("/query/after", asked.query("after"), {.min = 0}).value_or(0);
  check.finish();
  // One more than asked for tells whether there is a next page.
  const belay::db::rows found = co_await db->query(
      "SELECT " + std::string(user_columns) + " FROM users WHERE id > ? ORDER BY id LIMIT ?", after,
      limit + 1);
  boost::json::array items = to_json(found);
  boost::json::value next = nullptr;
  if (static_cast<std::int64_t>(items.size()) > limit) {
    items.pop_back();
    next = items.back().at("id");
  }
  http::response response =
      answer(http::status::ok, boost::json::object{{"items", std::move(items)}, {"next", next}});
  if (!next.is_null()) {
    response.headers.add("Link", "</users?limit=" + std::to_string(limit) +
                                     "&after=" + std::to_string(next.as_int64()) + ">; rel=\"next\"");
  }
  co_return response;
}

}  // namespace

void add_user_routes(belay::service::app& app, database db, std::shared_ptr<mailer> mails) {
  app.post("/users", [db, mails = std::move(mails)](belay::service::request& r) -> task<http::response> {
    co_return co_await create_user(r, db, mails);
  });
  app.get("/users",
          [db](belay::service::request& r) -> task<http::response> { co_return co_await list_users(r, db); });
  app.get("/users/{id}",
          [db](belay::service::request& r) -> task<http::response> { co_return co_await get_user(r, db); });
}

}  // namespace accounts
