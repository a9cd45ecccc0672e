// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a connection to Redis begins: options that are in range, AUTH, SELECT, PING.

#include <belay/db/redis/options.hpp>
#include <belay/io/network.hpp>
#include <belay/io/tcp.hpp>
#include <string>

#include "protocol.hpp"

namespace belay::db::redis::detail {

// Errors: misuse_error that names `call`.
[[nodiscard]] options checked(options set, const std::string& call);

// Connects and introduces itself. `name` is the server's, for errors. Errors: of the network; server_error, connection_error.
// Lifetime: the arguments outlive the task.
[[nodiscard]] task<io::tcp_stream> greet(io::network& on, const options& set, const std::string& name,
                                         reply_parser& parser);

}  // namespace belay::db::redis::detail
