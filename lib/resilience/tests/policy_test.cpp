// SPDX-License-Identifier: Apache-2.0
#include <belay/core/channel.hpp>
#include <belay/resilience/cache.hpp>
#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/error_filter.hpp>
#include <belay/resilience/policy.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <limits>
#include <new>
#include <system_error>
#include <thread>

#include "support.hpp"

namespace {

namespace b = belay;
namespace t = belay::testing;
using namespace core_tests;

b::failure failure_with(auto error) { return b::failure::of(std::make_exception_ptr(std::move(error))); }

b::error of_kind(b::error_kind kind) { return b::error(kind, "", "it is so"); }

bool matches(const b::error_filter& filter, auto error) {
  const b::failure what = failure_with(std::move(error));
  what.observe();
  return filter.matches(what);
}

TEST_CASE("error_filter: transient errors are those that may be gone the next time") {
  const b::error_filter transient = b::transient_errors();
  CHECK(matches(transient, of_kind(b::error_kind::unavailable)));
  CHECK(matches(transient, of_kind(b::error_kind::overloaded)));
  CHECK(matches(transient, b::timeout_error("late")));
  for (const b::error_kind kind :
       {b::error_kind::invalid, b::error_kind::not_found, b::error_kind::conflict, b::error_kind::denied,
        b::error_kind::unauthenticated, b::error_kind::child_cancelled, b::error_kind::data_format,
        b::error_kind::internal}) {
    CHECK_FALSE(matches(transient, of_kind(kind)));
  }
}

TEST_CASE("error_filter: programming errors and foreign types are not transient [row 354]") {
  const b::error_filter transient = b::transient_errors();
  CHECK_FALSE(matches(transient, std::bad_alloc()));
  CHECK_FALSE(matches(transient, std::logic_error("a bug")));
  CHECK_FALSE(matches(transient, b::misuse_error("a bug")));
  CHECK_FALSE(matches(transient, boom("who knows")));
  CHECK_FALSE(matches(transient, 7));
}

TEST_CASE("error_filter: a rejection is transient only if it knows when to ask again") {
  using b::error_kind;
  CHECK_FALSE(matches(b::transient_errors(), b::rejected_error(error_kind::unavailable, "open", "open")));
  CHECK(matches(b::transient_errors(), b::rejected_error(error_kind::unavailable, "open", "open", 5s)));
}

TEST_CASE("error_filter: a failure matches only if all that is attached to it matches, too [row 353]") {
  b::failure both = failure_with(boom("a"));
  both.observe();
  both.attach(failure_with(boom("b")));
  CHECK(b::types<boom>().matches(both));
  b::failure third = failure_with(boom("c"));
  third.attach(failure_with(std::logic_error("deep")));
  both.attach(std::move(third));
  CHECK_FALSE(b::types<boom>().matches(both));
  CHECK((b::types<boom>() || b::types<std::logic_error>()).matches(both));
  CHECK_FALSE((!b::types<boom>()).matches(both));
  CHECK((!b::types<int>()).matches(both));
  CHECK((b::types<std::exception>() && b::any_error()).matches(both));
  CHECK_FALSE(b::no_error().matches(both));
  for (const b::failure& one : both.flatten()) one.observe();
}

TEST_CASE("error_filter: kinds, and no failure at all") {
  CHECK(matches(b::kinds({b::error_kind::conflict}), of_kind(b::error_kind::conflict)));
  CHECK_FALSE(matches(b::kinds({b::error_kind::conflict}), of_kind(b::error_kind::denied)));
  CHECK_FALSE(matches(b::kinds({b::error_kind::conflict}), boom("foreign")));
  CHECK(matches(b::kinds({b::error_kind::timed_out}),
                std::system_error(std::make_error_code(std::errc::timed_out))));
  CHECK_FALSE(b::any_error().matches(b::failure()));
  CHECK_THROWS_WITH_AS(static_cast<void>(b::kinds({})),
                       "kinds: the list is empty, so nothing would ever match", b::misuse_error);
  CHECK_THROWS_AS(b::error_filter(std::function<bool(const b::failure&)>()), b::misuse_error);
}

TEST_CASE("policy_listener: what it throws goes to the sink, and the policy goes on") {
  b::testing::test_loop loop;
  const auto program = []() -> b::task<> {
    const b::policy_listener broken([](const b::policy_event&) { throw boom("the listener"); });
    broken.tell({.action = b::policy_action::retrying, .kind = b::policy_kind::retry, .policy = "x"});
    co_return;
  };
  loop.run(program());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("the listener") != std::string::npos);
}

