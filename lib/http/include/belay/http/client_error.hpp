// SPDX-License-Identifier: Apache-2.0
#pragma once
// What can go wrong with a request to another service, and whether it may be sent again.

#include <belay/core/error.hpp>
#include <belay/errors/retry_judge.hpp>
#include <belay/http/message.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace belay::http {

/// Whether sending it twice is the same as sending it once (RFC 9110 section 9.2.2): GET, HEAD, PUT, DELETE, OPTIONS, TRACE.
[[nodiscard]] bool is_idempotent(method verb) noexcept;

/// What is known of the fate of a request that failed.
enum class carried_out : unsigned char {
  no,        ///< it was not sent, or the server said that it has not acted
  possibly,  ///< nobody knows
};

/// A request to another service failed. The base of those errors: there was no usable response.
///
///   kind          code                  when
///   unavailable   connect_failed        refused, unreachable
///   unavailable   name_not_found, name_lookup_failed        the host's name
///   unavailable   proxy_refused         the proxy makes no tunnel
///   unavailable   connection_lost       reset, or ended, before the response was complete
///   unavailable   response_truncated    ended within the response
///   timed_out     connect_timed_out, response_timed_out     the client's own limits
///   overloaded    no_connection_free    all connections to the host are in use
///   data_format   bad_response, response_too_large
///   data_format   bad_redirect, redirect_refused, too_many_redirects
///   data_format   certificate_expired, hostname_mismatch, not_tls …: all codes of `io::tls_error`
///
/// `is_retryable` says yes as the kind does, but never when the request may have been carried out and is not idempotent. A POST of which a
/// redirect has made a GET may have been: the errors of the GET are judged as the POST's.
class request_error : public error, public retry_judge {
 public:
  request_error(error_kind kind, std::string code, std::string message, method verb, carried_out fate,
                std::source_location where = std::source_location::current())
      : error(kind, std::move(code), std::move(message), where), verb_(verb), fate_(fate) {}

  [[nodiscard]] carried_out fate() const noexcept { return fate_; }
  [[nodiscard]] bool may_be_tried_again() const noexcept override {
    return fate_ == carried_out::no || is_idempotent(verb_);
  }

 private:
  method verb_;
  carried_out fate_;
};

/// The server answered with a status of 400 or more. The kind follows from it (`default_kind`), the code is `http_503`, `retry_after()` is
/// that of Retry-After. Its fate is `possibly` for a 5xx other than 501 and 505 (503 as well: it may come from the middle of the work),
/// and for any status if an earlier try of the same request was lost.
class status_error : public request_error {
 public:
  status_error(response answer, method verb, std::string message,
               std::optional<duration> retry_after = std::nullopt, carried_out by_first_try = carried_out::no,
               std::source_location where = std::source_location::current());

  [[nodiscard]] http::status status() const noexcept { return answer_->status; }
  [[nodiscard]] const response& answer() const noexcept { return *answer_; }

 private:
  std::shared_ptr<const response> answer_;
};

/// What a Retry-After field asks for, in seconds or as a date (counted from `now`, not below zero), at most 24 hours; nothing when there is none,
/// or it is malformed.
[[nodiscard]] std::optional<duration> read_retry_after(const headers& from,
                                                       std::chrono::system_clock::time_point now);

}  // namespace belay::http
