// SPDX-License-Identifier: Apache-2.0
#pragma once
// Turns the bytes that a server sends into one response, strictly and within limits; does no I/O of its own.

#include <belay/http/message.hpp>
#include <belay/http/request_parser.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace belay::http {

/// Why what came is no response that could be used. The connection must be closed then.
struct response_fault {
  /// `bad_response`, `response_truncated`, `response_too_large`.
  std::string code{};
  /// For people who run the program; never repeats what was sent.
  std::string detail{};
};

/// The response to one request.
///
///   reading_head --> reading_body --> complete
///        |                |
///        +----------------+--> failed
///
/// What comes out depends on the bytes alone, never on how they are cut into pieces. Responses of 1xx before the final one are
/// skipped, up to 16 of them; 101 is a fault, since nothing was asked to be switched. Nothing is taken from bytes behind the end.
///
/// Strictness: as `request_parser`. Bare CR or LF, control bytes, folded lines, several Content-Length, Content-Length with
/// Transfer-Encoding, a Transfer-Encoding that is not "chunked" or comes with HTTP/1.0 are faults: whoever sends them may mean another end
/// of the response than is read here. Trailers are checked and dropped.
///
/// Errors:   only `std::bad_alloc`; `misuse_error` for `take` in another state, and limits out of range.
/// Thread:   one at a time.
class response_parser {
 public:
  enum class state : unsigned char { reading_head, reading_body, complete, failed };

  /// `asked_by`: a response to HEAD has no body, whatever its fields say.
  explicit response_parser(method asked_by = method::get, parser_options limits = {});
  response_parser(response_parser&&) noexcept;
  response_parser& operator=(response_parser&&) noexcept;
  ~response_parser();

  /// Takes in bytes from the server; gives the state reached.
  state feed(std::string_view bytes);
  /// The server has ended the connection: the end of a body without a length, otherwise a fault.
  state end();
  /// After `complete`, once.
  [[nodiscard]] response take();

  /// From `reading_body` on: status and header fields; the body is what has come of it and was not taken.
  [[nodiscard]] const response& head() const noexcept;
  /// From `reading_body` on: what has come of the body since the last call. It still counts for the limit.
  [[nodiscard]] std::string take_body();

  [[nodiscard]] state current() const noexcept;
  /// When failed: why.
  [[nodiscard]] const response_fault& fault() const noexcept;
  /// Whether a byte of a response, also of one of 1xx, has come in.
  [[nodiscard]] bool started() const noexcept;
  /// Whether there was a "100 Continue".
  [[nodiscard]] bool told_to_continue() const noexcept;
  /// After `complete`. Whether another request may be sent: the server did not say "close", the body had a length, and nothing came
  /// behind it.
  [[nodiscard]] bool keeps_alive() const noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace belay::http
