// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connections to a server that is not there, on the virtual clock: it knows transactions, savepoints apart, and one table of one column.

#include <belay/core/detail/runtime.hpp>
#include <belay/core/detail/timer_wheel.hpp>
#include <belay/core/sleep.hpp>
#include <belay/db/postgres/error.hpp>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "postgres/line.hpp"
#include "postgres/open_on.hpp"

namespace postgres_tests {

namespace b = belay;
namespace pg = belay::db::postgres;
using namespace std::chrono_literals;

class fake_server;

// Answers after a while, by a timer of its own.
class fake_line final : public pg::detail::line, private belay::detail::timer_node {
 public:
  fake_line(fake_server& at, int number) : at_(&at), number_(number) {}
  ~fake_line() override { hang_up(); }

  void start(pg::detail::exchange& one) override;
  void stop(pg::detail::exchange& one) noexcept override;
  void drop() noexcept override { hang_up(); }
  [[nodiscard]] bool usable() const noexcept override { return open_; }
  [[nodiscard]] pg::detail::transaction_state transaction() const noexcept override { return state_; }
  [[nodiscard]] int backend() const noexcept override { return number_; }

 private:
  friend class fake_server;
  void hang_up() noexcept;
  void answer();
  [[nodiscard]] bool run_one(const pg::statement& each);
  void answer_in(b::duration delay) noexcept {
    due = static_cast<std::uint64_t>((b::now() + delay).time_since_epoch().count());
    fire = [](timer_node& timer) noexcept { static_cast<fake_line&>(timer).answer(); };
    belay::detail::this_runtime->timers->insert(*this);
  }
  void finish() {
    if (linked()) belay::detail::this_runtime->timers->remove(*this);
    std::exchange(current_, nullptr)->ended();
  }

  fake_server* at_;
  const int number_;
  bool open_ = true;
  bool stopping_ = false;
  bool touched_ = false;  // its session
  pg::detail::transaction_state state_ = pg::detail::transaction_state::none;
  int uncommitted_ = 0;
  int id_ = 0;
  pg::detail::exchange* current_ = nullptr;
};

class fake_server final : public pg::detail::connector {
 public:
  int rows = 0;
  std::size_t open_lines = 0;
  b::duration connecting_takes = 2ms;
  bool silent = false;  // a network that takes what is sent, and gives nothing back
  int refusals = 0;     // so many attempts to connect fail, for the reason of `refused_as`
  b::error_kind refused_as = b::error_kind::unavailable;
  int tries = 0;
  int exchanges = 0;  // round trips with statements
  bool refuses_begin = false;
  int resets = 0;
  int strayed = 0;                       // transactions that met what others had left in the session
  int begun_twice = 0;                   // transactions begun on a connection that had one
  bool cuts_listeners = false;           // once they are let in
  bool standby = false;                  // new connections come to one
  std::function<void()> on_commit = {};  // once, before it is done

  b::task<std::shared_ptr<pg::detail::line>> connect() override {
    co_await b::sleep_for(connecting_takes);
    ++tries;
    if (refusals > 0) {
      --refusals;
      throw pg::connection_error(refused_as, "refused", "refused by the fake server");
    }
    auto made = std::make_shared<fake_line>(*this, ++made_);
    if (!standby) made->timeline = std::to_string(timeline_);
    lines_.push_back(made);
    ++open_lines;
    co_return made;
  }
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }

  // Every connection is lost; what is under way has been done, or has not.
  void cut_all(bool done) noexcept {
    for (const auto& each : lines_) {
      const std::shared_ptr<fake_line> one = each.lock();
      if (!one || !one->open_) continue;
      if (done && one->current_ != nullptr) {
        for (const pg::statement& statement : one->current_->statements)
          static_cast<void>(one->run_one(statement));
      }
      one->hang_up();
    }
  }
  // The primary dies; another one takes its place, to which nothing came of the last transactions.
  void fail_over() noexcept {
    cut_all(false);
    ++timeline_;
    committed_.clear();
    last_id_ = 0;
  }
  // Somebody else's transaction gets the next number.
  void transaction_of_another(std::optional<bool> committed) {
    ++last_id_;
    if (committed) committed_[last_id_] = *committed;
  }

 private:
  friend class fake_line;
  const std::string name_ = "postgresql://fake";
  int made_ = 0;
  int last_id_ = 0;
  int timeline_ = 1;
  std::map<int, bool> committed_;
  std::vector<std::weak_ptr<fake_line>> lines_;
};

