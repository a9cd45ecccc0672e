// SPDX-License-Identifier: Apache-2.0
#pragma once
// Breakers and rates that several programs share: the interface to where their state is kept, and a store in memory.

#include <belay/core/managed.hpp>
#include <belay/errors/detail/story.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>

namespace belay {

/// How a call counts for a breaker. `nothing`: it was cancelled, or failed with an error that tells nothing about the service.
using call_verdict = detail::call_verdict;
/// What is left of an error where its exception cannot go. Without a message: of none.
using failure_words = detail::failure_words;

/// Keeps the state of breakers and rates by key, on behalf of all who use it. What comes to one key acts one after the other, as a whole.
///
/// Whoever implements it: the rules are those of `circuit_breaker` and `rate_limiter`; `detail::breaker_machine` and `detail::token_bucket`
/// have no clock and no threads, and are made to be used here. Time is the store's own: the clocks of its users differ. The options
/// come with each call, so that a store need not be set up; users of one key must give the same. Users die, and an end does not always come
/// through: a store must let go of a probe of which it hears nothing, after the `probe_limit` of the options if there is one, otherwise after a
/// time of its own that is longer than any call.
///
/// Errors:        what it throws, also before it gives a task, means that it could not be asked; the policies then do what their options
///                say. A `misuse_error` goes through to the caller.
/// Cancellation:  of `admit` and `take`: nothing is counted, or what was taken is given back. `ended` runs shielded.
class admission_store {
 public:
  admission_store() = default;
  admission_store(const admission_store&) = delete;
  admission_store& operator=(const admission_store&) = delete;
  virtual ~admission_store() = default;

  struct admission {
    bool admitted = false;
    std::uint64_t generation = 0;  ///< to be given back with `ended`
    breaker_state state = breaker_state::closed;
    std::optional<duration> retry_after = {};
    /// This question has made `state` what it is.
    bool changed = false;
    /// The failure that was counted last, if the store keeps it: the cause of a rejection.
    failure_words last = {};
  };
  /// How a call that was admitted ended.
  struct call_end {
    std::uint64_t generation = 0;  ///< of its admission
    call_verdict verdict = call_verdict::nothing;
    duration took = duration::zero();
    failure_words why = {};  ///< of a failure; at most 512 bytes of its message
  };
  /// May a call begin?
  [[nodiscard]] BELAY_CORO_WRAPPER virtual task<admission> admit(std::string key,
                                                                 const circuit_breaker_options& options) = 0;
  /// To be told once for each call that was admitted. Gives the new state if that has changed it.
  [[nodiscard]] BELAY_CORO_WRAPPER virtual task<std::optional<breaker_state>> ended(
      std::string key, const circuit_breaker_options& options, call_end how) = 0;

  /// Takes `weight` permits of the rate: nothing, or the time until there are so many.
  [[nodiscard]] BELAY_CORO_WRAPPER virtual task<std::optional<duration>> take(
      std::string key, const rate_limiter_options& options, std::uint64_t weight) = 0;
};

/// The state of the keys in the memory of this loop; for tests, and for programs of one process. Thread: one loop. Keeps every key it has seen
/// as long as it lives.
class memory_store final : public admission_store {
 public:
  /// `probe_limit`: a probe of which nothing is heard for so long is lost, unless the options of the breaker have a limit. More than 0.
  explicit memory_store(duration probe_limit = std::chrono::minutes(1));
  ~memory_store() override;
  task<admission> admit(std::string key, const circuit_breaker_options& options) override;
  task<std::optional<breaker_state>> ended(std::string key, const circuit_breaker_options& options,
                                           call_end how) override;
  task<std::optional<duration>> take(std::string key, const rate_limiter_options& options,
                                     std::uint64_t weight) override;

 private:
  struct entries;
  std::unique_ptr<entries> entries_;
};

/// What a policy does when its store cannot be asked, or does not answer in time.
enum class without_store : unsigned char {
  /// Lets the call through: an outage of the store shall not become one of everything. The store's error goes to the sink, at most once a minute.
  admit,
  /// Rejects it (`circuit_open` or `rate_limited`, with the store's error as `cause()`): the service must never be asked too much.
  reject,
  /// Asks a breaker or rate of this policy and its copies, in memory, which is only used meanwhile: each program has the whole rate for itself then, and its
  /// own circuit. The store's error goes to the sink as with `admit`.
  local,
};

struct store_options {
  /// How long the store may take to answer, more than 0.
  duration limit = std::chrono::milliseconds(100);
  without_store otherwise = without_store::admit;
};

struct stored_statistics {
  std::uint64_t admitted = 0;
  std::uint64_t rejected = 0;
  std::uint64_t without_store =
      0;  ///< calls for which the store could not be asked (with `local`: decided in memory)
  std::uint64_t not_told = 0;  ///< ends of calls that the store was not told
};

namespace detail {

// When the sink was told of a store that is away.
class store_outage {
 public:
  // An error that nobody else will see, with a note about which policy it was.
  void tell(failure what, std::string_view kind, const std::string& name) noexcept;

