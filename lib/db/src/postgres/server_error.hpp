// SPDX-License-Identifier: Apache-2.0
#pragma once
// From what the server says to the errors of this library.

#include <exception>
#include <string>
#include <string_view>

namespace belay::db::postgres::detail {

// The fields of an error of the server that count here. Its "detail" and "context" hold data, and go no further than this.
struct server_message {
  std::string_view state;    // SQLSTATE
  std::string_view primary;  // the message itself
  std::string_view detail;
  std::string_view table;
  std::string_view column;
  std::string_view constraint;
};

// `doing`: the statement or the step.
[[nodiscard]] std::exception_ptr to_error(const server_message& said, std::string_view database,
                                          std::string_view doing);

// The connection went away, for a reason in words of the system or of libpq.
[[nodiscard]] std::exception_ptr lost_error(std::string_view database, std::string_view doing,
                                            std::string_view why);

// SQL for messages: one line, not too long.
[[nodiscard]] std::string brief(std::string_view sql);
// What libpq says, as one line.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace belay::db::postgres::detail
