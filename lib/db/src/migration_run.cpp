// SPDX-License-Identifier: Apache-2.0
// Whether the steps of a schema are still what they were.

#include "migration_run.hpp"

#include <fmt/format.h>

#include <belay/db/error.hpp>
#include <tuple>

namespace belay::db::detail {

// FNV-1a, 64 bits: finds edits, not forgeries.
std::string checksum_of(const std::string& sql) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : sql) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3U;
  }
  return fmt::format("{:016x}", hash);
}

void require_rising(const std::string& database, const std::vector<migration>& steps) {
  std::int64_t last = 0;
  for (const migration& step : steps) {
    if (step.version <= last) {
      throw migration_error(error_kind::internal, "bad_migrations",
                            fmt::format("migrate {}: step {} ({}) follows step {}: versions must rise from 1",
                                        database, step.version, step.name, last));
    }
    last = step.version;
  }
}

std::size_t count_applied(const std::string& database, const rows& applied,
                          const std::vector<migration>& steps) {
  const auto all = applied.to_tuples<std::int64_t, std::string, std::string>();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& [version, name, checksum] = all[i];
    const std::int64_t newest = steps.empty() ? 0 : steps.back().version;
    if (version > newest) {
      throw migration_error(
          error_kind::internal, "newer_schema",
          fmt::format(
              "migrate {}: the database is at version {} ({}), this program knows versions up to {}: start a "
              "newer program, or restore a backup from before the upgrade",
              database, std::get<0>(all.back()), std::get<1>(all.back()), newest));
    }
    const migration& wanted = steps[i];  // exists: versions rise on both sides and version <= newest
    if (wanted.version != version) {
      throw migration_error(
          error_kind::internal, "altered_migration",
          fmt::format(
              "migrate {}: step {} of this program is not the one that has run, which was {} ({}): steps are "
              "only added at the end",
              database, wanted.version, version, name));
    }
    if (checksum_of(wanted.sql) != checksum) {
      throw migration_error(
          error_kind::internal, "altered_migration",
          fmt::format(
              "migrate {}: step {} ({}) was altered since it has run: undo the change and add a new step",
              database, version, name));
    }
  }
  return all.size();
}

void note_step(const std::string& database, const migration& step) {
  current_failure().note(
      fmt::format("migrate {}: while running step {} ({})", database, step.version, step.name));
}

}  // namespace belay::db::detail
