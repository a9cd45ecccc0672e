// SPDX-License-Identifier: Apache-2.0
#pragma once
// Intrusive, thread-safe reference counting for the records that outlive the task that made them.

#include <atomic>
#include <cstddef>
#include <utility>

namespace belay::detail {

class refcounted {
 public:
  refcounted() = default;
  refcounted(const refcounted&) = delete;
  refcounted& operator=(const refcounted&) = delete;

  // Records are made when things go wrong, in places that cannot fail themselves: when there is no memory, a small reserve
  // serves. Ends the process, with a message, when that is used up, too.
  static void* operator new(std::size_t size);
  static void operator delete(void* memory) noexcept;

  // One owner, so nobody else refers to it (unless another thread is just copying a reference that it was lent).
  [[nodiscard]] bool has_one_owner() const noexcept { return count_.load(std::memory_order_acquire) == 1; }
  void retain() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }

  void release() noexcept {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) last_release();
  }

 protected:
  virtual ~refcounted() = default;
  // Called when nobody holds the record any more; deletes it unless somebody takes it again.
  virtual void last_release() noexcept { delete this; }

 private:
  std::atomic<unsigned> count_{1};
};

template <class T>
class ref {
 public:
  ref() noexcept = default;
  ref(std::nullptr_t) noexcept {}
  // Takes over the reference that `new` made.
  static ref adopt(T* object) noexcept {
    ref result;
    result.object_ = object;
    return result;
  }
  static ref share(T* object) noexcept {
    if (object) object->retain();
    return adopt(object);
  }
  ref(const ref& other) noexcept : object_(other.object_) {
    if (object_) object_->retain();
  }
  ref(ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  ref& operator=(ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~ref() {
    if (object_) object_->release();
  }

  [[nodiscard]] T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  [[nodiscard]] T* detach() noexcept { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

}  // namespace belay::detail
