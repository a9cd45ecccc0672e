// SPDX-License-Identifier: Apache-2.0
#pragma once
// Values as the text that PostgreSQL reads and writes.

#include <belay/db/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace belay::db::postgres::detail {

// A column's text by the number of its type (pg_type.oid).
[[nodiscard]] value from_text(std::uint32_t type, std::string_view text);

// What libpq gets for a parameter.
struct outgoing {
  const char* data = nullptr;  // null: NULL
  int size = 0;
  int binary = 0;
};
// `room` holds what has to be written; `data` points into it or into `from`. Errors: data_error for text with a NUL, `number` names the
// parameter.
[[nodiscard]] outgoing to_outgoing(const value& from, std::string& room, std::size_t number,
                                   std::string_view doing);

}  // namespace belay::db::postgres::detail
