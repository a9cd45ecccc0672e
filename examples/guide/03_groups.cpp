// SPDX-License-Identifier: Apache-2.0
// Several tasks at once. The guide's chapter 3.
//   ./03_groups     exit: 0
#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>

#include <cstdio>
#include <string>
#include <vector>

using namespace std::chrono_literals;

// [snippet fetch]
belay::task<int> price(std::string shop, belay::duration after, int value) {
  co_await belay::sleep_for(after);
  if (value < 0) throw belay::error(belay::error_kind::unavailable, "shop_closed", shop + " is closed");
  std::printf("  %s answered\n", shop.c_str());
  co_return value;
}
// [end]

// [snippet all]
belay::task<> compare() {
  auto [first, second] = co_await belay::all(price("corner", 20ms, 3), price("market", 10ms, 2));
  std::printf("  %d and %d\n", first, second);
}
// [end]

// [snippet all_vector]
belay::task<> compare_many(const std::vector<std::string>& shops) {
  std::vector<belay::task<int>> questions;
  for (const std::string& shop : shops) questions.push_back(price(shop, 10ms, 1));
  int sum = 0;
  for (const int one : co_await belay::all(std::move(questions))) sum += one;
  std::printf("  in all: %d\n", sum);
}
// [end]

// [snippet group]
belay::task<> shop_around() {
  co_await belay::with_group([](belay::group& g) -> belay::task<> {
    g.spawn(price, "corner", 20ms, 3);                             // owned by the group, result not needed
    belay::child<int> market = g.spawn(price, "market", 10ms, 2);  // to be awaited
    std::printf("  market says %d\n", co_await market);
  });  // waits for the corner shop too
}
// [end]

// [snippet failure]
belay::task<> one_is_closed() {
  try {
    co_await belay::all(price("corner", 1h, 3), price("market", 10ms, -1));  // the corner shop is cancelled
  } catch (const belay::error& e) {
    std::printf("  %s\n", e.what());
  }
}
// [end]

// [snippet cancel]
belay::task<> until_enough() {
  co_await belay::with_group([](belay::group& g) -> belay::task<> {
    g.spawn(price, "far away", 1h, 1);
    co_await price("market", 10ms, 2);
    g.cancel();  // enough: the group ends without an error
  });
}
// [end]

belay::task<> program() {
  std::puts("all:");
  co_await compare();
  std::puts("all, a number known at run time:");
  co_await compare_many({"corner", "market", "station"});
  std::puts("group:");
  co_await shop_around();
  std::puts("one fails:");
  co_await one_is_closed();
  std::puts("cancel:");
  co_await until_enough();
}

int main() { return belay::run(program()); }
