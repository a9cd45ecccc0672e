// SPDX-License-Identifier: Apache-2.0
// Writing to stderr without waiting in the system.

#include <belay/core/detail/patient_output.hpp>
#include <belay/core/sleep.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string_view>

namespace belay::detail {

namespace {

std::atomic<std::size_t> dropped{0};  // bytes, since a text got through

// How much was taken; 0: nothing now; -1: it takes nothing any more.
ssize_t write_some(std::string_view text) noexcept {
  // A pipe that can be written to takes this much without waiting.
  constexpr std::size_t at_once = 4096;
  const std::size_t part = std::min(text.size(), at_once);
  pollfd target{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&target, 1, 0) != 1 || (target.revents & POLLOUT) == 0)
    return (target.revents & POLLNVAL) != 0 ? -1 : 0;
  ssize_t taken = ::send(STDERR_FILENO, text.data(), part, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (taken < 0 && errno == ENOTSOCK) taken = ::write(STDERR_FILENO, text.data(), part);
  if (taken >= 0) return taken;
  return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

}  // namespace

task<> write_patiently(std::string text) {
  constexpr unsigned most_pauses = 100;
  if (const std::size_t before = dropped.exchange(0); before != 0)
    text = "belay: (" + std::to_string(before) + " bytes were left out here: stderr took no more)\n" + text;
  std::string_view left = text;
  for (unsigned pauses = 0; !left.empty() && pauses < most_pauses;) {
    const ssize_t taken = write_some(left);
    if (taken < 0) co_return;
    if (taken > 0) {
      left.remove_prefix(static_cast<std::size_t>(taken));
      pauses = 0;
      continue;
    }
    ++pauses;
    co_await sleep_for(std::chrono::milliseconds(20));
  }
  dropped += left.size();
}

}  // namespace belay::detail
