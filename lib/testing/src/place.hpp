// SPDX-License-Identifier: Apache-2.0
#pragma once
// Places in reports: file without its folders, and line.

#include <source_location>
#include <string>
#include <string_view>

namespace belay::testing::detail {

[[nodiscard]] inline std::string place(const std::source_location& where) {
  std::string_view file = where.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  return std::string(file) + ":" + std::to_string(where.line());
}

}  // namespace belay::testing::detail
