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

// How far a failure has been told to people (logged, alerted). For the layers above: core only keeps it.
struct told_mark final : refcounted {
  explicit told_mark(unsigned char so_far) noexcept : level(so_far) {}
  std::atomic<unsigned char> level;
};

class failure_record final : public refcounted {
 public:
  explicit failure_record(std::exception_ptr what) noexcept;
  ~failure_record() override;

  // Of several records for the same failure (one for each who waited for it) there is one mark.
  [[nodiscard]] std::atomic<unsigned char>& told() noexcept {
    told_mark* const shared = shared_told_.load(std::memory_order_acquire);
    return shared != nullptr ? shared->level : told_;
  }
  // From now on this one and `other`, which is new, have one mark.
  void share_told_with(failure_record& other);

  std::exception_ptr exception;
  trace_rows trace;
  std::vector<failure> attached;
  std::vector<std::string> notes;
  std::atomic<bool> observed{false};
  std::atomic<bool> lost{false};  // went to the sink
  // Was ever attached to another, or replaced by an error: a way may lead back to it.
  std::atomic<bool> below{false};
  // The record that this one was attached to last, and that lives: finds repeated attaching without a search.
  std::atomic<const failure_record*> attached_to{nullptr};

 protected:
  // An unobserved failure goes to the sink, which becomes its last owner.
  void last_release() noexcept override;

 private:
  std::atomic<unsigned char> told_{0};
  std::atomic<told_mark*> shared_told_{nullptr};  // owned
  failure_record* next_dead_ = nullptr;
};

}  // namespace belay::detail