 private:
  time_point quiet_until_ = time_point::min();
};

struct stored_breaker_state {
  stored_breaker_state(std::shared_ptr<admission_store> in, circuit_breaker_options how,
                       store_options when) noexcept
      : store(std::move(in)), options(std::move(how)), asking(when) {}
  std::shared_ptr<admission_store> store;
  circuit_breaker_options options;
  store_options asking;
  stored_statistics counted = {};
  store_outage outage = {};
  memory_store meanwhile;  // without_store::local
  void check() const;
  void tell_state(breaker_state now) const noexcept;
  // Both count the rejection and tell it.
  [[nodiscard]] circuit_open_error refusal(const admission_store::admission& why, std::source_location where);
  [[nodiscard]] circuit_open_error refusal_unasked(const failure& why, std::source_location where);

 private:
  [[nodiscard]] circuit_open_error refuse(breaker_state state, std::string text,
                                          std::optional<duration> retry_after, const failure& cause,
                                          std::source_location where);
};
struct stored_rate_state {
  stored_rate_state(std::shared_ptr<admission_store> in, rate_limiter_options how,
                    store_options when) noexcept
      : store(std::move(in)), options(std::move(how)), asking(when) {}
  std::shared_ptr<admission_store> store;
  rate_limiter_options options;
  store_options asking;
  stored_statistics counted = {};
  store_outage outage = {};
  memory_store meanwhile;  // without_store::local
  void check() const;
};
// Admitted while it is open. `where` is the caller's place. What it gives is the verdict on a failure that the filters judge; set to `nothing`,
// they are not asked.
[[nodiscard]] managed<call_verdict> stored_admission(stored_breaker_state& state, std::source_location where);
[[nodiscard]] task<> take_from_store(stored_rate_state& state, std::uint64_t weight,
                                     std::source_location where);

}  // namespace detail

/// A circuit breaker whose state is in a store, under the key `options.name`. Calls and errors as for `circuit_breaker`; each call asks the store
/// before it and tells it afterwards. The `cause()` of a `circuit_open_error` is an `error` with the kind, code and message of the last failure.
class stored_circuit_breaker : public policy<stored_circuit_breaker> {
 public:
  /// Errors: `misuse_error` for options out of range, and without a store.
  stored_circuit_breaker(std::shared_ptr<admission_store> store, circuit_breaker_options options,
                         store_options asking = {});

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    const auto body = [&next](call_verdict& otherwise) -> task<guarded_result<Next>> {
      auto how = co_await detail::attempt(next);
      if (!how.succeeded()) [[unlikely]] {
        if (detail::failed_after_cancellation(how.failed_with())) otherwise = call_verdict::nothing;
        co_await detail::end_with(how);
      }
      if constexpr (!std::is_void_v<guarded_result<Next>>) co_return how.get_forward();
    };
    const std::source_location where = co_await detail::caller_site_awaiter();
    co_return co_await or_fail(with(detail::stored_admission(*state_, where), body));
  }

  [[nodiscard]] stored_statistics statistics() const noexcept { return state_->counted; }
  [[nodiscard]] std::string_view name() const noexcept { return state_->options.name; }
  [[nodiscard]] std::string describe() const { return "stored " + detail::describe_breaker(state_->options); }
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::circuit_breaker, .name = state_->options.name};
  }

 private:
  std::shared_ptr<detail::stored_breaker_state> state_;
};

/// A rate limiter whose state is in a store, under the key `options.name`: who comes too early is rejected (it does not wait).
class stored_rate_limiter : public policy<stored_rate_limiter> {
 public:
  /// Errors: `misuse_error` for options out of range (`most_waiting` must be 0), and without a store.
  stored_rate_limiter(std::shared_ptr<admission_store> store, rate_limiter_options options,
                      store_options asking = {});

  /// As `rate_limiter::with_weight`.
  [[nodiscard]] stored_rate_limiter with_weight(std::size_t weight) const {
    detail::check_rate_weight(state_->options, weight);
    stored_rate_limiter other = *this;
    other.weight_ = weight;
    return other;
  }

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    co_await or_fail(detail::take_from_store(*state_, weight_, co_await detail::caller_site_awaiter()));
    co_return co_await or_fail(next());
  }

  [[nodiscard]] stored_statistics statistics() const noexcept { return state_->counted; }
  [[nodiscard]] std::string_view name() const noexcept { return state_->options.name; }
  [[nodiscard]] std::string describe() const { return "stored " + detail::describe_rate(state_->options); }
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::rate_limiter, .name = state_->options.name};
  }

 private:
  std::shared_ptr<detail::stored_rate_state> state_;
  std::uint64_t weight_ = 1;
};

}  // namespace belay
