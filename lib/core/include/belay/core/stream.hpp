// SPDX-License-Identifier: Apache-2.0
#pragma once
// Asynchronous generators: coroutines that give one item after the other, and are closed on every way out.

#include <belay/core/detail/stream_frame.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <concepts>
#include <coroutine>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay {

template <class T>
class stream;
template <class T>
class open_stream;

namespace detail {

template <class T>
struct stream_promise : basic_promise<stream_frame> {
  using value_type = T*;

  stream<T> get_return_object() noexcept;

  class yield_awaiter {
   public:
    using belay_awaiter_tag = void;
    explicit yield_awaiter(stream_promise& self) noexcept : self_(&self) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<stream_promise>) const noexcept { stream_yielded(*self_); }
    void await_resume() const noexcept {}

   protected:
    stream_promise* self_;
  };
  // Of a constant, the consumer gets a copy.
  class copy_awaiter final : public yield_awaiter {
   public:
    copy_awaiter(stream_promise& self, const T& item) : yield_awaiter(self), copy_(item) {}
    void await_suspend(std::coroutine_handle<stream_promise> yielding) noexcept {
      this->self_->hand_out(copy_, true);
      yield_awaiter::await_suspend(yielding);
    }

   private:
    T copy_;
  };

  // An item may be a variable of the generator or a temporary; it lives until the next step.
  yield_awaiter yield_value(T& item) noexcept { return hand_out(item, false); }
  yield_awaiter yield_value(T&& item) noexcept { return hand_out(item, true); }
  copy_awaiter yield_value(const T& item)
    requires(!std::is_const_v<T> && std::copy_constructible<T>)
  {
    return copy_awaiter(*this, item);
  }
  void return_void() noexcept { static_cast<outcome<T*>*>(this->result)->emplace(nullptr); }

 private:
  yield_awaiter hand_out(T& item, bool temporary) noexcept {
    this->given_away = temporary;
    static_cast<outcome<T*>*>(this->result)->emplace(std::addressof(item));
    return yield_awaiter(*this);
  }
};

template <class T>
class next_awaiter {
 public:
  using belay_awaiter_tag = void;
  next_awaiter(stream_core& of, std::source_location where) noexcept : of_(&of), where_(where) {}
  next_awaiter(const next_awaiter&) = delete;
  next_awaiter& operator=(const next_awaiter&) = delete;
  ~next_awaiter() = default;

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    stream_frame* const generator = of_->to_step(where_);
    runtime& rt = *this_runtime;
    // A loop over items that need no waiting must end, too, when it is cancelled.
    if (rt.current->current->at_gate != gate_open) [[unlikely]] {
      if (stopped_at_gate(rt, parent.promise())) return true;
    }
    if (generator == nullptr) {
      result_.emplace(nullptr);
      return false;
    }
    return step_stream(parent.promise(), *generator, result_);
  }
  T* await_resume() {
    if (result_.how() != ending::value) [[unlikely]] {
      of_->error_came_out();
      rethrow_record(result_.failed_with().take_record());
    }
    return result_.get();
  }

 private:
  stream_core* of_;
  std::source_location where_;
  outcome<T*> result_;
};

}  // namespace detail

/// An asynchronous generator: a coroutine that may `co_await`, and gives items by `co_yield`.
///
///     belay::stream<row> rows(db::pool& pool, std::string query) {
///       db::cursor& at = co_await belay::use(cursor(pool, query));      // closed when the stream ends or is left
///       while (std::optional<row> one = co_await at.fetch()) co_yield *one;
///     }
///
///     co_await belay::with(rows(pool, text), [](belay::open_stream<row>& all) -> belay::task<> {
///       while (row* one = co_await all.next()) { ... }                   // may be left by break, return, an error
///     });
///
/// It is lazy: it runs only while somebody waits in `next`, as part of that task. It cannot be iterated before somebody answers for its
/// end: `with` (closed when the block ends) or `use` (when the coroutine ends), or `for_each` and `to_vector`, which do both. Dropping
/// one that was not opened destroys its arguments and runs no code.
///
/// Result:        items, by pointer: a variable of the generator as it is, without a copy (a constant: a copy; for a view that the consumer
///                cannot change, a `stream<const T>`), or a temporary. Valid until the next step.
/// Errors:        what the generator throws comes out of `next`, once; after that there is no more. Of its cleanup when it is left
///                early: attached to the error of the block, or the error when the block had none.
/// Cancellation:  of a task that waits in `next`: unwinds the generator with it. A generator that is left at a `co_yield` is unwound there
///                as if it were cancelled: its resources of `use` are closed (told so by their `exit_status`), its locals
///                destroyed, and no code after the `co_yield` runs. That is shielded, bounded by the loop's `cleanup_limit`, and
///                has ended before the block's awaiter goes on.
/// Lifetime:      parameters are kept in the frame; what references refer to must outlive the stream.
/// Thread:        the loop's. Each step runs under the scopes (deadlines, `task_local`s) of whoever waits in `next`; a scope cannot
///                be open in a generator while it rests at a `co_yield`.
/// See:           docs/decisions/0033-streams.md
template <class T>
class [[nodiscard("a stream does nothing until it is opened: with, use, for_each")]] BELAY_CORO_TYPE stream {
  static_assert(std::is_object_v<T>,
                "the items of a stream are objects: for references, a stream of pointers");

