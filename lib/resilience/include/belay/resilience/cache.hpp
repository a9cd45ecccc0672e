// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps results for a while, and lets callers who want the same at the same time share one call.

#include <belay/core/outcome.hpp>
#include <belay/core/single_flight.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/detail/sharing.hpp>
#include <belay/resilience/error_filter.hpp>
#include <belay/resilience/policy.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace belay {

struct cache_options {
  /// How long a value is fresh. More than zero.
  any_duration fresh_for = std::chrono::seconds(10);
  /// For how long after that it is given when loading fails with an error of `stale_on`. Zero: never.
  any_duration stale_for = duration::zero();
  error_filter stale_on = transient_errors() || types<rejected_error>();
  /// How many values are kept; the one not used for the longest time goes. At least 1.
  std::size_t most = 1000;
  std::string name = "cache";
  policy_listener listener = {};
};

struct cache_statistics {
  std::uint64_t hits = 0;
  std::uint64_t loads = 0;  ///< calls that led to a load, or waited for the one under way
  std::uint64_t stale = 0;  ///< old values given because loading failed
  std::size_t size = 0;
};

namespace detail {

struct cache_shared {
  cache_options options;
  cache_statistics counts = {};
  home_thread home = {};

  explicit cache_shared(cache_options given);
  void hit(duration age);
  // Not too old to be given at all?
  [[nodiscard]] bool may_be_given(duration age) const noexcept;
  // Is the old value, of that age, given instead of `how`? Then its failure is handled. Not to who is cancelled.
  [[nodiscard]] bool gives_stale(const outcome_base& how, duration age);
  [[nodiscard]] std::string describe() const;
};

}  // namespace detail

/// Values by key, loaded when they are not there. What guards the loading belongs inside:
///
///     cache<std::string, quote> quotes([&](const std::string& symbol) -> task<quote> {
///       co_return co_await guarded(fetch, symbol);
///     }, {.fresh_for = 30s});
///     const quote q = co_await quotes.call("ABC");
///
/// The function is given once and not at each call, because a load may go on for others when the caller who began it is gone
/// (`single_flight`). So a cache is no part of a `pipeline`, but what stands outside of one.
///
/// Lifetime: keeps `load`, with its captures; must outlive the callers. Thread: one loop.
template <class Key, class T, class Hash = std::hash<Key>>
class cache {
  static_assert(std::is_copy_constructible_v<T>,
                "each caller gets a copy of the value: share it with std::shared_ptr");

 public:
  /// Errors: `misuse_error` for options out of range and an empty function.
  explicit cache(task_function<task<T>(const Key&)> load, cache_options options = {})
      : shared_(std::move(options)),
        load_(std::move(load)),
        loading_(loader{this}, shared_.options.name.c_str()) {
    if (!load_) throw misuse_error("cache: made with an empty function");
  }
  cache(const cache&) = delete;
  cache& operator=(const cache&) = delete;

  /// The value for `key`: a fresh one at once, otherwise loaded; callers who come meanwhile wait for the same load.
  ///
  /// Errors:        that of the load, to all who wait for it, unless an old value is there (`stale_for`). Errors are not kept. `misuse_error`
  ///                for a load that needs the value it loads, by whatever way, also through other caches: it would wait for ever.
  /// Cancellation:  this caller leaves; the load goes on while others wait for it (see `single_flight`). The error of a cleanup after it goes
  ///                on: no old value stands in for it.
  /// Events:        `cached`, with the age of the value, and for an old one with the failure it stands in for.
  [[nodiscard]] task<T> call(Key key) {
    shared_.home.require("cache");
    if (const auto found = kept_.find(key); found != kept_.end()) {
      const duration age = now() - found->second.loaded;
      if (age < shared_.options.fresh_for.value()) {
        by_use_.splice(by_use_.begin(), by_use_, found->second.place);
        shared_.hit(age);
        co_return found->second.value;
      }
    }
    ++shared_.counts.loads;
    outcome<T> how = co_await as_outcome(wait_for(key));
    if (!how.succeeded()) {
      std::optional<T> old = stale_value(key, how);
      if (!old) co_await detail::end_with(how);
      co_return std::move(*old);
    }
    co_return how.get_forward();
  }

