// SPDX-License-Identifier: Apache-2.0
// The welcome mail: a background task after the response, a row in the outbox.
#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>
#include <optional>
#include <thread>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

bool wait_for_mails(bank& app, std::int64_t count) {
  database direct(app.database_url());
  const auto until = std::chrono::steady_clock::now() + milliseconds{5'000};
  while (direct.number("SELECT count(*) FROM outbox") < count) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(milliseconds{5});
  }
  return true;
}

const char* const users_without_one_mail =
    "SELECT count(*) FROM users WHERE (SELECT count(*) FROM outbox WHERE recipient = email) <> 1";

}  // namespace

TEST_CASE("welcome mail: one for each new user, to their address") {
  bank app;
  require(app.post("/users", json_user("ada@example.com", "Ada Lovelace")), 201);
  REQUIRE(wait_for_mails(app, 1));
  REQUIRE(app.wait_for_idle());
  database direct(app.database_url());
  const auto mails = direct.rows("SELECT recipient, subject, body, created_at FROM outbox");
  REQUIRE(mails.size() == 1);
  CHECK(mails[0][0] == "ada@example.com");
  CHECK(!mails[0][1].empty());
  CHECK(mails[0][2].find("Ada Lovelace") != std::string::npos);
  if (!on_postgres()) CHECK(is_time(mails[0][3]));  // there, it has a form of its own
}

TEST_CASE("welcome mail: none for a user who was refused") {
  bank app;
  require(app.post("/users", json_user("ada@example.com")), 201);
  require(app.post("/users", json_user("ada@example.com")), 409);
  require(app.post("/users", json_user("no mail")), 422);
  REQUIRE(app.wait_for_idle());
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM outbox") == 1);
}

TEST_CASE("welcome mail: a client that leaves once it has its answer changes nothing") {
  bank app;
  for (int i = 0; i < 10; ++i) {
    client connection = app.connect();
    connection.send(make_post("/users", json_user("gone" + std::to_string(i) + "@example.com")));
    CHECK(connection.has_bytes(milliseconds{5'000}));  // the answer has begun, so the user is there
    connection.abort();
  }
  CHECK(wait_for_mails(app, 10));
  CHECK(app.wait_for_idle());
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM users") == 10);
  CHECK(direct.number(users_without_one_mail) == 0);
}

TEST_CASE("welcome mail: when clients leave right after sending, each user that came to be has one mail") {
  bank app;
  for (int i = 0; i < 30; ++i) {
    client connection = app.connect();
    connection.send(make_post("/users", json_user("rude" + std::to_string(i) + "@example.com")));
    if (i % 2 == 0) connection.abort();
  }
  CHECK(app.wait_for_idle());
  database direct(app.database_url());
  CHECK(direct.number(users_without_one_mail) == 0);
  CHECK(direct.number("SELECT (SELECT count(*) FROM users) - (SELECT count(*) FROM outbox)") == 0);
}

TEST_CASE("welcome mail: when it fails the user has their 201, and the log has the failure once") {
  bank app;
  std::optional<trigger> down;
  down.emplace(app.database_url(), "BEFORE INSERT ON outbox", trigger::effect::fails, "mail is down");
  const auto answer = app.post("/users", json_user("ada@example.com"));
  check_json(answer, 201);
  app.expect_record("background_task_failed");
  const auto record = app.service().wait_for_event("background_task_failed", milliseconds{5'000});
  REQUIRE(record);
  CHECK(text_of(*record, "level") == "error");
  CHECK(text_of(*record, "trace_id") == answer.trace_id());
  CHECK(boost::json::serialize(*record).find("mail is down") != std::string::npos);

  down.reset();
  require(app.post("/users", json_user("bob@example.com")), 201);  // one failure skips no other
  CHECK(wait_for_mails(app, 1));
}
