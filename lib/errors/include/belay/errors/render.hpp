// SPDX-License-Identifier: Apache-2.0
#pragma once
// Failures for people (text, with colours on a terminal) and for machines (JSON). Bounded, and without secrets.

#include <belay/core/error.hpp>
#include <cstddef>
#include <string>

namespace belay {

/// Both forms show the type, kind, code, message, details, place, async trace, notes, what failed besides and what was replaced; the
/// same failure twice, or a circle, is shown once. Values of details that are marked `sensitive` never appear; messages and notes are
/// shown as they are: secrets do not belong there.
///
/// Errors: `misuse_error` for a limit outside of its range. Odd exceptions (no message, not derived from `std::exception`) are no error.
/// What is shown counts as observed; what was left out for want of room does not.

enum class colours : unsigned char {
  automatic,  ///< if `wants_colours(2)`: standard error
  always,
  never,
};

/// Whether to write colours to a file descriptor: it is a terminal, TERM is not "dumb", and NO_COLOR is not set, or empty
/// (no-color.org).
[[nodiscard]] bool wants_colours(int file_descriptor) noexcept;

struct text_options {
  colours colour = colours::automatic;
  /// In bytes, from 1024 on; the middle of a trace, then what is attached last, is cut. A text (a message, a note) is cut at a sixteenth of it.
  std::size_t most_bytes = 64 * 1024;
  /// Rows of each async trace, from 2 on: where it arose and who asked for it stay.
  std::size_t most_trace_rows = 64;
};

/// For terminals and logs that people read. What is no UTF-8 is shown as \xNN, control characters as \u001b: nobody's text moves
/// the cursor. Ends without a newline.
[[nodiscard]] std::string render_text(const failure& what, const text_options& options = {});

struct json_options {
  /// In bytes, from 1024 on. What does not fit is left out, and `"truncated":true` says so.
  std::size_t most_bytes = 64 * 1024;
  std::size_t most_trace_rows = 64;
};

/// One JSON object on one line (RFC 8259), valid whatever the texts hold: what is no UTF-8 becomes U+FFFD. Members: `type`, `message`,
/// `kind`, `code`, `retryable`, `retry_after_ms`, `age_ms`, `place`, `details`, `trace`, `notes`, `attached`, `cause`; those without a value
/// are left out. Kind, code and retryable are those of `classify`. For a response to a client: `http::to_problem`, which tells
/// nothing of the inside. No failure: `null`.
[[nodiscard]] std::string render_json(const failure& what, const json_options& options = {});

}  // namespace belay
