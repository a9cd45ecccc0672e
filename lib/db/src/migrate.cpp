// SPDX-License-Identifier: Apache-2.0
// Schema steps of SQLite.

#include <belay/db/sqlite/migrate.hpp>
#include <belay/db/sqlite/transaction.hpp>

#include "migration_run.hpp"

namespace belay::db::sqlite {

BELAY_CORO_WRAPPER task<std::size_t> migrate(database db, std::vector<migration> steps) {
  std::string path = db.path();
  return db::detail::run_migrations(
      std::move(db), std::move(path), std::move(steps),
      {.lock = nullptr,  // the transaction has the one for writing
       .create =
           "CREATE TABLE IF NOT EXISTS belay_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
           "checksum TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT",
       .record = "INSERT INTO belay_migrations (version, name, checksum, applied_at) "
                 "VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"});
}

}  // namespace belay::db::sqlite
