// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bank in one process: its app, a network in memory, a database that outlives the app, and what must hold of them.

#include <belay/core/group.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/db/sqlite/database.hpp>
#include <belay/io/network.hpp>
#include <belay/service/app.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/stage.hpp>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store.hpp"
#include "support/client.hpp"

namespace proof {

/// What the database says when nobody uses it.
struct books {
  std::int64_t users = 0;
  std::int64_t welcomes = 0;  ///< rows of the outbox
  std::int64_t accounts = 0;
  std::int64_t deposits = 0;
  std::int64_t transfers = 0;
  std::int64_t keys = 0;         ///< idempotency keys whose transfer exists
  std::int64_t broken_keys = 0;  ///< and those whose transfer does not
  std::int64_t reports = 0;      ///< asked for, in whatever state
  std::int64_t posts = 0;
  std::int64_t comments = 0;
  std::int64_t total = 0;       ///< of all balances
  std::int64_t unbalanced = 0;  ///< accounts whose balance is not what was paid in and moved

  bool operator==(const books&) const = default;
};
inline constexpr books books_at_start{.users = 1, .accounts = 2, .deposits = 2, .posts = 1, .total = 200};

/// At the start: user 1, who has written post 1, with the accounts 1 and 2, and 100 on each. Made by `stage::make`.
class world {
 public:
  /// How an app becomes this bank.
  using assembly = std::function<void(belay::service::app&, belay::managed<accounts::store>)>;

  /// `storage`: as for `sqlite::open`. `put_together`: the bank, or a variant of it.
  world(belay::testing::stage& on, std::string storage, belay::testing::network_conditions network,
        assembly put_together);
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  ~world();

  /// Opens and fills the database.
  [[nodiscard]] belay::task<> open();
  [[nodiscard]] bool is_open() const noexcept { return db_.has_value(); }

  /// Starts the service, has `requests` sent to it at the same time, each by a client of its own, and stops it. Only what the service does
  /// is numbered: clients are neither cancelled nor failed by themselves.
  [[nodiscard]] belay::task<> serve(std::vector<std::string> requests);

  /// The same once more, for the use afterwards. Errors: `std::runtime_error` when there is no answer.
  [[nodiscard]] belay::task<answer> serve_again(std::string request);

  /// What the requests of `serve` were answered; nothing for those that were not.
  [[nodiscard]] const std::vector<std::optional<answer>>& answers() const noexcept { return answers_; }
  [[nodiscard]] bool answered_any() const;
  /// All of them, with this status; 0: with one below 300.
  [[nodiscard]] bool all_answered(int status) const;
  /// The exit code of `serve`'s app; nothing when it was cancelled or has failed.
  [[nodiscard]] std::optional<int> exit_code() const noexcept { return exit_code_; }
  /// For rules. All 0 when the scenario ended before the database was open.
  [[nodiscard]] const books& audit();
  [[nodiscard]] belay::task<books> read_books();

  /// What somebody outside may do to it at any await.
  void cut_connections() { net_.cut_all(); }
  void let_clients_leave();
  void stop() { app_->stop("the test"); }
  void let_time_pass(belay::duration length) { stage_->loop().clock().advance(length); }

 private:
  [[nodiscard]] std::unique_ptr<belay::service::app> make_app();
  [[nodiscard]] belay::task<> run_app();
  [[nodiscard]] belay::task<> talk(std::vector<std::string> requests);
  [[nodiscard]] static belay::task<> note_answer(std::optional<answer>& into, std::string request);
  void expect_nothing_left();
  void expect_balanced_books();
  void expect_failures_told_once();

  belay::testing::stage* stage_;
  assembly put_together_;
  std::shared_ptr<belay::telemetry::memory_sink> log_;
  belay::testing::fake_network net_;
  belay::io::network_override onto_net_;
  belay::managed<belay::db::sqlite::database> opening_;
  std::optional<belay::db::sqlite::database> db_;
  std::unique_ptr<belay::service::app> app_;
  bool app_has_ended_ = false;
  std::optional<int> exit_code_;
  belay::group* clients_ = nullptr;  // while there are some
  std::vector<std::optional<answer>> answers_;
  std::optional<books> audited_;
};

/// What may go wrong below and within the bank, for `fail_everywhere`.
std::vector<std::exception_ptr> errors();

}  // namespace proof
