// SPDX-License-Identifier: Apache-2.0
// GET /hello on `http::server` alone: the layer's cost without routes, traces and records. All its limits are on.
//   belay_http_hello_server PORT     exit: 143 after SIGTERM, 2 usage

#include <belay/core/run.hpp>
#include <belay/http/server.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

namespace http = belay::http;

belay::task<http::response> answer(http::exchange& asked) {
  const http::request& request = asked.request;
  if (request.path != "/hello") co_return http::response::json(http::status::not_found, "{}");
  if (request.method != http::method::get)
    co_return http::response::json(http::status::method_not_allowed, "{}");
  co_return http::response::json(http::status::ok, R"({"message":"hello, world"})");
}

belay::task<> serve(std::uint16_t port) {
  http::server web(answer, {}, {.max_connections = 20'000});
  co_await web.serve(belay::io::tcp_listener::bind({"127.0.0.1", port}, 4096));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: belay_http_hello_server PORT\n", stderr);
    return 2;
  }
  return belay::run(serve(static_cast<std::uint16_t>(std::atoi(argv[1]))));
}
