// SPDX-License-Identifier: Apache-2.0
#pragma once
// A bounded queue between tasks: several may send, several may receive, and it can be closed.

#include <belay/core/detail/ring.hpp>
#include <belay/core/detail/wait_list.hpp>
#include <belay/core/error.hpp>
#include <cstddef>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace belay {

/// Sent into a channel that is closed.
class channel_closed_error : public error {
 public:
  explicit channel_closed_error(std::string message,
                                std::source_location where = std::source_location::current())
      : error(error_kind::unavailable, "channel_closed", std::move(message), where) {}
};

template <class T>
class sender;
template <class T>
class receiver;

namespace detail {
void check_capacity(std::size_t capacity);
[[noreturn]] void throw_channel_closed(const char* call, const char* name);
[[noreturn]] void throw_empty_handle(const char* call);
}  // namespace detail

/// First in, first out; first come, first served, on both sides. `capacity` items are kept; with 0, each item goes from hand to hand, and
/// `send` returns when it was received.
///
/// Must outlive those who use it, and its handles: declare it outside of the group that holds producers and consumers.
/// Thread: the loop's only.
template <class T>
class channel {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                "the items of a channel are moved when that must not fail: box those that can");

 public:
  using value_type = T;

  /// `name` is for reports: a literal. Errors: `misuse_error` for a capacity that was negative.
  explicit channel(std::size_t capacity, const char* name = "") : capacity_(capacity), name_(name) {
    detail::check_capacity(capacity);
  }
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;

  class send_awaiter final : public detail::prompt_wait<send_awaiter> {
   public:
    send_awaiter(channel& to, T&& item) noexcept
        : detail::prompt_wait<send_awaiter>(to.senders_), to_(&to), item_(std::move(item)) {}
    send_awaiter(const send_awaiter&) = delete;
    send_awaiter& operator=(const send_awaiter&) = delete;
    void await_resume() const {
      if (refused_) detail::throw_channel_closed("send", to_->name_);
    }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"a place in channel", to_->name_}; }
    [[nodiscard]] bool try_now() {
      refused_ = to_->closed_;
      return refused_ || to_->accept(item_);
    }

   private:
    friend channel;
    channel* to_;
    T item_;
    bool refused_ = false;
  };

  class receive_awaiter final : public detail::prompt_wait<receive_awaiter> {
   public:
    explicit receive_awaiter(channel& from) noexcept
        : detail::prompt_wait<receive_awaiter>(from.receivers_), from_(&from) {}
    receive_awaiter(const receive_awaiter&) = delete;
    receive_awaiter& operator=(const receive_awaiter&) = delete;
    // Given to a task that is unwound before it goes on: back to where it was.
    ~receive_awaiter() {
      if (item_) from_->put_back(std::move(*item_));
    }
    std::optional<T> await_resume() {
      if (!item_ && from_->why_) from_->why_.rethrow();
      std::optional<T> got = std::move(item_);
      item_.reset();
      return got;
    }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"an item of channel", from_->name_}; }
    [[nodiscard]] bool try_now() {
      from_->take(item_);
      return item_ || from_->closed_;
    }

   private:
    friend channel;
    channel* from_;
    std::optional<T> item_;
  };

  /// Waits until there is a place for `item`, or somebody who takes it.
  ///
  /// Errors:        `channel_closed_error` when the channel is closed, before or meanwhile; the item was not sent.
  /// Cancellation:  the item was not sent. One that was sent when the cancellation arrives stays sent, and is sent once.
  [[nodiscard]] send_awaiter send(T item) noexcept { return send_awaiter(*this, std::move(item)); }

  /// Waits for an item: `while (auto item = co_await c.receive()) ...`
  ///
  /// Result:        the oldest item; nothing once the channel is closed and empty.
  /// Errors:        once it is empty: what it was closed with, if that was a failure.
  /// Cancellation:  nothing was taken. An item that was there when the cancellation arrives is delivered.
  [[nodiscard]] receive_awaiter receive() noexcept { return receive_awaiter(*this); }

  /// Sends if that needs no waiting; otherwise says no and leaves `item` as it is. Errors: `channel_closed_error`.
  [[nodiscard]] bool try_send(T&& item) {
    if (closed_) detail::throw_channel_closed("try_send", name_);
    return accept(item);
  }
  [[nodiscard]] bool try_send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    T copy(item);
    return try_send(std::move(copy));
  }

  /// An item if one is there. Nothing: none is there now, or (`ended()`) none will come. Errors: as `receive`.
  [[nodiscard]] std::optional<T> try_receive() {
    std::optional<T> got;
    take(got);
    if (!got && closed_ && why_) why_.rethrow();
    return got;
  }

  /// No more items: those who wait to send, and later senders, get `channel_closed_error`; what is there can still be received.
  /// Idempotent: the first call counts.
  void close() noexcept {
    if (closed_) return;
    closed_ = true;
    while (!senders_.empty()) {
      auto* one = static_cast<send_awaiter*>(senders_.front());
      one->refused_ = true;
      one->wake();
    }
    while (!receivers_.empty()) receivers_.front()->wake();
  }
  /// The same, because the producer failed: whoever receives gets the remaining items, then this failure. One that nobody gets to see is
  /// reported as lost. In a `catch`: `c.close(current_failure())`.
  void close(failure why) noexcept {
    if (!closed_) why_ = std::move(why);
    close();
  }
  /// Closes, and destroys the items that are there.
  void abort() noexcept {
    const detail::ring<T> dropped = std::move(items_);
    close();
  }

  /// A handle that counts: when the last of the handles is gone, the channel is closed.
  [[nodiscard]] sender<T> new_sender() noexcept { return sender<T>(*this); }
  /// A handle that counts: when the last of the handles is gone, the channel is aborted, for nobody will take what is there.
  [[nodiscard]] receiver<T> new_receiver() noexcept { return receiver<T>(*this); }

  /// Items that are there.
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// Closed, and all was received.
  [[nodiscard]] bool ended() const noexcept { return closed_ && items_.empty(); }
  [[nodiscard]] std::size_t waiting_senders() const noexcept { return senders_.size(); }
  [[nodiscard]] std::size_t waiting_receivers() const noexcept { return receivers_.size(); }
  [[nodiscard]] const char* name() const noexcept { return name_; }

 private:
  friend class sender<T>;
  friend class receiver<T>;

  // While somebody waits to receive, no item is there and nobody waits to send (but for one task that does both, by `select`); while
  // somebody waits to send, there is no place.
  [[nodiscard]] bool accept(T& item) {
    if (!receivers_.empty()) {
      auto* first = static_cast<receive_awaiter*>(receivers_.front());
      first->item_.emplace(std::move(item));
      first->wake();
      return true;
    }
    if (items_.size() >= capacity_) return false;
    items_.push_back(std::move(item));
    return true;
  }
  void take(std::optional<T>& to) {
    if (!items_.empty()) {
      to.emplace(items_.pop_front());
      if (senders_.empty() || items_.size() >= capacity_) return;
      auto* next = static_cast<send_awaiter*>(senders_.front());
      items_.push_back(std::move(next->item_));  // into the slot that has just become free
      next->wake();
    } else if (!senders_.empty()) {
      auto* first = static_cast<send_awaiter*>(senders_.front());
      to.emplace(std::move(first->item_));
      first->wake();
    }
  }
  void put_back(T&& item) noexcept {
    if (!receivers_.empty()) {
      static_cast<void>(accept(item));
    } else {
      items_.push_front(std::move(item));
    }
  }

  const std::size_t capacity_;
  const char* name_;
  bool closed_ = false;
  std::size_t sender_handles_ = 0;
  std::size_t receiver_handles_ = 0;
  failure why_;
  detail::ring<T> items_;
  detail::wait_list senders_;
  detail::wait_list receivers_;
};

