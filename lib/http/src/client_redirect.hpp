// SPDX-License-Identifier: Apache-2.0
#pragma once
// What becomes of a request that is sent elsewhere.

#include <belay/http/client.hpp>

#include <optional>
#include <string>

namespace belay::http::detail {

/// Where a response sends the client; nothing: it is no redirect that is followed.
[[nodiscard]] std::optional<std::string> redirect_target(const response& from);

/// The request that follows (RFC 9110 section 15.4). A 303, and a 301 or 302 to a POST, makes it a GET without a body. To another origin it takes no
/// credentials along. Errors: `message_error` for a target that is no URL for it, that leads from https to http, or
/// that needs an upload again which was begun.
void follow_redirect(client_request& what, status by, const std::string& target);

}  // namespace belay::http::detail
