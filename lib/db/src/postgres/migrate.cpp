// SPDX-License-Identifier: Apache-2.0
// Schema steps of PostgreSQL.

#include <belay/db/postgres/migrate.hpp>
#include <belay/db/postgres/transaction.hpp>

#include "../migration_run.hpp"

namespace belay::db::postgres {

BELAY_CORO_WRAPPER task<std::size_t> migrate(database db, std::vector<migration> steps) {
  std::string name = db.name();
  return db::detail::run_migrations(
      std::move(db), std::move(name), std::move(steps),
      // Another program may be at a long step: a limit for locks that is set for requests is none for this.
      {.patience = "SET LOCAL lock_timeout = 0",
       .lock = "SELECT pg_advisory_xact_lock(422826926457)",  // "belay" in ASCII
       .create =
           "CREATE TABLE IF NOT EXISTS belay_migrations (version bigint PRIMARY KEY, name text NOT NULL, "
           "checksum text NOT NULL, applied_at timestamptz NOT NULL)",
       .record =
           "INSERT INTO belay_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, now())"});
}

}  // namespace belay::db::postgres
