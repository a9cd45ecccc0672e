// SPDX-License-Identifier: Apache-2.0
#pragma once
// Blocking work, done by a thread while the loop goes on.

#include <belay/core/detail/locals.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/operation.hpp>
#include <belay/core/stopped.hpp>
#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay {

/// Lets `to_thread` go on without its function when the task is cancelled: see there.
struct abandon {
  /// The name tells in reports which call it was.
  explicit abandon(std::string name = {}, std::source_location where = std::source_location::current())
      : name(std::move(name)), where(where) {}
  std::string name;
  std::source_location where;
};

/// May a value of this type outlive who made it? Not what only refers: pointers, `std::ref`, views, and vectors, arrays, pairs, tuples and
/// optionals of them. Specialise it for a type of yours that looks as if it only referred, and does own; or as if it owned.
template <class T>
inline constexpr bool owns_its_data = !std::is_pointer_v<T> && !std::is_reference_v<T>;
template <class T>
inline constexpr bool owns_its_data<std::reference_wrapper<T>> = false;
template <class C, class Traits>
inline constexpr bool owns_its_data<std::basic_string_view<C, Traits>> = false;
template <class T, std::size_t N>
inline constexpr bool owns_its_data<std::span<T, N>> = false;
template <class T>
inline constexpr bool owns_its_data<std::initializer_list<T>> = false;
template <class T, class Allocator>
inline constexpr bool owns_its_data<std::vector<T, Allocator>> = owns_its_data<T>;
template <class T, std::size_t N>
inline constexpr bool owns_its_data<std::array<T, N>> = owns_its_data<T>;
template <class T>
inline constexpr bool owns_its_data<std::optional<T>> = owns_its_data<T>;
template <class A, class B>
inline constexpr bool owns_its_data<std::pair<A, B>> = owns_its_data<A> && owns_its_data<B>;
template <class... T>
inline constexpr bool owns_its_data<std::tuple<T...>> = (owns_its_data<T> && ...);
template <class R, class... A>
inline constexpr bool owns_its_data<R (*)(A...)> = true;
template <class R, class... A>
inline constexpr bool owns_its_data<R (*)(A...) noexcept> = true;

namespace detail {

// A function call on its way to a pool thread and back.
class pool_job {
 public:
  enum class phase_type : unsigned char { idle, queued, running, given_up };

  pool_job() noexcept = default;
  pool_job(const pool_job&) = delete;
  pool_job& operator=(const pool_job&) = delete;

  // On the pool's thread: calls; then brings it back, after which it may be gone.
  void execute() noexcept;
  void bring_back() noexcept;
  // Likewise, for one that was given up, and belongs to the pool's thread.
  [[nodiscard]] bool failed() const noexcept { return error_ != nullptr; }
  [[nodiscard]] virtual failure story() const noexcept { return {}; }
  virtual void destroy() noexcept {}
  [[nodiscard]] virtual std::string name() const { return {}; }

  // The queue's, guarded by its mutex.
  pool_job* next_job = nullptr;
  pool_job* prev_job = nullptr;
  phase_type phase = phase_type::idle;

 protected:
  ~pool_job() = default;
  virtual void call() = 0;
  // On the loop's thread.
  virtual operation& caller() noexcept = 0;

  void submit();
  // True: it will not run. False: it runs, and was asked to stop.
  [[nodiscard]] bool take_back_or_stop() noexcept;
  // Its thread goes on without us. False: it has finished.
  [[nodiscard]] bool give_up() noexcept;
  [[noreturn]] void rethrow() const;
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }
  std::stop_source stop_;

 private:
  friend class thread_pool;
  struct completion : loop::inbox_item {
    pool_job* job = nullptr;
  };
  static void came_back(loop::inbox_item& item) noexcept;

  completion back_;
  ref<binding> locals_;  // those of the calling task
  belay::loop* home_ = nullptr;
  std::exception_ptr error_;
  bool was_stopped_ = false;
};

// The function with its arguments, and what it gave.
template <class R, class F, class... A>
class kept_thread_call {
 public:
  template <class G, class... B>
  explicit kept_thread_call(G&& fn, B&&... args)
      : fn_(std::forward<G>(fn)), args_(std::forward<B>(args)...) {}

