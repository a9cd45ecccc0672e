// SPDX-License-Identifier: Apache-2.0
#pragma once
// A point where a number of tasks wait for each other, again and again.

#include <belay/core/detail/wait_list.hpp>
#include <cstddef>

namespace belay {

/// When as many tasks wait as it was made for, all of them go on, and it begins anew. Must outlive those who wait.
///
/// There is no broken state: a party that fails takes the others along through their group; a party that is cancelled has not
/// arrived, and another one can take its place. Thread: the loop's only.
class barrier {
 public:
  /// `name` is for reports: a literal. Errors: `misuse_error` for zero parties.
  explicit barrier(std::size_t parties, const char* name = "");
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;

  class awaiter final : public detail::prompt_wait<awaiter> {
   public:
    explicit awaiter(barrier& at) noexcept : prompt_wait(at.waiters_), at_(&at) {}
    awaiter(const awaiter&) = delete;
    awaiter& operator=(const awaiter&) = delete;
    std::size_t await_resume() const noexcept { return position_; }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"barrier", at_->name_}; }
    [[nodiscard]] bool try_now() noexcept;

   private:
    barrier* at_;
    std::size_t position_ = 0;
  };

  /// Waits until all parties have arrived. Result: 0 for the one that has waited longest, up to parties() - 1 for the one that came last: so
  /// that one of them can do what has to be done once.
  /// Cancellation: it has not arrived, and is not counted. Once all have arrived, all go on.
  [[nodiscard("who does not await it has not arrived")]] awaiter arrive_and_wait() noexcept {
    return awaiter(*this);
  }

  [[nodiscard]] std::size_t parties() const noexcept { return parties_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }
  [[nodiscard]] const char* name() const noexcept { return name_; }

 private:
  const std::size_t parties_;
  const char* name_;
  detail::wait_list waiters_;
};

}  // namespace belay
