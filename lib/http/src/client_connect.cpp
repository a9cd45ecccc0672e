// SPDX-License-Identifier: Apache-2.0
// From a URL to a connection.

#include "client_connect.hpp"

#include <belay/http/response_parser.hpp>
#include <belay/io/resolve.hpp>

#include <array>
#include <utility>

namespace belay::http::detail {
namespace {

// The proxy's answer has no body, whatever its fields say; what follows it is the tunnel.
task<> ask_for_tunnel(io::tcp_stream& through, const route& by) {
  const std::string host = by.to.host_name();
  const bool v6 = host.find(':') != std::string::npos;
  const std::string target = (v6 ? "[" + host + "]" : host) + ":" + std::to_string(by.to.at.port);
  std::string head = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n";
  if (!by.proxy_authorization.empty()) head += "Proxy-Authorization: " + by.proxy_authorization + "\r\n";
  head += "\r\n";
  co_await through.write(head);
  response_parser answer(method::head);
  std::array<char, 1> part{};  // no further than the answer goes
  while (answer.current() == response_parser::state::reading_head) {
    if (co_await through.read_some(part) == 0) {
      answer.end();
    } else {
      answer.feed({part.data(), 1});
    }
  }
  const std::string what = "tunnel to " + target + " through the proxy " + by.proxy->host + ": ";
  if (answer.current() == response_parser::state::failed)
    throw proxy_refusal(error_kind::unavailable, "proxy_refused", what + answer.fault().detail, by.where);
  const status how = answer.take().status;
  if (to_int(how) >= 200 && to_int(how) < 300) co_return;
  std::string why = "it answered " + std::to_string(to_int(how)) + " " + std::string(reason_phrase(how));
  if (to_int(how) == 407) why += "; it wants credentials (proxy_settings::authorization_for_https)";
  throw proxy_refusal(error_kind::unavailable, "proxy_refused", what + why, by.where);
}

task<io::tcp_stream> reach(const url& what, std::source_location where) {
  if (what.at.is_unix()) co_return co_await or_fail(io::connect(what.at, where));
  co_return co_await or_fail(io::connect(what.at.address, what.at.port, {}, where));
}

}  // namespace

task<io::tcp_stream> open_connection(route by) {
  io::tcp_stream made = co_await or_fail(reach(by.proxy != nullptr ? *by.proxy : by.to, by.where));
  if (by.to.scheme == scheme::http) co_return made;
  if (by.proxy != nullptr) co_await or_fail(ask_for_tunnel(made, by));
  co_return co_await or_fail(io::tls::connect(std::move(made), *by.trusted, by.to.host_name(), by.where));
}

std::string connection_key(const url& to, const url* proxy) {
  std::string key = to.scheme == scheme::https ? "https " + to.host_name() + " " : std::string();
  key += to.at.to_string();
  if (proxy != nullptr) key += " by " + proxy->at.to_string();
  return key;
}

}  // namespace belay::http::detail
