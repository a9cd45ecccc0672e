// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many retries there may be for the calls there are: so that retries do not keep a dependency down that is ill.

#include <cstdint>
#include <memory>
#include <string>

namespace belay {

struct retry_budget_options {
  /// Retries for each call, in the long run: 0.1 are ten for a hundred calls. 0 to 1.
  double ratio = 0.1;
  /// How many retries may be saved up, and are there at the start; at least 1.
  unsigned reserve = 10;
  /// In notes and descriptions.
  std::string name = "budget";
};

struct retry_budget_statistics {
  std::uint64_t calls = 0;
  std::uint64_t spent = 0;    ///< retries
  std::uint64_t refused = 0;  ///< retries that were not made
  double available = 0;
};

/// A token bucket that calls fill and retries empty. Copies share it: give the same one to all policies that lead to the same dependency.
///
///     const retry_budget budget{{.ratio = 0.2}};
///     const pipeline read{retry{{.budget = budget}}, timeout{1s}};
///     const pipeline write{retry{{.max_attempts = 2, .budget = budget}}, timeout{5s}};
///
/// When n calls all fail, there are at most `reserve` + `ratio` n retries.
/// Errors: `misuse_error` for options out of range. Thread: one loop.
class retry_budget {
 public:
  explicit retry_budget(retry_budget_options options = {});

  /// A call begins: puts `ratio` in. Errors: `misuse_error` on another thread than before.
  void deposit() const;
  /// Takes one out for a retry; false if there is less than one.
  [[nodiscard]] bool try_spend() const noexcept;
  /// The retry that one was taken out for does not begin.
  void give_back() const noexcept;

  [[nodiscard]] retry_budget_statistics statistics() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;
  /// "10 % of the calls, reserve 10"
  [[nodiscard]] std::string describe() const;

 private:
  struct bucket;
  std::shared_ptr<bucket> bucket_;
};

}  // namespace belay
