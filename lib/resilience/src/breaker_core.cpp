// SPDX-License-Identifier: Apache-2.0
// What circuit breakers of one loop and of all loops have in common.

#include <belay/core/sleep.hpp>
#include <belay/errors/detail/story.hpp>
#include <belay/resilience/detail/breaker_core.hpp>
#include <belay/resilience/detail/options_text.hpp>

#include <algorithm>
#include <limits>
#include <new>

namespace belay {

std::string_view to_string(breaker_state state) noexcept {
  switch (state) {
    case breaker_state::closed: return "closed";
    case breaker_state::open: return "open";
    case breaker_state::half_open: return "half open";
    case breaker_state::isolated: return "isolated";
  }
  return "unknown";
}

error_filter telling_errors() { return !types<rejected_error, child_cancelled>(); }

error_filter service_failures() {
  return telling_errors() && !kinds({error_kind::invalid, error_kind::not_found, error_kind::conflict,
                                     error_kind::denied, error_kind::unauthenticated});
}

namespace detail {

namespace {

constexpr const char* kind = "circuit breaker";

std::string reason_text(const trip& by) {
  const auto of = [&by] { return std::to_string(by.part) + " of " + std::to_string(by.of); };
  switch (by.cause) {
    case trip_cause::consecutive: return std::to_string(by.part) + " failures in a row";
    case trip_cause::failure_rate: return of() + " calls failed";
    case trip_cause::slow_call_rate: return of() + " calls were slow";
    case trip_cause::probes: return of() + " probes failed";
    case trip_cause::by_hand: return "by hand";
    case trip_cause::none: break;
  }
  return "half open, and all probes are under way";
}

}  // namespace

failure_words words_of(const std::exception_ptr& what) noexcept {
  failure_words words;
  try {
    const failure bare(ref<failure_record>::adopt(new failure_record(what)));
    bare.observe();
    if (const auto* typed = exception_as<error>(what)) {
      words.kind = typed->kind();
      words.code = typed->code();
    }
    words.message = bare.message();
  } catch (const std::bad_alloc&) {
    words.code = "";  // without memory it has fewer words
  }
  return words;
}

std::exception_ptr error_of(const failure_words& words, std::source_location where) {
  if (words.message.empty()) return nullptr;
  return std::make_exception_ptr(error(words.kind, words.code, words.message, where));
}

void refuse_empty_failure(std::source_location where) {
  throw misuse_error("circuit breaker: pass.failed() without a failure", where);
}

namespace {

bool takes_rates(const circuit_breaker_options& o) { return o.failure_rate > 0 || o.slow_call_rate > 0; }
std::size_t consecutive_rule(const circuit_breaker_options& o) {
  return o.consecutive_failures.value_or(takes_rates(o) ? 0 : 5);
}

}  // namespace

breaker_rules checked_rules(const circuit_breaker_options& o) {
  const std::string who = title(kind, o.name);
  const auto share = [&who](const char* field, double value) {
    require_option(value >= 0 && value <= 1, who, field, value, "from 0 (off) to 1");
  };
  constexpr std::size_t most_calls = 1'000'000;
  share("failure_rate", o.failure_rate);
  share("slow_call_rate", o.slow_call_rate);
  const std::size_t consecutive = consecutive_rule(o);
  require_option(consecutive > 0 || takes_rates(o), who, "consecutive_failures", std::uint64_t{consecutive},
                 "at least 1 while failure_rate and slow_call_rate are off: nothing could ever open it");
  require_option(o.slow_call > duration::zero(), who, "slow_call", o.slow_call, "more than 0");
  require_option(o.slow_call_rate == 0 || o.slow_call < duration::max(), who, "slow_call", o.slow_call,
                 "a time, for slow_call_rate is on");
  require_option(o.slow_call_rate > 0 || o.slow_call == duration::max(), who, "slow_call", o.slow_call,
                 "given together with slow_call_rate");
  require_option(o.window_calls >= 1 && o.window_calls <= most_calls, who, "window_calls",
                 std::uint64_t{o.window_calls}, "from 1 to 1000000");
  require_option(o.window == duration::zero() || o.window >= duration(10), who, "window", o.window,
                 "0 (off) or at least 10 ns");
  constexpr const char* for_rates = "given together with failure_rate or slow_call_rate";
  const circuit_breaker_options usual;
  require_option(takes_rates(o) || o.window == usual.window, who, "window", o.window, for_rates);
  require_option(takes_rates(o) || o.window_calls == usual.window_calls, who, "window_calls",
                 std::uint64_t{o.window_calls}, for_rates);
  require_option(takes_rates(o) || o.minimum_calls == usual.minimum_calls, who, "minimum_calls",
                 std::uint64_t{o.minimum_calls}, for_rates);
  require_option(o.minimum_calls >= 1, who, "minimum_calls", std::uint64_t{o.minimum_calls}, "at least 1");
  const bool rates_of_calls = takes_rates(o) && o.window == duration::zero();
  require_option(!rates_of_calls || o.minimum_calls <= o.window_calls, who, "minimum_calls",
                 std::uint64_t{o.minimum_calls}, "at most window_calls: no rate could ever be taken");
  require_option(o.open_for > duration::zero(), who, "open_for", o.open_for, "more than 0");
  require_option(o.open_growth >= 1 && o.open_growth <= std::numeric_limits<double>::max(), who,
                 "open_growth", o.open_growth, "1 (off) or more");
  require_option(o.longest_open > duration::zero(), who, "longest_open", o.longest_open, "more than 0");
  require_option(o.probes >= 1 && o.probes <= most_calls, who, "probes", std::uint64_t{o.probes},
                 "from 1 to 1000000");
  require_option(o.probes_to_close <= o.probes, who, "probes_to_close", std::uint64_t{o.probes_to_close},
                 "0 (all) or up to probes");
  require_option(o.probe_limit > duration::zero(), who, "probe_limit", o.probe_limit, "more than 0");
  return {.consecutive_failures = consecutive,
          .failure_rate = o.failure_rate,
          .slow_call_rate = o.slow_call_rate,
          .slow_call = o.slow_call,
          .window_calls = o.window_calls,
          .window = o.window,
          .minimum_calls = o.minimum_calls,
          .open_for = o.open_for,
          .open_growth = o.open_growth,
          .longest_open = o.longest_open,
          .probes = o.probes,
          .probes_to_close = o.probes_to_close,
          .probe_limit = o.probe_limit};
}

std::string describe_breaker(const circuit_breaker_options& o) {
  std::string text = title(kind, o.name) + ": opens at";
  const char* next = " ";
  if (const std::size_t consecutive = consecutive_rule(o); consecutive > 0) {
    text.append(next).append(std::to_string(consecutive)).append(" failures in a row");
    next = " or ";
  }
  if (o.failure_rate > 0) {
    text.append(next).append(percent_text(o.failure_rate)).append(" failures");
    next = " or ";
  }
  if (o.slow_call_rate > 0) {
    text.append(next)
        .append(percent_text(o.slow_call_rate))
        .append(" calls of ")
        .append(duration_text(o.slow_call));
  }
  if (takes_rates(o)) {
    text += o.window > duration::zero() ? " in " + duration_text(o.window)
                                        : " of the last " + std::to_string(o.window_calls);
    text += " (at least " + std::to_string(o.minimum_calls) + " calls)";
  }
  text += ", for " + duration_text(o.open_for);
  if (o.open_growth > 1) {
    text += " growing by " + number_text(o.open_growth) + " up to " + duration_text(o.longest_open);
  }
  text += ", then " + std::to_string(o.probes) + (o.probes == 1 ? " probe" : " probes");
  if (o.probes_to_close > 0 && o.probes_to_close < o.probes)
    text += ", of which " + std::to_string(o.probes_to_close) + " must succeed";
  return text;
}

call_verdict judge_failure(const circuit_breaker_options& options, const failure& what) noexcept {
  try {
    if (failed_after_cancellation(what)) return call_verdict::nothing;
    // The error itself decides, not what is attached to it (earlier attempts, a cleanup).
    const failure bare(ref<failure_record>::adopt(new failure_record(what.exception())));
    bare.observe();
    if (!options.telling.matches(bare)) return call_verdict::nothing;
    return options.failures.matches(bare) ? call_verdict::failure : call_verdict::success;
  } catch (...) {
    report_lost(failure::of(std::current_exception()));
    return call_verdict::failure;
  }
}

template <class Sharing>
std::uint64_t breaker_core<Sharing>::admit_slowly() {
  const time_point here = now();
  breaker_machine::admission answer;
  {
    const lock held(mutex_);
    answer = machine_.admit(here);
    publish();
  }
  if (answer.change) tell(answer.change, nullptr);
  return answer.admitted ? answer.generation : 0;
}

template <class Sharing>
void breaker_core<Sharing>::ended(std::uint64_t generation, call_verdict verdict, duration took,
                                  std::exception_ptr what) {
  // A success needs the time only if there is a window of time.
  const bool bad = verdict == call_verdict::failure;
  const time_point here = bad || machine_.needs_time() ? now() : time_point();
  const std::exception_ptr why = options_.listener ? what : nullptr;
  failure_words words;
  if constexpr (Sharing::crosses_threads) {
    if (what) words = words_of(std::exchange(what, nullptr));
  }
  breaker_change change;
  {
    const lock held(mutex_);
    const std::uint64_t failed = machine_.counters().failed;
    change = machine_.ended(generation, verdict, took, here, what);
    if (Sharing::crosses_threads && machine_.counters().failed != failed) std::swap(last_, words);
    if (change) publish();
  }
  if (change) [[unlikely]]
    tell(change, why);
}

template <class Sharing>
call_verdict breaker_core<Sharing>::judge(const outcome_base& how) const noexcept {
  if (how.how() == ending::value) return call_verdict::success;
  if (how.how() != ending::failed) return call_verdict::nothing;
  return judge_failure(options_, how.failed_with());
}

template <class Sharing>
circuit_open_error breaker_core<Sharing>::refusal(std::source_location where) const {
  breaker_refusal why;
  const time_point here = now();
  {
    const lock held(mutex_);
    why.state = machine_.last_state();
    why.by = machine_.tripped_by();
    if constexpr (Sharing::crosses_threads) {
      why.words = last_;
    } else {
      why.last = machine_.last_failure();
    }
    if (why.state == breaker_state::open && machine_.open_until() != time_point::max())
      why.retry_after = std::max(duration::zero(), machine_.open_until() - here);
  }
  if constexpr (Sharing::crosses_threads) why.last = error_of(why.words, where);
  // A record of its own: that of the call which failed belongs to whoever handles it, perhaps on another thread.
  failure last;
  if (why.last) {
    last = failure::of(why.last);
    last.observe();
  }
  std::string text = title(kind, options_.name) + " is ";
  const bool isolated = why.state == breaker_state::isolated;
  text += isolated ? "isolated" : why.state == breaker_state::half_open ? "half open" : "open";
  if (why.state == breaker_state::half_open) {
    text += ": all its probes are under way";
  } else if (why.by.cause != trip_cause::none) {
    text += ": " + reason_text(why.by);
  }
  if (last) text += ", the last with: " + last.message();
  if (why.retry_after) text += "; try again in " + duration_text(*why.retry_after);
  circuit_open_error refused(error_kind::unavailable, isolated ? "circuit_isolated" : "circuit_open",
                             std::move(text), why.retry_after, where);
  error_access::set_cause(refused, last);
  if (options_.listener) {
    failure told = failure::of(std::make_exception_ptr(refused));
    told.observe();
    options_.listener.tell({.action = policy_action::rejected,
                            .kind = policy_kind::circuit_breaker,
                            .policy = options_.name,
                            .detail = to_string(why.state),
                            .length = why.retry_after.value_or(duration::zero()),
                            .what = std::move(told)});
  }
  return refused;
}

template <class Sharing>
void breaker_core<Sharing>::tell(breaker_change change, const std::exception_ptr& why) const noexcept {
  if (!options_.listener) return;
  failure behind;
  if (why) {
    behind = failure::of(why);
    behind.observe();
  }
  options_.listener.tell({.action = policy_action::state_changed,
                          .kind = policy_kind::circuit_breaker,
                          .policy = options_.name,
                          .detail = to_string(change.to),
                          .what = std::move(behind)});
}

template <class Sharing>
void breaker_core<Sharing>::isolate() {
  home_.require("circuit_breaker");
  breaker_change change;
  {
    const lock held(mutex_);
    change = machine_.isolate();
    publish();
  }
  if (change) tell(change, nullptr);
}

template <class Sharing>
void breaker_core<Sharing>::open() {
  home_.require("circuit_breaker");
  const time_point here = now();
  breaker_change change;
  {
    const lock held(mutex_);
    change = machine_.open(here);
    publish();
  }
  if (change) tell(change, nullptr);
}

template <class Sharing>
void breaker_core<Sharing>::close() {
  home_.require("circuit_breaker");
  breaker_change change;
  {
    const lock held(mutex_);
    change = machine_.close();
    publish();
  }
  if (change) tell(change, nullptr);
}

template <class Sharing>
void breaker_core<Sharing>::half_open(std::source_location where) {
  home_.require("circuit_breaker");
  breaker_change change;
  bool possible = false;
  {
    const lock held(mutex_);
    possible = machine_.half_open(change);
    publish();
  }
  if (!possible) {
    throw misuse_error(
        title(kind, options_.name) + ": half_open() while it is closed; there is nothing to probe", where);
  }
  if (change) tell(change, nullptr);
}

template <class Sharing>
breaker_state breaker_core<Sharing>::state() const {
  const time_point here = now();
  const lock held(mutex_);
  return machine_.state(here);
}

template <class Sharing>
circuit_breaker_statistics breaker_core<Sharing>::statistics() const {
  const time_point here = now();
  const lock held(mutex_);
  const breaker_counters& c = machine_.counters();
  const call_counts window = machine_.window_counts(here);
  return {.state = machine_.state(here),
          .succeeded = c.succeeded,
          .failed = c.failed,
          .slow = c.slow,
          .uncounted = c.uncounted,
          .stale = c.stale,
          .rejected = c.rejected,
          .opened = c.opened,
          .window_calls = window.calls,
          .window_failures = window.failures,
          .failures_in_a_row = machine_.failures_in_a_row()};
}

template class breaker_core<one_loop>;
template class breaker_core<all_loops>;

}  // namespace detail
}  // namespace belay
