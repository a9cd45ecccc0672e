// SPDX-License-Identifier: Apache-2.0
// Planted bugs: tasks that wait for each other, and one of them does not come.

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "planted.hpp"

namespace planted {
namespace {

// ---- The barrier that counts the absent
//
// Who was stopped while waiting is still counted as present. The next round starts with one too few.

class barrier_for_two {
 public:
  task<> arrive() {
    if (++here_ == 2) co_return open();
    const auto mine = round_;
    co_await mine->wait();  // <- found here
  }
  task<> arrive_or_leave() {
    if (++here_ == 2) co_return open();
    struct present {
      barrier_for_two& at;
      std::shared_ptr<b::event> round = at.round_;
      ~present() {
        if (!round->is_set()) --at.here_;
      }
    } mine{*this};
    co_await mine.round->wait();
  }

 private:
  void open() {
    here_ = 0;
    std::exchange(round_, std::make_shared<b::event>("barrier"))->set();
  }
  int here_ = 0;
  std::shared_ptr<b::event> round_ = std::make_shared<b::event>("barrier");
};

using arriving = task<> (barrier_for_two::*)();

template <arriving Arrive>
task<> walks_to(barrier_for_two& at, b::duration way) {
  co_await b::sleep_for(way);
  co_await (at.*Arrive)();
}
template <arriving Arrive>
task<> one_round(barrier_for_two& at) {
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(walks_to<Arrive>, std::ref(at), 1s);
    g.spawn(walks_to<Arrive>, std::ref(at), 2s);
    co_return;
  });
}
template <arriving Arrive>
task<> two_rounds(stage& s) {
  auto& at = s.make<barrier_for_two>();
  s.afterwards([&at]() -> task<> { co_await one_round<Arrive>(at); });
  co_await one_round<Arrive>(at);
}

constexpr bug barrier_counts_absent{
    .name = "barrier counts the absent",
    .looks = "`++here` at the door, and no `--here` for who leaves early",
    .broken = two_rounds<&barrier_for_two::arrive>,
    .mended = two_rounds<&barrier_for_two::arrive_or_leave>,
    .rule = rules::usable_afterwards,
    .names = "barrier",
};
TEST_CASE("planted: the barrier that counts somebody who has gone") { check(barrier_counts_absent); }

// ---- The lost wake-up
//
// One letter, one wake-up. The reader who is woken fails before it takes the letter; the other one sleeps on.

class letter_box {
 public:
  void put(std::string letter) {
    letters_.push_back(std::move(letter));
    wake_one();
  }
  [[nodiscard]] bool empty() const { return letters_.empty(); }
  std::string pop() {
    std::string first = std::move(letters_.front());
    letters_.pop_front();
    return first;
  }
  void wake_one() {
    if (sleepers_.empty()) return;
    sleepers_.front()->set();
    sleepers_.pop_front();
  }

  // In the line from its making to its end.
  struct sleeper {
    letter_box& at;
    std::shared_ptr<b::event> woken = std::make_shared<b::event>("letter");
    explicit sleeper(letter_box& where) : at(where) { at.sleepers_.push_back(woken); }
    ~sleeper() { std::erase(at.sleepers_, woken); }
  };
  // Passes its wake-up on, if it has left a letter behind.
  struct considerate_sleeper : sleeper {
    using sleeper::sleeper;
    ~considerate_sleeper() {
      if (woken->is_set() && !at.empty()) at.wake_one();
    }
  };

 private:
  std::deque<std::string> letters_;
  std::deque<std::shared_ptr<b::event>> sleepers_;
};

struct household {
  letter_box box;
  b::event read{"letter was read"};
  int gave_up = 0;
};

task<> walks_to_the_door() { co_await b::sleep_for(10ms); }

template <class Sleeper>
task<std::string> take(letter_box& from) {
  while (from.empty()) {
    Sleeper me(from);
    co_await me.woken->wait();
    co_await walks_to_the_door();  // <- found here
    if (!from.empty()) co_return from.pop();
  }
  co_return from.pop();
}

template <class Sleeper>
task<> reader(household& at) {
  try {
    co_await take<Sleeper>(at.box);
    at.read.set();
  } catch (const b::error&) {
    ++at.gave_up;  // the other one will do it
  }
}
task<> postman(household& at) {
  co_await b::sleep_for(1s);
  at.box.put("invoice");
}

template <class Sleeper>
task<> one_letter(stage& s) {
  auto& at = s.make<household>();
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(reader<Sleeper>, std::ref(at));
    g.spawn(reader<Sleeper>, std::ref(at));
    g.spawn(postman, std::ref(at));
    co_await at.read.wait();
    g.cancel();
  });
}

constexpr bug lost_wakeup{
    .name = "lost wake-up",
    .looks = "one item wakes one waiter, which fails before it has taken the item",
    .broken = one_letter<letter_box::sleeper>,
    .mended = one_letter<letter_box::considerate_sleeper>,
    .with = driver::fail,
    .rule = rules::ends,
    .names = "letter was read",
};
TEST_CASE("planted: the wake-up of a waiter that fails") { check(lost_wakeup); }

// ---- The event that only a success sets
//
// The consumer is under a shield: the failure of the producer cancels it, but does not reach it.

