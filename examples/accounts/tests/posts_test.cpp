// SPDX-License-Identifier: Apache-2.0
// POST /users/{id}/posts and POST /posts/{id}/comments.
#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

std::string posts_of(std::int64_t user) { return "/users/" + std::to_string(user) + "/posts"; }
std::string comments_on(std::int64_t post) { return "/posts/" + std::to_string(post) + "/comments"; }

std::string json_post(std::string_view title, std::string_view body) {
  return boost::json::serialize(boost::json::object{{"title", title}, {"body", body}});
}
std::string json_comment(std::int64_t user, std::string_view body) {
  return boost::json::serialize(boost::json::object{{"user_id", user}, {"body", body}});
}

}  // namespace

TEST_CASE("posts: a new one has exactly its members") {
  bank app;
  const auto user = app.add_user();
  const auto answer = app.post(posts_of(user), json_post("Title", "First line\nsecond \"line\""));
  check_json(answer, 201);
  const auto body = answer.json();
  CHECK(has_members(body, {"id", "user_id", "title", "body", "created_at"}));
  CHECK(body.at("id").as_int64() >= 1);
  CHECK(body.at("user_id") == user);
  CHECK(body.at("title") == "Title");
  CHECK(body.at("body") == "First line\nsecond \"line\"");
  CHECK(is_time(body.at("created_at").as_string()));
}

TEST_CASE("comments: a new one has exactly its members") {
  bank app;
  const auto author = app.add_user();
  const auto reader = app.add_user();
  const auto post = id_of(require(app.post(posts_of(author), json_post("Title", "Text")), 201));
  const auto answer = app.post(comments_on(post), json_comment(reader, "Well said"));
  check_json(answer, 201);
  const auto body = answer.json();
  CHECK(has_members(body, {"id", "post_id", "user_id", "body", "created_at"}));
  CHECK(body.at("post_id") == post);
  CHECK(body.at("user_id") == reader);
  CHECK(body.at("body") == "Well said");
  CHECK(is_time(body.at("created_at").as_string()));
}

TEST_CASE("posts and comments: whom or what they are of must be there") {
  bank app;
  check_problem(app.post(posts_of(9), json_post("Title", "Text")), 404, "user_not_found", posts_of(9));
  const auto user = app.add_user();
  check_problem(app.post(comments_on(9), json_comment(user, "Text")), 404, "post_not_found", comments_on(9));
  const auto post = id_of(require(app.post(posts_of(user), json_post("Title", "Text")), 201));
  check_problem(app.post(comments_on(post), json_comment(99, "Text")), 404, "user_not_found",
                comments_on(post));
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM posts") == 1);
  CHECK(direct.number("SELECT count(*) FROM comments") == 0);
}

TEST_CASE("posts and comments: every failing field is named at once") {
  bank app;
  check_invalid(app.post("/users/x/posts", "{}"), "/users/x/posts", {"/path/id", "/title", "/body"});
  check_invalid(app.post("/posts/0/comments", R"({"user_id":"1","body":7})"), "/posts/0/comments",
                {"/path/id", "/user_id", "/body"});
  check_invalid(app.post(posts_of(1), json_post(" ", "")), posts_of(1), {"/title", "/body"});
  check_invalid(app.post(posts_of(1), json_post(std::string(201, 't'), std::string(10'001, 'b'))),
                posts_of(1), {"/title", "/body"});
  check_invalid(app.post(posts_of(1), "[]"), posts_of(1), {""});
}

TEST_CASE("posts: text is kept as it was given, up to the limit") {
  bank app;
  const auto user = app.add_user();
  const std::string title = std::string(199, 't') + "\u00e9";
  const std::string text = "<script>'; DROP TABLE posts; --\t" + std::string(9'000, 'b') + "\u00e9";
  const auto body = require(app.post(posts_of(user), json_post(title, text)), 201).json();
  CHECK(body.at("title").as_string() == title);
  CHECK(body.at("body").as_string() == text);
  const auto page = require(app.get("/users/" + std::to_string(user) + "/dashboard"), 200).json();
  CHECK(page.at("posts").at(0) == body);
}
