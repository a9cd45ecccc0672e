// SPDX-License-Identifier: Apache-2.0
// The words of bulkheads: options, events, rejections.

#include <belay/resilience/bulkhead.hpp>
#include <belay/resilience/detail/options_text.hpp>

#include <cstdint>

namespace belay {

namespace {

constexpr std::size_t most = 1'000'000'000;

void check_limit(const std::string& name, std::size_t limit) {
  detail::require_option(limit >= 1 && limit <= most, detail::title("bulkhead", name), "most_running",
                         std::uint64_t{limit}, "from 1 to 1000000000");
}

std::shared_ptr<detail::gated> make_bulkhead(bulkhead_options&& options) {
  const std::string who = detail::title("bulkhead", options.name);
  check_limit(options.name, options.most_running);
  detail::require_option(options.most_waiting <= most, who, "most_waiting",
                         std::uint64_t{options.most_waiting}, "from 0 to 1000000000");
  detail::require_option(options.longest_wait > duration::zero(), who, "longest_wait", options.longest_wait,
                         "more than 0");
  const detail::gate_settings settings{.what = "bulkhead",
                                       .limit = options.most_running,
                                       .most_waiting = options.most_waiting,
                                       .longest_wait = options.longest_wait};
  return std::make_shared<detail::gated>(policy_kind::bulkhead, "bulkhead_full", options.name, settings,
                                         std::move(options.listener));
}

}  // namespace

namespace detail {

void gated::tell_queued() const noexcept {
  if (gate_.waiting() >= gate_.settings().most_waiting) return;  // rejected instead
  listener_.tell(
      {.action = policy_action::queued, .kind = kind_, .policy = name_, .number = gate_.waiting() + 1});
}

bool gated::entered(const admission_gate::entry& how) noexcept {
  if (!how.in) {
    ++(how.how == admission_gate::answer::full ? rejected_ : expired_);
    return false;
  }
  ++admitted_;
  if (listener_ && how.waited > duration::zero()) {
    listener_.tell({.action = policy_action::admitted, .kind = kind_, .policy = name_, .length = how.waited});
  }
  return true;
}

overload_error gated::refusal(const admission_gate::entry& how, std::source_location where) {
  std::string text =
      title(to_string(kind_), name_) + ": all " + std::to_string(gate_.limit()) + " places are taken";
  if (how.how == admission_gate::answer::waited_too_long) {
    text += ", and none became free in " + duration_text(how.waited);
  } else if (gate_.settings().most_waiting > 0) {
    text += ", and " + std::to_string(gate_.waiting()) + " wait already";
  }
  overload_error refused(error_kind::overloaded, code_, std::move(text), std::nullopt, where);
  if (listener_) {
    failure told = failure::of(std::make_exception_ptr(refused));
    told.observe();
    listener_.tell({.action = policy_action::rejected,
                    .kind = kind_,
                    .policy = name_,
                    .number = gate_.waiting(),
                    .length = how.waited,
                    .what = std::move(told)});
  }
  return refused;
}

}  // namespace detail

bulkhead::bulkhead(bulkhead_options options) : state_(make_bulkhead(std::move(options))) {}

void bulkhead::set_limit(std::size_t most_running) const {
  check_limit(state_->name(), most_running);
  state_->gate().set_limit(most_running);
}

std::string bulkhead::describe() const {
  const detail::gate_settings& set = state_->gate().settings();
  std::string text =
      detail::title("bulkhead", state_->name()) + ": " + std::to_string(set.limit) + " at a time";
  if (set.most_waiting == 0) return text + ", no waiting";
  text += ", " + std::to_string(set.most_waiting) + " may wait";
  if (set.longest_wait != duration::max()) text += ", each up to " + detail::duration_text(set.longest_wait);
  return text;
}

}  // namespace belay
