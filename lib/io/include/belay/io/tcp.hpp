// SPDX-License-Identifier: Apache-2.0
#pragma once
// TCP sockets for tasks.

#include <belay/core/task.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/io/network_error.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string_view>

namespace belay::io {

class stream_transport;
class listener_transport;

/// A connection. Move-only; closed when destroyed. One reader and one writer at a time. Thread: the loop's.
class tcp_stream {
 public:
  tcp_stream(tcp_stream&&) noexcept;
  tcp_stream& operator=(tcp_stream&&) noexcept;
  ~tcp_stream();

  /// Reads what is there, at least one byte; 0 when the peer has ended its side, then and whenever it is asked again.
  /// Errors:        `disconnected_error`, again at each further read, so that what was cut off never looks complete;
  ///                `network_error`.
  /// Cancellation:  no byte has been taken.
  [[nodiscard]] BELAY_CORO_WRAPPER task<std::size_t> read_some(std::span<char> into);

  /// Writes all of `data`.
  /// Errors:        `disconnected_error`, `network_error`; part of it may have been sent.
  /// Cancellation:  likewise: close the connection then.
  [[nodiscard]] BELAY_CORO_WRAPPER task<> write(std::string_view data);

  /// Sends what can be sent without waiting, and says how much that was; 0 also when the connection is lost or closed, which the next
  /// `write` tells. Not while a write is under way.
  [[nodiscard]] std::size_t try_write(std::string_view data) noexcept;

  /// Ends our side; the peer reads the end after what was written. Idempotent, never fails.
  void end_writing() noexcept;
  /// Closes now. Operations under way end with `network_error`. Idempotent.
  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept;
  [[nodiscard]] const endpoint& peer() const noexcept;

  // For networks (network.hpp): a stream on a transport, which is not null.
  explicit tcp_stream(std::unique_ptr<stream_transport> opened) noexcept;
  [[nodiscard]] const stream_transport* transport() const noexcept { return transport_.get(); }

 private:
  std::unique_ptr<stream_transport> transport_;
};

struct listen_options {
  /// Connections that wait to be accepted; more than those are put off by the system.
  int backlog = 1024;
  /// Several sockets, of several loops or processes, may listen on the same address, and share who comes (SO_REUSEPORT). All of them must say
  /// so. Not for Unix sockets.
  bool reuse_port = false;
  /// Of the file of a Unix socket, such as 0660; empty: as the umask says.
  std::optional<unsigned> permissions{};
};

/// A listening socket. Move-only; closed when destroyed.
class tcp_listener {
 public:
  /// Binds and listens (SO_REUSEADDR). Errors: `network_error` that names the address. Inside of a running loop only.
  /// On the thread's network, which is the system's unless a `network_override` (network.hpp) says otherwise.
  ///
  /// On a Unix socket: a file that is there is removed first if it is a socket on which nobody listens, as a program that was killed leaves
  /// it. Otherwise it is "address in use", or "file exists" if it is no socket. Closing removes the file.
  static tcp_listener bind(const endpoint& at, int backlog = 1024,
                           std::source_location where = std::source_location::current());
  static tcp_listener bind(const endpoint& at, const listen_options& options,
                           std::source_location where = std::source_location::current());

  tcp_listener(tcp_listener&&) noexcept;
  tcp_listener& operator=(tcp_listener&&) noexcept;
  ~tcp_listener();

  /// Waits for a connection.
  /// Errors:        `network_error` with the system's reason; after EMFILE, ENFILE, ENOBUFS or ENOMEM it may be tried again.
  /// Cancellation:  no connection has been taken.
  [[nodiscard]] BELAY_CORO_WRAPPER task<tcp_stream> accept(
      std::source_location where = std::source_location::current());

  /// Refuses new connections from now on. An `accept` under way ends with `network_error`. Idempotent.
  void close() noexcept;
  /// The address it is bound to, with the port that the system chose.
  [[nodiscard]] const endpoint& local() const noexcept;

  explicit tcp_listener(std::unique_ptr<listener_transport> bound) noexcept;

 private:
  std::unique_ptr<listener_transport> transport_;
};

/// Connects. Errors: `network_error` that says to whom and what the system answered. Bound it with `with_timeout`.
/// On the network that the thread has when this is called, as for `bind`.
/// Cancellation: the socket is closed.
[[nodiscard]] BELAY_CORO_WRAPPER task<tcp_stream> connect(
    endpoint to, std::source_location where = std::source_location::current());

}  // namespace belay::io
