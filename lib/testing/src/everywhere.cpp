// SPDX-License-Identifier: Apache-2.0
// The drivers: which plans are run, one after the other, and what is reported of them.

#include <belay/testing/everywhere.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "run_driver.hpp"

namespace belay::testing {

namespace {

// For a shell.
std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("/._-=+:,@%", c) != nullptr;
  });
  if (plain) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string command;
  for (std::size_t at = 0; at < text.size();) {
    const std::string word = text.substr(at, text.find('\0', at) - at);
    at += word.size() + 1;
    command += (command.empty() ? "" : " ") + quoted(word);
  }
  return command;
}

// What BELAY_REPLAY asks of the driver of this name: "transfer: cancel 12 during".
std::optional<plan> asked_replay(const std::string& name) {
  const char* asked = std::getenv("BELAY_REPLAY");
  if (asked == nullptr || *asked == '\0') return std::nullopt;
  const std::string_view text = asked;
  if (!text.starts_with(name + ": ")) return std::nullopt;
  std::optional<plan> what = plan::parse(text.substr(name.size() + 2));
  if (!what) {
    throw misuse_error(
        "BELAY_REPLAY='" + std::string(text) +
        "': after the name comes what a report says, such as 'cancel 12 during' or 'schedule 7, fail 3'");
  }
  return what;
}

// The same thing seen from further inside: what is awaited at `place` broke the same promise.
bool passes(const std::vector<std::source_location>& stack, const std::source_location& place) {
  return place.line() != 0 &&
         std::any_of(stack.begin(), stack.end(),
                     [&place](const std::source_location& frame) { return same_place(frame, place); });
}

class campaign {
 public:
  campaign(const scenario& what, std::string name, run_rules rules, std::size_t most_findings,
           std::size_t most_runs)
      : rules_(std::move(rules)),
        driver_(what, rules_),
        most_findings_(most_findings),
        most_runs_(most_runs) {
    out_.name = name.empty() ? place_text(rules_.where) : std::move(name);
    if (rules_.within <= duration::zero()) throw misuse_error("the limit `within` must be more than zero");
    if (rules_.errors.empty()) rules_.errors.push_back(std::make_exception_ptr(injected_error()));
    for (const std::exception_ptr& one : rules_.errors) {
      if (!one) throw misuse_error("the list of errors to inject has an empty one");
    }
    if (rules_.loop.schedule_seed) {
      throw misuse_error(
          "the driver chooses the order of tasks: leave `loop.schedule_seed` empty; see `schedules`");
    }
    rules_.second_error = std::make_exception_ptr(injected_error());
    replay_ = asked_replay(out_.name);
  }
  campaign(const campaign&) = delete;
  campaign& operator=(const campaign&) = delete;

  // Only the case that BELAY_REPLAY asks for? Then it has been done.
  [[nodiscard]] bool replayed() {
    if (!replay_) return false;
    if (!prepare(replay_->schedule)) return true;
    out_.runs = 0;  // the one that counts is to come
    std::fprintf(stderr, "%s: %s\n", out_.name.c_str(), replay_->text().c_str());
    require_possible(*replay_);
    run(*replay_, &base_, true);
    if (out_.findings.empty() && !acted_) {
      out_.complete = false;
      out_.incomplete =
          "'" + replay_->text() +
          "' did not happen: its await is not reached, or did not wait; has the program changed?";
    }
    return true;
  }

  void require_possible(const plan& asked) const {
    for (const injection& step : asked.steps) {
      const bool no_such_error =
          step.what == act::fail && &step == &asked.steps.front() && step.which >= rules_.errors.size();
      if (no_such_error || (step.what == act::disturb && step.when == moment::before)) {
        throw misuse_error("BELAY_REPLAY: '" + asked.text() + "' is nothing that this driver could do");
      }
    }
  }

  // False: enough.
  bool run(const plan& what, const std::vector<await_point>* expected, bool log = false) {
    if (out_.runs >= most_runs_) {
      out_.complete = false;
      out_.incomplete = "stopped after " + std::to_string(out_.runs) +
                        " runs (`most_runs`); make the scenario smaller, or split it";
      return false;
    }
    ++out_.runs;
    driver_.run(what, expected, log);
    acted_ = driver_.all_injected();
    found_ = !driver_.findings().empty();
    if (!found_) return true;
    const bool hangs = driver_.abandoned();
    const plan exact = driver_.as_acted();
    const std::vector<std::size_t> chain = driver_.chain();
    const std::string done = driver_.words();
    std::vector<finding> found = std::move(driver_.findings());
    for (finding& one : found) {
      if (!hangs) blame(one, exact, chain, done);
      const bool known =
          std::any_of(out_.findings.begin(), out_.findings.end(), [&one](const finding& other) {
            return other.rule == one.rule && (same_place(other.at, one.at) || passes(one.stack, other.at));
          });
      if (known) continue;
      // What differs from run to run cannot be run again.
      if (one.rule != rules::deterministic) {
        one.replay = "BELAY_REPLAY=" + quoted(out_.name + ": " + exact.text()) + " " + command_line();
      }
      out_.findings.push_back(std::move(one));
    }
    // What hangs once hangs again, and each time leaves a loop behind.
    return out_.findings.size() < most_findings_ && !hangs;
  }

