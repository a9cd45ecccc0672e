// SPDX-License-Identifier: Apache-2.0
#pragma once
// What other threads hand to a loop: a stack of intrusive items, newest first, and whether the loop must be woken for them.

#include "real_sync.hpp"

namespace belay::detail {

// `Item` has `next` and `run(Item&)`, a function that may destroy it. Any thread may push; all else is the loop's thread.
//
// While it is closed, a mark stands in place of the items: an item is either refused, or it is run. Whoever is about to sleep says so,
// and looks again; whoever has pushed an item looks whether the loop sleeps. Both store first and load then, in the one order of
// seq_cst operations: one of the two sees the other.
template <class Sync, class Item>
class inbox {
 public:
  void open() noexcept { head_.store(nullptr, std::memory_order_seq_cst); }

  // False: it is closed, the item was not taken. `wake` is called when the loop sleeps. The item may be gone when this returns.
  template <class Wake>
  [[nodiscard]] bool push(Item& item, Wake wake) noexcept {
    pushing_.fetch_add(1, std::memory_order_relaxed);
    // Acquire: who is refused sees all that the loop has done.
    Item* head = head_.load(std::memory_order_acquire);
    bool taken = false;
    while (head != &closed_ && !taken) {
      item.next = head;
      taken = head_.compare_exchange_weak(head, &item, std::memory_order_seq_cst, std::memory_order_acquire);
    }
    if (taken && asleep_.load(std::memory_order_seq_cst)) wake();
    pushing_.fetch_sub(1, std::memory_order_release);
    return taken;
  }

  // A quick look, for a loop that is busy.
  [[nodiscard]] bool may_have_items() const noexcept {
    return head_.load(std::memory_order_relaxed) != nullptr;
  }
  [[nodiscard]] bool has_items() const noexcept { return head_.load(std::memory_order_acquire) != nullptr; }

  // Announces the sleep, then looks again. False: there is something, do not sleep. To be followed by `awake`.
  [[nodiscard]] bool fall_asleep() noexcept {
    asleep_.store(true, std::memory_order_seq_cst);
    return head_.load(std::memory_order_seq_cst) == nullptr;
  }
  void awake() noexcept { asleep_.store(false, std::memory_order_relaxed); }

  // Before it is destroyed: an item may have run, and with it the last reason to keep the loop, while who pushed it is still on its way
  // out of `push`.
  void wait_for_pushers() noexcept { Sync::spin_until(pushing_, 0u); }

  // Runs what is there, oldest first.
  void run() noexcept { run_all(head_.exchange(nullptr, std::memory_order_acquire)); }

  // Nothing that was accepted is dropped, and nothing is accepted any more: those that come again and again do not keep the loop.
  // Whoever is refused may be so before the last of those that were accepted have run.
  void close() noexcept { run_all(head_.exchange(&closed_, std::memory_order_acq_rel)); }

 private:
  static void run_all(Item* newest) noexcept {
    Item* oldest = nullptr;
    while (newest != nullptr) {
      Item* next = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = next;
    }
    while (oldest != nullptr) {
      Item* next = oldest->next;
      oldest->run(*oldest);  // may destroy it
      oldest = next;
    }
  }

  static inline Item closed_;
  typename Sync::template atomic<Item*> head_{&closed_};
  typename Sync::template atomic<bool> asleep_{false};
  typename Sync::template atomic<unsigned> pushing_{0};
};

}  // namespace belay::detail
