// SPDX-License-Identifier: Apache-2.0
// The store in memory, and how policies ask a store.

#include <belay/core/timeout.hpp>
#include <belay/resilience/admission_store.hpp>
#include <belay/resilience/detail/options_text.hpp>

#include <unordered_map>

namespace belay {

struct memory_store::entries {
  std::unordered_map<std::string, detail::breaker_machine> breakers;
  std::unordered_map<std::string, std::variant<detail::token_bucket, detail::sliding_window>> rates;
  detail::home_thread home;

  detail::breaker_machine& breaker(const std::string& key, const circuit_breaker_options& options) {
    home.require("memory_store");
    const auto found = breakers.find(key);
    if (found != breakers.end()) return found->second;
    return breakers.try_emplace(key, detail::checked_rules(options)).first->second;
  }
};

memory_store::memory_store() : entries_(std::make_unique<entries>()) {}
memory_store::~memory_store() = default;

task<admission_store::admission> memory_store::admit(std::string key,
                                                     const circuit_breaker_options& options) {
  detail::breaker_machine& machine = entries_->breaker(key, options);
  const time_point here = now();
  const auto answer = machine.admit(here);
  admission got{.admitted = answer.admitted, .generation = answer.generation, .state = machine.last_state()};
  if (got.state == breaker_state::open && machine.open_until() != time_point::max())
    got.retry_after = machine.open_until() - here;
  co_return got;
}

task<breaker_state> memory_store::ended(std::string key, const circuit_breaker_options& options,
                                        std::uint64_t generation, call_verdict verdict, duration took) {
  detail::breaker_machine& machine = entries_->breaker(key, options);
  std::exception_ptr none;
  machine.ended(generation, verdict, took, now(), none);
  co_return machine.last_state();
}

task<std::optional<duration>> memory_store::take(std::string key, const rate_limiter_options& options,
                                                 std::uint64_t weight) {
  entries_->home.require("memory_store");
  auto found = entries_->rates.find(key);
  if (found == entries_->rates.end())
    found = entries_->rates.try_emplace(std::move(key), detail::make_rate_machine(options)).first;
  const time_point here = now();
  co_return std::visit(
      [&](auto& one) -> std::optional<duration> {
        if (one.take(here, weight)) return std::nullopt;
        return one.when(here, weight) - here;
      },
      found->second);
}

namespace detail {

namespace {

void check_store(const std::string& who, const std::shared_ptr<admission_store>& store,
                 const store_options& asking) {
  if (store == nullptr) throw misuse_error(who + ": made without a store");
  require_option(asking.limit > duration::zero(), who, "limit", asking.limit, "more than 0");
}

}  // namespace

void stored_breaker_state::check() const {
  static_cast<void>(checked_rules(options));
  check_store(title("circuit breaker", options.name), store, asking);
}

void stored_rate_state::check() const {
  check_rate(options);
  const std::string who = title("rate limiter", options.name);
  require_option(options.most_waiting == 0, who, "most_waiting", std::uint64_t{options.most_waiting},
                 "0 when it is stored");
  check_store(who, store, asking);
}

circuit_open_error stored_breaker_state::refusal(const admission_store::admission& why) const {
  std::string text = title("circuit breaker", options.name) + " is " + std::string(to_string(why.state));
  if (why.state == breaker_state::half_open) text += ": all its probes are under way";
  if (why.retry_after) text += "; try again in " + duration_text(*why.retry_after);
  circuit_open_error refused(error_kind::unavailable,
                             why.state == breaker_state::isolated ? "circuit_isolated" : "circuit_open",
                             std::move(text), why.retry_after);
  if (options.listener) {
    failure told = failure::of(std::make_exception_ptr(refused));
    told.observe();
    options.listener.tell({.action = policy_action::rejected,
                           .kind = policy_kind::circuit_breaker,
                           .policy = options.name,
                           .detail = to_string(why.state),
                           .length = why.retry_after.value_or(duration::zero()),
                           .what = std::move(told)});
  }
  return refused;
}

managed<unit> stored_admission(stored_breaker_state& state) {
  admission_store* decides = state.store.get();
  auto asked = co_await as_outcome(
      with_timeout(state.asking.limit, state.store->admit(state.options.name, state.options)));
  const failure unasked = asked.failure();
  if (unasked) {
    ++state.counted.without_store;
    if (state.asking.otherwise == without_store::reject) {
      circuit_open_error refused(error_kind::unavailable, "circuit_open",
                                 title("circuit breaker", state.options.name) +
                                     ": its store cannot be asked (" + unasked.message() + ")");
      error_access::set_cause(refused, unasked);
      co_await fail(std::move(refused));
    }
    if (state.asking.otherwise == without_store::local) {
      decides = &state.meanwhile;
      asked = co_await as_outcome(decides->admit(state.options.name, state.options));
    }
  }
  const bool decided = asked.succeeded();
  if (decided && !asked.value().admitted) {
    ++state.counted.rejected;
    co_await fail(state.refusal(asked.value()));
  }
  ++state.counted.admitted;
  const time_point began = now();
  unit nothing;
  const exit_status how = co_yield nothing;
  if (!decided) co_return;
  const admission_store::admission in = asked.value();
  call_verdict verdict = call_verdict::nothing;
  if (how.succeeded()) verdict = call_verdict::success;
  if (how.failed()) verdict = judge_failure(state.options, how.failure().exception());
  auto told = co_await as_outcome(
      with_timeout(state.asking.limit,
                   decides->ended(state.options.name, state.options, in.generation, verdict, now() - began)));
  // The call has its result, whatever becomes of the store.
  if (told.failure()) {
    ++state.counted.not_told;
  } else if (told.value() != in.state && state.options.listener) {
    state.options.listener.tell({.action = policy_action::state_changed,
                                 .kind = policy_kind::circuit_breaker,
                                 .policy = state.options.name,
                                 .detail = to_string(told.value())});
  }
}

task<> take_from_store(stored_rate_state& state, std::uint64_t weight) {
  auto asked = co_await as_outcome(
      with_timeout(state.asking.limit, state.store->take(state.options.name, state.options, weight)));
  const failure unasked = asked.failure();
  std::optional<duration> wait;
  if (unasked) {
    ++state.counted.without_store;
    if (state.asking.otherwise == without_store::reject) {
      rate_limited_error refused(error_kind::unavailable, "rate_limited",
                                 title("rate limiter", state.options.name) + ": its store cannot be asked (" +
                                     unasked.message() + ")");
      error_access::set_cause(refused, unasked);
      co_await fail(std::move(refused));
    }
    if (state.asking.otherwise == without_store::local)
      wait = co_await or_fail(state.meanwhile.take(state.options.name, state.options, weight));
  } else {
    wait = asked.value();
  }
  if (!wait) {
    ++state.counted.admitted;
    co_return;
  }
  ++state.counted.rejected;
  co_await fail(rate_refusal(state.options, *wait, duration::zero(), co_await caller_site_awaiter()));
}

}  // namespace detail

stored_circuit_breaker::stored_circuit_breaker(std::shared_ptr<admission_store> store,
                                               circuit_breaker_options options, store_options asking)
    : state_(std::make_shared<detail::stored_breaker_state>(std::move(store), std::move(options), asking)) {
  state_->check();
}

stored_rate_limiter::stored_rate_limiter(std::shared_ptr<admission_store> store, rate_limiter_options options,
                                         store_options asking)
    : state_(std::make_shared<detail::stored_rate_state>(std::move(store), std::move(options), asking)) {
  state_->check();
}

}  // namespace belay
