// SPDX-License-Identifier: Apache-2.0
// The inspector page: what it shows, and to whom.

#include <doctest/doctest.h>

#include <belay/core/task_name.hpp>

#include "support.hpp"

using namespace belay::service;
using namespace std::chrono_literals;
namespace http = belay::http;
using belay::task;
using support::contains;

namespace {

constexpr const char* token = "0123456789abcdef-token";

app_options with_page(std::string secret = {}) {
  app_options made = support::options();
  made.inspector = {.path = "/_belay/", .token = std::move(secret)};
  return made;
}

std::string get(std::string_view path, std::string_view host, std::string_view fields = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" +
         std::string(fields) + "\r\n";
}

// What the request is answered by an app with this token.
int status_for(const std::string& request, std::string secret = {}) {
  support::record_keeper told;
  app app(with_page(std::move(secret)), told.log);
  int status = 0;
  support::serve(app, [&](belay::service::app& a) -> task<> {
    support::client c = co_await support::connect(a);
    const support::answer got = co_await c.ask(request);
    status = got.status();
    if (status != 200) {
      CHECK(contains(got.field("Content-Type"), "application/problem+json"));
      CHECK(contains(got.body, "inspector_forbidden"));
      CHECK_FALSE(contains(got.body, token));
    }
  });
  return status;
}

}  // namespace

TEST_CASE(
    "inspector: shows tasks, requests, gauges, workers, steps and background work, everything escaped") {
  support::record_keeper told;
  app_options options = with_page();
  options.name = "<b>bank</b>";
  app app(options, told.log);
  app.step("warm <up>", []() -> task<> { co_return; });
  app.gauge("a&b", [] { return std::size_t{17}; });
  app.worker("purge 'x'", []() -> task<> { co_await belay::sleep_for(1h); });
  belay::event entered;
  belay::event leave;
  app.get("/slow/{what}", [&](request& r) -> task<http::response> {
    r.run_after_response("late <mail>", [&]() -> task<> { co_await leave.wait(); });
    entered.set();
    co_await leave.wait();
    co_return http::response::empty();
  });
  std::string page;
  std::string tasks;
  support::serve(app, [&](belay::service::app& a) -> task<> {
    support::client waits = co_await support::connect(a);
    co_await waits.send(support::get("/slow/<script>alert(1)?token=hidden"));
    support::client c = co_await support::connect(a);
    co_await entered.wait();
    const support::answer got = co_await c.ask(get("/_belay/", "127.0.0.1:80"));
    CHECK(got.status() == 200);
    CHECK(got.field("Content-Type") == "text/html; charset=utf-8");
    CHECK(got.field("Cache-Control") == "no-store");
    CHECK(got.field("X-Content-Type-Options") == "nosniff");
    CHECK(contains(got.field("Content-Security-Policy"), "default-src 'none'"));
    page = got.body;
    const support::answer json = co_await c.ask(get("/_belay/tasks.json", "localhost"));
    CHECK(json.status() == 200);
    CHECK(json.field("Content-Type") == "application/json");
    tasks = json.body;
    leave.set();
    co_await waits.read();
  });
  for (const char* part : {"&lt;b&gt;bank&lt;/b&gt;", "warm &lt;up&gt;", "a&amp;b", "<td>17</td>",
                           "purge &#39;x&#39;", "/slow/", "serving on 127.0.0.1:", "event", "2 under way"}) {
    CHECK_MESSAGE(contains(page, part), part);
  }
  for (const char* part : {"<script", "<b>", "<up>", "<mail>", "hidden", "http://", "https://", "src="})
    CHECK_FALSE_MESSAGE(contains(page, part), part);
  CHECK(tasks.starts_with("["));
  CHECK(contains(tasks, "\"waits_for\""));
}

TEST_CASE("inspector: without a token, for those on this machine who call it by a name of this machine") {
  for (const char* host :
       {"127.0.0.1", "127.0.0.1:8080", "127.255.0.9", "localhost", "LocalHost:1", "[::1]", "[::1]:8080"}) {
    CAPTURE(host);
    CHECK(status_for(get("/_belay/", host)) == 200);
    CHECK(status_for(get("/_belay/tasks.json", host)) == 200);
  }
}

TEST_CASE("inspector: a name that somebody else chose for this machine does not do") {
  for (const char* host : {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "128.0.0.1",
                           "127.0.0", "127.0.0.1.1", "[::2]", "[::1]x", "127.0.0.256", "0x7f.0.0.1"}) {
    CAPTURE(host);
    CHECK(status_for(get("/_belay/", host)) == 403);
    CHECK(status_for(get("/_belay/tasks.json", host)) == 403);
  }
}

TEST_CASE("inspector: whoever passes a request on is not from this machine, whatever it says") {
  for (const char* field :
       {"X-Forwarded-For: 127.0.0.1", "x-forwarded-proto: http", "X-Forwarded-Host: localhost",
        "Forwarded: for=127.0.0.1", "Via: 1.1 proxy", "X-Real-IP: 127.0.0.1"}) {
    CAPTURE(field);
    CHECK(status_for(get("/_belay/", "localhost", std::string(field) + "\r\n")) == 403);
  }
}

TEST_CASE("inspector: with a token, for whoever sends it, and nobody else") {
  const std::string right = std::string("Authorization: Bearer ") + token + "\r\n";
  CHECK(status_for(get("/_belay/", "bank.example", right), token) == 200);
  CHECK(status_for(get("/_belay/", "bank.example", "X-Forwarded-For: 10.0.0.1\r\n" + right), token) == 200);
  CHECK(status_for(get("/_belay/", "bank.example", std::string("authorization: bearer ") + token + "\r\n"),
                   token) == 200);
  for (const std::string& wrong :
       {std::string(), std::string("Authorization: Bearer\r\n"), std::string("Authorization: Bearer \r\n"),
        std::string("Authorization: Bearer 0123456789abcdef-tokeN\r\n"),
        std::string("Authorization: Bearer 0123456789abcdef-token0123456789abcdef-token\r\n"),
        std::string("Authorization: Bearer 0123456789abcdef-toke\r\n"),
        std::string("Authorization: Basic ") + token + "\r\n",
        std::string("Authorization: ") + token + "\r\n", std::string("Cookie: token=") + token + "\r\n",
        right + right}) {
    CAPTURE(wrong);
    CHECK(status_for(get("/_belay/", "localhost", wrong), token) == 403);
  }
}

TEST_CASE("inspector: there is none unless it is asked for, and what makes no sense is refused") {
  support::record_keeper told;
  app plain(support::options(), told.log);
  support::serve(plain, [&](belay::service::app& a) -> task<> {
    support::client c = co_await support::connect(a);
    CHECK((co_await c.ask(get("/_belay/", "localhost"))).status() == 404);
  });
  for (const char* path : {"/", "_belay/", "/_belay", "//x"}) {
    app_options bad = support::options();
    bad.inspector.path = path;
    CHECK_THROWS_AS(app(bad, told.log), belay::misuse_error);
  }
  CHECK_THROWS_AS(app(with_page("short"), told.log), belay::misuse_error);
  CHECK_THROWS_AS(app(with_page("0123456789 0123456789"), told.log), belay::misuse_error);
}
