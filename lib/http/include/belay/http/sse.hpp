// SPDX-License-Identifier: Apache-2.0
#pragma once
// Server-sent events: the event stream of the HTML standard, section 9.2.

#include <belay/core/stream.hpp>
#include <belay/core/time.hpp>
#include <belay/http/message.hpp>
#include <chrono>
#include <optional>
#include <string>

namespace belay::http {

/// One event, as a browser's `EventSource` gets it.
struct sse_event {
  /// May have several lines; CR LF and CR arrive as LF. What is no UTF-8 arrives as U+FFFD.
  std::string data{};
  /// Its type; empty: "message". One line of UTF-8.
  std::string event{};
  /// What the client says in Last-Event-ID when it comes back; present and empty: forget the last one. One line of
  /// UTF-8 without NUL.
  std::optional<std::string> id{};
  /// How long the client waits before it comes back, from now on; at least zero.
  std::optional<std::chrono::milliseconds> retry{};

  friend bool operator==(const sse_event&, const sse_event&) = default;
};

/// The lines of the event, with the empty one that ends it. Nothing in it can end a field or begin another.
/// Errors:   `message_error` `invalid_event` for a type or an id with CR, LF, NUL or what is no UTF-8, and for a
///           negative `retry`.
[[nodiscard]] std::string serialise(const sse_event& from);

struct event_options {
  /// A comment is sent when there has been no event for so long; zero: never. At least zero.
  duration heartbeat = std::chrono::seconds(15);
  /// Told to the client at once; at least zero. Empty: the client's own (a few seconds).
  std::optional<std::chrono::milliseconds> retry{};
};

/// The response with these events: `text/event-stream`, `Cache-Control: no-store`, `X-Accel-Buffering: no`.
///
///     belay::stream<http::sse_event> prices(feed& from, std::optional<std::string> after);
///     co_return http::events(prices(feed, http::last_event_id(e.request)));
///
/// Each event is on its way before the next is asked for. The events end when their stream does, when the client
/// goes (it is cancelled, `disconnect`), and when the server drains (`shutdown`): clients then come back, to another server.
/// Errors:   `misuse_error` for options out of range. What `serialise` throws fails the stream.
/// Lifetime: as `streamed_body`.
[[nodiscard]] response events(stream<sse_event> of, event_options options = {});

/// The id of the last event that the client has seen; nothing when it begins.
[[nodiscard]] std::optional<std::string> last_event_id(const request& from);

}  // namespace belay::http
