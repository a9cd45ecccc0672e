// SPDX-License-Identifier: Apache-2.0
// The structure of a record, thresholds, bound fields, and that logging never fails the caller.

#include <doctest/doctest.h>

#include <belay/core/error.hpp>
#include <limits>
#include <optional>
#include <stdexcept>
#include <thread>

#include "support.hpp"

namespace json = boost::json;
using namespace belay::telemetry;
using telemetry_test::fixture;

TEST_CASE("logger: a record, is one JSON object with time, level, event and fields [row 473]") {
  fixture f;
  f.log.info("user_created", {{"id", 7}, {"email", "ada@example.org"}});
  CHECK(
      f.line() ==
      R"({"time":"2026-11-21T04:34:27.000042Z","level":"info","event":"user_created","id":7,"email":"ada@example.org"})");
  CHECK(f.log.statistics().written == 1);
}

TEST_CASE("logger: time before 1970 and at the turn of a leap year, is still RFC 3339 [row 473]") {
  using std::chrono::system_clock;
  const auto line_at = [](std::chrono::microseconds since) {
    fixture f({.wall_clock = [since] { return system_clock::time_point(since); }});
    f.log.info("e");
    return std::string(f.record().at("time").as_string());
  };
  CHECK(line_at(std::chrono::microseconds(-1)) == "1969-12-31T23:59:59.999999Z");
  CHECK(line_at(std::chrono::seconds(1'709'164'800)) == "2024-02-29T00:00:00.000000Z");
}

TEST_CASE("logger: every type of value, is exact JSON") {
  fixture f;
  const std::optional<int> nothing;
  f.log.info("e", {{"null", nullptr},
                   {"yes", true},
                   {"min", std::numeric_limits<std::int64_t>::min()},
                   {"max", std::numeric_limits<std::uint64_t>::max()},
                   {"third", 1.0 / 3.0},
                   {"nan", std::numeric_limits<double>::quiet_NaN()},
                   {"infinite", -std::numeric_limits<double>::infinity()},
                   {"names", std::vector<std::string>{"a", "b"}},
                   {"nothing", nothing},
                   {"no_text", static_cast<const char*>(nullptr)},
                   {"some", std::optional<std::string>("x")},
                   {"nested", value::object{{"deep", value::list{1, "two", value::object{{"three", 3}}}}}}});
  const json::object r = f.record();
  CHECK(r.at("null").is_null());
  CHECK(r.at("yes").as_bool());
  CHECK(r.at("min").as_int64() == std::numeric_limits<std::int64_t>::min());
  CHECK(r.at("max").as_uint64() == std::numeric_limits<std::uint64_t>::max());
  CHECK(r.at("third").as_double() == 1.0 / 3.0);
  CHECK(r.at("nan").as_string() == "NaN");
  CHECK(r.at("infinite").as_string() == "-Infinity");
  CHECK(json::serialize(r.at("names")) == R"(["a","b"])");
  CHECK(r.at("nothing").is_null());
  CHECK(r.at("no_text").is_null());
  CHECK(r.at("some").as_string() == "x");
  CHECK(json::serialize(r.at("nested")) == R"({"deep":[1,"two",{"three":3}]})");
}

TEST_CASE("logger: newlines and control characters anywhere, leave one line of valid JSON [row 467]") {
  fixture f;
  std::string nasty = "a\nb\r\nc\td\"\\";
  nasty += '\0';
  nasty += "\x1b[31m\x7f\u0085\u2028\u2029";
  f.log.info(nasty, {{nasty, nasty}});
  const std::string line = f.line();
  for (const char c : line) CHECK(static_cast<unsigned char>(c) >= 0x20);
  CHECK(line.find("\u2028") == std::string::npos);
  CHECK(line.find("\u0085") == std::string::npos);
  const json::object r = f.record();
  CHECK(std::string(r.at("event").as_string()) == nasty);
  CHECK(std::string(r.at(nasty).as_string()) == nasty);
}

TEST_CASE("logger: invalid UTF-8, is replaced") {
  fixture f;
  const auto logged = [&](std::string_view text) {
    f.sink->clear();
    f.log.info("e", {{"v", text}});
    return std::string(f.record().at("v").as_string());
  };
  CHECK(logged("ok \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80") == "ok \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80");
  CHECK(logged("\x80") == "\uFFFD");
  CHECK(logged("\xC0\xAF") == "\uFFFD\uFFFD");            // overlong
  CHECK(logged("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");  // surrogate
  CHECK(logged("\xF4\x90\x80\x80x") == "\uFFFD\uFFFD\uFFFD\uFFFDx");
  CHECK(logged("\xE2\x82") == "\uFFFD");  // cut short: one maximal part
  CHECK(logged("\xF0\x9F\x98z") == "\uFFFDz");
}

TEST_CASE("logger: below the threshold, fields and values are not evaluated [row 477]") {
  fixture f({.threshold = level::warn});
  int evaluated = 0;
  f.log.info("e", {{"v", [&] { return ++evaluated; }}});
  f.log.debug("e", [&] {
    ++evaluated;
    return fields{};
  });
  CHECK(evaluated == 0);
  CHECK(f.sink->lines().empty());
  CHECK_FALSE(f.log.enabled(level::info));
  CHECK_FALSE(f.log.enabled(level::off));

  f.log.set_threshold(level::debug);
  f.log.info("e", {{"v", [&] { return ++evaluated; }}});
  f.log.debug("e", [&] { return fields{{"w", ++evaluated}}; });
  CHECK(evaluated == 2);
  CHECK(f.sink->lines().size() == 2);
  f.log.set_threshold(level::off);
  f.log.fatal("e");
  CHECK(f.sink->lines().size() == 2);
}

TEST_CASE("logger: a value whose computation throws, is a placeholder and the record is written [row 470]") {
  fixture f;
  f.log.info("e", {{"bad", []() -> int { throw std::runtime_error("cache \"gone\""); }},
                   {"worse", []() -> int { throw 42; }},
                   {"good", 1}});
  const json::object r = f.record();
  CHECK(r.at("bad").as_string() == "<no value: cache \"gone\">");
  CHECK(r.at("worse").as_string() == "<no value: unknown exception>");
  CHECK(r.at("good").as_int64() == 1);
}

TEST_CASE("logger: making the fields throws, the record is written without them [row 470]") {
  fixture f;
  f.log.info("e", []() -> fields { throw std::runtime_error("no"); });
  CHECK(f.record().at("fields").as_string() == "<no value: no>");
}

TEST_CASE(
    "logger: with(fields), adds them to each record of the child only, and lazy ones are computed once") {
  fixture f;
  int computed = 0;
  const logger child =
      f.log.with({{"trace_id", "4bf9"}, {"n", [&] { return ++computed; }}}).with({{"user", 7}});
  child.info("a");
  child.info("b");
  f.log.info("c");
  const auto lines = f.sink->lines();
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].substr(lines[0].find("\"event\"")) == R"("event":"a","trace_id":"4bf9","n":1,"user":7})");
  CHECK(lines[1].substr(lines[1].find("\"event\"")) == R"("event":"b","trace_id":"4bf9","n":1,"user":7})");
  CHECK(lines[2].substr(lines[2].find("\"event\"")) == R"("event":"c"})");
  CHECK(computed == 1);
}

TEST_CASE("logger: the event's own field, wins over a bound one and is there once [row 472]") {
  fixture f;
  f.log.with({{"user", 1}, {"trace_id", "old"}})
      .with({{"user", 2}})
      .info("e", {{"user", 3}, {"trace_id", "new"}});
  const std::string line = f.line();
  CHECK(line.substr(line.find("\"event\"")) == R"("event":"e","trace_id":"new","user":3})");
}

TEST_CASE("logger: fields named like the record's own members, step aside") {
  fixture f;
  f.log.info("e", {{"time", 1}, {"level", 2}, {"event", 3}, {"time_", 4}, {"failure", 5}});
  const json::object r = f.record();
  CHECK(r.size() == 8);
  CHECK(r.at("time").is_string());
  CHECK(r.at("level").as_string() == "info");
  CHECK(r.at("event").as_string() == "e");
  CHECK(r.at("time__").as_int64() == 1);
  CHECK(r.at("time_").as_int64() == 4);
  CHECK(r.at("level_").as_int64() == 2);
  CHECK(r.at("failure").as_int64() == 5);
}

TEST_CASE("logger: a long text, is cut between two characters and says so") {
  fixture f({.max_text_bytes = 4});
  f.log.info("e", {{"v", "abc\xC3\xA4xyz"}, {"w", "abcd"}});
  const json::object r = f.record();
  CHECK(r.at("v").as_string() == "abc... [5 more bytes]");
  CHECK(r.at("w").as_string() == "abcd");
}

TEST_CASE("logger: values nested without end, are cut") {
  fixture f;
  value deep = 1;
  for (int i = 0; i < 1000; ++i) deep = value(value::list{deep});
  f.log.info("e", {{"deep", deep}});
  CHECK(f.line().find("<too deep>") != std::string::npos);
  CHECK(f.record().size() == 4);
}

TEST_CASE("logger: secret fields, are masked at every depth, whatever their type [row 476]") {
  fixture f;
  f.log.with({{"Authorization", "Bearer abc"}})
      .info("e", {{"password", "hunter2"},
                  {"pin", 1234},
                  {"token", 99},
                  {"headers", value::object{{"Set-Cookie", "sid=1"}, {"Host", "h"}}},
                  {"list", value::list{value::object{{"client_secret", value::list{1, 2}}}}},
                  {"cookie", nullptr},
                  {"url", "postgresql://bank:hunter2@db/bank"}});
  const std::string line = f.line();
  for (const char* secret : {"hunter2", "abc", "99", "sid=1", "[1,2]"})
    CHECK(line.find(secret) == std::string::npos);
  const json::object r = f.record();
  CHECK(r.at("password").as_string() == "[redacted]");
  CHECK(r.at("pin").as_int64() == 1234);
  CHECK(r.at("headers").at("Host").as_string() == "h");
  CHECK(r.at("cookie").is_null());
  CHECK(r.at("url").as_string() == "postgresql://bank:[redacted]@db/bank");
}

TEST_CASE("logger: configured secret keys, replace the default ones [row 476]") {
  fixture f({.secret_keys = {"iban"}});
  f.log.info("e", {{"IBAN", "DE02"}, {"password", "p"}});
  CHECK(f.record().at("IBAN").as_string() == "[redacted]");
  CHECK(f.record().at("password").as_string() == "p");
}

TEST_CASE("logger: the wall clock throws, the record is counted as lost") {
  fixture f({.wall_clock = []() -> std::chrono::system_clock::time_point {
    throw std::runtime_error("no clock");
  }});
  CHECK_NOTHROW(f.log.info("e"));
  CHECK(f.log.statistics().lost == 1);
}

TEST_CASE("logger: no sink, is refused when built") { CHECK_THROWS_AS(logger{nullptr}, belay::error); }

TEST_CASE("logger: many threads, every record is whole") {
  fixture f;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&f, t] {
      const logger mine = f.log.with({{"thread", t}});
      for (int i = 0; i < 100; ++i) mine.info("e", {{"i", i}});
    });
  }
  for (auto& t : threads) t.join();
  CHECK(f.sink->lines().size() == 400);
  for (const auto& line : f.sink->lines()) CHECK(json::parse(line).as_object().size() == 5);
}

