// SPDX-License-Identifier: Apache-2.0
#pragma once
// Servers on a fake network, by name, and a client of them.

#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/task_function.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/client.hpp>
#include <belay/http/server.hpp>
#include <belay/io/tls.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <functional>
#include <list>
#include <string>

#include "../../io/tests/certificates.hpp"

namespace test {

inline belay::io::tls::context server_context(const certificate& with) {
  return belay::io::tls::context::server({.certificate_file = with.file(), .key_file = with.key_file()});
}
inline belay::io::tls::context client_context() {
  return belay::io::tls::context::client({.ca_file = certificates::get().authority.file()});
}

using plain_handler = std::function<belay::http::response(const belay::http::request&)>;

// What its servers are asked is in `seen`, as "GET /path".
class sites {
 public:
  belay::testing::fake_network net{{.conditions = {.delay = std::chrono::milliseconds(1)}}};
  std::vector<std::string> seen{};

  void add(const belay::io::endpoint& at, plain_handler answer, const certificate* secure = nullptr) {
    servers_.emplace_back();
    server& made = servers_.back();
    made.at = at;
    made.secure = secure;
    made.web.emplace(
        [this, answer = std::move(answer)](belay::http::exchange& of) -> belay::task<belay::http::response> {
          seen.push_back(std::string(belay::http::to_string(of.request.method)) + " " + of.request.target);
          co_return answer(of.request);
        });
  }

  belay::testing::test_loop loop{};
  void run(belay::http::client_options options,
           belay::task_function<belay::task<>(belay::http::client&)> conversation) {
    const belay::io::network_override guard(net);
    loop.run(converse(std::move(options), std::move(conversation)));
    CHECK_MESSAGE(net.nothing_left(), net.describe());
  }

 private:
  struct server {
    belay::io::endpoint at{};
    const certificate* secure = nullptr;
    std::optional<belay::http::server> web{};
  };

  belay::task<> converse(belay::http::client_options options,
                         belay::task_function<belay::task<>(belay::http::client&)> conversation) {
    co_await belay::with_group([&](belay::group& tasks) -> belay::task<> {
      for (server& one : servers_) {
        auto listener = belay::io::tcp_listener::bind(one.at);
        if (one.secure != nullptr)
          listener = belay::io::tls::listen(std::move(listener), server_context(*one.secure));
        tasks.adopt(one.web->serve(std::move(listener)));
      }
      belay::http::client web(std::move(options));
      co_await conversation(web);
      web.close();
      for (server& one : servers_) one.web->drain();
    });
  }

  std::list<server> servers_{};
};

inline belay::http::response text(std::string what) {
  return belay::http::response::text(belay::http::status::ok, std::move(what));
}

inline belay::http::client_request get(std::string_view from) {
  return belay::http::client_request::get(belay::http::url::parse(from));
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// The error of a request, by its code; "" if it has succeeded.
inline belay::task<std::string> code_of(belay::task<belay::http::response> op,
                                        std::string* message = nullptr) {
  const auto how = co_await belay::as_outcome(std::move(op));
  if (!how.failed()) co_return "";
  const auto* found = how.failure().find<belay::http::request_error>();
  if (message != nullptr) *message = how.failure().message();
  co_return found != nullptr ? std::string(found->code()) : how.failure().message();
}

}  // namespace test
