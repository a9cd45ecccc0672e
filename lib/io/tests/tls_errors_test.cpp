// SPDX-License-Identifier: Apache-2.0
// TLS: who is refused, with what words, and what a setup can get wrong.

#include <belay/core/group.hpp>
#include <doctest/doctest.h>

#include <fstream>

#include "networks.hpp"
#include "tls_support.hpp"

namespace b = belay;
namespace io = belay::io;
namespace tls = belay::io::tls;
using namespace std::chrono_literals;
using test::certificates;
using test::contains;
using test::error_of;

namespace {

struct both {
  b::outcome<io::tcp_stream> server;
  b::outcome<io::tcp_stream> client;
};

// How a handshake ends on both sides.
b::task<both> shake(tls::context server_side, tls::context client_side, std::string host = "localhost") {
  auto [server, client] = co_await test::plain_pair();
  both out;
  co_await b::all(
      [](both& to, io::tcp_stream over, tls::context with) -> b::task<> {
        to.server = co_await b::as_outcome(tls::accept(std::move(over), std::move(with)));
      }(out, std::move(server), std::move(server_side)),
      [](both& to, io::tcp_stream over, tls::context with, std::string name) -> b::task<> {
        to.client = co_await b::as_outcome(tls::connect(std::move(over), std::move(with), std::move(name)));
      }(out, std::move(client), std::move(client_side), std::move(host)));
  co_return out;
}

void refuses(const test::certificate& shown, const tls::context& with, std::string host,
             std::string_view code) {
  CAPTURE(code);
  test::fake net;
  net.run([](const test::certificate& of, tls::context asks, std::string name,
             std::string_view expected) -> b::task<> {
    const both how = co_await shake(test::server_context(of), asks, name);
    const auto& refused = error_of<io::tls_error>(how.client);
    CHECK(refused.code() == expected);
    CHECK(refused.kind() == b::error_kind::denied);
    CHECK(contains(refused.what(), "TLS handshake with 127.0.0.1:"));
    CHECK(contains(refused.what(), name));
    // In TLS 1.3 the server has ended its part before the client judges; it learns by the alert.
    if (how.server.failed()) {
      CHECK(error_of(how.server).code() != "");
    }
  }(shown, with, std::move(host), code));
  CHECK(net.nothing_left());
}

const b::error& setup_error(const std::function<void()>& of) {
  static b::error last("");
  try {
    of();
    last = b::error("nothing was thrown");
  } catch (const b::error& e) {
    last = e;
  }
  return last;
}

b::task<> answer_plainly(io::tcp_stream to) {
  std::array<char, 1000> part{};
  static_cast<void>(co_await to.read_some(part));
  co_await to.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  to.end_writing();
  const auto left = co_await b::as_outcome(to.read_some(part));
  CHECK((left.succeeded() || error_of(left).reason()));
}

}  // namespace

TEST_CASE("tls: a client refuses certificates that are expired, early, for others, or from strangers") {
  const certificates& all = certificates::get();
  const tls::context with = test::good_client();
  refuses(all.expired, with, "localhost", "certificate_expired");
  refuses(all.future, with, "localhost", "certificate_not_yet_valid");
  refuses(all.elsewhere, with, "localhost", "hostname_mismatch");
  refuses(all.elsewhere, with, "a.b.example.org", "hostname_mismatch");
  refuses(all.elsewhere, with, "127.0.0.1", "hostname_mismatch");
  refuses(all.localhost, with, "127.0.0.2", "hostname_mismatch");
  refuses(all.self_signed, with, "localhost", "untrusted_certificate");
  refuses(all.localhost, tls::context::client({.ca_file = all.other_authority.file()}), "localhost",
          "untrusted_certificate");
  refuses(all.localhost, tls::context::client(), "localhost", "untrusted_certificate");
}

TEST_CASE("tls: a client takes the names and addresses that a certificate is made out to") {
  test::fake net;
  net.run([]() -> b::task<> {
    const certificates& all = certificates::get();
    for (const char* host : {"localhost", "LOCALHOST", "localhost.", "127.0.0.1"}) {
      const both how = co_await shake(test::good_server(), test::good_client(), host);
      CHECK(how.client.succeeded());
      CHECK(how.server.succeeded());
    }
    const both wildcard =
        co_await shake(test::server_context(all.elsewhere), test::good_client(), "www.example.org");
    CHECK(wildcard.client.succeeded());
    const both unverified = co_await shake(
        test::server_context(all.self_signed),
        tls::context::client({.verify = tls::client_options::verification::none_insecure}), "anything");
    CHECK(unverified.client.succeeded());
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tls: the server is told by an alert that its certificate was refused") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::plain_pair();
    auto serve = [](io::tcp_stream over) -> b::task<> {
      io::tcp_stream secure =
          co_await tls::accept(std::move(over), test::server_context(certificates::get().expired));
      std::array<char, 10> part{};
      static_cast<void>(co_await secure.read_some(part));
    };
    auto ask = [](io::tcp_stream over) -> b::task<> {
      const auto how =
          co_await b::as_outcome(tls::connect(std::move(over), test::good_client(), "localhost"));
      CHECK(error_of<io::tls_error>(how).code() == "certificate_expired");
    };
    b::outcome<void> told;
    co_await b::all(
        [](b::outcome<void>& to, b::task<> what) -> b::task<> {
          to = co_await b::as_outcome(std::move(what));
        }(told, serve(std::move(server))),
        ask(std::move(client)));
    const auto& why = error_of<io::tls_error>(told);
    CHECK(why.code() == "rejected_by_peer");
    CHECK(contains(why.what(), "expired"));
  }());
}

