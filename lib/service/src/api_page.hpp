// SPDX-License-Identifier: Apache-2.0
#pragma once
// A page that shows the description of the API.

#include <belay/http/message.hpp>
#include <string>

namespace belay::service::detail {

// The document is within the page; nothing else is loaded.
[[nodiscard]] http::response api_page(const std::string& document);

}  // namespace belay::service::detail
