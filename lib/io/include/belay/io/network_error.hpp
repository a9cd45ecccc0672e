// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the network can do to an operation.

#include <belay/core/error.hpp>
#include <source_location>
#include <string>
#include <system_error>
#include <utility>

namespace belay::io {

/// An operation on a socket failed. The message says which, with whom, and what the system answered.
class network_error : public error {
 public:
  network_error(std::string message, std::error_code reason,
                std::source_location where = std::source_location::current())
      : error(error_kind::unavailable, "network", std::move(message), where), reason_(reason) {}

  [[nodiscard]] std::error_code reason() const noexcept { return reason_; }

 protected:
  network_error(error_kind kind, std::string code, std::string message, std::error_code reason,
                std::source_location where)
      : error(kind, std::move(code), std::move(message), where), reason_(reason) {}

 private:
  std::error_code reason_;
};

/// The other side has gone: reset, broken pipe. (An orderly end of what it sends is no error: `read_some` gives 0.)
class disconnected_error : public network_error {
 public:
  using network_error::network_error;
};

}  // namespace belay::io
