// SPDX-License-Identifier: Apache-2.0
#pragma once
// Looks, now and then, for tasks that were asked to stop and have not ended.

#include <belay/core/detail/runtime.hpp>
#include <belay/core/diagnostic.hpp>
#include <belay/core/loop.hpp>
#include <vector>

namespace belay::detail {

// No request has a timer of its own. The first one sets the time of a look (`runtime::look_due`), at which all tasks are walked through; it is
// repeated as long as one is found that was asked to stop. So a request costs a comparison, and a program that cancels nothing, nothing.
// A look does not wake a loop on a virtual clock: it takes place when something else comes to pass.
class cancel_lookout {
 public:
  void look(loop::state& of, time_point now) noexcept;
  // The loop has ended: whoever was late has ended as well.
  void end(loop::state& of) noexcept;

 private:
  struct late {
    cancel_record asked;
    diagnostic told;
    bool still_there = true;
  };
  [[nodiscard]] bool known(const cancel_record& asked) noexcept;
  void walk(loop::state& of, std::uint32_t now, time_point& next);
  void tell_late(loop::state& of, const scope& asked, const std::vector<const node*>& who, duration age);
  void tell_over(loop::state& of, late& one) noexcept;

  std::vector<late> late_;
};

}  // namespace belay::detail
