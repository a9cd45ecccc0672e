// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where the bank keeps its data, whatever database that is.

#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/db/row.hpp>
#include <belay/db/sqlite/database.hpp>
#include <belay/db/value.hpp>
#include <belay/service/lifespan.hpp>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace accounts {

/// Statements none of which needs what another one gives: a database that is a server gets them in one round trip.
class batch {
 public:
  struct statement {
    std::string sql;
    belay::db::parameters bound;
  };

  template <class... P>
  void add(std::string_view sql, P&&... bound) {
    all_.push_back({std::string(sql), belay::db::make_parameters(std::forward<P>(bound)...)});
  }
  [[nodiscard]] std::vector<statement> take() && noexcept { return std::move(all_); }

 private:
  std::vector<statement> all_;
};

/// Takes SQL, in what all databases here have in common, with a `?` for each parameter. Where they differ, the text asks `for_update`,
/// `now`, and the two about the order of transfers.
///
/// Errors:        those of <belay/db/error.hpp>.
/// Cancellation:  the statement is stopped in the database, and waited for.
class statements {
 public:
  statements() = default;
  statements(const statements&) = delete;
  statements& operator=(const statements&) = delete;
  virtual ~statements() = default;

  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] belay::task<belay::db::change> execute(std::string_view sql,
                                                                          P&&... bound) const {
    return run_execute(std::string(sql), belay::db::make_parameters(std::forward<P>(bound)...));
  }
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] belay::task<belay::db::rows> query(std::string_view sql,
                                                                      P&&... bound) const {
    return run_query(std::string(sql), belay::db::make_parameters(std::forward<P>(bound)...));
  }
  /// One row at most.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] belay::task<std::optional<belay::db::row>> query_one(std::string_view sql,
                                                                                        P&&... bound) const {
    return run_query_one(std::string(sql), belay::db::make_parameters(std::forward<P>(bound)...));
  }

  /// In a transaction: one after the other, up to the first that fails, whose error it is. Gives the rows of each.
  BELAY_CORO_WRAPPER [[nodiscard]] belay::task<std::vector<belay::db::rows>> run(batch all) const {
    return run_batch(std::move(all).take());
  }

  /// The end of a SELECT in a transaction whose rows nobody else shall change until it ends.
  [[nodiscard]] virtual std::string_view for_update() const noexcept = 0;
  /// An expression for the id that was given last in this transaction.
  [[nodiscard]] virtual std::string_view last_id() const noexcept = 0;
  /// An expression for the present time, as text in RFC 3339.
  [[nodiscard]] virtual std::string_view now() const noexcept = 0;
  /// The end of a SELECT from `transfers`: those that come after the one whose id is the first parameter, as many as the second says, in an
  /// order in which none will ever be put before one that was seen.
  [[nodiscard]] virtual std::string_view after_transfer() const noexcept = 0;
  /// Likewise: the last one in that order.
  [[nodiscard]] virtual std::string_view last_transfer() const noexcept = 0;

 private:
  virtual belay::task<belay::db::change> run_execute(std::string sql, belay::db::parameters bound) const = 0;
  virtual belay::task<belay::db::rows> run_query(std::string sql, belay::db::parameters bound) const = 0;
  virtual belay::task<std::optional<belay::db::row>> run_query_one(std::string sql,
                                                                   belay::db::parameters bound) const = 0;
  virtual belay::task<std::vector<belay::db::rows>> run_batch(std::vector<batch::statement> all) const = 0;
};

struct store_statistics {
  std::size_t in_use = 0;        ///< connections that somebody has
  std::size_t idle = 0;          ///< connections that are open and free
  std::size_t waiting = 0;       ///< tasks in line for a connection
  std::size_t transactions = 0;  ///< transactions that are open
};

/// A database. Statements outside of `transact` are each a transaction of their own.
class store : public statements {
 public:
  /// All or nothing: gives what `body` gives and commits, or rolls back when it fails or is cancelled.
  ///
  ///     const row made = co_await db->transact([&](const statements& in) -> task<row> { ... });
  ///
  /// Errors: `outcome_unknown` when nobody can say whether it was committed.
  template <class F>
    requires std::invocable<F&, const statements&>
  [[nodiscard]] auto transact(F body) const
      -> belay::task<typename std::invoke_result_t<F&, const statements&>::value_type> {
    using result = typename std::invoke_result_t<F&, const statements&>::value_type;
    if constexpr (std::is_void_v<result>) {
      co_await run_transaction([&body](const statements& in) -> belay::task<> { co_await body(in); });
    } else {
      std::optional<result> made;
      co_await run_transaction(
          [&body, &made](const statements& in) -> belay::task<> { made.emplace(co_await body(in)); });
      co_return std::move(*made);
    }
  }

  /// Makes the tables, or brings them up to what this program needs.
  [[nodiscard]] virtual belay::task<> migrate() const = 0;
  [[nodiscard]] virtual store_statistics statistics() const noexcept = 0;

 private:
  virtual belay::task<> run_transaction(
      belay::task_function<belay::task<>(const statements&)> body) const = 0;
};

/// The store of an app, open between its steps.
using database = belay::service::resource<store>;

/// `postgresql://...` and `postgres://...`.
[[nodiscard]] bool is_postgres_name(std::string_view name) noexcept;
/// Opens what `name` says: `sqlite:PATH` or `postgresql://...`.
[[nodiscard]] BELAY_CORO_WRAPPER belay::managed<store> open_store(std::string name);
/// The bank's data in an open SQLite database, which goes on after it.
[[nodiscard]] belay::managed<store> lend_store(belay::db::sqlite::database open);
/// `open_store` of either kind.
[[nodiscard]] belay::managed<store> open_sqlite_store(std::string name);
[[nodiscard]] belay::managed<store> open_postgres_store(std::string url);

}  // namespace accounts
