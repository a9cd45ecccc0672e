// SPDX-License-Identifier: Apache-2.0
// Everything about one user, fetched at the same time.

#include <belay/core/all.hpp>
#include <belay/core/settle.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "json.hpp"
#include "routes.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
using belay::task;

// Of each list, the newest come first.
constexpr std::int64_t most_of_a_list = 100;

task<boost::json::value> user_part(const database& db, std::int64_t id) {
  const auto found =
      co_await db->query_one("SELECT " + std::string(user_columns) + " FROM users WHERE id = ?", id);
  if (!found) throw user_not_found(id);
  co_return to_json(*found);
}

task<boost::json::value> posts_part(const database& db, std::int64_t user_id) {
  co_return to_json(co_await db->query(
      "SELECT " + std::string(post_columns) + " FROM posts WHERE user_id = ? ORDER BY id DESC LIMIT ?",
      user_id, most_of_a_list));
}

// Those that the user wrote.
task<boost::json::value> comments_part(const database& db, std::int64_t user_id) {
  co_return to_json(co_await db->query(
      "SELECT " + std::string(comment_columns) + " FROM comments WHERE user_id = ? ORDER BY id DESC LIMIT ?",
      user_id, most_of_a_list));
}

// All of them: money is not left out.
task<boost::json::value> accounts_part(const database& db, std::int64_t user_id) {
  co_return to_json(co_await db->query(
      "SELECT " + std::string(account_columns) + " FROM accounts WHERE user_id = ? ORDER BY id", user_id));
}

// The first part that fails cancels the others.
task<boost::json::object> whole(const database& db, std::int64_t id) {
  auto [user, posts, comments, accounts] = co_await belay::all(user_part(db, id), posts_part(db, id),
                                                               comments_part(db, id), accounts_part(db, id));
  co_return boost::json::object{{"user", std::move(user)},
                                {"posts", std::move(posts)},
                                {"comments", std::move(comments)},
                                {"accounts", std::move(accounts)}};
}

// What is there; what is not is named in "missing".
task<boost::json::object> partial(const belay::service::request& asked, const database& db, std::int64_t id) {
  auto [user, posts, comments, accounts] = co_await belay::settle(
      user_part(db, id), posts_part(db, id), comments_part(db, id), accounts_part(db, id));
  // Without the user there is no page of which something could be missing.
  if (user.failed()) {
    for (const auto* other : {&posts, &comments, &accounts}) {
      if (other->failed()) other->failure().observe();  // one failure is enough to tell
    }
    user.failure().rethrow();
  }
  boost::json::object page;
  boost::json::array missing;
  const auto add = [&](const char* name, belay::outcome<boost::json::value>& part) {
    if (part.succeeded()) {
      page[name] = std::move(part).value();
      return;
    }
    page[name] = nullptr;
    missing.emplace_back(name);
    if (part.failed()) asked.log().warn("dashboard_part_missing", part.failure(), {{"part", name}});
  };
  add("user", user);
  add("posts", posts);
  add("comments", comments);
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
  co_return answer(http::status::ok, co_await whole(db, id));
}

}  // namespace

void add_dashboard_route(belay::service::app& app, database db) {
  app.get("/users/{id}/dashboard", [db](belay::service::request& r) -> task<http::response> {
    co_return co_await get_dashboard(r, db);
  });
}

}  // namespace accounts
