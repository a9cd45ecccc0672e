// SPDX-License-Identifier: Apache-2.0
#pragma once
// The connections of one database, handed out by turns and taken back clean.

#include <belay/core/semaphore.hpp>
#include <belay/core/task.hpp>
#include <belay/db/postgres/database.hpp>
#include <memory>
#include <string>
#include <vector>

#include "line.hpp"

namespace belay::db::postgres::detail {

class pool;

// The right to use one connection. One that is broken, unclean or too old when it is dropped is closed.
class lease {
 public:
  lease(std::shared_ptr<pool> owner, permit turn) noexcept;
  lease(lease&& other) noexcept = default;
  lease& operator=(lease&&) = delete;
  ~lease();

  [[nodiscard]] line& connection() const noexcept { return *line_; }

 private:
  friend class pool;
  std::shared_ptr<pool> pool_;  // null when moved from
  permit turn_;
  std::shared_ptr<line> line_;  // none while it is being made
  time_point born_{};
};

// Thread: the loop's only.
class pool : public std::enable_shared_from_this<pool> {
 public:
  pool(std::shared_ptr<connector> from, options settings);

  // Makes the first connections, to see that the database can be used.
  task<> open();
  // Waits for all leases, then closes everything.
  task<> close();
  // Closes now what is free, and what is in use when it is given back. For what an orderly closing left.
  void abort() noexcept;

  task<lease> acquire();
  // One beside those that are counted, even while the pool is closing: to ask about another one. It is dropped after its use.
  task<std::shared_ptr<line>> connect_apart();

  [[nodiscard]] pool_statistics statistics() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept { return from_->name(); }
  [[nodiscard]] const options& settings() const noexcept { return settings_; }

  void transaction_opened() noexcept { ++transactions_; }
  void transaction_ended() noexcept { --transactions_; }

 private:
  friend class lease;
  struct idle_line {
    std::shared_ptr<line> open;
    time_point born;
    time_point since;
  };

  void take_back(std::shared_ptr<line> used, time_point born) noexcept;
  [[noreturn]] void throw_closed() const;
  task<std::shared_ptr<line>> connect(time_point until);
  task<bool> answers(line& asked);

  const std::shared_ptr<connector> from_;
  const options settings_;
  semaphore free_;
  std::vector<idle_line> idle_;  // the last used at the end; room for all
  std::size_t in_use_ = 0;
  std::size_t transactions_ = 0;
  std::uint64_t opened_ = 0;
  std::uint64_t replaced_ = 0;
  std::uint64_t failures_ = 0;
  bool closing_ = false;
};

// Runs one exchange on a line. Errors: those of the server.
task<std::vector<result>> run_batch(line& on, std::vector<statement> all);

}  // namespace belay::db::postgres::detail
