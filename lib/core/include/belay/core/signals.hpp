// SPDX-License-Identifier: Apache-2.0
#pragma once
// Process signals as something to wait for.

#include <belay/core/detail/wait_list.hpp>
#include <csignal>
#include <cstddef>
#include <initializer_list>
#include <vector>

namespace belay {

/// While it lives, the signals named come here instead of their old handlers; those are put back afterwards.
/// One at a time in a process; the main thread's loop is woken at once even from a long wait. In a child process made by `fork`, the signals
/// do what they do by default, until it makes a watch of its own.
class signal_watch {
 public:
  /// Errors: `misuse_error` when there is one already, or outside of a running loop; `std::system_error` for a number that
  /// is no signal or cannot be handled (SIGKILL). All handlers are as before then.
  explicit signal_watch(std::initializer_list<int> signals);
  signal_watch(const signal_watch&) = delete;
  signal_watch& operator=(const signal_watch&) = delete;
  ~signal_watch();

  class awaiter final : public detail::list_wait {
   public:
    explicit awaiter(signal_watch& on) noexcept : list_wait(on.waiters_), on_(&on) {}
    /// The signal's number. Repeated ones come as often as they were seen.
    int await_resume() const noexcept { return number_; }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"a signal", ""}; }

   private:
    friend class signal_watch;
    void start() override {
      if (!on_->order_.empty()) {
        take();
        complete();
      } else {
        enqueue();
      }
    }
    void take() noexcept { number_ = on_->take(); }
    signal_watch* on_;
    int number_ = 0;
  };
  /// Waits for the next signal. Cancellation: none is lost.
  [[nodiscard]] awaiter next() noexcept { return awaiter(*this); }

  // Called by the loop when it was woken by a signal handler.
  void collect() noexcept;

 private:
  struct saved {
    int number;
    struct sigaction before;
    int seen;  // and not taken yet
  };
  [[nodiscard]] int take() noexcept;
  void put_back() noexcept;
  std::vector<saved> saved_;
  std::vector<std::size_t> order_;  // those of saved_ that were seen, in turn; it has room for all
  detail::wait_list waiters_;
};

}  // namespace belay
