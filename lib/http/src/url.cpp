// SPDX-License-Identifier: Apache-2.0
// Reads URLs.

#include <belay/http/message.hpp>
#include <belay/http/url.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <system_error>

namespace belay::http {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw message_error("invalid_url", why + "; expected http://HOST:PORT/PATH, or https");
}

std::uint16_t port_in(std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (ec != std::errc() || end != digits.data() + digits.size() || port == 0)
    refuse("the port of the URL is not a number from 1 to 65535");
  return port;
}

// A name, which is looked up when it is needed. What looks like a number is none: "127.1" and "0x7f.1" mean an address to some.
bool is_name(std::string_view host) noexcept {
  if (host.empty() || host.size() > 253 || host.front() == '.' || host.front() == '-') return false;
  const bool plain = std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
  });
  if (!plain || host.find("..") != std::string_view::npos) return false;
  if (host.back() == '.') host.remove_suffix(1);
  const std::string_view last = host.substr(host.rfind('.') + 1);  // npos + 1 is 0
  return last.empty() || last.front() < '0' || last.front() > '9';
}

// RFC 3986 section 5.2.4.
std::string without_dots(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const std::size_t next = std::min(path.find('/', 1), path.size());
    const std::string_view segment = path.substr(0, next);
    path.remove_prefix(next);
    if (segment == "/.") {
      if (path.empty()) out += '/';
    } else if (segment == "/..") {
      out.erase(std::min(out.rfind('/'), out.size()));
      if (path.empty()) out += '/';
    } else {
      out += segment;
    }
  }
  return out.empty() ? "/" : out;
}

}  // namespace

url url::parse(std::string_view text) {
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) refuse("the URL has no scheme");
  const std::string_view scheme = text.substr(0, colon);
  const bool secure = equal_ignoring_case(scheme, "https");
  if (!secure && !equal_ignoring_case(scheme, "http"))
    refuse("the scheme of the URL is neither http nor https");
  text.remove_prefix(colon + 3);
  const std::size_t slash = text.find_first_of("/?#");
  const std::string_view authority = text.substr(0, slash);
  const std::string_view rest = slash == std::string_view::npos ? std::string_view() : text.substr(slash);
  if (authority.empty()) refuse("the URL has no host");
  if (authority.find('@') != std::string_view::npos) refuse("the URL holds credentials: send a header field");
  // A zone is for this machine alone: it has no place in Host (RFC 6874).
  if (authority.find('%') != std::string_view::npos) refuse("the host of the URL holds a '%'");
  url made;
  made.host = authority;
  made.scheme = secure ? http::scheme::https : http::scheme::http;
  // A colon behind the brackets of an IPv6 address, or the only one there is, begins a port.
  const std::size_t bracket = authority.rfind(']');
  const std::size_t port = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string_view name = authority.substr(0, port);
  const std::uint16_t number = port != std::string_view::npos ? port_in(authority.substr(port + 1))
                               : secure                       ? 443
                                                              : 80;
  if (is_name(name) && !equal_ignoring_case(name, "localhost")) {
    made.at = {std::string(name), number};
    std::transform(name.begin(), name.end(), made.at.address.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  } else {
    try {
      made.at = io::endpoint::parse((is_name(name) ? "localhost" : std::string(name)) + ":" +
                                    std::to_string(number));
    } catch (const error& e) {
      throw message_error("invalid_url", e.what());
    }
  }
  if (rest.find('#') != std::string_view::npos) refuse("the URL holds a fragment");
  const std::string target =
      rest.empty() || rest.front() == '?' ? "/" + std::string(rest) : std::string(rest);
  if (const auto wrong = request::check_target(target)) refuse(*wrong);
  made.target = target;
  return made;
}

url url::with_target(std::string_view other) const {
  if (const auto wrong = request::check_target(other)) throw message_error("invalid_target", *wrong);
  if (!other.starts_with('/'))
    throw message_error("invalid_target", "the target does not begin with a slash");
  url made = *this;
  made.target = other;
  return made;
}

url url::resolve(std::string_view reference) const {
  reference = reference.substr(0, reference.find('#'));
  const std::size_t colon = reference.find(':');
  if (colon != std::string_view::npos && colon < reference.find_first_of("/?")) return parse(reference);
  const char* own_scheme = scheme == http::scheme::https ? "https:" : "http:";
  if (reference.starts_with("//")) return parse(own_scheme + std::string(reference));
  if (reference.empty()) return *this;
  const std::string path = target.substr(0, target.find('?'));
  url made = *this;
  if (reference.front() == '?') {
    made.target = path + std::string(reference);
  } else {
    const std::size_t query = std::min(reference.find('?'), reference.size());
    const std::string_view named = reference.substr(0, query);
    const std::string whole = named.starts_with('/')
                                  ? std::string(named)
                                  : path.substr(0, path.rfind('/') + 1) + std::string(named);
    made.target = without_dots(whole) + std::string(reference.substr(query));
  }
  if (const auto wrong = request::check_target(made.target)) refuse(*wrong);
  return made;
}

std::string url::host_name() const {
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.find(':'));
}

bool url::same_origin(const url& other) const {
  return scheme == other.scheme && at.port == other.at.port &&
         equal_ignoring_case(host_name(), other.host_name());
}

std::string url::origin() const { return (scheme == http::scheme::https ? "https://" : "http://") + host; }

std::string url::describe() const { return origin() + target.substr(0, target.find('?')); }

std::string percent_encode(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : bytes) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += digits[byte >> 4U];
      out += digits[byte & 15U];
    }
  }
  return out;
}

}  // namespace belay::http
