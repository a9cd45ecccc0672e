// SPDX-License-Identifier: Apache-2.0
// Does two things at once, for at most a second; the second time one of them fails.
//   ./hello     exit: 1, as the error says
#include <belay/core/all.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

// [snippet hello]
belay::task<std::string> greeting() {
  co_await belay::sleep_for(10ms);
  co_return "hello";
}

belay::task<std::string> name_of(int id) {
  co_await belay::sleep_for(20ms);
  if (id != 7) throw belay::error(belay::error_kind::not_found, "no_user", "there is no user 8");
  co_return "world";
}

belay::task<> greet(int id) {
  auto [words, name] = co_await belay::all(greeting(), name_of(id));  // both at once
  std::printf("%s, %s\n", words.c_str(), name.c_str());
}

belay::task<> program() {
  co_await belay::with_timeout(1s, greet(7));
  co_await belay::with_timeout(1s, greet(8));
}

int main() { return belay::run(program()); }
// [end]
