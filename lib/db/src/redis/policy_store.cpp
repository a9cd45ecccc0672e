// SPDX-License-Identifier: Apache-2.0
// Questions of policies as scripts of Redis.

#include <belay/db/redis/policy_store.hpp>

#include <algorithm>
#include <array>
#include <charconv>

#include "policy_scripts.hpp"

namespace belay::db::redis {

namespace {

using belay::detail::breaker_rules;

std::string text(double value) {
  std::array<char, 64> into{};
  const auto end = std::to_chars(into.data(), into.data() + into.size(), value).ptr;
  return {into.data(), end};
}
std::string micros(duration length) {
  // Up, so that nothing is shorter than asked for.
  return std::to_string(length.count() / 1000 + (length.count() % 1000 > 0 ? 1 : 0));
}

error_kind kind_named(std::string_view name) noexcept {
  for (unsigned char i = 0; i < static_cast<unsigned char>(error_kind::internal); ++i)
    if (to_string(static_cast<error_kind>(i)) == name) return static_cast<error_kind>(i);
  return error_kind::internal;
}

std::vector<std::string> rule_words(const breaker_rules& rules, const policy_store_options& options) {
  const std::size_t enough = rules.probes_to_close == 0 ? rules.probes : rules.probes_to_close;
  return {rules.open_for == duration::max() ? "-1" : micros(rules.open_for),
          text(rules.open_growth),
          micros(rules.longest_open),
          std::to_string(rules.probes),
          std::to_string(enough),
          micros(rules.probe_limit == duration::max() ? options.probe_limit : rules.probe_limit),
          micros(options.keep)};
}

// Numbers that Lua would round are sent as text.
template <class N>
N number(const reply& from) {
  N value = 0;
  const std::string& digits = from.to_text();
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (problem != std::errc() || end != digits.data() + digits.size())
    throw type_error("a reply of Redis is not the number that the script gives");
  return value;
}

// The same, without an error: what makes up for something must not throw.
std::optional<std::uint64_t> number_in(std::string_view digits) noexcept {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (problem != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

breaker_state state_of(const reply& from) {
  switch (from.to_integer()) {
    case 0: return breaker_state::closed;
    case 1: return breaker_state::open;
    case 2: return breaker_state::half_open;
    default: throw type_error("a reply of Redis is not a state of a breaker");
  }
}

// What makes up for something, as a command. By EVAL: it must work although the script may be gone.
command undoing(const script& by, const std::string& key, std::vector<std::string> arguments) {
  command words{"EVAL", by.source(), "1", key};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

bool took(const reply& got) noexcept {
  return got.type == reply_type::array && !got.elements.empty() && got.elements[0].integer == 1;
}

std::vector<std::string> end_words(const breaker_rules& rules, const policy_store_options& options,
                                   const admission_store::call_end& end) {
  std::vector<std::string> words = rule_words(rules, options);
  const bool by_time = rules.window > duration::zero();
  const std::int64_t bucket = std::max<std::int64_t>(1, rules.window.count() / 10'000);
  const bool slow = rules.slow_call_rate > 0 && end.took >= rules.slow_call;
  words.insert(words.end(),
               {std::to_string(end.generation),
                end.verdict == call_verdict::nothing   ? "0"
                : end.verdict == call_verdict::success ? "1"
                                                       : "2",
                slow ? "1" : "0", std::to_string(rules.consecutive_failures), text(rules.failure_rate),
                text(rules.slow_call_rate), std::to_string(rules.window_calls),
                by_time ? std::to_string(bucket) : "0", std::to_string(rules.minimum_calls),
                std::string(to_string(end.why.kind)), end.why.code, end.why.message});
  return words;
}

}  // namespace

policy_store::policy_store(client over, policy_store_options options)
    : client_(std::move(over)), options_(std::move(options)), scripts_(std::make_shared<scripts>()) {
  if (options_.prefix.empty()) throw misuse_error("redis::policy_store: options.prefix is empty");
  if (options_.probe_limit < std::chrono::seconds(1) || options_.probe_limit > std::chrono::days(365))
    throw misuse_error("redis::policy_store: options.probe_limit must be 1 s to 365 days");
  if (options_.keep < std::chrono::minutes(1) || options_.keep > std::chrono::days(365))
    throw misuse_error("redis::policy_store: options.keep must be 1 min to 365 days");
}
policy_store::~policy_store() = default;

std::string policy_store::key_for(const char* what, const std::string& name) const {
  return options_.prefix + ":v1:" + what + ":" + name;
}

task<admission_store::admission> policy_store::admit(std::string key,
                                                     const circuit_breaker_options& options) {
  const breaker_rules rules = belay::detail::checked_rules(options);
  const std::string at = key_for("breaker", key);
  // Copies of all it needs: the reply may come after the policy, and this store, have gone.
  const auto undo = [rules, at, set = options_, scripts = scripts_](const reply& got) -> command {
    if (!took(got) || got.elements.size() < 3 || got.elements[2].integer != 2)
      return {};  // only probes hold a place
    const auto generation = number_in(got.elements[1].text);
    if (!generation) return {};
    return undoing(scripts->breaker_ended, at, end_words(rules, set, {.generation = *generation}));
  };
  const reply got =
      co_await or_fail(client_.run(scripts_->breaker_admit, {at}, rule_words(rules, options_), undo));
  admission answer{.admitted = got.element(0).to_integer() == 1,
                   .generation = number<std::uint64_t>(got.element(1)),
                   .state = state_of(got.element(2)),
                   .changed = got.element(4).to_integer() == 1,
                   .last = {.kind = kind_named(got.element(5).to_text()),
                            .code = got.element(6).to_text(),
                            .message = got.element(7).to_text()}};
  const auto left = number<std::int64_t>(got.element(3));
  if (left >= 0) answer.retry_after = std::chrono::microseconds(left);
  co_return answer;
}

task<std::optional<breaker_state>> policy_store::ended(std::string key,
                                                       const circuit_breaker_options& options, call_end how) {
  const breaker_rules rules = belay::detail::checked_rules(options);
  const reply got = co_await or_fail(
      client_.run(scripts_->breaker_ended, {key_for("breaker", key)}, end_words(rules, options_, how)));
  if (got.element(1).to_integer() == 0) co_return std::nullopt;
  co_return state_of(got.element(0));
}

task<std::optional<duration>> policy_store::take(std::string key, const rate_limiter_options& options,
                                                 std::uint64_t weight) {
  if (options.algorithm == rate_algorithm::token_bucket) {
    const duration interval = belay::detail::token_interval(options);
    const std::uint64_t burst = options.burst == 0 ? options.permits : options.burst;
    const duration depth = belay::detail::saturating_times(burst, interval);
    const std::string at = key_for("bucket", key);
    const auto undo = [at, scripts = scripts_, cost = belay::detail::saturating_times(weight, interval)](
                          const reply& got) -> command {
      if (!took(got)) return {};
      if (got.elements.size() < 3) return {};
      return undoing(scripts->bucket_give, at, {std::to_string(cost.count()), got.elements[2].text});
    };
    const reply got = co_await or_fail(client_.run(
        scripts_->bucket_take, {at},
        {std::to_string(interval.count()), std::to_string(depth.count()), std::to_string(weight)}, undo));
    if (got.element(0).to_integer() == 1) co_return std::nullopt;
    co_return duration(number<std::int64_t>(got.element(1)));
  }
  const std::string at = key_for("window", key);
  const auto undo = [at, scripts = scripts_](const reply& got) -> command {
    if (!took(got) || got.elements.size() < 3) return {};
    return undoing(scripts->window_give, at, {got.elements[2].text});
  };
  const reply got = co_await or_fail(
      client_.run(scripts_->window_take, {at},
                  {micros(options.per), std::to_string(options.permits), std::to_string(weight)}, undo));
  if (got.element(0).to_integer() == 1) co_return std::nullopt;
  co_return std::chrono::duration_cast<duration>(
      std::chrono::microseconds(number<std::int64_t>(got.element(1))));
}

}  // namespace belay::db::redis
