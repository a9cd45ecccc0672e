// SPDX-License-Identifier: Apache-2.0
// Handing out connections in order, replacing those that cannot be cleaned, closing when all are back.

#include "sqlite_pool.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/error.hpp>
#include <algorithm>

namespace belay::db::sqlite::detail {

namespace {

task<permit> next_turn(semaphore& line) { co_return co_await line.acquire(); }

// Ends the transaction that somebody left open who could not wait for its end. False: the connection had to be closed.
bool clean_up(slot& left_open, lock_deadline until, bool may_close) {
  try {
    left_open.open->run("ROLLBACK", {}, {}, until);
    return true;
  } catch (const std::exception&) {
    if (!may_close) throw;
    left_open.open.reset();  // takes the transaction with it
    return false;
  }
}

// Closes one connection on a thread; what goes wrong is the first error or attached to it.
task<> close_slot(slot& closing, failure& first) {
  if (!closing.open) co_return;
  try {
    co_await to_thread([&closing] {
      const std::unique_ptr<handle> last = std::move(closing.open);
      last->close();
    });
  } catch (...) {
    failure problem = current_failure();
    if (first) {
      first.attach(std::move(problem));
    } else {
      first = std::move(problem);
    }
  }
}

}  // namespace

lease::lease(std::shared_ptr<pool> owner, permit turn, slot& taken, std::source_location where) noexcept
    : pool_(std::move(owner)), turn_(std::move(turn)), slot_(&taken) {
  slot_->in_use = true;
  slot_->taken = db::detail::lease_origin::of(belay::detail::this_runtime->current, where, now());
  renew_deadline();
}

lease::~lease() {
  if (!pool_) return;
  // Nobody can wait here for a rollback, and closing would block the loop: the next user of the slot does
  // that.
  slot_->in_use = false;
  if (pool_->aborted_) slot_->open.reset();
}

void lease::renew_deadline() noexcept {
  deadline_ = std::chrono::steady_clock::now() +
              std::chrono::duration_cast<std::chrono::steady_clock::duration>(pool_->settings().busy_timeout);
}

task<> lease::replace() {
  if (pool_->is_in_memory()) co_return;
  ++pool_->replaced_;
  try {
    co_await to_thread([taken = slot_] { taken->open.reset(); });
  } catch (...) {
    slot_->open.reset();  // no thread to be had: the lock of the broken connection must go all the same
  }
}

pool::pool(std::string path, options settings) : path_(std::move(path)), settings_(settings) {
  if (settings_.readers > 0) {
    readers_.reserve(settings_.readers);
    for (std::size_t i = 0; i < settings_.readers; ++i) readers_.emplace_back(handle::role::reader);
    readers_free_.emplace(settings_.readers);
  }
}

void pool::throw_closed() const {
  throw closed_error(error_kind::unavailable, "closed",
                     fmt::format("database {}: it is closed or closing", path_));
}

void pool::throw_no_connection(handle::role as) const {
  const auto now = statistics();
  const bool writes = as == handle::role::writer || !readers_free_;
  std::string longest;
  if (writes && writer_.in_use) {
    longest = "; held by " + describe(writer_.taken.holder(belay::now()));
  } else if (const auto all = holders(); !all.empty()) {
    longest = "; held longest by " + describe(all.front());
  }
  throw busy_error(
      error_kind::unavailable, "no_connection_free",
      fmt::format("database {}: wait for a connection to {}: none came free within {}: {} in use, {} more "
                  "waiting{}; try again later",
                  path_, as == handle::role::writer ? "write" : "read",
                  std::chrono::duration_cast<std::chrono::milliseconds>(settings_.busy_timeout), now.in_use,
                  now.waiting, longest));
}

task<lease> pool::acquire(handle::role as, std::source_location where) {
  const auto self = shared_from_this();
  if (closing_) throw_closed();
  const bool reading = as == handle::role::reader && readers_free_;
  semaphore& line = reading ? *readers_free_ : writer_free_;
  const auto asked_at = std::chrono::steady_clock::now();

  std::optional<permit> turn;
  if (line.free() > 0 && line.waiting() == 0) {
    turn = co_await line.acquire();
  } else {
    turn = co_await move_on_after(settings_.busy_timeout, next_turn(line));
    if (!turn) throw_no_connection(as);
  }
  if (closing_) throw_closed();

  slot* free = &writer_;
  if (reading) {
    // The most used first: so that only as many are opened as are needed.
    free = nullptr;
    for (slot& candidate : readers_) {
      if (!candidate.in_use) {
        free = &candidate;
        break;
      }
    }
  }
  lease granted(self, std::move(*turn), *free, where);
  granted.deadline_ =
      asked_at + std::chrono::duration_cast<std::chrono::steady_clock::duration>(settings_.busy_timeout);
  if (free->open && free->open->in_transaction()) {
    const bool clean = co_await to_thread([free, until = granted.deadline_, may_close = !is_in_memory()] {
      return clean_up(*free, until, may_close);
    });
    if (!clean) ++replaced_;
  }
  if (!free->open) {
    co_await to_thread([this, free] { free->open = std::make_unique<handle>(path_, free->role, settings_); });
  }
  co_return granted;
}

task<> pool::open() {
  const lease opened = co_await acquire(handle::role::writer, std::source_location::current());
}

task<> pool::close() {
  closing_ = true;
  // Those in line before are woken first, and told.
  std::vector<permit> turns;
  turns.push_back(co_await writer_free_.acquire());
  for (std::size_t i = 0; i < readers_.size(); ++i) turns.push_back(co_await readers_free_->acquire());
  failure first;
  for (slot& one : readers_) co_await close_slot(one, first);
  co_await close_slot(writer_, first);
  if (first) first.rethrow();
}

void pool::abort() noexcept {
  closing_ = true;
  aborted_ = true;
  for (slot& one : readers_) {
    if (!one.in_use) one.open.reset();
  }
  if (!writer_.in_use) writer_.open.reset();
}

pool_statistics pool::statistics() const noexcept {
  pool_statistics now;
  const auto count = [&now](const slot& one) {
    if (one.in_use) {
      ++now.in_use;
    } else if (one.open) {
      ++now.idle;
    }
  };
  count(writer_);
  for (const slot& one : readers_) count(one);
  now.waiting = writer_free_.waiting() + (readers_free_ ? readers_free_->waiting() : 0);
  now.transactions = transactions_;
  now.replaced = replaced_;
  return now;
}

std::vector<pool_holder> pool::holders() const {
  const time_point at = now();
  std::vector<pool_holder> all;
  const auto add = [&](const slot& one) {
    if (one.in_use) all.push_back(one.taken.holder(at));
  };
  add(writer_);
  for (const slot& one : readers_) add(one);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.held > b.held; });
  return all;
}

}  // namespace belay::db::sqlite::detail
