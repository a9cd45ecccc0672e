// SPDX-License-Identifier: Apache-2.0
// Integers, reals, bytes and points in time from and to text.

#include "text_format.hpp"

#include <fmt/format.h>

#include <belay/db/error.hpp>
#include <belay/db/postgres/error.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace belay::db::postgres::detail {

namespace {

// pg_type.oid; these never change.
enum type : std::uint32_t {
  type_bool = 16,
  type_bytea = 17,
  type_int8 = 20,
  type_int2 = 21,
  type_int4 = 23,
  type_oid = 26,
  type_float4 = 700,
  type_float8 = 701,
  type_timestamp = 1114,
  type_timestamptz = 1184,
};

template <class N>
N number(std::string_view text) {
  N value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size())
    throw type_error("read a column: the server sent a number that cannot be read");
  return value;
}

double real(std::string_view text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  return number<double>(text);
}

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  throw type_error("read a column: the server sent bytes that are not hexadecimal (bytea_output)");
}

blob bytes(std::string_view text) {
  if (!text.starts_with("\\x") || text.size() % 2 != 0)
    throw type_error("read a column: the server sent bytes that are not hexadecimal (bytea_output)");
  blob all;
  all.reserve(text.size() / 2 - 1);
  for (std::size_t i = 2; i < text.size(); i += 2)
    all.push_back(static_cast<std::byte>(nibble(text[i]) * 16 + nibble(text[i + 1])));
  return all;
}

// "2026-11-21 20:15:00.5+00" -> "2026-11-21T20:15:00.5Z". What is no such date (infinity, BC) stays as it is.
std::string time_text(std::string_view text) {
  std::string out(text);
  const auto space = out.find(' ');
  if (space != 10 || out.find(' ', space + 1) != std::string::npos) return out;
  out[space] = 'T';
  const auto zone = out.find_first_of("+-", space);
  if (zone == std::string::npos) return out;  // without a time zone
  const std::string_view shift = std::string_view(out).substr(zone + 1);
  if (shift == "00") {
    out.replace(zone, 3, "Z");
  } else if (shift.size() == 2) {
    out += ":00";
  }
  return out;
}

template <class N>
outgoing written(std::string& room, N number) {
  std::array<char, 32> digits{};
  const auto [end, problem] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  room.assign(digits.data(), problem == std::errc() ? end : digits.data());
  return {.data = room.c_str()};
}

}  // namespace

value from_text(std::uint32_t type, std::string_view text) {
  switch (type) {
    case type_bool: return value(text == "t");
    case type_int2:
    case type_int4:
    case type_int8:
    case type_oid: return value(number<std::int64_t>(text));
    case type_float4:
    case type_float8: return value(real(text));
    case type_bytea: return value(bytes(text));
    case type_timestamp:
    case type_timestamptz: return value(time_text(text));
    default: return value(std::string(text));
  }
}

outgoing to_outgoing(const value& from, std::string& room, std::size_t number, std::string_view doing) {
  if (const auto* integer = std::get_if<std::int64_t>(&from.get())) return written(room, *integer);
  if (const auto* real = std::get_if<double>(&from.get())) {
    if (std::isnan(*real)) return {.data = "NaN"};
    if (std::isinf(*real)) return {.data = *real > 0 ? "Infinity" : "-Infinity"};
    return written(room, *real);
  }
  if (const auto* text = std::get_if<std::string>(&from.get())) {
    if (text->find('\0') != std::string::npos) {
      throw data_error(error_kind::invalid, "bad_value",
                       fmt::format("{}: parameter ${} has a NUL in its text, which PostgreSQL cannot hold",
                                   doing, number));
    }
    return {.data = text->c_str()};
  }
  if (const auto* raw = std::get_if<blob>(&from.get())) {
    if (raw->size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
      throw data_error(error_kind::invalid, "bad_value",
                       fmt::format("{}: parameter ${} is larger than 2 GiB", doing, number));
    }
    // An empty vector has no address, which would make it NULL.
    return {.data = raw->empty() ? "" : reinterpret_cast<const char*>(raw->data()),
            .size = static_cast<int>(raw->size()),
            .binary = 1};
  }
  return {};
}

}  // namespace belay::db::postgres::detail
