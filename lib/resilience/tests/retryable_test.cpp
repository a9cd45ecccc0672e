// SPDX-License-Identifier: Apache-2.0
// One answer to "is it worth another try?": that of the errors layer, for policies as well; and delays that the loop's seed decides.
#include <belay/errors/classify.hpp>
#include <belay/errors/error_type.hpp>
#include <belay/resilience/error_filter.hpp>
#include <belay/resilience/retry.hpp>
#include <doctest/doctest.h>

#include <limits>
#include <new>
#include <system_error>

#include "retry_support.hpp"

namespace {

namespace t = belay::testing;
using namespace resilience_tests;

// A type of a library that knows nothing of Belay.
struct foreign {
  int status = 0;
};

struct flaky_foreign {
  int runs = 0;
  int failures = 2;
  int status = 503;
  b::task<int> run() {
    if (++runs <= failures) throw foreign{status};
    co_return runs;
  }
};

template <class E>
bool transient(E error) {
  const b::failure what = b::failure::of(std::make_exception_ptr(std::move(error)));
  what.observe();
  return b::transient_errors().matches(what);
}

TEST_CASE("transient_errors: what is_retryable says, also of exceptions of the system [row 354]") {
  CHECK(transient(std::system_error(std::make_error_code(std::errc::connection_refused))));
  CHECK(transient(std::system_error(std::make_error_code(std::errc::timed_out))));
  CHECK_FALSE(transient(std::system_error(std::make_error_code(std::errc::permission_denied))));
  CHECK_FALSE(transient(std::bad_alloc()));
  CHECK_FALSE(transient(std::bad_array_new_length()));
  CHECK_FALSE(transient(foreign{503}));
}

TEST_CASE("transient_errors: the classifier in effect is asked, with its time to wait") {
  b::error_classifier known;
  known.add<foreign>([](const foreign& e) -> std::optional<b::classification> {
    if (e.status != 503) return {};
    b::classification as = b::classification::of(b::error_kind::unavailable, "upstream_503");
    as.retry_after = 5s;
    return as;
  });
  const b::retry again{steady(3)};
  {
    t::test_loop loop;
    flaky_foreign op;
    CHECK(loop.run(b::classified_by(known, again(&flaky_foreign::run, std::ref(op)))) == 3);
    CHECK(loop.elapsed() == 10s);
  }
  {
    t::test_loop loop;
    flaky_foreign op{.status = 404};
    CHECK_THROWS_AS(loop.run(b::classified_by(known, again(&flaky_foreign::run, std::ref(op)))), foreign);
    CHECK(op.runs == 1);
  }
  {
    t::test_loop loop;
    flaky_foreign op;
    CHECK_THROWS_AS(loop.run(again(&flaky_foreign::run, std::ref(op))), foreign);
    CHECK(op.runs == 1);
  }
}

TEST_CASE("retry: any error that asks to be left alone gets that, not only rejections") {
  t::test_loop loop;
  int runs = 0;
  const auto op = [&runs]() -> b::task<int> {
    if (++runs == 1) throw b::with_retry_after(unavailable("busy"), 7s);
    co_return runs;
  };
  CHECK(loop.run(b::retry{steady(3)}(op)) == 2);
  CHECK(loop.elapsed() == 7s);
}

TEST_CASE("rejected_error: its time is the one that every error can have") {
  const b::rejected_error refused(b::error_kind::overloaded, "full", "full", 3s);
  const b::error& as_any = refused;
  CHECK(as_any.retry_after() == std::optional<b::duration>(3s));
  CHECK_FALSE(b::rejected_error(b::error_kind::overloaded, "full", "full").retry_after());
  // What a store or a clock gives may lie in the past.
  CHECK(b::rejected_error(b::error_kind::overloaded, "full", "full", -1ns).retry_after() ==
        std::optional<b::duration>(0s));
}

std::vector<b::duration> delays_of_two_clients() {
  std::vector<b::duration> waited;
  t::test_loop loop;
  loop.run([](std::vector<b::duration>& told) -> b::task<> {
    for (int client = 0; client < 2; ++client) {
      flaky op{.failures = 3};
      b::retry_options options{.max_attempts = 4, .delay = b::backoff::constant(1s)};
      options.listener = [&told](const b::policy_event& e) {
        if (e.action == b::policy_action::retrying) told.push_back(e.length);
      };
      co_await b::retry{options}(&flaky::run, std::ref(op));
    }
  }(waited));
  return waited;
}

TEST_CASE("retry: without a seed two clients wait differently, and the loop's seed decides how [row 342]") {
  const std::vector<b::duration> waited = delays_of_two_clients();
  REQUIRE(waited.size() == 6);
  CHECK(std::vector(waited.begin(), waited.begin() + 3) != std::vector(waited.begin() + 3, waited.end()));
  CHECK(delays_of_two_clients() == waited);
}

TEST_CASE(
    "policies: durations of any unit as arguments; what is no number is refused, and what is below zero") {
  using seconds = std::chrono::duration<double>;
  const seconds nothing(std::numeric_limits<double>::quiet_NaN());
  CHECK(b::backoff::constant(seconds(0.25), b::jitter::none).greatest(1) == 250ms);
  CHECK(b::backoff::linear(std::chrono::minutes(1), std::chrono::hours::max()).greatest(2) == 2min);
  CHECK_THROWS_AS(static_cast<void>(b::backoff::constant(nothing)), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::backoff::linear(1s, nothing)), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::backoff::exponential(nothing, 1s)), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::backoff::decorrelated(seconds(-0.5), 1s)), b::misuse_error);
  b::error late = unavailable("late");
  late.set_retry_after(seconds(1.5));
  CHECK_THROWS_AS(late.set_retry_after(nothing), b::misuse_error);
  CHECK_THROWS_AS(late.set_retry_after(-1ns), b::misuse_error);
  CHECK(late.retry_after() == std::optional<b::duration>(1500ms));
}

}  // namespace
