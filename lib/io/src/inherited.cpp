// SPDX-License-Identifier: Apache-2.0
// Sockets that were open before the program began.

#include <belay/core/error.hpp>
#include <belay/io/inherited.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <system_error>

#include "system_socket.hpp"

namespace belay::io {

namespace {

constexpr int first_descriptor = 3;  // SD_LISTEN_FDS_START
constexpr int most_descriptors = 1024;

[[noreturn]] void refuse(const std::string& what, const std::string& why) {
  throw error(error_kind::invalid, "inherited_socket", what + ": " + why);
}

std::string descriptor_text(int which) { return "inherited descriptor " + std::to_string(which); }

int option_of(int socket, int which) {
  int value = 0;
  socklen_t length = sizeof value;
  if (::getsockopt(socket, SOL_SOCKET, which, &value, &length) != 0) {
    refuse(descriptor_text(socket),
           errno == EBADF ? "it is not open" : std::generic_category().message(errno));
  }
  return value;
}

std::optional<long> number_in(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  long value = 0;
  const char* end = text + std::strlen(text);
  const auto [stopped, ec] = std::from_chars(text, end, value);
  if (ec != std::errc() || stopped != end || text == end)
    refuse(std::string(name), "'" + std::string(text) + "' is no number");
  return value;
}

std::vector<std::string> names_in(const char* variable) {
  std::vector<std::string> out;
  const char* text = std::getenv(variable);
  if (text == nullptr) return out;
  std::string rest(text);
  for (std::size_t colon = rest.find(':'); colon != std::string::npos; colon = rest.find(':')) {
    out.push_back(rest.substr(0, colon));
    rest.erase(0, colon + 1);
  }
  out.push_back(rest);
  return out;
}

}  // namespace

endpoint detail::local_of(int listening) {
  const std::string what = descriptor_text(listening);
  if (option_of(listening, SO_TYPE) != SOCK_STREAM) refuse(what, "it is no stream socket");
  if (option_of(listening, SO_ACCEPTCONN) == 0) refuse(what, "it does not listen");
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (::getsockname(listening, reinterpret_cast<sockaddr*>(&bound), &length) != 0)
    refuse(what, std::generic_category().message(errno));
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (bound.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &bound, sizeof v4);
    return {::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size()), ntohs(v4.sin_port)};
  }
  if (bound.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &bound, sizeof v6);
    return {::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size()), ntohs(v6.sin6_port)};
  }
  if (bound.ss_family != AF_UNIX) refuse(what, "it is neither of TCP nor of Unix");
  sockaddr_un file{};
  std::memcpy(&file, &bound, sizeof file);
  const std::size_t path = length - offsetof(sockaddr_un, sun_path);
  return {"unix:" + std::string(file.sun_path, ::strnlen(file.sun_path, path)), 0};
}

std::vector<inherited_listener> inherited_listeners(std::source_location where) {
  static std::atomic<bool> taken = false;
  const auto process = number_in("LISTEN_PID");
  const auto count = number_in("LISTEN_FDS");
  std::vector<inherited_listener> out;
  if (!process || !count || *process != ::getpid()) return out;
  if (*count < 0 || *count > most_descriptors)
    refuse("LISTEN_FDS", std::to_string(*count) + " is not from 0 to " + std::to_string(most_descriptors));
  if (taken.exchange(true))
    throw misuse_error("inherited_listeners: called twice; the sockets have an owner already", where);
  const std::vector<std::string> names = names_in("LISTEN_FDNAMES");
  for (int at = 0; at != *count; ++at) {
    const auto named = static_cast<std::size_t>(at);
    out.push_back({named < names.size() && !names[named].empty() ? names[named] : "unknown",
                   adopt_listener(first_descriptor + at)});
  }
  return out;
}

}  // namespace belay::io
