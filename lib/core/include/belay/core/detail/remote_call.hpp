// SPDX-License-Identifier: Apache-2.0
#pragma once
// A function on its way to another loop, where it is run as a task, and back.

#include <belay/core/detail/call_gate.hpp>
#include <belay/core/detail/carry_locals.hpp>
#include <belay/core/detail/cleanup.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/operation.hpp>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <source_location>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace belay::detail {

class visitors;

[[nodiscard]] failure loop_closed(const char* call, std::source_location where);

// Lives with the caller until it is answered.
class remote_call {
 public:
  remote_call(loop& there, std::source_location where) noexcept : there_(&there), where_(where) {}
  remote_call(const remote_call&) = delete;
  remote_call& operator=(const remote_call&) = delete;

  [[nodiscard]] loop& there() const noexcept { return *there_; }
  // The other loop's thread, which goes and leaves the task behind, unended.
  void left_behind() noexcept;

 protected:
  ~remote_call() = default;

  // The caller's thread. False: the loop does not run.
  [[nodiscard]] bool send() noexcept;
  void carry_locals_of_caller() noexcept;
  // `closed`: the other side has gone, and will not answer any more; the result says so.
  enum class stopping : unsigned char { will_answer, closed };
  [[nodiscard]] stopping ask_to_stop(cancel_record why) noexcept;
  [[nodiscard]] std::source_location where() const noexcept { return where_; }
  // It was asked to stop too late for a message, and has been answered: it did not run, or had ended before.
  [[nodiscard]] bool was_refused() const noexcept { return refused_; }

  // The other loop's thread: the task, which leaves its end in the result; and, at last, the answer, after which it may be gone.
  [[nodiscard]] BELAY_CORO_WRAPPER virtual task<void> work() = 0;
  [[nodiscard]] virtual outcome_base& result() noexcept = 0;
  virtual void answer() noexcept = 0;

 private:
  friend class visitors;
  struct message : loop::inbox_item {
    remote_call* call = nullptr;
  };
  static void request_comes(loop::inbox_item& item) noexcept;
  static void stop_comes(loop::inbox_item& item) noexcept;
  void ended(outcome_base& task_end) noexcept;
  void last_word() noexcept;

  message request_;
  message stop_;
  loop* there_;
  std::source_location where_;
  call_gate<std::atomic> gate_;
  cancel_record why_;
  ref<binding> locals_;
  bool refused_ = false;  // the caller's
  // The other loop's thread only.
  called_side<std::atomic> side_;
  visitors* host_ = nullptr;  // once it was let in
  node* task_ = nullptr;
};

// The function with its arguments, and how it ended.
template <class T, class F, class... A>
class kept_remote_call : public remote_call {
 public:
  template <class G, class... B>
  kept_remote_call(loop& there, std::source_location where, G&& fn, B&&... args)
      : remote_call(there, where), fn_(std::forward<G>(fn)), args_(std::forward<B>(args)...) {}
  [[nodiscard]] outcome<T>& how() noexcept { return how_; }
  // Without going anywhere.
  [[nodiscard]] BELAY_CORO_WRAPPER task<T> begin() { return begin(std::index_sequence_for<A...>()); }

 protected:
  ~kept_remote_call() = default;

 private:
  task<void> work() final { how_ = co_await intercept(begin()); }
  outcome_base& result() noexcept final { return how_; }
  template <std::size_t... I>
  BELAY_CORO_WRAPPER task<T> begin(std::index_sequence<I...>) {
    try {
      if constexpr (takes_lvalues<F, A...>) {
        return call(fn_, std::get<I>(args_)...);
      } else {
        return call(fn_, std::forward<A>(std::get<I>(args_))...);
      }
    } catch (...) {
      return failed_task<T>(current_failure());
    }
  }

  [[no_unique_address]] F fn_;
  [[no_unique_address]] std::tuple<A...> args_;
  outcome<T> how_;
};

// ---- called by a task of another loop

class call_wait : public operation {
 public:
  [[nodiscard]] awaited waits_for() const noexcept override { return {"another loop", ""}; }
  void await_resume() const noexcept {}
  // After the turn in which a driver saw it start.
  virtual void send_held() noexcept = 0;

 protected:
  ~call_wait() = default;
  [[nodiscard]] static bool must_be_held(call_wait& what);
  [[nodiscard]] static bool take_back_held(call_wait& what) noexcept;
  static void begin_outside() noexcept;
  static void end_outside() noexcept;
};

