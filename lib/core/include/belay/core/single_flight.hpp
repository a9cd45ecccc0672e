// SPDX-License-Identifier: Apache-2.0
#pragma once
// Callers who want the same at the same time share one call (against stampedes on a cache or a database).

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/detail/wait_list.hpp>
#include <belay/core/task_function.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace belay {

namespace detail {

// Calls under way that wait for each other: each knows which others are waited for inside of it. So a call that would wait for itself, by
// whatever way and through whatever objects, is found before it waits.
struct flight_base;

// A caller who is inside of a call himself.
class flight_edge {
 public:
  flight_edge() noexcept = default;
  flight_edge(const flight_edge&) = delete;
  flight_edge& operator=(const flight_edge&) = delete;
  ~flight_edge() { cut(); }
  inline void connect(flight_base* inside, flight_base& waits_for) noexcept;
  void cut() noexcept {
    if (link_ == nullptr) return;
    *link_ = next_;
    if (next_ != nullptr) next_->link_ = link_;
    link_ = nullptr;
  }

 private:
  friend struct flight_base;
  flight_base* for_ = nullptr;
  flight_edge* next_ = nullptr;
  flight_edge** link_ = nullptr;
};

struct flight_base {
  group_core call;  // one task

  flight_base() { here().insert_or_assign(&call.inner_scope(), this); }
  flight_base(const flight_base&) = delete;
  flight_base& operator=(const flight_base&) = delete;
  ~flight_base() {
    here().erase(&call.inner_scope());
    call.close();
  }

  // The call that the task is part of. The scopes of calls stand right below the outermost one.
  [[nodiscard]] static flight_base* around(const node& task) noexcept {
    if (here().empty()) return nullptr;
    const scope* walk = task.current;
    const scope* below_outermost = nullptr;
    for (; walk->parent != nullptr; walk = walk->parent) below_outermost = walk;
    const auto found = here().find(below_outermost);
    return found != here().end() ? found->second : nullptr;
  }
  // Does this call wait for `other`, by itself or by way of those that it waits for?
  [[nodiscard]] bool waits_for(const flight_base& other) noexcept {
    static constinit thread_local std::uint64_t searches = 0;
    const std::uint64_t now = ++searches;
    flight_base* open = this;
    next_open_ = nullptr;
    seen_ = now;
    while (open != nullptr) {
      flight_base* const one = std::exchange(open, open->next_open_);
      if (one == &other) return true;
      for (const flight_edge* edge = one->waiting_; edge != nullptr; edge = edge->next_) {
        if (std::exchange(edge->for_->seen_, now) == now) continue;
        edge->for_->next_open_ = open;
        open = edge->for_;
      }
    }
    return false;
  }

 private:
  friend class flight_edge;
  using map = std::unordered_map<const scope*, flight_base*>;
  static map& here() noexcept {
    thread_local map all;
    return all;
  }
  flight_edge* waiting_ = nullptr;
  flight_base* next_open_ = nullptr;
  std::uint64_t seen_ = 0;
};

void flight_edge::connect(flight_base* inside, flight_base& waits_for) noexcept {
  if (inside == nullptr) return;
  for_ = &waits_for;
  next_ = inside->waiting_;
  if (next_ != nullptr) next_->link_ = &next_;
  link_ = &inside->waiting_;
  inside->waiting_ = this;
}

}  // namespace detail

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
      if (in_->how.failed()) [[unlikely]]
        throw_own();
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
      detail::flight_base* const inside = detail::flight_base::around(*detail::this_runtime->current);
      in_ = &of_->join(key_, where_, inside);
      ++in_->holders;
      edge_.connect(inside, *in_);
      this->enter(in_->callers);
    }
    // Not the last one: the call goes on for the others. The last one cancels it, and waits until it has ended.
    bool abort() noexcept override {
      if (in_->callers.size() > 1) {
        edge_.cut();
        this->leave();
        return true;
      }
      leaving_ = true;
      in_->unlist();
      detail::cancel_scope(in_->call.inner_scope(), detail::effective_record(*this->task()->current));
      return false;
    }
    // Each caller has a record of his own, because what he does with the error is written there: notes, the trace, what he attaches. The
    // last one may have that of the call.
    [[noreturn]] void throw_own() {
      const failure common = in_->how.failed_with();
      if (in_->holders == 1) common.rethrow();
      const failure mine = detail::twin_of(common);
      mine.record()->attached = common.record()->attached;
      common.observe();  // that is for the callers to do now
      mine.rethrow();
    }
    void ended() noexcept {
      edge_.cut();
      if (!leaving_ || !in_->how.cancelled()) return this->wake();
      this->leave();
      this->complete_cancelled();
    }

    single_flight* of_;
    Key key_;
    std::source_location where_;
    flight* in_ = nullptr;
    detail::flight_edge edge_;
    bool leaving_ = false;
  };

  /// Waits for the result for `key`, starting the call if none is under way.
  ///
  /// Errors:        that of the call, to all who wait for it: the same exception, with a record (trace, notes) for each. `misuse_error` when the
  ///                call for that key waits for the one that asks, directly or by way of others, also of other objects: they
  ///                would wait for each other for ever.
  /// Cancellation:  this caller leaves. The call goes on while others wait for it; the last one cancels it and waits for its
  ///                cleanup; if it finishes nevertheless, its result is delivered. A caller who comes while a call
  ///                that was given up still cleans up starts a new one.
  [[nodiscard]] awaiter call(Key key, std::source_location where = std::source_location::current()) {
    return awaiter(*this, std::move(key), where);
  }

  /// The call for `key` that is under way, if there is one, goes on for those who wait for it; who calls from now on gets a new one.
  void forget(const Key& key) noexcept {
    if (const auto found = flights_.find(key); found != flights_.end()) found->second->unlist();
  }
  void forget_all() noexcept {
    for (const auto& [key, one] : flights_) one->listed = false;
    flights_.clear();
  }

  /// Calls under way that can be joined.
  [[nodiscard]] std::size_t size() const noexcept { return flights_.size(); }

 private:
  struct flight : detail::flight_base {
    flight(single_flight& owner, const Key& wanted) : of(&owner), key(wanted) {}
    single_flight* of;
    Key key;
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

  flight& join(const Key& key, std::source_location where, detail::flight_base* asking) {
    detail::node& caller = *detail::this_runtime->current;
    if (const auto found = flights_.find(key); found != flights_.end()) {
      if (asking != nullptr && found->second->waits_for(*asking)) refuse(found->second == asking);
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
  [[noreturn]] void refuse(bool itself) const {
    throw misuse_error(std::string("single_flight '") + name_ +
                       (itself
                            ? "': a call for this key by the call for this key would wait for itself"
                            : "': the call for this key waits for the one that asks for it now: they would "
                              "wait for each other for ever"));
  }

  task_function<task<T>(const Key&)> load_;
  const char* name_;
  std::unordered_map<Key, flight*, Hash> flights_;
  detail::wait_list nobody_;
};

}  // namespace belay
