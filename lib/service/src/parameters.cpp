// SPDX-License-Identifier: Apache-2.0
// The arguments of typed handlers.

#include <belay/service/typed.hpp>

#include <algorithm>

namespace belay::service::detail {

http::field_rule to_field_rule(const rule& from) {
  constexpr rule any;
  http::field_rule made;
  if (from.min != any.min) made.min = from.min;
  if (from.max != any.max) made.max = from.max;
  made.min_length = from.min_length;
  made.max_length = from.max_length;
  made.accept = from.accept;
  return made;
}

void miss(http::validation& findings, std::string_view kind, std::string_view name) {
  http::value_reading at(findings);
  at.enter(kind);
  at.enter(name);
  at.fail("is required");
}

std::vector<std::string> pattern_names(std::string_view pattern) {
  std::vector<std::string> names;
  for (std::size_t open = pattern.find('{'); open != std::string_view::npos; open = pattern.find('{', open)) {
    const std::size_t close = pattern.find('}', open);
    if (close == std::string_view::npos) break;  // refused by the table
    names.emplace_back(pattern.substr(open + 1, close - open - 1));
    open = close;
  }
  return names;
}

std::vector<std::size_t> place_arguments(std::string_view pattern, std::size_t plain,
                                         const std::vector<std::string>& named) {
  const std::vector<std::string> names = pattern_names(pattern);
  for (const std::string& one : named) {
    if (std::find(names.begin(), names.end(), one) == names.end()) {
      throw misuse_error("route " + std::string(pattern) + ": the handler takes path<\"" + one +
                         "\">, which the pattern does not have");
    }
  }
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i != names.size(); ++i) {
    if (std::find(named.begin(), named.end(), names[i]) == named.end()) places.push_back(i);
  }
  if (plain != 0 && plain != places.size()) {
    throw misuse_error("route " + std::string(pattern) + ": the handler takes " + std::to_string(plain) +
                       " path parameters by position, and the pattern has " + std::to_string(places.size()) +
                       " that no path<> names");
  }
  if (plain == 0) places.clear();
  return places;
}

void operation_description::add(parameter what) {
  for (const parameter& one : parameters) {
    if (one.name == what.name && one.in == what.in) return;
  }
  parameters.push_back(std::move(what));
}

std::string with_fallback(std::string schema, std::int64_t value, bool boolean) {
  schema.pop_back();
  const std::string text = boolean ? (value != 0 ? "true" : "false") : std::to_string(value);
  return schema + ",\"default\":" + text + "}";
}

}  // namespace belay::service::detail
