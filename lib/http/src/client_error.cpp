// SPDX-License-Identifier: Apache-2.0
// What a status says about a failed request, and Retry-After.

#include <belay/http/client_error.hpp>
#include <belay/http/problem.hpp>

#include <algorithm>
#include <array>
#include <charconv>

namespace belay::http {
namespace {

// A 5xx may come from the middle of the work (RFC 9110 section 9.2.2), 503 as well: handlers whose errors are `unavailable` give it.
// 501 and 505 are said before any work, 4xx instead of it.
carried_out fate_by(status code) noexcept {
  switch (code) {
    case status::not_implemented:
    case status::http_version_not_supported: return carried_out::no;
    default: return is_server_error(code) ? carried_out::possibly : carried_out::no;
  }
}

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "Sun, 06 Nov 1994 08:49:37 GMT", the only form that may be sent (RFC 9110 section 5.6.7).
std::optional<std::chrono::sys_seconds> to_time(std::string_view text) {
  constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (text.size() != 29 || text.substr(3, 2) != ", " || text.substr(25) != " GMT") return std::nullopt;
  const auto month = std::find(months.begin(), months.end(), text.substr(8, 3));
  const auto day = number<unsigned>(text.substr(5, 2));
  const auto year = number<int>(text.substr(12, 4));
  const auto hour = number<int>(text.substr(17, 2));
  const auto minute = number<int>(text.substr(20, 2));
  const auto second = number<int>(text.substr(23, 2));
  if (month == months.end() || !day || !year || !hour || !minute || !second) return std::nullopt;
  namespace chrono = std::chrono;
  const chrono::year_month_day date(chrono::year(*year),
                                    chrono::month(static_cast<unsigned>(month - months.begin()) + 1),
                                    chrono::day(*day));
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  return chrono::sys_days(date) + chrono::hours(*hour) + chrono::minutes(*minute) + chrono::seconds(*second);
}

}  // namespace

bool is_idempotent(method verb) noexcept {
  switch (verb) {
    case method::get:
    case method::head:
    case method::put:
    case method::delete_:
    case method::options:
    case method::trace: return true;
    case method::post:
    case method::patch:
    case method::connect:
    case method::other: break;
  }
  return false;
}

status_error::status_error(response answer, method verb, std::string message,
                           std::optional<duration> retry_after, carried_out by_first_try,
                           std::source_location where)
    : request_error(default_kind(answer.status), "http_" + std::to_string(to_int(answer.status)),
                    std::move(message), verb, std::max(fate_by(answer.status), by_first_try), where),
      answer_(std::make_shared<const response>(std::move(answer))) {
  if (retry_after) set_retry_after(*retry_after);
}

std::optional<duration> read_retry_after(const headers& from, std::chrono::system_clock::time_point now) {
  constexpr std::chrono::seconds longest = std::chrono::hours(24);
  if (from.count("Retry-After") != 1) return std::nullopt;
  const std::string_view text = *from.find("Retry-After");
  if (!text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos) {
    const auto seconds = number<std::int64_t>(text);  // nothing: more than fits
    return std::min(std::chrono::seconds(seconds.value_or(longest.count())), longest);
  }
  const auto when = to_time(text);
  if (!when) return std::nullopt;
  return std::clamp(std::chrono::ceil<std::chrono::seconds>(*when - now), std::chrono::seconds(0), longest);
}

}  // namespace belay::http
