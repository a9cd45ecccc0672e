// SPDX-License-Identifier: Apache-2.0
#pragma once
// Control characters, which nothing in a head may hold but at the end of a line.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace belay::http::detail {

constexpr bool is_strange(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

// Whether one of eight bytes is below 0x20, a tab too, or is 0x7f. (Bit twiddling hacks, "hasless" and "haszero".)
constexpr bool may_be_strange(std::uint64_t bytes) noexcept {
  constexpr std::uint64_t each = 0x0101010101010101;
  const std::uint64_t low = (bytes - each * 0x20) & ~bytes;
  const std::uint64_t is_delete = bytes ^ each * 0x7f;
  return ((low | ((is_delete - each) & ~is_delete)) & each * 0x80) != 0;
}

// How many bytes there are before the first strange one. Nearly always there is none, so eight are looked at together.
inline std::size_t plain_prefix(std::string_view text) noexcept {
  std::size_t at = 0;
  std::uint64_t eight = 0;
  while (at + sizeof eight <= text.size()) {
    std::memcpy(&eight, text.data() + at, sizeof eight);
    if (may_be_strange(eight)) break;
    at += sizeof eight;
    if (at < text.size() && at + sizeof eight > text.size())
      at = text.size() - sizeof eight;  // once more, the last
  }
  return static_cast<std::size_t>(std::find_if(text.begin() + at, text.end(), is_strange) - text.begin());
}

}  // namespace belay::http::detail
