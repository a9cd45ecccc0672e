// SPDX-License-Identifier: Apache-2.0
// Finds: an aggregate, or a lambda that owns something, as a temporary in a statement with co_await. g++ 12.2 destroys
// what they own twice: a double free when it is a std::string.

#include "probe.hpp"

namespace trust {
namespace {

struct options {
  int attempts = 1;
  tracked owned;
};

struct aggregate_awaiter {
  tracked owned;
  int value;

  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return value; }
};

template <class Body>
task<int> run_body(Body body) {
  co_return co_await body();
}

task<int> take(options chosen) { co_return chosen.attempts; }

task<int> look_at(const options& chosen) { co_return chosen.attempts; }

task<int> owning_lambda() {
  tracked mine;
  co_return co_await run_body([mine]() -> task<int> { return give(1); });
}

task<int> aggregate_by_value() {
  tracked mine;
  co_return co_await take(options{.attempts = 1, .owned = mine});
}

task<int> aggregate_by_reference() {
  tracked mine;
  co_return co_await look_at(options{.attempts = 1, .owned = mine});
}

task<int> awaiter_that_is_an_aggregate() {
  tracked mine;
  co_return co_await aggregate_awaiter{mine, 1};
}

bool balanced(task<int> (*body)()) {
  const int before = tracked::alive;
  const bool right_value = body().run(-1) == 1;
  return right_value && tracked::alive == before;
}

}  // namespace

const char* temporaries_beside_await() {
  if (!balanced(owning_lambda)) return "co_await run([owned]() -> task<int> {...}): the captured object is destroyed twice";
  if (!balanced(aggregate_by_value)) return "co_await f(options{.owned = x}): the member is destroyed twice";
  if (!balanced(aggregate_by_reference)) return "co_await f(options{.owned = x}) by const&: the member is destroyed twice";
  if (!balanced(awaiter_that_is_an_aggregate)) return "co_await awaiter{x, 1}: the member is destroyed twice";
  return nullptr;
}

}  // namespace trust