TEST_CASE("tls: versions, ciphers and protocols that the sides do not share are named") {
  test::fake net;
  net.run([]() -> b::task<> {
    const both version = co_await shake(
        test::server_context(certificates::get().localhost, {.minimum = tls::version::tls_1_3}),
        test::good_client({.minimum = tls::version::tls_1_3}));
    CHECK(version.client.succeeded());
    const both protocol =
        co_await shake(test::server_context(certificates::get().localhost, {.protocols = {"http/1.1"}}),
                       test::good_client({.protocols = {"h2"}}));
    CHECK(error_of<io::tls_error>(protocol.server).code() == "no_common_protocol");
    CHECK(error_of<io::tls_error>(protocol.client).code() == "no_common_protocol");
    const both silent = co_await shake(test::good_server(), test::good_client({.protocols = {}}));
    CHECK(silent.client.succeeded());
  }());
}

TEST_CASE("tls: a client that must show a certificate, and does or does not") {
  test::fake net;
  net.run([]() -> b::task<> {
    const certificates& all = certificates::get();
    const tls::context asks = test::server_context(all.localhost, {.client_ca_file = all.authority.file()});
    auto [server, client] = co_await test::tls_pair(
        asks, test::good_client({.certificate_file = all.client.file(), .key_file = all.client.key_file()}));
    CHECK(tls::session_of(server)->peer == "CN=a client");
    const both none = co_await shake(asks, test::good_client());
    CHECK(error_of<io::tls_error>(none.server).code() == "bad_certificate");
    CHECK(contains(error_of<io::tls_error>(none.server).what(), "no certificate"));
    const both stranger = co_await shake(asks, test::good_client({.certificate_file = all.self_signed.file(),
                                                                  .key_file = all.self_signed.key_file()}));
    CHECK(error_of<io::tls_error>(stranger.server).code() == "untrusted_certificate");
    CHECK(contains(error_of<io::tls_error>(stranger.server).what(), "certificate of the client"));
    // The client had ended its part before: it learns when it reads.
    auto [late_server, late_client] = co_await test::plain_pair();
    auto refuse = [](io::tcp_stream over, tls::context with) -> b::task<> {
      const auto how = co_await b::as_outcome(tls::accept(std::move(over), std::move(with)));
      CHECK(error_of<io::tls_error>(how).code() == "bad_certificate");
    };
    auto read = [](io::tcp_stream over) -> b::task<> {
      io::tcp_stream secure = co_await tls::connect(std::move(over), test::good_client(), "localhost");
      std::array<char, 10> part{};
      const b::outcome<std::size_t> how = co_await b::as_outcome(secure.read_some(part));
      CHECK(error_of<io::tls_error>(how).code() == "rejected_by_peer");
      const b::outcome<std::size_t> again = co_await b::as_outcome(secure.read_some(part));
      CHECK(error_of<io::tls_error>(again).code() == "rejected_by_peer");
      const b::outcome<void> written = co_await b::as_outcome(secure.write("x"));
      CHECK(error_of<io::tls_error>(written).code() == "rejected_by_peer");
    };
    co_await b::all(refuse(std::move(late_server), asks), read(std::move(late_client)));
  }());
}

