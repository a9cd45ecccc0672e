// SPDX-License-Identifier: Apache-2.0
#pragma once
// What happened: an exception together with its async trace, what else failed, what it replaced, and notes.

#include <belay/core/detail/failure_record.hpp>
#include <exception>
#include <functional>
#include <source_location>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace belay {

class failure;
struct failure_parts;

namespace detail {
std::pair<failure, failure> split_failure(const failure& what, bool (*matches)(const std::exception_ptr&));
}

/// A failure with its story, beside the C++ exception that `catch` sees. A cheap handle to one shared record.
///
/// Every failure has exactly one fate: *handled* (rethrown into code that caught it, or looked at through an
/// `outcome`), *propagated* (to the awaiter, or attached to the first failure of its group), or *reported* to the
/// failure sink, once, when the last handle to an unobserved failure goes away. Who looks at it and lets it go on passes
/// that duty on.
///
/// Thread: handles may be copied and dropped on any thread; changing one record (`attach`, `note`) is for one
///         thread at a time.
class failure {
 public:
  /// No failure.
  failure() noexcept = default;

  /// A record for `exception`, with no trace yet. When `exception` is one that is being rethrown through tasks on
  /// this thread just now, its existing record.
  static failure of(std::exception_ptr exception);

  explicit operator bool() const noexcept { return static_cast<bool>(record_); }

  /// The exception object; the same for every awaiter (type and identity are never changed by the library).
  [[nodiscard]] const std::exception_ptr& exception() const noexcept;

  /// Where it passed: one place per awaiting frame, innermost first. Kept in release builds.
  [[nodiscard]] std::span<const std::source_location> trace() const noexcept;

  /// What else failed: siblings, cleanup. Looking at them marks them observed.
  [[nodiscard]] std::span<const failure> attached() const noexcept;

  /// What this failure replaced: the exception that was being handled when this one, a `belay::error`, was built; what is nested in it
  /// when it was thrown by `std::throw_with_nested`.
  [[nodiscard]] failure cause() const;

  [[nodiscard]] std::span<const std::string> notes() const noexcept;

  /// `what()` of the exception; for foreign types, their name. Never throws on odd exceptions.
  [[nodiscard]] std::string message() const;
  /// Demangled type name of the exception object.
  [[nodiscard]] std::string type_name() const;

  /// Adds `other` beside this failure. The same exception twice is kept once; what in `other` leads back to this failure
  /// is taken out of it.
  void attach(failure other);
  /// Adds a line of context ("while loading user 42") without changing type or identity. Of more than 256 the first and the last 128
  /// are kept: a failure may pass many times.
  void note(std::string text);

  /// The exception as `E`, here, in the attached failures or the causes (depth first); null when there is none.
  /// The object lives as long as this failure.
  template <class E>
  [[nodiscard]] const E* find() const;

  /// Calls `visit(const E&)` for each exception of type `E` in this failure, the attached ones and the causes.
  template <class E, class Visit>
  void for_each(Visit&& visit) const;

  /// This failure and everything attached or caused, as one list. Marks all of them observed.
  [[nodiscard]] std::vector<failure> flatten() const;

  /// Takes this failure and what is attached to it apart (as `except*` does), for a handler that can treat some kinds only:
  ///
  ///     } catch (...) {
  ///       auto [late, rest] = current_failure().split<timeout_error>();
  ///       if (late) retry_later(late);
  ///       if (rest) rest.rethrow();
  ///     }
  ///
  /// Result:   `matching`: those that are `E`, `rest`: the others; each is its first one, with the others attached at the level where they
  ///           were, or no failure when there are none. The exceptions are the same objects, with their traces and notes. Causes
  ///           stay with what they caused.
  /// Errors:   `matching` counts as observed. `rest` has to be rethrown or looked at; otherwise it goes to the sink.
  template <class E>
  [[nodiscard]] failure_parts split() const;

  /// Throws the exception; a task that lets it pass continues this record (trace, attached, notes).
  [[noreturn]] void rethrow() const;

