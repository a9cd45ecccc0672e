// SPDX-License-Identifier: Apache-2.0
// One run: what must hold when it has ended, and the words for what does not.

#include <belay/testing/everywhere.hpp>

#include <algorithm>

#include "run_driver.hpp"

namespace belay::testing {

namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string seconds_text(duration length) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(length).count();
  return ms >= 10'000 || ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

// Of tasks that wait for ever: one that does not wait for other tasks.
const std::string& reason(const std::vector<std::string>& waiting) {
  for (const std::string& one : waiting) {
    if (one.find("its tasks to end") == std::string::npos && one.find("a child task") == std::string::npos)
      return one;
  }
  return waiting.front();
}

}  // namespace

// "cancelled while waiting for semaphore 'pool' at transfer.cpp:52"
std::string run_driver::words() const {
  std::string text;
  for (std::size_t i = 0; i < injected_.size() && i < done_; ++i) {
    const injection& step = plan_->steps[i];
    const injected& here = injected_[i];
    const std::string place = place_text(users_place(here.stack));
    if (i != 0) text += here.point.in_cleanup ? ", and during the cleanup " : ", and then ";
    switch (step.what) {
      case act::fail: text += "failed "; break;
      case act::disturb: text += "disturbed "; break;
      case act::expire: text += "its limit passed "; break;
      case act::cancel: text += i != 0 ? "cancelled again " : "cancelled "; break;
    }
    if (here.point.is_task) {
      text += "at the co_await at " + place;
    } else if (step.what == act::fail) {
      text += "instead of waiting for " + to_text(here.point) + " at " + place;
    } else {
      text += step.when == moment::before   ? "before it waited for "
              : step.when == moment::during ? "while waiting for "
                                            : "just after it had waited for ";
      text += to_text(here.point) + " at " + place;
      if (step.when == moment::after && !here.stopped_at.empty()) {
        text += ", so that it stopped at " + place_text(users_place(here.stopped_at));
      }
    }
    if (i == 0 && here.point.in_cleanup) text += " (in a cleanup)";
  }
  if (text.empty()) {
    text = plan_->schedule
               ? "with the ready tasks in another order (schedule " + std::to_string(*plan_->schedule) + ")"
               : "undisturbed";
  }
  return text;
}

void run_driver::add(std::string rule, std::string what_broke, std::vector<std::string> left) {
  finding one;
  one.rule = std::move(rule);
  one.what = words() + ": " + std::move(what_broke);
  if (done_ != 0) {
    const injected& last = injected_[done_ - 1];
    const bool stopped_later = plan_->steps[done_ - 1].when == moment::after && !last.stopped_at.empty();
    one.stack = stopped_later ? last.stopped_at : last.stack;
    one.at = users_place(one.stack);
  }
  one.left = std::move(left);
  one.replay = plan_->text();
  findings_.push_back(std::move(one));
}

void run_driver::check(stage& world) {
  if (!different_.empty()) {
    finding one;
    one.rule = rules::deterministic;
    one.what =
        "the scenario does not do the same in each run, so that its awaits cannot be numbered: " + different_;
    findings_.push_back(std::move(one));
    return;
  }
  check_end();
  if (abandoned_) return;
  check_left();
  check_rules(world);
  if (findings_.empty() && world.afterwards_) check_afterwards(world);
}

bool run_driver::did(act what) const noexcept {
  for (std::size_t i = 0; i < done_; ++i) {
    if (plan_->steps[i].what == what) return true;
  }
  return false;
}

void run_driver::check_end() {
  if (!disturbance_failed_.empty())
    add(rules::disturbance, "the disturbance itself failed: " + first_line(disturbance_failed_));
  if (runs_for_ever_) {
    add(rules::ends, "it does not end: after very many turns it was still running", stuck_);
    return;
  }
  if (deadlocked_) {
    add(rules::ends, stuck_.empty() ? "it waits for ever" : "it waits for ever, where " + reason(stuck_),
        stuck_);
    return;
  }
  if (!late_.empty() || (done_ != 0 && ended_at_ - injected_at_ > rules_->within)) {
    std::string how_long = "it took " + seconds_text(ended_at_ - injected_at_) + " to end, the limit is " +
                           seconds_text(rules_->within);
    if (done_ != 0 && injected_[done_ - 1].shield.line() != 0) {
      how_long += " (it is under the shield at " + place_text(injected_[done_ - 1].shield) + ")";
    }
    add(rules::in_time, std::move(how_long), late_);
  }
  const bool any_cancel = did(act::cancel);
  const bool any_failure = did(act::fail);
  const bool disturbed = done_ != 0;
  if (ended_.failed()) {
    const belay::failure why = ended_.failure();
    for (const belay::failure& one : why.flatten()) one.observe();
    if (any_failure || did(act::disturb) || did(act::expire) || (rules_->may_fail && rules_->may_fail(why)))
      return;
    if (!disturbed) {
      add(rules::undisturbed, "it failed with " + first_line(describe(why)));
    } else {
      add(rules::cancelled, "it ended with an error instead: " + first_line(describe(why)));
    }
    return;
  }
  if (ended_.cancelled()) {
    if (!any_cancel && !did(act::disturb)) {
      add(!disturbed ? rules::undisturbed : rules::failed,
          "it ended as cancelled, although nobody cancelled it: " + describe(ended_.cancellation()));
    }
    return;
  }
  if (any_failure && rules_->failures_must_surface) {
    add(rules::surfaces, "it succeeded, as if nothing had happened: somebody swallowed the error");
  }
}

