// SPDX-License-Identifier: Apache-2.0
// What the generic pool does with lines, which failures it is patient with, and the words when patience ends.

#include "pool.hpp"

#include <fmt/format.h>

#include <belay/core/detail/place.hpp>
#include <belay/core/failure.hpp>
#include <belay/db/error.hpp>
#include <belay/db/postgres/error.hpp>

namespace belay::db::postgres::detail {

namespace {

// Whether it makes sense to try again soon, with the same words: a server that is started again is there soon.
bool may_pass(const failure& why) noexcept {
  const auto* const known = belay::detail::exception_as<belay::error>(why.exception());
  return known != nullptr &&
         (known->kind() == error_kind::unavailable || known->kind() == error_kind::overloaded ||
          known->kind() == error_kind::timed_out);
}

task<std::unique_ptr<held_line>> open_line(std::shared_ptr<connector> from, bool reset_always) {
  co_return std::make_unique<held_line>(co_await from->connect(), reset_always);
}

task<bool> gives_a_sign_of_life(held_line& one) {
  static_cast<void>(co_await run_batch(*one.open, {}));
  co_return one.open->usable();
}

task<> reset(held_line& one) {
  exchange_wait wait(*one.open, step::script, {{reset_words}});
  wait.dropped_when_stopped = true;
  co_await wait;
  one.open->left = leaving::nothing;
}

returned_as state_of(const held_line& one) noexcept {
  const line& on = *one.open;
  if (!on.usable() || on.transaction() != transaction_state::none || on.left == leaving::more)
    return returned_as::broken;
  return one.reset_always || on.left == leaving::state ? returned_as::used : returned_as::clean;
}

pool_options limits_of(const std::string& name, const options& settings) {
  return {.name = name,
          .min = settings.min_connections,
          .max = settings.max_connections,
          .acquire_timeout = settings.acquire_limit,
          .max_waiting = settings.max_waiting,
          .max_lifetime = settings.max_lifetime,
          .idle_timeout = settings.idle_timeout,
          .check_after = settings.check_after,
          .open_limit = settings.connect_limit,
          .check_limit = settings.cancel_limit,
          .reset_limit = settings.cancel_limit,
          .first_pause = std::chrono::milliseconds(20),
          .longest_pause = std::chrono::seconds(1),
          .leak_after = settings.leak_after};
}

// In a handler: the error of who has no connection. Connections that are `opening` were too late.
[[noreturn]] void throw_no_connection(const std::string& name, const options& settings,
                                      std::size_t opening = 0) {
  const failure why = current_failure();
  if (belay::detail::exception_as<closed_error>(why.exception()) != nullptr)
    throw closed_error(error_kind::unavailable, "closed",
                       fmt::format("database {}: it is closed or closing", name));
  const auto* const busy = belay::detail::exception_as<busy_error>(why.exception());
  const bool in_vain = busy == nullptr ? may_pass(why) : busy->code() == "no_connection_free" && opening > 0;
  if (!in_vain) throw;
  const auto* const said = belay::detail::exception_as<connection_error>(why.exception());
  const bool crowded = said != nullptr && said->kind() == error_kind::overloaded;
  throw connection_error(crowded ? error_kind::overloaded : error_kind::unavailable,
                         crowded ? "too_many_connections" : "server_away",
                         fmt::format("database {}: no connection within {}; the last attempt: {}", name,
                                     belay::detail::length_text(settings.acquire_limit),
                                     busy != nullptr ? "it takes longer than that" : why.message()));
}

}  // namespace

managed<db::pool<held_line>> open_lines(std::shared_ptr<connector> from, options settings) {
  pool_functions<held_line> functions{
      .open = [from, always = settings.reset_always]() -> task<std::unique_ptr<held_line>> {
        co_return co_await open_line(from, always);
      },
      .check = gives_a_sign_of_life,
      .reset = reset,
      .inspect = state_of,
      .passes = may_pass};
  std::optional<db::pool<held_line>> connections;
  try {
    connections =
        co_await use(db::open_pool<held_line>(limits_of(from->name(), settings), std::move(functions)));
  } catch (...) {
    throw_no_connection(from->name(), settings);
  }
  co_yield *connections;
}

pool::pool(std::shared_ptr<connector> from, options settings, db::pool<held_line> connections)
    : from_(std::move(from)), settings_(std::move(settings)), connections_(std::move(connections)) {}

task<lease> pool::acquire(std::source_location where) {
  const auto self = shared_from_this();
  try {
    if (std::optional<db::lease<held_line>> free = connections_.try_acquire(where))
      co_return lease(std::move(*free));
    co_return lease(co_await connections_.acquire(where));
  } catch (...) {
    throw_no_connection(name(), settings_, connections_.statistics().opening);
  }
}

pool_statistics pool::statistics() const noexcept {
  const db::pool_statistics all = connections_.statistics();
  return {.in_use = all.in_use,
          .idle = all.idle,
          .opening = all.opening,
          .tending = all.tending,
          .waiting = all.waiting,
          .transactions = transactions_,
          .opened = all.opened,
          .replaced = all.replaced + all.expired,
          .failures = all.failed_openings};
}

task<std::vector<result>> run_batch(line& on, std::vector<statement> all) {
  const std::size_t count = all.size();
  exchange_wait wait(on, step::batch, std::move(all));
  exchange& done = co_await wait;
  done.results.resize(count);
  co_return std::move(done.results);
}

}  // namespace belay::db::postgres::detail