  /// Forgets one value, or all. What a load under way gives may be as old as what is forgotten: it goes to those who wait for it, and is not
  /// kept; who calls from now on leads to another load.
  void forget(const Key& key) {
    loading_.forget(key);
    under_way_.erase(key);
    if (const auto found = kept_.find(key); found != kept_.end()) erase(found);
  }
  void clear() noexcept {
    loading_.forget_all();
    under_way_.clear();
    kept_.clear();
    by_use_.clear();
  }

  [[nodiscard]] std::string_view name() const noexcept { return shared_.options.name; }
  /// "cache: fresh for 10 s, at most 1000 values"
  [[nodiscard]] std::string describe() const { return shared_.describe(); }
  [[nodiscard]] cache_statistics statistics() const noexcept {
    cache_statistics counts = shared_.counts;
    counts.size = kept_.size();
    return counts;
  }

 private:
  struct entry {
    T value;
    time_point loaded;
    typename std::list<Key>::iterator place;
  };
  using map = std::unordered_map<Key, entry, Hash>;

  struct loader {
    cache* of;
    task<T> operator()(const Key& key) {
      const wanted_load here(*of, key);
      T value = co_await of->load_(key);
      if (here.is_wanted()) of->keep(key, value);
      co_return value;
    }
  };
  // A load whose value is to be kept: until it ends, or its key is forgotten.
  class wanted_load {
   public:
    wanted_load(cache& of, const Key& key) : of_(&of), key_(&key), number_(++of.loads_begun_) {
      of.under_way_.insert_or_assign(key, number_);
    }
    wanted_load(const wanted_load&) = delete;
    wanted_load& operator=(const wanted_load&) = delete;
    ~wanted_load() {
      if (is_wanted()) of_->under_way_.erase(*key_);
    }
    [[nodiscard]] bool is_wanted() const {
      const auto found = of_->under_way_.find(*key_);
      return found != of_->under_way_.end() && found->second == number_;
    }

   private:
    cache* of_;
    const Key* key_;
    std::uint64_t number_;
  };

  task<T> wait_for(const Key& key) { co_return co_await loading_.call(key); }

  // A copy, because `stale_on` may forget the value.
  std::optional<T> stale_value(const Key& key, const detail::outcome_base& how) {
    const auto found = kept_.find(key);
    if (found == kept_.end()) return std::nullopt;
    const duration age = now() - found->second.loaded;
    if (!shared_.may_be_given(age)) return std::nullopt;
    std::optional<T> old(found->second.value);
    if (!shared_.gives_stale(how, age)) old.reset();
    return old;
  }

  // An old value stays until the new one is there; never half of each.
  void keep(const Key& key, const T& value) {
    T copy(value);
    if (const auto known = kept_.find(key); known != kept_.end()) {
      erase(known);
    } else if (kept_.size() >= shared_.options.most) {
      erase(kept_.find(by_use_.back()));
    }
    by_use_.push_front(key);
    try {
      kept_.emplace(key, entry{std::move(copy), now(), by_use_.begin()});
    } catch (...) {
      by_use_.pop_front();
      throw;
    }
  }
  void erase(typename map::iterator at) {
    by_use_.erase(at->second.place);
    kept_.erase(at);
  }

  detail::cache_shared shared_;
  task_function<task<T>(const Key&)> load_;
  map kept_;
  std::list<Key> by_use_;                                   // the one used last is first
  std::unordered_map<Key, std::uint64_t, Hash> under_way_;  // the number of the load whose value is wanted
  std::uint64_t loads_begun_ = 0;
  single_flight<Key, T, Hash> loading_;
};

}  // namespace belay
