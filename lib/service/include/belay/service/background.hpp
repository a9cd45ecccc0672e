// SPDX-License-Identifier: Apache-2.0
#pragma once
// Work that goes on after the response: owned by the program, not by the request.

#include <belay/core/event.hpp>
#include <belay/core/exit_stack.hpp>
#include <belay/core/group.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/telemetry/logger.hpp>
#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace belay::service {

class background_tasks;

/// Room for one piece of background work, given back when it goes away.
class background_place {
 public:
  background_place() noexcept = default;
  background_place(background_place&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  background_place& operator=(background_place&& other) noexcept {
    std::swap(of_, other.of_);
    return *this;
  }
  ~background_place();

 private:
  friend background_tasks;
  explicit background_place(background_tasks& of) noexcept : of_(&of) {}
  background_tasks* of_ = nullptr;
};

/// When work that a handler adds is done.
enum class run_when : unsigned char {
  on_success,  ///< it belongs to the response of a handler that succeeded
  always,      ///< whatever became of the handler: also when it failed or was cancelled
};

/// One piece of background work.
struct background_work {
  std::string name;
  task_function<task<>()> run;
  background_place place{};
  run_when when = run_when::on_success;
};

/// More background work is waiting than the program allows.
class background_overload_error : public error {
 public:
  explicit background_overload_error(std::string message,
                                     std::source_location where = std::source_location::current())
      : error(error_kind::overloaded, "background_overload", std::move(message), where) {}
};

namespace detail {

// What stays open until a response was sent and the work after it was done.
struct held_resources {
  exit_stack* stack = nullptr;  // while its keeper runs
  event decided;                // there is a stack, or there will be none
  event released;               // the response was sent: `work` may begin
  std::vector<background_work> work;
  std::shared_ptr<void> life;  // what the resources may refer to
};

}  // namespace detail

/// Runs the background work of all requests.
///
/// The work of one request runs in order, one after the other; one that fails does not keep the next from running. Work of several requests
/// runs at the same time. Each failure is one record `background_task_failed` with the request's trace id; what is cut short by `cancel`
/// is one record `background_task_cancelled` each.
/// Cancellation: a request that is cancelled or a client that leaves does not touch it; it is cancelled only by the end of
///               the program, when draining takes too long.
class background_tasks {
 public:
  /// `most`: how many pieces may be reserved, queued or running, at least 1.
  explicit background_tasks(std::size_t most = 10'000);
  background_tasks(const background_tasks&) = delete;
  background_tasks& operator=(const background_tasks&) = delete;
  ~background_tasks() = default;

  /// Keeps room for one piece, to be put into its `place`. Errors: `background_overload_error` when there is none.
  [[nodiscard]] background_place reserve();
  /// Starts the work of one request. When all of it has been cancelled, this is cancelled before it begins, with its records.
  /// Errors: `misuse_error` outside of `serve_within`.
  void start(std::vector<background_work> work, telemetry::logger log);

  // For the dispatcher, before a request whose dependencies are to be kept. Errors: `background_overload_error` when as many as there may be
  // pieces of work are kept already: those that close slowly must not pile up.
  void require_room_to_keep() const;
  // Keeps what is put on `what->stack` open, as a piece of work that is called `name`. When it is released, does its work,
  // then closes; what fails then is a record `dependency_close_failed`.
  void keep(std::string name, std::shared_ptr<detail::held_resources> what, telemetry::logger log);

  /// Queued or running.
  [[nodiscard]] std::size_t size() const noexcept { return unfinished_; }
  /// The names of what has not finished, in the order of starting; of many equal ones once: "welcome mail (3)".
  [[nodiscard]] std::vector<std::string> unfinished() const;
  /// Waits until nothing is left.
  [[nodiscard]] task<> wait_idle();
  /// Cancels all of it. `wait_idle` tells when it has ended; nothing can be started any more.
  void cancel() noexcept;

  /// Owns the work while `body` runs, and ends when `body` has ended and no work is left.
  /// Errors: those of `body`; the work is cancelled then.
  [[nodiscard]] task<> serve_within(task_function<task<>()> body);

 private:
  friend background_place;
  // The work of one request.
  struct job {
    std::list<background_work> left;
    telemetry::logger log;
    std::shared_ptr<detail::held_resources> holds{};
    std::string name{};  // of what it holds
  };
  using jobs = std::list<job>;

  task<> own_until(event& over, event& ready);
  task<> run_job(jobs::iterator mine);
  task<> run_in_order(jobs::iterator mine);
  task<> run_held(jobs::iterator mine);
  void forget(jobs::iterator ended) noexcept;

  std::size_t most_;
  std::size_t places_taken_ = 0;
  std::size_t unfinished_ = 0;
  std::size_t kept_ = 0;
  jobs jobs_;
  bool serving_ = false;
  group* owner_ = nullptr;  // none: cancelled
  event idle_;
};

}  // namespace belay::service
