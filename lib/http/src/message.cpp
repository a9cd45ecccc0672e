// SPDX-License-Identifier: Apache-2.0
// Methods, targets, percent-decoding, and the wire form of responses.

#include <belay/http/message.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

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
  if (text.find('%') == std::string_view::npos &&
      (plus == plus_sign::literal || text.find('+') == std::string_view::npos)) {
    return std::string(text);
  }
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

// As much as is sent in one piece with its head.
constexpr std::size_t small_body = 64 * 1024;

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  out.append(digits.data(), end.ptr);
}

// Whether the server says this by itself.
bool is_of_the_connection(std::string_view name) noexcept {
  switch (name.size()) {
    case 4: return equal_ignoring_case(name, "Date");
    case 10: return equal_ignoring_case(name, "Connection");
    case 14: return equal_ignoring_case(name, "Content-Length");
    case 17: return equal_ignoring_case(name, "Transfer-Encoding");
    default: return false;
  }
}

// The date of this second: a busy server writes the same one thousands of times.
void append_date(std::string& out, std::chrono::system_clock::time_point when) {
  struct last_one {
    std::chrono::sys_seconds second{std::chrono::sys_seconds::min()};
    std::string text{};
  };
  thread_local last_one last;
  const auto second = std::chrono::floor<std::chrono::seconds>(when);
  if (last.second != second) {
    last.text = "Date: " + to_http_date(when) + "\r\n";
    last.second = second;
  }
  out += last.text;
}

void append_head(std::string& out, const response& from, const wire_options& options) {
  if (from.status == status::ok) {
    out += "HTTP/1.1 200 OK\r\n";
  } else {
    out += "HTTP/1.1 ";
    append_number(out, static_cast<std::uint64_t>(to_int(from.status)));
    out.append(" ").append(reason_phrase(from.status)).append("\r\n");
  }
  for (const header& field : from.headers) {
    if (is_of_the_connection(field.name)) continue;
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  if (options.date) {
    append_date(out, *options.date);
  }
  if (options.connection == wire_options::connection::close) {
    out += "Connection: close\r\n";
  } else if (options.request_version == version::http_1_0) {
    out += "Connection: keep-alive\r\n";
  }
  switch (framing_of(from, options)) {
    case framing::length:
      out += "Content-Length: ";
      append_number(out, from.stream ? *from.stream.options().length : from.body.size());
      out += "\r\n";
      break;
    case framing::chunked: out += "Transfer-Encoding: chunked\r\n"; break;
    case framing::none:
    case framing::until_close: break;
  }
  out += "\r\n";
}

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

response response::empty(http::status code) {
  response out;
  out.status = code;
  return out;
}

response response::streamed(http::status code, std::string_view content_type,
                            belay::stream<std::string> pieces, stream_options options) {
  response out;
  out.status = code;
  out.headers.add("Content-Type", content_type);
  out.stream = streamed_body(std::move(pieces), std::move(options));
  return out;
}

framing framing_of(const response& from, const wire_options& options) noexcept {
  if (!may_have_body(from.status)) return framing::none;
  if (!from.stream || from.stream.options().length) return framing::length;
  return options.request_version == version::http_1_1 ? framing::chunked : framing::until_close;
}

bool sends_body(const response& from, const wire_options& options) noexcept {
  return options.request_method != method::head && may_have_body(from.status);
}

std::string serialise_head(const response& from, const wire_options& options) {
  std::string out;
  out.reserve(256 + (from.body.size() <= small_body ? from.body.size() : 0));
  append_head(out, from, options);
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
