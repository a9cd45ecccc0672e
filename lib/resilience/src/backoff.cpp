// SPDX-License-Identifier: Apache-2.0
// Delays between attempts.

#include <belay/resilience/backoff.hpp>
#include <belay/resilience/detail/options_text.hpp>
#include <algorithm>
#include <cmath>

namespace belay {

namespace {

void require_growing(duration first, duration most) {
  detail::require_option(first > duration::zero(), "backoff", "the first delay", first, "more than zero");
  detail::require_option(most >= first, "backoff", "the greatest delay", most,
                         "at least the first, " + detail::duration_text(first));
}

}  // namespace

backoff backoff::constant(any_duration length, jitter spread) {
  const duration delay = length;
  detail::require_option(delay >= duration::zero(), "backoff", "the delay", delay, "zero or more");
  return {shape::constant, delay, delay, 1, spread};
}
backoff backoff::linear(any_duration step, any_duration most, jitter spread) {
  require_growing(step, most);
  return {shape::linear, step, most, 1, spread};
}
backoff backoff::exponential(any_duration first, any_duration most, double factor, jitter spread) {
  require_growing(first, most);
  detail::require_option(factor >= 1 && std::isfinite(factor), "backoff", "factor", factor, "at least 1");
  return {shape::exponential, first, most, factor, spread};
}
backoff backoff::decorrelated(any_duration first, any_duration most) {
  require_growing(first, most);
  return {shape::decorrelated, first, most, 3, jitter::none};
}

duration backoff::greatest(unsigned retry) const noexcept {
  const unsigned number = std::max(retry, 1U);
  switch (shape_) {
    case shape::constant: return first_;
    case shape::linear: return number > most_ / first_ ? most_ : first_ * number;
    case shape::exponential: {
      // As floating point, which grows to infinity where integers would overflow.
      const double grown = static_cast<double>(first_.count()) * std::pow(factor_, number - 1);
      if (!(grown < static_cast<double>(most_.count()))) return most_;
      return duration(static_cast<duration::rep>(grown));
    }
    case shape::decorrelated: return most_;
  }
  return most_;
}

duration backoff::draw(unsigned retry, duration before, detail::random_source& random) const noexcept {
  if (shape_ == shape::decorrelated) {
    const duration base = std::max(before, first_);
    const duration most = base > most_ / 3 ? most_ : base * 3;
    const double room = static_cast<double>((most - first_).count());
    return std::min(most, first_ + duration(static_cast<duration::rep>(room * random.share())));
  }
  const duration most = greatest(retry);
  if (jitter_ == jitter::none) return most;
  return std::min(most,
                  duration(static_cast<duration::rep>(static_cast<double>(most.count()) * random.share())));
}

std::string backoff::describe() const {
  std::string text;
  switch (shape_) {
    case shape::constant:
      if (first_ == duration::zero()) return "at once";
      text = "constant " + detail::duration_text(first_);
      break;
    case shape::linear: text = "linear by " + detail::duration_text(first_); break;
    case shape::exponential: text = "exponential from " + detail::duration_text(first_); break;
    case shape::decorrelated: text = "decorrelated from " + detail::duration_text(first_); break;
  }
  if (shape_ == shape::exponential && factor_ != 2)
    text.append(" times ").append(detail::number_text(factor_));
  if (shape_ != shape::constant) text.append(" up to ").append(detail::duration_text(most_));
  if (shape_ != shape::decorrelated) text.append(jitter_ == jitter::full ? ", full jitter" : ", no jitter");
  return text;
}

}  // namespace belay
