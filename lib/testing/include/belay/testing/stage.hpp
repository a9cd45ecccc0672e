// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a scenario under a driver is given: a world that is made anew for every run, and the rules that must hold at its end.

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/testing/obligation.hpp>
#include <belay/testing/test_loop.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay::testing {

/// How the run of a scenario ended, for rules that depend on it.
struct run_end {
  bool succeeded = false;
  bool cancelled = false;          ///< unwound by a cancellation
  belay::failure failure;          ///< set when it failed
  bool injected = false;           ///< false: the run in which nothing was disturbed
  bool failed_in_cleanup = false;  ///< the driver made a cleanup fail: what it had to do may be undone
};

/// The world of one run. State that the rules look at lives here, not in the scenario's locals, which are gone by then:
///
///     auto found = cancel_everywhere([](stage& s) -> task<> {
///       auto& bank = s.make<fake_bank>(100, 100);
///       s.expect("no money is made or lost", [&] { return bank.total() == 200; });
///       s.afterwards([&]() -> task<> { co_await transfer(bank, 1); });
///       co_await transfer(bank, 30);
///     });
///
/// Lifetime: until the rules were checked. Thread: the loop's.
class stage {
 public:
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;
  ~stage();

  /// Makes a `T` that lives until the rules were checked; destroyed in reverse order.
  template <class T, class... A>
  T& make(A&&... args) {
    auto made = std::make_unique<box<T>>(std::forward<A>(args)...);
    T& value = made->value;
    made_.push_back(std::move(made));
    return value;
  }

  /// A rule: `holds` is asked once when the run has ended, whatever was injected. By then the locals of the scenario are gone: it may only
  /// look at what was made by `make`, and at what outlives the scenario.
  void expect(std::string rule, std::function<bool()> holds,
              std::source_location where = std::source_location::current());
  /// The same, told how the run ended.
  void expect(std::string rule, std::function<bool(const run_end&)> holds,
              std::source_location where = std::source_location::current());

  /// Runs undisturbed after the scenario has ended, on the same world: finds locks that are still held, permits that never came
  /// back, caches that wait for a value which nobody loads. It must succeed. At the most one; a later call replaces it.
  void afterwards(task_function<task<>()> use, std::source_location where = std::source_location::current());

  /// For `disturb_everywhere`: what happens at the chosen await. Called on the loop's thread, between two turns; it must not throw.
  void disturbance(std::function<void()> happens) { disturbance_ = std::move(happens); }

  /// Runs `op` without numbering its awaits: for what the scenario needs, but does not test. A cancellation from outside reaches it.
  template <class T>
  [[nodiscard]] task<T> undisturbed(task<T> op) {
    detail::scope quiet;
    const quiet_entry listed(*this, quiet);
    outcome<T> how = co_await detail::intercept_in(quiet, unnumbered(quiet, std::move(op)));
    if (!how.succeeded()) {
      detail::refresh_cancellation(how);
      co_await detail::end_with(how);
    }
    if constexpr (!std::is_void_v<T>) co_return how.get_forward();
  }

  /// A debt: whoever holds it must call `met()` before it is destroyed, or hand it on. Dropped unmet: a finding that names `what` and
  /// the place of this call. What an object of the stage still holds at the end is not lost.
  [[nodiscard]] obligation owe(std::string what,
                               std::source_location where = std::source_location::current());

  /// The loop of the run, its virtual clock and time.
  [[nodiscard]] test_loop& loop() noexcept { return *loop_; }
  /// Random numbers that are the same in every run with the same seed.
  [[nodiscard]] std::mt19937_64& random();

 private:
  friend class run_driver;
  stage(test_loop& loop, std::uint64_t seed);

  template <class T>
  static task<T> unnumbered(detail::scope& within, task<T> op) {
    within.at_gate &= static_cast<unsigned char>(~detail::gate_watched);
    co_return co_await std::move(op);
  }
  // While an `undisturbed` is under way.
  struct quiet_entry {
    quiet_entry(stage& in, detail::scope& which) : of(&in), at(&which) { of->quiet_.push_back(at); }
    quiet_entry(const quiet_entry&) = delete;
    quiet_entry& operator=(const quiet_entry&) = delete;
    ~quiet_entry() { std::erase(of->quiet_, at); }
    stage* of;
    detail::scope* at;
  };
  // Whether it is within an `undisturbed`. A group whose body has ended is attached anew, and marks all below it as watched, these
  // scopes too: that is taken back here, from the task up to the scope.
  [[nodiscard]] bool is_undisturbed(const detail::node& task) const noexcept;
  // Frames that never end still refer to what is here.
  void leave_behind() noexcept;

  struct any_box {
    virtual ~any_box() = default;
  };
  template <class T>
  struct box final : any_box {
    template <class... A>
    explicit box(A&&... args) : value(std::forward<A>(args)...) {}
    T value;
  };
  struct rule {
    std::string text;
    std::function<bool(const run_end&)> holds;
    std::source_location where;
  };

  test_loop* loop_;
  std::uint64_t seed_;
  std::optional<std::mt19937_64> random_;
  std::shared_ptr<obligations> owed_;
  std::vector<detail::scope*> quiet_;
  std::vector<rule> rules_;
  std::function<void()> disturbance_;
  task_function<task<>()> afterwards_;
  std::source_location afterwards_at_;
  std::vector<std::unique_ptr<any_box>> made_;
};

}  // namespace belay::testing
