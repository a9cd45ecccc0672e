// SPDX-License-Identifier: Apache-2.0
// The event loop.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/watch.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/signals.hpp>
#include <belay/core/task_tree.hpp>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "loop_state.hpp"
#include "visitors.hpp"

namespace belay {

namespace {

// Waits for nothing but the wake-up descriptor.
class idle_reactor final : public reactor {
 public:
  explicit idle_reactor(int wake_fd) noexcept : wake_fd_(wake_fd) {}
  void wait(duration limit) override {
    if (limit == duration::zero()) return;  // there is no I/O, and a busy loop sees its inbox anyway
    pollfd waits{wake_fd_, POLLIN, 0};
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit);
    timespec bound{};
    bound.tv_sec = seconds.count();
    bound.tv_nsec = static_cast<long>((limit - seconds).count());
    if (::ppoll(&waits, 1, limit == duration::max() ? nullptr : &bound, nullptr) < 0 && errno != EINTR) {
      throw std::system_error(errno, std::system_category(), "ppoll");
    }
  }

 private:
  int wake_fd_;
};

// Where nesting must stop: a quarter of a megabyte below here, or half of what the thread's stack still has.
char* stack_limit_from_here() noexcept {
  char* here = static_cast<char*>(__builtin_frame_address(0));
  std::size_t room = 256u * 1024u;
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* lowest = nullptr;
    std::size_t size = 0;
    if (pthread_attr_getstack(&attributes, &lowest, &size) == 0) {
      const auto left = static_cast<std::size_t>(here - static_cast<char*>(lowest));
      room = std::min(room, left / 2);
    }
    pthread_attr_destroy(&attributes);
  }
  return here - room;
}

std::uint64_t ticks(time_point when) noexcept {
  return static_cast<std::uint64_t>(when.time_since_epoch().count());
}

}  // namespace

loop::loop(loop_options options) : state_(std::make_unique<state>()) {
  if (options.cleanup_limit <= duration::zero()) {
    throw misuse_error("loop_options::cleanup_limit must be more than zero: cleanup could never run");
  }
  if (options.abandon_limit < duration::zero()) {
    throw misuse_error("loop_options::abandon_limit must not be negative; zero does not wait at all");
  }
  if (options.blocked_limit && *options.blocked_limit <= duration::zero()) {
    throw misuse_error("loop_options::blocked_limit must be more than zero; duration::max() turns it off");
  }
  if (options.ignored_cancel_limit <= duration::zero()) {
    throw misuse_error(
        "loop_options::ignored_cancel_limit must be more than zero; duration::max() turns it off");
  }
  if (options.blocking_threads == 0) throw misuse_error("loop_options::blocking_threads must be at least 1");
  state& s = *state_;
  s.options = std::move(options);
  s.self = this;
  s.rt.timers = &s.timers;
  s.rt.loop = this;
  s.rt.time = s.options.clock != nullptr ? s.options.clock : &steady_clock();
  if (s.options.ignored_cancel_limit == duration::max()) s.rt.look_due = detail::runtime::never_look;
  if (s.options.schedule_seed) s.order.emplace(*s.options.schedule_seed);
  if (s.options.random_seed) s.numbers.emplace(*s.options.random_seed);
  s.wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (s.wake_fd < 0) throw std::system_error(errno, std::system_category(), "eventfd, to wake the loop");
  s.waits = std::make_unique<idle_reactor>(s.wake_fd);
}

loop::~loop() {
  if (state_->root != nullptr) {
    std::fputs(("belay: a loop was destroyed while it was running, with these tasks in it\n" +
                describe(live_tasks()))
                   .c_str(),
               stderr);
    std::abort();
  }
  state_->inbox.wait_for_pushers();
  state_->threads.reset();
  state_->waits.reset();
  ::close(state_->wake_fd);
  if (detail::this_runtime == nullptr) detail::frame_pool::trim();
}

time_point loop::now() noexcept { return state_->rt.time->now(); }
duration loop::cleanup_limit() const noexcept { return state_->options.cleanup_limit; }
reactor* loop::installed_reactor() const noexcept { return state_->waits.get(); }
void loop::install(std::unique_ptr<reactor> waits) noexcept { state_->waits = std::move(waits); }
void loop::install(detail::watch* driver, std::optional<std::uint64_t> schedule_seed) noexcept {
  state_->rt.watcher = driver;
  state_->order.reset();
  if (schedule_seed) state_->order.emplace(*schedule_seed);
  state_->numbers.reset();
  if (driver != nullptr) state_->numbers.emplace(schedule_seed.value_or(0));
  if (driver == nullptr && state_->options.random_seed) state_->numbers.emplace(*state_->options.random_seed);
}
int loop::wake_fd() const noexcept { return state_->wake_fd; }

