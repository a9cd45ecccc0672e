// SPDX-License-Identifier: Apache-2.0
#pragma once
// Requests and responses as values, and how a response goes over the wire.

#include <belay/http/headers.hpp>
#include <belay/http/status.hpp>
#include <belay/http/streamed_body.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::http {

/// The methods of RFC 9110 and RFC 5789; every other token is `other` and keeps its text in
/// `request::method_name`.
enum class method : unsigned char { get, head, post, put, delete_, patch, options, trace, connect, other };

/// "GET"; "OTHER" for `other`.
[[nodiscard]] std::string_view to_string(method verb) noexcept;
/// Methods are case-sensitive: "get" is `other`.
[[nodiscard]] method to_method(std::string_view text) noexcept;

enum class version : unsigned char { http_1_0, http_1_1 };

struct query_parameter {
  std::string name{};
  std::string value{};

  friend bool operator==(const query_parameter&, const query_parameter&) = default;
};

/// Decodes %XX; nothing when an escape is malformed. An encoded slash becomes a slash: split into segments
/// first.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);

/// A request whose head, and body if it has one, has been read.
struct request {
  http::method method = http::method::get;
  std::string method_name = "GET";
  /// As it was sent.
  std::string target = "/";
  /// The path of the target as it was sent: without query, without scheme and host of an absolute target.
  std::string path = "/";
  /// `path` with %XX decoded. For people: routes are matched segment by segment, where an encoded slash does
  /// not divide.
  std::string decoded_path = "/";
  /// In order, decoded (%XX, and + as a space); a name without "=" has an empty value.
  std::vector<query_parameter> query{};
  http::version version = http::version::http_1_1;
  http::headers headers{};
  std::string body{};

  /// Sets target, path, decoded path and query.
  /// Errors:   `message_error` `invalid_target`: see `check_target`; the request is unchanged.
  void set_target(std::string_view text);
  /// What is wrong with a target, if anything: bytes outside of printable ASCII, a fragment, a malformed or
  /// NUL escape, neither "/..." nor "http(s)://host/..." nor "*".
  [[nodiscard]] static std::optional<std::string> check_target(std::string_view text);

  /// The first query parameter of that name, decoded.
  [[nodiscard]] std::optional<std::string_view> query_value(std::string_view name) const noexcept;
  /// "application/json" of "Application/JSON; charset=utf-8": the media type in lower case, without
  /// parameters; empty when absent or malformed.
  [[nodiscard]] std::string media_type() const;
};

/// Whether the peer wants the connection to stay open after this request (RFC 9112 section 9.3).
[[nodiscard]] bool wants_keep_alive(const request& from) noexcept;

struct response {
  http::status status = http::status::ok;
  http::headers headers{};
  std::string body{};
  /// Instead of `body`: made while it is sent.
  streamed_body stream{};

  /// `json_text` must be JSON already.
  [[nodiscard]] static response json(http::status code, std::string json_text);
  /// text/plain in UTF-8.
  [[nodiscard]] static response text(http::status code, std::string plain_text);
  [[nodiscard]] static response empty(http::status code = http::status::no_content);
  /// A body that is made while it is sent: the head goes first, then piece after piece, each before the next is asked for
  /// but one. For HEAD, 204 and 304 the stream does not run.
  ///
  ///     co_return http::response::streamed(http::status::ok, "text/csv", rows_as_csv(e.request));
  ///
  /// Errors: `misuse_error` for options out of range. For those of the stream: `server_hooks::body_failed`.
  [[nodiscard]] static response streamed(http::status code, std::string_view content_type,
                                         belay::stream<std::string> pieces, stream_options options = {});
};

/// What a response needs to know of its request and connection to be written.
struct wire_options {
  /// HEAD: the same head as for GET, with its Content-Length, and no body.
  http::method request_method = http::method::get;
  /// An HTTP/1.0 client must be told "keep-alive" if the connection stays open.
  http::version request_version = http::version::http_1_1;
  enum class connection : unsigned char { keep_alive, close } connection = connection::keep_alive;
  /// For the Date header; the default sends none.
  std::optional<std::chrono::system_clock::time_point> date{};
};

/// Whether the body of `from` goes over the wire: not for HEAD, 1xx, 204, 304.
[[nodiscard]] bool sends_body(const response& from, const wire_options& options) noexcept;
/// How the end of a body is found (RFC 9112 section 6.3).
enum class framing : unsigned char { none, length, chunked, until_close };
[[nodiscard]] framing framing_of(const response& from, const wire_options& options) noexcept;
/// Status line and fields up to the empty line. Content-Length is always that of the body (none for 1xx, 204,
/// 304), or what is said of its stream; without that, Transfer-Encoding is "chunked" for HTTP/1.1. Date, Connection, Content-Length
/// and Transfer-Encoding set by the handler are not used.
[[nodiscard]] std::string serialise_head(const response& from, const wire_options& options);
/// Head and, where the rules allow it, body; of one that is streamed, the head.
[[nodiscard]] std::string serialise(const response& from, const wire_options& options);

/// "HTTP/1.1 100 Continue" with its empty line.
inline constexpr std::string_view continue_response = "HTTP/1.1 100 Continue\r\n\r\n";

/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), whatever the locale.
[[nodiscard]] std::string to_http_date(std::chrono::system_clock::time_point when);

}  // namespace belay::http
