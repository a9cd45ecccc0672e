// SPDX-License-Identifier: Apache-2.0
#pragma once
// Places in reports.

#include <belay/core/time.hpp>
#include <cstddef>
#include <source_location>
#include <string>
#include <string_view>

namespace belay::detail {

// The file without its folders, and the line: "transfer.cpp:52".
[[nodiscard]] std::string place_text(const std::source_location& where);
// A function without its return type, unnamed namespaces and template arguments: "send_next(outbox &, semaphore &)".
[[nodiscard]] std::string function_text(std::string_view name);
// Both: "transfer.cpp:52  send_next(outbox &)".
[[nodiscard]] std::string frame_text(const std::source_location& where);
// "250 ms"; from 10 s on "12 s"; below a millisecond "40 us".
[[nodiscard]] std::string length_text(duration length);
// {"file":..., "line":..., "function":...}
[[nodiscard]] std::string place_json(const std::source_location& where);
// `text` as a JSON string, with its quotes. Bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::string json_string(std::string_view text);

// The length of the UTF-8 sequence at the start of `text`, which is not empty; 0 when there is none (RFC 3629).
[[nodiscard]] std::size_t utf8_length(std::string_view text) noexcept;

// `text` if it is not longer than `most` bytes; otherwise its beginning, up to a whole character, and how much was cut.
[[nodiscard]] std::string cut_text(std::string_view text, std::size_t most);

}  // namespace belay::detail
