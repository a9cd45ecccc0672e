// SPDX-License-Identifier: Apache-2.0
// Keys and rules of one side: OpenSSL's SSL_CTX, with safe settings and errors that name files.

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "tls_private.hpp"
#include <belay/core/error.hpp>

namespace belay::io::tls {

namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& why) {
  throw error(error_kind::invalid, "tls_setup", "TLS: " + what + ": " + why);
}

// OpenSSL says "system lib" or "PEM lib" of a file that cannot be opened.
void check_readable(const char* what, const std::string& file) {
  if (file.find('\0') != std::string::npos) refuse(what, "its name holds a NUL");
  errno = 0;
  std::FILE* opened = std::fopen(file.c_str(), "re");
  const int reason = errno;
  const bool reads = opened != nullptr && (std::fgetc(opened) != EOF || std::ferror(opened) == 0);
  const int reading = errno;
  if (opened != nullptr) std::fclose(opened);
  if (opened == nullptr || !reads) {
    refuse(std::string(what) + " '" + file + "'",
           std::generic_category().message(opened == nullptr ? reason : reading));
  }
}

// Instead of asking at the terminal, which would block.
int no_password(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

void use_certificate(SSL_CTX& ssl, const std::string& certificate_file, const std::string& key_file) {
  check_readable("certificate file", certificate_file);
  check_readable("key file", key_file);
  const std::string certificate = "certificate file '" + certificate_file + "'";
  const std::string key = "key file '" + key_file + "'";
  if (SSL_CTX_use_certificate_chain_file(&ssl, certificate_file.c_str()) != 1)
    refuse(certificate, "holds no usable certificate in PEM format (" + take_openssl_reason() + ")");
  bool encrypted = false;
  SSL_CTX_set_default_passwd_cb(&ssl, no_password);
  SSL_CTX_set_default_passwd_cb_userdata(&ssl, &encrypted);
  const bool taken = SSL_CTX_use_PrivateKey_file(&ssl, key_file.c_str(), SSL_FILETYPE_PEM) == 1;
  SSL_CTX_set_default_passwd_cb_userdata(&ssl, nullptr);
  SSL_CTX_set_default_passwd_cb(&ssl, nullptr);
  if (encrypted) {
    ERR_clear_error();
    refuse(key, "is encrypted; give it without a password, readable by this user only");
  }
  if (!taken) {
    const bool mismatch = ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH ||
                          ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_TYPE_MISMATCH;
    const std::string reason = take_openssl_reason();
    if (mismatch) refuse(key, "does not belong to the certificate in '" + certificate_file + "'");
    refuse(key, "holds no usable key in PEM format (" + reason + ")");
  }
  if (SSL_CTX_check_private_key(&ssl) != 1) {
    ERR_clear_error();
    refuse(key, "does not belong to the certificate in '" + certificate_file + "'");
  }
}

void use_authorities(SSL_CTX& ssl, const char* what, const std::string& file) {
  check_readable(what, file);
  if (SSL_CTX_load_verify_file(&ssl, file.c_str()) != 1) {
    refuse(std::string(what) + " '" + file + "'",
           "holds no usable certificate in PEM format (" + take_openssl_reason() + ")");
  }
}

std::string to_wire(const std::vector<std::string>& protocols) {
  std::string out;
  for (const std::string& one : protocols) {
    if (one.empty() || one.size() > 255)
      throw misuse_error("tls: a protocol (ALPN) is 1 to 255 bytes long, not " + std::to_string(one.size()));
    out.push_back(static_cast<char>(one.size()));
    out += one;
  }
  return out;
}

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* length, const unsigned char* offered,
                    unsigned offered_length, void* data) {
  const std::string& ours = *static_cast<const std::string*>(data);
  unsigned char* found = nullptr;
  const int how = SSL_select_next_proto(&found, length, reinterpret_cast<const unsigned char*>(ours.data()),
                                        static_cast<unsigned>(ours.size()), offered, offered_length);
  *chosen = found;
  return how == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

ssl_context_ptr make(const SSL_METHOD* method, version minimum) {
  ERR_clear_error();
  ssl_context_ptr made(SSL_CTX_new(method));
  if (made == nullptr) refuse("OpenSSL", take_openssl_reason());
  SSL_CTX_set_min_proto_version(made.get(), minimum == version::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  // Compression leaks secrets (CRIME), renegotiation has no use here, and an end without close_notify must stay an error.
  SSL_CTX_set_options(made.get(),
                      SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Idle connections keep no buffers.
  SSL_CTX_set_mode(made.get(), SSL_MODE_RELEASE_BUFFERS);
  // Resumption by tickets needs no memory here.
  SSL_CTX_set_session_cache_mode(made.get(), SSL_SESS_CACHE_OFF);
  return made;
}

}  // namespace

context context::client(const client_options& options) {
  if (options.certificate_file.empty() != options.key_file.empty())
    throw misuse_error("tls::client_options: certificate_file and key_file go together");
  auto made = std::make_shared<data>();
  made->side = role::client;
  made->verifies = options.verify == client_options::verification::full;
  made->protocols = to_wire(options.protocols);
  made->ssl = make(TLS_client_method(), options.minimum);
  SSL_CTX& ssl = *made->ssl;
  SSL_CTX_set_verify(&ssl, made->verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (!options.ca_file.empty()) {
    use_authorities(ssl, "CA file", options.ca_file);
  } else if (SSL_CTX_set_default_verify_paths(&ssl) != 1) {
    refuse("the system's certificate store", take_openssl_reason());
  }
  if (!options.certificate_file.empty()) use_certificate(ssl, options.certificate_file, options.key_file);
  if (!made->protocols.empty() &&
      SSL_CTX_set_alpn_protos(&ssl, reinterpret_cast<const unsigned char*>(made->protocols.data()),
                              static_cast<unsigned>(made->protocols.size())) != 0) {
    refuse("the protocols to offer (ALPN)", take_openssl_reason());
  }
  ERR_clear_error();  // the system's store may be partly unreadable: what it lacks shows at the handshake
  return context(std::move(made));
}

context context::server(const server_options& options) {
  if (options.certificate_file.empty() || options.key_file.empty())
    throw misuse_error("tls::server_options: certificate_file and key_file are needed");
  auto made = std::make_shared<data>();
  made->side = role::server;
  made->protocols = to_wire(options.protocols);
  made->ssl = make(TLS_server_method(), options.minimum);
  SSL_CTX& ssl = *made->ssl;
  use_certificate(ssl, options.certificate_file, options.key_file);
  if (!options.client_ca_file.empty()) {
    use_authorities(ssl, "client CA file", options.client_ca_file);
    SSL_CTX_set_client_CA_list(&ssl, SSL_load_client_CA_file(options.client_ca_file.c_str()));
    SSL_CTX_set_verify(&ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  // Without it a resumed session with a client's certificate is refused.
  constexpr std::array<unsigned char, 5> name{'b', 'e', 'l', 'a', 'y'};
  SSL_CTX_set_session_id_context(&ssl, name.data(), name.size());
  if (!made->protocols.empty()) SSL_CTX_set_alpn_select_cb(&ssl, choose_protocol, &made->protocols);
  ERR_clear_error();
  return context(std::move(made));
}

}  // namespace belay::io::tls
