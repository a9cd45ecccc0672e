// SPDX-License-Identifier: Apache-2.0
// Descriptions of pipelines, and orders that are suspicious.

#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/pipeline.hpp>
#include <algorithm>
#include <optional>

namespace belay::detail {

void describe_inside(std::string& text, std::string_view inner, unsigned& depth) {
  const unsigned base = depth;
  while (!inner.empty()) {
    const std::size_t end = std::min(inner.find('\n'), inner.size());
    if (!text.empty()) text.push_back('\n');
    text.append(std::size_t{2} * base, ' ').append(inner.substr(0, end));
    inner.remove_prefix(std::min(end + 1, inner.size()));
    ++depth;
  }
}

namespace {

using facts = std::vector<policy_facts>;

// In the words of the policies' own messages.
std::string called(const policy_facts& one) {
  if (one.kind == policy_kind::adaptive_limit) return title("adaptive limiter", one.name);
  std::string kind(to_string(one.kind));
  std::replace(kind.begin(), kind.end(), '_', ' ');
  return title(kind, one.name);
}

// Complains about each pair in which an `outer` stands outside of an `inner`.
void each_pair(const facts& all, policy_kind outer, policy_kind inner, auto complain) {
  for (auto a = all.begin(); a != all.end(); ++a) {
    if (a->kind != outer) continue;
    for (auto b = a + 1; b != all.end(); ++b) {
      if (b->kind == inner) complain(*a, *b);
    }
  }
}

bool has_limit(facts::const_iterator from, facts::const_iterator to) {
  return std::any_of(from, to, [](const policy_facts& one) {
    return one.kind == policy_kind::timeout && one.limit != duration::max();
  });
}

void judge_timeouts(const facts& all, std::vector<pipeline_warning>& found) {
  for (auto one = all.begin(); one != all.end(); ++one) {
    if (one->kind != policy_kind::retry) continue;
    const bool outside = has_limit(all.begin(), one);
    const bool inside = has_limit(one + 1, all.end());
    if (!inside && outside) {
      found.push_back(
          {"no_attempt_timeout",
           called(*one) +
               " has a timeout outside, but none inside: one slow attempt uses up the whole limit, "
               "and nothing is tried again"});
    } else if (!inside) {
      found.push_back(
          {"no_timeout",
           called(*one) + " has no timeout inside nor outside: an attempt that hangs is never tried again"});
    }
  }
  each_pair(all, policy_kind::timeout, policy_kind::timeout, [&](const auto& outer, const auto& inner) {
    if (inner.limit < outer.limit || outer.limit == duration::max()) return;
    found.push_back({"timeout_never_acts", called(inner) + " allows " + duration_text(inner.limit) +
                                               ", but " + called(outer) + " outside of it only " +
                                               duration_text(outer.limit)});
  });
}

// What becomes of a call that hangs. Who learns from calls needs the timeout inside: one outside is a cancellation, which teaches nothing.
void judge_hangs(const facts& all, std::vector<pipeline_warning>& found) {
  for (auto one = all.begin(); one != all.end(); ++one) {
    const bool learns = one->kind == policy_kind::circuit_breaker || one->kind == policy_kind::adaptive_limit;
    const bool has_permits = one->kind == policy_kind::bulkhead || one->kind == policy_kind::adaptive_limit;
    if (!(learns || has_permits) || has_limit(one + 1, all.end())) continue;
    const bool outside = has_limit(all.begin(), one);
    if (has_permits && !outside) {
      found.push_back(
          {"permit_never_released",
           called(*one) + " has no timeout inside nor outside: a call that hangs keeps its permit for ever"});
    } else if (learns && outside) {
      found.push_back({"hangs_not_counted",
                       called(*one) +
                           " has a timeout outside, but none inside: a call that hangs is cancelled, "
                           "which counts as nothing"});
    } else if (learns) {
      found.push_back({"hangs_not_counted",
                       called(*one) + " has no timeout inside nor outside: a call that hangs never counts"});
    }
  }
}

struct rule {
  policy_kind outer;
  policy_kind inner;
  std::string_view code;
  std::string_view why;
};
using enum policy_kind;
constexpr rule rules[] = {
    {circuit_breaker, retry, "breaker_outside_retry",
     "the breaker counts one failure for all attempts, and they go on while it should be open"},
    {bulkhead, retry, "permit_held_while_waiting",
     "the permit is held while the retry sleeps between attempts"},
    {adaptive_limit, retry, "permit_held_while_waiting",
     "the permit is held while the retry sleeps, and the sleep counts as latency"},
    {rate_limiter, retry, "retries_not_limited", "further attempts are not counted against the rate"},
    {hedge, retry, "hedged_retries", "each hedged run retries on its own, so the load multiplies"},
    {retry, fallback, "failures_hidden", "the retry never sees the failures that the fallback replaces"},
    {circuit_breaker, fallback, "failures_hidden",
     "the breaker never sees the failures that the fallback replaces"},
    {hedge, fallback, "failures_hidden", "the hedge never sees the failures that the fallback replaces"},
    {retry, cache, "cache_inside", "a hit needs no retry: the cache belongs outside"},
    {circuit_breaker, cache, "cache_inside",
     "an open circuit hides the value that is cached, and hits count as successes"},
    {rate_limiter, cache, "cache_inside", "hits use up the rate"},
    {bulkhead, cache, "cache_inside", "hits need a permit"},
    {chaos, timeout, "chaos_outside",
     "the timeout does not see the trouble that chaos makes: chaos belongs inside"},
    {chaos, retry, "chaos_outside",
     "the retry does not see the trouble that chaos makes: chaos belongs inside"},
    {chaos, circuit_breaker, "chaos_outside",
     "the breaker does not see the trouble that chaos makes: chaos belongs inside"},
};

}  // namespace

std::vector<pipeline_warning> judge_order(const facts& all) {
  std::vector<pipeline_warning> found;
  judge_timeouts(all, found);
  judge_hangs(all, found);
  each_pair(all, retry, retry, [&](const auto& outer, const auto& inner) {
    const auto product = std::uint64_t{outer.attempts} * inner.attempts;
    found.push_back({"retries_multiply", called(inner) + " inside of " + called(outer) + ": up to " +
                                             std::to_string(product) + " attempts for one call"});
  });
  for (const rule& one : rules) {
    each_pair(all, one.outer, one.inner, [&](const auto& outer, const auto& inner) {
      found.push_back(
          {one.code, called(outer) + " outside of " + called(inner) + ": " + std::string(one.why)});
    });
  }
  return found;
}

}  // namespace belay::detail
