// SPDX-License-Identifier: Apache-2.0
// Bodies that are streams, in both directions, as handlers of an app see them.

#include <belay/core/sleep.hpp>
#include <belay/core/stream.hpp>
#include <belay/http/sse.hpp>
#include <belay/http/streamed_body.hpp>
#include <belay/io/tcp.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::task;
using service::app;
using service::request;
using support::contains;

namespace {

struct broke : belay::error {
  broke() : error(belay::error_kind::internal, "broke", "the secret reason") {}
};

// Sends `text`, and gives all that comes until the connection ends.
task<std::string> whole_answer(app& of, std::string text) {
  belay::io::tcp_stream to = co_await belay::io::connect(co_await of.wait_serving());
  co_await to.write(text);
  std::string got;
  std::array<char, 1024> part;
  while (const std::size_t count = co_await to.read_some(part)) got.append(part.data(), count);
  co_return got;
}

belay::stream<std::string> pieces(bool breaks) {
  co_yield std::string("one,");
  co_await belay::yield();
  co_yield std::string("two");
  if (breaks) throw broke();
}

belay::stream<http::sse_event> ticks() {
  for (int i = 1; i != 3; ++i) co_yield http::sse_event{.data = "tick", .id = std::to_string(i)};
}

task<http::response> count_bytes(request& asked) {
  std::size_t count = 0;
  co_await belay::for_each(asked.body_stream(), [&](const std::string& piece) { count += piece.size(); });
  co_return http::response::json(http::status::ok, std::to_string(count));
}

struct world {
  support::record_keeper records;
  app of{support::options(), records.log};

  std::string ask(std::string text) {
    std::string got;
    CHECK(support::serve(of, [&](app& to) -> task<> { got = co_await whole_answer(to, std::move(text)); }) ==
          service::exit_clean);
    return got;
  }
};

constexpr std::string_view last = "Connection: close\r\n";

}  // namespace

TEST_CASE("streaming: an answer that is made while it is sent, with its background work") {
  world w;
  bool ran = false;
  w.of.get("/pieces", [&](request& asked) -> task<http::response> {
    asked.run_after_response("after", [&ran]() -> task<> {
      ran = true;
      co_return;
    });
    co_return http::response::streamed(http::status::ok, "text/plain", pieces(false));
  });
  const std::string got = w.ask(support::get("/pieces", last));
  CHECK(contains(got, "Transfer-Encoding: chunked\r\n"));
  CHECK(contains(got, "traceparent: "));
  CHECK(contains(got, "4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n"));
  CHECK(ran);
}

TEST_CASE(
    "streaming: an answer that fails behind its head is cut off, is one record, and nothing follows it [row 420]") {
  world w;
  bool ran = false;
  bool cleaned_up = false;
  w.of.get("/pieces", [&](request& asked) -> task<http::response> {
    asked.run_after_response("after", [&ran]() -> task<> {
      ran = true;
      co_return;
    });
    asked.run_after_response(
        "always",
        [&cleaned_up]() -> task<> {
          cleaned_up = true;
          co_return;
        },
        service::run_when::always);
    co_return http::response::streamed(http::status::ok, "text/plain", pieces(true));
  });
  const std::string got = w.ask(support::get("/pieces"));
  CHECK(contains(got, "3\r\ntwo\r\n"));
  CHECK_FALSE(contains(got, "0\r\n\r\n"));
  CHECK_FALSE(contains(got, "secret"));
  const auto records = w.records.events("response_cut_off");
  REQUIRE(records.size() == 1);
  CHECK(contains(records[0], "the secret reason"));
  CHECK(contains(records[0], "\"path\":\"/pieces\""));
  CHECK(w.records.errors() == 1);
  CHECK_FALSE(ran);
  CHECK(cleaned_up);
}

TEST_CASE("streaming: events") {
  world w;
  w.of.get("/ticks", [](request&) -> task<http::response> { co_return http::events(ticks()); });
  const std::string got = w.ask(support::get("/ticks", last));
  CHECK(contains(got, "Content-Type: text/event-stream"));
  CHECK(contains(got, "data: tick\n"));
  CHECK(contains(got, "id: 2\n"));
}

TEST_CASE(
    "streaming: the body of a request comes as a stream where the route says so, beyond the limit for whole ones") {
  service::app_options options = support::options();
  options.http.limits.body_limit = 100;
  support::record_keeper records;
  app of(std::move(options), records.log);
  of.post("/streamed", &count_bytes, {.streams_body = true, .body_limit = 10'000});
  of.post("/whole", &count_bytes);
  std::vector<support::answer> got;
  CHECK(support::serve(of, [&](app& to) -> task<> {
          support::client one = co_await support::connect(to);
          got.push_back(co_await one.ask(support::post("/streamed", std::string(5'000, 'x'))));
          got.push_back(co_await one.ask(support::post("/whole", std::string(50, 'x'))));
          got.push_back(co_await one.ask(support::post("/whole", std::string(101, 'x'))));
        }) == service::exit_clean);
  REQUIRE(got.size() == 3);
  CHECK(got[0].status() == 200);
  CHECK(got[0].body == "5000");
  CHECK(got[1].body == "50");
  CHECK(got[2].status() == 413);
}
