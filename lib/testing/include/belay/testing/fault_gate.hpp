// SPDX-License-Identifier: Apache-2.0
#pragma once
// A named point in a fake, at which a test can hold tasks up, make them wait, or make them fail.

#include <belay/core/error.hpp>
#include <belay/core/time.hpp>
#include <belay/testing/detail/condition_wait.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace belay::testing {

/// Put it where a fake does what the real thing might not do at once, or not at all:
///
///     struct fake_mailer {
///       fault_gate sending{"sending"};
///       task<> send(mail m) {
///         co_await sending.pass();
///         sent.push_back(std::move(m));
///       }
///     };
///     mailer.sending.fail_next(std::make_exception_ptr(smtp_error("451")), 2);   // the test
///
/// Open, at once and without faults, until it is told otherwise. Lifetime: outlives those who wait at it. Thread: the loop's.
class fault_gate {
 public:
  /// `name` is for reports.
  explicit fault_gate(std::string name = "gate") : name_(std::move(name)) {}
  fault_gate(const fault_gate&) = delete;
  fault_gate& operator=(const fault_gate&) = delete;

  class passage final : public detail::condition_wait {
   public:
    passage(fault_gate& through, std::source_location where) noexcept
        : condition_wait(through.waiting_), through_(&through), where_(where) {}
    void await_resume();
    [[nodiscard]] awaited waits_for() const noexcept override { return {"gate", through_->name_.c_str()}; }
    [[nodiscard]] std::source_location where() const noexcept { return where_; }

   private:
    void start() override;
    std::optional<time_point> attempt() noexcept override;
    fault_gate* through_;
    std::source_location where_;
    time_point not_before_{};
    std::exception_ptr fault_;
  };

  /// Goes through: after the delay, and when the gate is not held, in the order of arrival.
  /// Errors:        what the gate was told to fail with.
  /// Cancellation:  stops waiting. It has not passed, and no failure meant for somebody is used up.
  [[nodiscard]] passage pass(std::source_location where = std::source_location::current()) noexcept {
    return {*this, where};
  }

  /// From now on all who come wait, until `release`. Idempotent.
  void hold() noexcept { held_ = true; }
  /// Opens it, and lets go on who waits.
  void release() noexcept;
  /// While it is held: lets so many through, those who wait first; it is kept for later ones if there are fewer.
  void let_through(std::size_t tasks = 1) noexcept;

  /// The next `times` that pass fail with `error`; those of several calls come one after the other's.
  /// Errors: `misuse_error` for a null `error`.
  void fail_next(std::exception_ptr error, std::size_t times = 1);
  /// With a `belay::error` (unavailable, `fault_gate`) that names the gate.
  void fail_next(std::size_t times = 1);
  /// All fail, after those of `fail_next`, until `succeed`. Null: a `belay::error` as above.
  void fail_always(std::exception_ptr error = nullptr);
  /// No more failures.
  void succeed() noexcept;

  /// How long it takes to pass, from arrival on; for those who come from now on. Not less than zero.
  void delay(duration length) noexcept { delay_ = length; }

  /// Waits until at least `tasks` wait here (held or delayed). Cancellation: stops waiting.
  class arrival final : public detail::condition_wait {
   public:
    arrival(fault_gate& at, std::size_t tasks) noexcept
        : condition_wait(at.watching_), at_(&at), tasks_(tasks) {}
    void await_resume() const noexcept {}
    [[nodiscard]] awaited waits_for() const noexcept override {
      return {"tasks at gate", at_->name_.c_str()};
    }

   private:
    std::optional<time_point> attempt() noexcept override;
    fault_gate* at_;
    std::size_t tasks_;
  };
  [[nodiscard]] arrival wait_waiting(std::size_t tasks = 1) noexcept { return {*this, tasks}; }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::uint64_t arrived() const noexcept {
    return arrived_;
  }  ///< who came, whatever became of them
  [[nodiscard]] std::uint64_t passed() const noexcept { return passed_; }  ///< without a failure
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }
  /// One line: "gate 'sending': 2 wait (at mail_test.cpp:12, at mail_test.cpp:14), 3 passed, 1 failed".
  [[nodiscard]] std::string describe() const;

 private:
  struct faults {
    std::exception_ptr error;
    std::size_t times = 0;
  };
  [[nodiscard]] std::exception_ptr own_error() const;
  [[nodiscard]] std::exception_ptr take_fault() noexcept;

  std::string name_;
  bool held_ = false;
  std::size_t let_through_ = 0;
  duration delay_{};
  std::vector<faults> next_;  // a queue, first first
  std::exception_ptr always_;
  std::uint64_t arrived_ = 0;
  std::uint64_t passed_ = 0;
  std::uint64_t failed_ = 0;
  detail::condition_list waiting_;
  detail::condition_list watching_;
};

}  // namespace belay::testing
