// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs an operation again when it failed for a reason that may be gone the next time.

#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/errors/detail/empty_function.hpp>
#include <belay/resilience/backoff.hpp>
#include <belay/resilience/detail/attempt.hpp>
#include <belay/resilience/detail/retry_course.hpp>
#include <belay/resilience/detail/sharing.hpp>
#include <belay/resilience/error_filter.hpp>
#include <belay/resilience/policy.hpp>
#include <belay/resilience/retry_budget.hpp>
#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace belay {

/// An attempt after which there may be another one.
struct retry_attempt {
  unsigned number = 1;
  failure what = {};    ///< none: it gave a value that is not wanted
  duration delay = {};  ///< what the backoff says
};

/// What happens when the last attempt gives a value that is not wanted either.
enum class exhausted_value : unsigned char {
  returned,
  fails,  ///< an error of kind unavailable, code `unwanted_value`
};

struct retry_options {
  /// In all, the first one included; at least 1.
  unsigned max_attempts = 3;
  /// What to wait between the attempts.
  backoff delay = backoff::exponential(std::chrono::milliseconds(100), std::chrono::seconds(10));
  /// No attempt begins later than this after the beginning of the first one. It stops none: see `timeout`. More than zero.
  any_duration max_elapsed = duration::max();
  /// Errors after which to try again.
  error_filter on = transient_errors();
  /// An error that asks to be left alone (`retry_after_of`) for up to this long gets at least that; if it asks for longer, there
  /// is no further attempt. Zero or more.
  any_duration most_retry_after = std::chrono::seconds(30);
  /// Another delay than that of `delay`. None, or a negative one: that of `delay`. What it throws ends the retry.
  std::function<std::optional<duration>(const retry_attempt&)> delay_for = {};
  /// Shared with others: when it is empty, the error goes on at once.
  std::optional<retry_budget> budget = {};
  /// See `retry::on_value`.
  exhausted_value last_value = exhausted_value::returned;
  /// For the jitter: the same delays for the same seed. None: those of the loop (`random_bits`).
  std::optional<std::uint64_t> seed = {};
  /// In notes, events and descriptions.
  std::string name = "retry";
  policy_listener listener = {};
};

struct retry_statistics {
  std::uint64_t calls = 0;
  std::uint64_t retries = 0;    ///< attempts beyond the first that have begun
  std::uint64_t recovered = 0;  ///< calls that succeeded after a retry
  std::uint64_t gave_up = 0;    ///< calls that failed although their error is one to try again
};

template <class Unwanted>
class retry_on_value;

/// Runs what is inside again while it fails for a reason that `on` knows.
///
///     const pipeline guarded{retry{{.max_attempts = 4}}, timeout{1s}};
///     const quote q = co_await guarded(fetch, url);
///
/// Result:        that of the first attempt that succeeds.
/// Errors:        that of the last attempt, bare; the errors of the attempts before it are attached, and notes tell their number, their
///                delays, and why there was no further attempt. (Of more than 16 earlier ones, the first 8 and the last 8.) An
///                error that `on` does not know comes out at once. What `on` or `delay_for` throws is attached, and ends the retry.
///                `misuse_error` for options out of range.
/// Cancellation:  ends the attempt, or the waiting: then the attempt that was waited for takes nothing out of the budget. Cancelled before
///                it has begun: there is no attempt; when the cancellation was requested before, it acts at the first await of the
///                operation, as without a retry. A cancellation is never retried, nor is the error of a cleanup after it: that goes
///                on, with those of the attempts before it, and is not counted.
/// Time:          waits on the loop's clock. It does not begin to wait for longer than `current_deadline()` allows: it gives up at once.
///                An attempt is not limited: put a `timeout` inside.
/// Events:        `retrying`, `recovered`, `gave_up`. None for a call that succeeds at once.
/// Operations made by `once` are run once, whatever happens.
class retry : public policy<retry> {
 public:
  explicit retry(retry_options options = {});

  template <guarded_operation Next>
  [[nodiscard]] BELAY_CORO_WRAPPER task<guarded_result<Next>> run(Next next) const {
    return detail::run_retry<Next, detail::every_value>(*shared_, std::move(next), nullptr);
  }

