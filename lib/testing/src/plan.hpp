// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a driver does to one run, and its text for replays: "schedule 7, cancel 12 during, fail 15".

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::testing {

enum class moment : unsigned char {
  before,  // the operation does not start
  during,  // it is under way
  after,   // it has finished, and the task has not gone on
};

enum class act : unsigned char {
  cancel,
  fail,
  expire,   // the limit of a `with_timeout` around it passes
  disturb,  // calls what the scenario gave to `stage::disturbance`
};

struct injection {
  act what = act::cancel;
  std::size_t point = 0;
  moment when = moment::before;  // not of a failure, which is always `before`
  std::size_t which = 0;         // of a failure: which of the errors; of a limit: how many lie inside of it
  bool or_later = false;  // at the first wait from `point` on: for schedules whose awaits are not known yet

  [[nodiscard]] std::string text() const;
};

struct plan {
  std::optional<std::uint64_t> schedule;
  std::vector<injection> steps;  // two at the most

  [[nodiscard]] std::string text() const;
  // Nothing when `text` is no plan.
  [[nodiscard]] static std::optional<plan> parse(std::string_view text);
};

}  // namespace belay::testing
