// SPDX-License-Identifier: Apache-2.0
// The bank in one process.

#include "support/world.hpp"

#include <belay/core/sleep.hpp>
#include <belay/db/error.hpp>
#include <belay/db/sqlite/migrate.hpp>
#include <belay/db/sqlite/transaction.hpp>
#include <belay/io/network_error.hpp>
#include <belay/telemetry/logger.hpp>
#include <belay/testing/everywhere.hpp>

#include <algorithm>
#include <functional>
#include <new>
#include <stdexcept>

#include "bank.hpp"
#include "schema.hpp"

namespace proof {

namespace bt = belay::testing;
namespace sqlite = belay::db::sqlite;
namespace service = belay::service;
using belay::task;

namespace {

const belay::io::endpoint address{"127.0.0.1", 8080};

}  // namespace

world::world(bt::stage& on, std::string storage, bt::network_conditions network, assembly put_together)
    : stage_(&on),
      put_together_(std::move(put_together)),
      log_(std::make_shared<belay::telemetry::memory_sink>()),
      net_({.conditions = network}),
      onto_net_(net_),
      opening_(sqlite::open(std::move(storage), {.readers = 2})) {
  expect_nothing_left();
  expect_balanced_books();
  expect_failures_told_once();
}

world::~world() = default;

task<> world::open() {
  db_ = co_await opening_.open();
  co_await sqlite::migrate(*db_, accounts::sqlite_schema());
  co_await belay::with(sqlite::transaction(*db_), [](sqlite::connection& c) -> task<> {
    co_await c.execute_script(R"sql(
      INSERT INTO users (email, name) VALUES ('ada@example.org', 'Ada');
      INSERT INTO posts (user_id, title, body) VALUES (1, 'First', 'Hello.');
      INSERT INTO accounts (user_id, balance) VALUES (1, 100), (1, 100);
      INSERT INTO deposits (account_id, amount) VALUES (1, 100), (2, 100);
    )sql");
  });
  app_ = make_app();
}

std::unique_ptr<service::app> world::make_app() {
  service::app_options options;
  options.name = "accounts";
  options.listen = address;
  options.random = [seed = std::uint64_t{1}]() mutable { return seed++ * 0x9e3779b97f4a7c15ULL; };
  auto made = std::make_unique<service::app>(std::move(options), belay::telemetry::logger(log_));
  auto lent = accounts::lend_store(*db_);  // the app has its end, the database goes on
  if (put_together_) {
    put_together_(*made, std::move(lent));
  } else {
    accounts::add_bank(*made, std::move(lent), belay::telemetry::logger(log_));
  }
  return made;
}

task<> world::run_app() {
  struct end {
    world& of;
    ~end() { of.app_has_ended_ = true; }
  } const at_end{*this};
  exit_code_ = co_await app_->run_within();
}

task<> world::note_answer(std::optional<answer>& into, std::string request) {
  into = co_await ask(address, std::move(request));
}

task<> world::talk(std::vector<std::string> requests) {
  while (net_.listeners() == 0 && !app_has_ended_) co_await belay::sleep_for(std::chrono::milliseconds(1));
  answers_.assign(requests.size(), std::nullopt);
  struct end {
    world& of;
    ~end() { of.clients_ = nullptr; }
  } const at_end{*this};
  co_await belay::with_group([&](belay::group& clients) -> task<> {
    clients_ = &clients;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      clients.spawn(&world::note_answer, std::ref(answers_[i]), std::move(requests[i]));
    }
    co_return;
  });
}

task<> world::serve(std::vector<std::string> requests) {
  co_await belay::with_group([&](belay::group& all) -> task<> {
    all.spawn(&world::run_app, this);
    co_await stage_->undisturbed(talk(std::move(requests)));
    app_->stop("the clients have gone");
  });
}

task<answer> world::serve_again(std::string request) {
  if (!db_) co_await open();
  app_ = make_app();
  app_has_ended_ = false;
  co_await belay::with_group([&](belay::group& all) -> task<> {
    all.spawn(&world::run_app, this);
    co_await talk({std::move(request)});
    app_->stop("the client has gone");
  });
  if (!answers_[0]) throw std::runtime_error("there was no answer");
  co_return std::move(*answers_[0]);
}

bool world::answered_any() const {
  return std::any_of(answers_.begin(), answers_.end(), [](const auto& one) { return one.has_value(); });
}

