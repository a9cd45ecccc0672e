// SPDX-License-Identifier: Apache-2.0
// A deadline is one object that all share by reference; as a copy it would move nothing [row 67].

#include <belay/core/deadline.hpp>

belay::task<> uses() {
#ifdef BELAY_CONTROL
  auto body = [](belay::deadline& limit) -> belay::task<> {
#else
  auto body = [](belay::deadline limit) -> belay::task<> {
#endif
    limit.remove();
    co_return;
  };
  co_await belay::with_deadline(std::chrono::seconds(1), body);
}
