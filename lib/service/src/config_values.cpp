// SPDX-License-Identifier: Apache-2.0
// Durations, sizes, addresses and numbers of a configuration, from text and to text.

#include <belay/core/error.hpp>
#include <belay/service/detail/config_values.hpp>

#include <array>
#include <charconv>
#include <limits>

namespace belay::service::detail {

namespace {

constexpr const char* expected_duration =
    "expected a whole number with ms, s, m or h, such as 500ms, 10s or 1h30m";
constexpr const char* expected_size =
    "expected a whole number with B, KiB, MiB, GiB, kB, MB or GB, such as 64KiB";

template <class T>
struct unit_of {
  std::string_view name;
  T size;
};

constexpr std::array<unit_of<std::int64_t>, 6> time_units{{{"h", 3'600'000'000'000},
                                                           {"m", 60'000'000'000},
                                                           {"s", 1'000'000'000},
                                                           {"ms", 1'000'000},
                                                           {"us", 1'000},
                                                           {"ns", 1}}};
// The first four are those in which a size is shown.
constexpr std::array<unit_of<std::uint64_t>, 7> size_units{{{"GiB", 1ULL << 30U},
                                                            {"MiB", 1ULL << 20U},
                                                            {"KiB", 1ULL << 10U},
                                                            {"B", 1},
                                                            {"GB", 1'000'000'000},
                                                            {"MB", 1'000'000},
                                                            {"kB", 1'000}}};

// A number and its unit at the begin of `text`, multiplied and taken off. False: they are not there, or it is too much.
template <class T, std::size_t N>
bool take_with_unit(std::string_view& text, const std::array<unit_of<T>, N>& units, T& into) {
  const std::size_t digits = text.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string_view::npos) return false;
  T number{};
  if (std::from_chars(text.data(), text.data() + digits, number).ec != std::errc()) return false;
  text.remove_prefix(digits);
  const std::string_view name = text.substr(0, text.find_first_of("0123456789"));
  for (const auto& unit : units) {
    if (unit.name != name) continue;
    text.remove_prefix(name.size());
    return !__builtin_mul_overflow(number, unit.size, &into);
  }
  return false;
}

// What a parser says, without the value at its begin: whoever asks has named it already.
std::string reason_of(const belay::error& wrong, std::string_view text) {
  const std::string named = "'" + std::string(text) + "' ";
  std::string why = wrong.what();
  if (why.starts_with(named)) why.erase(0, named.size());
  return why;
}

}  // namespace

std::string parse_integer(std::string_view text, bool is_signed, std::uint64_t& into) {
  const char* const end = text.data() + text.size();
  std::from_chars_result how{};
  if (is_signed) {
    std::int64_t number = 0;
    how = std::from_chars(text.data(), end, number);
    into = static_cast<std::uint64_t>(number);
  } else {
    how = std::from_chars(text.data(), end, into);
  }
  if (how.ec == std::errc::result_out_of_range) return "it is too large";
  if (how.ec != std::errc() || how.ptr != end)
    return is_signed ? "expected a whole number" : "expected a whole number, at least 0";
  return {};
}

std::string parse_value(std::string_view text, bool& into) {
  if (text != "true" && text != "false") return "expected true or false";
  into = text == "true";
  return {};
}

std::string parse_value(std::string_view text, duration& into) {
  std::int64_t sum = 0;
  do {
    std::int64_t part = 0;
    if (!take_with_unit(text, time_units, part) || __builtin_add_overflow(sum, part, &sum))
      return expected_duration;
  } while (!text.empty());
  into = duration(sum);
  return {};
}

std::string parse_value(std::string_view text, byte_size& into) {
  std::uint64_t bytes = 0;
  if (!take_with_unit(text, size_units, bytes) || !text.empty()) return expected_size;
  into.bytes = bytes;
  return {};
}

std::string parse_value(std::string_view text, io::endpoint& into) {
  try {
    into = io::endpoint::parse(text);
    return {};
  } catch (const belay::error& wrong) {
    return reason_of(wrong, text);
  }
}

std::string parse_value(std::string_view text, http::url& into) {
  try {
    into = http::url::parse(text);
    return {};
  } catch (const belay::error& wrong) {
    return reason_of(wrong, text);
  }
}

std::string show_value(duration of) {
  if (of == duration::zero()) return "0s";
  std::string out = of < duration::zero() ? "-" : "";
  std::uint64_t left = of < duration::zero() ? 0 - static_cast<std::uint64_t>(of.count())
                                             : static_cast<std::uint64_t>(of.count());
  for (const auto& unit : time_units) {
    const auto size = static_cast<std::uint64_t>(unit.size);
    if (left < size) continue;
    out += std::to_string(left / size) + std::string(unit.name);
    left %= size;
  }
  return out;
}

std::string show_value(byte_size of) {
  for (std::size_t i = 0; i != 4; ++i) {
    const auto& unit = size_units[i];
    if (of.bytes >= unit.size && of.bytes % unit.size == 0)
      return std::to_string(of.bytes / unit.size) + std::string(unit.name);
  }
  return "0B";
}

std::string show_value(const http::url& of) {
  return of.host.empty() ? std::string() : "http://" + of.host + of.target;
}

}  // namespace belay::service::detail
