// SPDX-License-Identifier: Apache-2.0
// Which column belongs to which member, and the words when they do not fit.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <belay/db/described.hpp>
#include <belay/db/error.hpp>
#include <algorithm>

namespace belay::db::detail {

std::vector<std::size_t> find_columns(const columns_description& of, const column_names& in) {
  std::vector<std::size_t> places;
  places.reserve(of.fields.size());
  std::vector<std::string_view> missing;
  std::vector<std::string_view> twice;
  for (const column_field& one : of.fields) {
    const auto found = std::find(in.begin(), in.end(), one.column);
    if (found == in.end()) {
      missing.push_back(one.column);
      continue;
    }
    if (std::find(std::next(found), in.end(), one.column) != in.end()) twice.push_back(one.column);
    places.push_back(static_cast<std::size_t>(found - in.begin()));
  }
  std::vector<std::string_view> unknown;
  if (!of.others_ignored) {
    for (const std::string& column : in) {
      const bool is_known = std::any_of(of.fields.begin(), of.fields.end(),
                                        [&](const auto& one) { return one.column == column; });
      if (!is_known) unknown.push_back(column);
    }
  }
  if (missing.empty() && unknown.empty() && twice.empty()) return places;
  std::string text = fmt::format("read rows as {}:", of.type);
  if (!missing.empty()) text += fmt::format(" the query gives no column {};", fmt::join(missing, ", "));
  if (!unknown.empty())
    text += fmt::format(" {} has no member for column {};", of.type, fmt::join(unknown, ", "));
  if (!twice.empty()) text += fmt::format(" two columns are called {};", fmt::join(twice, ", "));
  text += fmt::format(" name the columns in the query, or describe them; it gives: {}", fmt::join(in, ", "));
  throw type_error(std::move(text));
}

void throw_no_such_name(std::string_view type, std::string_view what, std::string_view found,
                        const std::vector<std::string_view>& names) {
  constexpr std::size_t shown = 60;
  throw type_error(fmt::format("read {}: '{}' is no {}: expected one of {}", what, found.substr(0, shown),
                               type, fmt::join(names, ", ")));
}

}  // namespace belay::db::detail