 public:
  using promise_type = detail::stream_promise<T>;
  using value_type = T;

  stream(stream&& other) noexcept : generator_(std::exchange(other.generator_, nullptr)) {}
  stream& operator=(stream&& other) noexcept {
    std::swap(generator_, other.generator_);
    return *this;
  }
  ~stream() {
    if (generator_ != nullptr) detail::destroy_unopened(*generator_);
  }

 private:
  friend promise_type;
  friend open_stream<T>;
  explicit stream(detail::stream_frame& generator) noexcept : generator_(&generator) {}
  [[nodiscard]] detail::stream_frame& release() noexcept {
    if (generator_ == nullptr) [[unlikely]]
      detail::abort_on_empty_stream();
    return *std::exchange(generator_, nullptr);
  }
  detail::stream_frame* generator_;
};

/// A stream that somebody answers for. Given by `with(stream)` and `use(stream)`.
template <class T>
class open_stream : private detail::stream_core {
 public:
  // For `with` and `use`.
  explicit open_stream(stream<T>&& from) noexcept : stream_core(from.release()) {}
  [[nodiscard]] detail::close_stream_awaiter close_after(exit_status how,
                                                         std::source_location where) noexcept {
    return {*this, std::move(how), where};
  }
  [[nodiscard]] bool item_is_temporary() const noexcept { return generator()->given_away; }

  /// Runs the generator up to its next item: `while (T* item = co_await s.next()) ...`
  ///
  /// Result:        the item, valid until the next step; null when there is no more.
  /// Errors:        those of the generator, once. `child_cancelled` after a `next` that was cancelled while it waited (by a limit around
  ///                it): the generator was unwound, and what is missing is not known. `misuse_error` while another task is in
  ///                `next`, and after `close`.
  /// Cancellation:  requested before: no step is made. While it waits: the generator is unwound.
  [[nodiscard]] detail::next_awaiter<T> next(
      std::source_location where = std::source_location::current()) noexcept {
    return {*this, where};
  }

  /// Ends the stream now, instead of at the end of the block or coroutine. Idempotent.
  ///
  /// Errors:        those of the generator's cleanup. `misuse_error` while a task is in `next`.
  /// Cancellation:  does not reach the cleanup; acts at the next await.
  [[nodiscard]] detail::close_stream_awaiter close(
      std::source_location where = std::source_location::current()) noexcept {
    return close_after({}, where);
  }

  /// The generator has ended, or was closed.
  [[nodiscard]] bool ended() const noexcept { return stream_core::ended(); }
};

namespace detail {

template <class T>
stream<T> stream_promise<T>::get_return_object() noexcept {
  this->handle = std::coroutine_handle<stream_promise>::from_promise(*this);
  return stream<T>(*this);
}

template <class T>
managed<open_stream<T>> opened(stream<T> from, std::source_location where) {
  open_stream<T> reader(std::move(from));
  exit_status how = co_yield reader;
  co_await reader.close_after(std::move(how), where);
}

}  // namespace detail

/// Opens `from`, runs `body(open_stream<T>&)`, then closes it, whatever happened. See `stream`, and `with` for managed resources.
template <class T, class F>
[[nodiscard]] BELAY_CORO_WRAPPER auto with(stream<T> from, F body,
                                           std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, open_stream<T>&> {
  return with(detail::opened(std::move(from), where), std::move(body), where);
}

/// Opens `from` for the rest of the awaiting coroutine: it is closed when that one ends, before its awaiter goes on; or by `close`.
template <class T>
[[nodiscard]] detail::use_awaiter<open_stream<T>> use(
    stream<T> from, std::source_location where = std::source_location::current()) {
  return use(detail::opened(std::move(from), where));
}

/// Runs `body(item)` for each item, one after the other; awaits what it returns if that is a task.
///
/// Errors:        the first one of the stream or of `body`, after the stream was closed.
/// Cancellation:  reaches both; the stream is closed.
template <class T, class F>
[[nodiscard]] task<> for_each(stream<T> from, F body,
                              std::source_location where = std::source_location::current()) {
  co_await with(
      std::move(from),
      [&body](open_stream<T>& items) -> task<> {
        while (T* item = co_await items.next()) {
          if constexpr (detail::is_task<std::invoke_result_t<F&, T&>>) {
            co_await detail::call(body, *item);
          } else {
            body(*item);
          }
        }
      },
      where);
}

/// All items of a stream that ends.
///
/// Result:        the items; those that are variables of the generator are copied (moved, if they cannot be copied).
/// Errors:        those of the stream; the items before are destroyed.
template <class T>
[[nodiscard]] task<std::vector<std::remove_const_t<T>>> to_vector(
    stream<T> from, std::source_location where = std::source_location::current()) {
  using item_type = std::remove_const_t<T>;
  co_return co_await with(
      std::move(from),
      [](open_stream<T>& items) -> task<std::vector<item_type>> {
        std::vector<item_type> all;
        while (T* item = co_await items.next()) {
          if constexpr (std::copy_constructible<item_type>) {
            if (!items.item_is_temporary()) {
              all.push_back(*item);
              continue;
            }
          }
          all.push_back(std::move(*item));
        }
        co_return all;
      },
      where);
}

}  // namespace belay
