// SPDX-License-Identifier: Apache-2.0
#pragma once
// Contexts and pairs of connections for the tests of TLS.

#include <belay/core/all.hpp>
#include <belay/core/outcome.hpp>
#include <belay/io/tls.hpp>
#include <doctest/doctest.h>

#include <array>
#include <span>
#include <string>
#include <utility>

#include "certificates.hpp"

namespace test {

namespace tls = belay::io::tls;

inline tls::context server_context(const certificate& with, tls::server_options options = {}) {
  options.certificate_file = with.file();
  options.key_file = with.key_file();
  return tls::context::server(options);
}
inline tls::context good_server() { return server_context(certificates::get().localhost); }
inline tls::context good_client(tls::client_options options = {}) {
  if (options.ca_file.empty()) options.ca_file = certificates::get().authority.file();
  return tls::context::client(options);
}

using stream_pair = std::pair<belay::io::tcp_stream, belay::io::tcp_stream>;

// Server and client, plain.
inline belay::task<stream_pair> plain_pair() {
  auto listener = belay::io::tcp_listener::bind({});
  auto [server, client] = co_await belay::all(listener.accept(), belay::io::connect(listener.local()));
  co_return stream_pair(std::move(server), std::move(client));
}

inline belay::task<stream_pair> tls_pair(tls::context server_side, tls::context client_side,
                                         std::string host = "localhost") {
  auto [server, client] = co_await plain_pair();
  auto [secure_server, secure_client] =
      co_await belay::all(tls::accept(std::move(server), std::move(server_side)),
                          tls::connect(std::move(client), std::move(client_side), std::move(host)));
  co_return stream_pair(std::move(secure_server), std::move(secure_client));
}
inline belay::task<stream_pair> tls_pair() { co_return co_await tls_pair(good_server(), good_client()); }

inline belay::task<std::string> read_all(belay::io::tcp_stream& from) {
  std::string all;
  std::array<char, 5000> part{};
  while (const std::size_t count = co_await from.read_some(part)) all.append(part.data(), count);
  co_return all;
}

inline belay::task<std::string> read_exactly(belay::io::tcp_stream& from, std::size_t length) {
  std::string all(length, '\0');
  for (std::size_t have = 0; have < length;) {
    const std::size_t count = co_await from.read_some(std::span(all).subspan(have));
    if (count == 0) throw std::runtime_error("the end came early");
    have += count;
  }
  co_return all;
}

template <class E = belay::io::network_error, class T>
const E& error_of(const belay::outcome<T>& how) {
  REQUIRE(how.failed());
  const auto* found = how.failure().template find<E>();
  REQUIRE_MESSAGE(found != nullptr, how.failure().message());
  return *found;
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace test
