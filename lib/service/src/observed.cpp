// SPDX-License-Identifier: Apache-2.0
// Requests under way in a list, diagnostics behind a lock.

#include "observed.hpp"

#include <belay/core/sleep.hpp>

#include "request_metrics.hpp"

namespace belay::service {

request_under_way::request_under_way(requests_under_way& all, const http::exchange& of,
                                     const http::trace_id& trace) noexcept
    : all_(&all), of_(&of), trace_(&trace), previous_(all.last_) {
  (previous_ != nullptr ? previous_->next_ : all.first_) = this;
  all.last_ = this;
}

request_under_way::~request_under_way() {
  (previous_ != nullptr ? previous_->next_ : all_->first_) = next_;
  (next_ != nullptr ? next_->previous_ : all_->last_) = previous_;
  all_->counted_by_->note(route_, of_->request.method, status_, belay::now() - of_->arrived);
}

void diagnostics_seen::note(const diagnostic& what) {
  std::string text = describe(what);
  const std::lock_guard held(mutex_);
  const auto kind = static_cast<std::size_t>(what.kind);
  if (!what.over && kind < kinds) ++counts_[kind];
  if (latest_.size() == most_kept) latest_.pop_front();
  latest_.push_back({std::chrono::system_clock::now(), std::move(text)});
}

std::array<std::uint64_t, diagnostics_seen::kinds> diagnostics_seen::counts() const {
  const std::lock_guard held(mutex_);
  return counts_;
}

std::vector<diagnostics_seen::one> diagnostics_seen::latest() const {
  const std::lock_guard held(mutex_);
  return {latest_.begin(), latest_.end()};
}

}  // namespace belay::service
