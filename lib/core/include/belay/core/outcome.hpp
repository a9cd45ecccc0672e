// SPDX-License-Identifier: Apache-2.0
#pragma once
// The three ways in which work ends: value, error, cancelled. Never mixed up.

#include <belay/core/cancel.hpp>
#include <belay/core/error.hpp>
#include <belay/core/failure.hpp>
#include <functional>
#include <memory>
#include <new>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace belay {

/// Stands for `void` where a value is needed (`all(task<>, task<int>)` gives `tuple<unit, int>`).
using unit = std::monostate;

template <class T>
using unit_if_void = std::conditional_t<std::is_void_v<T>, unit, T>;

/// How a container or an optional holds a result: void as `unit`, a reference as `std::reference_wrapper`.
template <class T>
using held = std::conditional_t<std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>,
                                unit_if_void<T>>;

/// How far work is. All but `pending` are final: what has succeeded, failed or been cancelled stays so.
enum class completion : unsigned char { pending, succeeded, failed, cancelled };
/// "pending", "succeeded", "failed", "cancelled".
[[nodiscard]] std::string_view to_string(completion how) noexcept;

namespace detail {

enum class ending : unsigned char { pending, value, failed, cancelled };

static_assert(static_cast<int>(completion::succeeded) == static_cast<int>(ending::value) &&
              static_cast<int>(completion::failed) == static_cast<int>(ending::failed) &&
              static_cast<int>(completion::cancelled) == static_cast<int>(ending::cancelled));

// The part of an outcome that does not depend on its type: the runtime moves failures and cancellations between
// frames without knowing what the frames return.
class outcome_base {
 public:
  [[nodiscard]] ending how() const noexcept { return how_; }

  void set_failed(ref<failure_record> record) noexcept;
  void set_cancelled(ref<cancel_record::data> record) noexcept;
  // Takes the error or cancellation of `other` over. Neither holds a value.
  void take_trouble(outcome_base& other) noexcept {
    detail_ = std::move(other.detail_);
    how_ = other.how_;
    other.how_ = ending::pending;
  }
  [[nodiscard]] failure failed_with() const noexcept;
  // Only while it holds an error. Not a new owner: no reference counting on the way up.
  [[nodiscard]] failure_record& failed_record() const noexcept {
    return static_cast<failure_record&>(*detail_);
  }
  [[nodiscard]] cancel_record cancelled_by() const noexcept;

 protected:
  outcome_base() noexcept = default;
  ~outcome_base() = default;
  // What was moved from is pending again; a value is the derived class's business.
  outcome_base(outcome_base&& other) noexcept : detail_(std::move(other.detail_)), how_(other.how_) {
    if (how_ != ending::value) other.how_ = ending::pending;
  }
  outcome_base(const outcome_base&) = delete;
  outcome_base& operator=(const outcome_base&) = delete;

  [[noreturn]] void throw_trouble(std::source_location where) const;

  ref<refcounted> detail_;  // failure_record or cancel_record::data
  ending how_ = ending::pending;
};

}  // namespace detail

/// How an operation ended: a value, an error, or cancelled. Move-only.
/// An outcome that holds an error and is dropped without a look (`failure()`, `value()`) is reported to the sink.
template <class T>
class [[nodiscard]] outcome : public detail::outcome_base {
  using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, unit_if_void<T>>;

 public:
  outcome() noexcept {}
  outcome(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>)
      : outcome_base(std::move(other)) {
    if (how_ == detail::ending::value) {
      // The base has taken its own part only. NOLINTNEXTLINE(bugprone-use-after-move)
      std::construct_at(&value_, std::move(other.value_));
      other.drop_value();
    }
  }
  outcome& operator=(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>) {
    if (this != &other) {
      drop_value();
      if (other.how_ == detail::ending::value) {
        detail_ = nullptr;
        how_ = detail::ending::pending;  // stays so if the move throws
        std::construct_at(&value_, std::move(other.value_));
        how_ = detail::ending::value;
        other.drop_value();
      } else {
        take_trouble(other);
      }
    }
    return *this;
  }
  ~outcome() { drop_value(); }

  [[nodiscard]] bool succeeded() const noexcept { return how_ == detail::ending::value; }
  [[nodiscard]] bool failed() const noexcept { return how_ == detail::ending::failed; }
  [[nodiscard]] bool cancelled() const noexcept { return how_ == detail::ending::cancelled; }
  explicit operator bool() const noexcept { return succeeded(); }
  /// Pending: nothing has ended in it yet, or it was moved from.
  [[nodiscard]] completion state() const noexcept { return static_cast<completion>(how_); }

  /// The value. Failed: throws the error. Cancelled: throws `child_cancelled` with the record's text.
  [[nodiscard]] decltype(auto) value(std::source_location where = std::source_location::current()) & {
    require_value(where);
    return get();
  }
  [[nodiscard]] unit_if_void<T> value(std::source_location where = std::source_location::current()) && {
    require_value(where);
    return take();
  }

  /// The failure; none when it did not fail. Marks it observed.
  [[nodiscard]] belay::failure failure() const noexcept {
    if (!failed()) return {};
    belay::failure found = failed_with();
    found.observe();
    return found;
  }
  /// Who cancelled it; empty when it was not cancelled.
  [[nodiscard]] cancel_record cancellation() const noexcept {
    return cancelled() ? cancelled_by() : cancel_record();
  }

  // For the machinery of tasks: fill in and move out, unchecked.
  template <class... A>
  void emplace(A&&... args) {
    std::construct_at(&value_, std::forward<A>(args)...);
    how_ = detail::ending::value;
  }
  void drop_value() noexcept {
    if (how_ == detail::ending::value) {
      std::destroy_at(&value_);
      how_ = detail::ending::pending;
    }
  }
  [[nodiscard]] decltype(auto) get() noexcept {
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value_);
    } else {
      return static_cast<stored&>(value_);
    }
  }
  // As the argument of co_return: a reference stays one, a value is moved.
  [[nodiscard]] std::conditional_t<std::is_reference_v<T>, T, stored&&> get_forward() noexcept {
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value_);
    } else {
      return std::move(value_);
    }
  }
  [[nodiscard]] unit_if_void<T> take() {
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value_);
    } else {
      return std::move(value_);
    }
  }

 private:
  void require_value(std::source_location where) const {
    if (how_ != detail::ending::value) [[unlikely]]
      throw_trouble(where);
  }

  union {
    stored value_;
  };
};

/// How a block ended, told to the cleanup that follows it (`managed`, `use`).
class exit_status {
 public:
  exit_status() noexcept = default;  // succeeded
  static exit_status of(const detail::outcome_base& how) noexcept;

  [[nodiscard]] bool succeeded() const noexcept { return !failure_ && !cancelled_; }
  [[nodiscard]] bool failed() const noexcept { return static_cast<bool>(failure_); }
  [[nodiscard]] bool cancelled() const noexcept { return static_cast<bool>(cancelled_); }
  [[nodiscard]] const belay::failure& failure() const noexcept { return failure_; }
  [[nodiscard]] const cancel_record& cancellation() const noexcept { return cancelled_; }

 private:
  belay::failure failure_;
  cancel_record cancelled_;
};

}  // namespace belay
