// SPDX-License-Identifier: Apache-2.0
// Quotes of an upstream on a network in memory: whatever await is hit, the answer is true, nothing is left, and who was cancelled is not
// counted.

#include "quotes.hpp"

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/http/server.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/fake_network.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bank.hpp"
#include "support/proof.hpp"

namespace bt = belay::testing;
namespace http = belay::http;
namespace io = belay::io;
using namespace std::chrono_literals;
using belay::task;
using bt::stage;

namespace {

const io::endpoint address{"127.0.0.1", 9090};

enum class mood {
  good,
  busy,      // 503
  nonsense,  // a quote without a price: counted by the breaker, not asked again
  other,     // for another symbol
  unknown,   // 404
  slow,      // in good time for nobody
};

// What a caller was told.
struct told {
  std::string code;  // of the error; or "fresh", "stale"
  bool is_true = false;
};

// The upstream, whose price changes with each request, and who asks it.
class market {
 public:
  market() { build(); }

  bt::fake_network net{{.conditions = {.delay = 1ms}}};
  io::network_override here{net};
  mood how = mood::good;
  http::client web{{.connections_per_host = 1, .wait_timeout = 1s, .response_timeout = 1s}};
  std::size_t opened = 0;  // times that the breaker did
  accounts::quotes source{web,
                          {.upstream = http::url::parse("http://127.0.0.1:9090/v1/quotes"),
                           .listener = [this](const belay::policy_event& event) { note(event); }}};
  std::vector<told> answers;
  std::size_t told_before = 0;

  // Until `drain`; then it can be served again.
  [[nodiscard]] task<> serve() { co_await site_->serve(io::tcp_listener::bind(address)); }
  void drain() { site_->drain(); }
  void build() {
    site_.emplace([this](http::exchange& of) -> task<http::response> { co_return co_await answer(of); });
  }

  // A quote, or why there is none.
  [[nodiscard]] task<> ask() {
    const std::int64_t price_before = price_;
    const std::int64_t known_before = last_told_;
    bool replaced = false;
    ++asked_;
    try {
      const accounts::quote got =
          co_await source.get("ABC", trace(), [&replaced](const belay::failure&) { replaced = true; });
      const bool is_true =
          got.symbol == "ABC" && got.price <= price_ && got.stale == replaced &&
          (got.stale ? got.price > first_price && got.price >= known_before : got.price > price_before);
      answers.push_back({got.stale ? "stale" : "fresh", is_true});
      last_told_ = std::max(last_told_, got.price);
    } catch (const accounts::quotes_error& why) {
      const bool not_found = why.code() == "quote_not_found";
      answers.push_back({std::string(why.code()), how == mood::unknown || (!not_found && known_before == 0)});
    }
  }

  // Who asked and was not answered has been cancelled, or had no memory.
  [[nodiscard]] bool all_answered() const { return answers.size() == asked_; }
  // All but those who asked before.
  [[nodiscard]] bool all_answered(std::string_view code) const {
    return all_answered() && std::all_of(answers.begin() + static_cast<std::ptrdiff_t>(told_before),
                                         answers.end(), [&](const told& one) { return one.code == code; });
  }
  // Asks once more, undisturbed.
  [[nodiscard]] task<std::string> answer_of(mood now) {
    how = now;
    co_await ask();
    co_return answers.back().code;
  }

 private:
  static http::trace_context trace() {
    return http::start_trace([] { return std::uint64_t{1}; });
  }

  void note(const belay::policy_event& event) {
    if (event.action == belay::policy_action::state_changed && event.detail == "open") ++opened;
  }

  task<http::response> answer(http::exchange& of) {
    if (of.request.path != "/v1/quotes/ABC") throw std::runtime_error("asked for " + of.request.path);
    const auto quoted = [](const char* symbol, std::int64_t price) {
      return http::response::json(http::status::ok, R"({"symbol":")" + std::string(symbol) + R"(","price":)" +
                                                        std::to_string(price) + "}");
    };
    switch (how) {
      case mood::good: co_return quoted("ABC", ++price_);
      case mood::busy: co_return http::response::text(http::status::service_unavailable, "busy");
      case mood::nonsense: co_return http::response::json(http::status::ok, R"({"symbol":"ABC"})");
      case mood::other: co_return quoted("ABD", 7);
      case mood::unknown: co_return http::response::text(http::status::not_found, "no ABC");
      case mood::slow: co_await belay::sleep_for(20s);
    }
    co_return quoted("ABC", 7);
  }