  // The undisturbed run in one schedule. False: it does not even work by itself.
  bool prepare(std::optional<std::uint64_t> schedule) {
    schedule_ = schedule;
    plan undisturbed;
    undisturbed.schedule = schedule;
    if (!run(undisturbed, nullptr) || !out_.findings.empty()) return false;
    base_ = driver_.points();
    driver_.keep_as_normal();
    out_.awaits = std::max(out_.awaits, base_.size());
    return true;
  }

  bool cancel_all(const everywhere_options& how) {
    for (const await_point& point : base_) {
      if (!wanted(how, point)) continue;
      if (!run(with({.point = point.number}), &base_)) return false;
      if (point.waited && !run(with({.point = point.number, .when = moment::during}), &base_)) return false;
      if (found_) continue;  // what follows would only say so again
      const std::vector<await_point> tail = driver_.points();
      const injection first{.point = point.number, .when = point.waited ? moment::during : moment::before};
      for (std::size_t i = point.number; i < tail.size(); ++i) {
        if (!wanted(how, tail[i])) continue;
        if (how.second_cancel) {
          const moment when = tail[i].waited ? moment::during : moment::before;
          if (!run(with(first, {.point = tail[i].number, .when = when}), &base_)) return false;
        }
        if (how.fail_in_cleanup && tail[i].in_cleanup && tail[i].can_fail) {
          if (!run(with(first, {.what = act::fail, .point = tail[i].number}), &base_)) return false;
        }
      }
    }
    for (const await_point& point : base_) {
      if (point.is_task || !how.limits || !wanted(how, point)) continue;
      const moment when = point.waited ? moment::during : moment::before;
      for (std::size_t i = 0; i < point.limits; ++i) {
        const injection limit{.what = act::expire, .point = point.number, .when = when, .which = i};
        if (!run(with(limit), &base_)) return false;
      }
    }
    // What stops one await later is told by its place when it is stopped there at once: so these come last.
    for (const await_point& point : base_) {
      if (point.is_task || !wanted(how, point)) continue;
      if (!run(with({.point = point.number, .when = moment::after}), &base_)) return false;
    }
    return true;
  }

  bool fail_all(const everywhere_options& how) {
    for (const await_point& point : base_) {
      if (!point.can_fail || !wanted(how, point)) continue;
      for (std::size_t error = 0; error < rules_.errors.size(); ++error) {
        const injection first{.what = act::fail, .point = point.number, .which = error};
        if (!run(with(first), &base_)) return false;
        if (!how.fail_in_cleanup || error != 0 || found_) continue;
        const std::vector<await_point> tail = driver_.points();
        for (std::size_t i = point.number; i < tail.size(); ++i) {
          if (!tail[i].in_cleanup || !tail[i].can_fail || !wanted(how, tail[i])) continue;
          if (!run(with(first, {.what = act::fail, .point = tail[i].number}), &base_)) return false;
        }
      }
    }
    return true;
  }

  bool disturb_all(const everywhere_options& how) {
    for (const await_point& point : base_) {
      if (point.is_task || !wanted(how, point)) continue;
      for (const moment when : {moment::during, moment::after}) {
        if (!point.waited && when == moment::during) continue;
        if (!run(with({.what = act::disturb, .point = point.number, .when = when}), &base_)) return false;
      }
    }
    return true;
  }

  bool explore_all(const explore_options& how, std::uint64_t seeds) {
    const std::size_t within = how.inject_within != 0 ? how.inject_within : base_.size();
    for (std::uint64_t i = 0; i < seeds; ++i) {
      // What is done depends on the seed alone, so that one seed can be run again by itself.
      const std::uint64_t seed = how.first_seed + i;
      plan what;
      what.schedule = seed;
      if (how.inject && within != 0 && seed % 3 != 0) {
        // Spread over all awaits; which one does not matter, as long as the seed tells.
        const std::size_t point = 1 + static_cast<std::size_t>(seed * 0x9e3779b97f4a7c15u >> 20) % within;
        injection step{.what = seed % 3 == 2 ? act::fail : act::cancel, .point = point, .or_later = true};
        step.when = static_cast<moment>(seed / 3 % 3);
        step.which = step.what == act::fail ? static_cast<std::size_t>(seed / 3) % rules_.errors.size() : 0;
        what.steps.push_back(step);
      }
      if (!run(what, nullptr)) return false;
    }
    return true;
  }

  [[nodiscard]] report take() { return std::move(out_); }

