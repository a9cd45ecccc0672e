// SPDX-License-Identifier: Apache-2.0
// Lifespan, background work and a whole app on a fake network, ended at every await: nothing is left open, no work is without a fate.
//
// No co_await in a CHECK: it catches the injected error.

#include <belay/core/all.hpp>
#include <belay/service/background.hpp>
#include <belay/service/lifespan.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/fake_network.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
namespace bt = belay::testing;
using belay::managed;
using belay::task;
using bt::run_end;
using bt::stage;
using service::app;
using service::background_tasks;
using service::background_work;
using service::lifespan;
using service::request;
using support::client;
using words = std::vector<std::string>;

namespace {

using part = task<> (*)(stage&);

void check(part what, bt::everywhere_options options = {},
           std::source_location where = std::source_location::current()) {
  const bt::report found = bt::everywhere(what, std::move(options), where);
  CHECK_MESSAGE(found.ok(), found.text());
}

// The resources of a run: what is open, in the order of opening; whether one was closed out of turn.
struct ledger {
  words open;
  bool in_order = true;
};

struct entry {
  ledger& of;
  std::string name;
  entry(ledger& in, std::string called) : of(in), name(std::move(called)) { of.open.push_back(name); }
  entry(const entry&) = delete;
  entry& operator=(const entry&) = delete;
  ~entry() {
    of.in_order = of.in_order && of.open.back() == name;
    std::erase(of.open, name);
  }
};

managed<int> thing(ledger& of, std::string name) {
  co_await belay::sleep_for(1s);
  const entry mine(of, std::move(name));
  co_await belay::sleep_for(1s);
  co_yield 1;
  co_await belay::sleep_for(1s);
}

ledger& watched_ledger(stage& s) {
  ledger& of = s.make<ledger>();
  s.expect("all is closed", [&of] { return of.open.empty(); });
  s.expect("it is closed in the reverse order", [&of] { return of.in_order; });
  return of;
}

struct program {
  lifespan steps;
  service::shutdown_report report;
  std::string failed_step;
  bool served = false;
};

}  // namespace

TEST_CASE("everywhere: a lifespan of two resources and a step") {
  check([](stage& s) -> task<> {
    ledger& of = watched_ledger(s);
    program& p = s.make<program>();
    auto a = p.steps.manage("a", thing(of, "a"));
    p.steps.step("once", [a]() -> task<> { co_await belay::sleep_for(1s * *a); });
    auto b = p.steps.manage("b", thing(of, "b"));
    s.expect("the report knows of nothing open", [&p] { return p.report.open.empty(); });
    s.expect("handles know that it is over", [a, b] { return !a.is_open() && !b.is_open(); });
    s.expect("a failing start names its step, and nothing else does", [&p](const run_end& how) {
      return how.failed_in_cleanup || p.failed_step.empty() != (how.failure && !p.served);
    });
    const auto serve = [&p, a, b]() -> task<> {
      p.served = true;
      co_await belay::sleep_for(1s * (*a + *b));
    };
    co_await p.steps.run(serve, p.report, p.failed_step);
  });
}

namespace {

// Background work of a run, with room for three pieces.
struct office {
  support::record_keeper records;
  background_tasks all{3};
  std::size_t given = 0;
  std::size_t done = 0;

  background_work piece(std::string name) {
    return {.name = std::move(name),
            .run = [this]() -> task<> {
              co_await belay::sleep_for(1s);
              ++done;
            },
            .place = all.reserve()};
  }
  template <class... W>
  void start(W... work) {
    std::vector<background_work> list;
    (list.push_back(std::move(work)), ...);
    const std::size_t count = list.size();
    all.start(std::move(list), records.log);
    given += count;
  }
  [[nodiscard]] std::size_t told(std::string_view event) const { return records.events(event).size(); }
};

office& open_office(stage& s) {
  office& o = s.make<office>();
  s.expect("each piece was done, or is a record", [&o] {
    return o.given == o.done + o.told("background_task_failed") + o.told("background_task_cancelled");
  });
  s.expect("nothing is unfinished", [&o] { return o.all.size() == 0 && o.all.unfinished().empty(); });
  s.expect("all room is given back", [&o] {
    const auto first = o.all.reserve();
    const auto second = o.all.reserve();
    const auto third = o.all.reserve();
    return true;
  });
  s.afterwards([&o]() -> task<> {
    co_await o.all.serve_within([&o]() -> task<> {
      o.start(o.piece("afterwards"));
      co_await o.all.wait_idle();
    });
  });
  return o;
}

}  // namespace

TEST_CASE("everywhere: background work, in order and side by side, drained at the end") {
  check([](stage& s) -> task<> {
    office& o = open_office(s);
    co_await o.all.serve_within([&o]() -> task<> {
      o.start(o.piece("a1"), o.piece("a2"));
      co_await belay::sleep_for(500ms);
      o.start(o.piece("b"));
      co_await o.all.wait_idle();
    });
  });
}

TEST_CASE("everywhere: background work that is cancelled while the program goes on") {
  check([](stage& s) -> task<> {
    office& o = open_office(s);
    co_await o.all.serve_within([&o]() -> task<> {
      o.start(o.piece("a1"), o.piece("a2"));
      co_await belay::sleep_for(500ms);
      o.start(o.piece("b"));
      o.all.cancel();
      co_await o.all.wait_idle();
      co_await belay::sleep_for(1s);
    });
  });
}

TEST_CASE("everywhere: background work of a program that fails") {
  check([](stage& s) -> task<> {
    office& o = open_office(s);
    const auto how = co_await belay::as_outcome(o.all.serve_within([&o]() -> task<> {
      o.start(o.piece("a1"), o.piece("a2"));
      co_await belay::sleep_for(500ms);
      o.start(o.piece("b"));
      throw std::runtime_error("expected");
    }));
    if (how.failed()) how.failure().observe();
  });
}

