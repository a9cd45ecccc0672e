// SPDX-License-Identifier: Apache-2.0
#pragma once
// A pool of connections, or of anything else that is costly to open: handed out in order, taken back clean, watched for leaks.

#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/db/detail/pool_core.hpp>
#include <belay/db/pool_options.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

namespace belay::db {

/// In which state a connection comes back.
enum class returned_as : unsigned char {
  clean,   ///< the next one may have it at once
  used,    ///< `pool_functions::reset` has to run first
  broken,  ///< it is closed and replaced
};

/// What a pool does with its connections. They are called in tasks of the pool, one at a time for each connection, and never while
/// somebody has it; all but `open` may be left out.
///
/// Errors:       of `open`: see `pool::acquire`. Of the others: the connection is replaced; the error counts as handled.
/// Cancellation: `open` is cancelled when the pool closes; all of them when closing overruns.
/// Time:         each is bounded by its limit in `pool_options`.
/// Lifetime:     kept until the pool is closed and the last lease is back.
template <class T>
struct pool_functions {
  task_function<task<std::unique_ptr<T>>()> open;
  /// Is it still there? Asked before a connection is handed out that was idle for `pool_options::check_after`.
  task_function<task<bool>(T&)> check = {};
  /// Brings it back into the state of a new one, after a lease and before the next.
  task_function<task<>(T&)> reset = {};
  /// Says goodbye. What is left is done by the destructor, which must not block.
  task_function<task<>(T&)> close = {};
  /// Looked at when a lease ends, and before a connection is handed out without a check, where `broken` means that another one is taken.
  /// None: every connection is `used` if there is a `reset`, otherwise `clean`.
  returned_as (*inspect)(const T&) noexcept = nullptr;
  /// May what `open` failed with pass by itself, as when a server is started again? Then nobody is told yet: who waits goes on waiting while
  /// it is tried again, and is told after `acquire_timeout`. None: nothing passes.
  bool (*passes)(const failure&) noexcept = nullptr;
};

template <class T>
class pool;

/// The right to use one connection; given back when it is destroyed. Move-only. Not empty, unless moved from or released.
///
/// Lifetime: may outlive the pool's block (its closing has waited and has named it by then): the connection is then destroyed with it.
/// Thread:   the loop's only.
template <class T>
class [[nodiscard]] lease {
 public:
  lease() noexcept = default;
  lease(lease&& other) noexcept = default;
  lease& operator=(lease&& other) noexcept {
    lease moved(std::move(other));
    std::swap(held_, moved.held_);
    return *this;
  }
  ~lease() { release(); }

  [[nodiscard]] T& operator*() const noexcept { return *get(); }
  [[nodiscard]] T* operator->() const noexcept { return get(); }
  [[nodiscard]] T* get() const noexcept {
    return held_ ? &static_cast<detail::member_of<T>&>(held_.member()).held() : nullptr;
  }
  explicit operator bool() const noexcept { return static_cast<bool>(held_); }

  /// The connection is closed and replaced when it is given back. Idempotent.
  void mark_broken() noexcept { held_.mark_broken(); }
  /// Gives it back now. Idempotent.
  void release() noexcept {
    if (held_) held_.give_back();
  }

 private:
  friend pool<T>;
  explicit lease(detail::pool_grant held) noexcept : held_(std::move(held)) {}
  detail::pool_grant held_;
};

/// Connections that many tasks use by turns; made by `open_pool`.
///
///     auto& connections = co_await use(db::open_pool<connection>({.name = "accounts", .max = 20}, {.open = ...}));
///     db::lease<connection> c = co_await connections.acquire();
///     co_await c->query(...);
///
/// First come, first served; nobody overtakes. Connections are opened when somebody waits for one and fewer than `max` are there,
/// one for each who waits; the one used last is handed out first, so that those not needed any more go after `idle_timeout`.
/// Lifetime: copies are handles to the same pool.
/// Thread:   the loop's only.
template <class T>
class pool {
 public:
  /// Waits for a connection.
  ///
  /// Errors:        `busy_error` (code `no_connection_free`) when none came within `acquire_timeout`; it says how many wait, and who holds
  ///                one longest. `busy_error` (`too_many_waiting`) at once beyond `max_waiting`. `closed_error` when the pool is closing.
  ///                When a connection cannot be opened: that error, to who has waited longest; and if no other connection is there
  ///                that could be given back, to all who waited when that attempt began. The next attempt comes after a pause.
  ///                If it may pass (`pool_functions::passes`): after `acquire_timeout`, the last of these errors, with a note.
  /// Cancellation:  leaves the line; a connection that was on its way goes to the next one, or becomes idle.
  /// Time:          bounded by `acquire_timeout`, and by the limits around it.
  [[nodiscard]] task<lease<T>> acquire(std::source_location where = std::source_location::current()) const {
    const std::shared_ptr<detail::pool_core> from = core_;
    from->require_open("pool::acquire");
    co_return lease<T>(co_await detail::pool_wait(from, where));
  }
  /// A connection if one is idle, fresh, and nobody waits; otherwise none. Also outside of tasks. Errors: `closed_error`.
  [[nodiscard]] std::optional<lease<T>> try_acquire(
      std::source_location where = std::source_location::current()) const {
    core_->require_open("pool::try_acquire");
    detail::pool_grant got = core_->take_now(where);
    if (!got) return std::nullopt;
    return lease<T>(std::move(got));
  }

  [[nodiscard]] pool_statistics statistics() const noexcept { return core_->statistics(); }
  /// Who has a connection now, who has it longest first.
  [[nodiscard]] std::vector<pool_holder> holders() const { return core_->holders(); }
  [[nodiscard]] const pool_options& options() const noexcept { return core_->options(); }

  // Made by `open_pool`.
  explicit pool(std::shared_ptr<detail::pool_core> core) noexcept : core_(std::move(core)) {}

 private:
  std::shared_ptr<detail::pool_core> core_;
};

/// Opens a pool, with `options.min` connections at first.
///
/// Errors:        the first one of `functions.open`, when these cannot be opened: the block does not run. One that may pass is met by
///                further attempts, for `acquire_timeout`. `misuse_error` for options out of range, and without `open`. At the end: `db::error` (code `connections_held`) when connections are not given back within
///                `drain_limit` (or nearly all of the time that the cleanup has): it names who holds them, since when and where.
/// Cancellation:  before the block: cancels what is being opened, closes what is open. At the end: whoever waits for a connection gets
///                `closed_error`; leases are waited for; then everything is closed.
template <class T>
[[nodiscard]] managed<pool<T>> open_pool(pool_options options, pool_functions<T> functions,
                                         std::source_location where = std::source_location::current()) {
  if (!functions.open) detail::throw_pool_misuse("pool_functions::open is missing");
  const auto core = std::make_shared<detail::pool_core>(
      std::move(options),
      std::make_unique<detail::functions_of<T, pool_functions<T>, returned_as>>(std::move(functions)));
  co_await use(detail::run_pool(core, where));
  co_await core->filled();
  pool<T> handle(core);
  co_yield handle;
}

}  // namespace belay::db
