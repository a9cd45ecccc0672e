// SPDX-License-Identifier: Apache-2.0
#pragma once
// A database on connections of any make: libpq's, or those of a test.

#include <belay/db/postgres/database.hpp>
#include <memory>

#include "line.hpp"

namespace belay::db::postgres::detail {

// As `open`.
[[nodiscard]] managed<database> open_on(std::shared_ptr<connector> from, options settings);

}  // namespace belay::db::postgres::detail