loop* loop::current() noexcept {
  return detail::this_runtime != nullptr ? detail::this_runtime->loop : nullptr;
}

loop_statistics loop::statistics() const noexcept {
  loop_statistics now;
  now.live_tasks = state_->rt.live_nodes;
  now.timers = state_->timers.size();
  if (state_->threads) {
    now.blocking_jobs = state_->threads->jobs();
    now.abandoned_jobs = state_->threads->abandoned_now();
    now.abandoned_ever = state_->threads->abandoned_ever();
  }
  now.lost_failures = state_->lost_failures;
  return now;
}

std::vector<std::string> loop::abandoned_calls() const {
  if (!state_->threads) return {};
  return state_->threads->abandoned_names();
}

void loop::run_root(detail::node& root, detail::frame& body, std::source_location where) {
  state& s = *state_;
  if (detail::this_runtime != nullptr) {
    body.handle.destroy();
    throw misuse_error("loop::run was called inside of a running loop; co_await the task instead", where);
  }
  std::unique_ptr<detail::visitors> guests;
  try {
    guests = std::make_unique<detail::visitors>();
  } catch (...) {
    body.handle.destroy();
    throw;
  }
  if (s.entered.exchange(true, std::memory_order_acq_rel)) {
    body.handle.destroy();
    throw misuse_error("loop::run: this loop is running on another thread; make one for each thread", where);
  }
  detail::frame_pool::trim_at_thread_exit();
  detail::prepare_node(root, body, std::source_location());
  s.root = &root;
  s.deadlocked = false;
  ++s.rt.live_nodes;
  s.rt.push_ready(root);
  detail::this_runtime = &s.rt;
  // While it is watched, every await of a task takes the way of the deep stack, where the driver is asked.
  s.rt.stack_limit = s.rt.watcher == nullptr ? stack_limit_from_here() : reinterpret_cast<char*>(UINTPTR_MAX);
  guests->open(root.base, where);
  s.guests = guests.get();
  s.inbox.open();
  if (s.threads) s.threads->report_late_errors();
  s.rt.coarse_now = detail::coarse_time(s.rt.time->now());
  struct leave {
    state& s;
    std::unique_ptr<detail::visitors>& guests;
    ~leave() {
      guests->refuse_more();
      if (s.guard) s.guard->begins(detail::watchdog::in_posted);
      s.inbox.close();
      if (s.guard) s.guard->rests();
      if (guests->busy() != 0) guests->leave();
      guests->close();
      if (guests->busy() != 0) static_cast<void>(guests.release());  // left with tasks in it that do not end
      s.guests = nullptr;
      s.guard.reset();  // its sink may have been waiting for an answer of this loop
      s.lookout.end(s);
      s.root = nullptr;
      detail::this_runtime = nullptr;
      s.entered.store(false, std::memory_order_release);
    }
  } leave_at_end{s, guests};
  s.run_to_end(root);
  guests->refuse_more();
  if (guests->busy() != 0 && !s.abandoned) s.see_off_guests();
  if (s.abandoned) {
    throw deadlock_error("the loop was left by its driver with tasks in it that do not end", where);
  }
  if (root.result->how() == detail::ending::cancelled) {
    if (s.deadlocked) {
      throw deadlock_error(
          "every task was waiting and nothing could wake them (no timer, no thread, no I/O); the "
          "main task was cancelled. They were:\n" +
              s.waiting_at_deadlock,
          where);
    }
  }
}

void loop::state::run_to_end(detail::node& main_node) {
  if (to_be_guarded()) call_guard();
  struct leave {
    state& s;
    ~leave() { s.dog = nullptr; }
  } const at_end{*this};
  dog = guard ? &*guard : nullptr;
  if (rt.watcher != nullptr || order) {
    run_watched(main_node);
  } else if (dog != nullptr) {
    run_until_ended<true>(main_node);
  } else {
    run_until_ended<false>(main_node);
  }
}

bool loop::state::to_be_guarded() const noexcept {
  return options.blocked_limit && *options.blocked_limit != duration::max() && rt.time == &steady_clock();
}

