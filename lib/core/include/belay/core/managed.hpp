// SPDX-License-Identifier: Apache-2.0
#pragma once
// Async context managers: one coroutine that opens, hands out, is told how the block ended, and closes.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/task.hpp>
#include <functional>
#include <source_location>
#include <utility>

namespace belay {

template <class T>
class managed;

namespace detail {

template <class T>
struct managed_promise : basic_promise<resource_frame> {
  using value_type = void;
  exit_status ended_how;
  bool closing = false;

  managed<T> get_return_object() noexcept;

  class yield_awaiter {
   public:
    using belay_awaiter_tag = void;
    explicit yield_awaiter(managed_promise& self) noexcept : self_(&self) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<managed_promise>) noexcept { resource_opened(*self_); }
    exit_status await_resume() noexcept { return std::move(self_->ended_how); }

   private:
    managed_promise* self_;
  };

  // The resource may be a variable of the coroutine or a temporary; it lives until the block has ended.
  yield_awaiter yield_value(T& resource) { return hand_out(resource); }
  yield_awaiter yield_value(T&& resource) { return hand_out(resource); }

  void return_void() noexcept {
    if (closing) {
      static_cast<outcome<void>*>(this->result)->emplace();
    } else {
      this->result->set_failed(never_yielded());
    }
  }

 private:
  yield_awaiter hand_out(T& resource) {
    if (closing) throw_yielded_twice();
    static_cast<outcome<T&>*>(this->result)->emplace(&resource);
    this->handed_out = &resource;
    return yield_awaiter(*this);
  }
};

// Runs a managed coroutine up to its co_yield.
template <class T>
class open_awaiter {
 public:
  using belay_awaiter_tag = void;
  explicit open_awaiter(resource_frame*& resource) noexcept : resource_(&resource) {}
  open_awaiter(const open_awaiter&) = delete;
  open_awaiter& operator=(const open_awaiter&) = delete;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    // From here on the frame belongs to the await: when opening fails it is gone.
    opening_ = std::exchange(*resource_, nullptr);
    return await_frame(parent.promise(), *opening_, result_, delivery::plain);
  }
  T& await_resume() {
    if (result_.how() != ending::value) [[unlikely]]
      rethrow_record(result_.failed_with().take_record());
    *resource_ = opening_;
    return result_.take();
  }

 private:
  resource_frame** resource_;
  resource_frame* opening_ = nullptr;
  outcome<T&> result_;
};

}  // namespace detail

/// A resource with asynchronous opening and closing, written as one coroutine:
///
///     belay::managed<connection> transaction(pool& p) {
///       connection c = co_await p.acquire();
///       co_await c.execute("begin");
///       belay::exit_status how = co_yield c;       // the block runs here
///       co_await c.execute(how.succeeded() ? "commit" : "rollback");
///     }
///
/// Result:        used through `with` or `use`, which give a `T&`.
/// Errors:        before the `co_yield`: the block does not run, the error passes through. After it: the block's error stays
///                primary, that of the closing part is attached; if the block succeeded or was cancelled, the
///                closing error is the error. Without a `co_yield`, or with two: `misuse_error`.
/// Cancellation:  before the `co_yield`: unwinds it like any task. The closing part is shielded from
///                cancellation and bounded by the loop's `cleanup_limit`; overrunning is a `timeout_error`.
/// Lifetime:      dropped without being opened: no code runs.
template <class T>
class [[nodiscard]] BELAY_CORO_TYPE managed {
 public:
  using promise_type = detail::managed_promise<T>;
  using value_type = T;

  managed(managed&& other) noexcept : resource_(std::exchange(other.resource_, nullptr)) {}
  managed& operator=(managed&& other) noexcept {
    std::swap(resource_, other.resource_);
    return *this;
  }
  ~managed() {
    if (resource_ != nullptr) detail::destroy_unopened(*resource_);
  }

