// SPDX-License-Identifier: Apache-2.0
#pragma once
// Handlers and dependencies with arguments and results of their own types. Include it where routes are added.
//
//     app.get("/users/{id}", [&](std::int64_t id) -> task<user> { return get_user(pool, id); });
//     app.post("/users", [](json<create_user> body, dep<session> db) -> task<created<user>> { ... });
//     app.get("/users", [](query<"limit", int, rule{.min = 1, .max = 100, .fallback = 20}> limit) -> task<std::vector<user>> { ... });
//
// Arguments: plain values (path parameters, in order), `path`, `query`, `header`, `json` (parameters.hpp), `dep` (dependencies.hpp),
//            `request&`. All that is wrong with them is one 422 `validation_failed`, with a pointer for each: "/path/id", "/query/limit",
//            "/header/X-Tenant", "/items/3/name"; malformed JSON is 400, another media type 415.
// Results:   a value becomes JSON with status 200; `reply<201, T>` has its own status; void is 204; an `http::response` is sent as it is.
//            One that cannot be written as JSON, or breaks the rules of its type, is a 500 with a record, and dependencies roll back.
// Sync:      a handler that gives `T` and not `task<T>` runs in the thread pool. It cannot have the `request&`, which is the loop's.

#include <belay/core/managed.hpp>
#include <belay/core/thread.hpp>
#include <belay/service/detail/operation.hpp>
#include <belay/service/parameters.hpp>
#include <belay/service/routes.hpp>
#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