  void call_with(const std::stop_source& stop) {
    std::apply(
        [&](auto&... args) {
          if constexpr (std::is_invocable_v<F&, std::stop_token, A&...>) {
            invoke(stop.get_token(), args...);
          } else if constexpr (std::is_invocable_v<F&, A&...>) {
            invoke(args...);
          } else if constexpr (std::is_invocable_v<F&, std::stop_token, A...>) {
            invoke(stop.get_token(), std::forward<A>(args)...);
          } else {
            invoke(std::forward<A>(args)...);
          }
        },
        args_);
  }
  R take() {
    if constexpr (!std::is_void_v<R>) return result_.take();
  }

 private:
  template <class... B>
  void invoke(B&&... args) {
    if constexpr (std::is_void_v<R>) {
      std::invoke(fn_, std::forward<B>(args)...);
    } else if constexpr (std::is_reference_v<R>) {
      result_.emplace(&std::invoke(fn_, std::forward<B>(args)...));
    } else {
      result_.emplace(std::invoke(fn_, std::forward<B>(args)...));
    }
  }

  F fn_;
  std::tuple<A...> args_;
  outcome<R> result_;
};

// Lives in the awaiting frame, which waits for it whatever happens.
template <class R, class F, class... A>
class thread_call final : public operation, private pool_job {
 public:
  template <class G, class... B>
  explicit thread_call(G&& fn, B&&... args) : kept_(std::forward<G>(fn), std::forward<B>(args)...) {}

  R await_resume() {
    if (failed()) rethrow();
    return kept_.take();
  }
  [[nodiscard]] awaited waits_for() const noexcept override { return {"a thread", ""}; }

 private:
  void start() override { submit(); }
  bool abort() noexcept override { return take_back_or_stop(); }
  void call() override { kept_.call_with(stop_); }
  operation& caller() noexcept override { return *this; }

  kept_thread_call<R, F, A...> kept_;
};

// A call that may outlive the task that waits for it: it has a place of its own.
class lonely_job : public pool_job {
 public:
  explicit lonely_job(abandon how) noexcept : how_(std::move(how)) {}
  virtual ~lonely_job() = default;

  void submit_for(operation& waiting);
  // True: the waiting task may go on at once. `taken_back` tells whether the job is still ours.
  [[nodiscard]] bool leave(bool& still_ours) noexcept;
  void rethrow_error() const { rethrow(); }
  [[nodiscard]] const char* given_name() const noexcept { return how_.name.c_str(); }

  [[nodiscard]] failure story() const noexcept override;
  void destroy() noexcept override { delete this; }
  [[nodiscard]] std::string name() const override;

 private:
  operation& caller() noexcept override { return *waiting_; }
  abandon how_;
  operation* waiting_ = nullptr;
};

template <class R, class F, class... A>
class abandonable_call final : public operation {
 public:
  template <class G, class... B>
  explicit abandonable_call(abandon how, G&& fn, B&&... args)
      : job_(std::make_unique<job>(std::move(how), std::forward<G>(fn), std::forward<B>(args)...)) {}

  R await_resume() {
    if (job_->failed()) job_->rethrow_error();
    return job_->kept.take();
  }
  [[nodiscard]] awaited waits_for() const noexcept override { return {"a thread", job_->given_name()}; }

 private:
  struct job final : lonely_job {
    template <class G, class... B>
    explicit job(abandon how, G&& fn, B&&... args)
        : lonely_job(std::move(how)), kept(std::forward<G>(fn), std::forward<B>(args)...) {}
    void call() override { kept.call_with(this->stop_); }
    kept_thread_call<R, F, A...> kept;
  };
  void start() override { job_->submit_for(*this); }
  bool abort() noexcept override {
    bool still_ours = true;
    const bool goes_on = job_->leave(still_ours);
    if (!still_ours) static_cast<void>(job_.release());  // its thread destroys it
    return goes_on;
  }

  std::unique_ptr<job> job_;
};

// As with spawn: lvalues of what is kept; moved only where a parameter takes a move-only argument by value.
template <class F, class... A>
struct thread_result : kept_call<F, A...> {};
template <class F, class... A>
  requires std::is_invocable_v<F&, std::stop_token, A&...> ||
           (!std::is_invocable_v<F&, A&...> && std::is_invocable_v<F&, std::stop_token, A...>)
