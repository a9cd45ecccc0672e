// SPDX-License-Identifier: Apache-2.0
// Options in words.

#include <belay/core/error.hpp>
#include <belay/resilience/detail/options_text.hpp>
#include <array>
#include <charconv>
#include <chrono>

namespace belay::detail {

std::string duration_text(duration length) {
  using namespace std::chrono;
  if (length == duration::max()) return "no limit";
  const auto in = [length](auto unit, std::string_view name) -> std::string {
    if (length % unit != duration::zero()) return {};
    return std::to_string(length / unit).append(" ").append(name);
  };
  if (std::string text = in(duration(seconds(1)), "s"); !text.empty()) return text;
  if (std::string text = in(duration(milliseconds(1)), "ms"); !text.empty()) return text;
  if (std::string text = in(duration(microseconds(1)), "us"); !text.empty()) return text;
  return in(duration(1), "ns");
}

std::string number_text(double value) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), end.ptr};
}

std::string percent_text(double share) {
  std::array<char, 32> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), share * 100, std::chars_format::general, 4);
  return std::string(buffer.data(), end.ptr).append(" %");
}

void refuse_option(std::string_view policy, std::string_view field, std::string_view value,
                   std::string_view range) {
  std::string text(policy);
  text.append(": ").append(field).append(" is ").append(value).append("; it must be ").append(range);
  throw misuse_error(std::move(text));
}

std::string title(std::string_view kind, std::string_view name) {
  std::string text(kind);
  if (name != kind && !name.empty()) text.append(" '").append(name).append("'");
  return text;
}

}  // namespace belay::detail
