// SPDX-License-Identifier: Apache-2.0
// From OpenSSL's reasons to errors that say what to do.

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509_vfy.h>

#include <utility>

#include "tls_private.hpp"

namespace belay::io::tls {

namespace {

struct verdict {
  const char* code;
  const char* advice;
};

verdict judge_certificate(long result) noexcept {
  switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CRL_HAS_EXPIRED:
      return {"certificate_expired", "it must be renewed; if it was, look at this machine's clock"};
    case X509_V_ERR_CERT_NOT_YET_VALID: return {"certificate_not_yet_valid", "look at this machine's clock"};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {"hostname_mismatch", "connect by a name that the certificate is made out to"};
    case X509_V_ERR_CERT_REVOKED: return {"certificate_revoked", "do not trust this peer"};
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      return {
          "untrusted_certificate",
          "if the authority that issued it is to be trusted, name its certificate as CA file; or the peer "
          "does not send its "
          "intermediate certificates"};
    default: return {"bad_certificate", "the peer needs another certificate"};
  }
}

struct failure_row {
  int reason;
  error_kind kind;
  const char* code;
  const char* text;
};

constexpr failure_row rows[] = {
    {SSL_R_WRONG_VERSION_NUMBER, error_kind::data_format, "not_tls",
     "what came is not TLS; is this the right port, and does the other side speak TLS on it?"},
    {SSL_R_HTTP_REQUEST, error_kind::data_format, "not_tls", "a plain HTTP request came; use https"},
    {SSL_R_HTTPS_PROXY_REQUEST, error_kind::data_format, "not_tls", "a plain request to a proxy came"},
    {SSL_R_UNKNOWN_PROTOCOL, error_kind::data_format, "not_tls", "what came is not TLS"},
    {SSL_R_RECORD_TOO_SMALL, error_kind::data_format, "not_tls", "what came is not TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, error_kind::data_format, "no_common_version",
     "the other side speaks only versions that are not allowed here"},
    {SSL_R_VERSION_TOO_LOW, error_kind::data_format, "no_common_version",
     "the other side speaks only versions that are not allowed here"},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, error_kind::data_format, "no_common_version", "no version is allowed"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, error_kind::data_format, "no_common_version",
     "the other side takes none of the versions that are allowed here"},
    {SSL_R_NO_SHARED_CIPHER, error_kind::data_format, "no_common_cipher",
     "the two sides have no cipher in common; old clients and certificates with uncommon keys are so"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, error_kind::data_format, "no_common_cipher",
     "the other side found nothing that it could agree to (alert handshake_failure)"},
    {SSL_R_NO_APPLICATION_PROTOCOL, error_kind::data_format, "no_common_protocol",
     "the two sides have no application protocol (ALPN) in common"},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, error_kind::data_format, "no_common_protocol",
     "the other side takes none of the application protocols (ALPN) that were offered"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, error_kind::denied, "bad_certificate",
     "the client has shown no certificate, and one is asked for"},
};

constexpr int first_alert = 1000;  // SSL_AD_REASON_OFFSET: reasons above it are alerts that came

}  // namespace

std::string take_openssl_reason() {
  const unsigned long first = ERR_get_error();
  ERR_clear_error();
  const char* known = first != 0 ? ERR_reason_error_string(first) : nullptr;
  if (known != nullptr) return known;
  if (ERR_SYSTEM_ERROR(first)) return std::system_category().message(ERR_GET_REASON(first));
  return first == 0 ? "no reason given" : "OpenSSL error " + std::to_string(first);
}

tls_error make_tls_error(SSL& ssl, const std::string& what, std::string_view host, role side,
                         std::source_location where) {
  const unsigned long first = ERR_peek_error();
  const int reason = ERR_GET_REASON(first);
  const std::string reason_text = take_openssl_reason();
  const auto made = [&](error_kind kind, const char* code, const std::string& why) {
    return tls_error(kind, code, what + ": " + why, where);
  };
  const long verified = SSL_get_verify_result(&ssl);
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
    const verdict found = judge_certificate(verified);
    std::string why =
        side == role::client ? "the certificate of the server" : "the certificate of the client";
    if (side == role::client) why += ", for '" + std::string(host) + "',";
    why += " is refused: " + std::string(X509_verify_cert_error_string(verified)) + "; " + found.advice;
    return made(error_kind::denied, found.code, why);
  }
  for (const failure_row& one : rows) {
    if (one.reason == reason) return made(one.kind, one.code, one.text);
  }
  if (reason > first_alert && reason < first_alert + 256) {
    return made(error_kind::denied, "rejected_by_peer",
                "the other side refused with '" + reason_text + "'; its log may say why");
  }
  if (ERR_GET_LIB(first) == ERR_LIB_SSL) {
    return made(error_kind::data_format, "protocol_violation",
                "what came cannot be used (" + reason_text + ")");
  }
  return made(error_kind::internal, "tls_failure", "OpenSSL could not go on (" + reason_text + ")");
}

}  // namespace belay::io::tls