struct thread_result<F, A...> : std::conditional_t<std::is_invocable_v<F&, std::stop_token, A&...>,
                                                   std::invoke_result<F&, std::stop_token, A&...>,
                                                   std::invoke_result<F&, std::stop_token, A...>> {};

}  // namespace detail

/// Calls `fn(args...)`, or `fn(std::stop_token, args...)` if it takes one, on a thread of the loop's pool.
///
/// Result:        that of `fn`. Arguments are copied (moved) into the call; pass `std::ref` for what outlives it.
/// Errors:        what `fn` throws, the same object. `std::system_error` when no thread can be started that could ever get to it; the
///                next call tries again.
/// Cancellation:  not begun yet: it will not run. Running: the stop token is asked, and the task waits for `fn` to return,
///                because a thread cannot be stopped from outside; a result that comes is delivered, and if `fn` throws
///                `belay::stopped` the task is cancelled. So a timeout around it is late by as long as `fn` takes, unless you
///                `abandon` it.
/// Time:          at most `loop_options::blocking_threads` at once; others wait in order.
/// Thread:        `fn` must not touch what tasks use at the same time. Signals to the process do not come to its thread, where they are
///                blocked; a process that it starts inherits that, and does not hear SIGTERM: give it a mask of its own
///                (`posix_spawnattr_setsigmask`), or start it on a loop's thread.
template <class F, class... A>
[[nodiscard]] auto to_thread(F&& fn, A&&... args)
  requires(!std::same_as<std::remove_cvref_t<F>, abandon>)
{
  using result = typename detail::thread_result<std::decay_t<F>, std::unwrap_ref_decay_t<A>...>::type;
  return detail::thread_call<result, std::decay_t<F>, std::unwrap_ref_decay_t<A>...>(
      std::forward<F>(fn), std::forward<A>(args)...);
}

/// The same, for a function that may be left behind: when the task is cancelled while it runs, the task goes on at once, and the thread is
/// left to finish.
///
///     co_await with_timeout(1s, to_thread(abandon("look up the host"), look_up, std::string(host)));
///
/// Result:        that of `fn`, by value.
/// Errors:        what `fn` throws, the same object. If it throws after it was abandoned: the failure sink gets the error, on the loop's
///                thread, with a note that says so.
/// Cancellation:  not begun yet: it will not run. Running: the stop token is asked, and the task is unwound without waiting.
///                Finished, and its answer on the way: delivered.
/// Lifetime:      the call owns all it uses, because nobody waits for it: no captures (they could be references; pass them as arguments),
///                no pointers, `std::ref`, `std::string_view`, `std::span` (compile errors; see `owns_its_data`). Function, arguments and
///                result of an abandoned call are destroyed on its thread.
/// Time:          an abandoned call goes on taking one of the `blocking_threads` until it returns. The loop's destructor (the end of
///                `belay::run`) waits for it up to `loop_options::abandon_limit`, then names it on stderr and leaves the thread behind.
/// Thread:        as above. `loop_statistics` counts them; `loop::abandoned_calls` names those that run.
template <class F, class... A>
[[nodiscard]] auto to_thread(abandon how, F&& fn, A&&... args) {
  using function = std::decay_t<F>;
  using result = typename detail::thread_result<function, std::unwrap_ref_decay_t<A>...>::type;
  static_assert(std::is_empty_v<function> || (owns_its_data<function> && !std::is_class_v<function>),
                "to_thread(abandon, fn, args...): fn has captures, which could be references to what is gone "
                "when the call goes on alone; pass them as arguments");
  static_assert((owns_its_data<std::decay_t<A>> && ...),
                "to_thread(abandon, fn, args...): an argument only refers to its data, which could be gone "
                "when the call goes on alone; pass a value that owns it");
  static_assert(!std::is_reference_v<result>,
                "to_thread(abandon, fn, args...): fn must return a value, not a reference");
  return detail::abandonable_call<result, function, std::decay_t<A>...>(std::move(how), std::forward<F>(fn),
                                                                        std::forward<A>(args)...);
}

}  // namespace belay
