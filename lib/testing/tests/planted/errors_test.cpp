// SPDX-License-Identifier: Apache-2.0
// Planted bugs: errors that are lost, swallowed, taken for success, or answered twice.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "planted.hpp"

namespace planted {
namespace {

// ---- The error of the clean-up
//
// `as_outcome` keeps an error from being thrown. Who does not look at the outcome has lost it.

struct mail_server {
  std::vector<std::string> log;
  task<> send() { co_await b::sleep_for(1s); }
  task<> quit() { co_await b::sleep_for(100ms); }
};

task<> send_then_quit_blindly(mail_server& mail) {
  co_await b::finally([&]() -> task<> { co_await mail.send(); },
                      [&]() -> task<> {
                        const b::outcome<void> quit = co_await b::as_outcome(mail.quit());  // <- found here
                      });
}

task<> send_then_quit_with_a_look(mail_server& mail) {
  co_await b::finally([&]() -> task<> { co_await mail.send(); },
                      [&]() -> task<> {
                        const b::outcome<void> quit = co_await b::as_outcome(mail.quit());
                        if (quit.failed()) mail.log.push_back("QUIT: " + quit.failure().message());
                      });
}

template <task<> (*Send)(mail_server&)>
task<> one_mail(stage& s) {
  auto& mail = s.make<mail_server>();
  co_await Send(mail);
}

constexpr bug unseen_outcome{
    .name = "unseen outcome",
    .looks = "`as_outcome` in a cleanup, and nobody looks at it",
    .broken = one_mail<send_then_quit_blindly>,
    .mended = one_mail<send_then_quit_with_a_look>,
    .with = driver::fail,
    .rule = rules::no_error_lost,
    .names = "injected",
};
TEST_CASE("planted: the outcome of a cleanup that nobody looks at") { check(unseen_outcome); }

// ---- catch (...) { }

struct editor {
  int saved = 0;
  task<> save() {
    co_await b::sleep_for(50ms);
    ++saved;
  }
};

task<> save_and_hope(editor& in) {
  try {
    co_await in.save();  // <- found here
  } catch (...) {
    // The next save will do it.
  }
}
task<> save_or_say_so(editor& in) { co_await in.save(); }

template <task<> (*Save)(editor&)>
task<> save_twice(stage& s) {
  auto& in = s.make<editor>();
  co_await Save(in);
  co_await Save(in);
}

constexpr bug swallowed_error{
    .name = "swallowed error",
    .looks = "`catch (...) {}` (with `failures_must_surface`)",
    .broken = save_twice<save_and_hope>,
    .mended = save_twice<save_or_say_so>,
    .with = driver::fail,
    .rule = rules::surfaces,
    .failures_must_surface = true,
};
TEST_CASE("planted: the error that catch (...) swallows") { check(swallowed_error); }

// ---- Zero for "I do not know"

struct bank {
  int balance = 100;
  std::optional<int> shown;
  task<int> read() {
    co_await b::sleep_for(20ms);
    co_return balance;
  }
};

task<> show_balance_or_zero(bank& at) {
  b::outcome<int> read = co_await b::as_outcome(at.read());  // <- found here
  if (read.failed()) static_cast<void>(read.failure());
  at.shown = read.succeeded() ? read.value() : 0;
}
task<> show_balance(bank& at) { at.shown = co_await at.read(); }

template <task<> (*Show)(bank&)>
task<> ask_for_the_balance(stage& s) {
  auto& at = s.make<bank>();
  s.expect("what is shown is the balance", [&] { return !at.shown || *at.shown == at.balance; });
  co_await Show(at);
}

constexpr bug zero_for_unknown{
    .name = "zero for \"I do not know\"",
    .looks = "an error is answered with a default value that looks like a real one",
    .broken = ask_for_the_balance<show_balance_or_zero>,
    .mended = ask_for_the_balance<show_balance>,
    .with = driver::fail,
    .rule = "what is shown is the balance",
};
TEST_CASE("planted: the error that is shown as a value") { check(zero_for_unknown); }

// ---- Charged again
//
// The retry goes around two steps. When the second one fails, the first one is repeated, too.

struct shop {
  int charged = 0;
  int recorded = 0;
  int refunded = 0;
  int shipped = 0;
  task<> charge() {
    co_await b::sleep_for(100ms);
    ++charged;
  }
  task<> record() {
    co_await b::sleep_for(10ms);
    ++recorded;
  }
  task<> ship() {
    co_await b::sleep_for(1s);
    ++shipped;
  }
  task<> refund() {
    co_await b::sleep_for(100ms);
    ++refunded;
  }
};

template <class Step>
task<> three_times(Step step) {
  for (int attempt = 1;; ++attempt) {
    b::outcome<void> how = co_await b::as_outcome(step());
    if (how.succeeded()) co_return;
    if (attempt == 3) co_await b::fail(how.failure());
    static_cast<void>(how.failure());
    co_await b::sleep_for(1s);
  }
}

task<> charge_and_record(shop& at) {
  co_await at.charge();
  co_await at.record();  // <- found here
}
task<> retry_the_whole(shop& at) {
  co_await three_times([&]() -> task<> { co_await charge_and_record(at); });
}
task<> retry_each_step(shop& at) {
  co_await three_times([&]() -> task<> { co_await at.charge(); });
  co_await three_times([&]() -> task<> { co_await at.record(); });
}

template <task<> (*Buy)(shop&)>
task<> one_purchase(stage& s) {
  auto& at = s.make<shop>();
  s.expect("the customer is charged once at the most", [&] { return at.charged <= 1; });
  co_await Buy(at);
}

constexpr bug charged_again{
    .name = "charged again",
    .looks = "a retry around a step that must not be repeated and one that may fail",
    .broken = one_purchase<retry_the_whole>,
    .mended = one_purchase<retry_each_step>,
    .with = driver::fail,
    .rule = "the customer is charged once at the most",
};
TEST_CASE("planted: the retry that repeats a side effect") { check(charged_again); }

// ---- Refunded twice
//
// Two people have thought of it: the cleanup of the delivery, and the handler of its error.

task<> ship_or_refund(shop& at) {
  co_await at.charge();
  co_await b::finally([&]() -> task<> { co_await at.ship(); },  // <- found here
                      [&]() -> task<> {
                        if (at.shipped == 0) co_await at.refund();
                      });
}

task<> sell_and_refund(shop& at) {
  b::failure trouble;
  try {
    co_await ship_or_refund(at);
  } catch (const b::error&) {
    trouble = b::current_failure();
  }
  if (!trouble) co_return;
  if (at.charged != 0 && at.shipped == 0) co_await at.refund();
  co_await b::fail(trouble);
}
task<> sell(shop& at) { co_await ship_or_refund(at); }

template <task<> (*Sell)(shop&)>
task<> one_sale(stage& s) {
  auto& at = s.make<shop>();
  s.expect("nobody gets more back than was paid", [&] { return at.refunded <= at.charged; });
  co_await Sell(at);
}

constexpr bug refunded_twice{
    .name = "refunded twice",
    .looks = "a cleanup and the handler of the same error both make up for it",
    .broken = one_sale<sell_and_refund>,
    .mended = one_sale<sell>,
    .with = driver::fail,
    .rule = "nobody gets more back than was paid",
};
TEST_CASE("planted: the refund that two parts of the code make") { check(refunded_twice); }

}  // namespace

std::span<const bug* const> errors() {
  static constexpr std::array all{&unseen_outcome, &swallowed_error, &zero_for_unknown, &charged_again,
                                  &refunded_twice};
  return all;
}

}  // namespace planted
