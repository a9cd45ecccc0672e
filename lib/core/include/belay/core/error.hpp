// SPDX-License-Identifier: Apache-2.0
#pragma once
// The base of the errors that Belay throws, and of yours if you like: kind, code, message, details, place, what it replaced.

#include <belay/core/error_detail.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/time.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace belay {

/// What should the caller do?
enum class error_kind : unsigned char {
  invalid,          ///< fix the call
  not_found,        ///< it does not exist
  conflict,         ///< it clashes with the present state: look again
  denied,           ///< not allowed
  unauthenticated,  ///< say who you are
  unavailable,      ///< retry later
  overloaded,       ///< retry later, and back off
  timed_out,        ///< a deadline passed
  child_cancelled,  ///< a task that was awaited had been cancelled by somebody else
  data_format,      ///< what came in cannot be read
  internal,         ///< a bug: report it
};

[[nodiscard]] std::string_view to_string(error_kind kind) noexcept;

namespace detail {
struct error_access;
}

/// An error with kind, stable code, message and the place that made it. Built inside a `catch` handler it records
/// the exception that it replaces (`cause()`). Copies are cheap and never throw. Foreign exception types work in
/// Belay just as well; this one only says more.
class error : public std::runtime_error {
 public:
  explicit error(std::string message, std::source_location where = std::source_location::current());
  error(error_kind kind, std::string code, std::string message,
        std::source_location where = std::source_location::current());
  error(error_kind kind, std::string code, std::string message, error_details details,
        std::source_location where = std::source_location::current());

  [[nodiscard]] error_kind kind() const noexcept;
  /// Stable, machine-readable: `email_taken`. Empty when none was given.
  [[nodiscard]] std::string_view code() const noexcept;
  [[nodiscard]] std::source_location where() const noexcept;
  /// When it was made: on the clock of the loop that runs here, else the machine's.
  [[nodiscard]] time_point when() const noexcept;
  /// What it knows besides its message.
  [[nodiscard]] const error_details& details() const noexcept;
  void add_detail(error_detail one);
  /// How long to wait before the next try, if whoever failed said so.
  [[nodiscard]] std::optional<duration> retry_after() const noexcept;
  /// Errors: `misuse_error` for a negative duration, or one that is not a number.
  void set_retry_after(any_duration wait);
  /// What this error replaced, if it was built inside a `catch` handler.
  [[nodiscard]] failure cause() const;

 private:
  friend detail::error_access;
  struct contents;
  [[nodiscard]] contents& own_contents();
  std::shared_ptr<contents> contents_;  // shared by the copies, until one of them is changed
};

namespace detail {
struct error_access {
  // For an error that gets attached to the very failure it replaced.
  static void drop_cause(const error& from) noexcept;
  // For an error whose cause is not being handled where it is made. Before anybody else has a copy.
  static void set_cause(const error& of, failure cause) noexcept;
};
}  // namespace detail

/// The limit of `with_timeout` or `shielded` passed before the operation finished. An ordinary error, no cancellation.
class timeout_error : public error {
 public:
  explicit timeout_error(std::string message, std::source_location where = std::source_location::current())
      : error(error_kind::timed_out, "timed_out", std::move(message), where) {}
};

/// A task that was awaited through its handle had been cancelled by somebody else. The awaiter itself was not.
class child_cancelled : public error {
 public:
  explicit child_cancelled(std::string message, std::source_location where = std::source_location::current())
      : error(error_kind::child_cancelled, "child_cancelled", std::move(message), where) {}
};

/// The library was used wrongly; says which call, and what to do instead. The state is unharmed.
class misuse_error : public error {
 public:
  explicit misuse_error(std::string message, std::source_location where = std::source_location::current())
      : error(error_kind::internal, "misuse", std::move(message), where) {}
};

}  // namespace belay
