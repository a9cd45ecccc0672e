// SPDX-License-Identifier: Apache-2.0
// URLs of Redis.

#include <belay/core/error.hpp>
#include <belay/db/redis/options.hpp>

#include <charconv>
#include <cstdint>
#include <optional>

namespace belay::db::redis {

namespace {

// The message must not hold the URL: it may have a password in it.
[[noreturn]] void refuse(std::string_view why) {
  throw error(error_kind::invalid, "bad_redis_url", "the URL of Redis: " + std::string(why));
}

template <class N>
std::optional<N> number(std::string_view text, N most) {
  N value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

std::string decode(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    unsigned value = 0;
    const char* first = text.data() + i + 1;
    if (i + 2 >= text.size()) refuse("'%' in user or password must be followed by two hexadecimal digits");
    const auto [end, problem] = std::from_chars(first, first + 2, value, 16);
    if (problem != std::errc() || end != first + 2)
      refuse("'%' in user or password must be followed by two hexadecimal digits");
    plain += static_cast<char>(value);
    i += 2;
  }
  return plain;
}

// Whether it can be the name of a host, and no address.
bool is_name(std::string_view text) noexcept {
  bool letters = false;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_') return false;
    letters = letters || letter;
  }
  return letters && text.front() != '.' && text.front() != '-' && text.size() <= 253;
}

}  // namespace

options options::from_url(std::string_view url) {
  constexpr std::string_view scheme = "redis://";
  if (url.starts_with("rediss:")) refuse("rediss: (TLS) is not supported; use redis://");
  if (!url.starts_with(scheme)) refuse("it must begin with redis://");
  url.remove_prefix(scheme.size());
  options made;
  if (const auto at = url.rfind('@'); at != std::string_view::npos) {
    const std::string_view who = url.substr(0, at);
    const auto colon = who.find(':');
    if (colon == std::string_view::npos) refuse("before '@' there must be 'user:password' or ':password'");
    made.user = decode(who.substr(0, colon));
    made.password.value = decode(who.substr(colon + 1));
    if (made.password.value.empty()) refuse("there is a user, but no password");
    url.remove_prefix(at + 1);
  }
  if (url.find_first_of("?#") != std::string_view::npos)
    refuse("it has a query or a fragment, which mean nothing here");
  if (const auto slash = url.find('/'); slash != std::string_view::npos) {
    const std::string_view path = url.substr(slash + 1);
    if (!path.empty()) {
      const auto database = number<unsigned>(path, 1'000'000);
      if (!database) refuse("after the last '/' there must be the number of a database");
      made.database = *database;
    }
    url = url.substr(0, slash);
  }
  const auto colon = url.rfind(':');
  const bool has_port = colon != std::string_view::npos && url.find(']', colon) == std::string_view::npos;
  const std::string_view host = has_port ? url.substr(0, colon) : url;
  if (host != "localhost" && is_name(host)) {
    made.host = host;
    if (has_port) {
      const auto port = number<std::uint16_t>(url.substr(colon + 1), 65535);
      if (!port || *port == 0) refuse("after ':' there must be a port, 1 to 65535");
      made.at.port = *port;
    }
    return made;
  }
  try {
    made.at = io::endpoint::parse(has_port ? std::string(url) : std::string(url) + ":6379");
  } catch (const error& e) {
    refuse(e.what());
  }
  return made;
}

std::string options::server() const {
  return host.empty() ? at.to_string() : host + ":" + std::to_string(at.port);
}

std::string options::describe() const {
  std::string text = "redis " + server() + "/" + std::to_string(database);
  if (!user.empty()) text += " as '" + user + "'";
  return text;
}

}  // namespace belay::db::redis
