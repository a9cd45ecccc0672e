// SPDX-License-Identifier: Apache-2.0
// Reading URLs of databases, and finding the addresses of their hosts.

#include "target.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <sys/socket.h>

#include <belay/db/postgres/error.hpp>
#include <algorithm>
#include <exception>
#include <memory>
#include <string_view>

namespace belay::db::postgres::detail {

namespace {

struct free_options {
  void operator()(PQconninfoOption* all) const noexcept { PQconninfoFree(all); }
};
struct free_addresses {
  void operator()(addrinfo* all) const noexcept { freeaddrinfo(all); }
};

std::string* find(std::vector<std::pair<std::string, std::string>>& words, std::string_view key) {
  const auto found =
      std::find_if(words.begin(), words.end(), [key](const auto& one) { return one.first == key; });
  return found == words.end() ? nullptr : &found->second;
}

// The session speaks as this library reads, whatever the server's defaults are. What the URL says comes later, and wins.
constexpr const char* session_settings =
    "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601 -c bytea_output=hex -c extra_float_digits=1 "
    "-c standard_conforming_strings=on";

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  for (;;) {
    const auto comma = list.find(',');
    parts.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    list.remove_prefix(comma + 1);
  }
}

// All addresses of a host, in the order of the system's preference. None for a local socket.
std::vector<std::string> look_up(const std::string& host, const std::string& database) {
  if (host.empty() || host.starts_with('/') || host.starts_with('@')) return {std::string()};
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* answer = nullptr;
  const int problem = ::getaddrinfo(host.c_str(), nullptr, &wanted, &answer);
  const std::unique_ptr<addrinfo, free_addresses> all(answer);
  if (problem != 0) {
    throw connection_error(
        error_kind::unavailable, "server_away",
        fmt::format("database {}: connect: look up {}: {}", database, host, ::gai_strerror(problem)));
  }
  std::vector<std::string> found;
  for (const addrinfo* one = all.get(); one != nullptr; one = one->ai_next) {
    std::string text(NI_MAXHOST, '\0');
    if (::getnameinfo(one->ai_addr, one->ai_addrlen, text.data(), static_cast<socklen_t>(text.size()),
                      nullptr, 0, NI_NUMERICHOST) != 0)
      continue;
    text.resize(text.find('\0'));
    found.push_back(std::move(text));
  }
  return found;
}

bool is_numeric(const std::string& host) {
  if (host.empty() || host.starts_with('/') || host.starts_with('@')) return true;  // nothing to look up
  return host.find_first_not_of("0123456789.") == std::string::npos || host.find(':') != std::string::npos;
}

}  // namespace

target read_target(const std::string& url) {
  const auto refuse = [](std::string_view why) {
    // libpq's own words may quote the password.
    throw error(
        error_kind::invalid, "bad_database_url",
        fmt::format("open PostgreSQL: the URL {} (its text is not shown: it may hold a password); expected "
                    "postgresql://user:password@host:port/name?sslmode=verify-full",
                    why));
  };
  if (url.find('\0') != std::string::npos) refuse("has a NUL in it");
  if (url.empty()) refuse("is empty");
  char* problem = nullptr;
  const std::unique_ptr<PQconninfoOption, free_options> all(PQconninfoParse(url.c_str(), &problem));
  if (problem != nullptr) PQfreemem(problem);
  if (!all) refuse("cannot be read");

  const auto given = [&all](std::string_view wanted) {
    for (const PQconninfoOption* one = all.get(); one->keyword != nullptr; ++one)
      if (wanted == one->keyword) return one->val != nullptr;
    return false;
  };
  if (given("service")) refuse("names a service, which only the environment can (PGSERVICE)");

  target made;
  std::string user;
  std::string host;
  std::string port;
  std::string database;
  std::string settings;
  for (const PQconninfoOption* one = all.get(); one->keyword != nullptr; ++one) {
    if (one->val == nullptr) continue;
    const std::string_view key = one->keyword;
    if (key == "user") user = one->val;
    if (key == "host") host = one->val;
    if (key == "port") port = one->val;
    if (key == "dbname") database = one->val;
    if (key == "options") {
      settings = std::string(" ") + one->val;
    } else {
      made.words.emplace_back(one->keyword, one->val);
    }
  }
  if (host.empty() && !given("hostaddr")) {
    // As libpq would fill it in, from the environment or a service's file; then it would also look the name up, and block the loop.
    const std::unique_ptr<PQconninfoOption, free_options> defaults(PQconndefaults());
    for (const PQconninfoOption* one = defaults.get(); one != nullptr && one->keyword != nullptr; ++one) {
      if (one->val == nullptr || *one->val == '\0') continue;
      const std::string_view key = one->keyword;
      if (key != "host" && key != "hostaddr" && (key != "port" || given("port"))) continue;
      if (key == "host") host = one->val;
      made.words.emplace_back(one->keyword, one->val);
    }
  }
  made.words.emplace_back("options", session_settings + settings);
  made.words.emplace_back("client_encoding", "UTF8");
  if (find(made.words, "fallback_application_name") == nullptr)
    made.words.emplace_back("fallback_application_name", "belay");
  // libpq would block on it.
  if (find(made.words, "gssencmode") == nullptr) made.words.emplace_back("gssencmode", "disable");
  made.name = fmt::format("postgresql://{}{}{}{}{}/{}", user, user.empty() ? "" : "@",
                          host.empty() ? "(default)" : host, port.empty() ? "" : ":", port, database);
  if (find(made.words, "hostaddr") == nullptr && !host.empty()) {
    made.hosts = split(host);
    if (std::all_of(made.hosts.begin(), made.hosts.end(), is_numeric)) made.hosts.clear();
  }
  return made;
}

std::vector<std::pair<std::string, std::string>> with_addresses(target where) {
  // libpq takes lists of the same length, and tries one after the other.
  std::string* const host = find(where.words, "host");
  std::string* const port = find(where.words, "port");
  const std::vector<std::string> ports = port == nullptr ? std::vector<std::string>() : split(*port);
  std::string hosts;
  std::string addresses;
  std::string all_ports;
  std::exception_ptr not_found;  // the first one
  for (std::size_t i = 0; i < where.hosts.size(); ++i) {
    std::vector<std::string> found;
    try {
      found = look_up(where.hosts[i], where.name);
    } catch (const connection_error&) {
      // As libpq does: the others are tried.
      if (!not_found) not_found = std::current_exception();
      continue;
    }
    for (const std::string& address : found) {
      const char* const comma = addresses.empty() && hosts.empty() ? "" : ",";
      hosts += comma + where.hosts[i];
      addresses += comma + address;
      if (ports.size() == where.hosts.size()) all_ports += comma + ports[i];
    }
  }
  if (hosts.empty() && not_found) std::rethrow_exception(not_found);
  if (host != nullptr) *host = hosts;
  if (port != nullptr && ports.size() > 1) *port = all_ports;
  where.words.emplace_back("hostaddr", addresses);
  return std::move(where.words);
}

}  // namespace belay::db::postgres::detail
