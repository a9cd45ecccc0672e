// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a request goes.

#include <belay/io/endpoint.hpp>
#include <string>
#include <string_view>

namespace belay::http {

enum class scheme : unsigned char { http, https };

/// `https://example.org:8443/quotes?limit=3`, in parts.
struct url {
  /// Where to connect. The address may be the name of a host, which is looked up then (`io::connect`); `localhost` is 127.0.0.1.
  io::endpoint at{};
  /// As it was written, for the Host field: `example.org:8443`. For https, the certificate must be made out to it.
  std::string host{};
  std::string target = "/";
  http::scheme scheme = http::scheme::http;

  /// Errors: `message_error` `invalid_url` that says what is wrong: a scheme that is neither http nor https, credentials, a fragment, a target
  ///         that cannot go over the wire, a host that is neither a numeric address nor a name of letters, digits, '-', '_' and '.'.
  static url parse(std::string_view text);

  /// Another target on the same host. Errors: `message_error` `invalid_target`.
  [[nodiscard]] url with_target(std::string_view other) const;
  /// What a reference such as `../a?b`, `/a`, `//host/a` or a whole URL means, seen from here (RFC 3986 section 5.2). A fragment is dropped.
  /// Errors: as `parse`.
  [[nodiscard]] url resolve(std::string_view reference) const;
  /// The host without its port and brackets.
  [[nodiscard]] std::string host_name() const;
  /// Scheme, host and port are those of `other` (RFC 6454).
  [[nodiscard]] bool same_origin(const url& other) const;
  /// Without the query, which may hold secrets: for messages.
  [[nodiscard]] std::string describe() const;
  /// "http://example.org:8443", without the target.
  [[nodiscard]] std::string origin() const;
};

/// Letters, digits and "-._~" as they are, all else as %XX: one segment of a path, or the name or value of a query parameter.
[[nodiscard]] std::string percent_encode(std::string_view bytes);

}  // namespace belay::http
