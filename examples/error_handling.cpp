// SPDX-License-Identifier: Apache-2.0
// One's own errors, who handles which, and who is told: the exception hierarchy, router and handlers of asyncio guides.
//   ./error_handling     exit: 0
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/errors/classify.hpp>
#include <belay/errors/error_router.hpp>
#include <belay/errors/error_type.hpp>
#include <belay/errors/guard.hpp>
#include <belay/errors/render.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;
using belay::error_kind;
using belay::task;

// [snippet hierarchy]
struct network_down : belay::error_type<error_kind::unavailable, "network"> {
  using error_type::error_type;
};
struct name_unknown : belay::error_type<error_kind::invalid, "dns", network_down> {
  using error_type::error_type;
};
// [end]

// [snippet throw]
task<std::string> fetch_user(int id, std::string token) {
  co_await belay::sleep_for(1ms);
  if (id == 1)
    throw belay::with_retry_after(
        network_down("connect to users:80: refused", {{"user", id}, {"token", belay::sensitive(token)}}), 5s);
  if (id == 2) throw name_unknown("there is no host called users");
  if (id == 3) throw std::out_of_range("map::at");
  co_return "Ann";
}
// [end]

// [snippet observer]
struct to_stdout : belay::error_observer {
  void record(const belay::error_event& e) override {
    std::printf("  [log] %s: %s\n", std::string(e.operation).c_str(), e.what.message().c_str());
  }
  void alert(const belay::error_event& e) override {
    std::printf("  [alert] %s, %s\n", e.as.code.c_str(),
                e.as.retryable ? "may be tried again" : "no use in trying again");
  }
};
// [end]

// [snippet router]
belay::error_router<std::string> make_routes() {
  belay::error_router<std::string> routes;
  routes.on<name_unknown>([] { return "check the address"; });  // the most derived one wins
  routes.on<network_down>([](const network_down& e) -> task<std::string> {
    co_await belay::sleep_for(1ms);  // handlers may await
    co_return std::string("try again later: ") + e.what();
  });
  routes.on_kind(error_kind::timed_out, [] { return "it took too long"; });
  routes.otherwise([] { return "internal error"; });
  return routes;
}
// [end]

// [snippet guard]
task<> show_user(int id, const belay::guard& guarded, const belay::error_router<std::string>& routes) {
  // Two layers, one record and one alert for an error that crosses both.
  const std::string text = co_await routes.handle(guarded(guarded(fetch_user(id, "hunter2"))));
  std::printf("  -> %s\n", text.c_str());
}
// [end]

task<> program() {
  to_stdout seen;
  const belay::guard guarded(seen, {.operation = "load user"});
  const belay::error_router<std::string> routes = make_routes();
  for (const int id : {0, 1, 2, 3}) {
    std::printf("user %d\n", id);
    co_await show_user(id, guarded, routes);
  }
  // [snippet json]
  const auto how = co_await belay::as_outcome(fetch_user(1, "hunter2"));
  const std::string json = belay::render_json(how.failure());  // details, trace, causes; never the token
  // [end]
  std::printf("the token is %s\n", json.find("hunter2") == std::string::npos ? "not shown" : "SHOWN");
}

int main() { return belay::run(program()); }
