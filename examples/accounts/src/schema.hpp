// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tables.

#include <belay/db/sqlite/migrate.hpp>
#include <vector>

namespace accounts {

std::vector<belay::db::sqlite::migration> sqlite_schema();

}  // namespace accounts
