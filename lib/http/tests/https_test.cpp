// SPDX-License-Identifier: Apache-2.0
// The client with https and with names, against servers that speak TLS.

#include <belay/core/event.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include "site_support.hpp"

namespace http = belay::http;
namespace io = belay::io;
using belay::task;
using namespace std::chrono_literals;
using test::certificates;
using test::contains;

namespace {

http::response echo(const http::request& of) {
  return test::text("host " + std::string(*of.headers.find("Host")));
}

}  // namespace

TEST_CASE("https: names are looked up and verified, and connections are used again") {
  test::sites at;
  at.net.set_name("www.example.org", {"10.0.0.9", "10.0.0.1"});
  at.add({"10.0.0.1", 443}, echo, &certificates::get().elsewhere);
  at.run({.tls = test::client_context()}, [](http::client& web) -> task<> {
    for (int turn = 0; turn != 3; ++turn) {
      const http::response answer = co_await web.fetch(test::get("https://www.example.org/"));
      CHECK(answer.body == "host www.example.org");
    }
    CHECK(web.statistics().connects == 1);
    CHECK(web.statistics().reused == 2);
  });
}

TEST_CASE("https: what the certificate does not prove is refused, and said") {
  test::sites at;
  at.net.set_name("other.org", {"10.0.0.1"});
  at.add({"10.0.0.1", 443}, echo, &certificates::get().elsewhere);
  at.add({"127.0.0.1", 443}, echo, &certificates::get().expired);
  at.add({"127.0.0.1", 444}, echo, &certificates::get().self_signed);
  at.add({"127.0.0.1", 80}, echo);
  at.run({.tls = test::client_context()}, [](http::client& web) -> task<> {
    std::string said;
    CHECK(co_await test::code_of(web.fetch(test::get("https://other.org/")), &said) == "hostname_mismatch");
    CHECK(contains(said, "GET https://other.org/: TLS handshake with 10.0.0.1:443"));
    CHECK(co_await test::code_of(web.fetch(test::get("https://localhost/"))) == "certificate_expired");
    CHECK(co_await test::code_of(web.fetch(test::get("https://127.0.0.1:444/"))) == "untrusted_certificate");
    CHECK(co_await test::code_of(web.fetch(test::get("https://localhost:80/"))) == "not_tls");
    CHECK(co_await test::code_of(web.fetch(test::get("http://unknown.org/")), &said) == "name_not_found");
    CHECK(contains(said, "unknown.org"));
    CHECK(co_await test::code_of(web.fetch(test::get("http://other.org:81/"))) == "connect_failed");
    CHECK(web.statistics().connections == 0);
  });
  CHECK(at.seen.empty());
}

TEST_CASE("https: a server that wants a certificate that we do not have is no outage") {
  belay::testing::fake_network net({.conditions = {.delay = 1ms}});
  belay::testing::test_loop loop;
  const io::network_override guard(net);
  loop.run([]() -> task<> {
    const certificates& all = certificates::get();
    http::server site([](http::exchange&) -> task<http::response> { co_return test::text("hi"); });
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      tasks.adopt(
          site.serve(io::tls::listen(io::tcp_listener::bind({"127.0.0.1", 443}),
                                     io::tls::context::server({.certificate_file = all.localhost.file(),
                                                               .key_file = all.localhost.key_file(),
                                                               .client_ca_file = all.authority.file()}))));
      http::client web({.tls = test::client_context()});
      // With TLS 1.3 our part of the handshake is over before the server looks: it is told with the answer.
      const auto how = co_await belay::as_outcome(web.fetch(test::get("https://localhost/")));
      REQUIRE(how.failed());
      const auto* found = how.failure().find<http::request_error>();
      REQUIRE(found != nullptr);
      CHECK(found->code() == "rejected_by_peer");
      CHECK(found->kind() == belay::error_kind::data_format);
      CHECK(contains(found->what(), "certificate required"));
      web.close();
      site.drain();
    });
  }());
  CHECK_MESSAGE(net.nothing_left(), net.describe());
}

