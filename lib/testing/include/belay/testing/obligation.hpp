// SPDX-License-Identifier: Apache-2.0
#pragma once
// Things that must not get lost on the way: an item that was taken from a queue, money that was debited, a lock.

#include <memory>
#include <source_location>
#include <string>
#include <vector>

namespace belay::testing {

class obligation;

/// The obligations of one run: what was dropped unmet, and what is still held.
class obligations : public std::enable_shared_from_this<obligations> {
 public:
  struct entry {
    std::string what;
    std::source_location where;
  };

  [[nodiscard]] obligation take(std::string what,
                                std::source_location where = std::source_location::current());
  /// Dropped without `met()`, in order.
  [[nodiscard]] const std::vector<entry>& dropped() const noexcept { return dropped_; }
  /// Held by somebody just now.
  [[nodiscard]] std::vector<entry> held() const;

 private:
  friend class obligation;
  std::vector<entry> dropped_;
  std::vector<const entry*> held_;
};

/// Whoever holds it must do what it says, and say so with `met()`, or hand it on (move it). Destroyed before: the duty was lost.
class [[nodiscard]] obligation {
 public:
  obligation() noexcept = default;
  obligation(obligation&& other) noexcept;
  obligation& operator=(obligation&& other) noexcept;
  ~obligation();

  /// It is done. Idempotent.
  void met() noexcept;
  explicit operator bool() const noexcept { return entry_ != nullptr; }

 private:
  friend class obligations;
  obligation(std::shared_ptr<obligations> book, std::unique_ptr<obligations::entry> what) noexcept;
  void forget() noexcept;

  std::shared_ptr<obligations> book_;
  std::unique_ptr<obligations::entry> entry_;
};

}  // namespace belay::testing
