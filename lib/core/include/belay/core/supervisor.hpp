// SPDX-License-Identifier: Apache-2.0
#pragma once
// Long-running tasks that are started again when they end: how often, who with them, and when to give up.

#include <belay/core/detail/supervised.hpp>
#include <belay/core/supervisor_options.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_status.hpp>
#include <concepts>
#include <deque>
#include <memory>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay {

class group;

/// Keeps workers running:
///
///     supervisor feeds({.name = "feeds", .strategy = restart_strategy::rest_for_one});
///     feeds.add("connection", keep_connected, std::ref(line));
///     feeds.add({.name = "reader", .restart = restart_policy::transient}, read_all, std::ref(line));
///     co_await feeds.run();
///
/// A worker that fails is started again after a delay; one that keeps failing is an error of the supervisor, which its owner gets. Each
/// failure has one fate: it goes to `supervisor_options::on_event` (without one: to the failure sink), or it comes out of `run`.
///
/// Lifetime: outlives the task of `run`. Thread: the loop's.
class supervisor {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit supervisor(supervisor_options options = {},
                      std::source_location where = std::source_location::current());
  supervisor(const supervisor&) = delete;
  supervisor& operator=(const supervisor&) = delete;
  ~supervisor();

  /// Adds a worker, before `run`. `fn` and `args` are kept, and each start calls `fn(args...)` anew with what is kept: parameters by
  /// value get copies; `std::ref(x)` for what is shared. If the first parameter of `fn` is a `task_status<>&`, the worker is ready when it has
  /// said so, otherwise at once; the next one is started when it is ready.
  /// Errors: `misuse_error` for an empty or doubled name, a bad limit, or while `run` is under way.
  template <class F, class... A>
  supervisor& add(worker_options options, F&& fn, A&&... args) {
    if constexpr (sizeof...(A) == 0 && std::same_as<std::remove_cvref_t<F>, supervisor>) {
      static_assert(std::is_lvalue_reference_v<F>, "a supervisor that is added must live elsewhere");
      return add_worker(std::move(options), inner_supervisor{&fn}, true);
    } else {
      using kept = kept_worker<std::decay_t<F>, std::unwrap_ref_decay_t<A>...>;
      static_assert(
          kept::with_status || kept::plain,
          "supervisor::add(options, fn, args...): fn must be callable again and again with what is kept (as lvalues), "
          "and return belay::task<>; box or std::ref what can only be moved");
      return add_worker(std::move(options), kept(std::forward<F>(fn), std::forward<A>(args)...),
                        kept::with_status);
    }
  }
  template <class F, class... A>
  supervisor& add(worker_name name, F&& fn, A&&... args) {
    return add(worker_options{.name = std::move(name.text), .where = name.where}, std::forward<F>(fn),
               std::forward<A>(args)...);
  }

  /// Starts the workers in order, each when the one before is ready, and keeps them running.
  ///
  /// Result:        when all have ended for good (`restart_policy`). Permanent ones never do.
  /// Errors:        what a worker fails with before it is ready for the first time; those that run are stopped. When there were too
  ///                many restarts: the last error of the worker, bare, as its own type; the earlier ones within the window are attached to it,
  ///                and a note says how many restarts there were in how long, and on which level. (`restart_limit_error` for one that
  ///                only ever ended with its value.) What workers fail with while they are being stopped is attached. `misuse_error` without
  ///                workers, and while it runs already.
  /// Cancellation:  stops the workers, the last one first, each when the one after it has ended or overrun its `stop_limit`; ends a restart
  ///                delay at once. Who ends because of that is neither restarted nor counted. What they fail with while they stop beats the cancellation; who
  ///                had failed by itself before is only told.
  /// Time:          an end is dealt with when the start, or the restart of others that it belongs to, is over: what waits for another worker to
  ///                become ready should have a limit.
  ///                A worker that is cancelled while it gets ready is waited for without one.
  [[nodiscard]] task<> run();
  /// The same as a worker or by `group::start`: says `ready.started()` when all workers have been ready once.
  [[nodiscard]] task<> run(task_status<>& ready);

  [[nodiscard]] supervisor_statistics statistics() const;

 private:
  template <class F, class... A>
  struct kept_worker {
    static constexpr bool with_status = std::is_invocable_r_v<task<>, F&, task_status<>&, A&...>;
    static constexpr bool plain = std::is_invocable_r_v<task<>, F&, A&...>;
    template <class G, class... B>
    explicit kept_worker(G&& function, B&&... arguments)
        : fn(std::forward<G>(function)), args(std::forward<B>(arguments)...) {}
    BELAY_CORO_WRAPPER task<> operator()(task_status<>* ready) {
      return begin(ready, std::index_sequence_for<A...>());
    }
    template <std::size_t... I>
    BELAY_CORO_WRAPPER task<> begin(task_status<>* ready, std::index_sequence<I...>) {
      if constexpr (with_status) {
        return detail::call(fn, *ready, std::get<I>(args)...);
      } else {
        return detail::call(fn, std::get<I>(args)...);
      }
    }
    F fn;
    std::tuple<A...> args;
  };

  struct inner_supervisor {
    supervisor* of;
    BELAY_CORO_WRAPPER task<> operator()(task_status<>* ready) const { return of->run_ready(ready); }
  };

  supervisor& add_worker(worker_options options, task_function<task<>(task_status<>*)> begin,
                         bool says_ready);
  [[nodiscard]] task<> run_ready(task_status<>* ready);
  [[nodiscard]] task<> oversee(detail::worker_row& row, task_status<>* ready);
  [[nodiscard]] task<> recover(detail::worker_row& row, std::size_t at);
  [[nodiscard]] task<> end_of(detail::worker_row& row, group& recoveries, std::size_t at);
  void look_around(detail::worker_row& row) const;
  [[nodiscard]] failure exhausted(detail::worker_row& row, const detail::supervised& one, failure why);
  [[nodiscard]] duration note_restart(detail::supervised& one, const failure& why);
  void forget_before(time_point begin) noexcept;
  void tell(worker_event::happening what, const detail::worker_row& row, const detail::supervised& one,
            failure why, duration delay = {}) noexcept;

  struct past_restart {
    time_point when;
    failure why;
  };
  supervisor_options options_;
  std::source_location where_;
  std::vector<std::unique_ptr<detail::supervised>> workers_;
  std::deque<past_restart> history_;  // within the window
  std::uint64_t restarts_ever_ = 0;
  const detail::worker_row* row_ = nullptr;  // while it runs
};

}  // namespace belay
