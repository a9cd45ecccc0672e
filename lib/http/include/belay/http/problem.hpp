// SPDX-License-Identifier: Apache-2.0
#pragma once
// Problem details (RFC 9457): the one form in which every error leaves over HTTP.

#include <belay/core/error.hpp>
#include <belay/core/time.hpp>
#include <belay/http/message.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace belay::http {

/// One thing that is wrong with a request.
struct field_error {
  /// RFC 6901, into the body: "/email", "" for the body itself. Elsewhere, by convention, "/path/id",
  /// "/query/limit" or "/header/Idempotency-Key".
  std::string pointer{};
  std::string detail{};

  friend bool operator==(const field_error&, const field_error&) = default;
};

/// What went wrong, for the client. Never put the text of an unknown error into it.
struct problem {
  http::status status = http::status::internal_server_error;
  /// Stable and machine-readable: `email_taken`. `type` and `title` follow from it unless they are set.
  std::string code{};
  /// A URI; empty: "urn:problem-type:<code>", or "about:blank" without a code.
  std::string type{};
  /// The same for every problem of one type; empty: the code in words ("Email taken"), or the reason phrase
  /// without a code.
  std::string title{};
  /// About this occurrence, helps the client. Any bytes; what is no UTF-8 is replaced.
  std::string detail{};
  /// A URI for this occurrence: the path of the request.
  std::string instance{};
  std::string trace_id{};
  std::vector<field_error> errors{};
  struct extension {
    std::string name{};
    std::string json{};
  };
  /// Further members; filled by `extend`.
  std::vector<extension> extensions{};

  /// Adds an extension member. Errors: `misuse_error` when it has the name of a member above.
  void extend(std::string_view name, std::string_view value);
  void extend(std::string_view name, std::int64_t value);

  /// Valid JSON whatever the members hold; empty members are left out, except type, title and status.
  [[nodiscard]] std::string to_json() const;
};

/// What a client may be told of an error of which nothing more is known: status, code and text follow from its kind; its own message
/// and details stay inside. A `problem_error` is the problem that it says. What is no `belay::error` is 500.
[[nodiscard]] problem to_problem(const failure& what);

/// The response: status, `application/problem+json`, body.
[[nodiscard]] response to_response(const problem& from);

/// Thrown by a handler: answer with this. Its kind follows from the status (`default_kind`), its message is
/// "code: detail".
class problem_error : public error {
 public:
  explicit problem_error(http::problem what, http::headers headers = {},
                         std::source_location where = std::source_location::current());
  /// The common case.
  problem_error(http::status code, std::string name, std::string detail,
                std::source_location where = std::source_location::current());

  [[nodiscard]] const http::problem& problem() const noexcept { return problem_; }
  /// To be added to the response: `Retry-After`, `Allow`, `WWW-Authenticate`.
  [[nodiscard]] const http::headers& headers() const noexcept { return headers_; }

 private:
  http::problem problem_;
  http::headers headers_{};
};

/// What a status says about who has to act; `internal` for those of 5xx that say no more.
[[nodiscard]] error_kind default_kind(status code) noexcept;
/// The status for an error that nothing more is known of. `data_format` is 500 like `internal` and
/// `child_cancelled`: who sent what cannot be read is not known here, and a request that cannot be read is
/// refused with a `problem_error` before.
[[nodiscard]] status default_status(error_kind kind) noexcept;

/// The value of Retry-After: whole seconds, rounded up, at least 1.
[[nodiscard]] std::string to_retry_after(duration wait);

}  // namespace belay::http
