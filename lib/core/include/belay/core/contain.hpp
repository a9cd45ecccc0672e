// SPDX-License-Identifier: Apache-2.0
#pragma once
// The border to code that cannot bear exceptions: callbacks of C libraries, functions that are noexcept.

#include <belay/core/failure.hpp>
#include <type_traits>
#include <utility>

namespace belay {

/// Calls `fn(args...)`; what it throws is reported to the failure sink, and does not come out. For what a C library calls:
///
///     int on_row(void* self, int columns, char** texts, char**) {
///       return belay::contain("sqlite3_exec's callback", SQLITE_ABORT, [&] { return static_cast<rows*>(self)->add(columns, texts); });
///     }
///
/// Result:        that of `fn`, or `fallback` when it threw.
/// Errors:        none come out; the failure sink of this thread's loop gets them, with the note "in <what>"; on a thread without a
///                loop, stderr.
/// Cancellation:  it is not an await: none acts here.
/// Lifetime:      `what` is a literal, or text that outlives the call.
template <class R, class F, class... A>
  requires(!std::is_void_v<std::invoke_result_t<F&, A...>>)
R contain(const char* what, R fallback, F&& fn, A&&... args) noexcept {
  static_assert(std::is_nothrow_move_constructible_v<R>, "the fallback must come out without a throw");
  try {
    return static_cast<R>(fn(std::forward<A>(args)...));
  } catch (...) {
    detail::report_contained(what);
    return fallback;
  }
}
/// The same for what returns nothing.
template <class F, class... A>
  requires std::is_void_v<std::invoke_result_t<F&, A...>>
void contain(const char* what, F&& fn, A&&... args) noexcept {
  try {
    fn(std::forward<A>(args)...);
  } catch (...) {
    detail::report_contained(what);
  }
}

}  // namespace belay
