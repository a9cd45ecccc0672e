// SPDX-License-Identifier: Apache-2.0
#pragma once
// Turns the bytes of a connection into requests, strictly and within limits; does no I/O of its own.

#include <belay/http/message.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace belay::http {

struct parser_options {
  /// Bytes of request line and fields together, with the empty line; also of the trailers of a chunked body.
  /// At least 64.
  std::size_t head_limit = 16 * 1024;
  /// Bytes of a body after decoding; 0 allows no body.
  std::uint64_t body_limit = 1024 * 1024;
};

/// Why a request was refused before any handler saw it: what to answer, then the connection must be closed.
struct protocol_error {
  http::status status = http::status::bad_request;
  /// `bad_request`, `headers_too_large`, `payload_too_large`, `http_version_not_supported`,
  /// `expectation_failed`, `not_implemented`.
  std::string code{};
  /// For the client: says what is wrong, never repeats what it sent.
  std::string detail{};
};

/// One connection's requests, one after the other.
///
///   reading_head --> head_complete --(accept_body)--> reading_body --> complete --(next)--> reading_head
///        |                                |               |
///        +--------------------------------+---------------+--> failed (final)
///
/// What comes out depends on the bytes alone, never on how they are cut into pieces; of a refusal, its status and code. (Which
/// `detail` is told of a chunked body with several faults may depend on the pieces.) Bytes after the end of a request are
/// kept for the next one (pipelining); what is fed beyond a complete or a failed request is only stored.
///
/// Strictness: what has been used to smuggle requests is refused with 400: bare CR or LF, other control
/// bytes, folded lines, space before the colon, several or conflicting Content-Length, Content-Length with
/// Transfer-Encoding, a Transfer-Encoding that does not end in "chunked" or comes with HTTP/1.0, no or
/// several Host. A final "chunked" after other codings is 501, a version other than 1.0 and 1.1 is 505, an
/// Expect other than 100-continue is 417. Trailers are checked and dropped.
///
/// Errors:   only `std::bad_alloc`; `misuse_error` for `accept_body`, `take` or `next` in another state.
/// Thread:   one at a time.
class request_parser {
 public:
  enum class state : unsigned char { reading_head, head_complete, reading_body, complete, failed };
  enum class body_mode : unsigned char {
    store,
    discard,  ///< read and count it, to get at the next request, without keeping it
    stream,   ///< keep it until `take_body`; it is not part of the request
  };

  explicit request_parser(parser_options options = {});
  request_parser(request_parser&&) noexcept;
  request_parser& operator=(request_parser&&) noexcept;
  ~request_parser();

  /// Takes in bytes from the peer; gives the state reached.
  state feed(std::string_view bytes);
  /// After `head_complete`: go on with the body, of `limit` bytes at most (empty: that of the options). A body announced as too
  /// large fails here, before it is read. Again while the body is read, with `discard`: the rest of it is dropped.
  state accept_body(body_mode mode = body_mode::store, std::optional<std::uint64_t> limit = std::nullopt);
  /// After `complete`: starts on the next request, with the bytes that are here already.
  state next();
  /// The request with its body. After `complete`, once; with `stream`, without the body, and from `accept_body` on.
  [[nodiscard]] request take();
  /// With `stream`: what has come of the body since the last call.
  [[nodiscard]] std::string take_body();

  [[nodiscard]] state current() const noexcept;
  /// From `head_complete` on: the request without body. When failed: as much of it as could be read (method
  /// and target once the request line was read, fields if the head was well-formed).
  [[nodiscard]] const request& head() const noexcept;
  /// When failed: why.
  [[nodiscard]] const protocol_error& error() const noexcept;

  /// From `head_complete` on. The client waits for "100 Continue" (or a final answer) before it sends the
  /// body.
  [[nodiscard]] bool expects_continue() const noexcept;
  /// From `head_complete` on. Whether the rest of this request is still to come, so that `expects_continue`
  /// matters and an early answer must drain or close.
  [[nodiscard]] bool has_body() const noexcept;
  /// From `head_complete` on. The Content-Length, when there is one (not for chunked bodies).
  [[nodiscard]] std::optional<std::uint64_t> announced_length() const noexcept;
  /// From `head_complete` on. See `wants_keep_alive`.
  [[nodiscard]] bool keep_alive() const noexcept;
  /// Whether a byte of the present request has come in: an idle connection has none.
  [[nodiscard]] bool started() const noexcept;
  /// Bytes of the body that `take_body` would give.
  [[nodiscard]] std::size_t body_size() const noexcept;
  /// Bytes of the body so far, taken or dropped or not.
  [[nodiscard]] std::uint64_t body_received() const noexcept;
  /// Bytes that were fed and not used up yet. A server stops reading while there are many.
  [[nodiscard]] std::size_t buffered() const noexcept;
  /// Bytes of memory held for such input, used or not. Little between two requests, whatever came before.
  [[nodiscard]] std::size_t held_memory() const noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace belay::http
