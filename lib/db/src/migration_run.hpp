// SPDX-License-Identifier: Apache-2.0
#pragma once
// Migrations of any database: which have run, which are to run, and whether they are still what they were.

#include <belay/core/failure.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/db/migration.hpp>
#include <belay/db/row.hpp>
#include <string>
#include <utility>
#include <vector>

namespace belay::db::detail {

// What each database says in its own words.
struct migration_words {
  const char* patience = nullptr;  // for the lock, and for those of the steps; null: what the database has
  const char* lock;  // until the end of the transaction, for one program at a time; null: its BEGIN does that
  const char* create;  // the table of what has run, unless it is there
  const char* record;  // version, name, checksum
};

// Errors: migration_error.
void require_rising(const std::string& database, const std::vector<migration>& steps);

// Of `applied`, each with version, name and checksum, in the order of the versions: they must be the first ones of `steps`, unchanged.
// Errors: migration_error.
[[nodiscard]] std::size_t count_applied(const std::string& database, const rows& applied,
                                        const std::vector<migration>& steps);
[[nodiscard]] std::string checksum_of(const std::string& sql);
// Notes at the current failure which step it was.
void note_step(const std::string& database, const migration& step);

// `Database` has a `transaction(db)` beside it.
template <class Database>
class migration_run {
 public:
  migration_run(Database db, std::string name, std::vector<migration> steps, migration_words words)
      : db_(std::move(db)), name_(std::move(name)), steps_(std::move(steps)), words_(words) {}

  // How many were run here.
  task<std::size_t> run() {
    require_rising(name_, steps_);
    const auto look = [this](auto& c) -> task<std::size_t> { co_return co_await this->first_look(c); };
    std::size_t done = co_await with(transaction(db_), look);
    std::size_t run_here = 0;
    while (done < steps_.size()) {
      const auto next = [this, done](auto& c) -> task<bool> { co_return co_await this->run_next(c, done); };
      if (co_await with(transaction(db_), next)) ++run_here;
      ++done;  // by this program or another
    }
    co_return run_here;
  }

 private:
  template <class Connection>
  task<std::size_t> first_look(const Connection& c) {
    co_await take_lock(c);
    co_await c.execute(words_.create);
    co_return co_await look(c);
  }
  template <class Connection>
  task<> take_lock(const Connection& c) {
    if (words_.patience != nullptr) co_await c.execute(words_.patience);
    if (words_.lock != nullptr) co_await c.execute(words_.lock);
  }
  template <class Connection>
  task<std::size_t> look(const Connection& c) {
    co_return count_applied(
        name_, co_await c.query("SELECT version, name, checksum FROM belay_migrations ORDER BY version"),
        steps_);
  }
  // Whether it was this program that ran the step.
  template <class Connection>
  task<bool> run_next(const Connection& c, std::size_t index) {
    co_await take_lock(c);
    if (co_await look(c) != index) co_return false;
    const migration& step = steps_[index];
    try {
      co_await c.execute_script(step.sql);
    } catch (...) {
      note_step(name_, step);
      throw;
    }
    co_await c.execute(words_.record, step.version, step.name, checksum_of(step.sql));
    co_return true;
  }

  const Database db_;
  const std::string name_;
  const std::vector<migration> steps_;
  const migration_words words_;
};

template <class Database>
task<std::size_t> run_migrations(Database db, std::string name, std::vector<migration> steps,
                                 migration_words words) {
  migration_run<Database> all(std::move(db), std::move(name), std::move(steps), words);
  co_return co_await all.run();
}

}  // namespace belay::db::detail
