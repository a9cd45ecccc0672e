// SPDX-License-Identifier: Apache-2.0
// Where two promises of an app meet: middleware and the start, cancelled handlers and what follows them, groups and their options.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/streamed_body.hpp>
#include <belay/service/typed.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <type_traits>

#include "support.hpp"

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::task;
using service::app;
using service::request;
using support::answer;
using support::client;
using support::contains;

namespace {

// An app on the fake network, in virtual time.
struct world {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  belay::io::network_override here{net};
  support::record_keeper records;

  template <class Talk>
  int serve(app& of, Talk talk) {
    return loop.run(belay::with_group([&](belay::group& both) -> task<int> {
      belay::child<int> code =
          both.spawn([](app& runs) -> task<int> { co_return co_await runs.run_within(); }, std::ref(of));
      co_await talk(of);
      of.stop();
      co_return co_await code;
    }));
  }
};

std::string trace_of(std::string_view record) {
  constexpr std::string_view before = "\"trace_id\":\"";
  const std::size_t at = record.find(before);
  return at == std::string_view::npos ? std::string() : std::string(record.substr(at + before.size(), 32));
}

belay::stream<std::string> breaks() {
  co_yield std::string("one");
  throw std::runtime_error("bad");
}

struct gone_wrong : belay::error {
  gone_wrong() : error(belay::error_kind::unavailable, "gone_wrong", "it went wrong") {}
};

}  // namespace

static_assert(!std::is_copy_constructible_v<service::next>, "the rest of an answer is gone on with once");

TEST_CASE("edges: a probe during the start meets no middleware, and nothing is to follow it") {
  world w;
  app a(support::options(), w.records.log);
  int met = 0;
  a.step("slow", []() -> task<> { co_await belay::sleep_for(5s); });
  a.use([&met](request& r, service::next inner) -> task<http::response> {
    ++met;
    http::response made = co_await inner();
    r.run_after_response("access log", []() -> task<> { co_return; });
    co_return made;
  });
  CHECK(w.serve(a, [&](app& of) -> task<> {
    client one(co_await belay::io::connect(co_await of.wait_listening()));
    CHECK((co_await one.ask(support::get("/health/live"))).status() == 200);
    CHECK((co_await one.ask(support::get("/health/ready"))).status() == 503);
    CHECK(met == 0);
    co_await of.wait_serving();
    CHECK((co_await one.ask(support::get("/health/ready"))).status() == 200);
    CHECK(met == 1);
  }) == service::exit_clean);
}

TEST_CASE(
    "edges: what follows a success, and its header fields, do not follow a handler that was cut short") {
  world w;
  app a(support::options(), w.records.log);
  bool sent = false;
  bool noted = false;
  a.use([](request&, service::next inner) -> task<http::response> {
    std::optional<http::response> got = co_await belay::move_on_after(1s, inner());
    co_return got ? std::move(*got) : http::response::text(http::status::ok, "fallback");
  });
  a.get("/", [&](request& r) -> task<http::response> {
    r.run_after_response("mail", [&sent]() -> task<> {
      sent = true;
      co_return;
    });
    r.run_after_response(
        "note",
        [&noted]() -> task<> {
          noted = true;
          co_return;
        },
        service::run_when::always);
    r.response_headers().set("X-Done", "yes");
    co_await belay::sleep_for(5s);
    co_return http::response::empty();
  });
  answer got;
  CHECK(w.serve(a, [&](app& of) -> task<> {
    client one = co_await support::connect(of);
    got = co_await one.ask(support::get("/"));
  }) == service::exit_clean);
  CHECK(got.body == "fallback");
  CHECK(got.field("X-Done").empty());
  CHECK_FALSE(sent);
  CHECK(noted);
}

TEST_CASE("edges: a request has one trace id, whoever tells of it, also when its client sent none") {
  world w;
  service::app_options options = support::options();
  options.http.request_timeout = 1s;
  app a(std::move(options), w.records.log);
  a.get("/cut", [](request& r) -> task<http::response> {
    r.log().info("in_handler");
    co_return http::response::streamed(http::status::ok, "text/plain", breaks());
  });
  a.get("/slow", [](request& r) -> task<http::response> {
    r.log().info("in_handler");
    co_await belay::sleep_for(1h);
    co_return http::response::empty();
  });
  answer slow;
  CHECK(w.serve(a, [&](app& of) -> task<> {
    client one = co_await support::connect(of);
    slow = co_await one.ask(support::get("/slow"));
    client other = co_await support::connect(of);
    co_await other.send(support::get("/cut"));
    co_await other.ended();
  }) == service::exit_clean);
  const auto handlers = w.records.events("in_handler");
  const auto cut = w.records.events("response_cut_off");
  const auto failed = w.records.events("request_failed");
  REQUIRE(handlers.size() == 2);
  REQUIRE(cut.size() == 1);
  REQUIRE(failed.size() == 1);
  CHECK(slow.status() == 503);
  CHECK(trace_of(slow.body) == trace_of(handlers[0]));
  CHECK(trace_of(failed[0]) == trace_of(handlers[0]));
  CHECK(trace_of(cut[0]) == trace_of(handlers[1]));
  CHECK(trace_of(handlers[0]) != trace_of(handlers[1]));
}

TEST_CASE("edges: a group's rule for all errors leaves the answers that were given on purpose") {
  world w;
  app a(support::options(), w.records.log);
  auto inside = a.group("/g");
  inside.on_error<belay::error>(http::status::bad_gateway, "upstream");
  inside.get("/{id}", [](int) -> task<int> {
    co_await belay::yield();
    throw gone_wrong();
  });
  std::vector<answer> got;
  CHECK(w.serve(a, [&](app& of) -> task<> {
    client one = co_await support::connect(of);
    got.push_back(co_await one.ask(support::get("/g/1")));
    got.push_back(co_await one.ask(support::get("/g/x")));
  }) == service::exit_clean);
  REQUIRE(got.size() == 2);
  CHECK(got[0].status() == 502);
  CHECK(got[1].status() == 422);
}

TEST_CASE(
    "edges: a group's limit for bodies and its being hidden hold for its routes; what cannot hold is refused") {
  world w;
  service::app_options options = support::options();
  options.api.emplace();
  app a(std::move(options), w.records.log);
  auto admin = a.group("/admin", {.body_limit = 10, .hidden = true});
  admin.post("/wipe", [](request&) -> task<http::response> { co_return http::response::empty(); });
  CHECK_THROWS_WITH_AS(static_cast<void>(a.group("/x", {.streams_body = true})),
                       doctest::Contains("streams_body"), belay::misuse_error);
  const auto takes_json = [](service::json<int>) -> task<int> { co_return 1; };
  CHECK_THROWS_WITH_AS(a.post("/x", takes_json, {.streams_body = true}), doctest::Contains("streams_body"),
                       belay::misuse_error);
  std::vector<answer> got;
  CHECK(w.serve(a, [&](app& of) -> task<> {
    client one = co_await support::connect(of);
    const answer possible =
        co_await one.ask("OPTIONS /admin/wipe HTTP/1.1\r\nHost: test\r\nX-Request-Id: r1\r\n\r\n");
    CHECK(possible.field("X-Request-Id") == "r1");
    got.push_back(co_await one.ask(support::get("/openapi.json")));
    got.push_back(co_await one.ask(support::post("/admin/wipe", R"({"a":"0123456789"})")));
  }) == service::exit_clean);
  REQUIRE(got.size() == 2);
  CHECK(got[0].status() == 200);
  CHECK_FALSE(contains(got[0].body, "/admin/wipe"));
  CHECK(got[1].status() == 413);
}
