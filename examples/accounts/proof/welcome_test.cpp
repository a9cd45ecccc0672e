// SPDX-License-Identifier: Apache-2.0
// POST /users where there is no room for the mail: told before the user is there.

#include <belay/core/event.hpp>
#include <belay/db/sqlite/database.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <belay/testing/service_client.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "routes.hpp"

using belay::task;
using belay::testing::service_client;

namespace {

// Sends nothing until it is released.
class stuck_mailer final : public accounts::mailer {
 public:
  [[nodiscard]] task<> send(accounts::mail what, belay::http::trace_context) override {
    co_await released.wait();
    sent.push_back(std::move(what));
  }

  belay::event released;
  std::vector<accounts::mail> sent;
};

}  // namespace

TEST_CASE("POST /users: 503 when too many mails wait leaves nobody behind, and the second try succeeds") {
  const auto mails = std::make_shared<stuck_mailer>();
  const belay::telemetry::logger log(std::make_shared<belay::telemetry::memory_sink>());
  belay::service::app app({.name = "accounts", .listen = {"127.0.0.1", 0}, .most_background_tasks = 1}, log);
  const accounts::database db = app.manage("database", accounts::open_store("sqlite::memory:"));
  app.step("migrate", [db]() -> task<> { co_await db->migrate(); });
  accounts::add_user_routes(app, db, mails);

  const int code = belay::testing::run_service(app, [&](service_client& client) -> task<> {
    const std::string ada = R"({"email":"ada@example.org","name":"Ada"})";
    const std::string bob = R"({"email":"bob@example.org","name":"Bob"})";
    CHECK((co_await client.post_json("/users", ada)).status() == 201);
    const auto refused = co_await client.post_json("/users", bob);
    CHECK(refused.status() == 503);
    CHECK(refused.text("/code") == "overloaded");
    mails->released.set();
    co_await client.background();
    CHECK((co_await client.post_json("/users", bob)).status() == 201);
    co_await client.background();
    REQUIRE(mails->sent.size() == 2);
    CHECK(mails->sent[1].to == "bob@example.org");
  });
  CHECK(code == 0);
}
