// SPDX-License-Identifier: Apache-2.0
// A task that was made before and is given to a group must not refer to a temporary [row 507].

#include <belay/core/group.hpp>
#include <string>

#pragma clang diagnostic error "-Wdangling"

belay::task<> work(const std::string& text);

belay::task<> uses(const std::string& given) {
  co_await belay::with_group([&given](belay::group& g) -> belay::task<> {
#ifdef BELAY_CONTROL
    belay::child<void> one = g.adopt(work(given));
#else
    belay::child<void> one = g.adopt(work(std::string("gone at the end of the line")));
#endif
    co_await one;
  });
}