TEST_CASE("https: without a context the system's authorities decide, and know nothing of ours") {
  test::sites at;
  at.add({"127.0.0.1", 443}, echo, &certificates::get().localhost);
  at.run({}, [](http::client& web) -> task<> {
    CHECK(co_await test::code_of(web.fetch(test::get("https://localhost/"))) == "untrusted_certificate");
  });
}

TEST_CASE("https: a large body both ways, and over a Unix socket") {
  test::sites at;
  at.add(
      {"127.0.0.1", 443}, [](const http::request& of) { return test::text(of.body); },
      &certificates::get().localhost);
  at.add({"unix:/run/site", 0}, [](const http::request&) { return test::text("by file"); });
  at.run({.tls = test::client_context()}, [](http::client& web) -> task<> {
    const std::string much(900'000, 'x');
    const http::response answer = co_await web.fetch(
        http::client_request::json(http::method::put, http::url::parse("https://localhost/"), much));
    CHECK((answer.body == much));
    http::url file = http::url::parse("http://localhost/");
    file.at = io::endpoint::parse("unix:/run/site");
    CHECK((co_await web.fetch(http::client_request::get(file))).body == "by file");
  });
}

TEST_CASE("client: an answer that comes while a large body is on its way is given at once") {
  belay::testing::fake_network net({.conditions = {.delay = 1ms}});
  belay::testing::test_loop loop;
  const io::network_override guard(net);
  loop.run([]() -> task<> {
    auto listener = io::tcp_listener::bind({"127.0.0.1", 80});
    // Reads the head and answers; reads no further, and keeps the connection.
    auto refuse = [](io::tcp_listener& on, belay::event& over) -> task<> {
      io::tcp_stream with = co_await on.accept();
      std::array<char, 500> part{};
      static_cast<void>(co_await with.read_some(part));
      co_await with.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
      co_await over.wait();
    };
    auto ask = [](belay::event& over) -> task<> {
      http::client web;
      const http::response answer = co_await web.send(http::client_request::json(
          http::method::put, http::url::parse("http://127.0.0.1/"), std::string(5'000'000, 'x')));
      CHECK(http::to_int(answer.status) == 413);
      CHECK(answer.body == "no");
      CHECK(web.statistics().connections == 0);
      over.set();
    };
    belay::event over;
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      tasks.spawn(refuse, std::ref(listener), std::ref(over));
      co_await ask(over);
    });
  }());
  CHECK(loop.elapsed() < 1s);
  CHECK_MESSAGE(net.nothing_left(), net.describe());
}

TEST_CASE("https: cancelled and failed at every await, no connection is left and the client goes on") {
  static_cast<void>(certificates::get());
  const belay::testing::report found = belay::testing::everywhere([](belay::testing::stage& s) -> task<> {
    struct world {
      belay::testing::fake_network net{{.conditions = {.delay = 1ms}}};
      io::network_override here{net};
      http::server web{[](http::exchange&) -> task<http::response> { co_return test::text("hi"); },
                       {},
                       {.idle_timeout = 3s}};
      http::client client{{.redirects = 2, .tls = test::client_context()}};
    };
    world& at = s.make<world>();
    at.net.set_name("www.example.org", {"10.0.0.1"});
    s.expect("the client has as many connections as it says", [&at] {
      const http::client_statistics now = at.client.statistics();
      return now.active == 0 && now.connections == now.idle;
    });
    s.expect("no connection is left when it is closed", [&at] {
      at.client.close();
      return at.net.nothing_left();
    });
    auto serve = [](world& of) -> task<> {
      co_await of.web.serve(io::tls::listen(io::tcp_listener::bind({"10.0.0.1", 443}),
                                            test::server_context(certificates::get().elsewhere)));
    };
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      tasks.spawn([&s, serve](world& of) -> task<> { co_await s.undisturbed(serve(of)); }, std::ref(at));
      static_cast<void>(co_await at.client.fetch(test::get("https://www.example.org/")));
      static_cast<void>(co_await at.client.fetch(http::client_request::json(
          http::method::put, http::url::parse("https://www.example.org/"), std::string(70'000, 'x'))));
      at.client.close();
      at.web.drain();
    });
  });
  CHECK_MESSAGE(found.ok(), found.text());
  CHECK(found.awaits > 20);
}