/// One of those who send into a channel. A copy is one more; when the last is gone, or closed, the channel is closed.
///
///     g.spawn(produce, c.new_sender());   // task<> produce(sender<int> out)
template <class T>
class sender {
 public:
  sender() noexcept = default;
  sender(const sender& other) noexcept : to_(other.to_) { count(); }
  sender(sender&& other) noexcept : to_(std::exchange(other.to_, nullptr)) {}
  sender& operator=(sender other) noexcept {
    std::swap(to_, other.to_);
    return *this;
  }
  ~sender() { close(); }

  /// As `channel::send`. Errors: also `misuse_error` for a handle that was closed or moved from.
  [[nodiscard]] auto send(T item) const { return target("sender::send").send(std::move(item)); }
  [[nodiscard]] bool try_send(T&& item) const { return target("sender::try_send").try_send(std::move(item)); }
  [[nodiscard]] bool try_send(const T& item) const
    requires std::is_copy_constructible_v<T>
  {
    return target("sender::try_send").try_send(item);
  }
  /// Gives this handle up. Idempotent.
  void close() noexcept {
    if (channel<T>* const of = std::exchange(to_, nullptr); of != nullptr && --of->sender_handles_ == 0)
      of->close();
  }
  explicit operator bool() const noexcept { return to_ != nullptr; }

 private:
  friend channel<T>;
  explicit sender(channel<T>& to) noexcept : to_(&to) { count(); }
  void count() noexcept {
    if (to_ != nullptr) ++to_->sender_handles_;
  }
  [[nodiscard]] channel<T>& target(const char* call) const {
    if (to_ == nullptr) detail::throw_empty_handle(call);
    return *to_;
  }
  channel<T>* to_ = nullptr;
};

/// One of those who receive from a channel. A copy is one more; when the last is gone, or closed, the channel is aborted: who sends learns that
/// nobody listens.
template <class T>
class receiver {
 public:
  receiver() noexcept = default;
  receiver(const receiver& other) noexcept : from_(other.from_) { count(); }
  receiver(receiver&& other) noexcept : from_(std::exchange(other.from_, nullptr)) {}
  receiver& operator=(receiver other) noexcept {
    std::swap(from_, other.from_);
    return *this;
  }
  ~receiver() { close(); }

  /// As `channel::receive`. Errors: also `misuse_error` for a handle that was closed or moved from.
  [[nodiscard]] auto receive() const { return source("receiver::receive").receive(); }
  [[nodiscard]] std::optional<T> try_receive() const { return source("receiver::try_receive").try_receive(); }
  /// Gives this handle up. Idempotent.
  void close() noexcept {
    if (channel<T>* const of = std::exchange(from_, nullptr); of != nullptr && --of->receiver_handles_ == 0)
      of->abort();
  }
  explicit operator bool() const noexcept { return from_ != nullptr; }

 private:
  friend channel<T>;
  explicit receiver(channel<T>& from) noexcept : from_(&from) { count(); }
  void count() noexcept {
    if (from_ != nullptr) ++from_->receiver_handles_;
  }
  [[nodiscard]] channel<T>& source(const char* call) const {
    if (from_ == nullptr) detail::throw_empty_handle(call);
    return *from_;
  }
  channel<T>* from_ = nullptr;
};

}  // namespace belay
