// SPDX-License-Identifier: Apache-2.0
// What an error knows besides its message: details, secrets, time, how long to wait.

#include <belay/core/error.hpp>
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "support.hpp"

using namespace core_tests;

TEST_CASE("error: details of every type keep their type; of equal keys the last one counts") {
  b::error e("text");
  e.add_detail({"flag", true});
  e.add_detail({"count", -3});
  e.add_detail({"size", std::uint64_t{18446744073709551615U}});
  e.add_detail({"ratio", 0.5});
  e.add_detail({"letters", std::string("abc")});
  e.add_detail({"view", std::string_view("xyz")});
  e.add_detail({"count", 4});
  CHECK(*e.details().find("flag")->get<bool>());
  CHECK(e.details().find("flag")->text() == "true");
  CHECK(*e.details().find("count")->get<std::int64_t>() == 4);
  CHECK(e.details().find("count")->get<double>() == nullptr);
  CHECK(e.details().find("size")->text() == "18446744073709551615");
  CHECK(e.details().find("ratio")->text() == "0.5");
  CHECK(e.details().find("view")->text() == "xyz");
  CHECK(e.details().size() == 7);
}

TEST_CASE("error: a sensitive value can be read by the program, and is not shown") {
  const b::error e(b::error_kind::not_found, "nobody", "nobody",
                   {{"token", b::sensitive("hunter2")}, {"pin", b::sensitive(1234)}});
  CHECK(*e.details().find("token")->get<std::string>() == "hunter2");
  CHECK(*e.details().find("pin")->get<std::int64_t>() == 1234);
  CHECK(e.details().find("token")->is_sensitive());
  CHECK(e.details().find("token")->text() == "[sensitive]");
  const b::failure what = b::failure::of(std::make_exception_ptr(e));
  const std::string text = b::describe(what);
  CHECK(text.find("token = [sensitive]") != std::string::npos);
  CHECK(text.find("hunter2") == std::string::npos);
  CHECK(text.find("1234") == std::string::npos);
}

TEST_CASE("error: a negative retry_after is refused, and changes nothing") {
  b::error e("text");
  e.set_retry_after(2s);
  CHECK_THROWS_AS(e.set_retry_after(-1s), b::misuse_error);
  CHECK(e.retry_after() == std::optional<b::duration>(2s));
  e.set_retry_after(0s);
  CHECK(e.retry_after() == std::optional<b::duration>(0s));
}

TEST_CASE("error: knows when it was made, on the clock of its loop") {
  b::testing::test_loop loop;
  const b::time_point begin = loop.clock().now();
  loop.run([&]() -> b::task<> {
    co_await b::sleep_for(5s);
    const b::error e("late");
    co_await b::sleep_for(5s);
    CHECK(e.when() - begin == 5s);
  }());
}

TEST_CASE("error: a copy that is changed leaves the others as they were") {
  const b::error first(b::error_kind::conflict, "code", "text", {{"a", 1}});
  b::error second = first;
  second.add_detail({"b", 2});
  second.set_retry_after(1s);
  CHECK(first.details().size() == 1);
  CHECK_FALSE(first.retry_after().has_value());
  CHECK(second.details().size() == 2);
  CHECK(second.code() == "code");
  const b::error third = second;
  CHECK(third.details().size() == 2);
}

TEST_CASE("error: a detail that another one of the same key replaced is not shown, as it may be a secret") {
  b::error e(b::error_kind::invalid, "bad", "sign-up failed", {{"email", "ann@secret.example"}});
  e.add_detail({"email", b::sensitive("ann@secret.example")});
  for (int i = 0; i < 18; ++i) e.add_detail({"n" + std::to_string(i / 2), i});
  const std::string text = b::describe(b::failure::of(std::make_exception_ptr(e)));
  CHECK(text.find("email = [sensitive]") != std::string::npos);
  CHECK(text.find("secret.example") == std::string::npos);
  CHECK(text.find("n0 = 0") == std::string::npos);
  CHECK(text.find("n0 = 1\n") != std::string::npos);
  CHECK(text.find("n8 = 17") != std::string::npos);  // ten that count: all are shown
}
