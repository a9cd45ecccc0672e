// SPDX-License-Identifier: Apache-2.0
// What guards tell, in the log: once, with the level of its severity, without secrets.

#include <doctest/doctest.h>

#include <belay/core/task.hpp>
#include <belay/errors/error_type.hpp>
#include <belay/errors/guard.hpp>
#include <belay/telemetry/error_log.hpp>
#include <belay/testing/test_loop.hpp>
#include <stdexcept>

#include "support.hpp"

using namespace belay::telemetry;
using telemetry_test::fixture;

namespace {

struct user_not_found : belay::error_type<belay::error_kind::not_found, "user_not_found"> {
  using error_type::error_type;
};

template <class E>
belay::task<int> fails(E what) {
  throw what;
  co_return 0;
}

template <class E>
std::string level_of(E what) {
  fixture f;
  belay::testing::test_loop loop;
  error_log told(f.log);
  const belay::guard layer(told);
  CHECK(loop.run(layer.or_value(layer(fails(std::move(what))), 7)) == 7);
  return std::string(f.record().at("level").as_string());
}

}  // namespace

TEST_CASE(
    "error log: one record for an error that passes several guards; details and context without secrets") {
  fixture f;
  belay::testing::test_loop loop;
  error_log told(f.log);
  const belay::guard layer(
      told, {.operation = "load user", .context = {{"request", "r1"}, {"card", belay::sensitive("4111")}}});
  const user_not_found missing("there is no user 7", {{"user", 7}, {"mail", belay::sensitive("a@b.c")}});
  CHECK(loop.run(layer.or_value(layer(layer(fails(missing))), 3)) == 3);
  const auto record = f.record();
  CHECK(record.at("event").as_string() == "error");
  CHECK(record.at("level").as_string() == "info");
  CHECK(record.at("operation").as_string() == "load user");
  CHECK(record.at("code").as_string() == "user_not_found");
  CHECK_FALSE(record.at("retryable").as_bool());
  CHECK(record.at("request").as_string() == "r1");
  CHECK(record.at("card").as_string() == "[redacted]");
  const std::string line = f.line();
  CHECK(line.find("\"user\":7") != std::string::npos);
  CHECK(line.find("\"mail\":\"[redacted]\"") != std::string::npos);
  CHECK(line.find("a@b.c") == std::string::npos);
  CHECK(line.find("4111") == std::string::npos);
}

TEST_CASE("error log: the level follows from the severity") {
  CHECK(level_of(user_not_found("x")) == "info");
  CHECK(level_of(belay::timeout_error("x")) == "warn");
  CHECK(level_of(std::runtime_error("x")) == "error");
}
