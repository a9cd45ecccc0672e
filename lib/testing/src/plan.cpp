// SPDX-License-Identifier: Apache-2.0
// Plans as text.

#include "plan.hpp"

#include <sstream>

namespace belay::testing {

std::string injection::text() const {
  if (what == act::fail) {
    return "fail " + std::to_string(point) + (error != 0 ? " error " + std::to_string(error) : "");
  }
  return (what == act::cancel ? "cancel " : "disturb ") + std::to_string(point) +
         (when == moment::before   ? " before"
          : when == moment::during ? " during"
                                   : " after");
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
    std::string more;
    words >> more;
    if (verb == "schedule" && more.empty()) {
      read.schedule = number;
    } else if ((verb == "cancel" || verb == "disturb") &&
               (more == "before" || more == "during" || more == "after")) {
      const moment when = more == "before"   ? moment::before
                          : more == "during" ? moment::during
                                             : moment::after;
      read.steps.push_back(
          {.what = verb == "cancel" ? act::cancel : act::disturb, .point = number, .when = when});
    } else if (verb == "fail" && (more.empty() || more == "error")) {
      std::size_t error = 0;
      if (!more.empty() && !(words >> error)) return std::nullopt;
      read.steps.push_back({.what = act::fail, .point = number, .error = error});
    } else {
      return std::nullopt;
    }
  }
  return read;
}

}  // namespace belay::testing
