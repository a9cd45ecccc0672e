// SPDX-License-Identifier: Apache-2.0
#pragma once
// What all pools share: the line, the connections and their states, and the task that opens, checks, resets and closes them.

#include <belay/core/detail/group_core.hpp>
#include <belay/core/detail/wait_list.hpp>
#include <belay/core/event.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/db/pool_options.hpp>
#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace belay::db::detail {

[[noreturn]] void throw_pool_misuse(const std::string& what);
[[noreturn]] void throw_opened_nothing();

// A connection, whatever its type.
struct pool_member {
  pool_member() noexcept = default;
  pool_member(const pool_member&) = delete;
  pool_member& operator=(const pool_member&) = delete;
  virtual ~pool_member() = default;
};

template <class T>
class member_of final : public pool_member {
 public:
  explicit member_of(std::unique_ptr<T> held) noexcept : held_(std::move(held)) {}
  [[nodiscard]] T& held() const noexcept { return *held_; }

 private:
  std::unique_ptr<T> held_;
};

enum class after_lease : unsigned char { clean, used, broken };  // as db::returned_as

// The user's functions, whatever their type.
struct member_functions {
  member_functions() noexcept = default;
  member_functions(const member_functions&) = delete;
  member_functions& operator=(const member_functions&) = delete;
  virtual ~member_functions() = default;
  BELAY_CORO_WRAPPER virtual task<std::unique_ptr<pool_member>> open() = 0;
  BELAY_CORO_WRAPPER virtual task<bool> check(pool_member& one) = 0;
  BELAY_CORO_WRAPPER virtual task<> reset(pool_member& one) = 0;
  BELAY_CORO_WRAPPER virtual task<> close(pool_member& one) = 0;
  [[nodiscard]] virtual after_lease inspect(const pool_member& one) const noexcept = 0;
  [[nodiscard]] virtual bool passes(const failure& why) const noexcept = 0;
  [[nodiscard]] virtual bool checks() const noexcept = 0;
  [[nodiscard]] virtual bool closes() const noexcept = 0;
};

template <class T, class Functions, class Returned>
class functions_of final : public member_functions {
 public:
  explicit functions_of(Functions given) noexcept : given_(std::move(given)) {}
  task<std::unique_ptr<pool_member>> open() override {
    std::unique_ptr<T> made = co_await or_fail(given_.open());
    if (!made) throw_opened_nothing();
    co_return std::make_unique<member_of<T>>(std::move(made));
  }
  BELAY_CORO_WRAPPER task<bool> check(pool_member& one) override { return given_.check(of(one)); }
  BELAY_CORO_WRAPPER task<> reset(pool_member& one) override { return given_.reset(of(one)); }
  BELAY_CORO_WRAPPER task<> close(pool_member& one) override { return given_.close(of(one)); }
  [[nodiscard]] after_lease inspect(const pool_member& one) const noexcept override {
    if (given_.inspect == nullptr) return given_.reset ? after_lease::used : after_lease::clean;
    const Returned said = given_.inspect(static_cast<const member_of<T>&>(one).held());
    if (said == Returned::broken) return after_lease::broken;
    return said == Returned::used && given_.reset ? after_lease::used : after_lease::clean;
  }
  [[nodiscard]] bool passes(const failure& why) const noexcept override {
    return given_.passes != nullptr && given_.passes(why);
  }
  [[nodiscard]] bool checks() const noexcept override { return static_cast<bool>(given_.check); }
  [[nodiscard]] bool closes() const noexcept override { return static_cast<bool>(given_.close); }

 private:
  static T& of(pool_member& one) noexcept { return static_cast<member_of<T>&>(one).held(); }
  Functions given_;
};

class pool_core;
class pool_wait;

// Who has taken something, when and where.
struct lease_origin {
  time_point at{};
  std::source_location where;
  std::source_location spawned_at;
  belay::detail::task_label task;
  bool main_task = false;
  bool no_task = false;

  // `task`: none for a callback of the loop.
  static lease_origin of(const belay::detail::node* task, std::source_location where, time_point at) noexcept;
  [[nodiscard]] pool_holder holder(time_point now_is) const;
};