namespace belay::service {

namespace detail {

// The arguments and the result of a callable that has one call operator.
template <class Call>
struct signature;
template <class C>
struct signature_of_call;
template <class C, class R, class... A>
struct signature_of_call<R (C::*)(A...)> {
  using type = signature<R(A...)>;
};
template <class C, class R, class... A>
struct signature_of_call<R (C::*)(A...) const> {
  using type = signature<R(A...)>;
};
template <class C, class R, class... A>
struct signature_of_call<R (C::*)(A...) noexcept> {
  using type = signature<R(A...)>;
};
template <class C, class R, class... A>
struct signature_of_call<R (C::*)(A...) const noexcept> {
  using type = signature<R(A...)>;
};
template <class R, class... A>
struct signature<R(A...)> {};

template <class F>
concept has_one_call = requires { &F::operator(); };
template <class F>
struct signature_of : signature_of_call<decltype(&F::operator())> {};
template <class R, class... A>
struct signature_of<R (*)(A...)> {
  using type = signature<R(A...)>;
};
template <class R, class... A>
struct signature_of<R (*)(A...) noexcept> {
  using type = signature<R(A...)>;
};

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;
template <class T>
inline constexpr bool is_managed = false;
template <class T>
inline constexpr bool is_managed<managed<T>> = true;

// What a type of argument needs: `stored` is kept while the handler runs, `read` notes findings, `pass` gives the argument.
template <class A>
struct argument {
  static_assert(!http::described_struct<A>, "a described struct comes in the body: take json<T>");
  static_assert(
      std::is_arithmetic_v<A> || std::is_same_v<A, std::string> || http::described_enum<A> ||
          requires { std::chrono::sys_time<typename A::duration>(A()); },
      "an argument of a handler is a path parameter (integer, floating point, bool, string, described "
      "enum, time), path<>, query<>, header<>, json<>, dep<> or request&");
  using stored = A;
  static constexpr bool plain = true;
  static void read(A& into, request& of, http::validation& findings, std::size_t position) {
    const http::path_parameter& from = of.path_parameters()[position];
    read_text(into, from.value, findings, "path", from.name, {});
  }
  static A pass(A& from) { return std::move(from); }
  static void describe(operation_description& into, std::string_view name) {
    into.add({std::string(name), "path", http::codec<A>::schema(*into.all, {}), true});
  }
};

struct no_need {
  static constexpr bool plain = false;
  static void describe(operation_description&, std::string_view) {}
};

template <>
struct argument<request&> : no_need {
  using stored = request*;
  static void read(request*& into, request& of, http::validation&, std::size_t) { into = &of; }
  static request& pass(request* from) { return *from; }
};

template <fixed_text Name, class T, rule Rule>
struct argument<path<Name, T, Rule>> : no_need {
  using stored = path<Name, T, Rule>;
  static_assert(!http::detail::is_optional<T>, "a path parameter is always there");
  static const http::field_rule& rules() {
    static const http::field_rule made = to_field_rule(Rule);
    return made;
  }
  static void read(stored& into, request& of, http::validation& findings, std::size_t) {
    read_parameter(into.value, of.path(Name.view()), findings, "path", Name.view(), Rule, rules());
  }
  static stored pass(stored& from) { return std::move(from); }
  static void describe(operation_description& into, std::string_view) {
    into.add({std::string(Name.view()), "path", http::codec<T>::schema(*into.all, rules()), true});
  }
};

template <class T>
struct without_optional {
  using type = T;
};
template <class T>
struct without_optional<std::optional<T>> {
  using type = T;
};
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

template <class T>
void describe_parameter(operation_description& into, std::string_view name, std::string in, const rule& of,
                        const http::field_rule& rules) {
  std::string schema = http::codec<typename without_optional<T>::type>::schema(*into.all, rules);
  if (of.fallback.given)
    schema = with_fallback(std::move(schema), of.fallback.value, std::is_same_v<T, bool>);
  into.add({std::string(name), std::move(in), std::move(schema),
            !http::detail::is_optional<T> && !is_vector<T> && !of.fallback.given});
}

template <fixed_text Name, class T, rule Rule>
struct argument<query<Name, T, Rule>> : no_need {
  using stored = query<Name, T, Rule>;
  static_assert(!Rule.fallback.given || std::is_integral_v<T>, "a fallback is for integers and booleans");
  static const http::field_rule& rules() {
    static const http::field_rule made = to_field_rule(Rule);
    return made;
  }
  static void read(stored& into, request& of, http::validation& findings, std::size_t) {
    if constexpr (is_vector<T>) {
      for (const http::query_parameter& one : of.http().query) {
        if (one.name != Name.view()) continue;
        typename T::value_type element{};
        http::value_reading at(findings);
        at.enter("query");
        at.enter(Name.view());
        at.enter(into.value.size());
        http::codec<typename T::value_type>::read(element, std::string_view(one.value), at, rules());
        into.value.push_back(std::move(element));
      }
    } else {
      read_parameter(into.value, of.query(Name.view()), findings, "query", Name.view(), Rule, rules());
    }
  }
  static stored pass(stored& from) { return std::move(from); }
  static void describe(operation_description& into, std::string_view) {
    describe_parameter<T>(into, Name.view(), "query", Rule, rules());
  }
};

template <fixed_text Name, class T, rule Rule>
struct argument<header<Name, T, Rule>> : no_need {
  using stored = header<Name, T, Rule>;
  static_assert(!Rule.fallback.given || std::is_integral_v<T>, "a fallback is for integers and booleans");
  static const http::field_rule& rules() {
    static const http::field_rule made = to_field_rule(Rule);
    return made;
  }
  static void read(stored& into, request& of, http::validation& findings, std::size_t) {
    const http::headers& all = of.http().headers;
    std::string joined;  // RFC 9110 section 5.3
    std::optional<std::string_view> text = all.find(Name.view());
    if (all.count(Name.view()) > 1) text = joined = all.combined(Name.view());
    read_parameter(into.value, text, findings, "header", Name.view(), Rule, rules());
  }
  static stored pass(stored& from) { return std::move(from); }
  static void describe(operation_description& into, std::string_view) {
    describe_parameter<T>(into, Name.view(), "header", Rule, rules());
  }
};

template <class T>
struct argument<json<T>> : no_need {
  using stored = json<T>;
  static void read(stored& into, request& of, http::validation& findings, std::size_t) {
    if (http::detail::is_optional<T> && of.http().body.empty()) return;
    http::require_json(of.http());
    const http::json_document document(of.http().body);
    http::value_reading at(findings);
    http::codec<T>::read(into.value, document.root(), at, {});
  }
  static stored pass(stored& from) { return std::move(from); }
  static void describe(operation_description& into, std::string_view) {
    into.body = http::codec<T>::schema(*into.all, {});
    into.body_required = !http::detail::is_optional<T>;
  }
};

template <class T>
struct argument<dep<T>> : no_need {
  using stored = dep<T>;
  static constexpr dependency_key key = &dependency_tag<T>;
  static void read(stored&, request&, http::validation&, std::size_t) {}
  static stored pass(stored& from) { return from; }
};

template <class A>
inline constexpr bool is_body = false;
template <class T>
inline constexpr bool is_body<json<T>> = true;
template <class T>
inline constexpr bool is_optional_body = false;
template <class T>
inline constexpr bool is_optional_body<json<std::optional<T>>> = true;
template <class A>
inline constexpr bool is_dep = false;
template <class T>
inline constexpr bool is_dep<dep<T>> = true;

// `const T&` and `T` are the same argument; a reference to the request is one of its own.
template <class A>
using argument_of =
    argument<std::conditional_t<std::is_same_v<A, request&>, request&, std::remove_cvref_t<A>>>;
template <class A>
inline constexpr bool is_request = std::is_same_v<std::remove_cvref_t<A>, request>;

template <class T>
void need(std::vector<dependency_need>& into, const dep<T>*) {
  into.push_back({&dependency_tag<T>, http::detail::spelled_type<T>()});
}
inline void need(std::vector<dependency_need>&, const void*) {}

template <class... A>
std::vector<dependency_need> needs_of() {
  std::vector<dependency_need> all;
  (need(all, static_cast<const std::remove_cvref_t<A>*>(nullptr)), ...);
  return all;
}

template <class T>
void fill(dep<T>& into, const request& of) {
  into = dep<T>(*static_cast<T*>(opened_dependency(of, &dependency_tag<T>)));
}
template <class S>
void fill(S&, const request&) {}

// "id" of "/users/{id}".
[[nodiscard]] std::vector<std::string> pattern_names(std::string_view pattern);
// Where the plain arguments are in the path. Errors: `misuse_error`.
[[nodiscard]] std::vector<std::size_t> place_arguments(std::string_view pattern, std::size_t plain,
                                                       const std::vector<std::string>& named);
inline void collect_path_name(std::vector<std::string>&, const void*) {}
template <fixed_text Name, class T, rule Rule>
void collect_path_name(std::vector<std::string>& into, const path<Name, T, Rule>*) {
  into.emplace_back(Name.view());
}

template <class T>
http::response to_response(T&& result) {
  return http::response::json(http::status::ok, http::to_json(result));
}
inline http::response to_response(http::response&& result) { return std::move(result); }
template <int Code, class T>
http::response to_response(reply<Code, T>&& result) {
  http::response made = http::response::json(static_cast<http::status>(Code), http::to_json(result.body));
  for (const http::header& field : result.headers) made.headers.add(field.name, field.value);
  return made;
}

template <class T>
struct result_schema {
  static void describe(operation_description& into) { into.result = http::codec<T>::schema(*into.all, {}); }
};
template <>
struct result_schema<void> {
  static void describe(operation_description& into) { into.status = 204; }
};
template <>
struct result_schema<http::response> {
  static void describe(operation_description&) {}
};
template <int Code, class T>
struct result_schema<reply<Code, T>> {
  static void describe(operation_description& into) {
    into.status = Code;
    into.result = http::codec<T>::schema(*into.all, {});
  }
};
template <class T>
struct result_schema<task<T>> : result_schema<T> {};

// A handler with its arguments.
template <class F, class R, class... A>
class typed_call {
  static_assert((std::size_t{0} + ... + std::size_t{is_body<std::remove_cvref_t<A>>}) <= 1,
                "a request has one body: at most one json<> argument");
  static_assert(((!is_request<A> || std::is_same_v<A, request&>) && ...), "take the request as request&");
  static_assert(
      is_task<R> || !(is_request<A> || ...),
      "a handler that does not give a task runs in the thread pool and cannot have the request, which is "
      "the loop's; give task<T>, or take what is needed as arguments");

