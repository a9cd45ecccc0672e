// SPDX-License-Identifier: Apache-2.0
// The store in memory, and how policies ask a store.

#include <belay/core/timeout.hpp>
#include <belay/resilience/admission_store.hpp>
#include <belay/resilience/detail/options_text.hpp>

#include <new>
#include <unordered_map>

namespace belay {

struct memory_store::entries {
  struct breaker_entry {
    detail::breaker_machine machine;
    failure_words last = {};
  };
  duration probe_limit;
  std::unordered_map<std::string, breaker_entry> breakers = {};
  std::unordered_map<std::string, std::variant<detail::token_bucket, detail::sliding_window>> rates = {};
  detail::home_thread home = {};

  explicit entries(duration limit) : probe_limit(limit) {}

  breaker_entry& breaker(const std::string& key, const circuit_breaker_options& options) {
    home.require("memory_store");
    const auto found = breakers.find(key);
    if (found != breakers.end()) return found->second;
    detail::breaker_rules rules = detail::checked_rules(options);
    if (rules.probe_limit == duration::max()) rules.probe_limit = probe_limit;
    return breakers.try_emplace(key, breaker_entry{detail::breaker_machine(rules)}).first->second;
  }
};

memory_store::memory_store(duration probe_limit) : entries_(std::make_unique<entries>(probe_limit)) {
  detail::require_option(probe_limit > duration::zero(), "memory_store", "probe_limit", probe_limit,
                         "more than 0");
}
memory_store::~memory_store() = default;

task<admission_store::admission> memory_store::admit(std::string key,
                                                     const circuit_breaker_options& options) {
  entries::breaker_entry& entry = entries_->breaker(key, options);
  detail::breaker_machine& machine = entry.machine;
  const time_point here = now();
  const auto answer = machine.admit(here);
  admission got{.admitted = answer.admitted,
                .generation = answer.generation,
                .state = machine.last_state(),
                .changed = static_cast<bool>(answer.change)};
  if (got.state == breaker_state::open && machine.open_until() != time_point::max())
    got.retry_after = machine.open_until() - here;
  if (!got.admitted) got.last = entry.last;
  co_return got;
}

task<std::optional<breaker_state>> memory_store::ended(std::string key,
                                                       const circuit_breaker_options& options, call_end how) {
  entries::breaker_entry& entry = entries_->breaker(key, options);
  const std::uint64_t failed = entry.machine.counters().failed;
  std::exception_ptr none;
  const auto change = entry.machine.ended(how.generation, how.verdict, how.took, now(), none);
  if (entry.machine.counters().failed != failed) entry.last = std::move(how.why);
  if (!change) co_return std::nullopt;
  co_return change.to;
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

void store_outage::tell(failure what, std::string_view kind, const std::string& name) noexcept {
  const time_point here = now();
  if (here < quiet_until_) return;
  quiet_until_ = saturating_add(here, std::chrono::minutes(1));
  try {
    what.note(title(kind, name) + ": its store cannot be asked");
  } catch (const std::bad_alloc&) {
    // Without memory there is no note.
  }
  report_lost(what);
}

circuit_open_error stored_breaker_state::refusal(const admission_store::admission& why,
                                                 std::source_location where) {
  std::string text = title("circuit breaker", options.name) + " is " + std::string(to_string(why.state));
  if (why.state == breaker_state::half_open) text += ": all its probes are under way";
  failure last;
  if (const std::exception_ptr known = error_of(why.last, where)) {
    last = failure::of(known);
    last.observe();
    text += ", the last failed with: " + why.last.message;
  }
  if (why.retry_after) text += "; try again in " + duration_text(*why.retry_after);
  return refuse(why.state, std::move(text), why.retry_after, last, where);
}

circuit_open_error stored_breaker_state::refusal_unasked(const failure& why, std::source_location where) {
  return refuse(
      breaker_state::open,
      title("circuit breaker", options.name) + ": its store cannot be asked (" + why.message() + ")",
      std::nullopt, why, where);
}

circuit_open_error stored_breaker_state::refuse(breaker_state state, std::string text,
                                                std::optional<duration> retry_after, const failure& cause,
                                                std::source_location where) {
  ++counted.rejected;
  circuit_open_error refused(error_kind::unavailable,
                             state == breaker_state::isolated ? "circuit_isolated" : "circuit_open",
                             std::move(text), retry_after, where);
  if (cause) error_access::set_cause(refused, cause);
  if (options.listener) {
    failure told = failure::of(std::make_exception_ptr(refused));
    told.observe();
    options.listener.tell({.action = policy_action::rejected,
                           .kind = policy_kind::circuit_breaker,
                           .policy = options.name,
                           .detail = to_string(state),
                           .length = retry_after.value_or(duration::zero()),
                           .what = std::move(told)});
  }
  return refused;
}

void stored_breaker_state::tell_state(breaker_state now) const noexcept {
  if (!options.listener) return;
  options.listener.tell({.action = policy_action::state_changed,
                         .kind = policy_kind::circuit_breaker,
                         .policy = options.name,
                         .detail = to_string(now)});
}

namespace {

// A misuse is no outage: whoever did it must see it.
bool is_misuse(const outcome_base& asked) noexcept {
  return asked.how() == ending::failed &&
         exception_as<misuse_error>(asked.failed_record().exception) != nullptr;
}

// Short enough for a store to keep; not in the middle of a character of UTF-8.
void cut_message(std::string& message) {
  constexpr std::size_t most = 512;
  if (message.size() <= most) return;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0u) == 0x80u) --end;
  message.resize(end);
}

admission_store::call_end end_of(const circuit_breaker_options& options, const exit_status& how,
                                 call_verdict of_failure, std::uint64_t generation, duration took) {
  admission_store::call_end end{.generation = generation, .took = took};
  if (how.succeeded()) end.verdict = call_verdict::success;
  if (how.failed() && of_failure != call_verdict::nothing)
    end.verdict = judge_failure(options, how.failure());
  if (end.verdict == call_verdict::failure) {
    end.why = words_of(how.failure().exception());
    cut_message(end.why.message);
  }
  return end;
}

// Coroutines, so that what a store throws before it gives a task is a failure like all others.
task<admission_store::admission> ask(stored_breaker_state& state, admission_store& decides) {
  co_return co_await or_fail(
      with_timeout(state.asking.limit, decides.admit(state.options.name, state.options)));
}
task<std::optional<breaker_state>> tell(stored_breaker_state& state, admission_store& decides,
                                        const exit_status& how, call_verdict of_failure,
                                        std::uint64_t generation, duration took) {
  co_return co_await or_fail(with_timeout(
      state.asking.limit, decides.ended(state.options.name, state.options,
                                        end_of(state.options, how, of_failure, generation, took))));
}
task<std::optional<duration>> ask(stored_rate_state& state, std::uint64_t weight) {
  co_return co_await or_fail(
      with_timeout(state.asking.limit, state.store->take(state.options.name, state.options, weight)));
}

}  // namespace

