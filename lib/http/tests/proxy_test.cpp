// SPDX-License-Identifier: Apache-2.0
// Proxies: who is asked for what, with what, and what they may not see.

#include <doctest/doctest.h>

#include <cstdlib>

#include "site_support.hpp"

namespace http = belay::http;
namespace io = belay::io;
using belay::task;
using test::contains;

namespace {

// A proxy that makes tunnels to one place, and answers all else itself. What it is told is in `heads`.
struct tunnel_proxy {
  std::vector<std::string> heads{};
  std::string refuses{};  // what it answers instead of a tunnel
  io::endpoint leads_to{};

  static task<std::string> read_head(io::tcp_stream& from) {
    std::string head;
    std::array<char, 1> part{};
    while (!head.ends_with("\r\n\r\n") && co_await from.read_some(part) != 0) head += part[0];
    co_return head;
  }
  static task<> pump(io::tcp_stream& from, io::tcp_stream& to) {
    std::array<char, 3000> part{};
    try {
      while (const std::size_t count = co_await from.read_some(part)) co_await to.write({part.data(), count});
    } catch (const io::network_error&) {
      to.close();
      co_return;
    }
    to.end_writing();
  }
  static task<> serve_one(tunnel_proxy& self, io::tcp_stream with) {
    const std::string head = co_await read_head(with);
    if (head.empty()) co_return;
    self.heads.push_back(head);
    if (!head.starts_with("CONNECT ")) {
      co_await with.write("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nproxied");
      with.end_writing();
      co_return;
    }
    if (!self.refuses.empty()) {
      co_await with.write(self.refuses);
      with.end_writing();
      co_return;
    }
    io::tcp_stream beyond = co_await io::connect(self.leads_to);
    co_await with.write("HTTP/1.0 200 Connection established\r\nContent-Length: 99\r\n\r\n");
    co_await belay::with_group([&](belay::group& both) -> task<> {
      both.spawn(pump, std::ref(with), std::ref(beyond));
      co_await pump(beyond, with);
    });
  }
  static task<> serve(tunnel_proxy& self) {
    auto listener = io::tcp_listener::bind({"10.9.9.9", 3128});
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      while (true) tasks.spawn(serve_one, std::ref(self), co_await listener.accept());
    });
  }
};

void run(test::sites& at, tunnel_proxy& proxy, http::client_options options,
         belay::task_function<task<>(http::client&)> conversation) {
  options.proxy.for_http = options.proxy.for_https = http::url::parse("http://10.9.9.9:3128");
  at.run(std::move(options), [&](http::client& web) -> task<> {
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      tasks.spawn(&tunnel_proxy::serve, std::ref(proxy));
      co_await conversation(web);
      web.close();
      tasks.cancel();
    });
  });
}

}  // namespace

TEST_CASE("proxy: it is told the whole URL of http requests, and its credentials go to nobody else") {
  test::sites at;
  tunnel_proxy proxy;
  at.add({"10.0.0.1", 80}, [](const http::request& of) {
    return test::text(of.headers.contains("Proxy-Authorization") ? "leaked" : "direct");
  });
  run(at, proxy,
      {.proxy = {.authorization = "Basic abc", .authorization_for_https = "Basic x", .no_proxy = "10.0.0.1"}},
      [](http::client& web) -> task<> {
        auto request = test::get("http://example.org:81/a?b=c");
        request.headers.add("Proxy-Authorization", "not this one");
        CHECK((co_await web.fetch(request)).body == "proxied");
        request.url = http::url::parse("http://10.0.0.1/");
        CHECK((co_await web.fetch(request)).body == "direct");
      });
  REQUIRE(proxy.heads.size() == 1);
  CHECK(proxy.heads[0].starts_with("GET http://example.org:81/a?b=c HTTP/1.1\r\nHost: example.org:81\r\n"));
  CHECK(contains(proxy.heads[0], "Proxy-Authorization: Basic abc\r\n"));
  CHECK_FALSE(contains(proxy.heads[0], "not this one"));
}

TEST_CASE("proxy: https goes through a tunnel, verified to its end, and the connection is used again") {
  test::sites at;
  tunnel_proxy proxy{.leads_to = {"10.0.0.1", 443}};
  at.add(
      {"10.0.0.1", 443},
      [](const http::request& of) {
        return test::text(of.headers.contains("Proxy-Authorization") ? "leaked" : of.target);
      },
      &test::certificates::get().elsewhere);
  run(at, proxy,
      {.tls = test::client_context(),
       .proxy = {.authorization = "Basic x", .authorization_for_https = "Basic abc"}},
      [](http::client& web) -> task<> {
        CHECK((co_await web.fetch(test::get("https://www.example.org/x"))).body == "/x");
        CHECK((co_await web.fetch(test::get("https://www.example.org/y"))).body == "/y");
        CHECK(web.statistics().connects == 1);
        CHECK(co_await test::code_of(web.fetch(test::get("https://bank.org/"))) == "hostname_mismatch");
      });
  REQUIRE(proxy.heads.size() == 2);
  CHECK(
      proxy.heads[0] ==
      "CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org:443\r\nProxy-Authorization: Basic abc\r\n\r\n");
  CHECK(proxy.heads[1].starts_with("CONNECT bank.org:443 HTTP/1.1\r\n"));
}

