// SPDX-License-Identifier: Apache-2.0
#pragma once
// A line over a connection of libpq that is there.

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <string>

#include "line.hpp"

namespace belay::db::postgres::detail {

struct close_connection {
  void operator()(PGconn* open) const noexcept { PQfinish(open); }
};
using pg_connection = std::unique_ptr<PGconn, close_connection>;

// `key` is what the server wants to see before it cancels a statement of this connection.
[[nodiscard]] std::shared_ptr<line> make_libpq_line(pg_connection made, const std::string& name,
                                                    const options& settings, std::int32_t key);

}  // namespace belay::db::postgres::detail
