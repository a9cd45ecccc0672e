// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state behind a circuit breaker and its copies, for one loop or for all: the machine, its lock, its listener.

#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/detail/breaker_machine.hpp>
#include <belay/resilience/detail/sharing.hpp>
#include <belay/resilience/error_filter.hpp>
#include <belay/resilience/policy.hpp>
#include <belay/resilience/rejected.hpp>
#include <optional>
#include <source_location>
#include <string>

namespace belay {

[[nodiscard]] std::string_view to_string(breaker_state state) noexcept;

/// Errors that say something about what is called: all but rejections by policies further inside, and tasks cancelled by others.
[[nodiscard]] error_filter telling_errors();
/// Telling errors that are not the caller's own fault: not of the kinds invalid, not_found, conflict, denied, unauthenticated.
[[nodiscard]] error_filter service_failures();

/// Each field says its unit and range. Of the rules for opening, any that is met opens it; at least one must be on.
struct circuit_breaker_options {
  /// In events, errors and descriptions.
  std::string name = "circuit breaker";

  /// Opens at so many failures in a row. 0: this rule is off. Not given: 5, or off while a rate is on.
  std::optional<std::size_t> consecutive_failures = {};
  /// Opens when at least this share of the calls in the window failed: 0 (off) to 1.
  double failure_rate = 0;
  /// Opens when at least this share of the calls in the window was slow: 0 (off) to 1. A slow probe is a failed one.
  double slow_call_rate = 0;
  /// A call that takes so long is slow. More than 0; to be given with `slow_call_rate`.
  duration slow_call = duration::max();

  /// The window of the rates, to be given with one of them: the last so many calls, 1 to 1,000,000 …
  std::size_t window_calls = 100;
  /// … or, if this is more than 0, the calls that ended in the last so long (in tenths: 90 to 100 % of it). At least 10 ns.
  duration window = duration::zero();
  /// No rate is taken of fewer calls than this, at least 1; not more than `window_calls`, if that counts.
  std::size_t minimum_calls = 20;

  /// How long it stays open. More than 0; `duration::max()`: until somebody closes it.
  duration open_for = std::chrono::seconds(30);
  /// Each time that probes fail, the next open time is so many times as long: 1 (off) or more …
  double open_growth = 1;
  /// … up to this, or `open_for` if that is longer.
  duration longest_open = std::chrono::minutes(10);

  /// How many calls are let through when the open time is over, at least 1; the others are rejected until these have decided.
  std::size_t probes = 1;
  /// How many of them must succeed for it to close, up to `probes`. 0: all.
  std::size_t probes_to_close = 0;
  /// When all places of probes are taken, and the last one was let in so long ago, those that run are not waited for any more: others are let in, and
  /// they count as nothing. More than 0; longer than a good call takes. `duration::max()`: for ever. A timeout inside is better: it ends the probe.
  duration probe_limit = duration::max();

  /// What counts as a failure. What else counts as `telling` is a success: the service answered. The rest counts as nothing.
  error_filter failures = service_failures();
  error_filter telling = telling_errors();

  /// Is told each change of state and each rejection; see `policy_listener`.
  policy_listener listener = {};
};

struct circuit_breaker_statistics {
  breaker_state state = breaker_state::closed;
  std::uint64_t succeeded = 0;     ///< calls that counted as successes
  std::uint64_t failed = 0;        ///< … as failures
  std::uint64_t slow = 0;          ///< of both
  std::uint64_t uncounted = 0;     ///< cancelled, or ended with an error that tells nothing
  std::uint64_t stale = 0;         ///< ended in a later state than the one that let them in
  std::uint64_t rejected = 0;      ///< not run
  std::uint64_t opened = 0;        ///< how often it has opened
  std::uint64_t window_calls = 0;  ///< in the window of the rates just now
  std::uint64_t window_failures = 0;
  std::uint64_t failures_in_a_row = 0;
};

namespace detail {

[[nodiscard]] breaker_rules checked_rules(const circuit_breaker_options& options);
[[nodiscard]] std::string describe_breaker(const circuit_breaker_options& options);
// How a call that failed so counts, by the filters; nothing, if it was cancelled and its cleanup failed. A filter that throws: reported;
// the call counts as a failure.
[[nodiscard]] call_verdict judge_failure(const circuit_breaker_options& options,
                                         const failure& what) noexcept;

// The last failure for threads other than its own: an exception object is not handed to those, for it need not be safe there.
struct failure_words {
  error_kind kind = error_kind::internal;
  std::string code;
  std::string message;
};

[[nodiscard]] failure_words words_of(const std::exception_ptr& what) noexcept;
// As an error, for the `cause()` of a rejection; null without a message.
[[nodiscard]] std::exception_ptr error_of(const failure_words& words, std::source_location where);
[[noreturn]] void refuse_empty_failure(std::source_location where);

// What a rejection has to say, taken under the lock.
struct breaker_refusal {
  breaker_state state = breaker_state::open;
  trip by;
  std::optional<duration> retry_after;
  std::exception_ptr last;
  failure_words words;
};

template <class Sharing>
class breaker_core {
 public:
  explicit breaker_core(circuit_breaker_options options)
      : options_(std::move(options)), machine_(checked_rules(options_)) {
    publish();
  }
  breaker_core(const breaker_core&) = delete;
  breaker_core& operator=(const breaker_core&) = delete;

