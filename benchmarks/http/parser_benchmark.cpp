// SPDX-License-Identifier: Apache-2.0
// Our request parser beside Boost.Beast's on the same bytes, and what it costs to say no.

#include <belay/http/problem.hpp>
#include <belay/http/request_parser.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <cstdlib>
#include <optional>
#include <string_view>

#include "../core/measure.hpp"

namespace bench {
namespace {

namespace beast = boost::beast::http;
namespace http = belay::http;

constexpr std::string_view short_get =
    "GET /hello HTTP/1.1\r\n"
    "Host: 127.0.0.1:8080\r\n"
    "\r\n";

// As Chromium asks for a page of a site with a session.
constexpr std::string_view browser_get =
    "GET /users/7/dashboard?partial=true HTTP/1.1\r\n"
    "Host: bank.example.org\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "sec-ch-ua: \"Chromium\";v=\"118\", \"Not=A?Brand\";v=\"99\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: https://bank.example.org/users/7\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: session=8b1f0c3f9d6e4a21b7c5d4e3f2a1b0c9; theme=dark; consent=necessary\r\n"
    "\r\n";

// As one service calls another.
constexpr std::string_view service_post =
    "POST /transfers HTTP/1.1\r\n"
    "Host: accounts.internal:8080\r\n"
    "User-Agent: payments/2.3\r\n"
    "Accept: application/json\r\n"
    "Content-Type: application/json\r\n"
    "Idempotency-Key: 6f1c2c84-5f0e-4f6a-9a53-0e3a4cb1a6f2\r\n"
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    "Belay-Deadline-Ms: 250\r\n"
    "Content-Length: 36\r\n"
    "\r\n"
    "{\"from\":1001,\"to\":1002,\"amount\":250}";

void ours(benchmark::State& state, std::string_view bytes) {
  http::request_parser parser;
  const allocation_meter meter;
  for (auto _ : state) {
    parser.feed(bytes);
    if (parser.accept_body() != http::request_parser::state::complete) std::abort();
    http::request made = parser.take();
    benchmark::DoNotOptimize(made);
    parser.next();
  }
  meter.report(state);
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes.size()) * state.iterations());
}

// As Beast's own examples do it: a parser for each message.
void theirs(benchmark::State& state, std::string_view bytes) {
  const allocation_meter meter;
  for (auto _ : state) {
    beast::request_parser<beast::string_body> parser;
    parser.eager(true);
    boost::beast::error_code wrong;
    if (parser.put({bytes.data(), bytes.size()}, wrong) != bytes.size() || !parser.is_done()) std::abort();
    beast::request<beast::string_body> made = parser.release();
    benchmark::DoNotOptimize(made);
  }
  meter.report(state);
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes.size()) * state.iterations());
}

BENCHMARK_CAPTURE(ours, short_get, short_get)->Name("parse/short_get/belay");
BENCHMARK_CAPTURE(theirs, short_get, short_get)->Name("parse/short_get/beast");
BENCHMARK_CAPTURE(ours, browser_get, browser_get)->Name("parse/browser_get/belay");
BENCHMARK_CAPTURE(theirs, browser_get, browser_get)->Name("parse/browser_get/beast");
BENCHMARK_CAPTURE(ours, service_post, service_post)->Name("parse/service_post/belay");
BENCHMARK_CAPTURE(theirs, service_post, service_post)->Name("parse/service_post/beast");

http::problem not_found() {
  return {.status = http::status::not_found,
          .code = "user_not_found",
          .detail = "there is no user 7",
          .instance = "/users/7",
          .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"};
}

void problem_404(benchmark::State& state) {
  const http::problem what = not_found();
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(http::to_response(what));
  meter.report(state);
}
BENCHMARK(problem_404)->Name("problem/not_found");

void problem_422(benchmark::State& state) {
  http::problem what = not_found();
  what.status = http::status::unprocessable_content;
  what.code = "invalid";
  what.errors = {{"/from", "is required"}, {"/to", "must be an integer"}, {"/amount", "must be at least 1"}};
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(http::to_response(what));
  meter.report(state);
}
BENCHMARK(problem_422)->Name("problem/three_violations");

}  // namespace
}  // namespace bench
