// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is done to sockets without Asio: those of Unix, and those that were inherited.

#include <belay/core/task.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/io/tcp.hpp>

#include <sys/types.h>

#include <string>
#include <utility>

namespace belay::io::detail {

/// A descriptor that is closed unless it is released.
class owned_descriptor {
 public:
  explicit owned_descriptor(int open) noexcept : open_(open) {}
  owned_descriptor(owned_descriptor&& other) noexcept : open_(std::exchange(other.open_, -1)) {}
  owned_descriptor& operator=(owned_descriptor&&) = delete;
  ~owned_descriptor();
  [[nodiscard]] int get() const noexcept { return open_; }
  [[nodiscard]] int release() noexcept { return std::exchange(open_, -1); }

 private:
  int open_;
};

/// The file of a listening Unix socket. Removes it, if it still is the one that was made.
class socket_file {
 public:
  socket_file() noexcept = default;
  explicit socket_file(std::string path);
  socket_file(socket_file&& other) noexcept
      : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}
  socket_file& operator=(socket_file&&) = delete;
  ~socket_file() { remove(); }
  void remove() noexcept;

 private:
  std::string path_{};
  dev_t device_{};
  ino_t inode_{};
};

/// Binds and listens on `unix:/path`. A file that is there is taken away only if it is a socket on which nobody listens.
[[nodiscard]] std::pair<owned_descriptor, socket_file> listen_unix(const endpoint& at,
                                                                   const listen_options& options);
[[nodiscard]] task<owned_descriptor> connect_unix(endpoint to);

/// Where a listening socket is bound. Errors: as `adopt_listener`.
[[nodiscard]] endpoint local_of(int listening);

}  // namespace belay::io::detail
