// SPDX-License-Identifier: Apache-2.0
#pragma once
// Names of hosts: looking them up, and connecting to whoever of their addresses answers.

#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/io/network_error.hpp>
#include <belay/io/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <source_location>
#include <string>
#include <system_error>
#include <vector>

namespace belay::io {

/// A name could not be looked up.
///   not_found    name_not_found       the name does not exist, or has no address
///   unavailable  name_lookup_failed   nobody could be asked: to be tried again
class resolve_error : public network_error {
 public:
  resolve_error(error_kind kind, std::string code, std::string message,
                std::source_location where = std::source_location::current())
      : network_error(kind, std::move(code), std::move(message),
                      std::make_error_code(std::errc::host_unreachable), where) {}
};

/// The addresses of `host`, with `port`, in the order in which they are to be tried; at least one.
///
/// A numeric address is its own, `localhost` is 127.0.0.1 and ::1 (RFC 6761); neither is looked up. Everything else is asked of the system
/// (`getaddrinfo`: /etc/hosts, DNS), on a thread, or of the network that is put in for it.
///
/// Errors:        `resolve_error`; of kind `invalid` (`bad_name`) for what cannot be the name of a host.
/// Cancellation:  at once. The system cannot be told to stop: its call is abandoned (see `to_thread`), and takes a thread until it gives up.
///                So at most 4 threads of a loop are in such calls at once, and others wait in line; one name is asked for once at a time.
[[nodiscard]] BELAY_CORO_WRAPPER task<std::vector<endpoint>> resolve(
    std::string host, std::uint16_t port, std::source_location where = std::source_location::current());

struct connect_options {
  /// A try that has not succeeded after so long does not hold up the next one; it goes on beside it (RFC 8305 section 5). More than zero;
  /// `duration::max()`: one after the other.
  duration attempt_delay = std::chrono::milliseconds(250);
};

/// Connects to the first address of `host` that can be connected to: each is tried after the one before it has failed, or has taken
/// `attempt_delay`; IPv6 and IPv4 take turns. Once one succeeds the others are given up.
///
/// Errors:        `resolve_error`. If no address can be connected to, the error of the first, to which those of the others are attached, with a note
///                that names the host. `misuse_error` for a delay that is not more than zero.
/// Cancellation:  all tries are given up.
[[nodiscard]] task<tcp_stream> connect(std::string host, std::uint16_t port, connect_options options = {},
                                       std::source_location where = std::source_location::current());

}  // namespace belay::io
