// SPDX-License-Identifier: Apache-2.0
// The protocols between threads, in every order in which their steps can meet: the very code that runs, over a model of what it is made of.
// And the same with a bug planted, which must be found.

// Not under sanitizers, which do not know that a thread has several stacks.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BELAY_TESTS_SANITIZED 1
#endif
#endif
#if !defined(BELAY_TESTS_SANITIZED)

#include "interleavings.hpp"

#include <belay/core/detail/call_gate.hpp>
#include <doctest/doctest.h>

#include <array>

#include "../src/inbox.hpp"
#include "../src/job_queue.hpp"

namespace {

namespace m = core_tests::model;
namespace d = belay::detail;

void holds(const char* what, const m::search_result& found) {
  INFO(what, ": ", found.runs, " runs, ", found.skipped, " skipped; ", found.trouble);
  CHECK(found.complete);
  CHECK(found.trouble.empty());
  CHECK(found.runs > 1);
}
void is_found(const char* what, const m::search_result& found) {
  INFO(what, ": ", found.runs, " runs, ", found.skipped, " skipped");
  CHECK(!found.trouble.empty());
}

// ---- the machine itself

// Two threads that write, each, and then look at what the other wrote.
class litmus final : public m::world {
 public:
  litmus(std::memory_order order, bool same) {
    threads.emplace_back([this, order, same] {
      x_.store(1, order);
      saw_y_ = (same ? x_ : y_).load(order);
    });
    threads.emplace_back([this, order, same] {
      (same ? x_ : y_).store(1, order);
      saw_x_ = x_.load(order);
    });
  }
  [[nodiscard]] std::string verdict() const override {
    return saw_x_ + saw_y_ == 0 ? "neither saw the other" : "";
  }

 private:
  m::sync::atomic<int> x_{0};
  m::sync::atomic<int> y_{0};
  int saw_x_ = 0;
  int saw_y_ = 0;
};

// ---- the inbox of a loop, and its sleep

struct note {
  note* next = nullptr;
  void (*run)(note&) noexcept = nullptr;
  int* ran = nullptr;
};
void set_up(note& one, int& ran) noexcept {
  one.ran = &ran;
  one.run = [](note& self) noexcept { ++*self.ran; };
}

enum class inbox_bug : unsigned char { none, no_second_look, no_wake, goes_at_once };

// A loop that sleeps when there is nothing to do, and goes when all has come; threads that push.
class posting final : public m::world {
 public:
  posting(std::size_t posters, std::size_t each, inbox_bug planted) : notes_(posters * each) {
    for (note& one : notes_) set_up(one, ran_);
    box_.open();
    threads.emplace_back([this, planted] {
      while (ran_ != static_cast<int>(notes_.size())) {
        if (box_.has_items()) {
          box_.run();
          continue;
        }
        if (box_.fall_asleep() || planted == inbox_bug::no_second_look) bell_.wait();
        box_.awake();
      }
      box_.close();
      if (planted != inbox_bug::goes_at_once) box_.wait_for_pushers();
      m::machine::here().bury(box_);
    });
    for (std::size_t p = 0; p < posters; ++p) {
      threads.emplace_back([this, p, each, planted] {
        for (std::size_t i = 0; i < each; ++i) {
          const bool taken = box_.push(notes_[p * each + i], [this, planted] {
            if (planted != inbox_bug::no_wake) bell_.ring();
          });
          if (!taken) ++refused_;
        }
      });
    }
  }
  [[nodiscard]] std::string verdict() const override {
    if (refused_ != 0) return "refused by an open inbox";
    return ran_ == static_cast<int>(notes_.size()) ? "" : "not all ran";
  }

 private:
  d::inbox<m::sync, note> box_;
  m::bell bell_;
  std::vector<note> notes_;
  int ran_ = 0;
  int refused_ = 0;
};

// A loop that ends while threads push: what was taken has run, what was refused has not.
class closing final : public m::world {
 public:
  explicit closing(std::size_t posters) : notes_(posters) {
    for (note& one : notes_) set_up(one, ran_);
    box_.open();
    threads.emplace_back([this] {
      if (box_.has_items()) box_.run();
      box_.close();
    });
    for (std::size_t p = 0; p < posters; ++p) {
      threads.emplace_back([this, p] {
        if (box_.push(notes_[p], [this] { bell_.ring(); })) ++taken_;
      });
    }
  }
  [[nodiscard]] std::string verdict() const override {
    if (taken_ == ran_) return "";
    return "taken " + std::to_string(taken_) + ", ran " + std::to_string(ran_);
  }

 private:
  d::inbox<m::sync, note> box_;
  m::bell bell_;
  std::vector<note> notes_;
  int ran_ = 0;
  int taken_ = 0;
};

// ---- the calls of to_thread

struct job {
  enum class phase_type : unsigned char { idle, queued, running, given_up };
  job* next_job = nullptr;
  job* prev_job = nullptr;
  phase_type phase = phase_type::idle;

