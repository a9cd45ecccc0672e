// SPDX-License-Identifier: Apache-2.0
// The proof proves something: a bank that moves money outside of a transaction is found out.

#include <belay/http/status.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <string_view>

#include "support/proof.hpp"

namespace bt = belay::testing;
using belay::task;

namespace {

unsigned credit_line = 0;

// Debits and credits with nothing around both.
task<belay::http::response> careless_transfer(const accounts::store& db) {
  co_await db.execute("INSERT INTO transfers (from_id, to_id, amount) VALUES (1, 2, 30)");
  co_await db.execute("UPDATE accounts SET balance = balance - 30 WHERE id = 1");
  credit_line = __LINE__ + 1;
  co_await db.execute("UPDATE accounts SET balance = balance + 30 WHERE id = 2");
  co_return belay::http::response::json(belay::http::status::created, "{}");
}

void careless_bank(belay::service::app& app, belay::managed<accounts::store> storage) {
  const auto db = app.manage("database", std::move(storage));
  app.post("/transfers", [db](belay::service::request&) -> task<belay::http::response> {
    co_return co_await careless_transfer(*db);
  });
}

const proof::exchange careless{.name = "careless transfer",
                               .requests = {proof::post("/transfers", "{}")},
                               .status = 201,
                               .put_together = careless_bank};

void check_found(const bt::report& found) {
  const auto half_done =
      std::find_if(found.findings.begin(), found.findings.end(), [](const bt::finding& one) {
        return one.rule == "no transfer is half done" && one.at.line() == credit_line &&
               std::string_view(one.at.file_name()).ends_with("planted_test.cpp");
      });
  CHECK_MESSAGE(half_done != found.findings.end(), found.text());
}

}  // namespace

TEST_CASE("a transfer without a transaction: found when it is cancelled, with its line") {
  check_found(proof::cancel_everywhere(careless));
}

TEST_CASE("a transfer without a transaction: found when it fails, with its line") {
  check_found(proof::fail_everywhere(careless));
}

TEST_CASE("a transfer without a transaction: found when the connection is lost, with its line") {
  check_found(proof::disturb_everywhere(careless, proof::events_outside[0]));
}
