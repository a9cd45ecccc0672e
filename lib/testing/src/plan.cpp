// SPDX-License-Identifier: Apache-2.0
// Plans as text.

#include "plan.hpp"

#include <algorithm>
#include <iterator>
#include <sstream>

namespace belay::testing {

namespace {

constexpr const char* verbs[] = {"cancel", "fail", "expire", "disturb"};  // in the order of `act`
constexpr const char* moments[] = {"before", "during", "after"};          // in the order of `moment`

}  // namespace

std::string injection::text() const {
  std::string words = verbs[static_cast<std::size_t>(what)] + (" " + std::to_string(point));
  if (what != act::fail) words += std::string(" ") + moments[static_cast<std::size_t>(when)];
  if (which != 0) words += " number " + std::to_string(which);
  return words;
}

std::string plan::text() const {
  std::string out;
  if (schedule) out = "schedule " + std::to_string(*schedule);
  for (const injection& step : steps) out += (out.empty() ? "" : ", ") + step.text();
  return out.empty() ? "undisturbed" : out;
}

std::optional<plan> plan::parse(std::string_view text) {
  plan read;
  std::stringstream parts{std::string(text)};
  for (std::string part; std::getline(parts, part, ',');) {
    std::stringstream words(part);
    std::string verb;
    words >> verb;
    if (verb == "undisturbed") continue;
    std::uint64_t number = 0;
    if (!(words >> number)) return std::nullopt;
    if (verb == "schedule") {
      read.schedule = number;
      continue;
    }
    const auto* known = std::find(std::begin(verbs), std::end(verbs), verb);
    if (known == std::end(verbs)) return std::nullopt;
    injection step{.what = static_cast<act>(known - std::begin(verbs)),
                   .point = static_cast<std::size_t>(number)};
    for (std::string more; words >> more;) {
      if (more == "number") {
        if (!(words >> step.which)) return std::nullopt;
        continue;
      }
      const auto* when = std::find(std::begin(moments), std::end(moments), more);
      if (when == std::end(moments)) return std::nullopt;
      step.when = static_cast<moment>(when - std::begin(moments));
    }
    read.steps.push_back(step);
  }
  return read;
}

}  // namespace belay::testing
