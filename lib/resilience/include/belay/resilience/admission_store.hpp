// SPDX-License-Identifier: Apache-2.0
#pragma once
// Breakers and rates that several programs share: the interface to where their state is kept, and a store in memory.

#include <belay/core/managed.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace belay {

/// How a call counts for a breaker. `nothing`: it was cancelled, or failed with an error that tells nothing about the service.
using call_verdict = detail::call_verdict;

/// Keeps the state of breakers and rates by key, on behalf of all who use it. What comes to one key acts one after the other, as a whole.
///
/// Whoever implements it: the rules are those of `circuit_breaker` and `rate_limiter`; `detail::breaker_machine` and `detail::token_bucket`
/// have no clock and no threads, and are made to be used here. Time is the store's own: the clocks of its users differ. The options
/// come with each call, so that a store need not be set up; users of one key must give the same. A store that outlives its users must let go of a
/// probe whose user has died, after a time that is longer than any call.
///
/// Errors:        what it throws means that it could not be asked; the policies then do what their options say.
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
  };
  /// May a call begin?
  [[nodiscard]] BELAY_CORO_WRAPPER virtual task<admission> admit(std::string key,
                                                                 const circuit_breaker_options& options) = 0;
  /// How a call that was admitted ended. Gives the state after it.
  [[nodiscard]] BELAY_CORO_WRAPPER virtual task<breaker_state> ended(std::string key,
                                                                     const circuit_breaker_options& options,
                                                                     std::uint64_t generation,
                                                                     call_verdict verdict, duration took) = 0;

  /// Takes `weight` permits of the rate: nothing, or the time until there are so many.
  [[nodiscard]] BELAY_CORO_WRAPPER virtual task<std::optional<duration>> take(
      std::string key, const rate_limiter_options& options, std::uint64_t weight) = 0;
};

/// The state of the keys in the memory of this loop; for tests, and for programs of one process. Thread: one loop.
class memory_store final : public admission_store {
 public:
  memory_store();
  ~memory_store() override;
  task<admission> admit(std::string key, const circuit_breaker_options& options) override;
  task<breaker_state> ended(std::string key, const circuit_breaker_options& options, std::uint64_t generation,
                            call_verdict verdict, duration took) override;
  task<std::optional<duration>> take(std::string key, const rate_limiter_options& options,
                                     std::uint64_t weight) override;

 private:
  struct entries;
  std::unique_ptr<entries> entries_;
};

/// What a policy does when its store cannot be asked, or does not answer in time.
enum class without_store : unsigned char {
  admit,  ///< lets the call through: an outage of the store shall not become one of everything
  reject,  ///< rejects it (`circuit_open` or `rate_limited` with `cause()`): the service must never be asked too much
  /// Asks a breaker or rate of this policy and its copies, in memory, which is only used meanwhile: each program has the whole rate for itself then, and its
  /// own circuit.
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

struct stored_breaker_state {
  stored_breaker_state(std::shared_ptr<admission_store> in, circuit_breaker_options how,
                       store_options when) noexcept
      : store(std::move(in)), options(std::move(how)), asking(when) {}
  std::shared_ptr<admission_store> store;
  circuit_breaker_options options;
  store_options asking;
  stored_statistics counted = {};
  memory_store meanwhile = {};  // without_store::local
  void check() const;
  [[nodiscard]] circuit_open_error refusal(const admission_store::admission& why) const;
};
struct stored_rate_state {
  stored_rate_state(std::shared_ptr<admission_store> in, rate_limiter_options how,
                    store_options when) noexcept
      : store(std::move(in)), options(std::move(how)), asking(when) {}
  std::shared_ptr<admission_store> store;
  rate_limiter_options options;
  store_options asking;
  stored_statistics counted = {};
  memory_store meanwhile = {};  // without_store::local
  void check() const;
};
// Admitted while it is open.
[[nodiscard]] managed<unit> stored_admission(stored_breaker_state& state);
[[nodiscard]] task<> take_from_store(stored_rate_state& state, std::uint64_t weight);

}  // namespace detail

/// A circuit breaker whose state is in a store, under the key `options.name`. Calls and errors as for `circuit_breaker`; each call asks the store
/// before it and tells it afterwards.
class stored_circuit_breaker : public policy<stored_circuit_breaker> {
 public:
  /// Errors: `misuse_error` for options out of range, and without a store.
  stored_circuit_breaker(std::shared_ptr<admission_store> store, circuit_breaker_options options,
                         store_options asking = {});

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    const auto body = [&next](unit&) -> task<guarded_result<Next>> { co_return co_await or_fail(next()); };
    co_return co_await or_fail(with(detail::stored_admission(*state_), body));
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
    co_await or_fail(detail::take_from_store(*state_, weight_));
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
