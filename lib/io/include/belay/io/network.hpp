// SPDX-License-Identifier: Apache-2.0
#pragma once
// The seam under the sockets: where connections come from, so that a program can run on another network than the system's.
//
//     belay::testing::fake_network net;
//     belay::io::network_override guard(net);   // io::connect and tcp_listener::bind go to `net` from here on
//
// Programs use tcp.hpp and see nothing of this.

#include <belay/core/task.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/io/tcp.hpp>
#include <cstddef>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace belay::io {

/// One end of a connection: what a `tcp_stream` stands on. Each function keeps the contract of the function there that
/// has its name. Destroying it closes the end.
class stream_transport {
 public:
  stream_transport() noexcept = default;
  stream_transport(const stream_transport&) = delete;
  stream_transport& operator=(const stream_transport&) = delete;
  virtual ~stream_transport() = default;

  /// What is there already, the end included, is given even if a limit passes just now: `http::client` looks at idle connections by a
  /// read with the shortest limit. A cancellation that was requested before has its place.
  [[nodiscard]] virtual task<std::size_t> read_some(std::span<char> into) = 0;
  [[nodiscard]] virtual task<> write(std::string_view data) = 0;
  /// A transport that cannot tell may always say 0.
  [[nodiscard]] virtual std::size_t try_write(std::string_view) noexcept { return 0; }
  virtual void end_writing() noexcept = 0;
  virtual void close() noexcept = 0;
  [[nodiscard]] virtual bool is_open() const noexcept = 0;
  [[nodiscard]] virtual const endpoint& peer() const noexcept = 0;
};

/// What a `tcp_listener` stands on; likewise.
class listener_transport {
 public:
  listener_transport() noexcept = default;
  listener_transport(const listener_transport&) = delete;
  listener_transport& operator=(const listener_transport&) = delete;
  virtual ~listener_transport() = default;

  [[nodiscard]] virtual task<tcp_stream> accept(std::source_location where) = 0;
  virtual void close() noexcept = 0;
  [[nodiscard]] virtual const endpoint& local() const noexcept = 0;
};

/// Makes connections. `where` is the place in the program that asked.
class network {
 public:
  network() noexcept = default;
  network(const network&) = delete;
  network& operator=(const network&) = delete;
  virtual ~network() = default;

  /// As `io::connect`.
  [[nodiscard]] virtual task<tcp_stream> connect(endpoint to, std::source_location where) = 0;
  /// The numeric addresses of a name that is neither one itself nor `localhost`, at least one; errors and cancellation as of `io::resolve`.
  /// Unless it is overridden, there is no name.
  [[nodiscard]] virtual task<std::vector<std::string>> look_up(std::string host, std::source_location where);
  /// As `tcp_listener::bind`. Never null.
  [[nodiscard]] virtual std::unique_ptr<listener_transport> bind(const endpoint& at,
                                                                 const listen_options& options,
                                                                 std::source_location where) = 0;
};

/// The system's, on Asio. One object for all threads.
[[nodiscard]] network& system_network() noexcept;

/// As its `look_up`.
[[nodiscard]] task<std::vector<std::string>> look_up_by_system(std::string host, std::source_location where);

/// The one that `connect` and `bind` use on this thread: that of the innermost override, or the system's.
[[nodiscard]] network& current_network() noexcept;

/// Puts `with` in for this thread as long as it lives. Nests; ends in the reverse order, as scopes do.
/// What was opened before stays where it was opened. Lifetime: `with` outlives it. Thread: made and destroyed on the loop's.
class network_override {
 public:
  explicit network_override(network& with) noexcept;
  network_override(const network_override&) = delete;
  network_override& operator=(const network_override&) = delete;
  ~network_override();

 private:
  network* before_;
};

/// For transports: throws `disconnected_error` if `reason` means that the other side has gone, `network_error` otherwise, with a
/// message such as "read from 127.0.0.1:80: Connection reset by peer".
[[noreturn]] void throw_network_error(std::string_view what, const endpoint& with, std::error_code reason);

}  // namespace belay::io