TEST_CASE("proxy: what it refuses is told with its name and status") {
  for (const std::string answer :
       {"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!",
        "HTTP/1.1 502 Bad Gateway\r\n\r\n", "junk", ""}) {
    CAPTURE(answer);
    test::sites at;
    tunnel_proxy proxy{.refuses = answer.empty() ? "HTTP/1.1 2" : answer};
    std::string said;
    run(at, proxy, {.tls = test::client_context()}, [&](http::client& web) -> task<> {
      CHECK(co_await test::code_of(web.fetch(test::get("https://www.example.org/")), &said) ==
            "proxy_refused");
      CHECK(web.statistics().connections == 0);
    });
    CHECK(contains(said, "tunnel to www.example.org:443 through the proxy 10.9.9.9:3128"));
    if (answer.find("407") != std::string::npos) CHECK(contains(said, "credentials"));
  }
}

TEST_CASE("proxy: which hosts go directly") {
  http::proxy_settings settings{.for_http = http::url::parse("http://10.9.9.9:3128"),
                                .no_proxy = "localhost, .example.org,10.0.0.1,[::1]:81, special.net:8080 ,,"};
  const auto direct = [&](const char* to) { return settings.choose(http::url::parse(to)) == nullptr; };
  CHECK(direct("http://localhost/"));
  CHECK(direct("http://EXAMPLE.org/"));
  CHECK(direct("http://www.example.org:81/"));
  CHECK_FALSE(direct("http://badexample.org/"));
  CHECK_FALSE(direct("http://example.org.evil.net/"));
  CHECK(direct("http://10.0.0.1:5/"));
  CHECK_FALSE(direct("http://210.0.0.1/"));
  CHECK(direct("http://special.net:8080/"));
  CHECK_FALSE(direct("http://special.net/"));
  CHECK(direct("https://anything.net/"));  // there is none for https
  http::url file = http::url::parse("http://anything.net/");
  file.at = io::endpoint::parse("unix:/run/docker.sock");
  CHECK(settings.choose(file) == nullptr);  // it is on this machine
  settings.no_proxy = "*";
  CHECK(direct("http://anything.net/"));
}

TEST_CASE(
    "proxy: the environment is read, credentials are taken out, and errors name the variable, not the password") {
  const auto set = [](const char* name, const char* value) {
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  };
  for (const char* name : {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"})
    set(name, nullptr);
  CHECK_FALSE(http::proxy_settings::from_environment().for_http);
  set("HTTP_PROXY", "http://attacker:1");  // a CGI program would get it from the header Proxy
  set("HTTPS_PROXY", "proxy.local:3128");
  set("no_proxy", "a,b");
  http::proxy_settings found = http::proxy_settings::from_environment();
  CHECK_FALSE(found.for_http);
  REQUIRE(found.for_https);
  CHECK(found.for_https->at == io::endpoint{"proxy.local", 3128});
  CHECK(found.no_proxy == "a,b");
  set("http_proxy", "http://me:pass%20word@proxy.local:3128/");
  found = http::proxy_settings::from_environment();
  CHECK(found.authorization == "Basic bWU6cGFzcyB3b3Jk");
  CHECK(found.for_http->host == "proxy.local:3128");
  CHECK(found.authorization_for_https.empty());  // another proxy, which must not see the password
  set("HTTPS_PROXY", "http://other:word@proxy.local:3129/");
  found = http::proxy_settings::from_environment();
  CHECK(found.authorization == "Basic bWU6cGFzcyB3b3Jk");
  CHECK(found.authorization_for_https == "Basic b3RoZXI6d29yZA==");
  set("HTTPS_PROXY", "https://me:secret@host");
  CHECK_THROWS_WITH_AS(static_cast<void>(http::proxy_settings::from_environment()),
                       doctest::Contains("environment variable HTTPS_PROXY"), http::message_error);
  set("https_proxy", "https://me:secret@host");
  CHECK_THROWS_WITH_AS(static_cast<void>(http::proxy_settings::from_environment()),
                       doctest::Contains("environment variable https_proxy"), http::message_error);
  for (const char* name : {"https_proxy", "HTTPS_PROXY"}) set(name, nullptr);
  for (const char* bad :
       {"http://me:secret@:x", "http://me:secret%2@host", "https://me:secret@host", "ftp://me:secret@host"}) {
    set("http_proxy", bad);
    try {
      static_cast<void>(http::proxy_settings::from_environment());
      FAIL("it was taken");
    } catch (const http::message_error& e) {
      CHECK(contains(e.what(), "http_proxy"));
      CHECK_FALSE(contains(e.what(), "secret"));
    }
  }
  for (const char* name : {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy"})
    set(name, nullptr);
}

TEST_CASE("proxy: one that is spoken to by https, or an authorization that is more than a value, is misuse") {
  const http::url secure = http::url::parse("https://proxy.local:3129");
  CHECK_THROWS_WITH_AS(http::client({.proxy = {.for_http = secure}}), doctest::Contains("proxy.for_http"),
                       belay::misuse_error);
  CHECK_THROWS_WITH_AS(http::client({.proxy = {.for_https = secure}}), doctest::Contains("proxy.for_https"),
                       belay::misuse_error);
  for (const char* bad : {"Basic secret\n", "Basic secret\r\nX-Forged: 1", "Basic secret\r\n\r\nGET /"}) {
    CAPTURE(bad);
    for (const http::proxy_settings& set :
         {http::proxy_settings{.authorization = bad}, http::proxy_settings{.authorization_for_https = bad}}) {
      try {
        http::client web({.proxy = set});
        FAIL("it was taken");
      } catch (const belay::misuse_error& e) {
        CHECK(contains(e.what(),
                       set.authorization.empty() ? "proxy.authorization_for_https" : "proxy.authorization:"));
        CHECK_FALSE(contains(e.what(), "secret"));
      }
    }
  }
}
