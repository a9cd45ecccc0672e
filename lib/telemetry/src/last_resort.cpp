// SPDX-License-Identifier: Apache-2.0
// The fallback output.

#include "last_resort.hpp"

#include <sys/uio.h>
#include <unistd.h>

namespace belay::telemetry::detail {

void write_to_stderr(std::string_view line) noexcept {
  char end = '\n';
  iovec parts[2] = {{const_cast<char*>(line.data()), line.size()}, {&end, 1}};
  // One call, so that lines of several threads do not mix. Nobody is left to be told when this fails, too.
  [[maybe_unused]] const ssize_t written = ::writev(STDERR_FILENO, parts, 2);
}

}  // namespace belay::telemetry::detail
