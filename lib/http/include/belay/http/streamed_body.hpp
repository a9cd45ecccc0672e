// SPDX-License-Identifier: Apache-2.0
#pragma once
// The body of a response that is made while it is sent.

#include <belay/core/stream.hpp>
#include <belay/core/time.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace belay::http {

struct stream_options {
  /// How many bytes there will be, if that is known: sent as Content-Length. Fewer or more are a mistake of the
  /// stream: the connection is closed, and the failure is told. Empty: chunked (HTTP/1.1), or up to the end of the
  /// connection (HTTP/1.0).
  std::optional<std::uint64_t> length{};
  /// What becomes of the stream when the server drains. `finish`: it is sent to its end. `end`: for those that have
  /// none; it is cancelled at its next await (reason `shutdown`), and what the client got ends in good order.
  enum class on_drain : unsigned char { finish, end } drain = on_drain::finish;
  /// `heartbeat` is sent when there has been nothing else for so long: so that a client that is gone is noticed, and
  /// proxies keep the connection. Not with a `length`. Zero: never.
  duration heartbeat_every = duration::zero();
  std::string heartbeat{};
};

/// A stream of pieces, and how to send them. Empty ones are skipped.
///
/// Copies share the stream: it is sent once.
/// Lifetime:  what the stream refers to outlives the sending: the `exchange` does, the handler's frame does not.
class streamed_body {
 public:
  /// None.
  streamed_body() noexcept = default;
  /// Errors: `misuse_error` for a heartbeat that is negative, or comes with a length.
  streamed_body(stream<std::string> pieces, stream_options options = {});

  /// There is (or was) one.
  explicit operator bool() const noexcept { return state_ != nullptr; }
  /// Of one that is there.
  [[nodiscard]] const stream_options& options() const noexcept { return state_->options; }
  /// The stream itself. Errors: `misuse_error` when there is none, or it was taken before.
  [[nodiscard]] BELAY_CORO_WRAPPER stream<std::string> take() const;

 private:
  struct state {
    std::optional<stream<std::string>> pieces;
    stream_options options;
  };
  std::shared_ptr<state> state_{};
};

}  // namespace belay::http
