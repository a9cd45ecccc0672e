// SPDX-License-Identifier: Apache-2.0
// Loops on threads of their own.

#include <belay/core/detail/thread_start.hpp>
#include <belay/core/event.hpp>
#include <belay/core/loops.hpp>

#include <algorithm>
#include <thread>

#include "loop_state.hpp"

namespace belay {

namespace {

// Something that the thread has reached, told to the loop at home.
class milestone : public loop::inbox_item {
 public:
  milestone() noexcept {
    run = [](inbox_item& item) noexcept { static_cast<milestone&>(item).reached(); };
  }

  // Whoever waits here holds what the thread uses: it waits whatever happens.
  class awaiter final : public operation {
   public:
    explicit awaiter(milestone& on) noexcept : on_(&on) {}
    [[nodiscard]] bool await_ready() const noexcept { return on_->reached_; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> waiting) noexcept {
      on_->waiting_ = this;
      ++detail::this_runtime->loop->internals().calls_outside;
      suspend_uncancellable(waiting);
      return true;
    }
    void await_resume() const noexcept {}
    [[nodiscard]] awaited waits_for() const noexcept override { return {"another loop", ""}; }
    void reached() noexcept {
      --detail::this_runtime->loop->internals().calls_outside;
      complete();
    }

   private:
    void start() override {}
    bool abort() noexcept override { return false; }
    milestone* on_;
  };
  [[nodiscard]] awaiter wait() noexcept { return awaiter(*this); }

 private:
  void reached() noexcept {
    reached_ = true;
    if (waiting_ != nullptr) std::exchange(waiting_, nullptr)->reached();
  }
  bool reached_ = false;
  awaiter* waiting_ = nullptr;
};

class loop_on_thread {
 public:
  explicit loop_on_thread(loop_options options) : home_(*loop::current()), loop_(std::move(options)) {
    stop_.of = this;
    stop_.run = [](loop::inbox_item& item) noexcept { static_cast<stop_message&>(item).of->end_.set(); };
    thread_ = detail::start_thread([this] { run(); });
  }
  loop_on_thread(const loop_on_thread&) = delete;
  loop_on_thread& operator=(const loop_on_thread&) = delete;
  ~loop_on_thread() = default;

  [[nodiscard]] belay::loop& loop() noexcept { return loop_; }
  [[nodiscard]] milestone::awaiter begun() noexcept { return begun_.wait(); }
  [[nodiscard]] milestone::awaiter ended() noexcept { return ended_.wait(); }
  // Refused: it has ended already.
  void stop() noexcept { static_cast<void>(loop_.internals().try_push(stop_)); }
  void join() {
    thread_.join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct stop_message : belay::loop::inbox_item {
    loop_on_thread* of = nullptr;
  };

  // Its thread.
  void run() noexcept {
    try {
      loop_.run(serve(), std::source_location());
    } catch (...) {
      error_ = std::current_exception();  // rethrown by join
    }
    loop_.internals().threads.reset();  // waited for here, not by the loop at home
    if (!begun_told_) home_.post_item(begun_);
    home_.post_item(ended_);
  }
  task<> serve() {
    begun_told_ = true;
    home_.post_item(begun_);
    struct door {
      std::size_t& open;
      explicit door(std::size_t& doors) noexcept : open(doors) { ++open; }
      door(const door&) = delete;
      door& operator=(const door&) = delete;
      ~door() { --open; }
    } const stays_open(loop_.internals().open_doors);
    co_await end_.wait();
  }

  belay::loop& home_;
  belay::loop loop_;
  stop_message stop_;
  milestone begun_;
  milestone ended_;
  event end_{"the end of its loop"};  // its thread's
  bool begun_told_ = false;           // likewise
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace

namespace {

// What nobody named is as in the calling loop.
void inherit(loop_options& options, const loop_options& from) {
  if (!options.on_lost_failure) options.on_lost_failure = from.on_lost_failure;
  if (!options.on_diagnostic) options.on_diagnostic = from.on_diagnostic;
  if (!options.blocked_limit) options.blocked_limit = from.blocked_limit;
}

}  // namespace

managed<loop> loop_thread(loop_options options) {
  inherit(options, loop::current()->internals().options);
  loop_on_thread made(std::move(options));
  co_await made.begun();
  co_yield made.loop();
  made.stop();
  co_await made.ended();
  made.join();
}

namespace detail {

void throw_misuse_loops(unsigned count, std::source_location where) {
  throw misuse_error("run_on_each with a count of " + std::to_string(count) +
                         ": give it one loop at the least, and no more than most_loops",
                     where);
}

unsigned processors() noexcept { return std::max(1u, std::thread::hardware_concurrency()); }

}  // namespace detail
}  // namespace belay