  /// Somebody looked: it will not be reported as lost.
  void observe() const noexcept;
  [[nodiscard]] bool observed() const noexcept;
  /// Nobody looked: it went to the sink ("unhandled", for those who collect errors).
  [[nodiscard]] bool lost() const noexcept;

  friend bool operator==(const failure& a, const failure& b) noexcept {
    return a.record_.get() == b.record_.get();
  }

  explicit failure(detail::ref<detail::failure_record> record) noexcept : record_(std::move(record)) {}
  [[nodiscard]] const detail::ref<detail::failure_record>& record() const noexcept { return record_; }
  [[nodiscard]] detail::ref<detail::failure_record> take_record() noexcept { return std::move(record_); }

 private:
  friend std::pair<failure, failure> detail::split_failure(const failure&,
                                                           bool (*)(const std::exception_ptr&));
  [[nodiscard]] std::vector<failure> everything() const;  // flatten, without looking

  detail::ref<detail::failure_record> record_;
};

/// What `failure::split` gives.
struct failure_parts {
  failure matching;
  failure rest;
};

/// Inside a `catch` handler: the failure being handled, with its trace. Marks it observed. Outside: no failure.
/// To go on with an error after an await (which C++ does not allow in a handler), keep this, not the
/// `std::exception_ptr`, and `rethrow()` it: the exception alone does not hold trace, notes and attached failures.
[[nodiscard]] failure current_failure();

/// One screen of text: message, async trace, notes, attached failures, causes. However much there is, it stays below 32 KB; what is left
/// out is counted. Marks all of them observed, those left out as well.
[[nodiscard]] std::string describe(const failure& what);

/// The same for programs: one JSON object (RFC 8259, in valid UTF-8), below 256 KB.
///
///     {"type":"app::not_found","message":"user 7","kind":"not_found","code":"no_user","handled":true,
///      "made_at":{"file":"users.cpp","line":12,"function":"find"},"trace":[...places...],"notes":["..."],
///      "attached":[...failures...],"cause":null,"left_out":0}
///
/// `kind`, `code` and `made_at` are null where the exception is no `belay::error`. `handled` is false for what went to the sink; it and
/// `left_out`, the number of failures that are not shown, are given once, in the outermost object.
[[nodiscard]] std::string to_json(const failure& what);

/// Gets every failure that nobody observed, exactly once. Must not throw; a sink that does is answered by a line on
/// stderr. The default sink writes `describe(what)` to stderr.
using failure_sink = std::function<void(const failure& what)>;

namespace detail {

// Another record of the same exception, with the same trace and notes, nothing attached; nobody has to look at it. What is told of one
// is told of both.
[[nodiscard]] failure twin_of(const failure& what);

/// Reports to the sink of this thread's loop; to stderr where there is none.
void report_lost(const failure& what) noexcept;
// The exception being handled, to the sink, with a note.
void report_contained(const char* what) noexcept;

template <class E>
const E* exception_as(const std::exception_ptr& exception) noexcept {
  if (!exception) return nullptr;
  try {
    std::rethrow_exception(exception);
  } catch (const E& found) {
    return &found;
  } catch (...) {
    return nullptr;  // another type: that is the answer
  }
}

}  // namespace detail

template <class E>
const E* failure::find() const {
  for (const failure& one : everything()) {
    if (const E* found = detail::exception_as<E>(one.exception())) {
      one.observe();
      return found;
    }
  }
  return nullptr;
}

template <class E, class Visit>
void failure::for_each(Visit&& visit) const {
  for (const failure& one : everything()) {
    if (const E* found = detail::exception_as<E>(one.exception())) {
      one.observe();
      visit(*found);
    }
  }
}

template <class E>
failure_parts failure::split() const {
  if (!record_) return {};
  auto [matching, rest] = detail::split_failure(
      *this, [](const std::exception_ptr& one) { return detail::exception_as<E>(one) != nullptr; });
  return {std::move(matching), std::move(rest)};
}

}  // namespace belay
