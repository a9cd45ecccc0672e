// SPDX-License-Identifier: Apache-2.0
#pragma once
// A step of a schema's history.

#include <cstdint>
#include <string>

namespace belay::db {

/// For `sqlite::migrate` and `postgres::migrate`.
struct migration {
  std::int64_t version = 0;  ///< 1 or more, rising from step to step
  std::string name;          ///< for people: "create accounts"
  /// Statements separated by `;`, without BEGIN and COMMIT, and without what cannot run between them.
  std::string sql;
};

}  // namespace belay::db
