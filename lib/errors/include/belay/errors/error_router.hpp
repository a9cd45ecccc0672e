// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who handles which error: by status, type, code and kind, with handlers that may await.

#include <belay/core/error.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/errors/detail/handler_call.hpp>
#include <belay/errors/detail/story.hpp>
#include <belay/errors/error_table.hpp>
#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace belay {

/// Handlers for errors, each of which gives a `Result` in place of the one that failed:
///
///     error_router<reply> errors;
///     errors.on<network_down>([](const network_down& e) { return reply{"retry", e.retry_after()}; });
///     errors.on<db::busy_error>([&](const db::busy_error&) -> task<reply> { co_return co_await from_cache(); });
///     errors.on_kind(error_kind::timed_out, [] { return reply{"timeout"}; });
///     errors.otherwise([](const failure& what) { report(what); return reply{"internal"}; });
///     reply r = co_await errors.handle(fetch(url));
///
/// Which handler, and which error decides when several are attached: as `error_table`. Handlers for a type take `(const E&)`, the others
/// `(const failure& leaf)`; besides, in this order and as much as wanted: `const failure&`, the whole of what is handled, and the
/// `Context` given to `handle` (a request, say); or nothing at all. They return `Result`, or `task<Result>` and may await.
///
/// Composition: what no handler of this router takes goes to the one that it `falls_back_to`: inner handlers first. Routers are values
/// without anything global; several may be used around each other as well.
///
/// Thread: one router may be used by all tasks of one loop at the same time; add handlers before.
template <class Result = void, class... Context>
class error_router {
  static_assert(((std::is_reference_v<Context> || std::copy_constructible<Context>) && ...),
                "the context may go to several handlers: copyable, or a reference");
  using handler = task_function<task<Result>(detail::routed, Context...)>;

 public:
  error_router() = default;
  error_router(error_router&&) = default;
  /// Errors: `misuse_error` if `other` falls back to this one, directly or by way of others.
  error_router& operator=(error_router&& other) {
    if (this == &other) return *this;
    other.refuse_way_to(*this);
    table_ = std::move(other.table_);
    outer_ = other.outer_;
    return *this;
  }
  ~error_router() = default;

  /// Handlers by type. The second one for a type replaces the first.
  template <class E, class F>
  void on(F handle) {
    table_.template on<E>(make<E>(std::move(handle)));
  }
  template <class F>
  void on_status(int status, F handle) {
    table_.on_status(status, make<void>(std::move(handle)));
  }
  template <class F>
  void on_code(std::string code, F handle) {
    table_.on_code(std::move(code), make<void>(std::move(handle)));
  }
  template <class F>
  void on_kind(error_kind kind, F handle) {
    table_.on_kind(kind, make<void>(std::move(handle)));
  }
  /// Everything else but fatal errors (`is_fatal`), also of types that do not derive from `std::exception`.
  template <class F>
  void otherwise(F handle) {
    table_.otherwise(make<void>(std::move(handle)));
  }
  /// As `error_table::status_of`: without it no error has a status.
  template <class E, class Read>
  void status_of(Read read) {
    table_.template status_of<E>(std::move(read));
  }

  /// Lifetime: `outer` outlives this router, and stays where it is. Errors: `misuse_error` if it leads back here.
  void falls_back_to(const error_router& outer) {
    outer.refuse_way_to(*this);
    outer_ = &outer;
  }

  /// Awaits `op`, and lets a handler answer for it when it fails.
  ///
  /// Result:        that of `op`, or of the handler.
  /// Errors:        no handler: the same error object, as if there were no router. A handler that fails: its error, with what it was
  ///                handling as its cause or attached to it, goes to the router outside, never to this one again. A handler that lets
  ///                the error pass hands it to the router outside: `throw;` in handlers that return no task, `what.rethrow()` or
  ///                `co_await fail(what)` in the others. Other errors that are attached and that
  ///                the handler does not look at are reported to the failure sink.
  /// Cancellation:  is not routed; during a handler it cancels the handler, and no other one is asked. The error of a cleanup after it
  ///                goes on: who is cancelled does not go on with the value of a handler.
  /// Lifetime:      this router outlives the task.
  [[nodiscard]] task<Result> handle(task<Result> op, Context... context) const {
    outcome<Result> how = co_await as_outcome(std::move(op));
    for (const error_router* at = this; at != nullptr && !how.succeeded(); at = at->outer_) {
      failure what = how.failed_with();
      if (detail::failed_after_cancellation(what)) break;
      auto found = at->find(what);
      if (!found) continue;
      how = co_await as_outcome(found->value(detail::routed{std::move(found->leaf), what}, context...));
      if (!how.succeeded()) detail::after_handler(what, how);
    }
    if (!how.succeeded()) co_await detail::end_with(how);
    if constexpr (!std::is_void_v<Result>) co_return how.get_forward();
  }

  /// As `handle`, for a failure in hand. Errors: `misuse_error` for no failure.
  [[nodiscard]] BELAY_CORO_WRAPPER task<Result> route(failure what, Context... context) const {
    if (!what) throw misuse_error("error_router::route: there is no failure");
    return handle(detail::failing<Result>(std::move(what)), std::forward<Context>(context)...);
  }

 private:
  void refuse_way_to(const error_router& target) const {
    for (const error_router* one = this; one != nullptr; one = one->outer_) {
      if (one == &target) throw misuse_error("error_router: a router cannot fall back to itself");
    }
  }

  template <class E, class F>
  struct kept_handler {
    F fn;
    BELAY_CORO_WRAPPER task<Result> operator()(detail::routed about, Context... context) {
      return detail::run_handler<Result, E, F, Context...>(fn, std::move(about),
                                                           static_cast<Context>(context)...);
    }
  };
  template <class E, class F>
  static handler make(F handle) {
    if (detail::is_empty_function(handle)) throw misuse_error("error_router: a handler is empty");
    return kept_handler<E, F>{std::move(handle)};
  }

  // The error that decides is in good hands from here on, also when its handler is cancelled before it has begun.
  [[nodiscard]] std::optional<typename error_table<handler>::match> find(const failure& what) const {
    auto found = table_.find(what);
    if (found) found->leaf.observe();
    return found;
  }

  error_table<handler> table_;
  const error_router* outer_ = nullptr;
};

}  // namespace belay
