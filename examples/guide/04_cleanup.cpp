// SPDX-License-Identifier: Apache-2.0
// Cleanup that may await: managed, with, use, finally. The guide's chapter 4.
//   ./04_cleanup     exit: 0
#include <belay/core/finally.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

struct connection {
  std::string name;
  belay::task<> execute(std::string statement) {
    co_await belay::sleep_for(1ms);
    std::printf("  %s: %s\n", name.c_str(), statement.c_str());
  }
};

// [snippet managed]
belay::managed<connection> transaction(std::string name) {
  connection c{name};
  co_await c.execute("begin");
  const belay::exit_status how = co_yield c;  // the block runs here
  co_await c.execute(how.succeeded() ? "commit" : "rollback");
}
// [end]

// [snippet with]
belay::task<int> transfer(int amount) {
  co_return co_await belay::with(transaction("bank"), [&](connection& c) -> belay::task<int> {
    co_await c.execute("update");
    if (amount > 100)
      throw belay::error(belay::error_kind::conflict, "insufficient_funds", "too little money");
    co_return amount;
  });
}
// [end]

// [snippet use]
belay::task<> audit() {
  connection& books = co_await belay::use(transaction("books"));
  connection& log = co_await belay::use(transaction("log"));
  co_await books.execute("select");
  co_await log.execute("insert");
}  // closed here: first the log, then the books
// [end]

// [snippet finally]
belay::task<> with_a_lock_file() {
  co_await belay::finally(
      []() -> belay::task<> {
        std::puts("  working");
        co_await belay::sleep_for(1h);
        std::puts("  never printed");
      },
      []() -> belay::task<> {
        co_await belay::sleep_for(1ms);
        std::puts("  the lock file is removed");
      });
}
// [end]

belay::task<> program() {
  std::puts("success:");
  co_await transfer(10);
  std::puts("error:");
  const belay::outcome<int> refused = co_await belay::as_outcome(transfer(1000));
  std::printf("  and the caller sees: %s\n", refused.failure().message().c_str());
  std::puts("use:");
  co_await audit();
  std::puts("cancelled:");
  co_await belay::move_on_after(20ms, with_a_lock_file());
}

int main() { return belay::run(program()); }
