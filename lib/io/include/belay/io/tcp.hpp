// SPDX-License-Identifier: Apache-2.0
#pragma once
// TCP sockets for tasks.

#include <belay/core/task.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/io/network_error.hpp>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace belay::io {

/// A connection. Move-only; closed when destroyed. One reader and one writer at a time. Thread: the loop's.
class tcp_stream {
 public:
  tcp_stream(tcp_stream&&) noexcept;
  tcp_stream& operator=(tcp_stream&&) noexcept;
  ~tcp_stream();

  /// Reads what is there, at least one byte; 0 when the peer has ended its side.
  /// Errors:        `disconnected_error`, `network_error`.
  /// Cancellation:  no byte has been taken.
  [[nodiscard]] task<std::size_t> read_some(std::span<char> into);

  /// Writes all of `data`.
  /// Errors:        `disconnected_error`, `network_error`; part of it may have been sent.
  /// Cancellation:  likewise: close the connection then.
  [[nodiscard]] task<> write(std::string_view data);

  /// Ends our side; the peer reads the end after what was written. Idempotent, never fails.
  void end_writing() noexcept;
  /// Closes now. Operations under way end with `network_error`. Idempotent.
  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept;
  [[nodiscard]] const endpoint& peer() const noexcept;

  struct state;
  explicit tcp_stream(std::unique_ptr<state> opened) noexcept;

 private:
  std::unique_ptr<state> state_;
};

/// A listening socket. Move-only; closed when destroyed.
class tcp_listener {
 public:
  /// Binds and listens (SO_REUSEADDR). Errors: `network_error` that names the address. Inside of a running loop only.
  static tcp_listener bind(const endpoint& at, int backlog = 1024);

  tcp_listener(tcp_listener&&) noexcept;
  tcp_listener& operator=(tcp_listener&&) noexcept;
  ~tcp_listener();

  /// Waits for a connection.
  /// Errors:        `network_error` with the system's reason; after EMFILE, ENFILE, ENOBUFS or ENOMEM it may be tried again.
  /// Cancellation:  no connection has been taken.
  [[nodiscard]] task<tcp_stream> accept();

  /// Refuses new connections from now on. An `accept` under way ends with `network_error`. Idempotent.
  void close() noexcept;
  /// The address it is bound to, with the port that the system chose.
  [[nodiscard]] const endpoint& local() const noexcept;

  struct state;
  explicit tcp_listener(std::unique_ptr<state> bound) noexcept;

 private:
  std::unique_ptr<state> state_;
};

/// Connects. Errors: `network_error` that says to whom and what the system answered. Bound it with `with_timeout`.
/// Cancellation: the socket is closed.
[[nodiscard]] task<tcp_stream> connect(endpoint to);

}  // namespace belay::io
