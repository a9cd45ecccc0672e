// SPDX-License-Identifier: Apache-2.0
// All that belongs to a failure, in the order of `failure::flatten`.

#include <belay/core/sleep.hpp>
#include <belay/errors/detail/story.hpp>

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

namespace belay::detail {

std::vector<failure> whole_story(const failure& what) {
  std::vector<failure> all;
  std::vector<failure> open{what};
  std::unordered_set<const failure_record*> seen;
  while (!open.empty()) {
    failure one = std::move(open.back());
    open.pop_back();
    if (!one || !seen.insert(one.record().get()).second) continue;
    if (failure below = one.cause()) open.push_back(std::move(below));
    const auto& beside = one.record()->attached;
    open.insert(open.end(), beside.rbegin(), beside.rend());
    all.push_back(std::move(one));
  }
  return all;
}

bool arose_in_cleanup(const failure& what) noexcept {
  // As `merge_cleanup_outcome` writes it.
  return std::ranges::any_of(
      what.notes(), [](const std::string& note) { return note.starts_with("during cleanup after: "); });
}

bool failed_after_cancellation(const failure& what) {
  // An error that was made of this one has it as its cause, or attached.
  return cancel_requested() && std::ranges::any_of(whole_story(what), arose_in_cleanup);
}

look_without_handling::look_without_handling(const failure& what) {
  if (!what) return;
  for (failure& one : whole_story(what)) {
    if (!one.observed()) unobserved_.push_back(std::move(one));
  }
}

look_without_handling::~look_without_handling() {
  for (const failure& one : unobserved_) one.record()->observed.store(false, std::memory_order_relaxed);
}

}  // namespace belay::detail