enum class tending : unsigned char { nothing, check, reset, close, replace, retire };

// Room for one connection. It is in the list of the pool that tells its state.
struct pool_slot {
  std::unique_ptr<pool_member> member;
  time_point expires_at = time_point::max();
  time_point idle_since{};
  time_point proven_at = time_point::min();  // opened or checked
  // While it is leased, and until it is tended to:
  lease_origin leased;
  bool broken = false;
  bool told = false;    // that it is held for long
  bool unused = false;  // the lease never reached its task
  tending needs = tending::nothing;
};
using slot_list = std::list<pool_slot>;

// One slot, for whoever holds this.
class pool_grant {
 public:
  pool_grant() noexcept = default;
  pool_grant(std::shared_ptr<pool_core> from, slot_list::iterator slot) noexcept
      : from_(std::move(from)), slot_(slot) {}
  pool_grant(pool_grant&& other) noexcept : from_(std::exchange(other.from_, nullptr)), slot_(other.slot_) {}
  pool_grant& operator=(pool_grant&& other) noexcept {
    std::swap(from_, other.from_);
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~pool_grant() {
    if (from_) give_back();
  }
  explicit operator bool() const noexcept { return from_ != nullptr; }
  [[nodiscard]] pool_member& member() const noexcept { return *slot_->member; }
  void mark_broken() noexcept {
    if (from_) slot_->broken = true;
  }
  void mark_unused() noexcept {
    if (from_) slot_->unused = true;
  }
  void give_back() noexcept;

 private:
  std::shared_ptr<pool_core> from_;
  slot_list::iterator slot_{};
};

// Thread: the loop's.
class pool_core : public std::enable_shared_from_this<pool_core> {
 public:
  pool_core(pool_options options, std::unique_ptr<member_functions> functions);
  pool_core(const pool_core&) = delete;
  pool_core& operator=(const pool_core&) = delete;
  ~pool_core();

  // Errors: closed_error.
  void require_open(const char* call) const;
  // Empty when that needs waiting.
  [[nodiscard]] pool_grant take_now(std::source_location where) noexcept;
  // Until `min` connections are there. Errors: the first one.
  [[nodiscard]] task<> filled();

  [[nodiscard]] pool_statistics statistics() const noexcept;
  [[nodiscard]] std::vector<pool_holder> holders() const;
  [[nodiscard]] const pool_options& options() const noexcept { return options_; }

 private:
  friend class pool_grant;
  friend class pool_wait;
  friend managed<unit> run_pool(std::shared_ptr<pool_core> core, std::source_location where);

  class at_work;  // a task that has a slot

  void start(std::source_location where);
  void begin_closing() noexcept;
  [[nodiscard]] duration drain_limit() const noexcept;
  task<> until_drained();
  [[nodiscard]] std::exception_ptr left_over(duration waited) const noexcept;
  void cancel_all(std::source_location where) noexcept;
  void end() noexcept;

  // Slots, by what becomes of them.
  [[nodiscard]] bool has_expired(const pool_slot& one, time_point at) const noexcept;
  [[nodiscard]] bool needs_check(const pool_slot& one, time_point at) const noexcept;
  [[nodiscard]] bool idle_too_long(const pool_slot& one, time_point at) const noexcept;
  [[nodiscard]] std::size_t total() const noexcept;
  [[nodiscard]] std::size_t staying() const noexcept;
  [[nodiscard]] std::size_t openings_wanted() const noexcept;
  [[nodiscard]] bool take_fresh(std::size_t wanted, time_point at, slot_list::iterator& which) noexcept;
  void lend(slot_list::iterator which, std::source_location where, const belay::detail::node* to,
            time_point at) noexcept;
  void came_back(slot_list::iterator which) noexcept;
  void set_needs(slot_list& from, slot_list::iterator which, tending what) noexcept;
  void set_idle(slot_list& from, slot_list::iterator which) noexcept;
  void serve_line(time_point at) noexcept;
  void count_closed(const pool_slot& one) noexcept;
  void destroy(slot_list& from, slot_list::iterator which) noexcept;
  void look_drained() noexcept;

