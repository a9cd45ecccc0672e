// SPDX-License-Identifier: Apache-2.0
// Requests with middleware and dependencies of both scopes, ended at every await: all is told how it ended, and closed.

#include <belay/core/all.hpp>
#include <belay/service/typed.hpp>
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
using service::dep;
using service::next;
using service::request;
using support::client;

namespace {

struct session {
  bool written = false;
};
struct audit {
  int lines = 0;
};

// One that is open as long as it lives.
struct counted {
  explicit counted(int& live) noexcept : at(&live) { ++*at; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --*at; }
  int* at;
};

struct bank {
  bt::fake_network net{{.conditions = {.delay = 1ms}}};
  belay::io::network_override here{net};
  support::record_keeper records;
  int sessions = 0;  // open
  int audits = 0;
  int within_middleware = 0;
  bool in_order = true;
  int begun = 0;
  int committed = 0;
  int rolled_back = 0;
  int handled = 0;  // handlers that have come to their end
  int answered = 0;
  int mails = 0;
  int reserved = 0;
  std::optional<int> code;
  app of{support::options(), records.log};

  bank() {
    of.provide<audit>(
        [this](request& r) -> managed<audit> {
          co_await belay::sleep_for(1s);
          const counted mine(audits);
          audit one;
          co_yield one;
          in_order = in_order && r.http().path == "/transfers" && r.trace().trace != http::trace_id{};
          co_await belay::sleep_for(1s);
        },
        service::scope::request);
    of.provide<session>([this](dep<audit> a) -> managed<session> {
      co_await belay::sleep_for(1s);
      const counted mine(sessions);
      session one;
      ++begun;
      const belay::exit_status how = co_yield one;
      ++(how.succeeded() ? committed : rolled_back);
      in_order = in_order && audits > 0 && one.written == (how.succeeded() || one.written);
      ++a->lines;
      co_await belay::sleep_for(1s);
    });
    of.use([this](request&, next inner) -> task<http::response> {
      const counted mine(within_middleware);
      co_await belay::sleep_for(10ms);
      http::response made = co_await inner();
      co_await belay::sleep_for(10ms);
      co_return made;
    });
    of.post("/transfers", [this](request& r, dep<session> db, dep<audit> log) -> task<service::created<int>> {
      co_await belay::sleep_for(10ms);
      r.run_after_response("mail", [this, log]() -> task<> {
        in_order = in_order && audits > 0;
        co_await belay::sleep_for(1s);
        ++log->lines;
        ++mails;
      });
      db->written = true;
      ++handled;
      co_return service::created<int>{1, {}};
    });
  }
  [[nodiscard]] std::size_t told(std::string_view event) const { return records.events(event).size(); }
};

bank& open_bank(stage& s) {
  bank& all = s.make<bank>();
  s.expect("no connection is left", [&all] {
    if (!all.net.nothing_left()) throw std::runtime_error(all.net.describe());
    return true;
  });
  s.expect("nothing is open",
           [&all] { return all.sessions == 0 && all.audits == 0 && all.within_middleware == 0; });
  s.expect("things close in reverse, and the request is there for the last of them",
           [&all] { return all.in_order; });
  s.expect("each session was told how it ended, and none committed whose handler did not come to its end",
           [&all] { return all.begun == all.committed + all.rolled_back && all.committed <= all.handled; });
  s.expect("each answer was committed", [&all] { return all.answered <= all.committed; });
  s.expect("each answer is followed by its mail, or by a record of why not", [&all] {
    return static_cast<std::size_t>(all.answered) <= static_cast<std::size_t>(all.mails) +
                                                         all.told("background_task_failed") +
                                                         all.told("background_task_cancelled");
  });
  s.expect("undisturbed, all is answered", [&all](const run_end& how) {
    return how.injected || (all.code == 0 && all.answered == 2 && all.mails == 2 && all.committed == 2);
  });
  return all;
}

// That the network goes away is no news.
task<> transfer(bank& at) {
  const auto how = co_await belay::as_outcome([](bank& to) -> task<> {
    client one = co_await support::connect(to.of);
    for (int i = 0; i != 2; ++i) {
      const support::answer got = co_await one.ask(support::post("/transfers", ""));
      if (got.status() == 201) ++to.answered;
    }
  }(at));
  if (!how.failed()) co_return;
  if (how.failure().find<belay::io::network_error>() == nullptr) co_await belay::fail(how.failure());
}

bt::scenario day(void (*disturb)(bank&)) {
  return [disturb](stage& s) -> task<> {
    bank& all = open_bank(s);
    s.disturbance([&all, disturb] { disturb(all); });
    const auto visit = [](bank& to) -> task<> {
      co_await transfer(to);
      to.of.stop("over");
    };
    co_await belay::with_group([&all, &visit](belay::group& g) -> task<> {
      g.spawn(visit, std::ref(all));
      all.code = co_await all.of.run_within();
      g.cancel();  // who still waits for it to serve
    });
  };
}

void stop(bank& all) { all.of.stop("disturbed"); }
void cut(bank& all) { all.net.cut_all(); }

}  // namespace

TEST_CASE("everywhere: requests with dependencies of both scopes, cancelled") {
  const bt::report found = bt::cancel_everywhere(day(stop));
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: requests with dependencies of both scopes, with errors") {
  const auto not_the_server = [](const bt::await_info& at) {
    const std::string_view file = at.at.file_name();
    return file.find("http/src/server") == std::string_view::npos && !support::contains(file, "fake_network");
  };
  const bt::report found = bt::fail_everywhere(day(stop), {}, {.only = not_the_server});
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: requests with dependencies of both scopes, told to stop, and cut off") {
  const bt::report found = bt::disturb_everywhere(day(stop));
  CHECK_MESSAGE(found.ok(), found.text());
  const bt::report lost = bt::disturb_everywhere(day(cut));
  CHECK_MESSAGE(lost.ok(), lost.text());
}
