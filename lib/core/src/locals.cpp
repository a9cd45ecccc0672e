// SPDX-License-Identifier: Apache-2.0
// Where the values of task_locals are found.

#include <belay/core/detail/locals.hpp>

namespace belay::detail {

constinit std::atomic<bool> any_locals{false};

namespace {

constinit thread_local binding* of_this_thread = nullptr;

}  // namespace

binding* bindings_of(const scope& here) noexcept {
  for (const scope* walk = &here; walk != nullptr; walk = walk->parent) {
    if (walk->has_value) return static_cast<const local_scope*>(walk)->bindings.get();
  }
  return nullptr;
}

binding* current_bindings() noexcept {
  if (this_runtime == nullptr) return of_this_thread;
  return this_runtime->current != nullptr ? bindings_of(*this_runtime->current->current) : nullptr;
}

const binding* find_binding(const void* key) noexcept {
  for (const binding* walk = current_bindings(); walk != nullptr; walk = walk->outer.get()) {
    if (walk->key == key) return walk;
  }
  return nullptr;
}

thread_bindings::thread_bindings(const ref<binding>& all) noexcept : before_(of_this_thread) {
  of_this_thread = all.get();
}
thread_bindings::~thread_bindings() { of_this_thread = before_; }

}  // namespace belay::detail