void loop::state::call_guard() {
  if (guard) return;
  try {
    guard.emplace(*options.blocked_limit, options.on_diagnostic);
  } catch (const std::system_error& e) {
    std::fprintf(stderr, "belay: no thread for the watchdog of the loop, which runs without: %s\n", e.what());
  }
}

namespace {

task<void> end_of(detail::visitors& guests) {
  guests.cancel_all();
  co_await guests.join();
}

template <bool Guarded, class What>
void tell_begin([[maybe_unused]] detail::watchdog* eyes, [[maybe_unused]] const What& what) noexcept {
  if constexpr (Guarded) eyes->begins(what);
}

}  // namespace

// The main task has ended. What others have in the loop is cancelled, cleaned up and answered.
void loop::state::see_off_guests() {
  detail::node closing;
  outcome<void> how;
  closing.result = &how;
  task<void> until_gone = end_of(*guests);
  detail::prepare_node(closing, detail::task_access::release(until_gone), std::source_location());
  guests->move_under(closing.base);
  root = &closing;
  ++rt.live_nodes;
  rt.push_ready(closing);
  run_to_end(closing);
  guests->inner_scope().detach();
}

template <bool Guarded>
void loop::state::run_until_ended(detail::node& main_node) {
  detail::watchdog* const eyes = dog;
  constexpr unsigned tasks_between_looks = 256;  // at the clock and at I/O, while tasks keep the loop busy
  unsigned since_look = 0;
  while (main_node.state != detail::node_state::ended) {
    if (inbox.may_have_items()) {
      tell_begin<Guarded>(eyes, detail::watchdog::in_posted);
      inbox.run();
    }
    if (detail::node* task = rt.ready_head; task != nullptr) [[likely]] {
      rt.ready_head = task->next_ready;
      if (rt.ready_head == nullptr) rt.ready_tail = nullptr;
      tell_begin<Guarded>(eyes, *task);
      detail::run_node(rt, *task);
      if (++since_look < tasks_between_looks) [[likely]]
        continue;
      since_look = 0;
      tell_begin<Guarded>(eyes, detail::watchdog::in_timers);
      if (has_dates()) fire_timers();
      tell_begin<Guarded>(eyes, detail::watchdog::in_reactor);
      waits->wait(duration::zero());
      if (signals != nullptr)
        signals->collect();  // the wake-up stays readable: the next real wait returns at once
      continue;
    }
    since_look = 0;
    tell_begin<Guarded>(eyes, detail::watchdog::in_timers);
    if (has_dates()) fire_timers();
    if (rt.ready_head == nullptr && !inbox.has_items()) wait_for_work();
  }
}

void loop::state::fire_timers() noexcept {
  const time_point here = rt.time->now();
  const std::uint64_t now = ticks(here);
  rt.coarse_now = detail::coarse_time(here);
  if (now >= rt.look_due) [[unlikely]]
    lookout.look(*this, here);
  while (detail::timer_node* timer = timers.pop_due(now)) timer->fire(*timer);
}

void loop::state::wait_for_work() {
  const std::uint64_t due = timers.next_due();
  const bool threads_busy = work_outside() != 0;
  const bool timer_waits = due != UINT64_MAX;
  if (!threads_busy) {
    if (timer_waits && rt.time->jump_to(time_point(duration(due)))) {
      waits->wait(duration::zero());
      if (signals != nullptr) signals->collect();
      return;
    }
    if (!timer_waits && open_doors == 0 && rt.time->jump_to(time_point::max())) {
      // Virtual time: nothing will happen by itself any more, except I/O, signals and what other threads post.
      waits->wait(std::chrono::milliseconds(0));
      if (signals != nullptr) signals->collect();
      if (rt.ready_head != nullptr || inbox.has_items()) return;
      if (dynamic_cast<idle_reactor*>(waits.get()) != nullptr) return report_deadlock();
      waits->wait(std::chrono::milliseconds(10));
      return;
    }
  }
  duration limit = duration::max();
  if (timer_waits) {
    const std::uint64_t now = ticks(rt.time->now());
    limit = due <= now ? duration::zero() : duration(static_cast<duration::rep>(due - now));
  }
  if (rt.look_due < detail::runtime::never_look && rt.time == &steady_clock()) {
    const std::uint64_t now = ticks(rt.time->now());
    if (now >= rt.look_due) return lookout.look(*this, rt.time->now());
    limit = std::min(limit, duration(static_cast<duration::rep>(rt.look_due - now)));
  }
  const time_point asleep_since = threads_busy ? steady_clock().now() : time_point();
  if (inbox.fall_asleep()) {
    if (dog != nullptr) dog->rests();
    waits->wait(limit);
    if (dog != nullptr) dog->wakes();
  }
  inbox.awake();
  rt.coarse_now = detail::coarse_time(rt.time->now());
  // A virtual clock stands still while a thread works; but when the thread has taken as long as the next timer has to wait,
  // that timer is due, too: the thread may be waiting for what it does. (A real clock does not jump.)
  if (threads_busy && timer_waits && !inbox.has_items() && steady_clock().now() - asleep_since >= limit) {
    rt.time->jump_to(time_point(duration(due)));
  }
  collect_signals();
}

