// SPDX-License-Identifier: Apache-2.0
// The trace id: continued from the client, the same in header, problem and log.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {
const std::string trace = "0af7651916cd43dd8448eb211c80319c";
const std::string parent = "b7ad6b7169203331";
}  // namespace

TEST_CASE("traceparent: without one, each request gets a trace of its own") {
  bank app;
  client connection = app.connect();
  const auto first = connection.get("/health/live");
  const auto second = connection.get("/health/live");
  const auto failed = connection.get("/nowhere");
  CHECK(first.trace_id() != second.trace_id());
  CHECK(second.trace_id() != failed.trace_id());
}

TEST_CASE("traceparent: the client's trace is continued under a new parent") {
  bank app;
  client connection = app.connect();
  for (const std::string flags : {"00", "01"}) {
    const auto answer =
        connection.get("/users", {{"traceparent", "00-" + trace + "-" + parent + "-" + flags}});
    CHECK(answer.status == 200);
    CHECK(answer.trace_id() == trace);
    CHECK(answer.header("traceparent").value_or("").substr(36, 16) != parent);
  }
  const auto failed = connection.get("/users/77", {{"traceparent", "00-" + trace + "-" + parent + "-01"}});
  check_problem(failed, 404, "user_not_found", "/users/77");
  CHECK(failed.trace_id() == trace);
}

TEST_CASE("traceparent: a future version is read as far as it is known") {
  bank app;
  const auto answer =
      app.get("/health/live", {{"traceparent", "cc-" + trace + "-" + parent + "-01-what-comes-next"}});
  CHECK(answer.trace_id() == trace);
}

TEST_CASE("traceparent: an invalid one is replaced, and the request served") {
  bank app;
  client connection = app.connect();
  const std::vector<std::string> values{"",
                                        "garbage",
                                        "00-" + trace + "-" + parent,
                                        "00-" + trace + "-" + parent + "-1",
                                        "ff-" + trace + "-" + parent + "-01",
                                        "00-" + std::string(32, '0') + "-" + parent + "-01",
                                        "00-" + trace + "-" + std::string(16, '0') + "-01",
                                        "00-0AF7651916CD43DD8448EB211C80319C-" + parent + "-01",
                                        "00-" + trace + "-" + parent + "-01-extra",
                                        "00-" + trace.substr(1) + "g-" + parent + "-01",
                                        "00_" + trace + "_" + parent + "_01",
                                        std::string(8'000, '0')};
  for (const std::string& value : values) {
    CAPTURE(value.substr(0, 80));
    const auto answer = connection.get("/health/live", {{"traceparent", value}});
    CHECK(answer.status == 200);
    CHECK(answer.trace_id() != trace);
  }
}

TEST_CASE(
    "a failure: one record in the log, with the trace id, method, path, status and code of the answer") {
  bank app;
  const auto answer = app.get("/users/41", {{"traceparent", "00-" + trace + "-" + parent + "-01"}});
  const auto record = app.service().wait_for_event("request_failed", milliseconds{2'000});
  REQUIRE(record);
  CHECK(text_of(*record, "trace_id") == trace);
  CHECK(text_of(*record, "method") == "GET");
  CHECK(text_of(*record, "path") == "/users/41");
  CHECK(text_of(*record, "code") == "user_not_found");
  CHECK(text_of(*record, "level") == "warn");
  CHECK(record->at("status") == 404);
  CHECK(answer.trace_id() == trace);
}

TEST_CASE("the log: input cannot break its lines or forge a record") {
  bank app;
  // Decoded or not, each of these must stay inside one JSON string; bank checks that each line is one record.
  const auto forged = app.get("/users/%0a%7B%22level%22:%22error%22%7D");
  CHECK(forged.status == 422);
  CHECK(app.get("/nowhere/%22%0d%0a%1b[31m").status == 404);
  CHECK(app.post("/users", R"({"email":"a\n{\"level\":\"error\"}","name":"\u001b[31m"})").status == 422);
  CHECK(app.get("/nowhere\xff\xfe").status >= 400);
}

TEST_CASE("titles: one for each code") {
  bank app;
  const auto title = [&](std::string_view target) {
    return text_of(app.get(target).json().as_object(), "title");
  };
  CHECK(title("/users/1") == title("/users/2"));
  CHECK(title("/nowhere") == title("/elsewhere"));
  CHECK(title("/users/1") != title("/accounts/1"));
}
