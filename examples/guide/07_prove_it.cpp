// SPDX-License-Identifier: Apache-2.0
// Ending the world at every await: a bug that no ordinary test shows, found and mended. The guide's chapter 7.
//   ./07_prove_it     exit: 0
#include <belay/core/event.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/sleep.hpp>
#include <belay/testing/everywhere.hpp>

#include <cstdio>
#include <deque>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using belay::task;
using belay::testing::stage;

// [snippet outbox]
struct outbox {
  std::deque<std::string> waiting;
  std::vector<std::string> sent;
  belay::event arrived{"mail"};

  void put(std::string mail) {
    waiting.push_back(std::move(mail));
    arrived.set();
  }
  task<std::string> take() {
    while (waiting.empty()) {
      arrived.reset();
      co_await arrived.wait();
    }
    std::string mail = std::move(waiting.front());
    waiting.pop_front();
    co_return mail;
  }
};

task<> transmit(const std::string& /*mail*/) { co_await belay::sleep_for(20ms); }

task<> send_next(outbox& box, belay::semaphore& line) {
  const std::string mail = co_await box.take();
  const belay::permit mine = co_await line.acquire();
  co_await transmit(mail);
  box.sent.push_back(mail);
}
// [end]

// [snippet scenario]
task<> one_mail(stage& s) {
  auto& box = s.make<outbox>();
  auto& line = s.make<belay::semaphore>(1u, "line");
  s.expect("a mail is sent, or waits to be sent", [&] { return box.sent.size() + box.waiting.size() == 1; });
  box.put("to Ada");
  co_await send_next(box, line);
}
// [end]

// [snippet mended]
belay::managed<std::string> taken(outbox& box) {
  std::string mail = co_await box.take();
  const belay::exit_status how = co_yield mail;
  if (how.succeeded()) {
    box.sent.push_back(mail);
  } else {
    box.waiting.push_front(mail);
    box.arrived.set();
  }
}

task<> send_next_or_keep(outbox& box, belay::semaphore& line) {
  co_await belay::with(taken(box), [&line](std::string& mail) -> task<> {
    const belay::permit mine = co_await line.acquire();
    co_await transmit(mail);
  });
}
// [end]

// [snippet mended_scenario]
task<> one_mail_mended(stage& s) {
  auto& box = s.make<outbox>();
  auto& line = s.make<belay::semaphore>(1u, "line");
  s.expect("a mail is sent, or waits to be sent", [&] { return box.sent.size() + box.waiting.size() == 1; });
  // What must still work after each of the runs, undisturbed:
  s.afterwards([&]() -> task<> {
    if (box.waiting.empty()) box.put("to Bob");
    co_await send_next_or_keep(box, line);
  });
  box.put("to Ada");
  co_await send_next_or_keep(box, line);
}
// [end]

namespace {

// As `report.text()`, with this program's name instead of its path.
void print(const belay::testing::report& found) {
  std::string text = found.text();
  for (std::size_t at = 0; (at = text.find("BELAY_REPLAY='", at)) != std::string::npos;) {
    at = text.find("' ", at) + 2;
    text.replace(at, text.find('\n', at) - at, "./07_prove_it");
  }
  std::fputs(text.c_str(), stdout);
}

}  // namespace

int main() {
  // [snippet drive]
  print(belay::testing::everywhere(one_mail, {.name = "mail"}));
  print(belay::testing::everywhere(one_mail_mended, {.name = "mended mail"}));
  // [end]
  // [snippet explore]
  print(belay::testing::explore(one_mail_mended, 1000, {.name = "mended mail, in 1000 orders"}));
  // [end]
}
