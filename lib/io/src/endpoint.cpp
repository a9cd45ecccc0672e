// SPDX-License-Identifier: Apache-2.0
// Endpoints as text.

#include <belay/core/error.hpp>
#include <belay/io/endpoint.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <charconv>

namespace belay::io {

namespace {

[[noreturn]] void refuse(std::string_view text, const char* why) {
  std::string shown(text);
  std::ranges::replace_if(
      shown, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  throw error(error_kind::invalid, "bad_endpoint",
              "'" + shown + "' is no address: " + why +
                  "; expected ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080, or unix:PATH");
}

// Before Asio looks at it: what follows a NUL or a '%' it takes without a look.
bool is_plain_address(std::string_view host) noexcept {
  const std::size_t percent = host.find('%');
  const std::string_view digits = host.substr(0, percent);
  if (digits.find_first_not_of("0123456789abcdefABCDEF.:") != std::string_view::npos) return false;
  if (percent == std::string_view::npos) return true;
  const std::string_view zone = host.substr(percent + 1);
  return !zone.empty() && zone.size() < 64 && digits.find(':') != std::string_view::npos &&
         std::ranges::all_of(
             zone,
             [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '.' || c == '_' || c == '-';
             });
}

}  // namespace

std::string endpoint::to_string() const {
  if (is_unix()) return address;
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

endpoint endpoint::parse(std::string_view text) {
  if (text.starts_with("unix:")) {
    const std::string_view path = text.substr(5);
    if (path.empty()) refuse(text, "the path of the socket is missing");
    if (path.size() > 107) refuse(text, "the path of a socket is at most 107 bytes long");
    if (path.find('\0') != std::string_view::npos) refuse(text, "the path holds a NUL");
    return {std::string(text), 0};
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) refuse(text, "the port is missing");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) refuse(text, "only an IPv6 address has brackets");
  } else if (host.find(':') != std::string_view::npos) {
    refuse(text, "an IPv6 address needs brackets");
  }
  endpoint parsed;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed.port);
  if (ec != std::errc() || end != digits.data() + digits.size() || digits.empty()) {
    refuse(text, "the port must be a number from 0 to 65535");
  }
  parsed.address = host == "localhost" ? "127.0.0.1" : std::string(host);
  boost::system::error_code bad;
  if (is_plain_address(parsed.address)) {
    boost::asio::ip::make_address(parsed.address, bad);
  } else {
    bad = boost::asio::error::invalid_argument;
  }
  if (bad) refuse(text, "the address must be a numeric IPv4 or IPv6 address");
  return parsed;
}

}  // namespace belay::io
