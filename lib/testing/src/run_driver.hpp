// SPDX-License-Identifier: Apache-2.0
#pragma once
// One run of a scenario under a plan: numbers the awaits, injects, and checks what is left.

#include <belay/core/child.hpp>
#include <belay/core/detail/watch.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/testing/report.hpp>
#include <belay/testing/scenario.hpp>
#include <belay/testing/stage.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "await_point.hpp"
#include "plan.hpp"

namespace belay::testing {

// What all runs of one driver have in common.
struct run_rules {
  duration within{};
  bool failures_must_surface = false;
  bool allow_lost_errors = false;
  std::function<bool(const failure&)> may_fail;
  std::vector<std::exception_ptr> errors;
  std::exception_ptr second_error;  // what a cleanup fails with
  loop_options loop;
  std::source_location where;  // of the driver's call
};

// What belongs to one run; the next one begins with a new one.
struct run_state {
  struct awaited_frame {
    const detail::frame* parent;
    std::size_t point;
  };
  struct open_resource {
    void (*tell)(detail::resource_frame&, exit_status) noexcept;  // its own
    std::vector<std::source_location> opened_at;
  };
  // What was done where.
  struct injected {
    await_point point;
    std::vector<std::source_location> stack;
    // Where a cancel that came after the operation had finished made the task stop; empty: it did not.
    std::vector<std::source_location> stopped_at;
    std::vector<std::size_t> chain;  // see chain()
    const detail::node* task = nullptr;
    std::source_location shield;  // of the outermost one over it
  };
  struct seen_semaphore {
    semaphore* at;
    std::string name;
    std::vector<std::source_location> acquired_at;
  };
  const plan* plan_ = nullptr;
  const std::vector<await_point>* expected_ = nullptr;
  bool log_ = false;
  std::vector<await_point> points_;
  std::unordered_map<const detail::frame*, awaited_frame> awaited_;
  std::vector<std::string> others_;
  std::vector<finding> findings_;
  std::size_t done_ = 0;  // steps of the plan
  std::vector<injected> injected_;
  detail::node* subject_ = nullptr;
  detail::scope* outside_ = nullptr;
  detail::node* waiting_ = nullptr;  // the task whose turn this is, since it reached its latest await
  std::size_t waiting_at_ = 0;
  stage* world_ = nullptr;
  detail::node* target_ = nullptr;  // a cancel or a disturbance is due when this task ...
  moment target_when_ = moment::before;
  outcome<void> ended_;
  time_point began_at_;
  time_point injected_at_;
  time_point ended_at_;
  bool has_ended_ = false;
  std::vector<std::string> late_;  // who was still waiting when the time was over
  std::size_t turns_ = 0;
  bool runs_for_ever_ = false;
  bool abandoned_ = false;
  std::vector<std::string> stuck_;
  bool deadlocked_ = false;
  detail::scope* afterwards_ = nullptr;
  std::string disturbance_failed_;
  std::string different_;  // how the run differs from the expected one
  std::unordered_map<detail::resource_frame*, open_resource> open_;
  std::vector<seen_semaphore> semaphores_;
  std::size_t permits_out_ = 0;
};

class run_driver final : public detail::watch, private run_state {
 public:
  explicit run_driver(const scenario& what, const run_rules& rules) : scenario_(&what), rules_(&rules) {}
  run_driver(const run_driver&) = delete;
  run_driver& operator=(const run_driver&) = delete;
  ~run_driver();

  // Runs once. `expected`: the awaits of a run that must be the same up to the injection; null: not compared.
  // `log`: a line on stderr for each await.
  void run(const plan& what, const std::vector<await_point>* expected, bool log = false);

  // Of the last run.
  [[nodiscard]] const std::vector<await_point>& points() const noexcept { return points_; }
  [[nodiscard]] std::vector<finding>& findings() noexcept { return findings_; }
  [[nodiscard]] bool all_injected() const noexcept { return done_ == plan_->steps.size(); }
  [[nodiscard]] std::size_t turns() const noexcept { return turns_; }
  // What was done, in words: "cancelled while waiting for semaphore 'pool' at transfer.cpp:52".
  [[nodiscard]] std::string words() const;
  // The awaits of coroutines that led to the one where the last step of the plan acted, innermost first.
  [[nodiscard]] std::vector<std::size_t> chain() const;
  // The plan with the awaits at which it really acted.
  [[nodiscard]] plan as_acted() const;
  // Where the other tasks were that the last cancel stopped; only if they were asked for.
  void note_others(bool wanted) noexcept { note_others_ = wanted; }
  [[nodiscard]] const std::vector<std::string>& others() const noexcept { return others_; }
  // The loop was left with tasks in it that never end.
  [[nodiscard]] bool abandoned() const noexcept { return abandoned_; }
  // What is allowed to be there at the end: what was there after the undisturbed run.
  void keep_as_normal() { normal_permits_out_ = permits_out_; }

 private:
  void at_wait(detail::node& task, detail::frame& leaf, operation& op) override;
  void at_yield(detail::node& task, detail::frame& leaf) noexcept override;
  verdict at_task(detail::node& task, detail::frame& parent, detail::frame& child) noexcept override;
  void before_turn(detail::node& task) noexcept override;
  void after_turn() noexcept override;
  void at_end(detail::node& task) noexcept override;
  void at_deadlock(bool second) noexcept override;
  [[nodiscard]] bool gives_up() noexcept override;
  void at_opened(detail::resource_frame& resource) noexcept override;
  void at_gone(semaphore& what) noexcept override;
  // What a resource is told through while it is open.
  static void tell_closing(detail::resource_frame& resource, exit_status how) noexcept;

  task<> play(stage& world);
  task<> play_afterwards(stage& world);
  await_point& number(detail::node& task, detail::frame& at, const awaited& what);
  // Calls `visit(number)` for the awaits of coroutines that led to `from`, innermost first, until it says false.
  template <class Visit>
  void for_chain(const detail::frame& from, Visit visit) const;
  [[nodiscard]] std::vector<std::size_t> chain_from(const detail::frame& from) const;
  // The coroutine that is awaited around `inner` awaits something itself.
  void goes_deeper(const detail::frame& inner);
  void at_leaf(await_point& point, detail::node& task, detail::frame& leaf);
  [[nodiscard]] const injection* due(const await_point& point, detail::node& task, detail::frame& at);
  // The next step of the plan is being done, now.
  void has_acted() noexcept;
  // What is due for `target_`.
  void act_now() noexcept;
  void cancel_now() noexcept;
  void expire_now(detail::node& task, std::size_t inside) noexcept;
  [[nodiscard]] failure next_error(const injection& step);
  void see(semaphore& what, const std::vector<std::source_location>& stack);
  void log_line(const await_point& point, const std::string& more) const;

  void begin(const plan& what, const std::vector<await_point>* expected, bool log);
  void check(stage& world);
  [[nodiscard]] bool did(act what) const noexcept;
  void check_end();
  void check_left();
  void check_lost();
  void check_rules(stage& world);
  void check_afterwards(stage& world);
  void add(std::string rule, std::string what_broke, std::vector<std::string> left = {});

  const scenario* scenario_;
  const run_rules* rules_;
  std::unique_ptr<test_loop> loop_;
  bool loop_is_clean_ = false;
  std::size_t normal_turns_ = 0;
  std::size_t normal_permits_out_ = 0;
  bool note_others_ = false;
};

}  // namespace belay::testing