template <class T, class F, class... A>
class task_call final : public kept_remote_call<T, F, A...> {
  using base = kept_remote_call<T, F, A...>;

 public:
  template <class G, class... B>
  task_call(loop& there, std::source_location where, G&& fn, B&&... args)
      : base(there, where, std::forward<G>(fn), std::forward<B>(args)...), waiting_(*this) {}

  class waiter final : public call_wait {
   public:
    explicit waiter(task_call& of) noexcept : of_(&of) {}
    void send_held() noexcept override {
      if (of_->send()) return begin_outside();
      of_->how().set_failed(loop_closed("on_loop", of_->where()).take_record());
      complete();
    }
    void answered() noexcept {
      end_outside();
      if (asked_ && of_->was_refused() && of_->how().failed()) {
        of_->how().failed_with().observe();  // that it was refused is no news to who is cancelled
        return complete_cancelled();
      }
      if (asked_ && of_->how().cancelled()) return complete_cancelled();
      complete();
    }

   private:
    void start() override {
      of_->home_ = loop::current();
      of_->carry_locals_of_caller();
      if (must_be_held(*this)) return;
      if (!of_->send()) loop_closed("on_loop", of_->where()).rethrow();
      begin_outside();
    }
    bool abort() noexcept override {
      if (take_back_held(*this)) return true;
      asked_ = true;
      if (of_->ask_to_stop(effective_record(*task()->current)) == remote_call::stopping::will_answer)
        return false;
      end_outside();
      return true;
    }
    task_call* of_;
    bool asked_ = false;
  };
  [[nodiscard]] waiter& answered() noexcept { return waiting_; }

 private:
  friend class waiter;
  struct message : loop::inbox_item {
    waiter* to = nullptr;
  };
  void answer() noexcept override {
    back_.to = &waiting_;
    back_.run = [](loop::inbox_item& item) noexcept { static_cast<message&>(item).to->answered(); };
    home_->post_item(back_);
  }

  message back_;
  loop* home_ = nullptr;
  waiter waiting_;
};

// ---- called by a thread that may run no loop

template <class T>
class thread_side {
 public:
  thread_side() = default;
  thread_side(const thread_side&) = delete;
  thread_side& operator=(const thread_side&) = delete;
  virtual ~thread_side() = default;
  [[nodiscard]] virtual outcome<T>& end() noexcept = 0;
  [[nodiscard]] virtual loop& home() const noexcept = 0;
  virtual void stop(cancel_record why) noexcept = 0;

  [[nodiscard]] bool done() noexcept {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  void wait() noexcept {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }
  [[nodiscard]] bool wait_until(std::chrono::steady_clock::time_point when) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, when, [this] { return done_; });
  }
  // Nobody will ask any more: it goes when it has ended.
  void leave() noexcept { left_ = true; }

 protected:
  void set_done() noexcept {
    if (left_) {
      delete this;
      return;
    }
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();  // under the lock: whoever waits may destroy it then
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  bool left_ = false;  // the loop's thread only
};

template <class T, class F, class... A>
class thread_remote_call final : public thread_side<T>, public kept_remote_call<T, F, A...> {
  using base = kept_remote_call<T, F, A...>;

 public:
  using base::base;
  [[nodiscard]] bool start() noexcept {
    this->carry_locals_of_caller();
    return this->send();
  }
  outcome<T>& end() noexcept override {
    if (this->was_refused() && this->how().failed()) this->how().failed_with().observe();
    return this->how();
  }
  loop& home() const noexcept override { return this->there(); }
  void stop(cancel_record why) noexcept override {
    if (this->ask_to_stop(std::move(why)) == remote_call::stopping::closed) this->set_done();
  }

 private:
  void answer() noexcept override { this->set_done(); }
};

// To the sink of `home`, if it still runs.
void report_lost_at(loop& home, failure what) noexcept;
// Of the function that `to_thread` calls on this thread; none elsewhere.
[[nodiscard]] std::stop_token stop_of_this_thread() noexcept;

[[noreturn]] void throw_misuse_own_loop(const char* call, std::source_location where);
[[noreturn]] void throw_misuse_waits_on_loop(const char* call, std::source_location where);
[[noreturn]] void throw_misuse_no_answer(std::source_location where);

}  // namespace belay::detail
