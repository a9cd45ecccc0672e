// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state of one transaction, shared by the handles to its connection.

#include <belay/core/semaphore.hpp>
#include <belay/core/task.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <string>

#include "pool.hpp"

namespace belay::db::postgres::detail {

// What a transaction is called by the server, which gives the numbers that a failover took away again: on another timeline.
struct transaction_number {
  std::string id;
  std::string timeline;
};

struct session {
  session(std::shared_ptr<pool> owner, lease taken, transaction_options options)
      : from(std::move(owner)), held(std::move(taken)), how(options) {}
  session(const session&) = delete;
  session& operator=(const session&) = delete;
  ~session() { give_back(); }

  void give_back() noexcept;
  [[nodiscard]] line& on() const noexcept { return held->connection(); }

  const std::shared_ptr<pool> from;
  std::optional<lease> held;  // none once the transaction has ended
  const transaction_options how;
  semaphore turn{1, "connection"};  // one exchange at a time
  transaction_number number;        // once the server has given it one
  bool number_may_be_new = false;   // something that may have written ran, and the number was not asked
  std::string begin;                // what begins it, until the first statement has taken it along
  std::string lost_because;         // why the transaction is over before its end
  unsigned savepoints = 0;          // open now
};

// Waits for the turn, and sees that the transaction is still there. Errors: closed_error, `transaction_lost`.
[[nodiscard]] task<permit> take_turn(session& open);
// With the turn.
[[nodiscard]] task<std::vector<result>> run_in(session& open, std::vector<statement> all);
// One exchange of another kind, with the turn.
[[nodiscard]] task<> run_other(session& open, exchange_wait& what);

// Takes a connection. The transaction begins with its first statement.
[[nodiscard]] task<std::shared_ptr<session>> begin(std::shared_ptr<pool> from, transaction_options how,
                                                   std::source_location where);
// Commits or rolls back, and gives the connection back.
[[nodiscard]] task<> end(std::shared_ptr<session> open, bool commit);

// How a transaction of the server's process `backend` ended: true, it is committed. Errors: commit_unknown_error, also when the limit of
// the cleanup leaves no time to ask.
[[nodiscard]] task<bool> was_committed(std::shared_ptr<pool> from, transaction_number which, int backend);
// Until the deadline of this cleanup.
[[nodiscard]] duration time_left() noexcept;

// The only row, or none. Errors: statement_error for more.
[[nodiscard]] std::optional<row> at_most_one(rows found, const std::string& database, const std::string& sql);

}  // namespace belay::db::postgres::detail