 public:
  typed_call(F fn, std::vector<std::size_t> positions) : fn_(std::move(fn)) {
    for (std::size_t i = 0, plain = 0; i != sizeof...(A); ++i) {
      if (is_plain[i]) positions_[i] = positions[plain++];
    }
  }
  BELAY_CORO_WRAPPER task<http::response> operator()(request& of) {
    return run(of, std::index_sequence_for<A...>());
  }

  static constexpr std::array<bool, sizeof...(A)> is_plain{argument_of<A>::plain...};

  static void describe(operation_description& into, const std::vector<std::string>& names) {
    into.typed = true;
    std::size_t plain = 0;
    const auto name = [&](bool is_path) {
      return is_path && plain < names.size() ? std::string_view(names[plain++]) : std::string_view();
    };
    (argument_of<A>::describe(into, name(argument_of<A>::plain)), ...);
    result_schema<R>::describe(into);
  }

 private:
  template <std::size_t... I>
  task<http::response> run(request& of, std::index_sequence<I...>) {
    std::tuple<typename argument_of<A>::stored...> args;
    {
      http::validation findings;
      (argument_of<A>::read(std::get<I>(args), of, findings, positions_[I]), ...);
      if constexpr ((is_dep<std::remove_cvref_t<A>> || ...)) check_dependencies(of, findings);
      findings.finish();
    }
    if constexpr ((is_dep<std::remove_cvref_t<A>> || ...)) {
      co_await or_fail(open_dependencies(of));
      (fill(std::get<I>(args), of), ...);
    }
    if constexpr (std::is_same_v<R, task<void>>) {
      co_await or_fail(fn_(argument_of<A>::pass(std::get<I>(args))...));
      co_return http::response::empty();
    } else if constexpr (is_task<R>) {
      co_return to_response(co_await or_fail(fn_(argument_of<A>::pass(std::get<I>(args))...)));
    } else {
      // The arguments live in this frame until the thread has done with them.
      const auto call = [&]() -> R { return fn_(argument_of<A>::pass(std::get<I>(args))...); };
      if constexpr (std::is_void_v<R>) {
        co_await to_thread(std::cref(call));
        co_return http::response::empty();
      } else {
        co_return to_response(co_await to_thread(std::cref(call)));
      }
    }
  }