  int executed = 0;
  int delivered = 0;
  int taken_back = 0;
  int given_up = 0;
  int outlived = 0;
  m::bell answered;

  [[nodiscard]] bool even() const noexcept {
    return taken_back + delivered + given_up == 1 && executed == 1 - taken_back && outlived == given_up;
  }
};

enum class pool_bug : unsigned char { none, answers_all, takes_running_back };
enum class cancelling : unsigned char { nothing, waits_for_it, abandons };

// A loop that submits jobs, cancels them, and ends; the threads of its pool.
class pool final : public m::world {
 public:
  pool(std::size_t workers, std::vector<cancelling> jobs, pool_bug planted) : jobs_(jobs.size()) {
    threads.emplace_back([this, jobs, planted] {
      for (job& one : jobs_) queue_.push(one);
      for (std::size_t i = 0; i < jobs.size(); ++i) ends(jobs_[i], jobs[i], planted);
      queue_.stop();
      const auto as_long_as_it_takes = [](auto& changed, auto& lock, auto done) {
        while (!done()) changed.wait(lock);
        return true;
      };
      all_ended_ = queue_.wait_for_threads(as_long_as_it_takes);
    });
    for (std::size_t i = 0; i < workers; ++i) {
      queue_.thread_begins();
      threads.emplace_back([this, planted] {
        while (job* one = queue_.next()) {
          ++one->executed;
          if (queue_.finished(*one) || planted == pool_bug::answers_all) {
            ++one->delivered;
            one->answered.ring();
          } else {
            ++one->outlived;
          }
        }
        queue_.thread_ends();
      });
    }
  }
  [[nodiscard]] std::string verdict() const override {
    for (const job& one : jobs_) {
      if (!one.even()) return "a job did not end once";
    }
    return all_ended_ ? "" : "the threads were not waited for";
  }

 private:
  void ends(job& one, cancelling how, pool_bug planted) {
    if (how != cancelling::nothing && (queue_.take_back(one) || planted == pool_bug::takes_running_back)) {
      ++one.taken_back;
    } else if (how == cancelling::abandons && queue_.give_up(one)) {
      ++one.given_up;
    } else {
      one.answered.wait();
    }
  }

  d::job_queue<m::sync, job> queue_;
  std::vector<job> jobs_;
  bool all_ended_ = false;
};

// ---- calls to another loop

enum class call_bug : unsigned char { none, no_gate, answers_early, no_second_gate };
enum class there : unsigned char { runs, ends_first };

template <class T>
using model_atomic = m::sync::atomic<T>;

// A caller who cancels at any moment and forgets the call when it is answered; the loop that runs it, or ends before it comes.
class calling final : public m::world {
 public:
  calling(bool cancels, there how, call_bug planted) {
    request_.of = stop_.of = answer_.of = this;
    request_.run = [](message& item) noexcept { static_cast<calling*>(item.of)->request_comes(); };
    stop_.run = [](message& item) noexcept { static_cast<calling*>(item.of)->stop_comes(); };
    answer_.run = [](message& item) noexcept { static_cast<calling*>(item.of)->forgotten_ = true; };
    here_.box.open();
    there_.box.open();
    threads.emplace_back([this, cancels, planted] { call(cancels, planted); });
    threads.emplace_back([this, how] { serve(how); });
    planted_ = planted;
  }
  [[nodiscard]] std::string verdict() const override {
    if (touched_) return "touched after it was answered";
    if (answers_ > 1) return "answered twice";
    return forgotten_ ? "" : "never answered";
  }

 private:
  struct message {
    message* next = nullptr;
    void (*run)(message&) noexcept = nullptr;
    void* of = nullptr;
  };
  struct side {
    d::inbox<m::sync, message> box;
    m::bell bell;
    [[nodiscard]] bool push(message& what) {
      return box.push(what, [this] { bell.ring(); });
    }
    void wait() {
      if (box.fall_asleep()) bell.wait();
      box.awake();
    }
  };

  void call(bool cancels, call_bug planted) {
    if (!there_.push(request_)) {
      forgotten_ = true;  // refused
      return;
    }
    if (cancels && (gate_.first() || planted == call_bug::no_gate)) {
      // Refused: the request may still be among the last that the other side runs; or that side has gone.
      if (!there_.push(stop_)) forgotten_ |= planted == call_bug::no_second_gate || !gate_.refused();
    }
    while (!forgotten_) {
      if (here_.box.has_items()) {
        here_.box.run();
      } else {
        here_.wait();
      }
    }
    m::machine::here().bury(gate_);
  }
  void serve(there how) {
    if (how == there::ends_first) open_ = false;
    while (how == there::runs && (!begun_ || runs_ || held_)) {
      if (there_.box.has_items()) {
        there_.box.run();
      } else if (runs_) {
        end();  // at any moment: sooner, or after the wish to stop has come
      } else {
        there_.wait();
      }
    }
    there_.box.close();
  }
  void touch() noexcept { touched_ |= forgotten_; }
  void request_comes() {
    touch();
    begun_ = true;
    if (!open_) return end();
    runs_ = held_ = true;
  }
  void stop_comes() {
    touch();
    if (side_.asked_to_stop()) last_word();
  }
  void end() {
    touch();
    runs_ = false;
    if (side_.ended(gate_) || planted_ == call_bug::answers_early) last_word();
  }
  void last_word() {
    ++answers_;
    held_ = false;
    static_cast<void>(here_.push(answer_));
  }

