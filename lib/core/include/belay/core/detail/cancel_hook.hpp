// SPDX-License-Identifier: Apache-2.0
#pragma once
// A scope that is told when a cancellation reaches it; under on_cancel.

#include <belay/core/cancel.hpp>
#include <belay/core/detail/runtime.hpp>
#include <concepts>

namespace belay::detail {

// States: not due; due (in the list of the runtime, from when a cancellation reaches it until it is called, which is before the request
// returns). It becomes due once at the most, for a scope that is cancelled stays so.
struct cancel_hook : scope {
  explicit cancel_hook(void (*what)(cancel_hook&, const cancel_record&) noexcept) noexcept : call(what) {
    has_hook = true;
  }
  ~cancel_hook() {
    if (due) not_due();
  }
  void become_due() noexcept;
  void not_due() noexcept;

  void (*call)(cancel_hook&, const cancel_record&) noexcept;
  cancel_hook* next_due = nullptr;
  bool due = false;
};

// In a handler: what a hook threw goes to the sink.
void hook_failed() noexcept;

template <class F>
struct cancel_hook_of final : cancel_hook {
  explicit cancel_hook_of(F& kept) noexcept : cancel_hook(&call_kept), fn(&kept) {}
  static void call_kept(cancel_hook& self, const cancel_record& why) noexcept {
    F& fn = *static_cast<cancel_hook_of&>(self).fn;
    try {
      if constexpr (std::invocable<F&, const cancel_record&>) {
        fn(why);
      } else {
        fn();
      }
    } catch (...) {
      hook_failed();
    }
  }
  F* fn;
};

}  // namespace belay::detail
