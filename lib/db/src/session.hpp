// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state of one transaction, shared by the handles to its connection.

#include <belay/core/semaphore.hpp>
#include <belay/core/task.hpp>
#include <belay/db/sqlite/transaction.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

#include "sqlite_pool.hpp"

namespace belay::db::sqlite::detail {

struct session {
  session(std::shared_ptr<pool> owner, lease taken) : from(std::move(owner)), held(std::move(taken)) {}
  session(const session&) = delete;
  session& operator=(const session&) = delete;
  ~session() {
    if (held) from->transaction_ended();
  }

  // The database itself, or a statement, ended the transaction before its time. Only with the turn.
  void require_transaction() const;
  void give_back() noexcept;

  const std::shared_ptr<pool> from;
  std::optional<lease> held;              // none once the transaction has ended
  semaphore turn{1};                      // one statement at a time
  std::string lost_because;               // what the database said when it rolled the transaction back
  std::vector<std::uint64_t> savepoints;  // that are open, innermost last
  std::uint64_t next_savepoint = 1;
};

// Takes a connection and begins.
task<std::shared_ptr<session>> begin(std::shared_ptr<pool> from, transaction_mode mode,
                                     std::source_location where);
// Commits or rolls back, and gives the connection back.
task<> end(std::shared_ptr<session> open, bool commit);

// Gives its number.
task<std::uint64_t> begin_savepoint(std::shared_ptr<session> open);
task<> end_savepoint(std::shared_ptr<session> open, std::uint64_t number, const std::string& name, bool keep);

}  // namespace belay::db::sqlite::detail
