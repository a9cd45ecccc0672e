// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a database is: a URL, taken apart by libpq.

#include <string>
#include <utility>
#include <vector>

namespace belay::db::postgres::detail {

struct target {
  std::vector<std::pair<std::string, std::string>> words;  // for PQconnectStartParams; with the password
  std::string name;                                        // for messages; without it
  std::vector<std::string> hosts;  // names that have to be looked up, as they stand in `host`
};

// Errors: db::error (invalid, `bad_database_url`), without the password.
[[nodiscard]] target read_target(const std::string& url);

// Looks names up, which blocks: the words with `hostaddr`. Errors: connection_error.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> with_addresses(target where);

}  // namespace belay::db::postgres::detail
