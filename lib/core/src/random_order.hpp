// SPDX-License-Identifier: Apache-2.0
#pragma once
// Random numbers from a seed: which of the ready tasks is next, how long a delay is.

#include <cstddef>
#include <cstdint>

namespace belay::detail {

// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): the same numbers on every machine.
class random_order {
 public:
  explicit random_order(std::uint64_t seed) noexcept : state_(seed) {}
  [[nodiscard]] std::uint64_t next() noexcept {
    std::uint64_t x = (state_ += 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  // From 0 to `count` - 1.
  [[nodiscard]] std::size_t below(std::size_t count) noexcept {
    return static_cast<std::size_t>(next() % count);
  }

 private:
  std::uint64_t state_;
};

}  // namespace belay::detail
