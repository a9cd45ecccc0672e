// SPDX-License-Identifier: Apache-2.0
// Names asked of the system.

#include <belay/io/network.hpp>
#include <belay/io/resolve.hpp>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "lookups.hpp"

namespace belay::io {

namespace {

std::string shown(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

bool is_numeric(const std::string& host) noexcept {
  std::array<unsigned char, sizeof(in6_addr)> ignored{};
  const std::string address = host.substr(0, host.find('%'));
  return ::inet_pton(AF_INET, host.c_str(), ignored.data()) == 1 ||
         ::inet_pton(AF_INET6, address.c_str(), ignored.data()) == 1;
}

// RFC 1123 section 2.1, and the underscore that is used all the same. (A space, a slash or a NUL would mean something else to somebody.)
bool can_be_name(const std::string& host) noexcept {
  return !host.empty() && host.size() <= 253 && host.front() != '-' && host.front() != '.' &&
         std::ranges::all_of(host, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                  c == '_' || c == '.';
         });
}

bool is_localhost(std::string_view host) noexcept {
  constexpr std::string_view name = "localhost";
  return host.size() == name.size() &&
         std::equal(host.begin(), host.end(), name.begin(), [](char a, char b) { return (a | 0x20) == b; });
}

using detail::looked_up;

looked_up ask_system(std::string host) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  looked_up out;
  out.failed = ::getaddrinfo(host.c_str(), nullptr, &wanted, &found);
  out.system = errno;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  for (const addrinfo* one = out.failed == 0 ? found : nullptr; one != nullptr; one = one->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(one->ai_addr, one->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) !=
        0)
      continue;
    if (std::ranges::find(out.addresses, text.data()) == out.addresses.end())
      out.addresses.emplace_back(text.data());
  }
  return out;
}

[[noreturn]] void refuse(const std::string& host, const looked_up& how, std::source_location where) {
  const std::string what = "look up '" + shown(host) + "': ";
  if (how.failed == 0 || how.failed == EAI_NONAME || how.failed == EAI_NODATA) {
    throw resolve_error(error_kind::not_found, "name_not_found",
                        what + "there is no host of this name; check the spelling, and the search domains",
                        where);
  }
  const std::string why = how.failed == EAI_SYSTEM ? std::generic_category().message(how.system)
                                                   : std::string(::gai_strerror(how.failed));
  throw resolve_error(error_kind::unavailable, "name_lookup_failed",
                      what + why + "; the name servers cannot be asked now", where);
}

task<std::vector<endpoint>> resolve_on(network& on, std::string host, std::uint16_t port,
                                       std::source_location where) {
  const auto refuse_name = [&] {
    return resolve_error(error_kind::invalid, "bad_name",
                         "look up '" + shown(host) + "': this cannot be the name of a host", where);
  };
  // First: a numeric address ends at a NUL for the system, and what follows it, or a `%`, is not looked at.
  if (std::ranges::any_of(host, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    throw refuse_name();
  if (is_numeric(host)) co_return std::vector<endpoint>{{std::move(host), port}};
  if (is_localhost(host)) co_return std::vector<endpoint>{{"127.0.0.1", port}, {"::1", port}};
  if (!can_be_name(host)) throw refuse_name();
  std::vector<endpoint> out;
  for (std::string& one : co_await on.look_up(std::move(host), where)) out.push_back({std::move(one), port});
  co_return out;
}

}  // namespace

task<std::vector<std::string>> network::look_up(std::string host, std::source_location where) {
  looked_up none;
  none.failed = EAI_NONAME;
  refuse(host, none, where);
  co_return {};
}

task<std::vector<std::string>> look_up_by_system(std::string host, std::source_location where) {
  static thread_local detail::lookups of_this_thread(ask_system);
  looked_up found = co_await of_this_thread.ask(host);
  if (found.addresses.empty()) refuse(host, found, where);
  co_return std::move(found.addresses);
}

task<std::vector<endpoint>> resolve(std::string host, std::uint16_t port, std::source_location where) {
  return resolve_on(current_network(), std::move(host), port, where);
}

}  // namespace belay::io