  side here_;
  side there_;
  message request_;
  message stop_;
  message answer_;
  d::call_gate<model_atomic> gate_;
  d::called_side<model_atomic> side_;
  call_bug planted_ = call_bug::none;
  bool forgotten_ = false;
  bool touched_ = false;
  int answers_ = 0;
  // The other loop's.
  bool open_ = true;
  bool begun_ = false;
  bool runs_ = false;
  bool held_ = false;
};

template <class World, class... A>
m::search_result search(m::stores kind, A... args) {
  return m::search().all(kind, [&] { return std::make_unique<World>(args...); });
}

}  // namespace

TEST_CASE("interleavings: the machine tries what differs, and stores pass loads as their order lets them") {
  constexpr auto strict = std::memory_order_seq_cst;
  constexpr auto loose = std::memory_order_release;
  holds("in order", search<litmus>(m::stores::at_once, loose, false));
  holds("seq_cst", search<litmus>(m::stores::buffered, strict, false));
  is_found("release", search<litmus>(m::stores::buffered, loose, false));
  is_found("seq_cst that is none", search<litmus>(m::stores::never_in_order, strict, false));
  // Six orders of two steps and two; those of the two loads, and of a load and the other's when nothing lies between, are the same.
  CHECK(search<litmus>(m::stores::at_once, strict, true).runs == 4);
  CHECK(search<litmus>(m::stores::at_once, strict, false).runs == 3);
}

TEST_CASE(
    "interleavings: the inbox of a loop: no item is lost, no sleep goes on, nobody touches a loop that has gone") {
  for (const m::stores kind : {m::stores::at_once, m::stores::buffered}) {
    holds("one thread, one item", search<posting>(kind, 1u, 1u, inbox_bug::none));
    holds("one thread, two items", search<posting>(kind, 1u, 2u, inbox_bug::none));
    holds("two threads", search<posting>(kind, 2u, 1u, inbox_bug::none));
    holds("ends while two push", search<closing>(kind, 2u));
  }
}

TEST_CASE("interleavings: bugs planted into the use of the inbox are found") {
  is_found("no second look", search<posting>(m::stores::at_once, 1u, 1u, inbox_bug::no_second_look));
  is_found("no wake", search<posting>(m::stores::at_once, 1u, 1u, inbox_bug::no_wake));
  is_found("the sleep is announced without order",
           search<posting>(m::stores::never_in_order, 1u, 1u, inbox_bug::none));
  is_found("goes while somebody pushes",
           search<posting>(m::stores::at_once, 1u, 1u, inbox_bug::goes_at_once));
}

TEST_CASE(
    "interleavings: calls on threads end once: taken back, answered, or given up and left to their thread") {
  using enum cancelling;
  const m::stores kind = m::stores::at_once;  // all under a mutex
  for (const cancelling how : {nothing, waits_for_it, abandons}) {
    holds("one call, one thread", search<pool>(kind, 1u, std::vector{how}, pool_bug::none));
    holds("one call, two threads", search<pool>(kind, 2u, std::vector{how}, pool_bug::none));
  }
  holds("two calls, one thread", search<pool>(kind, 1u, std::vector{abandons, waits_for_it}, pool_bug::none));
}

TEST_CASE("interleavings: bugs planted into the use of the queue are found") {
  using enum cancelling;
  const m::stores kind = m::stores::at_once;
  is_found("given up, and answered all the same",
           search<pool>(kind, 1u, std::vector{abandons}, pool_bug::answers_all));
  is_found("taken back while it runs",
           search<pool>(kind, 1u, std::vector{waits_for_it}, pool_bug::takes_running_back));
}

TEST_CASE(
    "interleavings: calls to another loop are answered once, and not touched after that, cancelled or not") {
  for (const m::stores kind : {m::stores::at_once, m::stores::buffered}) {
    for (const there how : {there::runs, there::ends_first}) {
      holds("a call", search<calling>(kind, false, how, call_bug::none));
      holds("a call that is cancelled", search<calling>(kind, true, how, call_bug::none));
    }
  }
}

TEST_CASE("interleavings: bugs planted into the calls between loops are found") {
  is_found("no gate", search<calling>(m::stores::at_once, true, there::runs, call_bug::no_gate));
  is_found("forgets it although the other side still has it before it",
           search<calling>(m::stores::at_once, true, there::ends_first, call_bug::no_second_gate));
  is_found("answers before the wish to stop has come",
           search<calling>(m::stores::at_once, true, there::runs, call_bug::answers_early));
}

#endif
