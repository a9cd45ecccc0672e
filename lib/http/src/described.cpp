// SPDX-License-Identifier: Apache-2.0
// Reading, writing and telling the values of described types.

#include <belay/core/detail/place.hpp>
#include <belay/http/described.hpp>
#include <belay/http/json_text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace belay::http {

void value_reading::fail(std::string detail) {
  constexpr std::size_t longest = 256;  // the names in a map are the client's
  ++failures_;
  if (findings_->errors().size() < most_findings)
    findings_->fail(belay::detail::cut_text(at_, longest), std::move(detail));
}

std::size_t value_reading::enter(std::string_view name) {
  const std::size_t back = at_.size();
  at_ += '/';
  for (const char c : name) {  // RFC 6901 section 3
    if (c == '~') {
      at_ += "~0";
    } else if (c == '/') {
      at_ += "~1";
    } else {
      at_ += c;
    }
  }
  return back;
}

std::size_t value_reading::enter(std::size_t index) {
  const std::size_t back = at_.size();
  at_ += '/';
  at_ += std::to_string(index);
  return back;
}

void value_writing::fail(std::string_view what) const {
  std::string place;
  for (const step& one : at_) {
    place += '/';
    place += one.name.data() == nullptr ? std::to_string(one.index) : std::string(one.name);
  }
  throw unserialisable_error(fmt::format("the result cannot be sent as JSON: {} {}",
                                         place.empty() ? "the whole" : place.c_str(), what));
}

