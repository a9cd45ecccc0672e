// SPDX-License-Identifier: Apache-2.0
// Collecting findings, and reading JSON bodies with Boost.JSON.

#include <belay/http/json_text.hpp>
#include <belay/http/validation.hpp>

#include <boost/json/value.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "json_parse.hpp"

namespace belay::http {
namespace {

namespace json = boost::json;

std::string range_text(const integer_rule& rule) {
  constexpr integer_rule any;
  if (rule.min == any.min && rule.max == any.max) return "must fit 64 bits";
  return fmt::format("must be from {} to {}", rule.min, rule.max);
}

bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

constexpr std::string_view required_text = "is required";

}  // namespace

void validation::fail(std::string pointer, std::string detail) {
  errors_.push_back({std::move(pointer), std::move(detail)});
}

bool validation::failed_at(std::string_view pointer) const noexcept {
  return std::any_of(errors_.begin(), errors_.end(),
                     [&](const field_error& one) { return one.pointer == pointer; });
}

std::int64_t validation::integer(std::string_view pointer, std::optional<std::string_view> text,
                                 integer_rule rule) {
  if (!text) fail(std::string(pointer), std::string(required_text));
  return optional_integer(pointer, text, rule).value_or(0);
}

std::optional<std::int64_t> validation::optional_integer(std::string_view pointer,
                                                         std::optional<std::string_view> text,
                                                         integer_rule rule) {
  if (!text) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (end != text->data() + text->size() || ec == std::errc::invalid_argument) {
    fail(std::string(pointer), "must be an integer");
  } else if (ec == std::errc::result_out_of_range) {
    fail(std::string(pointer), range_text(rule));
  } else {
    check(pointer, value, rule);
    return value;
  }
  return std::nullopt;
}

std::optional<bool> validation::optional_boolean(std::string_view pointer,
                                                 std::optional<std::string_view> text) {
  if (!text) return std::nullopt;
  if (*text == "true") return true;
  if (*text == "false") return false;
  fail(std::string(pointer), "must be true or false");
  return std::nullopt;
}

void validation::check(std::string_view pointer, std::int64_t value, const integer_rule& rule) {
  if (value < rule.min || value > rule.max) fail(std::string(pointer), range_text(rule));
}

void validation::check(std::string_view pointer, std::string_view text, const string_rule& rule) {
  const std::size_t length = count_code_points(text);
  if (length < rule.min_length) {
    fail(std::string(pointer), rule.min_length == 1
                                   ? "must not be empty"
                                   : fmt::format("must have at least {} characters", rule.min_length));
  } else if (length > rule.max_length) {
    fail(std::string(pointer), fmt::format("must have at most {} characters", rule.max_length));
  } else if (rule.control == string_rule::control::refused &&
             std::any_of(text.begin(), text.end(), is_control)) {
    fail(std::string(pointer), "must not hold control characters");
  } else if (rule.blank == string_rule::blank::refused &&
             text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    fail(std::string(pointer), "must not be blank");
  }
}

void validation::finish() const {
  if (errors_.empty()) return;
  throw problem_error(problem{.status = status::unprocessable_content,
                              .code = "validation_failed",
                              .detail = errors_.size() == 1
                                            ? "1 value is not valid"
                                            : fmt::format("{} values are not valid", errors_.size()),
                              .errors = errors_});
}

void require_json(const request& from) {
  if (from.media_type() != "application/json") {
    throw problem_error(status::unsupported_media_type, "unsupported_media_type",
                        "the body must be JSON, with Content-Type: application/json");
  }
}

struct json_reader::document {
  json::value root;
};

json_reader::json_reader(const request& from, validation& into) : findings_(&into) {
  require_json(from);
  parse(from.body);
}

json_reader::json_reader(std::string_view json, validation& into) : findings_(&into) { parse(json); }

json_reader::json_reader(std::shared_ptr<const document> owner, const void* object, std::string base,
                         validation& into)
    : document_(std::move(owner)), object_(object), base_(std::move(base)), findings_(&into) {}

void json_reader::parse(std::string_view text) {
  document_ = std::make_shared<const document>(document{parse_json(text)});
  object_ = document_->root.if_object();
  if (object_ == nullptr) findings_->fail("", "must be an object");
}

std::string json_reader::pointer(std::string_view name) const {
  std::string out = base_ + "/";
  for (const char c : name) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

const void* json_reader::member(std::string_view name) const {
  if (object_ == nullptr) return nullptr;
  return static_cast<const json::object*>(object_)->if_contains({name.data(), name.size()});
}

const void* json_reader::required(std::string_view name) {
  const void* found = member(name);
  if (found == nullptr && object_ != nullptr) findings_->fail(pointer(name), std::string(required_text));
  return found;
}

namespace {

std::string read_string(const json::value& from, const std::string& at, const string_rule& rule,
                        validation& findings) {
  const json::string* text = from.if_string();
  if (text == nullptr) {
    findings.fail(at, "must be a string");
    return {};
  }
  findings.check(at, std::string_view(text->data(), text->size()), rule);
  return std::string(text->data(), text->size());
}

std::int64_t read_integer(const json::value& from, const std::string& at, const integer_rule& rule,
                          validation& findings) {
  if (const std::int64_t* value = from.if_int64()) {
    findings.check(at, *value, rule);
    return *value;
  }
  const double* real = from.if_double();
  const bool too_large =
      from.is_uint64() || (real != nullptr && std::isnan(*real));  // no number: see value_builder
  findings.fail(at, too_large ? range_text(rule) : "must be an integer");
  return 0;
}

bool read_boolean(const json::value& from, const std::string& at, validation& findings) {
  if (const bool* value = from.if_bool()) return *value;
  findings.fail(at, "must be true or false");
  return false;
}

const json::value& as_value(const void* from) noexcept { return *static_cast<const json::value*>(from); }

}  // namespace

std::string json_reader::required_string(std::string_view name, const string_rule& rule) {
  const void* found = required(name);
  return found == nullptr ? std::string() : read_string(as_value(found), pointer(name), rule, *findings_);
}

std::int64_t json_reader::required_integer(std::string_view name, integer_rule rule) {
  const void* found = required(name);
  return found == nullptr ? 0 : read_integer(as_value(found), pointer(name), rule, *findings_);
}

bool json_reader::required_boolean(std::string_view name) {
  const void* found = required(name);
  return found != nullptr && read_boolean(as_value(found), pointer(name), *findings_);
}

std::optional<std::string> json_reader::optional_string(std::string_view name, const string_rule& rule) {
  const void* found = member(name);
  if (found == nullptr || as_value(found).is_null()) return std::nullopt;
  return read_string(as_value(found), pointer(name), rule, *findings_);
}

std::optional<std::int64_t> json_reader::optional_integer(std::string_view name, integer_rule rule) {
  const void* found = member(name);
  if (found == nullptr || as_value(found).is_null()) return std::nullopt;
  return read_integer(as_value(found), pointer(name), rule, *findings_);
}

std::optional<bool> json_reader::optional_boolean(std::string_view name) {
  const void* found = member(name);
  if (found == nullptr || as_value(found).is_null()) return std::nullopt;
  return read_boolean(as_value(found), pointer(name), *findings_);
}

json_reader json_reader::required_object(std::string_view name) {
  const void* found = required(name);
  const json::object* object = found == nullptr ? nullptr : as_value(found).if_object();
  if (found != nullptr && object == nullptr) findings_->fail(pointer(name), "must be an object");
  return {document_, object, pointer(name), *findings_};
}

std::vector<json_reader> json_reader::required_objects(std::string_view name, array_rule rule) {
  std::vector<json_reader> out;
  const void* found = required(name);
  if (found == nullptr) return out;
  const std::string base = pointer(name);
  const json::array* array = as_value(found).if_array();
  if (array == nullptr) {
    findings_->fail(base, "must be an array");
    return out;
  }
  if (array->size() < rule.min_size || array->size() > rule.max_size) {
    findings_->fail(base, fmt::format("must have from {} to {} elements", rule.min_size, rule.max_size));
    return out;
  }
  for (std::size_t i = 0; i != array->size(); ++i) {
    const std::string at = base + "/" + std::to_string(i);
    const json::object* object = (*array)[i].if_object();
    if (object == nullptr) findings_->fail(at, "must be an object");
    out.push_back(json_reader(document_, object, at, *findings_));
  }
  return out;
}

}  // namespace belay::http
