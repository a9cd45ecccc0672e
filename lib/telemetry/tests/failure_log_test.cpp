// SPDX-License-Identifier: Apache-2.0
// A failure in the log: everything it knows, told once, cycles ended, secrets masked.

#include <doctest/doctest.h>

#include <belay/core/error.hpp>
#include <stdexcept>

#include "support.hpp"

namespace json = boost::json;
using namespace belay::telemetry;
using belay::failure;
using telemetry_test::fixture;

namespace {

template <class E>
failure failure_of(E exception) {
  return failure::of(std::make_exception_ptr(std::move(exception)));
}

struct user_error : belay::error {
  using error::error;
};

failure user_7_not_found() {
  return failure_of(user_error(belay::error_kind::not_found, "user_not_found", "user 7"));
}

}  // namespace

TEST_CASE("failure log: type, message, kind, code, notes and attached failures, are members [row 468]") {
  fixture f;
  failure what = user_7_not_found();
  what.note("while loading the dashboard");
  what.attach(failure_of(std::runtime_error("posts\nfailed")));
  f.log.error("request_failed", what, {{"trace_id", "4bf9"}, {"status", 404}});
  const json::object r = f.record();
  CHECK(r.at("trace_id").as_string() == "4bf9");
  CHECK(r.at("status").as_int64() == 404);
  const json::object& logged = r.at("failure").as_object();
  CHECK(std::string(logged.at("type").as_string()).find("user_error") != std::string::npos);
  CHECK(logged.at("message").as_string() == "user 7");
  CHECK(logged.at("kind").as_string() == "not_found");
  CHECK(logged.at("code").as_string() == "user_not_found");
  CHECK(json::serialize(logged.at("notes")) == R"(["while loading the dashboard"])");
  REQUIRE(logged.at("attached").as_array().size() == 1);
  CHECK(logged.at("attached").at(0).at("message").as_string() == "posts\nfailed");
  CHECK_FALSE(logged.contains("cause"));
}

TEST_CASE("failure log: no failure, no member [row 468]") {
  fixture f;
  f.log.error("e", failure());
  CHECK_FALSE(f.record().contains("failure"));
}

TEST_CASE("failure log: an error built in a handler, shows what it replaced as cause [row 468]") {
  fixture f;
  failure what;
  try {
    try {
      throw std::runtime_error("UNIQUE constraint failed");
    } catch (...) {
      throw user_error(belay::error_kind::conflict, "email_taken", "email is taken");
    }
  } catch (...) {
    what = failure::of(std::current_exception());
  }
  f.log.error("e", what);
  CHECK(f.record().at("failure").at("cause").at("message").as_string() == "UNIQUE constraint failed");
}

TEST_CASE("failure log: a failure attached to itself by way of another, ends [row 469]") {
  fixture f;
  failure a = failure_of(std::runtime_error("a"));
  failure b = failure_of(std::runtime_error("b"));
  failure c = failure_of(std::runtime_error("c"));
  a.attach(b);
  a.attach(c);
  b.attach(c);  // told twice, written out once
  f.log.error("e", a);
  const json::object r = f.record();
  const json::value& attached = r.at("failure").at("attached");
  CHECK(attached.at(0).at("attached").at(0).at("message").as_string() == "c");
  CHECK(attached.at(1).at("message").as_string() == "c");
  CHECK(attached.at(1).at("repeated").as_bool());
}

TEST_CASE("failure log: attached to attached a thousand times, is cut and valid") {
  fixture f;
  failure inner = failure_of(std::runtime_error("0"));
  inner.observe();
  for (int i = 1; i < 1000; ++i) {
    failure outer = failure_of(std::runtime_error(std::to_string(i)));
    outer.attach(inner);
    outer.observe();  // those that are cut would go to the failure sink
    inner = outer;
  }
  f.log.error("e", inner);
  CHECK(f.record().at("failure").at("message").as_string() == "999");
  CHECK(f.line().find("\"truncated\":true") != std::string::npos);
}

TEST_CASE("failure log: types that are no std::exception, are told [row 261]") {
  fixture f;
  f.log.error("e", failure_of(42));
  CHECK(std::string(f.record().at("failure").at("type").as_string()) == "int");
}

TEST_CASE("failure log: secrets in messages, notes and causes, are masked [row 476]") {
  fixture f;
  failure what = failure_of(std::runtime_error("connect with password=hunter2: refused"));
  what.note("Authorization: Bearer hunter2");
  what.attach(failure_of(std::runtime_error("redis://x:hunter2@cache")));
  f.log.error("e", what);
  CHECK(f.line().find("hunter2") == std::string::npos);
}

TEST_CASE(
    "failure log: written, marks the failure and what belongs to it as observed; below the threshold not") {
  fixture f({.threshold = level::fatal});
  failure what = user_7_not_found();
  const failure other = failure_of(std::runtime_error("b"));
  what.attach(other);
  const failure quiet = user_7_not_found();
  f.log.fatal("e", what);
  f.log.error("e", quiet);
  CHECK(what.observed());
  CHECK(other.observed());
  CHECK_FALSE(quiet.observed());
  quiet.observe();
}

TEST_CASE("failure log: pretty, follows the record on indented lines") {
  fixture f({.format = log_format::pretty});
  failure what = user_7_not_found();
  what.note("while loading\nthe dashboard");
  what.attach(failure_of(std::runtime_error("posts")));
  f.log.error("request_failed", what);
  const std::string text = f.line();
  CHECK(text.starts_with("2026-11-21T04:34:27.000042Z error request_failed\n    "));
  CHECK(text.find("\n      kind not_found, code user_not_found\n") != std::string::npos);
  CHECK(text.find("\n      note: while loading\\nthe dashboard\n") != std::string::npos);
  CHECK(text.find("\n      also failed: std::runtime_error: posts") != std::string::npos);
}
