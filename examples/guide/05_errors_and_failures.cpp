// SPDX-License-Identifier: Apache-2.0
// Errors and the failures that tell their story. The guide's chapter 5.
//   ./05_errors_and_failures     exit: 0
#include <belay/core/all.hpp>
#include <belay/core/error.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>

#include <cstdio>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

// [snippet types]
struct user_not_found : belay::error {
  explicit user_not_found(int id, std::source_location where = std::source_location::current())
      : error(belay::error_kind::not_found, "user_not_found", "there is no user " + std::to_string(id),
              where) {}
};
// [end]

// [snippet cause]
belay::task<std::string> read_row(int id) {
  co_await belay::sleep_for(1ms);
  throw std::out_of_range("no row " + std::to_string(id));
}

belay::task<std::string> load_user(int id) {
  try {
    co_return co_await read_row(id);
  } catch (const std::out_of_range&) {
    throw user_not_found(id);  // remembers what it replaces
  }
}
// [end]

// [snippet attached]
belay::task<> print_all() { co_await belay::sleep_for(1h); }
belay::task<> close_printer() {
  co_await belay::sleep_for(1ms);
  throw std::runtime_error("the printer does not answer");
}

belay::task<> both() { co_await belay::all(load_user(7), belay::finally(print_all, close_printer)); }
// [end]

// [snippet catch]
belay::task<> look() {
  try {
    co_await both();
  } catch (const user_not_found& e) {  // its own type, whatever else failed
    const belay::failure what = belay::current_failure();
    std::printf("%s: %s, %zu more\n\n", std::string(e.code()).c_str(), e.what(), what.attached().size());
    std::puts(belay::describe(what).c_str());
  }
}
// [end]

// [snippet outcome]
belay::task<> without_a_throw() {
  const belay::outcome<std::string> user = co_await belay::as_outcome(load_user(8));
  if (user.failed()) std::printf("\noutcome: %s\n", user.failure().message().c_str());
}
// [end]

// [snippet or_fail]
belay::task<std::string> passes_on(int id) {
  std::string row =
      co_await belay::or_fail(read_row(id));  // an error ends this task too, without a rethrow here
  if (row.empty()) co_await belay::fail(user_not_found(id));
  co_return row;
}
// [end]

// [snippet lost]
belay::task<> nobody_looks() {
  co_await belay::with_group([](belay::group& g) -> belay::task<> {
    g.spawn(load_user, 9);
    g.spawn(load_user, 10);
    co_return;
  });
}
// [end]

// [snippet sink]
int main() {
  belay::run_options options;
  options.loop.on_lost_failure = [](const belay::failure& what) {
    std::printf("lost: %s\n", what.message().c_str());
  };
  return belay::run(
      []() -> belay::task<> {
        co_await look();
        co_await without_a_throw();
        try {
          co_await passes_on(8);
        } catch (const std::out_of_range& e) {
          std::printf("or_fail: %s\n", e.what());
        }
        try {
          co_await nobody_looks();
        } catch (const user_not_found& e) {
          std::printf("caught: %s\n", e.what());  // but the attached failure is not looked at
        }
      }(),
      std::move(options));
}
// [end]