  // For `with` and its kin. `open` gives T&; afterwards the frame is this object's again.
  [[nodiscard]] detail::open_awaiter<T> open() noexcept {
    if (resource_ == nullptr) [[unlikely]]
      detail::abort_on_empty_resource();
    return detail::open_awaiter<T>(resource_);
  }
  [[nodiscard]] detail::resource_frame& release() noexcept {
    if (resource_ == nullptr) [[unlikely]]
      detail::abort_on_empty_resource();
    return *std::exchange(resource_, nullptr);
  }
  static void tell(detail::resource_frame& resource, exit_status how) noexcept {
    auto& self = static_cast<promise_type&>(resource);
    self.ended_how = std::move(how);
    self.closing = true;
    self.at_yield = false;
  }

 private:
  friend promise_type;
  explicit managed(detail::resource_frame& resource) noexcept : resource_(&resource) {}
  detail::resource_frame* resource_;
};

namespace detail {

template <class T>
managed<T> managed_promise<T>::get_return_object() noexcept {
  this->handle = std::coroutine_handle<managed_promise>::from_promise(*this);
  this->tell = [](resource_frame& self, exit_status how) noexcept { managed<T>::tell(self, std::move(how)); };
  return managed<T>(*this);
}

template <class T>
class use_awaiter {
 public:
  using belay_awaiter_tag = void;
  explicit use_awaiter(managed<T>&& resource) noexcept : resource_(&resource.release()), inner_(resource_) {}
  use_awaiter(const use_awaiter&) = delete;
  use_awaiter& operator=(const use_awaiter&) = delete;
  ~use_awaiter() {
    if (resource_ != nullptr) destroy_unopened(*resource_);
  }
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    user_ = &parent.promise();
    drop_value_ = [](outcome_base& result) noexcept {
      static_cast<outcome<typename Promise::value_type>&>(result).drop_value();
    };
    return inner_.await_suspend(parent);
  }
  T& await_resume() {
    T& opened = inner_.await_resume();
    resource_frame& resource = *std::exchange(resource_, nullptr);
    resource.drop_value = drop_value_;
    resource.next_cleanup = user_->cleanups;
    user_->cleanups = &resource;
    return opened;
  }

 private:
  resource_frame* resource_;
  open_awaiter<T> inner_;
  frame* user_ = nullptr;
  void (*drop_value_)(outcome_base&) noexcept = nullptr;
};

}  // namespace detail

/// Opens `resource`, runs `body(T&)`, then closes it, whatever happened.
///
/// Result, Errors, Cancellation: see `managed`. The body's value is given once the resource is closed.
template <class T, class F>
[[nodiscard]] auto with(managed<T> resource, F body,
                        std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, T&> {
  using result = typename std::invoke_result_t<F&, T&>::value_type;
  T& opened = co_await resource.open();
  outcome<result> how = co_await detail::intercept(detail::call_as_task(body, opened));
  {
    detail::cleanup_scope shield(where);
    shield.arm();
    outcome<void> closed = co_await detail::close_awaiter(resource.release(), exit_status::of(how), shield);
    shield.disarm();
    detail::merge_cleanup(how, closed, shield, [&]() noexcept { how.drop_value(); });
  }
  if (!how.succeeded()) {
    detail::refresh_cancellation(how);
    co_await detail::end_with(how);
  }
  if constexpr (std::is_void_v<result>) {
    co_return;
  } else {
    co_return how.get_forward();
  }
}

/// Opens `resource` for the rest of the awaiting coroutine: it is closed when that one ends, in reverse order of
/// opening, before its awaiter goes on.
///
/// Lifetime: the coroutine's locals are gone by then (its parameters are not; when it is cancelled or ended by `fail`, locals go
///           last), so `resource` must not refer to them; for that, use `with`.
template <class T>
[[nodiscard]] detail::use_awaiter<T> use(managed<T> resource) noexcept {
  return detail::use_awaiter<T>(std::move(resource));
}

}  // namespace belay
