// SPDX-License-Identifier: Apache-2.0
// The protocol of sd_notify(3): lines in a datagram.

#include <belay/core/error.hpp>
#include <belay/service/service_manager.hpp>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace belay::service {

namespace {

std::optional<std::uint64_t> to_number(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::optional<service_manager> service_manager::from_environment(
    const std::function<const char*(const char*)>& variable) {
  const auto read = [&variable](const char* name) -> std::string_view {
    const char* const value =
        variable ? variable(name) : std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody changes it
    return value == nullptr ? std::string_view() : std::string_view(value);
  };
  const std::string_view address = read("NOTIFY_SOCKET");
  if (address.empty()) return std::nullopt;
  duration watchdog{};
  const std::string_view wanted = read("WATCHDOG_USEC");
  const std::string_view whose = read("WATCHDOG_PID");
  if (!wanted.empty() && (whose.empty() || whose == std::to_string(::getpid()))) {
    constexpr std::uint64_t most = 1'000'000ULL * 3600 * 24 * 365;
    const auto micros = to_number(wanted);
    if (!micros || *micros == 0 || *micros > most) {
      throw error(error_kind::invalid, "bad_watchdog",
                  "WATCHDOG_USEC '" + std::string(wanted) + "' is no time in microseconds");
    }
    watchdog = std::chrono::microseconds(static_cast<std::int64_t>(*micros));
  }
  return service_manager(std::string(address), watchdog);
}

service_manager::service_manager(std::string address, duration watchdog)
    : address_(std::move(address)), watchdog_(watchdog) {
  const bool understood = address_.size() > 1 && (address_.front() == '/' || address_.front() == '@');
  if (understood && address_.size() < sizeof(sockaddr_un::sun_path)) return;
  throw error(error_kind::invalid, "bad_notify_socket",
              "NOTIFY_SOCKET '" + address_ + "': expected a path or @NAME, shorter than " +
                  std::to_string(sizeof(sockaddr_un::sun_path)) + " bytes");
}

bool service_manager::send(std::string_view lines) const noexcept {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';  // an abstract name
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const ssize_t sent = ::sendto(fd, lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                reinterpret_cast<const sockaddr*>(&to), length);
  ::close(fd);
  return sent == static_cast<ssize_t>(lines.size());
}

bool service_manager::send_status(std::string_view text) const noexcept {
  try {
    std::string line = "STATUS=" + std::string(text);
    for (char& c : line) {
      if (c == '\n' || c == '\r') c = ' ';
    }
    return send(line);
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace belay::service
