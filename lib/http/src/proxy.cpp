// SPDX-License-Identifier: Apache-2.0
// Which requests go through a proxy.

#include <belay/http/message.hpp>
#include <belay/http/proxy.hpp>

#include <cstdlib>
#include <string_view>
#include <utility>

namespace belay::http {
namespace {

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    unsigned block = 0;
    for (std::size_t i = 0; i != 3; ++i)
      block = block << 8U | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    for (std::size_t i = 0; i != 4; ++i)
      out += at + i <= bytes.size() ? digits[block >> (18U - 6U * i) & 63U] : '=';
  }
  return out;
}

std::string_view trimmed(std::string_view text) noexcept {
  const std::size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

// Percent-encoded, as everything in a URL. Nothing: it is not.
std::optional<std::string> decoded(std::string_view text) {
  const auto value = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  std::string out;
  for (std::size_t at = 0; at != text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    if (text.size() - at < 3 || value(text[at + 1]) < 0 || value(text[at + 2]) < 0) return std::nullopt;
    out += static_cast<char>(value(text[at + 1]) * 16 + value(text[at + 2]));
    at += 2;
  }
  return out;
}

// Which of them is set; the second if none is.
const char* first_set(const char* one, const char* other) noexcept {
  const char* found = std::getenv(one);
  return found != nullptr && *found != '\0' ? one : other;
}

std::optional<url> proxy_in(const char* name, std::string& authorization) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  std::string whole(text);
  if (whole.find("://") == std::string::npos) whole = "http://" + whole;
  const std::size_t begin = whole.find("://") + 3;
  const std::size_t at = whole.substr(0, whole.find_first_of("/?#", begin)).rfind('@');
  // Never in a message: it may hold a password.
  const auto refuse = [name](const std::string& why) -> message_error {
    return {"invalid_url", std::string("environment variable ") + name + ": " + why};
  };
  if (at != std::string::npos) {
    const auto credentials = decoded(std::string_view(whole).substr(begin, at - begin));
    if (!credentials) throw refuse("the credentials are not percent-encoded as they must be");
    authorization = "Basic " + base64(*credentials);
    whole.erase(begin, at + 1 - begin);
  }
  try {
    url made = url::parse(whole);
    if (made.scheme == scheme::https)
      throw message_error("invalid_url", "proxies are spoken to by http only");
    return made;
  } catch (const message_error& e) {
    throw refuse(e.what());
  }
}

bool matches(std::string_view rule, const url& to) {
  if (rule == "*") return true;
  const std::string host = to.host_name();
  if (const std::size_t colon = rule.rfind(':');
      colon != std::string_view::npos && rule.find(':') == colon) {  // more of them: an IPv6 address
    if (rule.substr(colon + 1) != std::to_string(to.at.port)) return false;
    rule = rule.substr(0, colon);
  }
  while (rule.starts_with('.')) rule.remove_prefix(1);
  if (rule.size() >= 2 && rule.front() == '[' && rule.back() == ']') rule = rule.substr(1, rule.size() - 2);
  if (rule.empty() || host.size() < rule.size()) return false;
  const std::string_view end = std::string_view(host).substr(host.size() - rule.size());
  if (!equal_ignoring_case(end, rule)) return false;
  return host.size() == rule.size() || host[host.size() - rule.size() - 1] == '.';
}

}  // namespace

proxy_settings proxy_settings::from_environment() {
  proxy_settings out;
  out.for_http = proxy_in("http_proxy", out.authorization);
  out.for_https = proxy_in(first_set("https_proxy", "HTTPS_PROXY"), out.authorization_for_https);
  if (const char* none = std::getenv(first_set("no_proxy", "NO_PROXY"))) out.no_proxy = none;
  return out;
}

const url* proxy_settings::choose(const url& to) const {
  if (to.at.is_unix()) return nullptr;  // it is on this machine, where the proxy is not
  const std::optional<url>& found = to.scheme == scheme::https ? for_https : for_http;
  if (!found) return nullptr;
  std::string_view rest = no_proxy;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    if (matches(trimmed(rest.substr(0, comma)), to)) return nullptr;
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  return &*found;
}

}  // namespace belay::http
