// SPDX-License-Identifier: Apache-2.0
#pragma once
// The connections of one database: the generic pool, filled with lines, and those beside it.

#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/db/pool.hpp>
#include <belay/db/postgres/database.hpp>
#include <memory>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "line.hpp"

namespace belay::db::postgres::detail {

// What the pool holds: a line that is dropped at the end.
struct held_line {
  held_line(std::shared_ptr<line> made, bool always) noexcept : open(std::move(made)), reset_always(always) {}
  held_line(const held_line&) = delete;
  held_line& operator=(const held_line&) = delete;
  ~held_line() {
    open->told = {};
    open->drop();
  }
  const std::shared_ptr<line> open;
  const bool reset_always;
};

// The right to use one connection. One that is broken or unclean when it is dropped is replaced.
class lease {
 public:
  explicit lease(db::lease<held_line> held) noexcept : held_(std::move(held)) {}
  [[nodiscard]] line& connection() const noexcept { return *held_->open; }

 private:
  db::lease<held_line> held_;
};

// Keeps connections for a block. Errors: connection_error, when the first ones cannot be made within `acquire_limit`.
[[nodiscard]] managed<db::pool<held_line>> open_lines(std::shared_ptr<connector> from, options settings);

// Thread: the loop's only.
class pool : public std::enable_shared_from_this<pool> {
 public:
  pool(std::shared_ptr<connector> from, options settings, db::pool<held_line> connections);

  // `where` is told by `holders`. Errors: as `database`.
  task<lease> acquire(std::source_location where = std::source_location::current());
  // One beside those that are counted, even while the pool is closing: to ask about another one. It is dropped after its use.
  BELAY_CORO_WRAPPER task<std::shared_ptr<line>> connect_apart() { return from_->connect(); }

  [[nodiscard]] pool_statistics statistics() const noexcept;
  [[nodiscard]] std::vector<pool_holder> holders() const { return connections_.holders(); }
  [[nodiscard]] const std::string& name() const noexcept { return from_->name(); }
  [[nodiscard]] const options& settings() const noexcept { return settings_; }

  void transaction_opened() noexcept { ++transactions_; }
  void transaction_ended() noexcept { --transactions_; }

 private:
  const std::shared_ptr<connector> from_;
  const options settings_;
  const db::pool<held_line> connections_;
  std::size_t transactions_ = 0;
};

// Runs one exchange on a line. Errors: those of the server.
task<std::vector<result>> run_batch(line& on, std::vector<statement> all);

}  // namespace belay::db::postgres::detail
