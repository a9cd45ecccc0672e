// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a request goes.

#include <belay/io/endpoint.hpp>
#include <string>
#include <string_view>

namespace belay::http {

/// `http://127.0.0.1:8080/quotes?limit=3`, in parts.
struct url {
  /// Where to connect.
  io::endpoint at{};
  /// As it was written, for the Host field: `localhost:8080`.
  std::string host{};
  std::string target = "/";

  /// Errors:   `message_error` `invalid_url` that says what is wrong: another scheme, credentials, a fragment, a target that cannot go
  ///           over the wire; a host that is neither a numeric address nor `localhost` (names are not looked up). `https_not_supported` for
  ///           https: there is no TLS.
  static url parse(std::string_view text);

  /// Another target on the same host. Errors: `message_error` `invalid_target`.
  [[nodiscard]] url with_target(std::string_view other) const;
  /// Without the query, which may hold secrets: for messages.
  [[nodiscard]] std::string describe() const;
};

/// Letters, digits and "-._~" as they are, all else as %XX: one segment of a path, or the name or value of a query parameter.
[[nodiscard]] std::string percent_encode(std::string_view bytes);

}  // namespace belay::http
