// SPDX-License-Identifier: Apache-2.0
// Finds: destroying a coroutine at its suspension point, which is how a cancelled task ends, must destroy parameters, locals
// and the temporaries of the awaiting expression once each, and what comes after it never.

#include "probe.hpp"

namespace trust {
namespace {

struct owning_wait {
  explicit owning_wait(tracked kept) : owned{std::move(kept)} {}

  tracked owned;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return 1; }
};

struct marks {
  bool* reached;
  ~marks() { *reached = true; }
};

task<int> leaf(tracked argument, bool* ran_after) {
  tracked local;
  {
    tracked inner;
    co_await owning_wait{argument};
    (void)inner;
  }
  marks after{ran_after};
  co_return 1;
}

task<int> middle(tracked argument, bool* ran_after) {
  tracked local;
  co_return co_await leaf(argument, ran_after);
}

}  // namespace

const char* destroyed_while_suspended() {
  const int before = tracked::alive;
  bool ran_after = false;
  {
    task<int> outer = middle(tracked{}, &ran_after);
    outer.start();
    if (tracked::alive <= before) return "a suspended coroutine does not hold its locals";
  }
  if (tracked::alive != before) return "destroying a suspended coroutine does not destroy each object exactly once";
  if (ran_after) return "destroying a suspended coroutine ran code after the suspension point";
  return nullptr;
}

}  // namespace trust
