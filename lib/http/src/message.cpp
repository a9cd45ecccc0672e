// SPDX-License-Identifier: Apache-2.0
// Methods, targets, percent-decoding, and the wire form of responses.

#include <belay/http/message.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace belay::http {
namespace {

constexpr std::array<std::string_view, 10> method_names = {"GET",   "HEAD",    "POST",  "PUT",     "DELETE",
                                                           "PATCH", "OPTIONS", "TRACE", "CONNECT", "OTHER"};

constexpr int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class plus_sign { literal, space };

std::optional<std::string> decode(std::string_view text, plus_sign plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i != text.size(); ++i) {
    if (text[i] == '%') {
      if (text.size() - i < 3) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' && plus == plus_sign::space ? ' ' : text[i];
    }
  }
  return out;
}

struct target_view {
  std::string_view path;
  std::string_view query;
};

// Splits a target that `check_target` accepted.
target_view split(std::string_view target) {
  if (!target.starts_with('/') && target != "*") {
    target.remove_prefix(target.find("://") + 3);
    const std::size_t slash = target.find_first_of("/?");
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  const std::size_t mark = target.find('?');
  target_view out{target.substr(0, mark),
                  mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1)};
  if (out.path.empty()) out.path = "/";
  return out;
}

}  // namespace

std::string_view to_string(method verb) noexcept { return method_names[static_cast<std::size_t>(verb)]; }

method to_method(std::string_view text) noexcept {
  for (std::size_t i = 0; i != static_cast<std::size_t>(method::other); ++i) {
    if (method_names[i] == text) return static_cast<method>(i);
  }
  return method::other;
}

std::optional<std::string> percent_decode(std::string_view text) { return decode(text, plus_sign::literal); }

std::optional<std::string> request::check_target(std::string_view text) {
  if (text.empty()) return "the request target is empty";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f) return "the request target holds a byte that must be percent-encoded";
    if (c == '#') return "the request target holds a fragment";
  }
  if (!text.starts_with('/') && text != "*") {
    const std::size_t scheme = text.find("://");
    const std::string_view name = text.substr(0, scheme);
    if (scheme == std::string_view::npos ||
        !(equal_ignoring_case(name, "http") || equal_ignoring_case(name, "https"))) {
      return "the request target is neither a path nor an http URL";
    }
    const std::string_view rest = text.substr(scheme + 3);
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
    if (authority.empty() || authority.find('@') != std::string_view::npos) {
      return "the request target is a URL without a plain host";
    }
  }
  for (std::size_t i = text.find('%'); i != std::string_view::npos; i = text.find('%', i + 1)) {
    if (text.size() - i < 3 || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0) {
      return "the request target holds a malformed percent-encoding";
    }
    if (text[i + 1] == '0' && text[i + 2] == '0') return "the request target holds an encoded NUL";
  }
  return std::nullopt;
}

void request::set_target(std::string_view text) {
  if (auto wrong = check_target(text)) throw message_error("invalid_target", std::move(*wrong));
  std::string new_target(text);
  const target_view parts = split(new_target);
  std::string new_path(parts.path);
  std::string new_decoded = decode(parts.path, plus_sign::literal).value();
  std::vector<query_parameter> new_query;
  for (std::string_view rest = parts.query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    new_query.push_back(
        {decode(pair.substr(0, equals), plus_sign::space).value(), decode(value, plus_sign::space).value()});
  }
  target = std::move(new_target);
  path = std::move(new_path);
  decoded_path = std::move(new_decoded);
  query = std::move(new_query);
}

std::optional<std::string_view> request::query_value(std::string_view name) const noexcept {
  for (const query_parameter& parameter : query) {
    if (parameter.name == name) return parameter.value;
  }
  return std::nullopt;
}

std::string request::media_type() const {
  if (headers.count("Content-Type") != 1) return {};
  std::string_view text = *headers.find("Content-Type");
  text = trim_whitespace(text.substr(0, text.find(';')));
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos || !is_token(text.substr(0, slash)) ||
      !is_token(text.substr(slash + 1)))
    return {};
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

bool wants_keep_alive(const request& from) noexcept {
  if (from.headers.has_token("Connection", "close")) return false;
  return from.version == version::http_1_1 || from.headers.has_token("Connection", "keep-alive");
}

response response::json(http::status code, std::string json_text) {
  response out{code, {}, std::move(json_text)};
  out.headers.add("Content-Type", "application/json");
  return out;
}

response response::text(http::status code, std::string plain_text) {
  response out{code, {}, std::move(plain_text)};
  out.headers.add("Content-Type", "text/plain; charset=utf-8");
  return out;
}

response response::empty(http::status code) { return response{code, {}, {}}; }

bool sends_body(const response& from, const wire_options& options) noexcept {
  return options.request_method != method::head && may_have_body(from.status);
}

std::string serialise_head(const response& from, const wire_options& options) {
  std::string out;
  out.reserve(256);
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", to_int(from.status),
                 reason_phrase(from.status));
  for (const header& field : from.headers) {
    if (equal_ignoring_case(field.name, "Content-Length") ||
        equal_ignoring_case(field.name, "Transfer-Encoding") ||
        equal_ignoring_case(field.name, "Connection") || equal_ignoring_case(field.name, "Date")) {
      continue;
    }
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  if (options.date) out.append("Date: ").append(to_http_date(*options.date)).append("\r\n");
  if (options.connection == wire_options::connection::close) {
    out += "Connection: close\r\n";
  } else if (options.request_version == version::http_1_0) {
    out += "Connection: keep-alive\r\n";
  }
  if (may_have_body(from.status)) {
    fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", from.body.size());
  }
  out += "\r\n";
  return out;
}

std::string serialise(const response& from, const wire_options& options) {
  std::string out = serialise_head(from, options);
  if (sends_body(from, options)) out += from.body;
  return out;
}

std::string to_http_date(std::chrono::system_clock::time_point when) {
  constexpr std::array<std::string_view, 7> days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  namespace chrono = std::chrono;
  const auto day = chrono::floor<chrono::days>(when);
  const chrono::year_month_day date(day);
  const chrono::hh_mm_ss time(chrono::floor<chrono::seconds>(when - day));
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days[chrono::weekday(day).c_encoding()],
                     static_cast<unsigned>(date.day()), months[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), time.hours().count(), time.minutes().count(),
                     time.seconds().count());
}

}  // namespace belay::http
