// SPDX-License-Identifier: Apache-2.0
// Commits whose connection is lost, on connections that are not there: failovers, standbys, and too little time.

#include <doctest/doctest.h>

#include <belay/core/timeout.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <belay/testing/test_loop.hpp>

#include "fake_lines.hpp"

using namespace postgres_tests;

namespace {

b::task<> one_row(pg::database db) {
  co_await b::with(pg::transaction(std::move(db)), [](pg::connection& c) -> b::task<> {
    co_await c.execute("INSERT 1");
    co_await c.execute("INSERT 2");
  });
}

// How a transaction ended, by the code of its error; "" for success. Nothing is left.
std::string end_of(fake_server& server, belay::loop_options how = {}, pg::options set = {}) {
  std::string code;
  belay::testing::test_loop loop(std::move(how));
  loop.run(b::with(pg::detail::open_on(std::shared_ptr<pg::detail::connector>(&server, [](auto*) {}), set),
                   [&code](pg::database& db) -> b::task<> {
                     const b::outcome<void> ended = co_await b::as_outcome(one_row(db));
                     if (ended.succeeded()) co_return;
                     const b::failure why = ended.failure();
                     const auto* known = why.find<b::error>();
                     code = known == nullptr ? why.type_name() : std::string(known->code());
                     why.observe();
                   }));
  CHECK(server.open_lines == 0);
  return code;
}

}  // namespace

TEST_CASE(
    "postgres commit: after a failover, somebody else's transaction of the same number says nothing [row 287]") {
  fake_server lost;
  lost.on_commit = [&lost] {
    lost.fail_over();
    lost.transaction_of_another(true);
  };
  CHECK(end_of(lost) == "commit_unknown");
  fake_server running;
  running.on_commit = [&running] {
    running.fail_over();
    running.transaction_of_another(std::nullopt);
  };
  CHECK(end_of(running) == "connection_lost");
  CHECK(running.rows == 0);
  fake_server aborted;
  aborted.on_commit = [&aborted] {
    aborted.fail_over();
    aborted.transaction_of_another(false);
  };
  CHECK(end_of(aborted) == "connection_lost");
}

TEST_CASE("postgres commit: a standby is not asked how a commit ended [row 287]") {
  fake_server server;
  server.on_commit = [&server] {
    server.cut_all(true);
    server.standby = true;
  };
  CHECK(end_of(server) == "commit_unknown");
  CHECK(server.rows == 2);
}

TEST_CASE("postgres commit: its end keeps within the limit of the cleanup, or it is not begun") {
  fake_server silent;
  silent.on_commit = [&silent] { silent.silent = true; };
  CHECK(end_of(silent, {.cleanup_limit = 5s}) == "commit_unknown");
  fake_server by_default;
  by_default.on_commit = [&by_default] { by_default.silent = true; };
  CHECK(end_of(by_default) == "commit_unknown");
  fake_server hurried;
  CHECK(end_of(hurried, {.cleanup_limit = 4s}) == "transaction_lost");
  CHECK(hurried.rows == 0);
  CHECK(end_of(hurried, {.cleanup_limit = 4s}, {.cancel_limit = 500ms}).empty());
  CHECK(hurried.rows == 2);
}