  static constexpr std::int64_t first_price = 100;
  std::int64_t price_ = first_price;  // the newest of the upstream
  std::int64_t last_told_ = 0;        // the newest; 0: none
  std::size_t asked_ = 0;
  std::optional<http::server> site_;
};

// Calls that are hit, and what happens before.
struct story {
  const char* name;
  mood how = mood::good;
  const char* undisturbed = "fresh";  // what all are told then
  unsigned callers = 1;               // at the same time
  task<> (*before)(market&) = nullptr;
  task<> (*afterwards)(market&) = nullptr;
  void (*outside)(market&) = nullptr;
};

task<> serve_undisturbed(stage& s, market& at) { co_await s.undisturbed(at.serve()); }

bt::scenario told_in(const story& what) {
  return [&what](stage& s) -> task<> {
    market& at = s.make<market>();
    s.disturbance([&what, &at] {
      if (what.outside != nullptr) what.outside(at);
    });
    // [snippet rules]
    s.expect("whoever is answered is told the truth", [&at] {
      return std::all_of(at.answers.begin(), at.answers.end(), [](const told& one) { return one.is_true; });
    });
    s.expect("an error is a quotes_error, except for want of memory", [](const bt::run_end& end) {
      return !end.failure || end.failure.find<std::bad_alloc>() != nullptr;
    });
    // [end]
    s.expect("no request is under way, and no connection in use", [&at] {
      const http::client_statistics now = at.web.statistics();
      return now.active == 0 && now.connections == now.idle;
    });
    s.expect("undisturbed, all are told what is expected",
             [&](const bt::run_end& end) { return end.injected || at.all_answered(what.undisturbed); });
    s.afterwards([&what, &at]() -> task<> {
      at.net.set({.delay = 1ms});
      at.build();
      co_await belay::with_group([&](belay::group& beside) -> task<> {
        beside.spawn(&market::serve, &at);
        if (what.afterwards != nullptr) co_await what.afterwards(at);
        co_await belay::sleep_for(2s);  // an open breaker lets a probe through by then
        const std::string code = co_await at.answer_of(mood::good);
        if (code != "fresh") throw std::runtime_error("told afterwards: " + code);
        at.web.close();
        at.drain();
      });
      if (!at.net.nothing_left()) throw std::runtime_error(at.net.describe());
    });
    co_await belay::with_group([&](belay::group& beside) -> task<> {
      beside.spawn(&serve_undisturbed, std::ref(s), std::ref(at));
      if (what.before != nullptr) co_await s.undisturbed(what.before(at));
      at.how = what.how;
      at.told_before = at.answers.size();
      if (what.callers == 1) {
        co_await at.ask();
      } else {
        co_await belay::with_group([&](belay::group& callers) -> task<> {
          for (unsigned i = 0; i < what.callers; ++i) callers.spawn(&market::ask, &at);
          co_return;
        });
      }
      at.drain();
    });
  };
}

// What is hit is what a call does, not who calls.
bool is_of_the_call(const bt::await_info& at) {
  return !std::string_view(at.at.file_name()).ends_with("proof/quotes_test.cpp");
}

std::vector<std::exception_ptr> errors() {
  return bt::errors_of(bt::injected_error(),
                       io::disconnected_error("injected", std::make_error_code(std::errc::connection_reset)),
                       std::bad_alloc());
}

void lose(market& at) { at.net.cut_all(); }
void go_silent(market& at) { at.net.cut_all(bt::loss::silence); }

void prove(story what) {
  const auto named = [&what](const char* how) {
    return bt::everywhere_options{.name = std::string(what.name) + ", " + how, .only = is_of_the_call};
  };
  proof::check(bt::cancel_everywhere(told_in(what), named("cancelled")));
  proof::check(bt::fail_everywhere(told_in(what), errors(), named("failed")));
  what.outside = lose;
  proof::check(bt::disturb_everywhere(told_in(what), named("connections lost")));
  what.outside = go_silent;
  proof::check(bt::disturb_everywhere(told_in(what), named("silence")));
}

// In many orders of the ready tasks.
void explore(const story& what) {
  proof::check(bt::explore(
      told_in(what), 200,
      {.name = std::string(what.name) + ", in many orders", .errors = bt::errors_of(std::bad_alloc())}));
}

// The policies' limits do not pass: then a call ends otherwise than by its cancellation only if it had its answer.
void prove_cancelled(const story& what) {
  proof::check(bt::cancel_everywhere(
      told_in(what),
      {.name = std::string(what.name) + ", cancelled", .limits = false, .only = is_of_the_call}));
}

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

task<> ask_once(market& at) { co_await at.ask(); }

task<> fail_often(market& at, unsigned times) {
  for (unsigned i = 0; i < times; ++i) static_cast<void>(co_await at.answer_of(mood::nonsense));
}
// One failure is missing, and the breaker opens.
task<> fail_four_times(market& at) {
  co_await fail_often(at, 4);
  require(at.opened == 0, "opened too early");
}
task<> let_it_open(market& at) {
  co_await fail_often(at, 5);
  require(at.opened == 1, "not opened");
}
task<> wait_for_the_probe(market& at) {
  co_await let_it_open(at);
  co_await belay::sleep_for(2s);
}

// The bank with quotes, as the program puts it together.
void bank_with_quotes(belay::service::app& app, belay::managed<accounts::store> storage) {
  accounts::add_bank(app, std::move(storage),
                     belay::telemetry::logger(std::make_shared<belay::telemetry::memory_sink>()));
  accounts::add_quotes(app, {.upstream = http::url::parse("http://127.0.0.1:9090/v1/quotes")});
}

task<> quote_all(proof::world&) {
  http::server site([](http::exchange&) -> task<http::response> {
    co_return http::response::json(http::status::ok, R"({"symbol":"ABC","price":12345})");
  });
  co_await site.serve(io::tcp_listener::bind(address));
}

proof::exchange get_quote(const char* name) {
  return {.name = name,
          .requests = {proof::get("/quotes/ABC", "Belay-Deadline-Ms: 250\r\n")},
          .rules =
              [](stage& s, proof::world& bank) {
                proof::changes_nothing()(s, bank);
                s.expect("the quote is that of the upstream", [&bank] {
                  if (bank.answers().empty() || !bank.answers()[0]) return true;
                  const proof::answer& got = *bank.answers()[0];
                  return got.status != 200 || got.body == R"({"symbol":"ABC","price":12345,"stale":false})";
                });
              },
          .put_together = bank_with_quotes,
          .beside = quote_all};
}

}  // namespace

