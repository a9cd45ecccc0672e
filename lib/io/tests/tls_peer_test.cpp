// SPDX-License-Identifier: Apache-2.0
// TLS with a peer that does what our own streams never do: asks for new keys, again and again, and stays with an old version.

#include <belay/core/all.hpp>
#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "networks.hpp"
#include "tls_support.hpp"

namespace b = belay;
namespace io = belay::io;
namespace tls = belay::io::tls;
using test::error_of;

namespace {

// OpenSSL as a client, by hand.
class peer {
 public:
  explicit peer(io::tcp_stream over, int version)
      : over_(std::move(over)),
        context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free),
        ssl_(SSL_new(context_.get()), &SSL_free) {
    SSL_set_min_proto_version(ssl_.get(), version);
    SSL_set_max_proto_version(ssl_.get(), version);
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_.get());
  }
  SSL* get() { return ssl_.get(); }

  b::task<> flush() {
    std::string out(BIO_ctrl_pending(SSL_get_wbio(get())), '\0');
    if (out.empty()) co_return;
    BIO_read(SSL_get_wbio(get()), out.data(), static_cast<int>(out.size()));
    co_await over_.write(out);
  }
  b::task<bool> fill() {
    std::array<char, 4000> part{};
    const std::size_t count = co_await over_.read_some(part);
    BIO_write(SSL_get_rbio(get()), part.data(), static_cast<int>(count));
    co_return count != 0;
  }
  b::task<> shake_hands() {
    while (SSL_do_handshake(get()) != 1) {
      co_await flush();
      if (!co_await fill()) throw std::runtime_error("the handshake failed");
    }
    co_await flush();
  }
  b::task<> write(std::string text) {
    SSL_write(get(), text.data(), static_cast<int>(text.size()));
    co_await flush();
  }
  b::task<std::string> read(std::size_t length) {
    std::string got(length, '\0');
    std::size_t have = 0;
    while (have != length) {
      std::size_t count = 0;
      if (SSL_read_ex(get(), got.data() + have, length - have, &count) == 1) {
        have += count;
      } else if (!co_await fill()) {
        throw std::runtime_error("the end came early");
      }
    }
    co_return got;
  }

 private:
  io::tcp_stream over_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
};

}  // namespace

TEST_CASE("tls: keys are updated when the other side asks, while both talk") {
  test::fake net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::plain_pair();
    auto ask = [](io::tcp_stream over) -> b::task<> {
      peer by(std::move(over), TLS1_3_VERSION);
      co_await by.shake_hands();
      for (int turn = 0; turn != 10; ++turn) {
        SSL_key_update(by.get(), turn % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        co_await by.write("question");
        CHECK(co_await by.read(6) == "answer");
      }
    };
    auto answer = [](io::tcp_stream over) -> b::task<> {
      io::tcp_stream with = co_await tls::accept(std::move(over), test::good_server());
      for (int turn = 0; turn != 10; ++turn) {
        CHECK(co_await test::read_exactly(with, 8) == "question");
        co_await with.write("answer");
      }
    };
    co_await b::all(ask(std::move(client)), answer(std::move(server)));
    CHECK(ERR_peek_error() == 0);
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls: a client of TLS 1.2 is served, and may not negotiate again") {
  test::fake net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::plain_pair();
    auto ask = [](io::tcp_stream over) -> b::task<> {
      peer by(std::move(over), TLS1_2_VERSION);
      co_await by.shake_hands();
      co_await by.write("question");
      CHECK(co_await by.read(6) == "answer");
      SSL_renegotiate(by.get());
      SSL_do_handshake(by.get());
      co_await by.flush();
      ERR_clear_error();
      co_await by.fill();
      ERR_clear_error();
    };
    auto answer = [](io::tcp_stream over) -> b::task<> {
      io::tcp_stream with = co_await tls::accept(std::move(over), test::good_server());
      CHECK(tls::session_of(with)->protocol == "TLSv1.2");
      CHECK(co_await test::read_exactly(with, 8) == "question");
      co_await with.write("answer");
      std::array<char, 10> part{};
      const b::outcome<std::size_t> how = co_await b::as_outcome(with.read_some(part));
      // Refused by an alert; the client leaves without a word.
      CHECK(error_of(how).reason() != std::error_code());
    };
    co_await b::all(ask(std::move(client)), answer(std::move(server)));
    CHECK(ERR_peek_error() == 0);
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls: versions before 1.2 are refused, and below what is allowed") {
  test::fake net;
  net.run([]() -> b::task<> {
    for (const int version : {TLS1_1_VERSION, TLS1_2_VERSION}) {
      auto [server, client] = co_await test::plain_pair();
      auto ask = [](io::tcp_stream over, int speaks) -> b::task<> {
        peer by(std::move(over), speaks);
        SSL_set_security_level(by.get(), 0);
        SSL_set_cipher_list(by.get(), "ALL:@SECLEVEL=0");
        const b::outcome<void> how = co_await b::as_outcome(by.shake_hands());
        CHECK(how.failed());
        CHECK(how.failure());
        ERR_clear_error();
      };
      auto answer = [](io::tcp_stream over) -> b::task<> {
        const auto how = co_await b::as_outcome(tls::accept(
            std::move(over),
            test::server_context(test::certificates::get().localhost, {.minimum = tls::version::tls_1_3})));
        CHECK(error_of<io::tls_error>(how).code() == "no_common_version");
      };
      co_await b::all(ask(std::move(client), version), answer(std::move(server)));
    }
  }());
  CHECK(net.nothing_left());
}