struct monthly_report {
  b::event ready{"report"};
  std::optional<int> rows;
};
task<int> query() {
  co_await b::sleep_for(1s);
  co_return 42;
}
task<> waits_for(monthly_report& one) { co_await one.ready.wait(); }

task<> produce(monthly_report& one) {
  one.rows = co_await query();  // <- found here
  one.ready.set();
}
task<> reads_under_a_shield(monthly_report& one) { co_await b::shielded(1h, waits_for(one)); }
task<> reads(monthly_report& one) { co_await waits_for(one); }

template <task<> (*Read)(monthly_report&)>
task<> report_and_reader(stage& s) {
  auto& one = s.make<monthly_report>();
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(produce, std::ref(one));
    co_await Read(one);
  });
}

constexpr bug only_success_is_told{
    .name = "only success is told",
    .looks = "an event is set at the end of a task that may fail; who waits for it is under a shield",
    .broken = report_and_reader<reads_under_a_shield>,
    .mended = report_and_reader<reads>,
    .with = driver::fail,
    .rule = rules::in_time,
};
TEST_CASE("planted: the event that is not set when its producer fails") { check(only_success_is_told); }

// ---- The cleanup that runs on the spot
//
// It gives others a turn until a task says that it has ended; but that task was cancelled, and says nothing.

struct second_hand {
  bool done = false;
};
task<> helps(second_hand& self) {
  co_await b::sleep_for(1s);
  self.done = true;
}

task<> until_it_says_done(second_hand& self, b::child<void>&) {
  while (!self.done) co_await b::yield();
}
// A flag of the task's own can be forgotten; that the task has ended cannot.
task<> until_it_has_ended(second_hand&, b::child<void>& helping) {
  auto ended = [](b::child<void>& one) -> task<> { co_await one; };
  const b::outcome<void> how = co_await b::as_outcome(ended(helping));
  static_cast<void>(how.failure());  // its group has it, too
}

template <task<> (*Wait)(second_hand&, b::child<void>&)>
task<> wait_by_yielding(stage& s) {
  auto& hand = s.make<second_hand>();
  co_await b::with_group([&](b::group& g) -> task<> {
    b::child<void> helping = g.spawn(helps, std::ref(hand));
    co_await b::finally([]() -> task<> { co_await b::sleep_for(2s); },  // <- found here
                        [&]() -> task<> { co_await Wait(hand, helping); });
  });
}

constexpr bug runs_on_the_spot{
    .name = "runs on the spot",
    .looks = "a cleanup yields until a task has ended that was cancelled, and says nothing",
    .broken = wait_by_yielding<until_it_says_done>,
    .mended = wait_by_yielding<until_it_has_ended>,
    .rule = rules::ends,
};
TEST_CASE("planted: the cleanup that spins for ever") { check(runs_on_the_spot); }

// ---- The heart that does not stop
//
// Every await of the loop is a shielded one: no cancellation ever reaches it.

task<> beat() { co_await b::sleep_for(10ms); }
task<> beat_and_pause() {
  co_await beat();  // <- found here
  co_await b::sleep_for(30s);
}

task<> beats_under_a_shield() {
  for (int i = 0; i < 5; ++i) {
    co_await b::shielded(1min, beat_and_pause());
  }
}
task<> pauses_without_a_shield() {
  for (int i = 0; i < 5; ++i) {
    co_await b::shielded(1s, beat());
    co_await b::sleep_for(30s);
  }
}

template <task<> (*Beats)()>
task<> a_heart(stage&) {
  co_await Beats();
}

constexpr bug deaf_heart{
    .name = "deaf heart",
    .looks = "a loop whose every await is under a shield",
    .broken = a_heart<beats_under_a_shield>,
    .mended = a_heart<pauses_without_a_shield>,
    .rule = rules::in_time,
};
TEST_CASE("planted: the loop that no cancellation reaches") { check(deaf_heart); }

// ---- First come, first served
//
// It works because the task that was spawned first runs first. Nobody has promised that.

struct settings {
  std::optional<int> port;
  b::event loaded{"settings"};
  int listening_on = 0;
};
task<> loads(settings& in) {
  in.port = 8080;
  in.loaded.set();
  co_return;
}
task<> listens_at_once(settings& in) {
  in.listening_on = in.port.value_or(0);
  co_return;
}
task<> listens_when_loaded(settings& in) {
  co_await in.loaded.wait();
  in.listening_on = in.port.value_or(0);
}

template <task<> (*Listen)(settings&)>
task<> start_up(stage& s) {
  auto& in = s.make<settings>();
  s.expect("the port is that of the settings",
           [&](const run_end& end) { return !end.succeeded || in.listening_on == 8080; });
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(loads, std::ref(in));
    g.spawn(Listen, std::ref(in));
    co_return;
  });
}

constexpr bug first_come{
    .name = "first come, first served",
    .looks = "a task needs what another one does, and was spawned after it",
    .broken = start_up<listens_at_once>,
    .mended = start_up<listens_when_loaded>,
    .with = driver::explore,
    .rule = "the port is that of the settings",
    .where = found::undisturbed,
};
TEST_CASE("planted: the task that relies on the order of the others") { check(first_come); }

}  // namespace

std::span<const bug* const> coordination() {
  static constexpr std::array all{&barrier_counts_absent, &lost_wakeup, &only_success_is_told,
                                  &runs_on_the_spot,      &deaf_heart,  &first_come};
  return all;
}

}  // namespace planted
