// SPDX-License-Identifier: Apache-2.0
// What exceptions of all sorts mean.

#include <belay/core/loop.hpp>
#include <belay/core/single_flight.hpp>
#include <belay/errors/boost_system.hpp>
#include <belay/errors/classify.hpp>
#include <belay/errors/native_codes.hpp>
#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <cerrno>
#include <filesystem>
#include <future>
#include <new>
#include <system_error>

#include "support.hpp"

using namespace errors_tests;
using b::classification;
using b::error_kind;

namespace {

template <class E>
classification of(E what) {
  return b::classify(std::make_exception_ptr(std::move(what)));
}

class odd_category : public std::error_category {
 public:
  const char* name() const noexcept override { return "odd"; }
  std::string message(int) const override { return "odd"; }
};

}  // namespace

TEST_CASE("classify: an error of Belay says it itself") {
  CHECK(of(user_not_found("x")) == classification{error_kind::not_found, "user_not_found", false, {}});
  CHECK(of(network_error("x")) == classification{error_kind::unavailable, "network", true, {}});
  CHECK(of(b::timeout_error("x")).retryable);
  CHECK_FALSE(of(b::misuse_error("x")).retryable);
  CHECK_FALSE(of(b::child_cancelled("x")).retryable);
}

TEST_CASE("classify: the exceptions of the standard library") {
  CHECK(of(std::invalid_argument("x")) == classification{error_kind::invalid, "invalid_argument", false, {}});
  CHECK(of(std::out_of_range("x")).code == "out_of_range");
  CHECK(of(std::length_error("x")).kind == error_kind::invalid);
  CHECK(of(std::logic_error("x")).kind == error_kind::internal);
  CHECK(of(std::runtime_error("x")) == classification{error_kind::internal, "exception", false, {}});
  CHECK(of(std::bad_alloc()) == classification{error_kind::overloaded, "out_of_memory", false, {}});
  CHECK(of(std::future_error(std::future_errc::broken_promise)).code == "logic_error");
  CHECK(of(7) == classification{error_kind::internal, "unknown", false, {}});
  CHECK(b::classify(std::exception_ptr()).code == "unknown");
}

TEST_CASE("classify: system errors by their condition, in whatever category") {
  const auto system = [](int number) {
    return of(std::system_error(std::error_code(number, std::system_category()), "x"));
  };
  CHECK(system(ECONNREFUSED) == classification{error_kind::unavailable, "connection_refused", true, {}});
  CHECK(system(ETIMEDOUT).kind == error_kind::timed_out);
  CHECK(system(EACCES).kind == error_kind::denied);
  CHECK(system(EMFILE).kind == error_kind::overloaded);
  CHECK(of(std::system_error(std::make_error_code(std::errc::file_exists))).kind == error_kind::conflict);
  const std::filesystem::filesystem_error missing("x",
                                                  std::make_error_code(std::errc::no_such_file_or_directory));
  CHECK(of(missing) == classification{error_kind::not_found, "no_such_file", false, {}});
  static const odd_category odd;
  CHECK(of(std::system_error(std::error_code(5, odd))) ==
        classification{error_kind::internal, "odd", false, {}});
}

TEST_CASE("classify: numbers of SQLite, PostgreSQL and curl") {
  CHECK(b::classify_sqlite(5) == classification{error_kind::unavailable, "database_locked", true, {}});
  CHECK(b::classify_sqlite(517).code == "database_locked");  // BUSY_SNAPSHOT
  CHECK_FALSE(b::classify_sqlite(9).retryable);              // INTERRUPT
  CHECK(b::classify_sqlite(2067).kind == error_kind::conflict);
  CHECK(b::classify_sqlite(19).code == "constraint_violation");
  CHECK(b::classify_sqlite(255) == classification{error_kind::internal, "sqlite", false, {}});

  CHECK(b::classify_sqlstate("23505") == classification{error_kind::conflict, "unique_violation", false, {}});
  CHECK(b::classify_sqlstate("40001") ==
        classification{error_kind::conflict, "serialization_failure", true, {}});
  CHECK(b::classify_sqlstate("40P01").retryable);
  CHECK(b::classify_sqlstate("57014") == classification{error_kind::timed_out, "query_cancelled", false, {}});
  CHECK_FALSE(b::classify_sqlstate("40003").retryable);  // nobody knows whether it was done
  CHECK(b::classify_sqlstate("08006") ==
        classification{error_kind::unavailable, "connection_lost", true, {}});
  CHECK_FALSE(b::classify_sqlstate("08P01").retryable);
  CHECK(b::classify_sqlstate("57P03").code == "starting_up");
  CHECK(b::classify_sqlstate("22P02").kind == error_kind::invalid);
  CHECK(b::classify_sqlstate("28P01").kind == error_kind::unauthenticated);
  CHECK(b::classify_sqlstate("42601").code == "bad_statement");
  CHECK(b::classify_sqlstate("").code == "connection_lost");
  CHECK(b::classify_sqlstate("ZZ000").code == "postgresql");

  CHECK(b::classify_curl(7) == classification{error_kind::unavailable, "connection_refused", true, {}});
  CHECK(b::classify_curl(28).kind == error_kind::timed_out);
  CHECK(b::classify_curl(60).kind == error_kind::denied);
  CHECK(b::classify_curl(-1).code == "curl");
}

