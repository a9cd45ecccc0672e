// SPDX-License-Identifier: Apache-2.0
#pragma once
// Work that goes on after the response: owned by the program, not by the request.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/telemetry/logger.hpp>
#include <cstddef>
#include <string>
#include <vector>

namespace belay::service {

/// One piece of background work.
struct background_work {
  std::string name;
  task_function<task<>()> run;
};

/// More background work is waiting than the program allows.
class background_overload_error : public error {
 public:
  explicit background_overload_error(std::string message, std::source_location where = std::source_location::current())
      : error(error_kind::overloaded, "background_overload", std::move(message), where) {}
};

/// Runs the background work of all requests.
///
/// The work of one request runs in order, one after the other; one that fails does not keep the next from running. Work of several requests
/// runs at the same time. Each failure is one record `background_task_failed` with the request's trace id.
/// Cancellation: a request that is cancelled or a client that leaves does not touch it; it is cancelled only by the end of
///               the program, when draining takes too long.
class background_tasks {
 public:
  /// `most`: how many pieces may be queued or running, at least 1.
  explicit background_tasks(telemetry::logger log, std::size_t most = 10'000);

  /// Whether there is room for `count` more. Errors: `background_overload_error` if not.
  void require_room(std::size_t count) const;
  /// Starts the work of one request. The program must be serving (`serve_within`).
  void start(std::vector<background_work> work, telemetry::logger log);

  [[nodiscard]] std::size_t size() const noexcept { return unfinished_; }
  /// The names of what has not finished.
  [[nodiscard]] std::vector<std::string> unfinished() const;
  /// Waits until nothing is left.
  [[nodiscard]] task<> wait_idle();
  /// Cancels all.
  void cancel() noexcept;

  /// Owns the work: ends when `body` has ended and no work is left.
  [[nodiscard]] task<> serve_within(task_function<task<>()> body);

 private:
  task<> run_in_order(std::vector<background_work> work, telemetry::logger log);

  telemetry::logger log_;
  std::size_t most_;
  std::size_t unfinished_ = 0;
  std::vector<std::string> names_;
  group* owner_ = nullptr;
  event idle_;
};

}  // namespace belay::service