void loop::state::collect_signals() noexcept {
  std::uint64_t count = 0;
  if (::read(wake_fd, &count, sizeof count) > 0 && signals != nullptr) signals->collect();
}

void loop::state::report_deadlock() noexcept {
  if (rt.watcher != nullptr) {
    rt.watcher->at_deadlock(deadlocked);
    if (rt.ready_head != nullptr) return;
    if (deadlocked) {
      abandoned = true;
      return;
    }
  }
  if (deadlocked) {
    std::fputs(
        ("belay: the loop is stuck: after a deadlock its main task does not end although it was cancelled\n" +
         describe(live_tasks()))
            .c_str(),
        stderr);
    std::abort();
  }
  deadlocked = true;
  waiting_at_deadlock = describe(live_tasks());
  detail::cancel_scope(root->base,
                       cancel_record::make(cancel_reason::shutdown, "loop (deadlock)", root->spawned_at()));
  if (rt.ready_head == nullptr) report_deadlock();
}

void loop::state::wake() noexcept {
  const std::uint64_t one = 1;
  // The counter cannot overflow; a full one wakes as well.
  [[maybe_unused]] const auto written = ::write(wake_fd, &one, sizeof one);
}

void loop::post_item(inbox_item& item) noexcept {
  if (state_->try_push(item)) return;
  std::fputs("belay: something was posted to a loop that has ended while it was still needed\n", stderr);
  std::abort();
}

void loop::post(std::function<void()> fn) {
  struct call : inbox_item {
    std::function<void()> fn;
  };
  auto item = std::make_unique<call>();
  item->fn = std::move(fn);
  item->run = [](inbox_item& posted) noexcept {
    const std::unique_ptr<call> mine(static_cast<call*>(&posted));
    try {
      mine->fn();
    } catch (...) {
      detail::report_contained("a function given to loop::post");
    }
  };
  if (!state_->try_push(*item)) {
    detail::loop_closed("loop::post", std::source_location()).rethrow();
  }
  static_cast<void>(item.release());  // it belongs to the loop now
}

namespace detail {

void set_look(runtime& rt) noexcept {
  const time_point now = rt.time->now();
  rt.coarse_now = coarse_time(now);
  const time_point due = saturating_add(now, rt.loop->internals().options.ignored_cancel_limit);
  if (due != time_point::max()) rt.look_due = static_cast<std::uint64_t>(due.time_since_epoch().count());
}

duration cleanup_limit() noexcept { return this_runtime->loop->cleanup_limit(); }

namespace {

// An empty sink: stderr.
void report_to(const failure_sink& sink, const failure& what) noexcept {
  what.observe();
  what.record()->lost.store(true, std::memory_order_relaxed);
  try {
    for (const failure& one : what.flatten()) one.observe();  // one report for all that hangs together
    if (sink) return sink(what);
    const std::string text = "belay: an error that nobody looked at: " + describe(what) + "\n";
    std::fputs(text.c_str(), stderr);
  } catch (...) {
    // The last resort: the sink itself failed. Not swallowed: said where it can still be seen.
    std::fputs("belay: the failure sink threw an exception while it reported a lost error\n", stderr);
  }
}

}  // namespace

void report_lost(const failure& what) noexcept {
  if (belay::loop* here = belay::loop::current()) return here->internals().report(what);
  report_to({}, what);
}

void report_contained(const char* what) noexcept {
  failure thrown = failure::of(std::current_exception());
  try {
    thrown.note(std::string("in ") + what);
  } catch (const std::bad_alloc&) {
    // The story gets shorter; the error itself is reported all the same.
  }
  report_lost(thrown);
}

}  // namespace detail

void loop::state::report(const failure& what) noexcept {
  ++lost_failures;
  detail::report_to(options.on_lost_failure, what);
}

}  // namespace belay