inline void fake_line::start(pg::detail::exchange& one) {
  current_ = &one;
  stopping_ = false;
  if (!open_) {
    one.error = std::make_exception_ptr(
        pg::connection_error(b::error_kind::unavailable, "connection_lost", "the fake connection is closed"));
    return finish();
  }
  if (!one.statements.empty() && one.statements.front().sql == "COMMIT" && at_->on_commit)
    std::exchange(at_->on_commit, {})();
  if (!one.statements.empty()) ++at_->exchanges;
  if (current_ == nullptr || at_->silent) return;
  answer_in(2ms);
}

inline void fake_line::stop(pg::detail::exchange&) noexcept {
  stopping_ = true;
  if (current_ == nullptr || linked()) return;  // the answer comes
  const bool a_sign_of_life =
      current_->what == pg::detail::step::batch && current_->statements.empty();  // is not cancelled
  due = static_cast<std::uint64_t>((b::now() + (a_sign_of_life ? 0s : 2s)).time_since_epoch().count());
  fire = [](timer_node& timer) noexcept { static_cast<fake_line&>(timer).hang_up(); };
  belay::detail::this_runtime->timers->insert(*this);
}

inline void fake_line::hang_up() noexcept {
  if (!std::exchange(open_, false)) return;
  --at_->open_lines;
  if (id_ != 0) at_->committed_.try_emplace(id_, false);
  uncommitted_ = 0;
  if (current_ == nullptr) return;
  current_->stopped = stopping_;
  if (!stopping_) {
    current_->error = std::make_exception_ptr(
        pg::connection_error(b::error_kind::unavailable, "connection_lost", "the fake connection was cut"));
  }
  finish();
}

// False: it failed.
inline bool fake_line::run_one(const pg::statement& each) {
  using pg::detail::transaction_state;
  const std::string& sql = each.sql;
  auto names = std::make_shared<belay::db::column_names>(belay::db::column_names{"one"});
  const auto give = [&](belay::db::value what) {
    std::vector<belay::db::row> rows;
    rows.emplace_back(names, std::vector<belay::db::value>{std::move(what)});
    current_->results.back().rows = belay::db::rows(names, std::move(rows));
  };
  current_->results.emplace_back();
  current_->tags.push_back(sql.substr(0, sql.find(' ')));
  if (sql.starts_with("CONFLICT")) {
    current_->error = std::make_exception_ptr(
        pg::serialization_error(b::error_kind::unavailable, "serialization_failure", "conflict"));
    if (state_ == transaction_state::open) state_ = transaction_state::failed;
    return false;
  }
  if (sql.starts_with("BEGIN") && at_->refuses_begin) {
    current_->error = std::make_exception_ptr(belay::db::statement_error(
        b::error_kind::internal, "refused", "BEGIN is refused by the fake server"));
    return false;
  }
  if (sql.starts_with("BEGIN")) {
    if (state_ != transaction_state::none) ++at_->begun_twice;
    if (touched_) ++at_->strayed;
    state_ = transaction_state::open;
  } else if (sql == "COMMIT") {
    at_->rows += uncommitted_;
    if (id_ != 0) at_->committed_[id_] = true;
    uncommitted_ = id_ = 0;
    state_ = transaction_state::none;
  } else if (sql == "ROLLBACK") {
    if (id_ != 0) at_->committed_[id_] = false;
    uncommitted_ = id_ = 0;
    state_ = transaction_state::none;
  } else if (sql.starts_with("INSERT")) {
    if (state_ == transaction_state::none) {
      ++at_->rows;
    } else {
      if (id_ == 0) id_ = ++at_->last_id_;
      ++uncommitted_;
    }
  } else if (sql == pg::detail::reset_words) {
    ++at_->resets;
    touched_ = false;
  } else if (sql.starts_with("SET ")) {
    touched_ = true;
  } else if (sql.find("xact_id_if_assigned") != std::string::npos) {
    give(id_ == 0 ? belay::db::value() : belay::db::value(std::to_string(id_)));
  } else if (sql.find("pg_xact_status") != std::string::npos) {
    const auto known = at_->committed_.find(std::stoi(each.bound[0].as<std::string>()));
    give(known == at_->committed_.end() ? "in progress" : known->second ? "committed" : "aborted");
  } else {
    give(at_->rows);
  }
  return true;
}

inline void fake_line::answer() {
  // Asked to stop in time: nothing was done, and a transaction has failed.
  if (stopping_) {
    current_->stopped = true;
    if (state_ == pg::detail::transaction_state::open) state_ = pg::detail::transaction_state::failed;
    return finish();
  }
  for (const pg::statement& each : current_->statements)
    if (!run_one(each)) break;
  const bool cut = at_->cuts_listeners && !current_->tags.empty() && current_->tags.front() == "LISTEN";
  finish();
  if (cut) hang_up();
}

}  // namespace postgres_tests
