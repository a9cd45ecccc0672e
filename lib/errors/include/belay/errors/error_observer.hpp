// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who is told of errors by the guards: the log, the alerts, the span.

#include <belay/core/error.hpp>
#include <belay/errors/classify.hpp>
#include <source_location>
#include <string_view>
#include <vector>

namespace belay {

/// How much an error matters to who runs the program.
enum class severity : unsigned char {
  expected = 1,  ///< part of the business: invalid, not_found, conflict, denied, unauthenticated
  warning,       ///< may pass by itself: unavailable, overloaded, timed_out, child_cancelled
  critical,      ///< somebody has to look: internal, data_format
};

[[nodiscard]] std::string_view to_string(severity how) noexcept;
[[nodiscard]] severity severity_of(error_kind kind) noexcept;
/// By the kind of its classification. But a foreign exception that would be `expected` is critical: `std::out_of_range` is the caller's
/// fault, and the caller is this program. Who expects it, throws an error of one's own instead.
[[nodiscard]] severity severity_of(const failure& what);

/// One error, as a guard saw it. Refers to what lives until the call returns.
struct error_event {
  const failure& what;
  /// Of the error itself.
  const classification& as;
  /// Of the worst that is told here for the first time: the error itself, or what is attached to it.
  severity importance;
  /// What was being done, as the guard says.
  std::string_view operation;
  const error_details& context;
  /// Where the guard was made.
  std::source_location where;
};

/// Told by guards. Each function is called on the loop's thread and must not wait: what takes time (sending an alert) is queued. What
/// it throws is reported to the failure sink, and changes nothing for the error it was told of.
class error_observer {
 public:
  error_observer() = default;
  error_observer(const error_observer&) = delete;
  error_observer& operator=(const error_observer&) = delete;
  virtual ~error_observer() = default;

  /// To be logged: once for each error, however many guards it passes; again only when it became worse on the way.
  virtual void record(const error_event&) {}
  /// To be alerted on: likewise, from `guard_options::alert_from` on.
  virtual void alert(const error_event&) {}
  /// It passes a guard: at every one, before the other two. For the span that is open here.
  virtual void passed(const error_event&) {}
};

/// Several as one; one that throws does not keep the others from being told.
class error_observers final : public error_observer {
 public:
  /// Lifetime: `one` outlives this object. Errors: `misuse_error` for itself.
  void add(error_observer& one);

  void record(const error_event& event) override;
  void alert(const error_event& event) override;
  void passed(const error_event& event) override;

 private:
  std::vector<error_observer*> all_;
};

}  // namespace belay
