// SPDX-License-Identifier: Apache-2.0
#pragma once
// The values of task_locals: an immutable list of bindings, shared by all that inherit it, found through the scopes.

#include <belay/core/detail/ref.hpp>
#include <belay/core/detail/runtime.hpp>
#include <atomic>
#include <utility>

namespace belay::detail {

struct binding : refcounted {
  binding(const void* of, ref<binding> before) noexcept : key(of), outer(std::move(before)) {}
  const void* key;  // the task_local
  ref<binding> outer;
};
template <class T>
struct value_binding final : binding {
  template <class U>
  value_binding(const void* of, ref<binding> before, U&& given)
      : binding(of, std::move(before)), value(std::forward<U>(given)) {}
  const T value;
};

// A scope in which other bindings hold.
struct local_scope : scope {
  explicit local_scope(ref<binding> all) noexcept : bindings(std::move(all)) { has_value = true; }
  ref<binding> bindings;
};

// Was there ever a value? As long as not, spawning costs nothing more.
extern constinit std::atomic<bool> any_locals;

// Those of `here`; null when there are none.
[[nodiscard]] binding* bindings_of(const scope& here) noexcept;
// Those of the running task; on a thread of `to_thread`, those of the task that called.
[[nodiscard]] binding* current_bindings() noexcept;
[[nodiscard]] const binding* find_binding(const void* key) noexcept;

// For the threads of `to_thread`: what holds while the call runs.
class thread_bindings {
 public:
  explicit thread_bindings(const ref<binding>& all) noexcept;
  thread_bindings(const thread_bindings&) = delete;
  thread_bindings& operator=(const thread_bindings&) = delete;
  ~thread_bindings();

 private:
  binding* before_;
};

}  // namespace belay::detail
