// SPDX-License-Identifier: Apache-2.0
#pragma once
// The course of one call under a retry: its attempts so far, and whether there is another one.

#include <belay/core/outcome.hpp>
#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <cstddef>
#include <optional>
#include <source_location>
#include <string_view>
#include <vector>

namespace belay::detail {

struct retry_shared;
struct every_value {};  // no value is unwanted

template <class Next, class Unwanted>
task<typename std::invoke_result_t<Next&>::value_type> run_retry(retry_shared& shared, Next next,
                                                                 Unwanted* unwanted);

class retry_course {
 public:
  explicit retry_course(retry_shared& shared);
  retry_course(const retry_course&) = delete;
  retry_course& operator=(const retry_course&) = delete;
  ~retry_course() {
    if (reserved_) [[unlikely]]
      give_back();
  }

  // How long to wait before the next attempt. None: there is none, and `how` ends the call, with its history.
  [[nodiscard]] std::optional<duration> after_failure(outcome_base& how, bool may_run_again);
  // The same after a value that is not wanted.
  [[nodiscard]] std::optional<duration> after_value(bool may_run_again);
  [[nodiscard]] bool unwanted_value_fails() const noexcept;
  [[nodiscard]] ref<failure_record> unwanted_value() const;
  // A failure that ends the call whatever the options say: adds the history.
  void fail_with(outcome_base& how) { add_history(how.failed_with(), {}); }

  void succeeded() {
    if (number_ > 1) [[unlikely]]
      recovered();
  }
  // The waiting is over: what was taken out of the budget is spent.
  void next_attempt() noexcept;

 private:
  struct past {
    unsigned number;
    failure what;  // none: an unwanted value
    duration delay;
  };
  static constexpr std::size_t most_kept = 16;

  void recovered();
  [[nodiscard]] std::optional<duration> decide(const failure& what);
  void remember(failure what, duration delay);
  void add_history(failure last, std::string_view why);
  void gave_up(const failure& what, std::string_view why);
  // The next attempt does not begin: it was cancelled while it waited.
  void give_back() noexcept;

  retry_shared* shared_;
  unsigned number_ = 1;
  std::size_t dropped_ = 0;
  time_point began_ = time_point::max();  // read only if it matters
  duration drawn_ = duration::zero();     // by the backoff, the last time
  bool reserved_ = false;                 // the budget has given one for the next attempt
  std::string_view why_not_;
  std::vector<past> history_;
};

}  // namespace belay::detail
