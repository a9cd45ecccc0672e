// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sending requests through a proxy.

#include <belay/http/url.hpp>
#include <optional>
#include <string>

namespace belay::http {

/// Which requests go through which proxy. A proxy is spoken to by http: it is told the whole URL of http requests, and asked for a tunnel
/// (CONNECT) for https ones, in which it sees nothing.
struct proxy_settings {
  /// Their URLs begin with http://, for both.
  std::optional<url> for_http{};
  std::optional<url> for_https{};
  /// The values of Proxy-Authorization, such as "Basic …", each for its proxy only; empty: none.
  std::string authorization{};            ///< of `for_http`
  std::string authorization_for_https{};  ///< of `for_https`
  /// Hosts that are asked directly, separated by commas: names with all that is below them (`example.org` is also www.example.org, as is
  /// `.example.org`), numeric addresses, each with `:port` or for every port; `*`: all.
  std::string no_proxy{};

  /// From `http_proxy` (in small letters only: the other spelling can be set by who sends a request to a CGI program), `https_proxy` or
  /// `HTTPS_PROXY`, and `no_proxy` or `NO_PROXY`. Credentials in a URL become the authorization of its
  /// proxy.
  /// Errors: `message_error` `invalid_url` that names the variable. Thread: before others change the environment.
  [[nodiscard]] static proxy_settings from_environment();

  /// The proxy for a request to `to`; nothing: it goes directly, as all do whose address is a Unix socket.
  [[nodiscard]] const url* choose(const url& to) const;
};

}  // namespace belay::http
