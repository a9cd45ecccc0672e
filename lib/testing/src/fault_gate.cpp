// SPDX-License-Identifier: Apache-2.0
// Gates: who may pass, and with which failure.

#include <belay/core/sleep.hpp>
#include <belay/testing/fault_gate.hpp>

#include <belay/core/detail/place.hpp>

namespace belay::testing {

void fault_gate::passage::start() {
  ++through_->arrived_;
  not_before_ = saturating_add(now(), through_->delay_);
  condition_wait::start();
  through_->watching_.changed();
}

std::optional<time_point> fault_gate::passage::attempt() noexcept {
  fault_gate& gate = *through_;
  if (now() < not_before_) return not_before_;
  if (gate.held_) {
    if (gate.let_through_ == 0) return time_point::max();
    --gate.let_through_;
  }
  fault_ = gate.take_fault();
  ++(fault_ ? gate.failed_ : gate.passed_);
  return std::nullopt;
}

void fault_gate::passage::await_resume() {
  if (fault_) std::rethrow_exception(fault_);
}

std::optional<time_point> fault_gate::arrival::attempt() noexcept {
  if (at_->waiting_.size() >= tasks_) return std::nullopt;
  return time_point::max();
}

void fault_gate::release() noexcept {
  held_ = false;
  let_through_ = 0;
  waiting_.changed();
}

void fault_gate::let_through(std::size_t tasks) noexcept {
  if (!held_) return;
  let_through_ += tasks;
  waiting_.changed();
}

std::exception_ptr fault_gate::own_error() const {
  return std::make_exception_ptr(
      error(error_kind::unavailable, "fault_gate", "gate '" + name_ + "' was told to fail"));
}

void fault_gate::fail_next(std::exception_ptr error, std::size_t times) {
  if (!error) throw misuse_error("fault_gate::fail_next: the error is null");
  if (times != 0) next_.push_back({std::move(error), times});
}

void fault_gate::fail_next(std::size_t times) { fail_next(own_error(), times); }

void fault_gate::fail_always(std::exception_ptr error) { always_ = error ? std::move(error) : own_error(); }

void fault_gate::succeed() noexcept {
  next_.clear();
  always_ = nullptr;
}

std::exception_ptr fault_gate::take_fault() noexcept {
  if (next_.empty()) return always_;
  std::exception_ptr error = next_.front().error;
  if (--next_.front().times == 0) next_.erase(next_.begin());
  return error;
}

std::string fault_gate::describe() const {
  std::string text = "gate '" + name_ + "': " + std::to_string(waiting()) + " wait";
  const char* before = " (at ";
  for (const auto* one = waiting_.front(); one != nullptr; one = one->next_waiting()) {
    text += before + belay::detail::place_text(static_cast<const passage*>(one)->where());
    before = ", at ";
  }
  if (waiting() != 0) text += ")";
  return text + ", " + std::to_string(passed_) + " passed, " + std::to_string(failed_) + " failed";
}

}  // namespace belay::testing
