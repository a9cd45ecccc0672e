// SPDX-License-Identifier: Apache-2.0
#pragma once
// News that one loop of the program has for all of them.

#include <belay/core/loop.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace accounts {

/// Whoever has joined is told, on the loop where that was, each time that anybody publishes.
///
///     const bulletin::place here = orders->join([this] { news_.set(); });
///     orders->publish();   // on any loop
///
/// Thread: `publish` any; `join`, and the end of the place that it gives, on one loop.
class bulletin {
  struct reader {
    belay::loop* on = nullptr;
    std::function<void()> told;
    bool is_here = true;  // thread of `on` only
  };

 public:
  /// Nobody is told any more once this has gone, which is before its loop ends. Lifetime: the bulletin outlives it.
  class place {
   public:
    place(place&& other) noexcept = default;  // leaves an empty pointer
    place& operator=(place&&) = delete;
    ~place() {
      if (who_) in_->leave(who_);
    }

   private:
    friend class bulletin;
    place(bulletin& in, std::shared_ptr<reader> who) noexcept : in_(&in), who_(std::move(who)) {}

    bulletin* in_ = nullptr;
    std::shared_ptr<reader> who_;
  };

  bulletin() = default;
  bulletin(const bulletin&) = delete;
  bulletin& operator=(const bulletin&) = delete;
  ~bulletin() = default;

  /// `told` must not throw, and is not called from within `join`.
  [[nodiscard]] place join(std::function<void()> told);
  /// Readers on this loop are told before it returns, the others soon.
  void publish();

 private:
  void leave(const std::shared_ptr<reader>& who) noexcept;

  std::mutex mutex_;
  std::vector<std::shared_ptr<reader>> readers_;  // guarded by mutex_
};

}  // namespace accounts
