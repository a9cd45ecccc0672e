// SPDX-License-Identifier: Apache-2.0
#pragma once
// HTTP status codes and their reason phrases (RFC 9110 section 15, RFC 6585).

#include <cstdint>
#include <string_view>

namespace belay::http {

/// Any number from 100 to 599 is a valid `status`, named here or not: `static_cast<status>(299)`.
enum class status : std::uint16_t {
  continue_ = 100,
  switching_protocols = 101,
  ok = 200,
  created = 201,
  accepted = 202,
  no_content = 204,
  partial_content = 206,
  moved_permanently = 301,
  found = 302,
  see_other = 303,
  not_modified = 304,
  temporary_redirect = 307,
  permanent_redirect = 308,
  bad_request = 400,
  unauthorized = 401,
  forbidden = 403,
  not_found = 404,
  method_not_allowed = 405,
  not_acceptable = 406,
  request_timeout = 408,
  conflict = 409,
  gone = 410,
  length_required = 411,
  precondition_failed = 412,
  payload_too_large = 413,
  uri_too_long = 414,
  unsupported_media_type = 415,
  range_not_satisfiable = 416,
  expectation_failed = 417,
  misdirected_request = 421,
  unprocessable_content = 422,
  too_early = 425,
  upgrade_required = 426,
  precondition_required = 428,
  too_many_requests = 429,
  headers_too_large = 431,
  internal_server_error = 500,
  not_implemented = 501,
  bad_gateway = 502,
  service_unavailable = 503,
  gateway_timeout = 504,
  http_version_not_supported = 505,
};

[[nodiscard]] constexpr int to_int(status code) noexcept { return static_cast<int>(code); }
[[nodiscard]] constexpr bool is_client_error(status code) noexcept { return to_int(code) / 100 == 4; }
[[nodiscard]] constexpr bool is_server_error(status code) noexcept { return to_int(code) / 100 == 5; }
[[nodiscard]] constexpr bool is_error(status code) noexcept { return to_int(code) >= 400; }

/// False for 1xx, 204 and 304: such a response has neither a body nor a Content-Length.
[[nodiscard]] constexpr bool may_have_body(status code) noexcept {
  return to_int(code) >= 200 && code != status::no_content && code != status::not_modified;
}

/// "Not Found"; for a number without a registered phrase that of its class ("Client Error").
[[nodiscard]] std::string_view reason_phrase(status code) noexcept;

}  // namespace belay::http
