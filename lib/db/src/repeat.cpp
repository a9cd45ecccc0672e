// SPDX-License-Identifier: Apache-2.0
// What counts as a conflict, and when to give up.

#include <fmt/format.h>

#include <belay/core/detail/failure_record.hpp>
#include <belay/core/error.hpp>
#include <belay/core/random.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/error.hpp>
#include <belay/db/repeat.hpp>
#include <algorithm>
#include <string_view>

namespace belay::db {

namespace {

std::string_view code_of(const failure& one) noexcept {
  const auto* const known = belay::detail::exception_as<error>(one.exception());
  return known == nullptr ? std::string_view() : std::string_view(known->code());
}

bool is_code_of_conflict(std::string_view code) noexcept {
  return code == "database_locked" || code == "serialization_failure" || code == "deadlock";
}

// Statements beside the one that met the conflict can only say that the transaction is lost. Looking here observes nothing.
bool is_all_of_conflict(const failure& what) noexcept {
  const auto& attached = what.record()->attached;
  return std::all_of(attached.begin(), attached.end(), [](const failure& one) {
    const std::string_view code = code_of(one);
    return (is_code_of_conflict(code) || code == "transaction_lost") && is_all_of_conflict(one);
  });
}

}  // namespace

bool is_conflict(const failure& what) noexcept {
  return is_code_of_conflict(code_of(what)) && is_all_of_conflict(what);
}

namespace detail {

repetition::repetition(repeat_options options, std::source_location where) : options_(options) {
  if (options.attempts == 0)
    throw misuse_error("db::repeat_on_conflict: options.attempts must be at least 1", where);
  if (options.first_pause < duration::zero() || options.longest_pause < options.first_pause)
    throw misuse_error("db::repeat_on_conflict: options.first_pause must be from 0 to options.longest_pause",
                       where);
}

bool repetition::goes_on(failure& why) {
  ++tried_;
  const bool conflict = is_conflict(why);
  std::string given_up;
  if (conflict && tried_ < options_.attempts) {
    const unsigned doublings = std::min(tried_ - 1, 40U);
    const bool small = options_.first_pause.count() <= (options_.longest_pause.count() >> doublings);
    pause_ =
        random_up_to(small ? options_.first_pause * (duration::rep{1} << doublings) : options_.longest_pause);
    if (saturating_add(now(), pause_) < current_deadline()) {
      before_.push_back(why);
      return true;
    }
    given_up = ", given up: the deadline would pass before the next one";
  }
  if (tried_ > 1 || conflict) {
    why.note(fmt::format("attempt {} of {}{}", tried_, options_.attempts, given_up));
  }
  for (failure& earlier : before_) why.attach(std::move(earlier));
  return false;
}

}  // namespace detail
}  // namespace belay::db
