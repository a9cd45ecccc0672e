// SPDX-License-Identifier: Apache-2.0
// Endpoints as text.

#include <belay/core/error.hpp>
#include <belay/io/endpoint.hpp>
#include <boost/asio/ip/address.hpp>

#include <charconv>

namespace belay::io {

namespace {

[[noreturn]] void refuse(std::string_view text, const char* why) {
  throw error(error_kind::invalid, "bad_endpoint",
              "'" + std::string(text) + "' is no address: " + why +
                  "; expected ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080");
}

}  // namespace

std::string endpoint::to_string() const {
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

endpoint endpoint::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) refuse(text, "the port is missing");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
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
  boost::asio::ip::make_address(parsed.address, bad);
  if (bad) refuse(text, "the address must be a numeric IPv4 or IPv6 address");
  return parsed;
}

}  // namespace belay::io
