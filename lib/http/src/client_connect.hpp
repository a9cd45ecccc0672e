// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the client gets to a host: by name, through a proxy, with TLS.

#include <belay/core/task.hpp>
#include <belay/http/client_error.hpp>
#include <belay/http/proxy.hpp>
#include <belay/http/url.hpp>
#include <belay/io/tcp.hpp>
#include <belay/io/tls.hpp>

#include <optional>
#include <source_location>
#include <string>

namespace belay::http::detail {

struct route {
  const url& to;
  const url* proxy = nullptr;                      // null: directly
  const std::string& proxy_authorization;          // for a tunnel
  const std::optional<io::tls::context>& trusted;  // set where it is needed
  std::source_location where;
};

/// A connection that takes requests for `to`. Errors: `io::network_error`; `proxy_refusal` for a proxy that makes no tunnel.
[[nodiscard]] task<io::tcp_stream> open_connection(route by);

/// The proxy has answered CONNECT with something else than 2xx.
struct proxy_refusal : error {
  using error::error;
};

/// Connections of the same key are for the same requests.
[[nodiscard]] std::string connection_key(const url& to, const url* proxy);

}  // namespace belay::http::detail
