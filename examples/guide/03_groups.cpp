// SPDX-License-Identifier: Apache-2.0
// Several tasks at once. The guide's chapter 3.
//   ./03_groups     exit: 0
#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/map.hpp>
#include <belay/core/race.hpp>
#include <belay/core/run.hpp>
#include <belay/core/settle.hpp>
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

// [snippet race]
belay::task<> who_is_first() {
  // The first to end; the other one is cancelled, and waited for.
  std::printf("  %d\n", co_await belay::race(price("corner", 1h, 3), price("market", 10ms, 2)));
  // The first to succeed; what failed before does not matter.
  std::printf("  %d\n", co_await belay::any(price("market", 10ms, -1), price("corner", 20ms, 3)));
}
// [end]

// [snippet settle]
belay::task<> whoever_is_open() {
  auto [corner, market] = co_await belay::settle(price("corner", 20ms, 3), price("market", 10ms, -1));
  std::printf("  corner: %d, market: %s\n", corner.value(), market.failure().message().c_str());
}
// [end]

// [snippet map]
belay::task<> two_at_a_time(std::vector<std::string> shops) {
  auto ask = [](const std::string& shop) -> belay::task<int> { co_return co_await price(shop, 10ms, 1); };
  const std::vector<int> prices = co_await belay::map(std::move(shops), ask, 2);
  std::printf("  %zu prices\n", prices.size());
}
// [end]

// [snippet start]
belay::task<> keeps_shop(belay::task_status<int>& ready, int number) {
  co_await belay::sleep_for(10ms);  // takes the shutters down
  ready.started(number);            // from here on, its errors are the group's
  co_await belay::sleep_for(1h);
}
belay::task<> opens_shop() {
  co_await belay::with_group({.name = "high street"}, [](belay::group& g) -> belay::task<> {
    const int open = co_await g.start(keeps_shop, 7);
    std::printf("  number %d is open\n", open);
    g.cancel();
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
  std::puts("race, any:");
  co_await who_is_first();
  std::puts("settle:");
  co_await whoever_is_open();
  std::puts("map:");
  co_await two_at_a_time({"corner", "market", "station"});
  std::puts("start:");
  co_await opens_shop();
}

int main() { return belay::run(program()); }
