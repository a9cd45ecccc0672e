// SPDX-License-Identifier: Apache-2.0
#pragma once
// The shared record behind a `failure`.

#include <belay/core/detail/ref.hpp>
#include <belay/core/detail/trace_rows.hpp>
#include <atomic>
#include <exception>
#include <string>
#include <vector>

namespace belay {
class failure;
}

namespace belay::detail {

class failure_record final : public refcounted {
 public:
  explicit failure_record(std::exception_ptr what) noexcept;
  ~failure_record() override;

  std::exception_ptr exception;
  trace_rows trace;
  std::vector<failure> attached;
  std::vector<std::string> notes;
  std::atomic<bool> observed{false};
  std::atomic<bool> lost{false};  // went to the sink
  // Was ever attached to another, or replaced by an error: a way may lead back to it.
  std::atomic<bool> below{false};
  // For the layers above: how far this failure has been told to people (logged, alerted). Core only keeps it.
  std::atomic<unsigned char> told{0};
  // The record that this one was attached to last, and that lives: finds repeated attaching without a search.
  std::atomic<const failure_record*> attached_to{nullptr};

 protected:
  // An unobserved failure goes to the sink, which becomes its last owner.
  void last_release() noexcept override;

 private:
  failure_record* next_dead_ = nullptr;
};

}  // namespace belay::detail
