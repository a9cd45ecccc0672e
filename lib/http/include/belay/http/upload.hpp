// SPDX-License-Identifier: Apache-2.0
#pragma once
// The body of a request that is made while it is sent.

#include <belay/core/stream.hpp>
#include <belay/core/time.hpp>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace belay::http {

struct upload_options {
  /// How many bytes there will be, if that is known: sent as Content-Length. Fewer or more are a mistake of the stream. Empty: chunked.
  std::optional<std::uint64_t> length{};
  /// Asks the server first, with "Expect: 100-continue" (RFC 9110 section 10.1.1): the stream is begun when it agrees, or has said nothing
  /// for `continue_timeout`, since not all servers do. One that answers at once spares both sides the body.
  bool expect_continue = false;
  duration continue_timeout = std::chrono::seconds(1);
};

/// A stream of pieces that is the body of a request; empty pieces are skipped. A piece is asked for when the one before was taken by the
/// system, so that the source is no faster than the server.
///
///     client_request what{.method = method::put, .url = to};
///     what.upload = upload(pieces_of(file), {.length = size});
///     const response done = co_await web.fetch(std::move(what));
///
/// It is sent once: such a request gets a fresh connection, and is not repeated on another one; a redirect that would need the body again (307,
/// 308) is `redirect_refused`, unless nothing had been asked of the stream yet. `upload::again` takes a function that makes the body anew, for
/// whom all this is as for a body in memory.
///
/// Copies share the stream.
/// Lifetime:  what the stream refers to outlives the request.
class upload {
 public:
  /// None.
  upload() noexcept = default;
  /// Errors: `misuse_error` for a `continue_timeout` that is not more than zero.
  upload(stream<std::string> pieces, upload_options options = {});
  /// `make` is called for each time that the body is sent: `upload::again([path]() -> stream<std::string> { ... co_yield piece; })`. It is kept
  /// with the upload, so that a coroutine may use what it has captured.
  template <class F>
    requires std::same_as<std::invoke_result_t<F&>, stream<std::string>>
  [[nodiscard]] static upload again(F make, upload_options options = {}) {
    return upload(state{std::nullopt, std::make_unique<maker_of<F>>(std::move(make)), options});
  }

  /// There is (or was) one.
  explicit operator bool() const noexcept { return state_ != nullptr; }
  /// Of one that is there.
  [[nodiscard]] const upload_options& options() const noexcept { return state_->options; }
  /// It can be sent more often than once.
  [[nodiscard]] bool is_repeatable() const noexcept { return state_ != nullptr && state_->make; }
  /// It can be sent: it is repeatable, or was not begun.
  [[nodiscard]] bool is_ready() const noexcept {
    return state_ != nullptr && (state_->make || state_->pieces);
  }
  /// The stream itself. Errors: `misuse_error` when there is none, or it was taken before; what the function throws.
  [[nodiscard]] BELAY_CORO_WRAPPER stream<std::string> take() const;

 private:
  struct maker {
    virtual ~maker() = default;
    BELAY_CORO_WRAPPER virtual stream<std::string> call() = 0;
  };
  template <class F>
  struct maker_of final : maker {
    explicit maker_of(F given) : fn(std::move(given)) {}
    BELAY_CORO_WRAPPER stream<std::string> call() override { return fn(); }
    F fn;
  };
  struct state {
    std::optional<stream<std::string>> pieces;
    std::unique_ptr<maker> make;
    upload_options options;
  };
  explicit upload(state from);
  std::shared_ptr<state> state_{};
};

}  // namespace belay::http