  F fn_;
  std::array<std::size_t, sizeof...(A)> positions_{};
};

template <class F, class R, class... A>
bound_handler bind_typed(std::string_view pattern, F fn, signature<R(A...)>) {
  using call = typed_call<F, R, A...>;
  std::size_t plain = 0;
  for (const bool one : call::is_plain) plain += one ? 1 : 0;
  std::vector<std::string> named;
  (collect_path_name(named, static_cast<const std::remove_cvref_t<A>*>(nullptr)), ...);
  bound_handler made;
  made.call = handler(call(std::move(fn), place_arguments(pattern, plain, named)));
  made.takes = (is_optional_body<std::remove_cvref_t<A>> || ...) ? bound_handler::body::optional_json
               : (is_body<std::remove_cvref_t<A>> || ...)        ? bound_handler::body::json
                                                                 : bound_handler::body::none;
  made.needs = needs_of<A...>();
  made.describe = &call::describe;
  return made;
}

template <class T>
managed<T> hold(T value) {
  co_yield value;
}

template <class T, class F, class R, class... A>
class typed_source final : public provider {
  static_assert(!(is_body<std::remove_cvref_t<A>> || ...),
                "the body is the handler's: a dependency takes none");
  static_assert(!(argument_of<A>::plain || ...), "a dependency names its path parameters: path<\"id\", T>");
  static_assert(std::is_same_v<R, managed<T>> || std::is_same_v<R, task<T>> || std::is_same_v<R, T>,
                "provide<T> wants a function that gives managed<T>, task<T> or T");

 public:
  typed_source(F make, scope when)
      : provider(&dependency_tag<T>, http::detail::spelled_type<T>(), when, needs_of<A...>()),
        make_(std::move(make)) {}
  void check(request& of, http::validation& findings) override {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      std::tuple<typename argument_of<A>::stored...> args;
      (argument_of<A>::read(std::get<I>(args), of, findings, 0), ...);
    }(std::index_sequence_for<A...>());
  }
  BELAY_CORO_WRAPPER task<void*> open(request& of, exit_stack& into) override {
    return run(of, into, std::index_sequence_for<A...>());
  }
  void describe(operation_description& into) const override { (argument_of<A>::describe(into, {}), ...); }

 private:
  template <std::size_t... I>
  task<void*> run(request& of, exit_stack& into, std::index_sequence<I...>) {
    std::tuple<typename argument_of<A>::stored...> args;
    {
      http::validation findings;
      (argument_of<A>::read(std::get<I>(args), of, findings, 0), ...);
      findings.finish();
    }
    (fill(std::get<I>(args), of), ...);
    if constexpr (is_managed<R>) {
      T& opened = co_await into.enter(make_(argument_of<A>::pass(std::get<I>(args))...));
      co_return const_cast<void*>(static_cast<const void*>(std::addressof(opened)));
    } else if constexpr (is_task<R>) {
      T value = co_await or_fail(make_(argument_of<A>::pass(std::get<I>(args))...));
      T& opened = co_await into.enter(hold<T>(std::move(value)));
      co_return const_cast<void*>(static_cast<const void*>(std::addressof(opened)));
    } else {
      T& opened = co_await into.enter(hold<T>(make_(argument_of<A>::pass(std::get<I>(args))...)));
      co_return const_cast<void*>(static_cast<const void*>(std::addressof(opened)));
    }
  }

  F make_;
};

template <class T, class F, class R, class... A>
std::unique_ptr<provider> bind_source(F make, scope when, signature<R(A...)>) {
  return std::make_unique<typed_source<T, F, R, A...>>(std::move(make), when);
}

}  // namespace detail

template <class F>
  requires(std::is_pointer_v<F> || detail::has_one_call<F>)
struct typed_route<F> {
  static detail::bound_handler bind(std::string_view pattern, F fn) {
    return detail::bind_typed(pattern, std::move(fn), typename detail::signature_of<F>::type());
  }
};
template <class F>
  requires(!std::is_pointer_v<F> && !detail::has_one_call<F>)
struct typed_route<F> {
  static_assert(
      !std::is_same_v<F, F>,
      "the arguments of this handler cannot be seen: write their types (no auto), in one call operator");
};

template <class T, class F>
  requires(std::is_pointer_v<F> || detail::has_one_call<F>)
struct typed_provider<T, F> {
  static std::unique_ptr<detail::provider> bind(F make, scope when) {
    return detail::bind_source<T>(std::move(make), when, typename detail::signature_of<F>::type());
  }
};

}  // namespace belay::service