TEST_CASE("logger: pretty, is one readable line that no text can break [row 467]") {
  fixture f({.format = log_format::pretty});
  f.log.with({{"trace_id", "4bf9"}})
      .warn("login failed\nfake",
            {{"user", "ada lovelace"}, {"n", 3}, {"list", value::list{"a b", 1}}, {"password", "x"}});
  CHECK(f.line() ==
        "2026-11-21T04:34:27.000042Z warn  login failed\\nfake trace_id=4bf9 user=\"ada lovelace\" n=3 "
        "list=[\"a b\",1] password=\"[redacted]\"");
}

TEST_CASE("logger: pretty with a field message, shows it in place of the event") {
  fixture f({.format = log_format::pretty});
  f.log.info("listening",
             {{"url", "http://127.0.0.1:1"}, {"message", "accounts: listening on http://127.0.0.1:1"}});
  CHECK(f.line() ==
        "2026-11-21T04:34:27.000042Z info  accounts: listening on http://127.0.0.1:1 url=http://127.0.0.1:1");
}

TEST_CASE("level and format: names, go both ways") {
  for (const level l :
       {level::trace, level::debug, level::info, level::warn, level::error, level::fatal, level::off}) {
    CHECK(level_from(to_string(l)) == l);
  }
  CHECK_FALSE(level_from("INFO"));
  CHECK(log_format_from("json") == log_format::json);
  CHECK(log_format_from("pretty") == log_format::pretty);
  CHECK_FALSE(log_format_from("xml"));
}
