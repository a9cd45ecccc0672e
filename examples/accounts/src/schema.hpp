// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tables.

#include <belay/db/postgres/migrate.hpp>
#include <belay/db/sqlite/migrate.hpp>
#include <vector>

namespace accounts {

std::vector<belay::db::sqlite::migration> sqlite_schema();
std::vector<belay::db::postgres::migration> postgres_schema();

}  // namespace accounts
