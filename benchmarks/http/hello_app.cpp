// SPDX-License-Identifier: Apache-2.0
// GET /hello on `service::app`, as a service has it: routes, traces, records, every limit and deadline on.
//   belay_http_hello_app PORT     exit: 0 after SIGTERM, 1 cannot listen, 2 usage

#include <belay/service/app.hpp>
#include <belay/telemetry/sink.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

belay::task<belay::http::response> hello(belay::service::request&) {
  co_return belay::http::response::json(belay::http::status::ok, R"({"message":"hello, world"})");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: belay_http_hello_app PORT\n", stderr);
    return 2;
  }
  const belay::telemetry::logger log(belay::telemetry::background_sink(belay::telemetry::stderr_sink()));
  belay::service::app_options options;
  options.name = "hello";
  options.listen = {"127.0.0.1", static_cast<std::uint16_t>(std::atoi(argv[1]))};
  options.http.max_connections = 20'000;
  belay::service::app app(options, log);
  app.get("/hello", hello);
  return app.run();
}
