// SPDX-License-Identifier: Apache-2.0
#pragma once
// An address and a port.

#include <cstdint>
#include <string>
#include <string_view>

namespace belay::io {

/// A numeric IP address (v4 or v6, without brackets) and a port; port 0 lets the system choose one when listening.
struct endpoint {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;

  /// `127.0.0.1:8080`, `[::1]:8080`.
  [[nodiscard]] std::string to_string() const;
  /// Errors: `belay::error` (invalid, `bad_endpoint`) that says what is wrong with `text`. `localhost` is 127.0.0.1.
  static endpoint parse(std::string_view text);

  friend bool operator==(const endpoint&, const endpoint&) = default;
};

}  // namespace belay::io