  /// The same policy, with the same state, which also runs the operation again when `unwanted(value)` is true: an answer of status 503. When
  /// attempts are used up, the last value is the result (see `retry_options::last_value`). Values that are not wanted are
  /// destroyed before the waiting begins. What `unwanted` throws ends the retry. Who is cancelled gets what there is. Errors: `misuse_error`
  /// for an empty function.
  template <class Unwanted>
  [[nodiscard]] retry_on_value<Unwanted> on_value(Unwanted unwanted) const {
    return retry_on_value<Unwanted>(*this, std::move(unwanted));
  }

  [[nodiscard]] std::string_view name() const noexcept;
  /// "retry: 3 attempts, exponential from 100 ms up to 10 s, full jitter"
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] policy_facts facts() const;
  [[nodiscard]] retry_statistics statistics() const noexcept;

 private:
  template <class Unwanted>
  friend class retry_on_value;
  std::shared_ptr<detail::retry_shared> shared_;
};

/// Made by `retry::on_value`.
template <class Unwanted>
class retry_on_value : public policy<retry_on_value<Unwanted>> {
 public:
  retry_on_value(retry base, Unwanted unwanted)
      : base_(std::move(base)), unwanted_(std::make_shared<Unwanted>(std::move(unwanted))) {
    if (detail::is_empty_function(*unwanted_)) throw misuse_error("retry::on_value: the function is empty");
  }

  template <guarded_operation Next>
  [[nodiscard]] BELAY_CORO_WRAPPER task<guarded_result<Next>> run(Next next) const {
    static_assert(!std::is_void_v<guarded_result<Next>>, "retry::on_value: the operation gives no value");
    static_assert(
        std::is_invocable_r_v<bool, Unwanted&, const std::remove_reference_t<guarded_result<Next>>&>,
        "retry::on_value: the function cannot be called with what the operation gives");
    return detail::run_retry<Next, Unwanted>(*base_.shared_, std::move(next), unwanted_.get());
  }

  [[nodiscard]] std::string_view name() const noexcept { return base_.name(); }
  [[nodiscard]] std::string describe() const { return base_.describe() + ", also on values"; }
  [[nodiscard]] policy_facts facts() const { return base_.facts(); }
  [[nodiscard]] retry_statistics statistics() const noexcept { return base_.statistics(); }

 private:
  retry base_;
  std::shared_ptr<Unwanted> unwanted_;
};

namespace detail {

struct retry_shared {
  retry_options options;
  random_source seeded;  // used if the options have a seed
  retry_statistics counts = {};
  home_thread home = {};
};

// After an attempt: how long to wait before the next one. None: `how` is the end, a value or a failure.
template <class T, class Unwanted>
std::optional<duration> judge(retry_course& course, outcome<T>& how, Unwanted* unwanted, bool may_run_again) {
  if (how.failed()) return course.after_failure(how, may_run_again);
  if constexpr (!std::same_as<Unwanted, every_value>) {
    if (cancel_requested()) return {};  // there will be no better one
    try {
      if ((*unwanted)(std::as_const(how.get()))) {
        const std::optional<duration> delay = course.after_value(may_run_again);
        if (!delay && course.unwanted_value_fails()) {
          how.drop_value();
          how.set_failed(course.unwanted_value());
          course.fail_with(how);
        }
        return delay;
      }
    } catch (...) {
      how.drop_value();
      how.set_failed(record_current_exception());
      course.fail_with(how);
      return {};
    }
  }
  course.succeeded();
  return {};
}

template <class Next, class Unwanted>
task<guarded_result<Next>> run_retry(retry_shared& shared, Next next, Unwanted* unwanted) {
  retry_course course(shared);
  for (;;) {
    std::optional<duration> delay;
    {
      outcome<guarded_result<Next>> how = co_await attempt(next);
      delay = judge(course, how, unwanted, belay::runs_again<Next>);
      if (!delay) {
        if (!how.succeeded()) co_await end_with(how);
        if constexpr (std::is_void_v<guarded_result<Next>>) {
          co_return;
        } else {
          co_return how.get_forward();
        }
      }
    }
    co_await sleep_for(*delay);
    course.next_attempt();
  }
}

}  // namespace detail
}  // namespace belay
