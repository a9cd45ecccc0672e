// SPDX-License-Identifier: Apache-2.0
// Which errors have been told, telling the others, and errors that arise while others are handled.

#include <belay/errors/detail/error_index.hpp>
#include <belay/errors/detail/handler_call.hpp>
#include <belay/errors/detail/story.hpp>
#include <belay/errors/detail/telling.hpp>
#include <belay/errors/guard.hpp>

#include <algorithm>
#include <atomic>

namespace belay {

namespace detail {

namespace {

// A mark is one byte: bits 0-1 the severity at which it was recorded (0: it was not), bits 2-3 the same for alerts, bit 7 that what it
// replaced does not count.
enum class channel : unsigned { record = 0, alert = 2 };
constexpr unsigned level_bits = 3;
constexpr unsigned char own_story = 0x80;

unsigned level_in(unsigned char mark, channel which) noexcept {
  return (mark >> static_cast<unsigned>(which)) & level_bits;
}

void raise_mark(const failure& what, channel which, unsigned level) noexcept {
  std::atomic<unsigned char>& mark = what.record()->told();
  unsigned char known = mark.load(std::memory_order_relaxed);
  while (level_in(known, which) < level) {
    const auto cleared = static_cast<unsigned char>(known & ~(level_bits << static_cast<unsigned>(which)));
    const auto wanted = static_cast<unsigned char>(cleared | (level << static_cast<unsigned>(which)));
    if (mark.compare_exchange_weak(known, wanted, std::memory_order_relaxed)) return;
  }
}

// How far `what`, or what it replaced, has been told.
unsigned told_level(const failure& what, channel which) {
  constexpr int most = 64;  // causes of causes; a circle ends here too
  unsigned level = 0;
  failure walk = what;
  for (int depth = 0; walk && depth != most; ++depth) {
    const unsigned char mark = walk.record()->told().load(std::memory_order_relaxed);
    level = std::max(level, level_in(mark, which));
    if ((mark & own_story) != 0) break;
    walk = walk.cause();
  }
  return level;
}

struct leaf {
  failure what;
  unsigned level;
};

// `what` and what is attached to it, each with its severity.
std::vector<leaf> leaves_of(const failure& what) {
  std::vector<leaf> all;
  for (failure& one : itself_and_attached(what)) {
    const auto level = static_cast<unsigned>(severity_of(one));
    all.push_back({std::move(one), level});
  }
  return all;
}

// The worst of them, leaving out what has been told as so bad already; 0: nothing new.
unsigned news(const std::vector<leaf>& leaves, channel which) {
  unsigned worst = 0;
  for (const leaf& one : leaves) {
    if (one.level > told_level(one.what, which)) worst = std::max(worst, one.level);
  }
  return worst;
}

void mark_all(const failure& what, channel which, unsigned level) {
  for (const failure& one : whole_story(what)) raise_mark(one, which, level);
}

bool contains(const failure& whole, const failure& part) {
  const std::vector<failure> all = whole_story(whole);
  return std::ranges::find(all, part) != all.end();
}

void tell_all(const guard_state& guard, const failure& what) {
  const look_without_handling telling(what);
  const classification as = classify(what);
  const std::vector<leaf> leaves = leaves_of(what);
  const unsigned to_record = news(leaves, channel::record);
  const unsigned to_alert = news(leaves, channel::alert);
  const auto event = [&](unsigned level) {
    return error_event{
        what, as, static_cast<severity>(level), guard.options.operation, guard.options.context, guard.where};
  };
  without_throwing([&] { guard.observer->passed(event(leaves.front().level)); });
  if (to_record != 0) {
    mark_all(what, channel::record, to_record);
    without_throwing([&] { guard.observer->record(event(to_record)); });
  }
  if (to_alert != 0 && to_alert >= static_cast<unsigned>(guard.options.alert_from)) {
    mark_all(what, channel::alert, to_alert);
    without_throwing([&] { guard.observer->alert(event(to_alert)); });
  }
}

}  // namespace

void tell(const guard_state& guard, const failure& what) noexcept {
  without_throwing([&] { tell_all(guard, what); });
  what.record()->observed.store(false, std::memory_order_relaxed);
}

void observe_all(const failure& what) noexcept {
  what.observe();
  without_throwing([&] { static_cast<void>(what.flatten()); });
}

bool tell_and_end(const guard_state& guard, const failure& what) noexcept {
  tell(guard, what);
  bool ends = false;
  without_throwing([&] {
    ends = !failed_after_cancellation(what) && std::ranges::none_of(itself_and_attached(what), is_fatal);
    if (ends) observe_all(what);  // the default is the answer to all of it
  });
  return ends;
}

namespace {

// An error that arose while `what` was being handled: a new story, with `what` in it. What only passed `what` on is `what`.
failure arisen_from(const failure& what, failure how) {
  if (contains(what, how)) return what;
  if (!contains(how, what)) how.attach(what);
  how.note("thrown while handling: " + what.message());
  how.record()->told().fetch_or(own_story, std::memory_order_relaxed);
  return how;
}

}  // namespace

void after_handler(const failure& what, outcome_base& how) noexcept {
  without_throwing([&] { how.set_failed(arisen_from(what, how.failed_with()).take_record()); });
  how.failed_record().observed.store(false, std::memory_order_relaxed);
}

failure translate(const failure& what, const std::function<failure()>& make) {
  failure made;
  try {
    try {
      what.rethrow();
    } catch (...) {
      made = make();
    }
  } catch (...) {
    return arisen_from(what, failure::of(std::current_exception()));
  }
  if (!made || contains(what, made)) return what;
  if (!contains(made, what)) made.attach(what);
  raise_mark(made, channel::record, told_level(what, channel::record));
  raise_mark(made, channel::alert, told_level(what, channel::alert));
  return made;
}

}  // namespace detail

bool recorded(const failure& what) { return what && detail::told_level(what, detail::channel::record) != 0; }

}  // namespace belay
