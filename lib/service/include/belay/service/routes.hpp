// SPDX-License-Identifier: Apache-2.0
#pragma once
// The routes of an app, and what holds for all of a group of them: middleware, error rules, deadlines.

#include <belay/core/time.hpp>
#include <belay/errors/error_table.hpp>
#include <belay/http/problem.hpp>
#include <belay/http/status.hpp>
#include <belay/service/dependencies.hpp>
#include <belay/service/request.hpp>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay::service {

struct route_options {
  /// From the arrival of the request to the end of the handler, middleware included; then 504 `deadline_exceeded`. Zero: none. Of the route's,
  /// its groups' and the client's deadline (`Belay-Deadline-Ms`) the earliest counts.
  duration deadline{};
  /// The handler takes a `request&` and reads the body while it comes: `request::body_stream`. Any media type; `http().body` is empty.
  bool streams_body = false;
  /// Bytes of a body at most; empty: `http::parser_options::body_limit`.
  std::optional<std::uint64_t> body_limit{};
  /// For the API's description. The tags of groups come first.
  std::vector<std::string> tags{};
  std::string summary{};
  std::string description{};
  bool deprecated = false;
  /// Left out of the API's description.
  bool hidden = false;
  /// Statuses and what they mean, beside those that follow from the handler's type and the error rules.
  std::vector<std::pair<http::status, std::string>> responses{};
};

/// What is served about the API itself. It tells everything that is not `hidden` to everybody who asks.
struct api_options {
  /// Empty: the name of the app.
  std::string title{};
  std::string version = "1";
  std::string description{};
  /// The path of the document (OpenAPI 3.1), and of a page that shows it without loading anything else. Empty: not served.
  std::string document = "/openapi.json";
  std::string page = "/docs";
};

/// The rest of what answers a request: further middleware, then the handler.
class next {
 public:
  next(next&& other) noexcept
      : of_(other.of_), index_(other.index_), used_(std::exchange(other.used_, true)) {}
  next& operator=(next&&) = delete;
  ~next() = default;
  /// Goes on, once.
  /// Result:        the handler's answer.
  /// Errors:        the original error of what is inside; error rules have not been asked yet. `misuse_error` the second time.
  /// Cancellation:  reaches what is inside.
  [[nodiscard]] BELAY_CORO_WRAPPER task<http::response> operator()();
  /// The same, where an error becomes the response that the error rules give it, with its log record: for what wants to see or change
  /// every answer.
  [[nodiscard]] BELAY_CORO_WRAPPER task<http::response> answer();

 private:
  friend detail::request_access;
  next(request& of, std::size_t index) noexcept : of_(&of), index_(index) {}
  request* of_;
  std::size_t index_;
  bool used_ = false;
};

/// `[](request& r, next inner) -> task<http::response> { ...; http::response answer = co_await inner(); ...; co_return answer; }`
using middleware = task_function<task<http::response>(request&, next)>;

namespace detail {

struct operation_description;
struct route_registry;
struct route_scope;

// An answer made by a rule for errors.
using error_answer = task_function<task<http::response>(request&, const failure&)>;

struct error_rule {
  http::status status{};
  std::string code{};
  bool as_it_says = false;    // a problem_error
  bool for_problems = false;  // its type is problem_error, or derived from it
  std::shared_ptr<error_answer> answer{};
};

// A handler of either kind.
struct bound_handler {
  handler call{};
  enum class body : unsigned char { by_method, none, json, optional_json } takes = body::by_method;
  std::vector<dependency_need> needs{};
  void (*describe)(operation_description& into, const std::vector<std::string>& path_names) = nullptr;
};

inline http::response to_answer(http::response ready) { return ready; }
[[nodiscard]] http::response to_answer(const http::problem& what);

template <class F, class E>
task<http::response> call_error_answer(F& fn, request& of, const E& what) {
  if constexpr (requires { typename std::invoke_result_t<F&, request&, const E&>::promise_type; }) {
    co_return to_answer(co_await or_fail(fn(of, what)));
  } else {
    co_return to_answer(fn(of, what));
  }
}

}  // namespace detail

/// How a handler with arguments of its own types is bound to a route.
template <class F>
struct typed_route {
  static_assert(
      !std::is_same_v<F, F>,
      "this handler is not [](request&) -> task<http::response>; for handlers with typed arguments and "
      "results, include <belay/service/typed.hpp>");
};
/// How a dependency is bound.
template <class T, class F>
struct typed_provider {
  static_assert(!std::is_same_v<F, F>, "to provide dependencies, include <belay/service/typed.hpp>");
};