TEST_CASE("a quote: whatever await is hit, it is true, and nothing is left") {
  prove({.name = "the first quote"});
  prove({.name = "a later quote", .before = ask_once});
  prove({.name = "three at once", .callers = 3});
  explore({.name = "three at once", .callers = 3});
}

TEST_CASE(
    "a quote of an upstream that fails: whatever await is hit, the last good one, or an error of ours") {
  prove({.name = "busy", .how = mood::busy, .undisturbed = "bad_upstream"});
  prove({.name = "nonsense", .how = mood::nonsense, .undisturbed = "bad_upstream"});
  prove({.name = "another symbol", .how = mood::other, .undisturbed = "bad_upstream"});
  prove({.name = "unknown", .how = mood::unknown, .undisturbed = "quote_not_found"});
  prove({.name = "too slow", .how = mood::slow, .undisturbed = "upstream_timeout"});

  prove({.name = "busy, but known", .how = mood::busy, .undisturbed = "stale", .before = ask_once});
  prove({.name = "nonsense, but known", .how = mood::nonsense, .undisturbed = "stale", .before = ask_once});
  prove({.name = "gone", .how = mood::unknown, .undisturbed = "quote_not_found", .before = ask_once});
  prove({.name = "too slow, but known", .how = mood::slow, .undisturbed = "stale", .before = ask_once});
}

TEST_CASE("a quote behind the breaker: whatever await is hit, it is true, and the breaker closes again") {
  prove({.name = "while it is open", .undisturbed = "quotes_unavailable", .before = let_it_open});
  prove({.name = "the probe", .before = wait_for_the_probe});
}

TEST_CASE("a cancelled call is nothing to the breaker: neither a failure nor a success") {
  // [snippet cancelled]
  prove_cancelled(
      {.name = "between failures", .before = fail_four_times, .afterwards = [](market& at) -> task<> {
         require(at.opened == 0, "a cancelled call was counted as a failure");
         const bool cancelled = !at.all_answered();
         co_await fail_often(at, 1);
         require(at.opened == (cancelled ? 1U : 0U), "a cancelled call was counted as a success");
       }});
  // [end]
  prove_cancelled(
      {.name = "as the probe", .before = wait_for_the_probe, .afterwards = [](market& at) -> task<> {
         const std::string code = co_await at.answer_of(mood::good);
         require(at.opened == 1 && code == "fresh", "the place of the probe is taken");
       }});
}

TEST_CASE("GET /quotes: whatever await is hit, the answer is true, and nothing is left") {
  proof::prove(get_quote("GET /quotes/ABC"));
}

TEST_CASE("GET /quotes without anybody to be asked: whatever await is hit, nothing is left") {
  proof::exchange in_vain = get_quote("GET /quotes/ABC in vain");
  in_vain.status = 502;
  in_vain.beside = {};
  proof::check(proof::cancel_everywhere(in_vain));
  proof::check(proof::fail_everywhere(in_vain));
}