bool world::all_answered(int status) const {
  return !answers_.empty() && std::all_of(answers_.begin(), answers_.end(), [status](const auto& one) {
    return one && (status == 0 ? one->status < 300 : one->status == status);
  });
}

task<books> world::read_books() {
  const auto found = co_await db_->query_one(R"sql(
    SELECT
      (SELECT count(*) FROM users) AS users,
      (SELECT count(*) FROM outbox) AS welcomes,
      (SELECT count(*) FROM accounts) AS accounts,
      (SELECT count(*) FROM deposits) AS deposits,
      (SELECT count(*) FROM transfers) AS transfers,
      (SELECT count(*) FROM idempotency_keys k JOIN transfers t ON t.id = k.transfer_id) AS keys,
      (SELECT count(*) FROM idempotency_keys WHERE transfer_id NOT IN (SELECT id FROM transfers)) AS broken_keys,
      (SELECT count(*) FROM reports) AS reports,
      (SELECT count(*) FROM posts) AS posts,
      (SELECT count(*) FROM comments) AS comments,
      (SELECT total(balance) FROM accounts) AS total,
      (SELECT count(*) FROM accounts a WHERE balance <>
        (SELECT coalesce(sum(amount), 0) FROM deposits WHERE account_id = a.id)
        + (SELECT coalesce(sum(amount), 0) FROM transfers WHERE to_id = a.id)
        - (SELECT coalesce(sum(amount), 0) FROM transfers WHERE from_id = a.id)) AS unbalanced
  )sql");
  const auto number = [&found](const char* name) { return found->get<std::int64_t>(name); };
  co_return books{.users = number("users"),
                  .welcomes = number("welcomes"),
                  .accounts = number("accounts"),
                  .deposits = number("deposits"),
                  .transfers = number("transfers"),
                  .keys = number("keys"),
                  .broken_keys = number("broken_keys"),
                  .reports = number("reports"),
                  .posts = number("posts"),
                  .comments = number("comments"),
                  .total = static_cast<std::int64_t>(found->get<double>("total")),
                  .unbalanced = number("unbalanced")};
}

const books& world::audit() {
  if (!audited_) audited_ = db_ ? stage_->loop().run(read_books()) : books();
  return *audited_;
}

void world::let_clients_leave() {
  if (clients_ != nullptr) clients_->cancel();
}

void world::expect_nothing_left() {
  stage_->expect("the database has all its connections back and no transaction", [this] {
    if (!db_) return true;  // ended before it was open
    const sqlite::pool_statistics now = db_->statistics();
    return now.in_use == 0 && now.transactions == 0 && now.waiting == 0;
  });
  stage_->expect("no connection of the network is left", [this] {
    if (!net_.nothing_left()) throw std::runtime_error(net_.describe());
    return true;
  });
}

void world::expect_balanced_books() {
  stage_->expect("no transfer is half done", [this] {
    const books& now = audit();
    return now.unbalanced == 0 && now.broken_keys == 0;
  });
}

// Whatever failed, the client learns no more than a code, and the log has it once.
void world::expect_failures_told_once() {
  stage_->expect("each answer of 400 and more is one record of the log, and tells nothing of the inside",
                 [this] {
                   std::size_t failed = 0;
                   for (const std::optional<answer>& one : answers_) {
                     if (!one || one->status < 400) continue;
                     ++failed;
                     for (const char* secret : {"injected", "locked", "disk", "reset", "bad_alloc"}) {
                       if (one->body.find(secret) != std::string::npos) throw std::runtime_error(one->body);
                     }
                   }
                   std::size_t records = 0;
                   for (const std::string& line : log_->lines()) {
                     if (line.find(R"("event":"request_failed")") != std::string::npos) ++records;
                   }
                   // There may be one more: the answer itself can get lost.
                   return records >= failed && records <= answers_.size();
                 });
  stage_->expect("an error that no request has to answer for is reported once",
                 [this](const bt::run_end& how) {
                   return stage_->loop().lost_errors().size() <= (how.injected ? 1U : 0U);
                 });
}

std::vector<std::exception_ptr> errors() {
  using belay::error_kind;
  return belay::testing::errors_of(
      belay::testing::injected_error(),
      belay::db::busy_error(error_kind::unavailable, "database_locked", "database is locked"),
      belay::db::storage_error(error_kind::unavailable, "disk_full", "database or disk is full"),
      belay::io::disconnected_error("read from the client: connection reset",
                                    std::make_error_code(std::errc::connection_reset)),
      std::bad_alloc());
}

}  // namespace proof
