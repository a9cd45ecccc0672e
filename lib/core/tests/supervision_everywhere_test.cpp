// SPDX-License-Identifier: Apache-2.0
// supervisor and repeat, cancelled, failed and disturbed at every await: nobody is left, no error is lost or told twice.

#include <belay/core/finally.hpp>
#include <belay/core/periodic.hpp>
#include <belay/core/supervisor.hpp>

#include "driven.hpp"

using namespace core_tests;

namespace {

struct world {
  int live = 0;
  int most_live_of_one = 0;
  int live_of_one = 0;
  int begun = 0;  // cleanups
  int cleaned = 0;
  int failures = 0;
  b::semaphore permits{2, "line"};
};

world& make_world(t::stage& s) {
  auto& w = s.make<world>();
  s.expect("nobody is left", [&w] { return w.live == 0 && w.live_of_one == 0; });
  s.expect("never two of one worker", [&w] { return w.most_live_of_one <= 1; });
  s.expect("every cleanup ran",
           [&w](const t::run_end& how) { return how.failed_in_cleanup || w.begun == w.cleaned; });
  s.afterwards([&w]() -> b::task<> {
    const b::permit one = co_await w.permits.acquire();
    const b::permit two = co_await w.permits.acquire();
  });
  return w;
}

b::supervisor_options options(b::restart_strategy strategy) {
  b::supervisor_options made;
  made.strategy = strategy;
  made.most_restarts = 4;
  made.first_delay = 400ms;
  made.on_event = [](const b::worker_event& one) {
    if (one.why) CHECK(!b::describe(one.why).empty());
  };
  return made;
}

b::task<> serves(b::task_status<>& ready, world& w) {
  const counted here(w.live);
  const counted mine(w.live_of_one);
  w.most_live_of_one = std::max(w.most_live_of_one, w.live_of_one);
  co_await b::sleep_for(500ms);
  ++w.begun;
  co_await b::finally(
      [&]() -> b::task<> {
        ready.started();
        const b::permit one = co_await w.permits.acquire();
        co_await b::sleep_for(30s);
      },
      [&w]() -> b::task<> {
        co_await b::sleep_for(500ms);
        ++w.cleaned;
      });
}
b::task<> crashes(world& w, int times) {
  const counted here(w.live);
  const b::permit one = co_await w.permits.acquire();
  co_await b::sleep_for(1070ms);  // not when a limit of the drivers passes: an error in that moment is one
  if (++w.failures <= times) throw boom("crash");
}
b::task<> works(world& w) {
  const counted here(w.live);
  co_await b::sleep_for(700ms);
}

b::task<> supervises(t::stage& s, b::restart_strategy strategy, int crashes_before) {
  world& w = make_world(s);
  auto& all = s.make<b::supervisor>(options(strategy));
  all.add("serves", serves, std::ref(w));
  all.add({.name = "crashes", .restart = b::restart_policy::transient}, crashes, std::ref(w), crashes_before);
  all.add({.name = "works", .restart = b::restart_policy::temporary}, works, std::ref(w));
  co_await b::with_group([&all](b::group& g) -> b::task<> {
    co_await g.start([](b::task_status<>& ready, b::supervisor& of) -> b::task<> { co_await of.run(ready); },
                     std::ref(all));
    co_await b::sleep_for(6s);
    g.cancel();
  });
}

}  // namespace

TEST_CASE("everywhere: supervisor, one_for_one") {
  drive("supervisor, one_for_one",
        [](t::stage& s) -> b::task<> { co_await supervises(s, b::restart_strategy::one_for_one, 2); });
}

TEST_CASE("everywhere: supervisor, one_for_all") {
  drive("supervisor, one_for_all",
        [](t::stage& s) -> b::task<> { co_await supervises(s, b::restart_strategy::one_for_all, 1); });
}

TEST_CASE("everywhere: supervisor, rest_for_one, below another one") {
  drive("supervisor, nested", [](t::stage& s) -> b::task<> {
    world& w = make_world(s);
    auto& inner = s.make<b::supervisor>(options(b::restart_strategy::rest_for_one));
    inner.add("serves", serves, std::ref(w));
    inner.add("crashes", crashes, std::ref(w), 1);
    auto& outer = s.make<b::supervisor>(options(b::restart_strategy::one_for_one));
    outer.add("inner", inner);
    outer.add({.name = "works", .restart = b::restart_policy::transient}, works, std::ref(w));
    static_cast<void>(co_await b::move_on_after(4s, outer.run()));
  });
}

TEST_CASE("everywhere: supervisor that gives up") {
  drive("supervisor that gives up", [](t::stage& s) -> b::task<> {
    world& w = make_world(s);
    b::supervisor_options how = options(b::restart_strategy::one_for_one);
    how.most_restarts = 1;
    auto& all = s.make<b::supervisor>(std::move(how));
    all.add("serves", serves, std::ref(w));
    all.add("crashes", crashes, std::ref(w), 100);
    const b::outcome<void> end = co_await b::as_outcome(all.run());
    if (end.failed()) CHECK(!b::describe(end.failure()).empty());
  });
}

TEST_CASE("everywhere: repeat") {
  drive("repeat", [](t::stage& s) -> b::task<> {
    world& w = make_world(s);
    b::periodic_options how;
    how.jitter = 200ms;
    how.on_error = [](const b::failure& why, const b::tick&) { CHECK(!b::describe(why).empty()); };
    const auto once = [](world& in) -> b::task<> {
      ++in.begun;
      co_await b::finally([&in]() -> b::task<> { co_await crashes(in, 1); },
                          [&in]() -> b::task<> {
                            co_await b::sleep_for(500ms);
                            ++in.cleaned;
                          });
    };
    static_cast<void>(co_await b::move_on_after(6s, b::repeat(b::every(1s, how), once, std::ref(w))));
  });
}
