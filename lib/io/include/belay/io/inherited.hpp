// SPDX-License-Identifier: Apache-2.0
#pragma once
// Listening sockets that whoever started the program has opened: systemd's socket activation, or a predecessor that hands over.

#include <belay/io/tcp.hpp>
#include <source_location>
#include <string>
#include <vector>

namespace belay::io {

struct inherited_listener {
  std::string name{};  ///< FileDescriptorName= of the socket unit; "unknown" when none was told
  tcp_listener listener;
};

/// The sockets of LISTEN_FDS, from descriptor 3 on, if LISTEN_PID is this process; otherwise none (sd_listen_fds(3)).
///
/// They are closed when the program executes another one. What is there is taken once, and by one loop.
/// Errors:  `error` (invalid, `inherited_socket`) that names the variable or the descriptor and what is wrong: the environment is
///          malformed, or a descriptor is no listening stream socket. `misuse_error` for a second call. Inside of a running loop only.
[[nodiscard]] std::vector<inherited_listener> inherited_listeners(
    std::source_location where = std::source_location::current());

/// A listener on an open descriptor, which it owns from then on. Errors: as above; the descriptor stays the caller's then.
[[nodiscard]] tcp_listener adopt_listener(int descriptor);

}  // namespace belay::io
