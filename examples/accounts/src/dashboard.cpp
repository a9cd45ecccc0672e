// SPDX-License-Identifier: Apache-2.0
// Everything about one user, fetched at the same time.

#include <belay/core/all.hpp>
#include <belay/core/outcome.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "json.hpp"
#include "routes.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
using belay::task;

task<boost::json::value> user_part(const database& db, std::int64_t id) {
  const auto found =
      co_await db->query_one("SELECT " + std::string(user_columns) + " FROM users WHERE id = ?", id);
  if (!found) throw user_not_found(id);
  co_return to_json(*found);
}

task<boost::json::value> accounts_part(const database& db, std::int64_t user_id) {
  co_return to_json(co_await db->query(
      "SELECT " + std::string(account_columns) + " FROM accounts WHERE user_id = ? ORDER BY id", user_id));
}

// A part as it ended, so that one that fails does not cancel the others.
task<belay::outcome<boost::json::value>> settled(task<boost::json::value> part) {
  co_return co_await belay::as_outcome(std::move(part));
}

// What is there; what is not is named in "missing".
task<boost::json::object> partial(const belay::service::request& asked, const database& db, std::int64_t id) {
  auto [user, accounts] = co_await belay::all(settled(user_part(db, id)), settled(accounts_part(db, id)));
  if (user.failed() && user.failure().find<user_not_found>() != nullptr) user.failure().rethrow();
  boost::json::object page;
  boost::json::array missing;
  const auto add = [&](const char* name, belay::outcome<boost::json::value>& part) {
    if (part.succeeded()) {
      page[name] = std::move(part).value();
      return;
    }
    page[name] = nullptr;
    missing.emplace_back(name);
    asked.log().warn("dashboard_part_missing", part.failure(), {{"part", name}});
  };
  add("user", user);
  page["posts"] = boost::json::array();
  page["comments"] = boost::json::array();
  add("accounts", accounts);
  page["missing"] = std::move(missing);
  co_return page;
}

task<http::response> get_dashboard(belay::service::request& asked, const database& db) {
  http::validation check;
  const std::int64_t id = asked.path_id("id", check);
  const bool wants_partial = check.optional_boolean("/query/partial", asked.query("partial")).value_or(false);
  check.finish();
  if (wants_partial) co_return answer(http::status::ok, co_await partial(asked, db, id));
  auto [user, accounts] = co_await belay::all(user_part(db, id), accounts_part(db, id));
  co_return answer(http::status::ok, boost::json::object{{"user", std::move(user)},
                                                         {"posts", boost::json::array()},
                                                         {"comments", boost::json::array()},
                                                         {"accounts", std::move(accounts)}});
}

}  // namespace

void add_dashboard_route(belay::service::app& app, database db) {
  app.get("/users/{id}/dashboard", [db](belay::service::request& r) -> task<http::response> {
    co_return co_await get_dashboard(r, db);
  });
}

}  // namespace accounts
