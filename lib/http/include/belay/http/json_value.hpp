// SPDX-License-Identifier: Apache-2.0
#pragma once
// A JSON text that was read strictly, and a look at the values in it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace belay::http {

class json_document;

/// One value of a document. Lifetime: the document's.
class json_view {
 public:
  enum class kind : unsigned char {
    null,
    boolean,
    integer,           ///< fits `std::int64_t`
    unsigned_integer,  ///< fits only `std::uint64_t`
    out_of_range,      ///< an integer that fits neither
    real,              ///< written with a fraction or an exponent; infinite if a double cannot hold it
    string,
    array,
    object,
  };
  [[nodiscard]] kind what() const noexcept;

  /// Each for its kind only; `integer` gives the bits for both kinds of integers.
  [[nodiscard]] bool boolean() const noexcept;
  [[nodiscard]] std::int64_t integer() const noexcept;
  [[nodiscard]] double real() const noexcept;
  [[nodiscard]] std::string_view text() const noexcept;
  /// Of an array or an object: how many, and each; of an object with its name, in the order of the text.
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] json_view at(std::size_t index) const noexcept;
  [[nodiscard]] std::pair<std::string_view, json_view> member(std::size_t index) const noexcept;
  /// The member of an object.
  [[nodiscard]] std::optional<json_view> find(std::string_view name) const noexcept;

 private:
  friend json_document;
  explicit json_view(const void* value) noexcept : value_(value) {}
  const void* value_;  // a boost::json::value
};

/// Errors: `problem_error` 400 `malformed_json` for anything RFC 8259 does not allow (a byte order mark, invalid UTF-8 and bytes after the
///         value included), for a member given twice, and for values nested more than 32 deep.
class json_document {
 public:
  explicit json_document(std::string_view text);
  [[nodiscard]] json_view root() const noexcept;

 private:
  struct impl;
  std::shared_ptr<const impl> impl_;
};

}  // namespace belay::http
