// SPDX-License-Identifier: Apache-2.0
#pragma once
// TLS 1.2 and 1.3 over any connection: what comes out is a `tcp_stream`, so that clients and servers need not know of it.
//
//     const auto trusted = io::tls::context::client();       // once: the system's authorities, verification on
//     io::tcp_stream plain = co_await io::connect(at);
//     io::tcp_stream secure = co_await io::tls::connect(std::move(plain), trusted, "example.org");

#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <belay/io/tcp.hpp>
#include <belay/io/tls_error.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

namespace belay::io::tls {

enum class version : unsigned char { tls_1_2, tls_1_3 };

struct client_options {
  /// Whether the server must prove who it is. `none_insecure` takes anybody for the one who was meant: for experiments only.
  enum class verification : unsigned char { full, none_insecure };
  verification verify = verification::full;
  /// PEM file with the authorities to trust, in place of the system's. Empty: the system's (SSL_CERT_FILE and SSL_CERT_DIR are heeded).
  std::string ca_file{};
  /// For servers that ask who we are: PEM files of the chain (own certificate first) and of its key, which is not encrypted. Both or none.
  std::string certificate_file{};
  std::string key_file{};
  version minimum = version::tls_1_2;
  /// What is spoken above (ALPN, RFC 7301), best first; empty: not told. Each 1 to 255 bytes.
  std::vector<std::string> protocols{"http/1.1"};
};

struct server_options {
  /// PEM files of the chain (own certificate first) and of its key, which is not encrypted. Both are needed.
  std::string certificate_file{};
  std::string key_file{};
  /// PEM file with the authorities of which clients must have a certificate. Empty: clients are not asked.
  std::string client_ca_file{};
  version minimum = version::tls_1_2;
  /// What is spoken above, best first. A client that offers others only is refused; one that offers none is not.
  std::vector<std::string> protocols{"http/1.1"};
};

/// Keys and rules of one side, read once and used for any number of connections. Copies are cheap and share them.
///
/// Thread: made anywhere, before the loop rather than in it, because it reads files; used by any thread.
class context {
 public:
  /// Errors: `error` (invalid, `tls_setup`) that names the file and what is wrong with it; `misuse_error` for options that cannot be meant.
  [[nodiscard]] static context client(const client_options& options = {});
  [[nodiscard]] static context server(const server_options& options);

  struct data;
  // For tls_stream.cpp.
  [[nodiscard]] const data& get() const noexcept { return *data_; }

 private:
  explicit context(std::shared_ptr<const data> made) noexcept : data_(std::move(made)) {}
  std::shared_ptr<const data> data_;
};

/// Shakes hands as the client.
///
/// `host` is who is meant: a name (told by SNI, and looked for in the certificate by RFC 6125, without partial wildcards) or a
/// numeric address.
///
/// Result:        a stream in place of `over`, which
///                - reads 0 only after the other side's close_notify; an end without it is a `disconnected_error`, at each further read,
///                  since whoever can cut a cable could shorten what was sent;
///                - `end_writing` and `close` send close_notify, unless a write was cut off: then the other side sees that. Destroying it does
///                  not: what ends by an error must not look complete. When the system has no room for it, the next read
///                  sends it first;
///                - one reader and one writer at a time, as ever; keys are updated on the way (RFC 8446 section 4.6.3).
/// Errors:        `tls_error`: see there. `disconnected_error` if the other side leaves instead; `network_error` of `over`. `misuse_error` for
///                a server's context, or an empty or impossible host with verification.
/// Cancellation:  the connection is closed.
/// Time:          none of its own: bound it with `with_timeout`.
[[nodiscard]] task<tcp_stream> connect(tcp_stream over, context with, std::string host,
                                       std::source_location where = std::source_location::current());

/// Shakes hands as the server; otherwise as `connect`.
[[nodiscard]] task<tcp_stream> accept(tcp_stream over, context with,
                                      std::source_location where = std::source_location::current());

/// Handshakes of a listener so far, and under way. Each connection counts once, from the first read or write on it.
///
/// Thread: of one loop; listeners on several loops need one each.
struct handshake_statistics {
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;  ///< the time limit included, and connections that were given up during it
  std::uint64_t timed_out = 0;
  std::size_t under_way =
      0;  ///< one whose reader was cancelled is, until another takes it up or the connection is gone
};

struct listen_options {
  /// For one handshake, from the first read or write on the connection. More than zero. Then `tls_error` `handshake_timed_out`.
  duration handshake_timeout = std::chrono::seconds(10);
  /// Where to count, if anywhere. Thread: of one loop.
  std::shared_ptr<handshake_statistics> statistics{};
};

/// A listener whose connections speak TLS. `accept` gives a connection at once: the handshake is made by whoever first reads from it
/// or writes to it, so that a client that is slow at it, or fails, holds up nobody and fails nothing but its own connection.
///
///     co_await web.serve(io::tls::listen(io::tcp_listener::bind(at), context));
///
/// Errors: of `accept`, those of `over`; those of the handshake come from the first read or write, and, when it failed, from all others.
[[nodiscard]] tcp_listener listen(tcp_listener over, context with, listen_options options = {});

/// What was agreed upon.
struct session {
  std::string protocol{};     ///< "TLSv1.3"
  std::string cipher{};       ///< "TLS_AES_256_GCM_SHA384"
  std::string application{};  ///< by ALPN: "http/1.1"; empty: nothing
  std::string
      peer{};  ///< subject of the other side's certificate, as RFC 2253 writes it; empty: it showed none. Trust it if it was verified.
};

/// Of a connection that speaks TLS and has shaken hands; nothing for others.
[[nodiscard]] std::optional<session> session_of(const tcp_stream& of);

}  // namespace belay::io::tls