  // The tasks of the pool.
  task<> keep();
  task<> look_and_wait();
  task<> until_woken();
  task<> until_fill_changed();
  void attend();
  void retire_idle(time_point at) noexcept;
  void replace_idle_since(time_point since, time_point at) noexcept;
  [[nodiscard]] time_point leaves_at(const pool_slot& one, bool surplus) const noexcept;
  [[nodiscard]] time_point next_look(time_point at) const noexcept;
  void tell_leaks(time_point at) noexcept;
  void tell_leak(const pool_slot& one, time_point at, bool over) const noexcept;
  task<> open_one(at_work mine, std::uint64_t line_begun_at);
  task<> tend(at_work mine);
  task<std::unique_ptr<pool_member>> ask_open();
  task<bool> ask_check(pool_member& one);
  task<> ask_reset(pool_member& one);
  task<> ask_close(pool_member& one);
  void opened(slot_list::iterator which, std::unique_ptr<pool_member> member) noexcept;
  void opening_failed(const failure& why, std::uint64_t line_begun_at) noexcept;

  [[nodiscard]] std::string occupation() const;
  [[nodiscard]] std::exception_ptr busy(std::source_location where, bool too_many) const noexcept;
  [[nodiscard]] bool is_trying() const noexcept;
  [[nodiscard]] failure not_passed() const noexcept;
  [[nodiscard]] std::exception_ptr closed(const char* call, std::source_location where) const noexcept;

  const pool_options options_;
  const std::unique_ptr<member_functions> functions_;
  belay::detail::wait_list line_;
  slot_list idle_;      // the one used last first
  slot_list used_;      // the one leased first first
  slot_list returned_;  // to be checked, reset or closed
  slot_list tended_;    // a task is at it
  slot_list opening_;
  std::size_t becoming_free_ = 0;  // of returned_ and tended_: those that will be idle, if all goes well
  std::uint64_t next_ticket_ = 0;  // of the next one who waits
  unsigned failed_in_row_ = 0;     // openings
  time_point pause_until_ = time_point::min();
  failure last_failure_;                    // of them, while they fail
  time_point look_at_ = time_point::max();  // when the keeper looks again, if nobody wakes it
  bool look_failed_ = false;
  bool closing_ = false;
  bool over_ = false;  // nothing runs any more: what comes back is destroyed
  bool filling_ = false;
  failure fill_failed_;
  event wake_{"work for a pool"};
  event fill_changed_{"a connection of the pool"};
  event drained_{"connections to be given back"};
  belay::detail::group_core openers_;
  belay::detail::group_core tasks_;
  pool_statistics counted_;
};

// Stands in line for a connection.
class pool_wait final : public belay::detail::prompt_wait<pool_wait>, private belay::detail::timer_node {
 public:
  pool_wait(std::shared_ptr<pool_core> from, std::source_location where) noexcept;
  pool_wait(const pool_wait&) = delete;
  pool_wait& operator=(const pool_wait&) = delete;
  ~pool_wait() { granted_.mark_unused(); }
  pool_grant await_resume();
  [[nodiscard]] bool try_now();
  [[nodiscard]] awaited waits_for() const noexcept override;

 private:
  friend class pool_core;
  void grant(slot_list::iterator slot, time_point at) noexcept;
  void refuse(std::exception_ptr why) noexcept;
  void refuse(failure why, bool shared) noexcept;
  bool abort() noexcept override;
  void stop_timer() noexcept;
  static void timed_out(timer_node& timer) noexcept;

  std::shared_ptr<pool_core> from_;
  std::source_location where_;
  std::uint64_t ticket_ = 0;
  time_point since_{};
  pool_grant granted_;
  std::exception_ptr refused_;
  failure not_opened_;
  bool shared_ = false;  // others get the same failure
};

// Keeps the pool's tasks up for a block.
[[nodiscard]] managed<unit> run_pool(std::shared_ptr<pool_core> core, std::source_location where);

}  // namespace belay::db::detail
