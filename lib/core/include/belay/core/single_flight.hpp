// SPDX-License-Identifier: Apache-2.0
#pragma once
// Callers who want the same at the same time share one call (against stampedes on a cache or a database).

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/detail/wait_list.hpp>
#include <belay/core/task_function.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace belay {

/// Runs `load(key)` at most once at a time for each key; whoever calls meanwhile gets the same result. Nothing is cached: the next call
/// after the end runs anew.
///
///     single_flight<int, user> users([&pool](const int& id) { return read_user(pool, id); });
///     user one = co_await users.call(7);
///
/// The running call belongs to all of its callers together, and ends before the last of them goes on. So it has none of their deadlines,
/// but that of each applies to his own waiting. Task-local values are those of the caller who started it.
///
/// Lifetime: keeps `load`, with its captures, and the keys; must outlive the callers. Thread: the loop's only.
template <class Key, class T, class Hash = std::hash<Key>>
class single_flight {
  static_assert(std::is_void_v<T> || std::is_reference_v<T> || std::is_copy_constructible_v<T>,
                "each caller gets a copy of the result: share it with std::shared_ptr");

  struct flight;

 public:
  explicit single_flight(task_function<task<T>(const Key&)> load, const char* name = "")
      : load_(std::move(load)), name_(name) {
    if (!load_) throw misuse_error("single_flight: made with an empty function");
  }
  single_flight(const single_flight&) = delete;
  single_flight& operator=(const single_flight&) = delete;

  class awaiter final : public detail::list_wait {
   public:
    awaiter(single_flight& of, Key&& key, std::source_location where)
        : list_wait(of.nobody_), of_(&of), key_(std::move(key)), where_(where) {}
    awaiter(const awaiter&) = delete;
    awaiter& operator=(const awaiter&) = delete;
    ~awaiter() {
      if (in_ != nullptr && --in_->holders == 0) delete in_;
    }
    T await_resume() {
      if constexpr (std::is_void_v<T>) {
        static_cast<void>(in_->how.value(where_));
      } else {
        if (in_->holders == 1) return std::move(in_->how).value(where_);
        return in_->how.value(where_);
      }
    }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"single_flight", of_->name_}; }

   private:
    friend single_flight;
    void start() override {
      in_ = &of_->join(key_, where_);
      ++in_->holders;
      this->enter(in_->callers);
    }
    // Not the last one: the call goes on for the others. The last one cancels it, and waits until it has ended.
    bool abort() noexcept override {
      if (in_->callers.size() > 1) {
        this->leave();
        return true;
      }
      leaving_ = true;
      in_->unlist();
      detail::cancel_scope(in_->call.inner_scope(), detail::effective_record(*this->task()->current));
      return false;
    }
    void ended() noexcept {
      if (!leaving_ || !in_->how.cancelled()) return this->wake();
      this->leave();
      this->complete_cancelled();
    }

    single_flight* of_;
    Key key_;
    std::source_location where_;
    flight* in_ = nullptr;
    bool leaving_ = false;
  };

  /// Waits for the result for `key`, starting the call if none is under way.
  ///
  /// Errors:        that of the call, to all who wait for it. `misuse_error` when called for a key by the call for that key.
  /// Cancellation:  this caller leaves. The call goes on while others wait for it; the last one cancels it and waits for its
  ///                cleanup; if it finishes nevertheless, its result is delivered. A caller who comes while a call
  ///                that was given up still cleans up starts a new one.
  [[nodiscard]] awaiter call(Key key, std::source_location where = std::source_location::current()) {
    return awaiter(*this, std::move(key), where);
  }

  /// Calls under way that can be joined.
  [[nodiscard]] std::size_t size() const noexcept { return flights_.size(); }

 private:
  struct flight {
    flight(single_flight& owner, const Key& wanted) : of(&owner), key(wanted) {}
    flight(const flight&) = delete;
    flight& operator=(const flight&) = delete;
    ~flight() { call.close(); }
    single_flight* of;
    Key key;
    detail::group_core call;  // one task
    detail::wait_list callers;
    outcome<T> how;
    std::size_t holders = 0;  // callers who have not gone yet
    bool listed = false;

    void unlist() noexcept {
      if (std::exchange(listed, false)) of->flights_.erase(key);
    }
    // No caller goes on before this turn is over, so `this` outlives the task.
    void land() noexcept {
      unlist();
      while (!callers.empty()) static_cast<awaiter*>(callers.front())->ended();
    }
  };

  // Part of the frame of the call: also a call that is cancelled before it begins tells its callers.
  class landing {
   public:
    explicit landing(flight& of) noexcept : of_(&of) {}
    landing(landing&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    landing& operator=(landing&&) = delete;
    ~landing() {
      if (of_ == nullptr) return;
      if (!of_->how.succeeded() && !of_->how.failed())
        of_->how.set_cancelled(of_->call.inner_scope().record.shared());
      of_->land();
    }

   private:
    flight* of_;
  };

  static task<> fly(flight& it, landing) {
    it.how = co_await detail::intercept(detail::call_as_task(it.of->load_, it.key));
  }

  flight& join(const Key& key, std::source_location where) {
    detail::node& caller = *detail::this_runtime->current;
    if (const auto found = flights_.find(key); found != flights_.end()) {
      for (const detail::scope* walk = caller.current; walk != nullptr; walk = walk->parent) {
        if (walk == &found->second->call.inner_scope()) refuse();
      }
      return *found->second;
    }
    auto made = std::make_unique<flight>(*this, key);
    flights_.emplace(key, made.get());
    made->listed = true;
    made->call.open(where, "single_flight");
    // Below the main task, and shielded: nothing that cancels a caller, or limits his time, reaches it. What watches the caller watches it.
    detail::scope* outermost = caller.current;
    while (outermost->parent != nullptr) outermost = outermost->parent;
    detail::scope& inside = made->call.inner_scope();
    inside.shielded = true;
    inside.attach_to(outermost);
    inside.at_gate |= caller.current->at_gate & detail::gate_watched;
    try {
      detail::adopt_task(made->call, fly(*made, landing(*made)), where);
    } catch (...) {
      made->unlist();
      throw;
    }
    return *made.release();
  }
  [[noreturn]] void refuse() const {
    throw misuse_error(std::string("single_flight '") + name_ +
                       "': a call for this key by the call for this key would wait for itself");
  }

  task_function<task<T>(const Key&)> load_;
  const char* name_;
  std::unordered_map<Key, flight*, Hash> flights_;
  detail::wait_list nobody_;
};

}  // namespace belay
