// SPDX-License-Identifier: Apache-2.0
#pragma once
// What TLS can refuse.

#include <belay/io/network_error.hpp>
#include <source_location>
#include <string>
#include <system_error>

namespace belay::io {

/// TLS refused a connection, or what came on it. The message says with whom, why, and what to do.
///
///   kind         code                        when
///   denied       certificate_expired, certificate_not_yet_valid, hostname_mismatch, untrusted_certificate, certificate_revoked,
///                bad_certificate             the other side has not proved who it is
///   denied       rejected_by_peer            the other side has sent an alert: mostly it does not take our certificate
///   data_format  not_tls                     what answers speaks something else, such as plain HTTP
///   data_format  no_common_version, no_common_cipher, no_common_protocol      nothing both sides can do
///   data_format  protocol_violation          what came is no TLS that can be used; somebody may have changed it on its way
///   timed_out    handshake_timed_out         the limit of a listener
///   internal     tls_failure                 OpenSSL itself could not go on
class tls_error : public network_error {
 public:
  tls_error(error_kind kind, std::string code, std::string message,
            std::source_location where = std::source_location::current())
      : network_error(kind, std::move(code), std::move(message),
                      std::make_error_code(std::errc::protocol_error), where) {}
};

}  // namespace belay::io
