// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the sources of TLS share. The only place besides them that sees OpenSSL.

#include <belay/io/network.hpp>
#include <belay/io/tls.hpp>
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

namespace belay::io::tls {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* what) const noexcept {
    Free(what);
  }
};
using ssl_ptr = std::unique_ptr<SSL, freed_by<&SSL_free>>;
using ssl_context_ptr = std::unique_ptr<SSL_CTX, freed_by<&SSL_CTX_free>>;

enum class role : unsigned char { client, server };

struct context::data {
  ssl_context_ptr ssl;
  role side = role::client;
  bool verifies = true;     // the server's certificate, as a client
  std::string protocols{};  // ALPN, as it goes over the wire
};

// The oldest entry of OpenSSL's error queue in words, and the queue is empty afterwards.
[[nodiscard]] std::string take_openssl_reason();

// Why the last call on `ssl` failed, which was part of `what` ("TLS handshake with 10.0.0.1:443"). Empties the error queue.
[[nodiscard]] tls_error make_tls_error(SSL& ssl, const std::string& what, std::string_view host, role side,
                                       std::source_location where);

// A stream that has not shaken hands yet: it does at its first read or write, within the limit.
[[nodiscard]] std::unique_ptr<stream_transport> make_accepted(tcp_stream over, context with,
                                                              const listen_options& options,
                                                              std::source_location where);

}  // namespace belay::io::tls