TEST_CASE("tls: what speaks no TLS is told from what speaks it badly, and from what leaves") {
  test::fake net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::plain_pair();
    auto connect = [](io::tcp_stream over, std::string_view code) -> b::task<> {
      const auto how =
          co_await b::as_outcome(tls::connect(std::move(over), test::good_client(), "localhost"));
      CHECK(error_of<io::tls_error>(how).code() == code);
      CHECK(error_of<io::tls_error>(how).kind() == b::error_kind::data_format);
      CHECK(contains(error_of(how).what(), "not TLS"));
    };
    co_await b::all(answer_plainly(std::move(server)), connect(std::move(client), "not_tls"));
    auto [again, plain] = co_await test::plain_pair();
    co_await plain.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto refused = co_await b::as_outcome(tls::accept(std::move(again), test::good_server()));
    CHECK(error_of<io::tls_error>(refused).code() == "not_tls");
    CHECK(contains(error_of(refused).what(), "https"));
    auto [third, leaves] = co_await test::plain_pair();
    leaves.close();
    const auto left = co_await b::as_outcome(tls::accept(std::move(third), test::good_server()));
    CHECK(contains(error_of<io::disconnected_error>(left).what(), "TLS handshake with"));
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls: bytes that somebody changed on their way end the connection") {
  test::fake net;
  net.run([]() -> b::task<> {
    auto [server, outer] = co_await test::plain_pair();
    auto [inner, client] = co_await test::plain_pair();
    // Passes everything on, and flips a bit behind the handshake.
    auto relay = [](io::tcp_stream& from, io::tcp_stream& to, bool& corrupt) -> b::task<> {
      std::array<char, 20000> part{};
      while (const std::size_t count = co_await from.read_some(part)) {
        if (corrupt) part[count - 1] = static_cast<char>(part[count - 1] ^ 1);
        co_await to.write({part.data(), count});
      }
      to.end_writing();
    };
    bool corrupt = false;
    co_await b::with_group(
        [&, &a = outer, &c = inner, &s = server, &k = client](b::group& tasks) -> b::task<> {
          auto there = tasks.spawn(relay, std::ref(a), std::ref(c), std::ref(corrupt));
          auto back = tasks.spawn(relay, std::ref(c), std::ref(a), std::ref(corrupt));
          auto [secure_server, secure_client] =
              co_await b::all(tls::accept(std::move(s), test::good_server()),
                              tls::connect(std::move(k), test::good_client(), "localhost"));
          co_await secure_client.write("fine");
          CHECK(co_await test::read_exactly(secure_server, 4) == "fine");
          corrupt = true;
          co_await secure_client.write("changed");
          std::array<char, 100> part{};
          const b::outcome<std::size_t> how = co_await b::as_outcome(secure_server.read_some(part));
          CHECK(error_of<io::tls_error>(how).code() == "protocol_violation");
          there.cancel();
          back.cancel();
        });
  }());
}

TEST_CASE("tls: contexts and hosts of the wrong kind are misuse") {
  test::fake net;
  net.run([]() -> b::task<> {
    auto [a, c] = co_await test::plain_pair();
    const auto server_as_client =
        co_await b::as_outcome(tls::connect(std::move(a), test::good_server(), "x"));
    CHECK(contains(error_of<b::misuse_error>(server_as_client).what(), "tls::context::client"));
    const auto client_as_server = co_await b::as_outcome(tls::accept(std::move(c), test::good_client()));
    CHECK(contains(error_of<b::misuse_error>(client_as_server).what(), "tls::context::server"));
    auto [d, e] = co_await test::plain_pair();
    const auto nobody = co_await b::as_outcome(tls::connect(std::move(d), test::good_client(), ""));
    CHECK(contains(error_of<b::misuse_error>(nobody).what(), "host is empty"));
    const auto nul = co_await b::as_outcome(
        tls::connect(std::move(e), test::good_client(), std::string("localhost\0.evil", 15)));
    CHECK(contains(error_of<b::misuse_error>(nul).what(), "cannot be the name"));
  }());
}

TEST_CASE("tls: a setup that cannot work names the file and what is wrong with it") {
  const certificates& all = certificates::get();
  const std::string missing = all.path_of("missing.pem");
  const std::string junk = all.path_of("junk.pem");
  std::ofstream(junk) << "this is no certificate\n";
  const std::string encrypted = all.path_of("encrypted.key");
  all.localhost.write_encrypted_key(encrypted);
  const auto server = [](const std::string& certificate, const std::string& key, const std::string& ca = "") {
    return setup_error([&] {
      static_cast<void>(
          tls::context::server({.certificate_file = certificate, .key_file = key, .client_ca_file = ca}));
    });
  };
  const std::string good = all.localhost.file();
  const std::string key = all.localhost.key_file();
  const b::error no_file = server(missing, key);
  CHECK(no_file.code() == "tls_setup");
  CHECK(no_file.kind() == b::error_kind::invalid);
  CHECK(contains(no_file.what(), missing));
  CHECK(contains(no_file.what(), "No such file"));
  CHECK(contains(server(good, missing).what(), "key file '" + missing + "': No such file"));
  CHECK(contains(server(all.directory.path.string(), key).what(), "Is a directory"));
  CHECK(contains(server(junk, key).what(), "'" + junk + "': holds no usable certificate"));
  CHECK(contains(server(good, junk).what(), "'" + junk + "': holds no usable key"));
  CHECK(
      contains(server(good, all.client.key_file()).what(), "does not belong to the certificate in '" + good));
  CHECK(contains(server(good, encrypted).what(), "is encrypted"));
  CHECK(contains(server(good, key, junk).what(), "client CA file '" + junk));
  CHECK(contains(setup_error([&] { static_cast<void>(tls::context::client({.ca_file = missing})); }).what(),
                 "CA file '" + missing));
  CHECK(contains(
      setup_error([&] { static_cast<void>(tls::context::client({.certificate_file = good})); }).what(),
      "go together"));
  CHECK(contains(setup_error([] { static_cast<void>(tls::context::server({})); }).what(), "are needed"));
  CHECK(contains(setup_error([] { static_cast<void>(tls::context::client({.protocols = {""}})); }).what(),
                 "1 to 255"));
}
