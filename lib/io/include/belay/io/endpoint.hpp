// SPDX-License-Identifier: Apache-2.0
#pragma once
// An address and a port, or the path of a Unix socket.

#include <cstdint>
#include <string>
#include <string_view>

namespace belay::io {

/// A numeric IP address (v4 or v6, without brackets) and a port; port 0 lets the system choose one when listening. Or the path of a Unix
/// socket, as the address `unix:/run/service.sock` and port 0.
struct endpoint {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;

  [[nodiscard]] bool is_unix() const noexcept { return address.starts_with("unix:"); }
  /// What stands behind `unix:`; empty for other addresses.
  [[nodiscard]] std::string unix_path() const { return is_unix() ? address.substr(5) : std::string(); }

  /// `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/service.sock`.
  [[nodiscard]] std::string to_string() const;
  /// Errors: `belay::error` (invalid, `bad_endpoint`) that says what is wrong with `text`. `localhost` is 127.0.0.1.
  static endpoint parse(std::string_view text);

  friend bool operator==(const endpoint&, const endpoint&) = default;
};

}  // namespace belay::io
