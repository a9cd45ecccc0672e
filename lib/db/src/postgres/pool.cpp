// SPDX-License-Identifier: Apache-2.0
// Handing out connections in order, making them when they are needed, dropping those that are not clean.

#include "pool.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/random.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/postgres/error.hpp>
#include <belay/resilience/backoff.hpp>
#include <belay/resilience/detail/random.hpp>
#include <algorithm>

namespace belay::db::postgres::detail {

namespace {

task<permit> next_turn(semaphore& line) { co_return co_await line.acquire(); }

std::chrono::milliseconds shown(duration length) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(length);
}

// Whether it makes sense to try again soon, with the same words.
bool may_pass(const failure& why) {
  if (const auto* known = why.find<belay::error>()) {
    return known->kind() == error_kind::unavailable || known->kind() == error_kind::overloaded ||
           known->kind() == error_kind::timed_out;
  }
  return false;
}

}  // namespace

lease::lease(std::shared_ptr<pool> owner, permit turn) noexcept
    : pool_(std::move(owner)), turn_(std::move(turn)) {
  ++pool_->in_use_;
}

lease::~lease() {
  if (!pool_) return;
  --pool_->in_use_;
  if (line_) pool_->take_back(std::move(line_), born_);
}

pool::pool(std::shared_ptr<connector> from, options settings)
    : from_(std::move(from)), settings_(std::move(settings)), free_(settings_.max_connections, "pool") {
  idle_.reserve(settings_.max_connections);
}

void pool::throw_closed() const {
  throw closed_error(error_kind::unavailable, "closed",
                     fmt::format("database {}: it is closed or closing", name()));
}

void pool::take_back(std::shared_ptr<line> used, time_point born) noexcept {
  used->told = {};
  const bool clean = used->usable() && used->transaction() == transaction_state::none;
  const time_point here = now();
  if (clean && !closing_ && here - born < settings_.max_lifetime) {
    idle_.push_back({std::move(used), born, here});  // there is room
    return;
  }
  if (!closing_) ++replaced_;
  used->drop();
}

task<bool> pool::answers(line& asked) {
  outcome<std::vector<result>> how =
      co_await as_outcome(with_timeout({settings_.cancel_limit, "a sign of life"}, run_batch(asked, {})));
  if (how.failed()) how.failure().observe();
  co_return how.succeeded() && asked.usable();
}

task<lease> pool::acquire() {
  const auto self = shared_from_this();
  if (closing_) throw_closed();
  const time_point until = saturating_add(now(), settings_.acquire_limit);
  std::optional<permit> turn;
  if (free_.free() > 0 && free_.waiting() == 0) {
    turn = co_await free_.acquire();
  } else {
    turn = co_await move_on_after(settings_.acquire_limit, next_turn(free_));
    if (!turn) {
      throw busy_error(
          error_kind::unavailable, "no_connection_free",
          fmt::format(
              "database {}: wait for a connection: none came free within {}: {} in use, {} more waiting; "
              "try again later",
              name(), shown(settings_.acquire_limit), in_use_, free_.waiting()));
    }
  }
  if (closing_) throw_closed();
  lease granted(self, std::move(*turn));
  while (!idle_.empty()) {
    idle_line last = std::move(idle_.back());
    idle_.pop_back();
    const time_point here = now();
    if (last.open->usable() && here - last.born < settings_.max_lifetime) {
      const bool fresh =
          settings_.check_after > duration::zero() && here - last.since < settings_.check_after;
      if (fresh || co_await answers(*last.open)) {
        granted.line_ = std::move(last.open);
        granted.born_ = last.born;
        co_return granted;
      }
    }
    ++replaced_;
    last.open->drop();
  }
  granted.line_ = co_await connect(until);
  granted.born_ = now();
  if (closing_) throw_closed();
  co_return granted;
}

// Tries until it works, or until there is no time left: a server that is started again is there soon.
task<std::shared_ptr<line>> pool::connect(time_point until) {
  belay::detail::random_source random(random_bits());
  const backoff pauses = backoff::exponential(std::chrono::milliseconds(20), std::chrono::seconds(1));
  duration last_pause{};
  for (unsigned tried = 1;; ++tried) {
    const duration left = until - now();
    outcome<std::shared_ptr<line>> made = co_await as_outcome(with_timeout(
        {std::min(settings_.connect_limit, left), "connecting to PostgreSQL"}, from_->connect()));
    if (made.succeeded()) {
      ++opened_;
      co_return std::move(made).value();
    }
    failure why = made.failure();
    ++failures_;
    if (!may_pass(why)) co_await fail(why);
    last_pause = std::max<duration>(pauses.draw(tried, last_pause, random), std::chrono::milliseconds(5));
    if (closing_ || now() + last_pause >= until) {
      why.observe();
      const auto* known = why.find<connection_error>();
      const bool crowded = known != nullptr && known->kind() == error_kind::overloaded;
      co_await fail(connection_error(
          crowded ? error_kind::overloaded : error_kind::unavailable,
          crowded ? "too_many_connections" : "server_away",
          fmt::format("database {}: no connection within {}, {} {}; the last one: {}", name(),
                      shown(settings_.acquire_limit), tried, tried == 1 ? "try" : "tries", why.message())));
    }
    why.observe();
    co_await sleep_for(last_pause);
  }
}

BELAY_CORO_WRAPPER task<std::shared_ptr<line>> pool::connect_apart() { return from_->connect(); }

task<> pool::open() {
  const auto self = shared_from_this();
  std::vector<lease> first;
  first.reserve(settings_.min_connections);
  while (first.size() < settings_.min_connections) first.push_back(co_await acquire());
}

task<> pool::close() {
  closing_ = true;
  while (!idle_.empty()) {
    idle_.back().open->drop();
    idle_.pop_back();
  }
  // Those in line before are woken first, and told.
  std::vector<permit> turns;
  for (std::size_t i = 0; i < settings_.max_connections; ++i) turns.push_back(co_await free_.acquire());
}

void pool::abort() noexcept {
  closing_ = true;
  while (!idle_.empty()) {
    idle_.back().open->drop();
    idle_.pop_back();
  }
}

pool_statistics pool::statistics() const noexcept {
  return {.in_use = in_use_,
          .idle = idle_.size(),
          .waiting = free_.waiting(),
          .transactions = transactions_,
          .opened = opened_,
          .replaced = replaced_,
          .failures = failures_};
}

task<std::vector<result>> run_batch(line& on, std::vector<statement> all) {
  const std::size_t count = all.size();
  exchange_wait wait(on, step::batch, std::move(all));
  exchange& done = co_await wait;
  done.results.resize(count);
  co_return std::move(done.results);
}

}  // namespace belay::db::postgres::detail
