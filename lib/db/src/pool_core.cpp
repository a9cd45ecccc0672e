// SPDX-License-Identifier: Apache-2.0
// The line of a pool, its leases, and the words for who holds them.

#include <fmt/format.h>

#include <belay/core/detail/place.hpp>
#include <belay/core/sleep.hpp>
#include <belay/db/detail/pool_core.hpp>
#include <belay/db/error.hpp>
#include <algorithm>
#include <new>

namespace belay::db {

using belay::detail::length_text;
using belay::detail::place_text;

std::string describe(const pool_holder& who) {
  return fmt::format("{} for {}, taken at {}", who.task, length_text(who.held), place_text(who.taken_at));
}

namespace detail {

namespace {

pool_options checked(pool_options set) {
  const auto require = [&set](bool holds, const char* what) {
    if (!holds) throw_pool_misuse(fmt::format("pool '{}': {}", set.name, what));
  };
  require(set.max > 0, "options.max must be at least 1");
  require(set.min <= set.max, "options.min must not be more than options.max");
  require(set.acquire_timeout >= duration::zero(), "options.acquire_timeout must not be negative");
  require(set.drain_limit >= duration::zero(), "options.drain_limit must not be negative");
  require(set.check_after >= duration::zero(), "options.check_after must not be negative");
  require(set.lifetime_jitter >= 0 && set.lifetime_jitter <= 1,
          "options.lifetime_jitter must be from 0 to 1");
  require(set.first_pause > duration::zero() && set.longest_pause >= set.first_pause,
          "options.first_pause must be more than 0, and not more than options.longest_pause");
  for (const duration limit : {set.open_limit, set.check_limit, set.reset_limit, set.close_limit,
                               set.max_lifetime, set.idle_timeout, set.leak_after})
    require(limit > duration::zero(), "limits, lifetimes and timeouts in its options must be more than 0");
  return set;
}

std::string task_text(const lease_origin& of) {
  if (of.no_task) return "code outside of tasks";
  if (of.task.text != nullptr) return "task '" + belay::detail::name_text(of.task) + "'";
  if (of.main_task) return "the main task";
  if (of.spawned_at.line() == 0) return "a task";
  return "the task spawned at " + place_text(of.spawned_at);
}

}  // namespace

void throw_pool_misuse(const std::string& what) { throw misuse_error("db::open_pool: " + what); }

void throw_opened_nothing() { throw misuse_error("db::open_pool: pool_functions::open gave no connection"); }

// ---- a lease

lease_origin lease_origin::of(const belay::detail::node* task, std::source_location where,
                              time_point at) noexcept {
  lease_origin made;
  made.at = at;
  made.where = where;
  made.no_task = task == nullptr;
  if (task != nullptr) {
    made.spawned_at = task->spawned_at();
    if (task->labelled) made.task = *task->label;
    made.main_task = task->group == nullptr;
  }
  return made;
}

pool_holder lease_origin::holder(time_point now_is) const {
  return {.task = task_text(*this), .taken_at = where, .spawned_at = spawned_at, .held = now_is - at};
}

void pool_grant::give_back() noexcept {
  const std::shared_ptr<pool_core> from = std::exchange(from_, nullptr);
  from->came_back(slot_);
}

void pool_core::lend(slot_list::iterator which, std::source_location where, const belay::detail::node* to,
                     time_point at) noexcept {
  pool_slot& one = *which;
  one.leased = lease_origin::of(to, where, at);
  one.broken = false;
  one.told = false;
  one.unused = false;
  used_.splice(used_.end(), idle_, which);
  ++counted_.acquired;
  if (saturating_add(at, options_.leak_after) < look_at_) wake_.set();
}

void pool_core::came_back(slot_list::iterator which) noexcept {
  tasks_.require_here("db::lease");
  pool_slot& one = *which;
  if (over_) {
    used_.erase(which);
    return;
  }
  const time_point at = now();
  if (one.told) tell_leak(one, at, true);
  const after_lease left = one.broken   ? after_lease::broken
                           : one.unused ? after_lease::clean
                                        : functions_->inspect(*one.member);
  if (left == after_lease::broken) {
    set_needs(used_, which, tending::replace);
  } else if (closing_ || has_expired(one, at)) {
    set_needs(used_, which, closing_ ? tending::close : tending::retire);
  } else if (left == after_lease::used) {
    set_needs(used_, which, tending::reset);
  } else {
    one.idle_since = at;
    set_idle(used_, which);
  }
}

// ---- states

pool_core::pool_core(pool_options options, std::unique_ptr<member_functions> functions)
    : options_(checked(std::move(options))), functions_(std::move(functions)) {}

pool_core::~pool_core() = default;

bool pool_core::has_expired(const pool_slot& one, time_point at) const noexcept {
  return one.expires_at <= at;
}

bool pool_core::needs_check(const pool_slot& one, time_point at) const noexcept {
  return functions_->checks() && options_.check_after != duration::max() && one.proven_at != at &&
         at - one.idle_since >= options_.check_after;
}

std::size_t pool_core::total() const noexcept {
  return idle_.size() + used_.size() + returned_.size() + tended_.size() + opening_.size();
}

// Those that are there, or will be if all goes well.
std::size_t pool_core::staying() const noexcept {
  return idle_.size() + used_.size() + becoming_free_ + opening_.size();
}

void pool_core::set_needs(slot_list& from, slot_list::iterator which, tending what) noexcept {
  which->needs = what;
  wake_.set();
  if (what == tending::check || what == tending::reset) {
    ++becoming_free_;
  } else if (!functions_->closes()) {
    count_closed(*which);
    destroy(from, which);
    return;
  }
  returned_.splice(returned_.end(), from, which);
}

void pool_core::set_idle(slot_list& from, slot_list::iterator which) noexcept {
  which->needs = tending::nothing;
  idle_.splice(idle_.begin(), from, which);
  fill_changed_.set();
  if (leaves_at(*which, staying() > options_.min) < look_at_) wake_.set();
  serve_line(which->idle_since);
}

void pool_core::count_closed(const pool_slot& one) noexcept {
  ++counted_.closed;
  if (one.needs == tending::replace) ++counted_.replaced;
  if (one.needs == tending::retire) ++counted_.expired;
}

void pool_core::destroy(slot_list& from, slot_list::iterator which) noexcept {
  from.erase(which);
  look_drained();
}

void pool_core::look_drained() noexcept {
  if (closing_ && total() == 0) drained_.set();
}

// The first idle one that can be had at once; false: none, but as many as are wanted are being checked.
bool pool_core::take_fresh(std::size_t wanted, time_point at, slot_list::iterator& which) noexcept {
  for (auto next = idle_.begin(); next != idle_.end();) {
    const auto one = next++;
    if (has_expired(*one, at)) {
      set_needs(idle_, one, tending::retire);
    } else if (!needs_check(*one, at)) {
      if (functions_->inspect(*one->member) == after_lease::broken) {
        set_needs(idle_, one, tending::replace);
        continue;
      }
      which = one;
      return true;
    } else if (becoming_free_ < wanted) {
      set_needs(idle_, one, tending::check);
    }
  }
  return false;
}

void pool_core::serve_line(time_point at) noexcept {
  slot_list::iterator free;
  while (!line_.empty() && take_fresh(line_.size(), at, free)) {
    static_cast<pool_wait*>(line_.front())->grant(free, at);
  }
}

pool_grant pool_core::take_now(std::source_location where) noexcept {
  slot_list::iterator free;
  const time_point at = now();
  if (!line_.empty() || !take_fresh(0, at, free)) return {};
  lend(free, where, belay::detail::this_runtime->current, at);
  return {shared_from_this(), free};
}

// ---- the line

pool_wait::pool_wait(std::shared_ptr<pool_core> from, std::source_location where) noexcept
    : prompt_wait(from->line_), from_(std::move(from)), where_(where) {}

bool pool_wait::try_now() {
  pool_core& from = *from_;
  from.require_open("pool::acquire");
  since_ = now();
  slot_list::iterator free;
  if (from.line_.empty() && from.take_fresh(1, since_, free)) {
    from.lend(free, where_, task(), since_);
    granted_ = pool_grant(from_, free);
    return true;
  }
  if (from.options_.acquire_timeout == duration::zero()) {
    ++from.counted_.timeouts;
    std::rethrow_exception(from.busy(where_, false));
  }
  if (from.line_.size() >= from.options_.max_waiting) std::rethrow_exception(from.busy(where_, true));
  ticket_ = from.next_ticket_++;
  const time_point until = saturating_add(since_, from.options_.acquire_timeout);
  if (until != time_point::max()) {
    due = static_cast<std::uint64_t>(until.time_since_epoch().count());
    fire = &pool_wait::timed_out;
    belay::detail::this_runtime->timers->insert(*this);
  }
  from.wake_.set();
  return false;
}

pool_grant pool_wait::await_resume() {
  if (refused_) std::rethrow_exception(refused_);
  if (not_opened_) {
    const failure mine = shared_ ? belay::detail::twin_of(not_opened_) : not_opened_;
    not_opened_ = failure();
    mine.rethrow();
  }
  return std::move(granted_);
}

awaited pool_wait::waits_for() const noexcept {
  return {"a connection of pool", from_->options_.name.c_str()};
}

void pool_wait::stop_timer() noexcept {
  if (linked()) belay::detail::this_runtime->timers->remove(*this);
}

void pool_wait::grant(slot_list::iterator slot, time_point at) noexcept {
  stop_timer();
  from_->lend(slot, where_, &waiting_task(), at);
  granted_ = pool_grant(from_, slot);
  from_->counted_.longest_wait = std::max(from_->counted_.longest_wait, at - since_);
  wake();
}

void pool_wait::refuse(std::exception_ptr why) noexcept {
  stop_timer();
  refused_ = std::move(why);
  wake();
}

void pool_wait::refuse(failure why, bool shared) noexcept {
  stop_timer();
  not_opened_ = std::move(why);
  shared_ = shared;
  wake();
}

bool pool_wait::abort() noexcept {
  stop_timer();
  return list_wait::abort();
}

void pool_wait::timed_out(timer_node& timer) noexcept {
  auto& self = static_cast<pool_wait&>(timer);
  pool_core& from = *self.from_;
  ++from.counted_.timeouts;
  self.leave();
  if (from.is_trying()) {
    self.not_opened_ = from.not_passed();
  } else {
    self.refused_ = from.busy(self.where_, false);
  }
  self.complete();
}

// ---- words

void pool_core::require_open(const char* call) const {
  if (closing_ || over_) std::rethrow_exception(closed(call, std::source_location::current()));
  tasks_.require_here("db::pool");
}

pool_statistics pool_core::statistics() const noexcept {
  pool_statistics all = counted_;
  all.in_use = used_.size();
  all.idle = idle_.size();
  all.opening = opening_.size();
  all.tending = returned_.size() + tended_.size();
  all.waiting = line_.size();
  return all;
}

std::vector<pool_holder> pool_core::holders() const {
  const time_point at = now();
  std::vector<pool_holder> all;
  all.reserve(used_.size());
  for (const pool_slot& one : used_) all.push_back(one.leased.holder(at));
  return all;
}

// "4 of 10 in use, 1 being opened, 3 waiting; held longest by task 'purge' for 12 s, taken at purge.cpp:41".
std::string pool_core::occupation() const {
  std::string text = fmt::format("{} of {} in use", used_.size(), options_.max);
  if (!opening_.empty()) text += fmt::format(", {} being opened", opening_.size());
  if (const std::size_t others = returned_.size() + tended_.size(); others > 0)
    text += fmt::format(", {} being checked, reset or closed", others);
  text += fmt::format(", {} more waiting", line_.size());
  if (!used_.empty()) text += "; held longest by " + describe(used_.front().leased.holder(now()));
  if (last_failure_)
    text += fmt::format("; the last {} attempts to open one failed: {}", failed_in_row_,
                        belay::detail::cut_text(last_failure_.message(), 500));
  return text;
}

std::exception_ptr pool_core::busy(std::source_location where, bool too_many) const noexcept {
  try {
    if (too_many) {
      return std::make_exception_ptr(
          busy_error(error_kind::overloaded, "too_many_waiting",
                     fmt::format("pool '{}': acquire a connection: {} wait for one already (max_waiting): {}",
                                 options_.name, line_.size(), occupation()),
                     0, where));
    }
    return std::make_exception_ptr(busy_error(
        error_kind::unavailable, "no_connection_free",
        fmt::format("pool '{}': acquire a connection: none came free within {}: {}; try again later",
                    options_.name, length_text(options_.acquire_timeout), occupation()),
        0, where));
  } catch (const std::bad_alloc&) {
    return std::current_exception();
  }
}

// Those who wait have not been told of the openings that failed.
bool pool_core::is_trying() const noexcept { return last_failure_ && functions_->passes(last_failure_); }

failure pool_core::not_passed() const noexcept {
  try {
    failure mine = belay::detail::twin_of(last_failure_);
    mine.note(fmt::format("pool '{}': acquire a connection: none within {}: {}", options_.name,
                          length_text(options_.acquire_timeout), occupation()));
    return mine;
  } catch (const std::bad_alloc&) {
    return failure::of(std::current_exception());
  }
}

std::exception_ptr pool_core::closed(const char* call, std::source_location where) const noexcept {
  try {
    return std::make_exception_ptr(
        closed_error(error_kind::unavailable, "closed",
                     fmt::format("pool '{}': {}: it is closed or closing", options_.name, call), 0, where));
  } catch (const std::bad_alloc&) {
    return std::current_exception();
  }
}

}  // namespace detail
}  // namespace belay::db
