// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several loops in one program, each on a thread of its own.

#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/on_loop.hpp>
#include <concepts>
#include <functional>
#include <source_location>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay {

/// A loop on a thread of its own, which runs what others send to it, by `on_loop` and `post`.
///
///     loop& second = co_await use(loop_thread());
///     co_await on_loop(second, index_documents);
///
/// Errors:        `std::system_error` when the thread cannot be started, or the loop's descriptor not be made.
/// Closing:       cancels what is left in it, waits for its cleanup, answers it, joins the thread. As long as a task there does not
///                end, this does not.
/// Sinks:         `on_lost_failure`, `on_diagnostic` and `blocked_limit` are those of the calling loop where `options` name none.
/// Thread:        the thread takes no signals: they come to the loop that watches them. The sinks are called there, too: they must be safe
///                for several threads at once. A clock must not be shared, except the real one.
[[nodiscard]] managed<loop> loop_thread(loop_options options = {});

/// More are taken for a mistake, such as a negative number.
inline constexpr unsigned most_loops = 1024;

namespace detail {

[[noreturn]] void throw_misuse_loops(unsigned count, std::source_location where);
[[nodiscard]] unsigned processors() noexcept;

template <class F>
task<> main_of_loop(F& factory, unsigned index, std::span<loop* const> all) {
  if constexpr (std::is_invocable_v<F&, unsigned, std::span<loop* const>>) {
    co_await or_fail(factory(index, all));
  } else {
    co_await or_fail(factory(index));
  }
}

}  // namespace detail

/// Runs `factory(index)`, a task, on each of `count` loops, every one on its own thread, and waits for all. The first loop, with index 0, is
/// that of the caller: it has the signals.
///
///     int main() {
///       return belay::run(belay::run_on_each(4, [](unsigned index) -> task<> { co_await serve(index); }));
///     }
///
/// `factory(index, loops)` gets the loops, too, as a `std::span<loop* const>`, to be used by `on_loop`.
///
/// Errors:        the first one, bare, with its trace; it cancels the others, on all loops, and what else fails is attached.
///                `misuse_error` for a count of zero, or of more than `most_loops`; what `loop_thread` throws.
/// Cancellation:  of the caller, such as by SIGTERM: cancels all and waits for their cleanup.
/// Lifetime:      `factory` is kept until all have ended. It is called once for each loop, on that loop's thread, several at the same time:
///                it must not change what it holds. What each call makes belongs to one loop: a pool, a cache, a listener for each.
/// Thread:        the loops share nothing, unless you do; except the sinks for lost failures and diagnostics (see `loop_thread`).
template <class F>
[[nodiscard]] auto run_on_each(unsigned count, F factory, loop_options options = {},
                               std::source_location where = std::source_location::current()) -> task<> {
  if (count == 0 || count > most_loops) detail::throw_misuse_loops(count, where);
  std::vector<loop*> loops{loop::current()};
  while (loops.size() < count) loops.push_back(&co_await use(loop_thread(options)));
  const auto everywhere = [&](group& tasks) -> task<> {
    for (unsigned index = 1; index < count; ++index) {
      tasks.spawn_at(
          where,
          [](F& make, unsigned which, std::span<loop* const> all) -> task<> {
            co_await or_fail(on_loop(*all[which], &detail::main_of_loop<F>, std::ref(make), which, all));
          },
          std::ref(factory), index, std::span<loop* const>(loops));
    }
    co_await or_fail(detail::main_of_loop(factory, 0, loops));
  };
  co_await or_fail(with_group({.name = "loops"}, everywhere, where));
}

/// One loop for each processor.
template <class F>
  requires(!std::integral<F>)
[[nodiscard]] BELAY_CORO_WRAPPER auto run_on_each(
    F factory, loop_options options = {}, std::source_location where = std::source_location::current())
    -> task<> {
  return run_on_each(detail::processors(), std::move(factory), std::move(options), where);
}

}  // namespace belay
