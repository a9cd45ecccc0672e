// SPDX-License-Identifier: Apache-2.0
#pragma once
// What handlers depend on: opened for a request, shared within it, told how it ended, closed in reverse order.

#include <belay/core/exit_stack.hpp>
#include <belay/http/validation.hpp>
#include <memory>
#include <string_view>
#include <vector>

namespace belay::service {

class request;

/// When a dependency closes.
enum class scope : unsigned char {
  /// When the handler has ended, before its response is sent: what it does then can still change the response, and its failure replaces it.
  function,
  /// After the response and the background work of the request. Its failure is a record `dependency_close_failed`. When the handler
  /// fails or is cancelled, there is nothing to wait for: it closes at once.
  request,
};

/// An argument of a typed handler, or of another dependency: what the app provides for `T` (`routes::provide`).
///
///     app.get("/users/{id}", [](std::int64_t id, dep<session> db) -> task<user> { co_return co_await db->find(id); });
///
/// Lifetime: what it refers to is open until the scope of its provider ends.
template <class T>
class dep {
 public:
  dep() noexcept = default;
  explicit dep(T& what) noexcept : what_(&what) {}
  [[nodiscard]] T& operator*() const noexcept { return *what_; }
  [[nodiscard]] T* operator->() const noexcept { return what_; }
  [[nodiscard]] T& get() const noexcept { return *what_; }

 private:
  T* what_ = nullptr;
};

namespace detail {

struct operation_description;

template <class T>
inline constexpr char dependency_tag = 0;
using dependency_key = const void*;

struct dependency_need {
  dependency_key key;
  std::string_view name;
};

// One `provide`.
class provider {
 public:
  provider(dependency_key key, std::string_view name, scope when, std::vector<dependency_need> needs)
      : key(key), name(name), when(when), needs(std::move(needs)) {}
  provider(const provider&) = delete;
  provider& operator=(const provider&) = delete;
  virtual ~provider() = default;
  // Notes what is wrong with the parameters it reads.
  virtual void check(request& of, http::validation& findings) = 0;
  BELAY_CORO_WRAPPER virtual task<void*> open(request& of, exit_stack& into) = 0;
  virtual void describe(operation_description& into) const = 0;

  const dependency_key key;
  const std::string_view name;
  scope when;  // until the app starts
  const std::vector<dependency_need> needs;
};

// For the typed routes. All of them do nothing for a route without dependencies.
void check_dependencies(request& of, http::validation& findings);
[[nodiscard]] task<> open_dependencies(request& of);
[[nodiscard]] void* opened_dependency(const request& of, dependency_key which) noexcept;

}  // namespace detail

}  // namespace belay::service