 private:
  // Which of the awaiting frames is to blame? The outermost one that breaks the same promise when its own co_await is cut short, without
  // what it awaits having begun; otherwise the innermost. And what else was stopped at the same time?
  void blame(finding& one, const plan& what, const std::vector<std::size_t>& chain, const std::string& done) {
    if (what.steps.empty()) return;
    plan cut = what;
    injection& last = cut.steps.back();
    last.when = moment::before;
    if (last.what != act::cancel && last.what != act::fail) return;
    const auto breaks = [&](const plan& tried) {
      driver_.run(tried, nullptr);
      return std::find_if(driver_.findings().begin(), driver_.findings().end(),
                          [&one](const finding& other) { return other.rule == one.rule; });
    };
    for (auto outer = chain.rbegin(); outer != chain.rend(); ++outer) {
      last.point = *outer;
      const auto same = breaks(cut);
      if (same == driver_.findings().end() || same_place(same->at, one.at)) continue;
      if (place_text(same->at) != place_text(one.at)) {
        one.what.insert(done.size(), ", awaited at " + place_text(same->at));
      }
      one.at = same->at;
      break;
    }
    if (last.what != act::cancel) return;
    driver_.note_others(true);
    driver_.run(what, nullptr);
    driver_.note_others(false);
    for (const std::string& other : driver_.others()) {
      if (other.find(" at " + place_text(users_place(one.stack))) == std::string::npos)
        one.also.push_back(other);
    }
  }

  [[nodiscard]] plan with(injection first) const { return {schedule_, {first}}; }
  [[nodiscard]] plan with(injection first, injection second) const { return {schedule_, {first, second}}; }
  // An await of a coroutine that awaits something itself is cut short there.
  [[nodiscard]] static bool wanted(const everywhere_options& how, const await_point& point) {
    if (point.is_task && (point.goes_deeper || !how.task_awaits)) return false;
    return !how.only || how.only({point.number, point.at, to_text(point), point.in_cleanup});
  }

  run_rules rules_;
  run_driver driver_;
  std::size_t most_findings_;
  std::size_t most_runs_;
  std::optional<plan> replay_;
  std::optional<std::uint64_t> schedule_;
  std::vector<await_point> base_;
  bool acted_ = false;  // in the last run, every step of the plan
  bool found_ = false;  // ... something was found
  report out_;
};

run_rules rules_of(const everywhere_options& how, std::vector<std::exception_ptr> errors,
                   const std::source_location& where) {
  run_rules all;
  all.within = how.within;
  all.failures_must_surface = how.failures_must_surface;
  all.allow_lost_errors = how.allow_lost_errors;
  all.may_fail = how.may_fail;
  all.errors = std::move(errors);
  all.loop = how.loop;
  all.where = where;
  return all;
}

enum class ways : unsigned char { cancel, fail, both, disturb };

report drive(const scenario& what, ways how, std::vector<std::exception_ptr> errors,
             const everywhere_options& options, std::source_location where) {
  if (options.schedules == 0) throw misuse_error("everywhere_options::schedules must be at least 1");
  campaign all(what, options.name, rules_of(options, std::move(errors), where), options.most_findings,
               options.most_runs);
  if (all.replayed()) return all.take();
  for (unsigned i = 0; i < options.schedules; ++i) {
    const auto schedule = i == 0 ? std::nullopt : std::optional<std::uint64_t>(options.first_seed + i - 1);
    if (!all.prepare(schedule)) break;
    if (how == ways::disturb) {
      if (!all.disturb_all(options)) break;
      continue;
    }
    if (how != ways::fail && !all.cancel_all(options)) break;
    if (how != ways::cancel && !all.fail_all(options)) break;
  }
  return all.take();
}

}  // namespace

report cancel_everywhere(scenario what, everywhere_options options, std::source_location where) {
  return drive(what, ways::cancel, {}, options, where);
}

report fail_everywhere(scenario what, std::vector<std::exception_ptr> errors, everywhere_options options,
                       std::source_location where) {
  return drive(what, ways::fail, std::move(errors), options, where);
}

report disturb_everywhere(scenario what, everywhere_options options, std::source_location where) {
  return drive(what, ways::disturb, {}, options, where);
}

report everywhere(scenario what, everywhere_options options, std::source_location where) {
  return drive(what, ways::both, {}, options, where);
}

report explore(scenario what, std::uint64_t seeds, explore_options options, std::source_location where) {
  run_rules rules;
  rules.within = options.within;
  rules.allow_lost_errors = options.allow_lost_errors;
  rules.may_fail = options.may_fail;
  rules.errors = options.errors;
  rules.loop = options.loop;
  rules.where = where;
  campaign all(what, options.name, std::move(rules), options.most_findings, SIZE_MAX);
  if (all.replayed()) return all.take();
  if (all.prepare(std::nullopt)) all.explore_all(options, seeds);
  return all.take();
}

}  // namespace belay::testing