TEST_CASE("classify: adapters are asked first, the latest before the others, also for Belay's own errors") {
  b::error_classifier known;
  known.add<boost::system::system_error>(b::classify_boost);
  known.add<network_error>([](const network_error&) { return std::nullopt; });
  known.add<int>([](int number) -> std::optional<classification> {
    if (number != 7) return std::nullopt;
    return classification::of(error_kind::conflict, "seven");
  });
  known.add<user_not_found>(
      [](const user_not_found&) { return classification::of(error_kind::unavailable, "not_yet"); });
  const auto ask = [&](auto what) { return known.classify(std::make_exception_ptr(what)); };
  CHECK(ask(boost::system::system_error(boost::asio::error::connection_refused)).code ==
        "connection_refused");
  CHECK(ask(boost::system::system_error(boost::asio::error::eof)).code == "exception");
  CHECK(ask(dns_error("x")).code == "dns");
  CHECK(ask(7).code == "seven");
  CHECK(ask(8).code == "unknown");
  CHECK(ask(user_not_found("x")) == classification{error_kind::unavailable, "not_yet", true, {}});
  known.add<int>([](int) { return classification::of(error_kind::denied, "no_numbers"); });
  CHECK(ask(7).code == "no_numbers");
  CHECK_THROWS_AS(known.add<int>(nullptr), b::misuse_error);
}

TEST_CASE("classify: classified_by holds for everything below, and inner ones cover outer ones") {
  b::testing::test_loop loop;
  b::error_classifier outer;
  outer.add<int>([](int) { return classification::of(error_kind::conflict, "outer"); });
  b::error_classifier inner;
  inner.add<int>([](int) { return classification::of(error_kind::timed_out, "inner"); });
  const auto ask = [] { return of(1).code; };
  const auto below = [&]() -> b::task<> {
    CHECK(ask() == "outer");
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto child = [&ask]() -> b::task<> {
        CHECK(ask() == "outer");
        CHECK_FALSE(b::is_retryable(b::failure::of(std::make_exception_ptr(1))));
        co_return;
      };
      g.spawn(child);
      co_return;
    });
    const auto inside = [&]() -> b::task<> {
      CHECK(ask() == "inner");
      co_return;
    };
    co_await b::classified_by(inner, inside());
    CHECK(ask() == "outer");
  };
  loop.run(b::classified_by(outer, below()));
  CHECK(ask() == "unknown");
  // Asked about, nobody looked at it: is_retryable does not count as a look.
  CHECK(loop.lost_errors().size() == 1);
}

TEST_CASE("classify: an adapter that throws is reported, and the others answer") {
  b::testing::test_loop loop;
  b::error_classifier known;
  known.add<int>([](int) -> std::optional<classification> { throw std::runtime_error("adapter"); });
  loop.run([&]() -> b::task<> {
    CHECK(known.classify(std::make_exception_ptr(1)).code == "unknown");
    co_return;
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(contains(loop.lost_errors()[0], "adapter"));
}

TEST_CASE("is_fatal: out of memory and misuse, in all their derived types") {
  const auto fatal = [](auto what) {
    const b::failure made = b::failure::of(std::make_exception_ptr(what));
    made.observe();
    return b::is_fatal(made);
  };
  CHECK(fatal(std::bad_alloc()));
  CHECK(fatal(std::bad_array_new_length()));
  CHECK(fatal(b::misuse_error("x")));
  CHECK_FALSE(fatal(broken("x")));
  CHECK_FALSE(fatal(1));
  CHECK_FALSE(b::is_fatal(b::failure()));
}

TEST_CASE("classify: the classifier of classified_by is kept as long as anything may ask it") {
  b::testing::test_loop loop;
  int loads = 0;
  std::vector<std::string> codes;
  b::single_flight<int, int> shared([&](const int&) -> b::task<int> {
    ++loads;
    co_await b::sleep_for(10s);
    codes.push_back(of(1).code);
    co_return 7;
  });
  const auto first = [&]() -> b::task<> {
    b::error_classifier known;  // goes with this task, while the call goes on for the other
    known.add<int>([](int) { return classification::of(error_kind::conflict, "first"); });
    const auto call = [](auto& in) -> b::task<> { static_cast<void>(co_await in.call(1)); };
    co_await b::classified_by(known, call(shared));
  };
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> a = g.spawn(first);
      g.spawn([&]() -> b::task<> { CHECK(co_await shared.call(1) == 7); });
      co_await b::sleep_for(2s);
      a.cancel();
    });
    auto known = std::make_shared<b::error_classifier>();
    known->add<int>([](int) { return classification::of(error_kind::conflict, "shared"); });
    const auto ask = [&]() -> b::task<> {
      codes.push_back(of(1).code);
      co_return;
    };
    co_await b::classified_by(std::shared_ptr<const b::error_classifier>(std::move(known)), ask());
    CHECK_THROWS_AS(co_await b::classified_by(std::shared_ptr<const b::error_classifier>(), ask()),
                    b::misuse_error);
  };
  loop.run(program());
  CHECK(loads == 1);
  CHECK(codes == std::vector<std::string>{"first", "shared"});
}

TEST_CASE("classify: an adapter that throws is reported once, not for each question") {
  b::testing::test_loop loop;
  b::error_classifier known;
  known.add<int>([](int) -> std::optional<classification> { throw std::runtime_error("first adapter"); });
  known.add<int>([](int) -> std::optional<classification> { throw std::runtime_error("second adapter"); });
  const b::error_classifier copy = known;
  loop.run([&]() -> b::task<> {
    for (int i = 0; i < 5; ++i) {
      CHECK(known.classify(std::make_exception_ptr(i)).code == "unknown");
      CHECK(copy.classify(std::make_exception_ptr(i)).code == "unknown");
    }
    co_return;
  }());
  REQUIRE(loop.lost_errors().size() == 2);
  CHECK(contains(loop.lost_errors()[0], "second adapter"));
  CHECK(contains(loop.lost_errors()[1], "first adapter"));
}
