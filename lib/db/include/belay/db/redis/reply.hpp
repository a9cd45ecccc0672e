// SPDX-License-Identifier: Apache-2.0
#pragma once
// What Redis answers.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace belay::db::redis {

enum class reply_type : unsigned char { nil, integer, text, status, error, array };
[[nodiscard]] std::string_view to_string(reply_type type) noexcept;

/// A value. Errors only inside of arrays: as the whole reply they are thrown (`server_error`).
struct reply {
  reply_type type = reply_type::nil;
  std::int64_t integer = 0;
  std::string text;  ///< of text, status and error
  std::vector<reply> elements;

  [[nodiscard]] bool is_nil() const noexcept { return type == reply_type::nil; }
  /// Errors: `db::type_error` if it is something else, or there is no such element.
  [[nodiscard]] std::int64_t to_integer() const;
  [[nodiscard]] const std::string& to_text() const;
  [[nodiscard]] const reply& element(std::size_t index) const;
};

}  // namespace belay::db::redis