std::string schemas::reference(const void* type, std::string_view long_name, std::string (*make)(schemas&)) {
  const auto known = names_.find(type);
  std::string name;
  if (known != names_.end()) {
    name = known->second;
  } else {
    // The last part of the name, as long as it is enough; "[A-Za-z0-9._-]+" is what OpenAPI takes.
    std::string whole;
    for (const char c : long_name) {
      const bool plain =
          (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
      if (plain) {
        whole += c;
      } else if (!whole.empty() && whole.back() != '.') {
        whole += '.';
      }
    }
    while (!whole.empty() && whole.back() == '.') whole.pop_back();
    name = long_name.find('<') == std::string_view::npos ? whole.substr(whole.rfind('.') + 1) : whole;
    if (made_.contains(name)) name = whole;
    for (int more = 2; made_.contains(name); ++more) name = whole + "-" + std::to_string(more);
    names_.emplace(type, name);
    made_.emplace(name, "");  // a type may hold itself
    made_[name] = make(*this);
  }
  return "{\"$ref\":" + to_json_string("#/components/schemas/" + name) + "}";
}

std::string schemas::text() const {
  std::string out;
  for (const auto& [name, schema] : made_) {
    if (!out.empty()) out += ',';
    append_json_string(out, name);
    out += ':' + schema;
  }
  return out;
}

namespace detail {
namespace {

// Appends `,"name":value` with a value that is JSON.
void add(std::string& to, std::string_view name, std::string_view value) {
  if (to.size() > 1) to += ',';
  append_json_string(to, name);
  to += ':';
  to += value;
}

void add_told(std::string& to, const field_rule& rule) {
  if (!rule.description.empty()) add(to, "description", to_json_string(rule.description));
  if (rule.deprecated) add(to, "deprecated", "true");
}

std::string range_text(std::optional<std::int64_t> min, std::optional<std::int64_t> max) {
  if (min && max) return fmt::format("must be from {} to {}", *min, *max);
  return min ? fmt::format("must be at least {}", *min) : fmt::format("must be at most {}", *max);
}

std::string length_finding(std::size_t length, const field_rule& rule, std::string_view what) {
  if (length < rule.min_length) {
    if (rule.min_length == 1) return "must not be empty";
    return fmt::format("must have at least {} {}", rule.min_length, what);
  }
  if (length > rule.max_length) return fmt::format("must have at most {} {}", rule.max_length, what);
  return {};
}

struct integer {
  bool negative;
  std::uint64_t bits;
};

bool below(const integer& value, std::int64_t limit) {
  if (value.negative) return limit >= 0 || static_cast<std::int64_t>(value.bits) < limit;
  return limit > 0 && value.bits < static_cast<std::uint64_t>(limit);
}
bool above(const integer& value, std::int64_t limit) {
  if (value.negative) return limit < 0 && static_cast<std::int64_t>(value.bits) > limit;
  return limit < 0 || value.bits > static_cast<std::uint64_t>(limit);
}
bool fits(const integer& value, const integer_limits& limits) {
  return !below(value, limits.min) && (value.negative || value.bits <= limits.max);
}
// What is wrong with the value; empty: nothing.
std::string integer_finding(const integer& value, const field_rule& rule) {
  if ((rule.min && below(value, *rule.min)) || (rule.max && above(value, *rule.max)))
    return range_text(rule.min, rule.max);
  return {};
}

std::string limits_text(const integer_limits& limits, const field_rule& rule) {
  if (rule.min || rule.max) return range_text(rule.min, rule.max);
  if (limits.min == std::numeric_limits<std::int64_t>::min() ||
      limits.max == std::numeric_limits<std::uint64_t>::max())
    return "must fit 64 bits";
  return fmt::format("must be from {} to {}", limits.min, limits.max);
}

std::optional<std::uint64_t> checked(const integer& value, value_reading& at, const integer_limits& limits,
                                     const field_rule& rule) {
  std::string wrong = fits(value, limits) ? integer_finding(value, rule) : limits_text(limits, rule);
  if (wrong.empty()) return value.bits;
  at.fail(std::move(wrong));
  return std::nullopt;
}

std::string real_finding(double value, const field_rule& rule) {
  if ((rule.min && value < static_cast<double>(*rule.min)) ||
      (rule.max && value > static_cast<double>(*rule.max)))
    return range_text(rule.min, rule.max);
  return {};
}

std::optional<double> checked(double value, value_reading& at, const field_rule& rule) {
  std::string wrong = real_finding(value, rule);
  if (wrong.empty()) return value;
  at.fail(std::move(wrong));
  return std::nullopt;
}

std::string string_finding(std::string_view value, const field_rule& rule) {
  std::string wrong = length_finding(count_code_points(value), rule, "characters");
  if (wrong.empty() && rule.accept != nullptr && !rule.accept(value)) wrong = rule.expected;
  return wrong;
}

}  // namespace

std::optional<std::uint64_t> read_integer(json_view from, value_reading& at, const integer_limits& limits,
                                          const field_rule& rule) {
  switch (from.what()) {
    case json_view::kind::integer:
      return checked({.negative = from.integer() < 0, .bits = static_cast<std::uint64_t>(from.integer())}, at,
                     limits, rule);
    case json_view::kind::unsigned_integer:
      return checked({.negative = false, .bits = static_cast<std::uint64_t>(from.integer())}, at, limits,
                     rule);
    case json_view::kind::out_of_range: at.fail(limits_text(limits, rule)); return std::nullopt;
    default: at.fail("must be an integer"); return std::nullopt;
  }
}

std::optional<std::uint64_t> read_integer(std::string_view from, value_reading& at,
                                          const integer_limits& limits, const field_rule& rule) {
  const bool negative = from.starts_with('-');
  integer value{.negative = negative, .bits = 0};
  const char* end = from.data() + from.size();
  std::from_chars_result got{};
  if (negative) {
    std::int64_t read = 0;
    got = std::from_chars(from.data(), end, read);
    value.negative = read < 0;  // "-0" is 0
    value.bits = static_cast<std::uint64_t>(read);
  } else {
    got = std::from_chars(from.data(), end, value.bits);
  }
  if (got.ptr != end || got.ec == std::errc::invalid_argument) {
    at.fail("must be an integer");
  } else if (got.ec == std::errc::result_out_of_range) {
    at.fail(limits_text(limits, rule));
  } else {
    return checked(value, at, limits, rule);
  }
  return std::nullopt;
}

void write_integer(std::int64_t value, value_writing& to, const field_rule& rule) {
  const std::string wrong =
      integer_finding({.negative = value < 0, .bits = static_cast<std::uint64_t>(value)}, rule);
  if (!wrong.empty()) to.fail(wrong);
  fmt::format_to(std::back_inserter(to.out()), "{}", value);
}

void write_unsigned(std::uint64_t value, value_writing& to, const field_rule& rule) {
  const std::string wrong = integer_finding({.negative = false, .bits = value}, rule);
  if (!wrong.empty()) to.fail(wrong);
  fmt::format_to(std::back_inserter(to.out()), "{}", value);
}

std::string integer_schema(const integer_limits& limits, const field_rule& rule) {
  std::string out = R"({"type":"integer")";
  if (limits.max == static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    add(out, "format", "\"int64\"");
  if (limits.max == static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max()))
    add(out, "format", "\"int32\"");
  const bool small = limits.max < static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
  if (rule.min || small || limits.min == 0)
    add(out, "minimum", std::to_string(rule.min.value_or(limits.min)));
  if (rule.max) {
    add(out, "maximum", std::to_string(*rule.max));
  } else if (small) {
    add(out, "maximum", std::to_string(limits.max));
  }
  add_told(out, rule);
  return out + "}";
}

std::optional<double> read_real(json_view from, value_reading& at, const field_rule& rule) {
  switch (from.what()) {
    case json_view::kind::integer: return checked(static_cast<double>(from.integer()), at, rule);
    case json_view::kind::unsigned_integer:
      return checked(static_cast<double>(static_cast<std::uint64_t>(from.integer())), at, rule);
    case json_view::kind::real:
      if (std::isfinite(from.real())) return checked(from.real(), at, rule);
      [[fallthrough]];
    case json_view::kind::out_of_range: at.fail("is too large"); return std::nullopt;
    default: at.fail("must be a number"); return std::nullopt;
  }
}

std::optional<double> read_real(std::string_view from, value_reading& at, const field_rule& rule) {
  double value = 0;
  const char* end = from.data() + from.size();
  const auto [stop, ec] = std::from_chars(from.data(), end, value);
  // from_chars takes "inf" and "nan", which are no numbers here.
  if (stop != end || ec == std::errc::invalid_argument || !std::isfinite(value)) {
    at.fail("must be a number");
  } else if (ec == std::errc::result_out_of_range) {
    at.fail("is too large or too small");
  } else {
    return checked(value, at, rule);
  }
  return std::nullopt;
}

namespace {
template <class T>
void write_number(T value, value_writing& to, const field_rule& rule) {
  if (!std::isfinite(value)) to.fail("is not a finite number");
  const std::string wrong = real_finding(static_cast<double>(value), rule);
  if (!wrong.empty()) to.fail(wrong);
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  to.out().append(text.data(), end.ptr);
}
}  // namespace

void write_real(double value, value_writing& to, const field_rule& rule) { write_number(value, to, rule); }
void write_real(float value, value_writing& to, const field_rule& rule) { write_number(value, to, rule); }

std::string real_schema(const field_rule& rule) {
  std::string out = R"({"type":"number")";
  if (rule.min) add(out, "minimum", std::to_string(*rule.min));
  if (rule.max) add(out, "maximum", std::to_string(*rule.max));
  add_told(out, rule);
  return out + "}";
}

void read_boolean(bool& into, json_view from, value_reading& at) {
  if (from.what() == json_view::kind::boolean) {
    into = from.boolean();
  } else {
    at.fail("must be true or false");
  }
}

void read_boolean(bool& into, std::string_view from, value_reading& at) {
  if (from == "true" || from == "false") {
    into = from == "true";
  } else {
    at.fail("must be true or false");
  }
}

std::string boolean_schema(const field_rule& rule) {
  std::string out = R"({"type":"boolean")";
  add_told(out, rule);
  return out + "}";
}

void read_string(std::string& into, json_view from, value_reading& at, const field_rule& rule) {
  if (from.what() == json_view::kind::string) {
    read_string(into, from.text(), at, rule);
  } else {
    at.fail("must be a string");
  }
}

void read_string(std::string& into, std::string_view from, value_reading& at, const field_rule& rule) {
  std::string wrong = is_valid_utf8(from) ? string_finding(from, rule) : "is not valid UTF-8";
  if (wrong.empty()) {
    into = from;
  } else {
    at.fail(std::move(wrong));
  }
}

void write_string(std::string_view value, value_writing& to, const field_rule& rule) {
  if (!is_valid_utf8(value)) to.fail("is not valid UTF-8");
  const std::string wrong = string_finding(value, rule);
  if (!wrong.empty()) to.fail(wrong);
  append_json_string(to.out(), value);
}

std::string string_schema(const field_rule& rule) {
  std::string out = R"({"type":"string")";
  if (rule.min_length != 0) add(out, "minLength", std::to_string(rule.min_length));
  if (rule.max_length != std::numeric_limits<std::size_t>::max())
    add(out, "maxLength", std::to_string(rule.max_length));
  if (!rule.format.empty()) add(out, "format", to_json_string(rule.format));
  add_told(out, rule);
  return out + "}";
}

namespace {
std::string names_text(const named_values& names) {
  std::string out = "must be one of: ";
  bool first = true;
  for (const auto& [value, name] : names) {
    if (!std::exchange(first, false)) out += ", ";
    out += name;
  }
  return out;
}
}  // namespace

std::optional<std::int64_t> read_named(const named_values& names, std::string_view from, value_reading& at) {
  for (const auto& [value, name] : names) {
    if (name == from) return value;
  }
  at.fail(names_text(names));
  return std::nullopt;
}

std::optional<std::int64_t> read_named(const named_values& names, json_view from, value_reading& at) {
  if (from.what() == json_view::kind::string) return read_named(names, from.text(), at);
  at.fail(names_text(names));
  return std::nullopt;
}

void write_named(const named_values& names, std::int64_t value, value_writing& to) {
  const auto found =
      std::find_if(names.begin(), names.end(), [&](const auto& one) { return one.first == value; });
  if (found == names.end()) to.fail(fmt::format("is the number {}, which has no name", value));
  append_json_string(to.out(), found->second);
}

std::string named_schema(const named_values& names) {
  std::string all;
  for (const auto& [value, name] : names) {
    if (!all.empty()) all += ',';
    append_json_string(all, name);
  }
  return R"({"type":"string","enum":[)" + all + "]}";
}

bool check_array(json_view from, value_reading& at, const field_rule& rule) {
  if (from.what() != json_view::kind::array) {
    at.fail("must be an array");
    return false;
  }
  std::string wrong = length_finding(from.size(), rule, "elements");
  if (wrong.empty()) return true;
  at.fail(std::move(wrong));
  return false;
}

bool check_map(json_view from, value_reading& at, const field_rule& rule) {
  if (from.what() != json_view::kind::object) {
    at.fail("must be an object");
    return false;
  }
  std::string wrong = length_finding(from.size(), rule, "members");
  if (wrong.empty()) return true;
  at.fail(std::move(wrong));
  return false;
}

void check_count(std::size_t count, const value_writing& to, const field_rule& rule) {
  const std::string wrong = length_finding(count, rule, "elements");
  if (!wrong.empty()) to.fail(wrong);
}

void write_key(std::string_view name, value_writing& to) {
  if (!is_valid_utf8(name)) to.fail("has a name that is not valid UTF-8");
  append_json_string(to.out(), name);
  to.out() += ':';
}

std::string array_schema(const std::string& element, const field_rule& rule) {
  std::string out = R"({"type":"array")";
  add(out, "items", element);
  if (rule.min_length != 0) add(out, "minItems", std::to_string(rule.min_length));
  if (rule.max_length != std::numeric_limits<std::size_t>::max())
    add(out, "maxItems", std::to_string(rule.max_length));
  add_told(out, rule);
  return out + "}";
}

std::string map_schema(const std::string& element, const field_rule& rule) {
  std::string out = R"({"type":"object")";
  add(out, "additionalProperties", element);
  if (rule.min_length != 0) add(out, "minProperties", std::to_string(rule.min_length));
  if (rule.max_length != std::numeric_limits<std::size_t>::max())
    add(out, "maxProperties", std::to_string(rule.max_length));
  add_told(out, rule);
  return out + "}";
}

std::string nullable_schema(const std::string& inner) {
  return R"({"anyOf":[)" + inner + R"(,{"type":"null"}]})";
}

field_rule element_rule(const field_rule& rule) {
  field_rule made;
  made.min = rule.min;
  made.max = rule.max;
  made.accept = rule.accept;
  if (rule.accept != nullptr) made.expected = rule.expected;
  made.format = rule.format;
  return made;
}

void read_object(const object_description& what, void* into, json_view from, value_reading& at) {
  if (from.what() != json_view::kind::object) {
    at.fail("must be an object");
    return;
  }
  const std::size_t before = at.failures();
  for (const field& one : what.fields) {
    const std::size_t back = at.enter(one.name);
    const auto found = from.find(one.name);
    if (found) {
      one.type->read(one.member(into), *found, at, one.rule);
    } else if (one.needed == presence::required) {
      at.fail("is required");
    }
    at.leave(back);
  }
  if (at.failures() != before) return;
  for (const object_check& one : what.checks) {
    if (one.holds(into)) continue;
    if (one.member.empty()) {
      at.fail(one.expected);
      continue;
    }
    const std::size_t back = at.enter(one.member);
    at.fail(one.expected);
    at.leave(back);
  }
}

void write_object(const object_description& what, const void* from, value_writing& to) {
  to.out() += '{';
  bool first = true;
  for (const field& one : what.fields) {
    if (!std::exchange(first, false)) to.out() += ',';
    append_json_string(to.out(), one.name);
    to.out() += ':';
    to.enter(one.name);
    // Only its place is asked for.
    one.type->write(one.member(const_cast<void*>(from)), to, one.rule);
    to.leave();
  }
  for (const object_check& one : what.checks) {
    if (!one.holds(from)) to.fail((one.member.empty() ? "" : one.member + " ") + one.expected);
  }
  to.out() += '}';
}

std::string object_schema(const object_description& what, schemas& all) {
  std::string properties = "{";
  std::string required;
  for (const field& one : what.fields) {
    std::string schema = one.type->schema(all, one.rule);
    if (one.needed == presence::defaulted) {
      // Beside a reference: allowed since JSON Schema 2019-09.
      schema.pop_back();
      add(schema, "default", one.default_value());
      schema += '}';
    }
    add(properties, one.name, schema);
    if (one.needed != presence::required) continue;
    if (!required.empty()) required += ',';
    append_json_string(required, one.name);
  }
  std::string out = R"({"type":"object")";
  if (!what.description.empty()) add(out, "description", to_json_string(what.description));
  add(out, "properties", properties + "}");
  if (!required.empty()) add(out, "required", "[" + required + "]");
  return out + "}";
}

}  // namespace detail
}  // namespace belay::http
