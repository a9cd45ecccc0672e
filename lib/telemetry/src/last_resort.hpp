// SPDX-License-Identifier: Apache-2.0
#pragma once
// When a sink fails: the line goes to stderr, past all buffers and without allocating.

#include <string_view>

namespace belay::telemetry::detail {

void write_to_stderr(std::string_view line) noexcept;

}  // namespace belay::telemetry::detail
