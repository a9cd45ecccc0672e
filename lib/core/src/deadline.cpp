// SPDX-License-Identifier: Apache-2.0
// Deadlines that are moved while they run.

#include <belay/core/deadline.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace belay {

deadline::~deadline() {
  if (bounds_ == nullptr) return;
  std::fputs("belay: a deadline was destroyed while its with_deadline was running; it must outlive it\n",
             stderr);
  std::abort();
}

void deadline::require_running(const char* call, std::source_location where) const {
  if (bounds_ != nullptr && home_ == detail::this_runtime) return;
  const char* why = bounds_ != nullptr ? ": this is not the thread of its loop; use loop::post"
                    : used_            ? ": its with_deadline has ended"
                                       : ": its with_deadline has not begun";
  throw misuse_error(call + std::string(why), where);
}

bool deadline::set(time_point when, const char* call, std::source_location where) {
  require_running(call, where);
  if (bounds_->requested) return false;
  when_ = when;
  const time_point acts = std::max(when, detail::this_runtime->time->now());
  bounds_->move_to(when, when == time_point::max() ? duration::max() : acts - started_);
  return true;
}

bool deadline::move_to(time_point when, std::source_location where) {
  return set(when, "deadline::move_to", where);
}
bool deadline::extend(any_duration length, std::source_location where) {
  return set(when_ == time_point::max() ? when_ : saturating_add(when_, length), "deadline::extend", where);
}
bool deadline::restart(std::source_location where) {
  require_running("deadline::restart", where);
  return set(saturating_add(detail::this_runtime->time->now(), limit_), "deadline::restart", where);
}
bool deadline::remove(std::source_location where) {
  return set(time_point::max(), "deadline::remove", where);
}

bool deadline::expired() const noexcept { return bounds_ != nullptr ? bounds_->requested : expired_; }

namespace detail {

deadline_use::deadline_use(belay::deadline& of, std::source_location where)
    : deadline_scope("with_deadline", of.limit_, where), of_(nullptr) {
  if (of.used_) {
    throw misuse_error(of.running() ? "with_deadline: another one runs under this deadline; make one for each"
                                    : "with_deadline: this deadline was used before; make a new one",
                       where);
  }
  of.used_ = true;
  of.started_ = this_runtime->time->now();
  if (expired_on_entry()) {
    of.expired_ = true;
    of.when_ = of.started_;
    return;
  }
  of_ = &of;
  of.bounds_ = this;
  of.home_ = this_runtime;
  arm();
  of.when_ = deadline_scope::deadline();
}

void deadline_use::end() noexcept {
  if (of_ == nullptr) return;
  disarm();
  of_->expired_ = requested;
  of_->bounds_ = nullptr;
  of_ = nullptr;
}

}  // namespace detail
}  // namespace belay
