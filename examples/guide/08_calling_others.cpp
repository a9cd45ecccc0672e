// SPDX-License-Identifier: Apache-2.0
// A guarded call to another service, which hangs, fails and comes back; on a network in memory. The guide's chapter 8.
//   ./08_calling_others     exit: 0
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/http/client.hpp>
#include <belay/http/server.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "quotes.hpp"

using namespace std::chrono_literals;
using belay::task;
namespace http = belay::http;
namespace io = belay::io;

namespace {

enum class mood { good, slow, broken };
mood upstream_is = mood::good;

task<http::response> quote(http::exchange& asked) {
  if (upstream_is == mood::slow) co_await belay::sleep_for(10s);
  if (upstream_is == mood::broken)
    co_return http::response::text(http::status::internal_server_error, "a stack trace");
  const std::string symbol = asked.request.path.substr(sizeof("/quotes/") - 1);
  co_return http::response::json(http::status::ok, R"({"symbol":")" + symbol + R"(","price":101})");
}

void print(const belay::policy_event& event) {
  const std::string policy(event.policy);
  const std::string action(to_string(event.action));
  const std::string detail(event.detail);
  std::printf("    %s %s%s%s\n", policy.c_str(), action.c_str(), detail.empty() ? "" : ": ", detail.c_str());
}

task<> ask(accounts::quotes& quotes, const char* symbol, const char* how) {
  std::printf("%s\n", how);
  const http::trace_context trace = http::start_trace([] { return std::uint64_t{1}; });
  try {
    const accounts::quote got = co_await quotes.get(symbol, trace, [](const belay::failure&) {});
    std::printf("  %s %lld%s\n", symbol, static_cast<long long>(got.price), got.stale ? ", stale" : "");
  } catch (const accounts::quotes_error& e) {
    std::printf("  %s %s: %s\n", symbol, std::string(e.code()).c_str(), e.what());
  }
}

// [snippet story]
task<> story(accounts::quotes& quotes) {
  co_await ask(quotes, "ABC", "it answers");
  upstream_is = mood::slow;
  co_await ask(quotes, "ABC", "it hangs");
  upstream_is = mood::broken;
  co_await ask(quotes, "XYZ", "it fails");
  co_await ask(quotes, "XYZ", "it fails again");
  co_await ask(quotes, "XYZ", "it is left alone");
  co_await ask(quotes, "ABC", "and there is an older quote");
  upstream_is = mood::good;
  co_await belay::sleep_for(2s);
  co_await ask(quotes, "ABC", "two seconds later");
}
// [end]

task<> program() {
  const io::endpoint address{"127.0.0.1", 9090};
  http::server upstream(
      [](http::exchange& asked) -> task<http::response> { co_return co_await quote(asked); });
  http::client web;
  accounts::quotes quotes(web,
                          {.upstream = http::url::parse("http://127.0.0.1:9090/quotes"), .listener = print});
  std::printf("%s\n\n", quotes.describe().c_str());
  co_await belay::with_group([&](belay::group& all) -> task<> {
    all.spawn([&]() -> task<> { co_await upstream.serve(io::tcp_listener::bind(address)); });
    co_await story(quotes);
    web.close();
    upstream.drain();
  });
}

}  // namespace

int main() {
  belay::testing::test_loop loop;  // time passes at once
  belay::testing::fake_network net({.conditions = {.delay = 1ms}});
  const io::network_override onto_net(net);
  loop.run(program());
}
