// SPDX-License-Identifier: Apache-2.0
// Schema steps: which have run, which are to run, and whether they are still what they were.

#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/db/error.hpp>
#include <belay/db/postgres/migrate.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <algorithm>
#include <tuple>

namespace belay::db::postgres {

namespace {

struct applied_step {
  std::int64_t version;
  std::string name;
  std::string checksum;
};

// FNV-1a, 64 bits: finds edits, not forgeries.
std::string checksum_of(const std::string& sql) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : sql) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3U;
  }
  return fmt::format("{:016x}", hash);
}

void require_rising(const database& db, const std::vector<migration>& steps) {
  std::int64_t last = 0;
  for (const migration& step : steps) {
    if (step.version <= last) {
      throw migration_error(error_kind::internal, "bad_migrations",
                            fmt::format("migrate {}: step {} ({}) follows step {}: versions must rise from 1",
                                        db.name(), step.version, step.name, last));
    }
    last = step.version;
  }
}

// The applied steps must be the first ones of the program's, unchanged. Gives how many there are.
std::size_t compare(const database& db, const std::vector<applied_step>& applied,
                    const std::vector<migration>& steps) {
  for (std::size_t i = 0; i < applied.size(); ++i) {
    const applied_step& done = applied[i];
    const std::int64_t newest = steps.empty() ? 0 : steps.back().version;
    if (done.version > newest) {
      throw migration_error(
          error_kind::internal, "newer_schema",
          fmt::format(
              "migrate {}: the database is at version {} ({}), this program knows versions up to {}: start a "
              "newer program, or restore a backup from before the upgrade",
              db.name(), applied.back().version, applied.back().name, newest));
    }
    const migration& wanted = steps[i];  // exists: versions rise on both sides and done.version <= newest
    if (wanted.version != done.version) {
      throw migration_error(
          error_kind::internal, "altered_migration",
          fmt::format(
              "migrate {}: step {} of this program is not the one that has run, which was {} ({}): steps are "
              "only added at the end",
              db.name(), wanted.version, done.version, done.name));
    }
    if (checksum_of(wanted.sql) != done.checksum) {
      throw migration_error(
          error_kind::internal, "altered_migration",
          fmt::format(
              "migrate {}: step {} ({}) was altered since it has run: undo the change and add a new step",
              db.name(), done.version, done.name));
    }
  }
  return applied.size();
}

// Of several programs, one at a time looks and runs, until its transaction ends. The number is "belay" in ASCII.
task<> take_lock(const connection& c) { co_await c.execute("SELECT pg_advisory_xact_lock(422826926457)"); }

task<std::vector<applied_step>> read_applied(const connection& c) {
  const rows found =
      co_await c.query("SELECT version, name, checksum FROM belay_migrations ORDER BY version");
  std::vector<applied_step> applied;
  for (auto& [version, name, checksum] : found.to_tuples<std::int64_t, std::string, std::string>()) {
    applied.push_back({version, std::move(name), std::move(checksum)});
  }
  co_return applied;
}

// Whether it was this program that ran the step.
task<bool> run_next(const connection& c, const database& db, const std::vector<migration>& steps,
                    std::size_t index) {
  co_await take_lock(c);
  const std::size_t done = compare(db, co_await read_applied(c), steps);
  if (done != index) co_return false;
  const migration& step = steps[index];
  try {
    co_await c.execute_script(step.sql);
  } catch (...) {
    current_failure().note(
        fmt::format("migrate {}: while running step {} ({})", db.name(), step.version, step.name));
    throw;
  }
  co_await c.execute(
      "INSERT INTO belay_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, now())",
      step.version, step.name, checksum_of(step.sql));
  co_return true;
}

task<std::size_t> count_applied(const connection& c, const database& db,
                                const std::vector<migration>& steps) {
  co_await take_lock(c);
  co_await c.execute(
      "CREATE TABLE IF NOT EXISTS belay_migrations (version bigint PRIMARY KEY, name text NOT NULL, "
      "checksum text NOT NULL, applied_at timestamptz NOT NULL)");
  co_return compare(db, co_await read_applied(c), steps);
}

}  // namespace

task<std::size_t> migrate(database db, std::vector<migration> steps) {
  require_rising(db, steps);
  std::size_t done = co_await with(transaction(db), [&](connection& c) -> task<std::size_t> {
    co_return co_await count_applied(c, db, steps);
  });
  std::size_t run_here = 0;
  while (done < steps.size()) {
    const bool ran = co_await with(transaction(db), [&](connection& c) -> task<bool> {
      co_return co_await run_next(c, db, steps, done);
    });
    if (ran) ++run_here;
    ++done;  // by this process or another
  }
  co_return run_here;
}

}  // namespace belay::db::postgres
