// SPDX-License-Identifier: Apache-2.0
// Planted bugs: permits, locks and places that never come back, so that the next one waits for ever.

#include <array>
#include <deque>
#include <map>
#include <memory>

#include "planted.hpp"

namespace planted {
namespace {

// ---- The permit in a member
//
// RAII is undone by keeping the guard in something that lives longer than the work.

struct downloads {
  b::semaphore slots{2, "download slots"};
  std::map<int, b::permit> busy;
  int loaded = 0;
};

task<> download_keeping_a_permit(downloads& d, int file) {
  d.busy.emplace(file, co_await d.slots.acquire());
  co_await b::sleep_for(1s);  // <- found here
  ++d.loaded;
  d.busy.erase(file);
}

task<> download_holding_a_permit(downloads& d, int) {
  const b::permit mine = co_await d.slots.acquire();
  co_await b::sleep_for(1s);
  ++d.loaded;
}

template <task<> (*Download)(downloads&, int)>
task<> two_downloads(stage& s) {
  auto& d = s.make<downloads>();
  co_await Download(d, 1);
  co_await Download(d, 2);
}

constexpr bug permit_in_a_member{
    .name = "permit in a member",
    .looks = "the permit lives in a table of the object, and is erased after the work",
    .broken = two_downloads<download_keeping_a_permit>,
    .mended = two_downloads<download_holding_a_permit>,
    .rule = rules::nothing_left,
    .names = "download slots",
};
TEST_CASE("planted: the permit that is kept in a member") { check(permit_in_a_member); }

// ---- The grant to one who has gone
//
// A home-made semaphore. It puts waiters in a line, and hands its place to the first. Who was cancelled
// while waiting is still in the line, gets a place, and never gives it back.

class turnstile_with_ghosts {
 public:
  task<> enter() {
    if (!taken_) {
      taken_ = true;
      co_return;
    }
    auto mine = std::make_shared<b::event>("turnstile");
    line_.push_back(mine);
    co_await mine->wait();  // <- found here
  }
  void leave() {
    if (line_.empty()) {
      taken_ = false;
      return;
    }
    line_.front()->set();
    line_.pop_front();
  }

 private:
  bool taken_ = false;
  std::deque<std::shared_ptr<b::event>> line_;
};

// Who is stopped leaves the line; and passes the place on if it was given meanwhile.
class turnstile {
 public:
  task<> enter() {
    if (!taken_) {
      taken_ = true;
      co_return;
    }
    struct waiting {
      turnstile& at;
      std::shared_ptr<b::event> mine = std::make_shared<b::event>("turnstile");
      bool entered = false;
      explicit waiting(turnstile& where) : at(where) { at.line_.push_back(mine); }
      ~waiting() {
        if (entered) return;
        if (mine->is_set()) {
          at.leave();
        } else {
          std::erase(at.line_, mine);
        }
      }
    } place(*this);
    co_await place.mine->wait();
    place.entered = true;
  }
  void leave() {
    if (line_.empty()) {
      taken_ = false;
      return;
    }
    line_.front()->set();
    line_.pop_front();
  }

 private:
  bool taken_ = false;
  std::deque<std::shared_ptr<b::event>> line_;
};

template <class Turnstile>
task<> pass_through(Turnstile& gate) {
  co_await gate.enter();
  struct inside {
    Turnstile& gate;
    ~inside() { gate.leave(); }
  } until_the_end{gate};
  co_await b::sleep_for(1s);
}

template <class Turnstile>
task<> three_pass(stage& s) {
  auto& gate = s.make<Turnstile>();
  s.afterwards([&gate]() -> task<> { co_await pass_through(gate); });
  co_await b::with_group([&](b::group& g) -> task<> {
    for (int i = 0; i < 3; ++i) g.spawn(pass_through<Turnstile>, std::ref(gate));
    co_return;
  });
}

constexpr bug grant_to_a_ghost{
    .name = "grant to a ghost",
    .looks = "a home-made semaphore hands its place to a waiter that was cancelled",
    .broken = three_pass<turnstile_with_ghosts>,
    .mended = three_pass<turnstile>,
    .rule = rules::usable_afterwards,
    .names = "turnstile",
};
TEST_CASE("planted: the grant of a home-made semaphore to a waiter that has gone") {
  check(grant_to_a_ghost);
}

// ---- The gauge that only goes up

struct server {
  int in_flight = 0;
  int served = 0;
};

task<> serve_and_count_down(server& at) {
  ++at.in_flight;
  co_await b::sleep_for(200ms);  // <- found here
  --at.in_flight;
  ++at.served;
}

task<> serve_with_a_guard(server& at) {
  struct counted {
    int& gauge;
    explicit counted(int& of) : gauge(of) { ++gauge; }
    ~counted() { --gauge; }
  } in_flight(at.in_flight);
  co_await b::sleep_for(200ms);
  ++at.served;
}

template <task<> (*Serve)(server&)>
task<> some_requests(stage& s) {
  auto& at = s.make<server>();
  s.expect("no request is in flight at the end", [&] { return at.in_flight == 0; });
  co_await Serve(at);
  co_await Serve(at);
}

constexpr bug gauge_goes_up{
    .name = "gauge that only goes up",
    .looks = "`++in_flight; co_await ...; --in_flight;`",
    .broken = some_requests<serve_and_count_down>,
    .mended = some_requests<serve_with_a_guard>,
    .rule = "no request is in flight at the end",
};
TEST_CASE("planted: the in-flight gauge that is not counted down") { check(gauge_goes_up); }

// ---- The lock that outlives its owner
//
// The writer of the ledger is stopped while it has the lock: the next one waits for ever.

struct ledger {
  bool locked = false;
  b::event unlocked{"ledger unlocked"};
  int lines = 0;

  task<> lock() {
    while (locked) {
      unlocked.reset();
      co_await unlocked.wait();
    }
    locked = true;
  }
  void unlock() {
    locked = false;
    unlocked.set();
  }
};

task<> write_line_and_unlock(ledger& book) {
  co_await book.lock();
  co_await b::sleep_for(50ms);  // <- found here
  ++book.lines;
  book.unlock();
}

task<> write_line_under_a_guard(ledger& book) {
  co_await book.lock();
  struct unlocking {
    ledger& book;
    ~unlocking() { book.unlock(); }
  } at_the_end{book};
  co_await b::sleep_for(50ms);
  ++book.lines;
}

template <task<> (*WriteLine)(ledger&)>
task<> two_writers(stage& s) {
  auto& book = s.make<ledger>();
  s.afterwards([&book]() -> task<> { co_await WriteLine(book); });
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(WriteLine, std::ref(book));
    g.spawn(WriteLine, std::ref(book));
    co_return;
  });
}

constexpr bug lock_outlives_owner{
    .name = "lock that outlives its owner",
    .looks = "`co_await lock(); co_await write(); unlock();`",
    .broken = two_writers<write_line_and_unlock>,
    .mended = two_writers<write_line_under_a_guard>,
    .rule = rules::usable_afterwards,
    .names = "ledger unlocked",
};
TEST_CASE("planted: the home-made lock that is held over a cancellation") { check(lock_outlives_owner); }

}  // namespace

std::span<const bug* const> permits() {
  static constexpr std::array all{&permit_in_a_member, &grant_to_a_ghost, &gauge_goes_up,
                                  &lock_outlives_owner};
  return all;
}

}  // namespace planted
