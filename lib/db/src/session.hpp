// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state of one transaction, shared by the handles to its connection.

#include <belay/core/semaphore.hpp>
#include <belay/core/task.hpp>
#include <belay/db/sqlite/transaction.hpp>
#include <memory>
#include <optional>
#include <string>

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
  std::optional<lease> held;  // none once the transaction has ended
  semaphore turn{1};          // one statement at a time
  std::string lost_because;   // what the database said when it rolled the transaction back
};

// Takes a connection and begins.
task<std::shared_ptr<session>> begin(std::shared_ptr<pool> from, transaction_mode mode);
// Commits or rolls back, and gives the connection back.
task<> end(std::shared_ptr<session> open, bool commit);

}  // namespace belay::db::sqlite::detail
