// SPDX-License-Identifier: Apache-2.0
// Unix sockets: files that outlive who made them, and so are looked at before they are replaced.

#include <belay/core/sleep.hpp>
#include <belay/io/network.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <system_error>

#include "system_socket.hpp"

namespace belay::io::detail {

namespace {

[[noreturn]] void fail(std::string_view what, const endpoint& with, int reason) {
  throw_network_error(what, with, std::error_code(reason, std::system_category()));
}

struct unix_address {
  sockaddr_un text{};
  socklen_t length = 0;
};

unix_address address_of(std::string_view what, const endpoint& at) {
  const std::string path = at.unix_path();
  unix_address out;
  out.text.sun_family = AF_UNIX;
  if (path.empty() || path.find('\0') != std::string::npos) fail(what, at, EINVAL);
  if (path.size() >= sizeof out.text.sun_path) fail(what, at, ENAMETOOLONG);
  std::memcpy(out.text.sun_path, path.data(), path.size());
  out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return out;
}

owned_descriptor open_socket(std::string_view what, const endpoint& at) {
  owned_descriptor made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (made.get() < 0) fail(what, at, errno);
  return made;
}

int connect_now(int socket, const unix_address& to) noexcept {
  const int how = ::connect(socket, reinterpret_cast<const sockaddr*>(&to.text), to.length);
  return how == 0 ? 0 : errno;
}

// Two programs that start at the same time must not remove each other's socket: the directory is locked while one looks and binds.
owned_descriptor lock_directory(const endpoint& at) {
  const std::string path = at.unix_path();
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  owned_descriptor opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0) fail("listen on", at, errno);
  // Whoever makes another socket here holds it for a moment only. Anybody may hold it for ever, so that it is not waited for without end.
  for (int tries = 0; ::flock(opened.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
    if (errno != EWOULDBLOCK && errno != EINTR) fail("lock the directory of", at, errno);
    if (tries == 100) fail("lock the directory of", at, EWOULDBLOCK);
    const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return opened;
}

void remove_stale(const endpoint& at, const unix_address& where) {
  struct stat there{};
  if (::lstat(where.text.sun_path, &there) != 0) {
    if (errno == ENOENT) return;
    fail("listen on", at, errno);
  }
  if (!S_ISSOCK(there.st_mode)) fail("listen on", at, EEXIST);  // somebody's file
  // Only a refusal says that nobody listens. Anything else, such as a full backlog, is somebody.
  const owned_descriptor probe = open_socket("listen on", at);
  if (connect_now(probe.get(), where) != ECONNREFUSED) fail("listen on", at, EADDRINUSE);
  if (::unlink(where.text.sun_path) != 0 && errno != ENOENT) fail("listen on", at, errno);
}

}  // namespace

owned_descriptor::~owned_descriptor() {
  if (open_ >= 0) ::close(open_);
}

socket_file::socket_file(std::string path) {
  struct stat made{};
  if (::lstat(path.c_str(), &made) != 0) return;  // gone already: nothing to remove
  path_ = std::move(path);
  device_ = made.st_dev;
  inode_ = made.st_ino;
}

void socket_file::remove() noexcept {
  if (path_.empty()) return;
  struct stat there{};
  if (::lstat(path_.c_str(), &there) == 0 && there.st_dev == device_ && there.st_ino == inode_)
    ::unlink(path_.c_str());
  path_.clear();
}

std::pair<owned_descriptor, socket_file> listen_unix(const endpoint& at, const listen_options& options) {
  const unix_address where = address_of("listen on", at);
  const owned_descriptor only_one = lock_directory(at);
  remove_stale(at, where);
  owned_descriptor made = open_socket("listen on", at);
  if (::bind(made.get(), reinterpret_cast<const sockaddr*>(&where.text), where.length) != 0)
    fail("listen on", at, errno);
  socket_file file(at.unix_path());
  // Before `listen`, so that nobody connects with the permissions that the umask has left.
  if (options.permissions && ::chmod(where.text.sun_path, *options.permissions) != 0)
    fail("listen on", at, errno);
  if (::listen(made.get(), options.backlog) != 0) fail("listen on", at, errno);
  return {std::move(made), std::move(file)};
}

task<owned_descriptor> connect_unix(endpoint to) {
  const unix_address where = address_of("connect to", to);
  co_await checkpoint();
  while (true) {
    owned_descriptor made = open_socket("connect to", to);
    const int failed = connect_now(made.get(), where);
    if (failed == 0) co_return std::move(made);
    if (failed != EAGAIN) fail("connect to", to, failed);
    // The backlog is full. Linux tells nobody when there is room again.
    co_await sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace belay::io::detail
