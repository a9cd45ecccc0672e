// SPDX-License-Identifier: Apache-2.0
// Reading JSON strictly, with Boost.JSON.

#include <belay/http/json_value.hpp>
#include <belay/http/problem.hpp>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_stack.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "json_parse.hpp"

namespace belay::http {

namespace json = boost::json;

namespace {

// Builds the value as Boost.JSON's own parser does, and besides notices what that one lets pass: a member
// given twice, and an integer too large for 64 bits, which becomes infinity instead of a rounded number.
class value_builder {
 public:
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_key_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_string_size = std::numeric_limits<std::size_t>::max();

  value_builder() { stack_.reset(); }

  [[nodiscard]] json::value release() { return stack_.release(); }
  [[nodiscard]] bool duplicate_seen() const noexcept { return duplicate_; }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(std::size_t size, json::error_code&) {
    stack_.push_array(size);
    return true;
  }
  bool on_object_begin(json::error_code&) {
    objects_.push_back(keys_.size());
    return true;
  }
  bool on_object_end(std::size_t size, json::error_code& ec) {
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(objects_.back());
    std::sort(first, keys_.end());
    if (std::adjacent_find(first, keys_.end()) != keys_.end()) {
      duplicate_ = true;
      ec = json::error::syntax;
      return false;
    }
    keys_.erase(first, keys_.end());
    objects_.pop_back();
    stack_.push_object(size);
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, json::error_code&) {
    key_.append(part.data(), part.size());
    stack_.push_chars(part);
    return true;
  }
  bool on_key(json::string_view part, std::size_t, json::error_code&) {
    key_.append(part.data(), part.size());
    keys_.push_back(std::exchange(key_, {}));
    stack_.push_key(part);
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, json::error_code&) {
    stack_.push_chars(part);
    return true;
  }
  bool on_string(json::string_view part, std::size_t, json::error_code&) {
    stack_.push_string(part);
    return true;
  }
  bool on_number_part(json::string_view part, json::error_code&) {
    number_.append(part.data(), part.size());
    return true;
  }
  bool on_int64(std::int64_t value, json::string_view, json::error_code&) {
    number_.clear();
    stack_.push_int64(value);
    return true;
  }
  bool on_uint64(std::uint64_t value, json::string_view, json::error_code&) {
    number_.clear();
    stack_.push_uint64(value);
    return true;
  }
  bool on_double(double value, json::string_view part, json::error_code&) {
    number_.append(part.data(), part.size());
    // -0 counts as a fraction: it is no integer that 64 bits can hold.
    const bool integer = number_.find_first_of(".eE") == std::string::npos && value != 0;
    number_.clear();
    stack_.push_double(integer ? std::numeric_limits<double>::quiet_NaN() : value);
    return true;
  }
  bool on_bool(bool value, json::error_code&) {
    stack_.push_bool(value);
    return true;
  }
  bool on_null(json::error_code&) {
    stack_.push_null();
    return true;
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  json::value_stack stack_;
  std::vector<std::string> keys_;     // of all objects that are open, the outermost first
  std::vector<std::size_t> objects_;  // where the keys of each begin
  std::string key_;                   // the part of a key that came already
  std::string number_;
  bool duplicate_ = false;
};

[[noreturn]] void malformed(std::string detail) {
  throw problem_error(status::bad_request, "malformed_json", std::move(detail));
}

const json::value& as_value(const void* from) noexcept { return *static_cast<const json::value*>(from); }

}  // namespace

json::value parse_json(std::string_view text) {
  if (text.empty()) malformed("the body is empty");
  json::parse_options options;
  options.max_depth = 32;
  json::basic_parser<value_builder> parser(options);
  json::error_code ec;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), ec);
  if (parser.handler().duplicate_seen())
    malformed("the body is not valid JSON: an object has a member twice");
  if (ec == json::error::too_deep) malformed("the body is nested more than 32 deep");
  if (ec) malformed("the body is not valid JSON: " + ec.message());
  if (used != text.size()) malformed("the body is not valid JSON: something follows after the value");
  return parser.handler().release();
}

struct json_document::impl {
  json::value root;
};

json_document::json_document(std::string_view text)
    : impl_(std::make_shared<const impl>(impl{parse_json(text)})) {}

json_view json_document::root() const noexcept { return json_view(&impl_->root); }

json_view::kind json_view::what() const noexcept {
  const json::value& value = as_value(value_);
  switch (value.kind()) {
    case json::kind::null: return kind::null;
    case json::kind::bool_: return kind::boolean;
    case json::kind::int64: return kind::integer;
    case json::kind::uint64: return kind::unsigned_integer;
    case json::kind::double_:
      // No number: see value_builder.
      return std::isnan(value.get_double()) ? kind::out_of_range : kind::real;
    case json::kind::string: return kind::string;
    case json::kind::array: return kind::array;
    case json::kind::object: return kind::object;
  }
  __builtin_unreachable();
}

bool json_view::boolean() const noexcept { return as_value(value_).get_bool(); }

std::int64_t json_view::integer() const noexcept {
  const json::value& value = as_value(value_);
  return value.is_int64() ? value.get_int64() : static_cast<std::int64_t>(value.get_uint64());
}

double json_view::real() const noexcept { return as_value(value_).get_double(); }

std::string_view json_view::text() const noexcept {
  const json::string& text = as_value(value_).get_string();
  return {text.data(), text.size()};
}

std::size_t json_view::size() const noexcept {
  const json::value& value = as_value(value_);
  return value.is_array() ? value.get_array().size() : value.get_object().size();
}

json_view json_view::at(std::size_t index) const noexcept {
  return json_view(&as_value(value_).get_array()[index]);
}

std::pair<std::string_view, json_view> json_view::member(std::size_t index) const noexcept {
  const json::key_value_pair& found = as_value(value_).get_object().begin()[index];
  return {std::string_view(found.key().data(), found.key().size()), json_view(&found.value())};
}

std::optional<json_view> json_view::find(std::string_view name) const noexcept {
  const json::value* found = as_value(value_).get_object().if_contains({name.data(), name.size()});
  if (found == nullptr) return std::nullopt;
  return json_view(found);
}

}  // namespace belay::http
