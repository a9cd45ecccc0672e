// SPDX-License-Identifier: Apache-2.0
// Reads the deadline header.

#include <belay/http/deadline.hpp>
#include <belay/http/problem.hpp>

#include <charconv>

namespace belay::http {

std::optional<std::chrono::milliseconds> read_deadline(const headers& from) {
  const auto text = from.find(deadline_header);
  if (!text) return std::nullopt;
  std::uint32_t value = 0;
  const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (ec != std::errc{} || end != text->data() + text->size() || value < 1 || value > 3'600'000 ||
      from.count(deadline_header) != 1) {
    throw problem_error(status::bad_request, "invalid_deadline",
                        "Belay-Deadline-Ms must be one whole number of milliseconds from 1 to 3600000");
  }
  return std::chrono::milliseconds(value);
}

}  // namespace belay::http
