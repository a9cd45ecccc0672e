// SPDX-License-Identifier: Apache-2.0
// Times as RFC 3339 writes them: 2026-03-01T12:30:00.25Z.

#include <belay/http/described.hpp>
#include <belay/http/json_text.hpp>

#include <fmt/format.h>

namespace belay::http::detail {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

// Takes `count` digits from the front.
std::optional<int> take_digits(std::string_view& from, std::size_t count) {
  if (from.size() < count) return std::nullopt;
  int value = 0;
  for (const char c : from.substr(0, count)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  from.remove_prefix(count);
  return value;
}

bool take(std::string_view& from, char c) {
  if (from.empty() || from.front() != c) return false;
  from.remove_prefix(1);
  return true;
}

std::optional<nanoseconds> take_fraction(std::string_view& from) {
  if (!take(from, '.')) return nanoseconds(0);
  std::int64_t value = 0;
  std::size_t digits = 0;
  for (; !from.empty() && from.front() >= '0' && from.front() <= '9'; from.remove_prefix(1), ++digits) {
    if (digits == 9) return std::nullopt;
    value = value * 10 + (from.front() - '0');
  }
  if (digits == 0) return std::nullopt;
  for (; digits != 9; ++digits) value *= 10;
  return nanoseconds(value);
}

std::optional<seconds> take_offset(std::string_view& from) {
  if (take(from, 'Z') || take(from, 'z')) return seconds(0);
  const bool west = take(from, '-');
  if (!west && !take(from, '+')) return std::nullopt;
  const auto hours = take_digits(from, 2);
  if (!hours || *hours > 23 || !take(from, ':')) return std::nullopt;
  const auto minutes = take_digits(from, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const seconds all = std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
  return west ? -all : all;
}

struct moment {
  sys_seconds whole;
  nanoseconds rest;
};

std::optional<moment> parse(std::string_view from) {
  const auto year = take_digits(from, 4);
  if (!year || !take(from, '-')) return std::nullopt;
  const auto month = take_digits(from, 2);
  if (!month || !take(from, '-')) return std::nullopt;
  const auto day = take_digits(from, 2);
  if (!day || !(take(from, 'T') || take(from, 't'))) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) return std::nullopt;
  const auto hour = take_digits(from, 2);
  if (!hour || *hour > 23 || !take(from, ':')) return std::nullopt;
  const auto minute = take_digits(from, 2);
  if (!minute || *minute > 59 || !take(from, ':')) return std::nullopt;
  const auto second = take_digits(from, 2);
  if (!second || *second > 59) return std::nullopt;
  const auto fraction = take_fraction(from);
  if (!fraction) return std::nullopt;
  const auto offset = take_offset(from);
  if (!offset || !from.empty()) return std::nullopt;
  return moment{
      sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) + seconds(*second) - *offset,
      *fraction};
}

}  // namespace

std::optional<instant> read_instant(std::string_view from, value_reading& at) {
  const auto read = parse(from);
  if (!read) {
    at.fail("must be a time with its offset, like 2026-03-01T12:30:00Z");
    return std::nullopt;
  }
  // What 64 bits hold.
  constexpr auto least = std::chrono::ceil<seconds>(instant::min());
  constexpr auto most = std::chrono::floor<seconds>(instant::max()) - seconds(1);
  if (read->whole < least || read->whole > most) {
    at.fail("must be a time from the year 1678 to 2261");
    return std::nullopt;
  }
  return instant(read->whole) + read->rest;
}

std::optional<instant> read_instant(json_view from, value_reading& at) {
  return read_instant(from.what() == json_view::kind::string ? from.text() : std::string_view(), at);
}

void write_instant(std::chrono::sys_seconds whole, std::chrono::nanoseconds rest, value_writing& to) {
  const auto days = std::chrono::floor<std::chrono::days>(whole);
  const std::chrono::year_month_day date(days);
  if (!date.ok() || int(date.year()) < 0 || int(date.year()) > 9999)
    to.fail("is outside of the years 0 to 9999");
  const std::chrono::hh_mm_ss time(whole - days);
  std::string fraction;
  if (rest.count() != 0) {
    fraction = fmt::format(".{:09}", rest.count());
    fraction.erase(fraction.find_last_not_of('0') + 1);
  }
  fmt::format_to(std::back_inserter(to.out()), "\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z\"", int(date.year()),
                 unsigned(date.month()), unsigned(date.day()), time.hours().count(), time.minutes().count(),
                 time.seconds().count(), fraction);
}

std::string instant_schema(const field_rule& rule) {
  std::string out = R"({"type":"string","format":"date-time")";
  if (!rule.description.empty()) out += ",\"description\":" + to_json_string(rule.description);
  if (rule.deprecated) out += ",\"deprecated\":true";
  return out + "}";
}

}  // namespace belay::http::detail
