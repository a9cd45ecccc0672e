// SPDX-License-Identifier: Apache-2.0
// A select that is kept beyond its expression, in which the waits lived: the compiler says so.

#include <belay/core/channel.hpp>
#include <belay/core/select.hpp>
#include <belay/core/task.hpp>

#pragma clang diagnostic error "-Wdangling"

belay::task<> uses(belay::channel<int>& in, belay::channel<int>& out) {
#ifdef BELAY_CONTROL
  static_cast<void>(co_await belay::select(in.receive(), out.send(1)));
#else
  auto later = belay::select(in.receive(), out.send(1));
  static_cast<void>(co_await later);
#endif
}
