// SPDX-License-Identifier: Apache-2.0
#pragma once
// Certificates for tests, made anew in a temporary directory: nothing secret lies in the repository, and nothing expires.

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

namespace test {

/// What goes into a certificate.
struct certificate_options {
  std::string subject = "localhost";
  std::string names = "DNS:localhost,IP:127.0.0.1";  // subjectAltName; empty: none
  long begins = -3600;                               // seconds from now
  long ends = 3600;
  bool authority = false;
};

/// A key and its certificate, in memory and as files.
class certificate {
 public:
  // Without an issuer: signed by itself.
  certificate(const std::filesystem::path& directory, const std::string& name,
              const certificate_options& with, const certificate* issuer = nullptr)
      : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free), made_(X509_new(), &X509_free) {
    require(key_ != nullptr && made_ != nullptr);
    X509* x = made_.get();
    X509_set_version(x, 2);
    static long serial = 1;
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), with.begins);
    X509_gmtime_adj(X509_getm_notAfter(x), with.ends);
    X509_set_pubkey(x, key_.get());
    X509_NAME* subject = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(with.subject.c_str()), -1, -1, 0);
    X509* by = issuer != nullptr ? issuer->made_.get() : x;
    X509_set_issuer_name(x, X509_get_subject_name(by));
    extend(by, NID_basic_constraints, with.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!with.names.empty()) extend(by, NID_subject_alt_name, with.names.c_str());
    require(X509_sign(x, issuer != nullptr ? issuer->key_.get() : key_.get(), nullptr) != 0);
    file_ = directory / (name + ".pem");
    key_file_ = directory / (name + ".key");
    write(file_, [&](std::FILE* to) { return PEM_write_X509(to, x); });
    write(key_file_, [&](std::FILE* to) {
      return PEM_write_PrivateKey(to, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }

  void write_encrypted_key(const std::filesystem::path& to_file) const {
    write(to_file, [&](std::FILE* to) {
      return PEM_write_PKCS8PrivateKey(to, key_.get(), EVP_aes_128_cbc(), "secret", 6, nullptr, nullptr);
    });
  }
  [[nodiscard]] std::string file() const { return file_.string(); }
  [[nodiscard]] std::string key_file() const { return key_file_.string(); }

 private:
  static void require(bool holds) {
    if (!holds) throw std::runtime_error("a certificate for the test could not be made");
  }
  template <class F>
  static void write(const std::filesystem::path& name, F how) {
    std::FILE* to = std::fopen(name.c_str(), "we");
    require(to != nullptr);
    const int written = how(to);
    std::fclose(to);
    require(written == 1);
  }
  void extend(X509* by, int what, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, by, made_.get(), nullptr, nullptr, 0);
    X509_EXTENSION* made = X509V3_EXT_conf_nid(nullptr, &context, what, value);
    require(made != nullptr && X509_add_ext(made_.get(), made, -1) == 1);
    X509_EXTENSION_free(made);
  }

  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
  std::unique_ptr<X509, decltype(&X509_free)> made_;
  std::filesystem::path file_;
  std::filesystem::path key_file_;
};

/// A directory that is removed at the end.
class temporary_directory {
 public:
  temporary_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "belay-tls-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path = name;
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory() {
    std::error_code left_behind;
    std::filesystem::remove_all(path, left_behind);
  }
  std::filesystem::path path;
};

/// Everything that the tests need, made once.
struct certificates {
  temporary_directory directory{};
  certificate authority{
      directory.path, "ca", {.subject = "Belay test authority", .names = "", .authority = true}};
  certificate other_authority{
      directory.path, "other", {.subject = "Another", .names = "", .authority = true}};
  certificate localhost{directory.path, "localhost", {}, &authority};
  certificate expired{directory.path, "expired", {.begins = -7200, .ends = -3600}, &authority};
  certificate future{directory.path, "future", {.begins = 3600, .ends = 7200}, &authority};
  certificate elsewhere{
      directory.path, "elsewhere", {.subject = "example.org", .names = "DNS:*.example.org"}, &authority};
  certificate self_signed{directory.path, "self", {}};
  certificate client{directory.path, "client", {.subject = "a client", .names = ""}, &authority};

  [[nodiscard]] std::string path_of(const char* name) const { return (directory.path / name).string(); }

  static const certificates& get() {
    static const certificates all;
    return all;
  }
};

}  // namespace test
