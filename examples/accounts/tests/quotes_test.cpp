// SPDX-License-Identifier: Apache-2.0
// GET /quotes against an upstream that misbehaves in every way: the answer is in time, true, and tells nothing of the inside.
#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>
#include <thread>

#include "support/bank.hpp"
#include "support/upstream.hpp"

using namespace accounts_test;

namespace {

using clock = std::chrono::steady_clock;

void check_quote(const response& got, const std::string& symbol, bool stale) {
  check_json(got, 200);
  CHECK(has_members(got.json(), {"symbol", "price", "stale"}));
  CHECK(got.json().at("symbol") == boost::json::value(symbol));
  CHECK(got.json().at("price") == 12345);
  CHECK(got.json().at("stale") == stale);
}

// Asked for once, of an upstream in this mood; the answer takes no longer than the total limit, and a little.
void check_fails(mood how, int status, std::string_view code) {
  INFO("mood " << static_cast<int>(how));
  upstream other;
  other.set(how);
  bank app({"--quotes-url", other.url()});
  const auto before = clock::now();
  const response got = app.get("/quotes/ABC");
  CHECK(clock::now() - before < milliseconds{2'000});
  check_problem(got, status, code, "/quotes/ABC");
  for (const char* secret : {"127.0.0.1:", "reset", "SSH", "<html>", "v1"})
    CHECK(got.body.find(secret) == std::string::npos);
  // Once it behaves, it is asked again at once: one call does not open the breaker.
  other.set(mood::good);
  check_quote(app.get("/quotes/ABC"), "ABC", false);
  // And once it has answered, there is something better than an error.
  other.set(how);
  app.expect_record("quote_stale");
  check_quote(app.get("/quotes/ABC"), "ABC", true);
}

}  // namespace

TEST_CASE("quotes: from the upstream, with the trace of the request and the time that is left") {
  upstream other;
  bank app({"--quotes-url", other.url()});
  const response got = app.get("/quotes/BRK.B");
  check_quote(got, "BRK.B", false);
  CHECK(other.last().starts_with("GET /v1/quotes/BRK.B HTTP/1.1\r\n"));
  CHECK(other.last().find("traceparent: 00-" + got.trace_id()) != std::string::npos);
  CHECK(other.last().find("Belay-Deadline-Ms: ") != std::string::npos);
}

TEST_CASE("quotes: a symbol that is none is refused before anybody is asked") {
  upstream other;
  bank app({"--quotes-url", other.url()});
  for (const char* bad : {"abc", "A%20B", "TOOLONGSYMBOL", "A%2FB"}) {
    const std::string path = std::string("/quotes/") + bad;
    check_invalid(app.get(path), path, {"/path/symbol"});
  }
  CHECK(other.requests() == 0);
}

TEST_CASE("quotes: without an upstream there are none") {
  bank app;
  const response got = app.get("/quotes/ABC");
  check_problem(got, 503, "quotes_unavailable", "/quotes/ABC");
  CHECK(got.header("Retry-After"));
}

TEST_CASE("quotes: an upstream that is too slow") {
  check_fails(mood::slow, 504, "upstream_timeout");
  check_fails(mood::dripping, 504, "upstream_timeout");
}

TEST_CASE("quotes: an upstream that resets or closes in the middle") {
  check_fails(mood::resetting, 502, "bad_upstream");
  check_fails(mood::half, 502, "bad_upstream");
}

TEST_CASE("quotes: an upstream that answers garbage") {
  for (const mood how : {mood::garbage, mood::no_json, mood::other, mood::huge})
    check_fails(how, 502, "bad_upstream");
}

TEST_CASE("quotes: an upstream that says that it cannot") {
  check_fails(mood::busy, 502, "bad_upstream");
  check_fails(mood::broken, 502, "bad_upstream");
}

TEST_CASE("quotes: an unknown symbol is 404, also when there was a quote before, and opens no breaker") {
  upstream other;
  bank app({"--quotes-url", other.url()});
  check_quote(app.get("/quotes/ABC"), "ABC", false);
  other.set(mood::unknown);
  for (int i = 0; i < 10; ++i) check_problem(app.get("/quotes/ABC"), 404, "quote_not_found", "/quotes/ABC");
  other.set(mood::good);
  check_quote(app.get("/quotes/ABC"), "ABC", false);
}

TEST_CASE("quotes: an upstream that is away: the breaker opens, says when to come back, and closes again") {
  upstream other;
  other.refuse();
  bank app({"--quotes-url", other.url()});
  response got = app.get("/quotes/ABC");
  check_problem(got, 502, "bad_upstream", "/quotes/ABC");
  for (int i = 0; i < 5 && got.status != 503; ++i) got = app.get("/quotes/ABC");
  check_problem(got, 503, "quotes_unavailable", "/quotes/ABC");
  CHECK(std::stoi(got.header("Retry-After").value_or("0")) >= 1);
  CHECK(std::stoi(got.header("Retry-After").value_or("9")) <= 2);

  other.listen();  // nobody asks while it is open
  check_problem(app.get("/quotes/ABC"), 503, "quotes_unavailable", "/quotes/ABC");
  CHECK(other.requests() == 0);
  const auto until = clock::now() + milliseconds{10'000};
  while ((got = app.get("/quotes/ABC")).status != 200 && clock::now() < until)
    std::this_thread::sleep_for(milliseconds{50});
  check_quote(got, "ABC", false);
  CHECK(app.service().wait_for_event("policy", milliseconds{1'000}));
}

TEST_CASE("quotes: connections that the upstream closes between requests are noticed by nobody") {
  upstream other;
  other.set(mood::closing);
  bank app({"--quotes-url", other.url()});
  for (int i = 0; i < 20; ++i) check_quote(app.get("/quotes/ABC"), "ABC", false);
  CHECK(other.requests() == 20);
}

TEST_CASE("quotes: a flapping upstream: each answer is a quote, and the upstream is not flooded") {
  upstream other;
  bank app({"--quotes-url", other.url()});
  check_quote(app.get("/quotes/ABC"), "ABC", false);
  int stale = 0;
  for (int i = 0; i < 60; ++i) {
    other.set(i % 3 == 0 ? mood::resetting : i % 3 == 1 ? mood::broken : mood::good);
    const response got = app.get("/quotes/ABC");
    check_json(got, 200);
    if (got.json().at("stale") == true) {
      ++stale;
      app.expect_record("quote_stale");
    }
  }
  CHECK(stale > 0);
  // Each call once, retries by the budget (10, and one for five calls), and once more for each used connection that is reset without
  // an answer (one of three calls): that the client sends again by itself.
  CHECK(other.requests() <= 1 + 60 + 10 + 60 / 5 + 20);
}

TEST_CASE("quotes: a client that leaves, and one that has less time than the upstream needs") {
  upstream other;
  other.set(mood::slow);
  bank app({"--quotes-url", other.url()});
  {
    client gone = app.connect();
    gone.send(make_request("GET", "/quotes/ABC"));
    CHECK(app.wait_for_in_use("upstream_requests", 1, milliseconds{2'000}));
    gone.abort();
  }
  CHECK(app.wait_for_idle());
  const auto before = clock::now();
  check_problem(app.get("/quotes/ABC", {{"Belay-Deadline-Ms", "100"}}), 504, "deadline_exceeded",
                "/quotes/ABC");
  CHECK(clock::now() - before < milliseconds{290});
}

TEST_CASE("quotes: --quotes-url is checked at the start") {
  const temporary_directory directory;
  for (const char* bad : {"ftp://127.0.0.1/", "127.0.0.1:80", "http://a name/"}) {
    const auto run =
        run_to_end({.arguments = {"--quotes-url", bad}, .environment = {}, .directory = directory.path()});
    CHECK(run.status == 2);
    CHECK_MESSAGE(run.err.find("--quotes-url") != std::string::npos, run.err);
  }
}
