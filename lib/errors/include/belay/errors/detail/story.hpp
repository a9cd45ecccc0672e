// SPDX-License-Identifier: Apache-2.0
#pragma once
// All that belongs to a failure, without a look at it; and looks that do not count.

#include <belay/core/failure.hpp>
#include <vector>

namespace belay::detail {

// `what`, everything attached, everything replaced, as one list. As `failure::flatten`, but marks nothing observed.
[[nodiscard]] std::vector<failure> whole_story(const failure& what);

// It arose in a cleanup that followed a cancellation, in whatever scope: the word of core's cleanup is on it.
[[nodiscard]] bool arose_in_cleanup(const failure& what) noexcept;

// The running task is cancelled, and this arose in a cleanup after that. Such an error is neither what the operation failed with nor the
// end of a task that may go on: nobody may answer it with a value, or try again. (An error of another sort that comes when a cancellation was
// requested already, may be handled: the next await will act.)
[[nodiscard]] bool failed_after_cancellation(const failure& what);

// As long as it lives, somebody is told of a failure: a log, a listener. Whatever he looks at, he does not handle it: what nobody had
// observed before, nobody has observed afterwards.
class look_without_handling {
 public:
  explicit look_without_handling(const failure& what);
  look_without_handling(const look_without_handling&) = delete;
  look_without_handling& operator=(const look_without_handling&) = delete;
  ~look_without_handling();

 private:
  std::vector<failure> unobserved_;
};

}  // namespace belay::detail
