// SPDX-License-Identifier: Apache-2.0
// Streams, as_completed and on_cancel, cancelled, failed and disturbed at every await: nothing may be left open or lost.

#include <belay/core/as_completed.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/on_cancel.hpp>
#include <belay/core/stream.hpp>

#include "driven.hpp"

using namespace core_tests;

namespace {

struct world {
  int live = 0;  // locals
  int opened = 0;
  int closed = 0;
  int begun = 0;  // cleanups that have to run
  int cleaned = 0;
  int limited = 0;  // tasks under a limit of two
  int most = 0;
};

b::managed<int> opens(world& w) {
  const counted here(w.live);
  co_await b::sleep_for(1s);
  ++w.opened;
  int value = 3;
  co_yield value;
  co_await b::sleep_for(1s);
  ++w.closed;
}
b::task<int> works(world& w, b::duration length) {
  const counted here(w.live);
  const int& opened = co_await b::use(opens(w));
  co_await b::sleep_for(length);
  co_return opened;
}
b::task<int> refuses(world& w, b::duration length) {
  co_await works(w, length);
  throw boom("expected");
}
b::task<int> cleans(world& w, b::duration length) {
  ++w.begun;
  co_return co_await b::finally([length]() -> b::task<int> { co_return co_await gives_after(length, 1); },
                                [&w](b::exit_status) -> b::task<> {
                                  co_await b::sleep_for(1s);
                                  ++w.cleaned;
                                });
}
b::task<int> one_of_few(world& w) {
  const counted here(w.limited);
  w.most = std::max(w.most, w.limited);
  co_return co_await works(w, 1s);
}
b::stream<int> items(world& w, int count) {
  const counted here(w.live);
  const int& opened = co_await b::use(opens(w));
  for (int i = 0; i < count; ++i) {
    if (i % 2 == 1) co_await works(w, 1s);
    co_yield opened + i;
  }
}
b::stream<int> doubled(world& w, int count) {
  const counted here(w.live);
  b::open_stream<int>& inner = co_await b::use(items(w, count));
  while (const int* item = co_await inner.next()) {
    co_await b::use(opens(w));
    co_yield *item * 2;
  }
}
b::stream<int> refusing(world& w) {
  co_await b::use(opens(w));
  co_yield 1;
  co_await refuses(w, 1s);
}
void look_at(const b::failure& what) { CHECK(!b::describe(what).empty()); }

b::task<> iterates(world& w) {
  int sum = 0;
  co_await b::for_each(items(w, 3), [&](int item) -> b::task<> {
    sum += item;
    co_await works(w, 1s);
  });
  CHECK(sum == 12);
  const std::vector<int> all = co_await b::to_vector(doubled(w, 2));
  CHECK(all.size() == 2);
}
b::task<> leaves_early(world& w) {
  co_await b::with(doubled(w, 9), [&w](b::open_stream<int>& all) -> b::task<> {
    while (co_await all.next() != nullptr) break;
    co_await works(w, 1s);
  });
  b::open_stream<int>& used = co_await b::use(items(w, 9));
  b::open_stream<int>& closed = co_await b::use(items(w, 9));
  static_cast<void>(co_await used.next());
  static_cast<void>(co_await closed.next());
  co_await closed.close();
  static_cast<void>(co_await used.next());
}
b::task<> iterates_over_errors(world& w) {
  b::outcome<void> how = co_await b::as_outcome(b::for_each(refusing(w), [](int) {}));
  look_at(how.failure());
  how = co_await b::as_outcome(b::for_each(items(w, 5), [&w](int) -> b::task<> { co_await refuses(w, 1s); }));
  look_at(how.failure());
}
b::task<> iterates_in_time(world& w) {
  auto one = [](b::open_stream<int>& of) -> b::task<bool> { co_return co_await of.next() != nullptr; };
  co_await b::with(items(w, 5), [&](b::open_stream<int>& all) -> b::task<> {
    while ((co_await b::move_on_after(1500ms, one(all))).value_or(false)) co_await b::yield();
  });
}
b::task<> shares(world& w) {
  co_await b::with(items(w, 5), [&w](b::open_stream<int>& all) -> b::task<> {
    auto takes = [](b::open_stream<int>& of, b::semaphore& turn, world& to) -> b::task<> {
      for (bool more = true; more;) {
        const b::permit mine = co_await turn.acquire();
        more = co_await of.next() != nullptr;
        const counted here(to.live);
        co_await b::yield();
      }
    };
    b::semaphore turn(1, "turn");
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 2; ++i) g.spawn(takes, std::ref(all), std::ref(turn), std::ref(w));
      co_return;
    });
  });
}

