// SPDX-License-Identifier: Apache-2.0
#pragma once
// From a JSON text to a value of Boost.JSON.

#include <boost/json/value.hpp>
#include <string_view>

namespace belay::http {

/// See `json_document`. An integer too large for 64 bits is infinity.
[[nodiscard]] boost::json::value parse_json(std::string_view text);

}  // namespace belay::http