TEST_CASE("policy_event: no event is an error in itself [row 352]") {
  CHECK(b::severity_of(b::policy_action::retrying) == b::policy_severity::warning);
  CHECK(b::severity_of(b::policy_action::gave_up) == b::policy_severity::warning);
  CHECK(b::severity_of(b::policy_action::recovered) == b::policy_severity::info);
}

TEST_CASE("options in words") {
  using b::detail::duration_text;
  CHECK(duration_text(2s) == "2 s");
  CHECK(duration_text(1500ms) == "1500 ms");
  CHECK(duration_text(3us) == "3 us");
  CHECK(duration_text(1ns) == "1 ns");
  CHECK(duration_text(0s) == "0 s");
  CHECK(duration_text(-20ms) == "-20 ms");
  CHECK(duration_text(b::duration::max()) == "no limit");
  CHECK(b::detail::percent_text(0.1) == "10 %");
  CHECK(b::detail::percent_text(0.125) == "12.5 %");
  CHECK_THROWS_WITH_AS(
      b::detail::require_option(false, "x", "ratio", std::numeric_limits<double>::quiet_NaN(), "0 to 1"),
      "x: ratio is nan; it must be 0 to 1", b::misuse_error);
}

TEST_CASE("policy_listener: a listener that looks at an error has not handled it") {
  b::testing::test_loop loop;
  trail log;
  const b::policy_listener logs = [&log](const b::policy_event& e) {
    if (e.what) log.push_back(b::describe(e.what));
  };
  const b::retry again{{.max_attempts = 1, .listener = logs}};
  const auto op = []() -> b::task<int> {
    b::failure what =
        b::failure::of(std::make_exception_ptr(b::error(b::error_kind::unavailable, "", "first")));
    what.attach(b::failure::of(std::make_exception_ptr(b::error(b::error_kind::unavailable, "", "second"))));
    co_await b::fail(std::move(what));
    co_return 1;
  };
  const auto nobody_looks = [&]() -> b::task<> {
    const b::outcome<int> how = co_await b::as_outcome(again(op));
    CHECK(how.failed());
  };
  loop.run(nobody_looks());
  CHECK(log.size() == 1);
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("first") != std::string::npos);
  loop.forget_lost_errors();
  const auto looks_at_the_first = [&]() -> b::task<> {
    const b::outcome<int> how = co_await b::as_outcome(again(op));
    CHECK(how.failure().message() == "first");
  };
  loop.run(looks_at_the_first());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("second") != std::string::npos);
  loop.forget_lost_errors();
}

TEST_CASE("policy_listener: made with an empty function it is empty") {
  const std::function<void(const b::policy_event&)> none;
  CHECK_FALSE(b::policy_listener(none));
  CHECK_FALSE(b::policy_listener());
  CHECK(b::policy_listener([](const b::policy_event&) {}));
}

}  // namespace

TEST_CASE(
    "policies of one loop: what another thread's loop does with them is a misuse, and changes nothing") {
  const b::retry again{{.max_attempts = 2, .delay = b::backoff::none()}};
  const b::retry_budget budget;
  b::cache<int, int> values([](const int& key) -> b::task<int> { co_return key; });
  const auto one = []() -> b::task<int> { co_return 1; };
  const auto use = [&]() -> b::task<> {
    CHECK(co_await again(one) == 1);
    CHECK(co_await b::retry{{.budget = budget}}(one) == 1);
    CHECK(co_await values.call(7) == 7);
  };
  t::test_loop here;
  here.run(use());
  std::thread([&] {
    t::test_loop there;
    CHECK_THROWS_WITH_AS(there.run(again(one)),
                         "retry: used by another thread than before; each loop needs one of its own",
                         b::misuse_error);
    CHECK_THROWS_AS(there.run(b::retry{{.budget = budget}}(one)), b::misuse_error);
    CHECK_THROWS_AS(there.run(values.call(7)), b::misuse_error);
  }).join();
  CHECK(again.statistics().calls == 1);
  CHECK(budget.statistics().calls == 1);
  CHECK(values.statistics().loads == 1);
}
