// SPDX-License-Identifier: Apache-2.0
// What chaos does next, and whether it may.

#include <belay/resilience/chaos.hpp>
#include <belay/resilience/detail/options_text.hpp>
#include <algorithm>
#include <cstdlib>

namespace belay {

struct chaos_switch::state {
  bool on = false;
  std::string reason;
};

chaos_switch::chaos_switch() : state_(std::make_shared<state>()) {}

chaos_switch chaos_switch::on(std::string reason) {
  const chaos_switch made;
  made.turn_on(std::move(reason));
  return made;
}

chaos_switch chaos_switch::from_environment(const char* variable) {
  const chaos_switch made;
  const char* text = std::getenv(variable);
  const std::string_view value = text != nullptr ? text : "";
  if (value == "1" || value == "on" || value == "true") {
    made.turn_on(std::string(variable) + "=" + std::string(value));
  } else if (!value.empty() && value != "0" && value != "off" && value != "false") {
    detail::refuse_option("chaos_switch", variable, value, "1, on or true; or 0, off or false; or missing");
  }
  return made;
}

void chaos_switch::turn_on(std::string reason) const {
  state_->reason = std::move(reason);
  state_->on = true;
}
void chaos_switch::turn_off() const noexcept { state_->on = false; }
bool chaos_switch::is_on() const noexcept { return state_->on; }
const std::string& chaos_switch::reason() const noexcept { return state_->reason; }

namespace detail {

namespace {

[[noreturn]] void refuse_other_value() {
  throw misuse_error("chaos: another value is wanted, but none was given: use with_value");
}

void require_rate(std::string_view field, double rate) {
  require_option(rate >= 0 && rate <= 1, "chaos", field, rate, "from 0 to 1");
}

}  // namespace

failure injected(std::exception_ptr what) {
  return failure(ref<failure_record>::adopt(new failure_record(std::move(what))));
}

chaos_shared::chaos_shared(chaos_options given, chaos_switch when)
    : options(std::move(given)), when_(std::move(when)), random_(options.seed) {
  require_rate("latency_rate", options.latency_rate);
  require_rate("error_rate", options.error_rate);
  require_rate("value_rate", options.value_rate);
  const duration least = options.least_latency;
  const duration most = options.most_latency;
  require_option(least >= duration::zero(), "chaos", "least_latency", least, "zero or more");
  require_option(most >= least, "chaos", "most_latency", most,
                 "at least least_latency, " + duration_text(least));
  for (const std::exception_ptr& one : options.errors) {
    if (!one) refuse_option("chaos", "errors", "a list with a null pointer", "a list of exceptions");
  }
  if (options.name.empty()) options.name = "chaos";
}

// Always the same number of random numbers for a call, so that one rate does not change when the others strike.
chaos_step chaos_shared::by_rates() {
  chaos_step step;
  const bool late = random_.share() < options.latency_rate;
  const double how_late = random_.share();
  const bool fails = random_.share() < options.error_rate;
  const double which = random_.share();
  step.other_value = random_.share() < options.value_rate && !fails;
  if (late) {
    const duration least = options.least_latency;
    const duration room = options.most_latency.value() - least;
    const double drawn = static_cast<double>(room.count()) * how_late;
    step.latency = least + std::min(duration(static_cast<duration::rep>(drawn)), room);
  }
  if (fails && options.errors.empty()) {
    step.error = std::make_exception_ptr(
        error(error_kind::unavailable, "chaos", title("chaos", options.name) + ": an injected error"));
  } else if (fails) {
    step.error = options.errors[static_cast<std::size_t>(which * static_cast<double>(options.errors.size()))];
  }
  return step;
}

chaos_step chaos_shared::next(bool has_value) {
  ++calls_;
  ++counts.calls;
  if (!options.plan && options.value_rate > 0 && !has_value) refuse_other_value();
  chaos_step step = options.plan ? options.plan(calls_) : by_rates();
  if (step.latency.value() < duration::zero())
    refuse_option("chaos", "latency of the plan", duration_text(step.latency), "zero or more");
  if (step.latency.value() > duration::zero()) {
    ++counts.delayed;
    tell("latency", step.latency, {});
  }
  if (step.error) {
    step.other_value = false;
    ++counts.failed;
    if (options.listener) {
      const failure why = injected(step.error);
      why.observe();
      tell("error", {}, why);
    }
  }
  if (step.other_value && !has_value) refuse_other_value();
  return step;
}

void chaos_shared::replaced() {
  ++counts.replaced;
  tell("value", {}, {});
}

void chaos_shared::tell(std::string_view what, duration length, failure why) const {
  if (!options.listener) return;
  options.listener.tell({.action = policy_action::injected,
                         .kind = policy_kind::chaos,
                         .policy = options.name,
                         .detail = what,
                         .number = calls_,
                         .length = length,
                         .what = std::move(why)});
}

std::string chaos_shared::describe() const {
  std::string text = title("chaos", options.name);
  if (!is_on()) return text.append(": off");
  text.append(": ");
  if (options.plan) {
    text.append("by plan");
  } else {
    text.append(percent_text(options.error_rate))
        .append(" errors, ")
        .append(percent_text(options.latency_rate));
    text.append(" latency from ").append(duration_text(options.least_latency)).append(" to ");
    text.append(duration_text(options.most_latency)).append(", ");
    if (options.value_rate > 0) text.append(percent_text(options.value_rate)).append(" values, ");
    text.append("seed ").append(std::to_string(options.seed));
  }
  return text.append(", on for: ").append(when_.reason());
}

}  // namespace detail
}  // namespace belay