/// A group of routes; the app is the outermost one. Everything is set up before the app runs: `misuse_error` afterwards.
/// Lifetime: a handle; the app's. A handler lives as long as the app; several requests run it at the same time.
class routes {
 public:
  /// Errors: `misuse_error` for a bad or doubled pattern.
  template <class H>
  void get(std::string_view pattern, H&& handle, route_options options = {}) {
    add(http::method::get, pattern, bind(full(pattern), std::forward<H>(handle)), std::move(options));
  }
  /// POST, PUT and PATCH take JSON: other media types are refused with 415 before the body is read. Unless the handler is a typed one
  /// without a `json` argument.
  template <class H>
  void post(std::string_view pattern, H&& handle, route_options options = {}) {
    add(http::method::post, pattern, bind(full(pattern), std::forward<H>(handle)), std::move(options));
  }
  template <class H>
  void put(std::string_view pattern, H&& handle, route_options options = {}) {
    add(http::method::put, pattern, bind(full(pattern), std::forward<H>(handle)), std::move(options));
  }
  template <class H>
  void patch(std::string_view pattern, H&& handle, route_options options = {}) {
    add(http::method::patch, pattern, bind(full(pattern), std::forward<H>(handle)), std::move(options));
  }
  template <class H>
  void del(std::string_view pattern, H&& handle, route_options options = {}) {
    add(http::method::delete_, pattern, bind(full(pattern), std::forward<H>(handle)), std::move(options));
  }
  template <class H>
  void route(http::method verb, std::string_view pattern, H&& handle, route_options options = {}) {
    add(verb, pattern, bind(full(pattern), std::forward<H>(handle)), std::move(options));
  }

  /// Routes below `prefix` ("/admin"), which inherit the middleware, the error rules, the deadline, `body_limit`, `hidden` and `deprecated` of this one and have their
  /// own besides. Errors: `misuse_error` for `streams_body` and `responses`, which are of routes only.
  [[nodiscard]] routes group(std::string prefix, route_options options = {});

  /// Wraps all routes of this group, also those added before. The one added first is the outermost, and those of a group are within those
  /// of what it belongs to; dependencies are opened inside of all middleware. A request that has no route, or that is refused by
  /// its head (404, 405, 415), meets none; nor does `/health/...` while the app starts. Afterwards it does: let probes through.
  void use(middleware around);

  /// Errors of type `E` that leave a handler and its middleware become this status and code, with `what()` as the detail: it must be fit for
  /// clients. The most derived registered type wins, in the error itself first, then in what is attached to it; the rules of the innermost
  /// group are asked first. A `problem_error` is answered as it says, unless there is a rule for its type or one derived from `problem_error`. Others
  /// by kind, without their text; what is not a `belay::error` is 500. A second rule for a type replaces the first. `retry_after()`
  /// of the error becomes Retry-After.
  template <class E>
  void on_error(http::status status, std::string code) {
    tell_rule(status, code);
    rules().template on<E>({.status = status,
                            .code = std::move(code),
                            .for_problems = std::is_base_of_v<http::problem_error, E>});
  }
  /// The same with an answer of your own: a function of `(request&, const E&)` that gives an `http::problem`, an `http::response`, or a task
  /// of either. One that fails itself is a record `error_handler_failed`, and the answer is that of the error's kind.
  template <class E, std::invocable<request&, const E&> F>
  void on_error(F answer) {
    rules().template on<E>(
        {.for_problems = std::is_base_of_v<http::problem_error, E>,
         .answer = std::make_shared<detail::error_answer>(
             [fn = std::move(answer)](request& of, const failure& why) mutable -> task<http::response> {
               const E* what = belay::detail::exception_as<E>(why.exception());
               co_return co_await or_fail(detail::call_error_answer(fn, of, *what));
             })});
  }
  /// What no rule takes, of this group or one around it: `(request&, const failure&)`. The error is a record `request_failed` all the same.
  template <std::invocable<request&, const failure&> F>
  void on_any_error(F answer) {
    set_catch_all(
        {.answer = std::make_shared<detail::error_answer>(
             [fn = std::move(answer)](request& of, const failure& why) mutable -> task<http::response> {
               co_return co_await or_fail(detail::call_error_answer(fn, of, why));
             })});
  }

  /// What `dep<T>` gets. `make` has arguments as a typed handler has (but names its path parameters, and takes no body), other `dep`s
  /// included, and gives `managed<T>`, `task<T>` or `T`. It is opened when the first parameter of a request has been found valid, before
  /// the handler, once in a request; it is told how the handler ended (what failed, is rolled back) and closed in reverse order.
  /// Provided for all of the app, whatever group it is called on.
  /// Errors: `misuse_error` when there is one for `T` already. When the app starts: for what nobody provides, for a circle, and for one of
  ///         `scope::request` that depends on one of `scope::function`.
  template <class T, class F>
  void provide(F make, scope when = scope::function) {
    add_provider(typed_provider<T, F>::bind(std::move(make), when), false);
  }
  /// Puts another one in its place, with the same scope: for tests. Errors: `misuse_error` when there is none for `T`.
  template <class T, class F>
  void override_dependency(F make) {
    add_provider(typed_provider<T, F>::bind(std::move(make), scope::function), true);
  }

 protected:
  routes(detail::route_registry& registry, detail::route_scope& scope) noexcept
      : registry_(&registry), scope_(&scope) {}

 private:
  template <class H>
  static detail::bound_handler bind(std::string_view pattern, H&& handle) {
    if constexpr (std::is_constructible_v<handler, H>) {
      return {.call = handler(std::forward<H>(handle))};
    } else {
      return typed_route<std::decay_t<H>>::bind(pattern, std::forward<H>(handle));
    }
  }
  [[nodiscard]] std::string full(std::string_view pattern) const;
  void add(http::method verb, std::string_view pattern, detail::bound_handler bound, route_options options);
  void add_provider(std::unique_ptr<detail::provider> made, bool replaces);
  error_table<detail::error_rule>& rules();
  void set_catch_all(detail::error_rule rule);
  void tell_rule(http::status status, std::string_view code);

  detail::route_registry* registry_;
  detail::route_scope* scope_;
};

}  // namespace belay::service
