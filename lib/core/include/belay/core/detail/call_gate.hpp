// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who comes first: the end of a call on another loop, or the wish of its caller to stop it.

#include <atomic>

namespace belay::detail {

// The call lives with its caller, who may destroy it once it has been answered. So there must be no message on the way to the other side
// then. Both sides pass the gate; whoever is second leaves the last word to the other:
//
// - The end first: it answers. The caller, second, sends nothing, and gets the answer.
// - The wish first: a message goes to the other side, and the answer is sent when the call has ended and the message has come.
// - The wish first, but the other side takes no messages any more: it may still have the call before it, or have ended it and wait for the
//   message. Both pass a second gate; whoever is second there leaves the last word to the other, again.
template <template <class> class Atomic>
class call_gate {
 public:
  [[nodiscard]] bool first() noexcept { return !passed_.exchange(true, std::memory_order_acq_rel); }
  // The second gate: `refused` is for the caller whose message was; true: the other side will end the call, and answer.
  [[nodiscard]] bool refused() noexcept { return !closed_.exchange(true, std::memory_order_acq_rel); }
  // For the other side, which has ended and has seen no message; true: one is on its way, or nobody waits any more.
  [[nodiscard]] bool leaves() noexcept { return !closed_.exchange(true, std::memory_order_acq_rel); }

 private:
  Atomic<bool> passed_{false};
  Atomic<bool> closed_{false};
};

// The side that runs the call. All of it on the thread of that loop.
template <template <class> class Atomic>
class called_side {
 public:
  // It has ended. True: answer now.
  [[nodiscard]] bool ended(call_gate<Atomic>& gate) noexcept {
    ended_ = true;
    return gate.first() || asked_ || !gate.leaves();
  }
  [[nodiscard]] bool was_asked() const noexcept { return asked_; }
  // The wish to stop has come. True: it had ended; answer now. False: make it stop.
  [[nodiscard]] bool asked_to_stop() noexcept {
    asked_ = true;
    return ended_;
  }

 private:
  bool ended_ = false;
  bool asked_ = false;
};

}  // namespace belay::detail
