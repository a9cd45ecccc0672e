// SPDX-License-Identifier: Apache-2.0
// Planted bugs in the scenarios themselves: what the drivers say when they cannot do their work.

#include <array>

#include "planted.hpp"

namespace planted {
namespace {

// ---- Different each time
//
// The drivers number the awaits of one run and stop others at these numbers: all runs must be the same.

task<> a_static_variable(stage&) {
  static int runs = 0;
  co_await b::sleep_for(1s);
  if (++runs % 2 == 0) co_await b::sleep_for(2s);
  co_await b::sleep_for(3s);
}

// Chance, too, comes from the stage.
task<> the_random_numbers_of_the_stage(stage& s) {
  co_await b::sleep_for(1s);
  if (s.random()() % 2 == 0) co_await b::sleep_for(2s);
  co_await b::sleep_for(3s);
}

constexpr bug different_each_time{
    .name = "different each time",
    .looks = "a scenario with a static variable",
    .broken = a_static_variable,
    .mended = the_random_numbers_of_the_stage,
    .rule = rules::deterministic,
    .where = found::never_again,
};
TEST_CASE("planted: the scenario that does something else in each run") { check(different_each_time); }

// ---- After you
//
// It hangs without any disturbance. The report names who waits for what.

struct two_doors {
  b::event left{"left door"};
  b::event right{"right door"};
};
task<> opens_left_after_right(two_doors& at) {
  co_await at.right.wait();
  at.left.set();
}
task<> opens_right_after_left(two_doors& at) {
  co_await at.left.wait();
  at.right.set();
}
task<> opens_right_first(two_doors& at) {
  at.right.set();
  co_await at.left.wait();
}

template <task<> (*Second)(two_doors&)>
task<> two_polite_people(stage& s) {
  auto& at = s.make<two_doors>();
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(opens_left_after_right, std::ref(at));
    g.spawn(Second, std::ref(at));
    co_return;
  });
}

constexpr bug after_you{
    .name = "after you",
    .looks = "two tasks that wait for each other",
    .broken = two_polite_people<opens_right_after_left>,
    .mended = two_polite_people<opens_right_first>,
    .rule = rules::ends,
    .names = "left door",
    .where = found::undisturbed,
};
TEST_CASE("planted: the two tasks that wait for each other") { check(after_you); }

}  // namespace

std::span<const bug* const> scenarios() {
  static constexpr std::array all{&different_each_time, &after_you};
  return all;
}

}  // namespace planted
