// SPDX-License-Identifier: Apache-2.0
// Posts of users, and comments on them.

#include <boost/json/object.hpp>

#include "json.hpp"
#include "routes.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
using belay::task;

task<http::response> create_post(belay::service::request& asked, const database& db) {
  http::validation check;
  const std::int64_t user_id = asked.path_id("id", check);
  http::json_reader body(asked.http(), check);
  const std::string title = body.required_string("title", title_rule);
  const std::string text = body.required_string("body", text_rule);
  check_text("/body", text, check);
  check.finish();
  const belay::db::row made = co_await db->transact([&](const statements& c) -> task<belay::db::row> {
    if (!co_await c.query_one("SELECT 1 FROM users WHERE id = ?", user_id)) throw user_not_found(user_id);
    auto row = co_await c.query_one(
        "INSERT INTO posts (user_id, title, body) VALUES (?, ?, ?) RETURNING " + std::string(post_columns),
        user_id, title, text);
    co_return std::move(row).value();
  });
  co_return answer(http::status::created, to_json(made));
}

task<http::response> create_comment(belay::service::request& asked, const database& db) {
  http::validation check;
  const std::int64_t post_id = asked.path_id("id", check);
  http::json_reader body(asked.http(), check);
  const std::int64_t user_id = body.required_integer("user_id", id_rule);
  const std::string text = body.required_string("body", text_rule);
  check_text("/body", text, check);
  check.finish();
  const belay::db::row made = co_await db->transact([&](const statements& c) -> task<belay::db::row> {
    if (!co_await c.query_one("SELECT 1 FROM posts WHERE id = ?", post_id)) throw post_not_found(post_id);
    if (!co_await c.query_one("SELECT 1 FROM users WHERE id = ?", user_id)) throw user_not_found(user_id);
    auto row =
        co_await c.query_one("INSERT INTO comments (post_id, user_id, body) VALUES (?, ?, ?) RETURNING " +
                                 std::string(comment_columns),
                             post_id, user_id, text);
    co_return std::move(row).value();
  });
  co_return answer(http::status::created, to_json(made));
}

}  // namespace

void add_post_routes(belay::service::app& app, database db) {
  app.post("/users/{id}/posts", [db](belay::service::request& r) -> task<http::response> {
    co_return co_await create_post(r, db);
  });
  app.post("/posts/{id}/comments", [db](belay::service::request& r) -> task<http::response> {
    co_return co_await create_comment(r, db);
  });
}

}  // namespace accounts