  [[nodiscard]] const circuit_breaker_options& options() const noexcept { return options_; }
  [[nodiscard]] bool needs_time() const noexcept { return machine_.needs_time(); }

  // The generation that lets the call in; 0: it is refused. While it is closed, no lock is taken and no clock read.
  [[nodiscard]] std::uint64_t admit() {
    home_.require("circuit_breaker");
    if (const std::uint64_t open_generation = closed_in_.get(); open_generation != 0) [[likely]]
      return open_generation;
    return admit_slowly();
  }
  void ended(std::uint64_t generation, call_verdict verdict, duration took, std::exception_ptr what);
  [[nodiscard]] call_verdict judge(const outcome_base& how) const noexcept;

  // After `admit` gave 0.
  [[nodiscard]] circuit_open_error refusal(std::source_location where) const;

  void isolate();
  void open();
  void close();
  void half_open(std::source_location where);
  [[nodiscard]] breaker_state state() const;
  [[nodiscard]] circuit_breaker_statistics statistics() const;

 private:
  using lock = typename Sharing::lock;
  [[nodiscard]] std::uint64_t admit_slowly();
  void publish() noexcept { closed_in_.set(machine_.is_closed() ? machine_.generation() : 0); }
  void tell(breaker_change change, const std::exception_ptr& why) const noexcept;

  const circuit_breaker_options options_;
  [[no_unique_address]] typename Sharing::home home_;
  // Its generation while it is closed, otherwise 0. Written under the lock, read without.
  typename Sharing::template cell<std::uint64_t> closed_in_;
  mutable typename Sharing::mutex mutex_;
  mutable breaker_machine machine_;  // guarded by mutex_
  failure_words last_;               // likewise; only across threads
};

extern template class breaker_core<one_loop>;
extern template class breaker_core<all_loops>;

}  // namespace detail

/// One call that a breaker let in, for work that is no single task (a stream, a connection). To be told how it went, once; destroyed
/// without that it counts as nothing, and its place is free. Move-only. The breaker must outlive it.
template <class Core>
class [[nodiscard]] breaker_pass {
 public:
  explicit breaker_pass(Core& core) : core_(&core), generation_(core.admit()) {
    if (core.needs_time() && generation_ != 0) started_ = now();
  }
  breaker_pass(breaker_pass&& other) noexcept
      : core_(other.core_), generation_(std::exchange(other.generation_, 0)), started_(other.started_) {}
  breaker_pass& operator=(breaker_pass&&) = delete;
  ~breaker_pass() {
    if (generation_ != 0) finish(detail::call_verdict::nothing, nullptr);
  }

  /// False: refused, or told already.
  explicit operator bool() const noexcept { return generation_ != 0; }
  void succeeded() {
    if (generation_ != 0) finish(detail::call_verdict::success, nullptr);
  }
  /// Counts by the filters of the breaker. Errors: `misuse_error` for no failure; nothing has been told then.
  void failed(const failure& what, std::source_location where = std::source_location::current()) {
    if (!what) detail::refuse_empty_failure(where);
    outcome<void> how;
    how.set_failed(failure(what).take_record());
    ended(how);
  }

  // For policies.
  void ended(const detail::outcome_base& how) {
    if (generation_ == 0) return;
    const detail::call_verdict verdict = core_->judge(how);
    finish(verdict, verdict == detail::call_verdict::failure ? how.failed_with().exception() : nullptr);
  }

 private:
  void finish(detail::call_verdict verdict, std::exception_ptr what) {
    const duration took = core_->needs_time() ? now() - started_ : duration::zero();
    core_->ended(std::exchange(generation_, 0), verdict, took, std::move(what));
  }
  Core* core_;
  std::uint64_t generation_;
  time_point started_{};
};

}  // namespace belay
