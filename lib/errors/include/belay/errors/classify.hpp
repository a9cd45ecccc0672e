// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an exception of any type means to its caller: its kind, and whether another try makes sense.

#include <belay/core/error.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_local.hpp>
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace belay {

/// Whether the same call may work a little later: unavailable, overloaded, timed_out.
[[nodiscard]] bool is_retryable(error_kind kind) noexcept;

/// What is known of an exception, whoever made it.
struct classification {
  error_kind kind = error_kind::internal;
  /// Stable: the code of the error, or what says the same of a foreign one: `connection_refused`, `out_of_memory`, `unknown`.
  std::string code{};
  /// Follows from the kind, unless an adapter knows better: a serialization failure is a conflict, and worth another try.
  bool retryable = false;
  std::optional<duration> retry_after{};

  [[nodiscard]] static classification of(error_kind kind, std::string code) {
    return {kind, std::move(code), is_retryable(kind)};
  }
  friend bool operator==(const classification&, const classification&) = default;
};

/// Out of memory (`std::bad_alloc`), or a bug in the use of Belay (`misuse_error`, `deadlock_error`): default handlers must not make a
/// value of these; they pass by, unless a handler names them.
[[nodiscard]] bool is_fatal(const failure& what) noexcept;

/// Adapters for the exception types of a program and its libraries. What no adapter knows is classified as follows: `belay::error` says
/// it itself; `std::system_error` by its condition (`classify_errno`); `std::bad_alloc` overloaded, but not retryable; `std::invalid_argument`,
/// `out_of_range`, `length_error`, `domain_error` invalid; everything else internal.
///
///     error_classifier known;
///     known.add<boost::system::system_error>(classify_boost);
///     co_await classified_by(known, program());                // everything below asks it
///
/// A value: copies have the same adapters from then on. Thread: any, but not while it is changed.
class error_classifier {
 public:
  /// Adapters that were added later are asked first. One that gives nothing, or throws, leaves the answer to the others. (An error is
  /// classified many times on its way, so the first throw of an adapter is reported to the failure sink, and no further one.)
  template <class E>
  void add(std::function<std::optional<classification>(const E&)> adapter) {
    if (!adapter) throw misuse_error("error_classifier::add: the adapter is empty");
    adapters_.push_back(
        {[adapter = std::move(adapter)](const std::exception_ptr& what) -> std::optional<classification> {
           const E* found = detail::exception_as<E>(what);
           return found != nullptr ? adapter(*found) : std::nullopt;
         },
         std::make_shared<std::atomic<bool>>(false)});
  }

  [[nodiscard]] classification classify(const std::exception_ptr& what) const;

 private:
  struct adapter {
    std::function<std::optional<classification>(const std::exception_ptr&)> ask;
    std::shared_ptr<std::atomic<bool>> reported;  // that it throws; one for all copies
  };
  std::vector<adapter> adapters_;
};

/// Runs `op`; in it and in what it spawns, `classify` asks `by`, as it is now. Inner ones cover outer ones. A call that others may
/// take over (`single_flight`, `cache`) asks the one of who began it, to its end. So it is kept: a copy of it, or, for many calls,
/// the one that is shared.
///
/// Errors: `misuse_error` for a null pointer.
template <class T>
[[nodiscard]] task<T> classified_by(error_classifier by, task<T> op);
template <class T>
[[nodiscard]] task<T> classified_by(std::shared_ptr<const error_classifier> by, task<T> op);

/// The error itself, not what is attached to it or what it replaced. Does not mark it observed.
[[nodiscard]] classification classify(const std::exception_ptr& what);
[[nodiscard]] classification classify(const failure& what);
/// The one answer: `classify(what).retryable`. No failure: false.
[[nodiscard]] bool is_retryable(const failure& what);

namespace detail {
extern const task_local<std::shared_ptr<const error_classifier>> classifier_here;
}

template <class T>
task<T> classified_by(std::shared_ptr<const error_classifier> by, task<T> op) {
  if (by == nullptr) throw misuse_error("classified_by: there is no classifier");
  co_return co_await detail::classifier_here.with(std::move(by), std::move(op));
}
template <class T>
task<T> classified_by(error_classifier by, task<T> op) {
  auto kept = std::make_shared<const error_classifier>(std::move(by));
  co_return co_await detail::classifier_here.with(std::move(kept), std::move(op));
}

}  // namespace belay