namespace {

struct counted_run {
  explicit counted_run(int& live) noexcept : at(&live) { ++*at; }
  counted_run(const counted_run&) = delete;
  counted_run& operator=(const counted_run&) = delete;
  ~counted_run() { --*at; }
  int* at;
};

// An app and its world. An order is answered, then a mail is sent.
struct shop {
  bt::fake_network net{{.conditions = {.delay = 1ms}}};
  belay::io::network_override here{net};
  support::record_keeper records;
  ledger resources;
  std::size_t taken = 0;     // orders that the handler has done with
  std::size_t answered = 0;  // orders whose answer has arrived
  std::size_t mails = 0;
  int tidied = 0;
  int tidying = 0;  // never two, and none is left
  bool told_to_stop = false;
  std::optional<int> code;
  app of{support::options(), records.log};

  shop() {
    const auto db = of.manage("database", thing(resources, "database"));
    of.step("migrate", [db]() -> task<> { co_await belay::sleep_for(1s * *db); });
    of.manage("cache", thing(resources, "cache"));
    of.worker("tidy", belay::every(2s),
              [this]() -> task<> {
                const counted_run mine(tidying);
                co_await belay::sleep_for(1s);
                if (++tidied == 1) throw std::runtime_error("expected");
              },
              {.first_delay = 0s});
    of.post("/orders", [this, db](request& r) -> task<http::response> {
      co_await belay::sleep_for(10ms * *db);
      r.run_after_response("mail", [this]() -> task<> {
        co_await belay::sleep_for(1s);
        ++mails;
      });
      ++taken;
      co_return http::response::json(http::status::created, "{}");
    });
  }
  [[nodiscard]] std::size_t told(std::string_view event) const { return records.events(event).size(); }
};

shop& open_shop(stage& s) {
  shop& all = s.make<shop>();
  s.expect("no connection is left", [&all] {
    if (!all.net.nothing_left()) throw std::runtime_error(all.net.describe());
    return true;
  });
  s.expect("all resources are closed, in order",
           [&all] { return all.resources.open.empty() && all.resources.in_order; });
  s.expect("no worker is left", [&all] { return all.tidying == 0; });
  s.expect("each answer is followed by its mail, or by a record of why not", [&all] {
    const std::size_t followed =
        all.mails + all.told("background_task_failed") + all.told("background_task_cancelled");
    return all.answered <= followed && followed <= all.taken;
  });
  s.expect("undisturbed, all is answered and ends well",
           [&all](const run_end& how) { return how.injected || (all.code == 0 && all.mails == 3); });
  s.expect("told to stop, it finishes what it has taken and ends well", [&all](const run_end&) {
    return !all.told_to_stop || (all.code == 0 && all.answered == all.taken && all.mails == all.taken);
  });
  return all;
}

// Orders some times on one connection. That the network goes away is no news.
task<> order(shop& at, int times) {
  const auto how = co_await belay::as_outcome([](shop& to, int count) -> task<> {
    client one = co_await support::connect(to.of);
    for (int i = 0; i < count; ++i) {
      const support::answer got = co_await one.ask(support::post("/orders", "{}"));
      if (got.status() == 201) ++to.answered;
    }
  }(at, times));
  if (!how.failed()) co_return;
  if (how.failure().find<belay::io::network_error>() == nullptr) co_await belay::fail(how.failure());
}

// Two visitors, of whom the last one closes the shop.
bt::scenario day(void (*disturb)(shop&)) {
  return [disturb](stage& s) -> task<> {
    shop& all = open_shop(s);
    s.disturbance([&all, disturb] { disturb(all); });
    const auto visits = [](shop& to) -> task<> {
      co_await belay::all(order(to, 2), order(to, 1));
      to.of.stop("over");
    };
    co_await belay::with_group([&all, &visits](belay::group& g) -> task<> {
      g.spawn(visits, std::ref(all));
      all.code = co_await all.of.run_within();
      g.cancel();  // who still waits for it to serve
    });
  };
}

void stop(shop& all) {
  all.told_to_stop = true;
  all.of.stop("disturbed");
}
void cut(shop& all) { all.net.cut_all(); }

}  // namespace

TEST_CASE("everywhere: an app, from its start to its end, cancelled") {
  const bt::report found = bt::cancel_everywhere(day(stop));
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: an app, from its start to its end, with errors") {
  // What fails on a connection for another reason than the network goes to the failure sink, so that the others live on: that it is
  // reported would be found here. Below, the network does fail.
  const auto not_the_server = [](const bt::await_info& at) {
    const std::string_view file = at.at.file_name();
    return file.find("http/src/server") == std::string_view::npos && !support::contains(file, "fake_network");
  };
  const bt::report found = bt::fail_everywhere(day(stop), {}, {.only = not_the_server});
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: an app on a network that fails") {
  const bt::report found =
      bt::fail_everywhere(day(stop), bt::errors_of(belay::io::disconnected_error(
                                         "injected", std::make_error_code(std::errc::connection_reset))));
  CHECK_MESSAGE(found.ok(), found.text());
  const bt::report lost = bt::disturb_everywhere(day(cut));
  CHECK_MESSAGE(lost.ok(), lost.text());
}

TEST_CASE("everywhere: an app that is told to stop, at any time") {
  const bt::report found = bt::disturb_everywhere(day(stop));
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: an app in other orders") {
  const bt::report found = bt::explore(day(stop), 200, {.inject = false});
  CHECK_MESSAGE(found.ok(), found.text());
  const bt::report injected = bt::explore(day(stop), 200, {.allow_lost_errors = true});
  CHECK_MESSAGE(injected.ok(), injected.text());
}
