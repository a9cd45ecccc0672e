// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bridge to Boost.Asio: whatever takes a completion token can be awaited, and is cancelled with its task.
//
//     boost::asio::steady_timer timer(belay::io::context(), 1s);
//     co_await timer.async_wait(belay::io::use_task);

#include <belay/io/detail/asio_operation.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/io_context.hpp>

namespace belay::io {

/// The Asio context of the running loop: make sockets and timers with it. It is driven by the loop; do not run it.
/// Errors: `misuse_error` outside of a running loop. Lifetime: that of the loop.
[[nodiscard]] boost::asio::io_context& context();

/// Completion token: the operation becomes an awaitable that starts when it is awaited.
///
/// Result:        the arguments of the completion signature without a leading `error_code` or `exception_ptr`: nothing, one value, or a
///                tuple.
/// Errors:        a set `error_code` is thrown as `boost::system::system_error`; an `exception_ptr` is rethrown.
/// Cancellation:  emitted to the operation's cancellation slot, whose answer is waited for: `operation_aborted` cancels the
///                task; anything else is delivered (finished work wins). Operations without
///                per-operation cancellation end in their own time.
/// Lifetime:      arguments are moved into the awaitable; the I/O object must outlive it.
struct use_task_t {};
inline constexpr use_task_t use_task{};

/// The same, but gives the whole of the completion's arguments as a tuple, `error_code` included; nothing is thrown.
struct use_result_t {};
inline constexpr use_result_t use_result{};

}  // namespace belay::io

template <class... A>
struct boost::asio::async_result<belay::io::use_task_t, void(A...)> {
  template <class Initiation, class... Args>
  static auto initiate(Initiation&& initiation, belay::io::use_task_t, Args&&... args) {
    return belay::io::detail::asio_operation<belay::io::detail::throwing, std::decay_t<Initiation>,
                                             std::tuple<std::decay_t<Args>...>, A...>(
        std::forward<Initiation>(initiation), std::forward<Args>(args)...);
  }
};

template <class... A>
struct boost::asio::async_result<belay::io::use_result_t, void(A...)> {
  template <class Initiation, class... Args>
  static auto initiate(Initiation&& initiation, belay::io::use_result_t, Args&&... args) {
    return belay::io::detail::asio_operation<belay::io::detail::whole, std::decay_t<Initiation>,
                                             std::tuple<std::decay_t<Args>...>, A...>(
        std::forward<Initiation>(initiation), std::forward<Args>(args)...);
  }
};
