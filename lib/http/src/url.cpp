// SPDX-License-Identifier: Apache-2.0
// Reads URLs.

#include <belay/http/message.hpp>
#include <belay/http/url.hpp>

namespace belay::http {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw message_error("invalid_url", why + "; expected http://ADDRESS:PORT/PATH");
}

}  // namespace

url url::parse(std::string_view text) {
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) refuse("the URL has no scheme");
  const std::string_view scheme = text.substr(0, colon);
  if (equal_ignoring_case(scheme, "https")) {
    throw message_error("https_not_supported",
                        "https is not supported: there is no TLS here; use a local proxy that speaks it");
  }
  if (!equal_ignoring_case(scheme, "http")) refuse("the scheme of the URL is not http");
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
  // A colon behind the brackets of an IPv6 address, or the only one there is, begins a port.
  const std::size_t bracket = authority.rfind(']');
  const std::size_t port = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  try {
    made.at = io::endpoint::parse(port == std::string_view::npos ? std::string(authority) + ":80"
                                                                 : std::string(authority));
  } catch (const error& e) {
    throw message_error("invalid_url", e.what());
  }
  if (made.at.port == 0) refuse("the port of the URL is 0");
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

std::string url::describe() const { return "http://" + host + target.substr(0, target.find('?')); }

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
