// SPDX-License-Identifier: Apache-2.0
#pragma once
// Brings the schema of a database up to what the program needs, step by step, each step once.

#include <belay/core/task.hpp>
#include <belay/db/migration.hpp>
#include <belay/db/postgres/database.hpp>
#include <vector>

namespace belay::db::postgres {

using db::migration;

/// Runs the migrations that the database has not seen, in order, each in its own transaction, and records them with a checksum in the
/// table `belay_migrations`. Several programs may do so at the same time: they wait for each other by an advisory lock.
///
/// Result:        how many were run now.
/// Errors:        `migration_error`, before anything is changed: the database is newer than the program (code `newer_schema`); a step that
///                has run was altered, removed, or one was put before it (`altered_migration`); versions do not rise (`bad_migrations`). A
///                failing step: its own error with a note that names it; it is rolled back, the steps before it stay.
/// Cancellation:  rolls the step under way back.
[[nodiscard]] task<std::size_t> migrate(database db, std::vector<migration> steps);

}  // namespace belay::db::postgres
