// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a driver or a check found, for people and for any test framework.

#include <cstddef>
#include <ostream>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

namespace belay::testing {

/// The promises, as they stand in `finding::rule`. A rule of the stage stands there with its own text.
namespace rules {
inline constexpr const char* undisturbed = "undisturbed, the scenario succeeds";
inline constexpr const char* deterministic = "the scenario does the same in each run";
inline constexpr const char* ends = "the scenario ends";
inline constexpr const char* in_time = "it ends in time";
inline constexpr const char* cancelled = "what is cancelled ends as cancelled, or with its value";
inline constexpr const char* failed = "a failure is never turned into a cancellation";
inline constexpr const char* surfaces = "no failure is swallowed";
inline constexpr const char* nothing_left = "nothing is left";
inline constexpr const char* no_error_lost = "no error is lost";
inline constexpr const char* nothing_noticed = "the runtime has nothing to remark";
inline constexpr const char* obligations_met = "no obligation is dropped";
inline constexpr const char* disturbance = "a disturbance does not throw";
inline constexpr const char* usable_afterwards = "what was used works afterwards";
}  // namespace rules

/// One broken promise.
struct finding {
  std::string what;                         ///< one sentence: what was done, where, and what broke
  std::string rule;                         ///< which promise: "nothing is left", "no error is lost", ...
  std::source_location at;                  ///< the await at which it was done; line 0: without an injection
  std::vector<std::string> left;            ///< what was left, lost or waiting, each with its place
  std::vector<std::string> also;            ///< where the other tasks were that the same cancel stopped
  std::vector<std::source_location> stack;  ///< the awaiting frames, innermost first
  std::string replay;                       ///< the command that runs just this case again
};

/// `report.require()` throws this; `what()` is the text of the report.
class promise_broken : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Usable with any test framework: a plain value that can be asked, printed, or made to throw.
///
///     CHECK_MESSAGE(r.ok(), r.text());     // doctest
///     EXPECT_TRUE(r.ok()) << r;            // GoogleTest
///     r.require();                         // anywhere
class [[nodiscard]] report {
 public:
  std::string name;        ///< of the scenario
  std::size_t awaits = 0;  ///< numbered in the undisturbed run
  std::size_t runs = 0;
  bool complete = true;  ///< false: stopped before every case had run; `incomplete` says why
  std::string incomplete;
  std::vector<finding> findings;

  [[nodiscard]] bool ok() const noexcept { return findings.empty() && complete; }
  explicit operator bool() const noexcept { return ok(); }
  /// One screen, in words.
  [[nodiscard]] std::string text() const;
  /// Throws `promise_broken` with the text unless it is ok.
  void require() const;
};

std::ostream& operator<<(std::ostream& out, const report& what);

}  // namespace belay::testing
