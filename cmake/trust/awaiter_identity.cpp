// SPDX-License-Identifier: Apache-2.0
// Finds: co_await of an lvalue awaiter that works on a copy. Whoever was told the awaiter's address waits for ever.

#include "probe.hpp"

namespace trust {
namespace {

struct self_aware {
  const self_aware* seen = nullptr;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<>) noexcept {
    seen = this;
    return false;
  }
  const self_aware* await_resume() const noexcept { return this; }
};

task<int> await_lvalue() {
  self_aware mine;
  const self_aware* resumed = co_await mine;
  co_return resumed == &mine && mine.seen == &mine ? 1 : 0;
}

task<int> await_reference(self_aware& other) {
  const self_aware* resumed = co_await other;
  co_return resumed == &other && other.seen == &other ? 1 : 0;
}

}  // namespace

const char* awaiter_identity() {
  if (await_lvalue().run(-1) != 1) return "co_await local; works on a copy of the awaiter";
  self_aware outside;
  if (await_reference(outside).run(-1) != 1) return "co_await reference; works on a copy of the awaiter";
  return nullptr;
}

}  // namespace trust
