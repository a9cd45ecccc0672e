// SPDX-License-Identifier: Apache-2.0
// A bounded queue and a thread between the logger and an output that may block.

#include <belay/core/error.hpp>
#include <belay/telemetry/sink.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "last_resort.hpp"

namespace belay::telemetry {

namespace {

struct entry {
  level importance;
  std::string text;
  bool is_flush;  // no line: the target is to be flushed at this point of the order
};

// Shared with the thread, so that a thread that is stuck in its target can be left behind.
struct queue_state {
  explicit queue_state(std::shared_ptr<sink> output, std::size_t limit)
      : target(std::move(output)), capacity(limit) {}

  const std::shared_ptr<sink> target;
  const std::size_t capacity;
  std::atomic<std::uint64_t> dropped{0};

  std::mutex mutex;
  std::condition_variable more;         // there is work, or the end
  std::condition_variable settled;      // `flushed` moved, or the thread ended
  std::deque<entry> waiting;            // guarded by mutex
  std::uint64_t flushes_asked = 0;      // guarded by mutex
  std::uint64_t flushes_done = 0;       // guarded by mutex
  std::uint64_t last_failed_flush = 0;  // guarded by mutex
  bool ending = false;                  // guarded by mutex
  bool ended = false;                   // guarded by mutex
};

// Longer waits overflow inside the standard library.
duration bounded(duration limit) { return std::min<duration>(limit, std::chrono::hours(24)); }

// False: not written, or not flushed.
bool hand_over(queue_state& state, const entry& next) noexcept {
  try {
    if (next.is_flush) return state.target->flush(std::chrono::hours(24));
    state.target->write(next.importance, next.text);
    return true;
  } catch (...) {
    if (!next.is_flush) {
      state.dropped.fetch_add(1, std::memory_order_relaxed);
      detail::write_to_stderr(next.text);
    }
    return false;
  }
}

void serve(queue_state& state) {
  std::unique_lock lock(state.mutex);
  while (true) {
    state.more.wait(lock, [&] { return !state.waiting.empty() || state.ending; });
    if (state.waiting.empty()) break;
    const entry next = std::move(state.waiting.front());
    state.waiting.pop_front();
    lock.unlock();
    const bool done = hand_over(state, next);
    lock.lock();
    if (next.is_flush) {
      ++state.flushes_done;
      if (!done) state.last_failed_flush = state.flushes_done;
      state.settled.notify_all();
    }
  }
  state.ended = true;
  state.settled.notify_all();
}

class background_output final : public sink {
 public:
  background_output(std::shared_ptr<sink> target, background_sink_options options)
      : state_(std::make_shared<queue_state>(std::move(target), options.capacity)),
        close_limit_(bounded(options.close_limit)),
        thread_([state = state_] { serve(*state); }) {}

  ~background_output() override {
    std::unique_lock lock(state_->mutex);
    state_->waiting.push_back({level::off, {}, true});
    state_->ending = true;
    state_->more.notify_all();
    const bool ended = state_->settled.wait_for(lock, close_limit_, [&] { return state_->ended; });
    if (!ended) state_->waiting.clear();
    lock.unlock();
    if (ended) {
      thread_.join();
    } else {
      thread_.detach();
    }
  }

  void write(level importance, std::string_view text) override {
    entry next{importance, std::string(text), false};
    const std::lock_guard hold(state_->mutex);
    if (state_->waiting.size() >= state_->capacity) {
      state_->dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    state_->waiting.push_back(std::move(next));
    state_->more.notify_one();
  }

  bool flush(duration limit) override {
    std::unique_lock lock(state_->mutex);
    const std::uint64_t mine = ++state_->flushes_asked;
    state_->waiting.push_back({level::off, {}, true});
    state_->more.notify_one();
    const bool in_time =
        state_->settled.wait_for(lock, bounded(limit), [&] { return state_->flushes_done >= mine; });
    return in_time && state_->last_failed_flush < mine;
  }

  std::uint64_t dropped() const noexcept override {
    return state_->dropped.load(std::memory_order_relaxed) + state_->target->dropped();
  }

 private:
  const std::shared_ptr<queue_state> state_;
  const duration close_limit_;
  std::thread thread_;
};

}  // namespace

std::shared_ptr<sink> background_sink(std::shared_ptr<sink> target, background_sink_options options) {
  if (!target) throw belay::error(error_kind::invalid, "log_sink", "background_sink: no target was given");
  if (options.capacity == 0) {
    throw belay::error(error_kind::invalid, "log_sink", "background_sink: capacity must be 1 or more");
  }
  return std::make_shared<background_output>(std::move(target), options);
}

}  // namespace belay::telemetry