managed<call_verdict> stored_admission(stored_breaker_state& state, std::source_location where) {
  admission_store* decides = state.store.get();
  auto asked = co_await as_outcome(ask(state, *decides));
  if (is_misuse(asked)) co_await fail(asked.failed_with());
  const failure unasked = asked.failure();
  if (unasked) {
    ++state.counted.without_store;
    if (state.asking.otherwise == without_store::reject) co_await fail(state.refusal_unasked(unasked, where));
    state.outage.tell(unasked, "circuit breaker", state.options.name);
    if (state.asking.otherwise == without_store::local) {
      decides = &state.meanwhile;
      asked = co_await as_outcome(ask(state, *decides));
    }
  }
  const bool decided = asked.succeeded();
  if (decided) {
    if (asked.value().changed) state.tell_state(asked.value().state);
    if (!asked.value().admitted) co_await fail(state.refusal(asked.value(), where));
  }
  ++state.counted.admitted;
  const time_point began = now();
  call_verdict of_failure = call_verdict::failure;
  const exit_status how = co_yield of_failure;
  if (!decided) co_return;
  auto told =
      co_await as_outcome(tell(state, *decides, how, of_failure, asked.value().generation, now() - began));
  // The call has its result, whatever becomes of the store. (Not told again: it may have come through all the same.)
  if (const failure untold = told.failure()) {
    ++state.counted.not_told;
    state.outage.tell(untold, "circuit breaker", state.options.name);
  } else if (told.value()) {
    state.tell_state(*told.value());
  }
}

task<> take_from_store(stored_rate_state& state, std::uint64_t weight, std::source_location where) {
  auto asked = co_await as_outcome(ask(state, weight));
  if (is_misuse(asked)) co_await end_with(asked);
  const failure unasked = asked.failure();
  std::optional<duration> wait;
  if (unasked) {
    ++state.counted.without_store;
    if (state.asking.otherwise == without_store::reject) {
      ++state.counted.rejected;
      co_await fail(reject_rate(state.options, error_kind::unavailable,
                                title("rate limiter", state.options.name) + ": its store cannot be asked (" +
                                    unasked.message() + ")",
                                std::nullopt, unasked, where));
    }
    state.outage.tell(unasked, "rate limiter", state.options.name);
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
  co_await fail(rate_refusal(state.options, *wait, duration::zero(), where));
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