b::task<> completes(world& w) {
  int seen = 0;
  co_await b::for_each(b::as_completed(works(w, 3s), refuses(w, 1s), cleans(w, 1s), works(w, 2s)),
                       [&](b::completed<int>& item) -> b::task<> {
                         ++seen;
                         if (item.result.failed()) look_at(item.result.failure());
                         co_await b::sleep_for(500ms);
                       });
  CHECK(seen == 4);
}
b::task<> completes_some(world& w) {
  co_await b::with(b::as_completed(works(w, 1s), cleans(w, 9s), refuses(w, 9s)),
                   [&w](b::open_completions<int>& done) -> b::task<> {
                     auto item = co_await done.next();
                     if (item->result.failed()) look_at(item->result.failure());
                     co_await works(w, 1s);
                   });
  b::outcome<void> how = co_await b::as_outcome(
      b::for_each(b::as_completed(works(w, 1s), cleans(w, 9s)), [](b::completed<int>& item) {
        static_cast<void>(item.value());
        throw boom("expected");
      }));
  look_at(how.failure());
}
b::task<> completes_few_at_a_time(world& w) {
  std::vector<b::task<int>> many;
  for (int i = 0; i < 5; ++i) many.push_back(one_of_few(w));
  co_await b::with(b::as_completed(std::move(many), 2), [](b::open_completions<int>& done) -> b::task<> {
    auto takes = [](b::open_completions<int>& of) -> b::task<> {
      for (int i = 0; i < 2; ++i) {
        auto item = co_await of.next();
        if (item && item->result.failed()) look_at(item->result.failure());
      }
    };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 2; ++i) g.spawn(takes, std::ref(done));
      co_return;
    });
  });
}
b::stream<int> of_completed(world& w) {
  std::vector<int> got;
  co_await b::for_each(b::as_completed(works(w, 1s), cleans(w, 2s)),
                       [&got](b::completed<int>& item) { got.push_back(item.value()); });
  for (int one : got) co_yield one;
}
b::task<> together(world& w) {
  co_await b::for_each(of_completed(w), [&w](int) -> b::task<> {
    co_await b::for_each(b::as_completed(works(w, 1s), works(w, 2s)),
                         [&w](b::completed<int>& item) -> b::task<> {
                           static_cast<void>(item.value());
                           co_await b::with(items(w, 3), [](b::open_stream<int>& all) -> b::task<> {
                             static_cast<void>(co_await all.next());
                           });
                         });
  });
}

b::task<> with_hooks(world& w, int& told) {
  const auto tell = [&told] { ++told; };
  co_await b::on_cancel(works(w, 1s), tell);
  const int before = told;
  static_cast<void>(co_await b::move_on_after(2s, b::on_cancel(cleans(w, 5s), tell)));
  CHECK(told == before + 1);
  b::event stop;  // outlives the group's tasks, and so their hooks
  co_await b::with_group([&](b::group& g) -> b::task<> {
    auto work = [](world& to, b::event& told_too) -> b::task<> {
      co_await b::on_cancel(works(to, 1h), [&told_too] { told_too.set(); });
    };
    b::child<void> one = g.spawn(work, std::ref(w), std::ref(stop));
    co_await b::sleep_for(500ms);
    one.cancel();
    co_await stop.wait();
  });
}

world& make_world(t::stage& s) {
  auto& w = s.make<world>();
  s.expect("no local is left", [&w] { return w.live == 0 && w.limited == 0; });
  s.expect("not more than two at a time", [&w] { return w.most <= 2; });
  s.expect("what was opened was closed, unless closing failed",
           [&w](const t::run_end& how) { return w.opened == w.closed || how.failed_in_cleanup; });
  s.expect("what was begun was cleaned up, unless that failed",
           [&w](const t::run_end& how) { return w.begun == w.cleaned || how.failed_in_cleanup; });
  return w;
}
void check(const char* name, b::task<> (*run)(world&), lost errors = lost::none) {
  drive(name, [run](t::stage& s) -> b::task<> { co_await run(make_world(s)); }, errors);
}

}  // namespace

TEST_CASE("everywhere: stream") { check("stream", iterates); }
TEST_CASE("everywhere: stream left early") { check("stream left early", leaves_early); }
TEST_CASE("everywhere: stream with errors") { check("stream with errors", iterates_over_errors); }
TEST_CASE("everywhere: stream with limits") { check("stream with limits", iterates_in_time); }
TEST_CASE("everywhere: stream of several tasks") { check("stream of several tasks", shares); }
TEST_CASE("everywhere: as_completed") { check("as_completed", completes, lost::to_the_sink); }
TEST_CASE("everywhere: as_completed left early") {
  check("as_completed left early", completes_some, lost::to_the_sink);
}
TEST_CASE("everywhere: as_completed with a limit") {
  check("as_completed with a limit", completes_few_at_a_time, lost::to_the_sink);
}
TEST_CASE("everywhere: streams and as_completed together") {
  check("streams and as_completed together", together, lost::to_the_sink);
}
TEST_CASE("everywhere: on_cancel") {
  drive("on_cancel", [](t::stage& s) -> b::task<> { co_await with_hooks(make_world(s), s.make<int>(0)); });
}
