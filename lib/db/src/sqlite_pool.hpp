// SPDX-License-Identifier: Apache-2.0
#pragma once
// The connections of one database, handed out by turns and taken back clean.

#include <belay/core/semaphore.hpp>
#include <belay/core/task.hpp>
#include <belay/db/detail/pool_core.hpp>
#include <belay/db/sqlite/database.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <stop_token>
#include <string>
#include <vector>

#include "sqlite_handle.hpp"

namespace belay::db::sqlite::detail {

using lock_deadline = std::chrono::steady_clock::time_point;

// Room for one connection. Empty until it is needed, and after its connection had to be closed.
struct slot {
  explicit slot(handle::role as) : role(as) {}
  handle::role role;
  std::unique_ptr<handle> open;
  bool in_use = false;
  db::detail::lease_origin taken;  // while it is in use
};

class pool;

// The right to use one connection. Dropped with a transaction still open, the next who gets the connection rolls it back first.
class lease {
 public:
  lease(std::shared_ptr<pool> owner, permit turn, slot& taken, std::source_location where) noexcept;
  lease(lease&& other) noexcept = default;
  lease& operator=(lease&&) = delete;
  ~lease();

  [[nodiscard]] handle& connection() const noexcept { return *slot_->open; }
  // When the wait for locks must end: the time in line counts, too.
  [[nodiscard]] lock_deadline deadline() const noexcept { return deadline_; }
  // A new budget, for the next operation.
  void renew_deadline() noexcept;

  // Closes the connection; the next one who gets this slot opens a new one. Never throws. A database in memory would be gone with it:
  // there it is left to the next one to roll back.
  task<> replace();

 private:
  friend class pool;
  std::shared_ptr<pool> pool_;  // null when moved from
  permit turn_;
  slot* slot_;
  lock_deadline deadline_;
};

// Loop thread only, but for the handles, which belong to whoever has the lease.
class pool : public std::enable_shared_from_this<pool> {
 public:
  pool(std::string path, options settings);

  // Opens the writing connection, to see that the database can be used.
  task<> open();
  // Waits for all leases, then closes everything.
  task<> close();
  // Closes now what is free, on the loop's thread, and what is in use when it is given back. For what an orderly closing left.
  void abort() noexcept;

  // `where` is told by `holders`.
  task<lease> acquire(handle::role as, std::source_location where);

  [[nodiscard]] pool_statistics statistics() const noexcept;
  // Who has it longest first.
  [[nodiscard]] std::vector<pool_holder> holders() const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const options& settings() const noexcept { return settings_; }
  [[nodiscard]] bool is_in_memory() const noexcept { return path_ == ":memory:"; }

  void transaction_opened() noexcept { ++transactions_; }
  void transaction_ended() noexcept { --transactions_; }

  // Only while no other thread uses it: to cause faults in it.
  [[nodiscard]] handle& writing_connection_for_tests() noexcept { return *writer_.open; }

 private:
  friend class lease;
  [[noreturn]] void throw_closed() const;
  [[noreturn]] void throw_no_connection(handle::role as) const;

  const std::string path_;
  const options settings_;
  slot writer_{handle::role::writer};
  std::vector<slot> readers_;
  semaphore writer_free_{1};
  std::optional<semaphore> readers_free_;  // none without readers
  std::size_t transactions_ = 0;
  std::uint64_t replaced_ = 0;
  bool closing_ = false;
  bool aborted_ = false;
};

}  // namespace belay::db::sqlite::detail