void run_driver::check_left() {
  for (const finding& one : no_leaks(*loop_).findings)
    add(one.rule, "it has ended, but " + one.what, one.left);

  std::vector<std::string> left;
  for (const auto& [frame, one] : open_) {
    left.push_back("a managed resource, opened at " + place_text(users_place(one.opened_at)));
  }
  std::sort(left.begin(), left.end());
  if (!left.empty()) add(rules::nothing_left, left.front() + ", was not closed", left);

  permits_out_ = 0;
  left.clear();
  for (const seen_semaphore& one : semaphores_) {
    const std::size_t out = one.at->permits() - one.at->free();
    permits_out_ += out;
    if (one.at->waiting() != 0) {
      const std::string line = std::to_string(one.at->waiting()) + " in the line of " +
                               to_text(awaited{"semaphore", one.name.c_str()}) +
                               " who are not there any more";
      add(rules::nothing_left, line, {line});
    }
    if (out == 0) continue;
    std::string text = std::to_string(out) + " of " + std::to_string(one.at->permits()) + " permits of " +
                       to_text(awaited{"semaphore", one.name.c_str()}) + ", acquired at ";
    for (std::size_t i = 0; i < one.acquired_at.size(); ++i) {
      text += (i == 0 ? "" : " or ") + place_text(one.acquired_at[i]);
    }
    left.push_back(std::move(text));
  }
  if (permits_out_ > normal_permits_out_) {
    add(rules::nothing_left, "a permit was not given back: " + left.front(), left);
  }
  check_lost();
}

void run_driver::check_lost() {
  if (!rules_->allow_lost_errors && !loop_->lost_errors().empty()) {
    std::vector<std::string> lost;
    for (const std::string& one : loop_->lost_errors()) lost.push_back("lost: " + first_line(one));
    add(rules::no_error_lost, "an error was lost: " + first_line(loop_->lost_errors().front()),
        std::move(lost));
  }
}

void run_driver::check_rules(stage& world) {
  run_end how;
  how.injected = done_ != 0;
  how.cancelled = ended_.cancelled();
  if (ended_.failed()) how.failure = ended_.failure();
  how.succeeded = has_ended_ && !ended_.failed() && !ended_.cancelled();
  for (std::size_t i = 0; i < injected_.size() && i < done_; ++i) {
    how.failed_in_cleanup = how.failed_in_cleanup ||
                            (plan_->steps[i].what == act::fail && (injected_[i].point.in_cleanup || i != 0));
  }
  for (const obligations::entry& one : world.owed_->dropped()) {
    add(rules::obligations_met, one.what + " at " + place_text(one.where) + " was lost",
        {one.what + " at " + place_text(one.where)});
  }
  for (const stage::rule& one : world.rules_) {
    const std::string text = "the rule '" + one.text + "' (" + place_text(one.where) + ") does not hold";
    try {
      if (!one.holds(how)) add(one.text, text);
    } catch (const std::exception& e) {
      add(one.text, text + ": " + e.what());
    } catch (...) {
      add(one.text, text + ": " + first_line(describe(current_failure())));
    }
  }
}

void run_driver::check_afterwards(stage& world) {
  std::string trouble;
  deadlocked_ = false;
  stuck_.clear();
  try {
    loop_->run(play_afterwards(world), rules_->where);
  } catch (const deadlock_error&) {
    trouble = stuck_.empty() ? "it waits for ever" : "it waits for ever, where " + reason(stuck_);
  } catch (...) {
    trouble = "it fails with " + first_line(describe(current_failure()));
  }
  if (trouble.empty()) return check_lost();
  std::vector<std::string> left = std::move(stuck_);
  add(rules::usable_afterwards,
      "used again afterwards (" + place_text(world.afterwards_at_) + "), " + trouble, std::move(left));
}

}  // namespace belay::testing
