// SPDX-License-Identifier: Apache-2.0
// Which database a name means.

#include "store.hpp"

namespace accounts {

bool is_postgres_name(std::string_view name) noexcept {
  return name.starts_with("postgresql://") || name.starts_with("postgres://");
}

BELAY_CORO_WRAPPER belay::managed<store> open_store(std::string name) {
  return is_postgres_name(name) ? open_postgres_store(std::move(name)) : open_sqlite_store(std::move(name));
}

}  // namespace accounts
