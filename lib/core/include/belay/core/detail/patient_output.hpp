// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text to stderr that nobody must wait for: a pipe that is full would stop the loop.

#include <belay/core/task.hpp>
#include <string>

namespace belay::detail {

// Writes to stderr as much as it takes at once, and the rest when it takes more. When it takes nothing for two seconds, the rest is dropped;
// the next text that does get through says so.
[[nodiscard]] task<> write_patiently(std::string text);

}  // namespace belay::detail
