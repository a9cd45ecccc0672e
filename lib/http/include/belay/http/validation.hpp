// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads what a client sent and collects everything that is wrong with it, so that one answer names it all.

#include <belay/http/problem.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::http {

struct integer_rule {
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};

struct string_rule {
  /// In code points.
  std::size_t min_length = 0;
  std::size_t max_length = std::numeric_limits<std::size_t>::max();
  /// Whether a text of spaces and tabs alone will do.
  enum class blank : unsigned char { allowed, refused } blank = blank::allowed;
  /// Whether U+0000..U+001F and U+007F may occur.
  enum class control : unsigned char { allowed, refused } control = control::allowed;
};

struct array_rule {
  std::size_t min_size = 0;
  std::size_t max_size = 10'000;
};

/// The findings about one request: path, query, headers and body together.
///
/// Readers note what is wrong and go on with a default value, so a value that was read means something only
/// after `finish` has returned.
class validation {
 public:
  /// Notes a finding of the caller's own.
  void fail(std::string pointer, std::string detail);
  [[nodiscard]] bool failed() const noexcept { return !errors_.empty(); }
  /// Whether there is a finding for exactly this place: a rule that needs a valid value is skipped then.
  [[nodiscard]] bool failed_at(std::string_view pointer) const noexcept;
  [[nodiscard]] const std::vector<field_error>& errors() const noexcept { return errors_; }

  /// Text from a path or a query as an integer: "-"? and digits, nothing else. Absent text is a finding: "is
  /// required".
  std::int64_t integer(std::string_view pointer, std::optional<std::string_view> text,
                       integer_rule rule = {});
  /// The same, where absent is fine.
  std::optional<std::int64_t> optional_integer(std::string_view pointer, std::optional<std::string_view> text,
                                               integer_rule rule = {});
  /// "true" or "false", nothing else.
  std::optional<bool> optional_boolean(std::string_view pointer, std::optional<std::string_view> text);
  /// Checks a text against a rule.
  void check(std::string_view pointer, std::string_view text, const string_rule& rule);
  void check(std::string_view pointer, std::int64_t value, const integer_rule& rule);

  /// Throws `problem_error` 422 `validation_failed` with every finding, in the order of discovery, if there
  /// is one.
  void finish() const;

 private:
  std::vector<field_error> errors_{};
};

/// Throws `problem_error` 415 `unsupported_media_type` unless the request declares JSON: "application/json"
/// in any case, with any parameters. Needs no body, so it can be asked before the body is read.
void require_json(const request& from);

/// One JSON object, read member by member.
///
///   validation check;
///   json_reader body(request, check);                       // 415, 400
///   auto email = body.required_string("email", {.max_length = 254});
///   auto user = body.required_integer("user_id", {.min = 1});
///   check.finish();                                         // 422 with everything that is wrong
///
/// Numbers are 64-bit integers, written without fraction and exponent; nothing is rounded, converted or cut.
/// Members that nobody asks for are ignored. A text that is no object at all is one finding at "" and every
/// member reads as its default.
/// Lifetime: refers to the `validation`; keeps the document itself.
class json_reader {
 public:
  /// Errors:  `problem_error` 415 (see `require_json`); 400 `malformed_json` for anything RFC 8259 does not
  ///          allow (a byte order mark, invalid UTF-8 and bytes after the value included), for a member given
  ///          twice, and for values nested more than 32 deep.
  json_reader(const request& from, validation& into);
  /// The same for a text whose type is known.
  json_reader(std::string_view json, validation& into);

  std::string required_string(std::string_view name, const string_rule& rule = {});
  std::int64_t required_integer(std::string_view name, integer_rule rule = {});
  bool required_boolean(std::string_view name);
  /// Optional members may be absent or null.
  std::optional<std::string> optional_string(std::string_view name, const string_rule& rule = {});
  std::optional<std::int64_t> optional_integer(std::string_view name, integer_rule rule = {});
  std::optional<bool> optional_boolean(std::string_view name);
  /// A nested object; an empty one if there is none, whose members give no findings of their own.
  json_reader required_object(std::string_view name);
  /// An array of objects.
  std::vector<json_reader> required_objects(std::string_view name, array_rule rule = {});

  /// The JSON pointer of a member.
  [[nodiscard]] std::string pointer(std::string_view name) const;

 private:
  struct document;
  json_reader(std::shared_ptr<const document> owner, const void* object, std::string base, validation& into);
  void parse(std::string_view json);
  [[nodiscard]] const void* member(std::string_view name) const;
  const void* required(std::string_view name);

  std::shared_ptr<const document> document_;
  const void* object_ =
      nullptr;  // a boost::json::object within document_; null when what was read is no object
  std::string base_{};
  validation* findings_;
};

}  // namespace belay::http
