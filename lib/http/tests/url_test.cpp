// SPDX-License-Identifier: Apache-2.0
// URLs: names and schemes, references, origins.

#include <belay/http/message.hpp>
#include <belay/http/url.hpp>
#include <doctest/doctest.h>

namespace http = belay::http;
namespace io = belay::io;

TEST_CASE("url: names, schemes and their ports") {
  const http::url plain = http::url::parse("http://Example.ORG/a?b");
  CHECK(plain.at == io::endpoint{"example.org", 80});
  CHECK(plain.host == "Example.ORG");
  CHECK(plain.target == "/a?b");
  CHECK(plain.describe() == "http://Example.ORG/a");
  const http::url secure = http::url::parse("HTTPS://a-b.c_d.example.:8443");
  CHECK(secure.scheme == http::scheme::https);
  CHECK(secure.at == io::endpoint{"a-b.c_d.example.", 8443});
  CHECK(http::url::parse("https://[::1]/").at == io::endpoint{"::1", 443});
  CHECK(http::url::parse("https://[::1]/").host_name() == "::1");
  CHECK(http::url::parse("https://localhost/").at == io::endpoint{"127.0.0.1", 443});
  CHECK(http::url::parse("https://localhost:1/").host_name() == "localhost");
  for (const char* bad :
       {"http://a..b/", "http://-a/", "http://.a/", "http://127.1/", "http://1.2.3.4.5/", "http://a.0x7f/",
        "http://a:0/", "http://a:65536/", "http://a:/", "http://\xc3\xa4/", "http://a_b@c/", "http://a b/"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(static_cast<void>(http::url::parse(bad)), http::message_error);
  }
}

// RFC 3986 section 5.4, as far as it is about http.
TEST_CASE("url: references are resolved as the RFC's table says") {
  const http::url base = http::url::parse("http://a/b/c/d;p?q");
  const std::pair<const char*, const char*> rows[] = {
      {"g", "/b/c/g"},
      {"./g", "/b/c/g"},
      {"g/", "/b/c/g/"},
      {"/g", "/g"},
      {"?y", "/b/c/d;p?y"},
      {"g?y", "/b/c/g?y"},
      {"#s", "/b/c/d;p?q"},
      {"g#s", "/b/c/g"},
      {"g?y#s", "/b/c/g?y"},
      {";x", "/b/c/;x"},
      {"g;x", "/b/c/g;x"},
      {"", "/b/c/d;p?q"},
      {".", "/b/c/"},
      {"./", "/b/c/"},
      {"..", "/b/"},
      {"../", "/b/"},
      {"../g", "/b/g"},
      {"../..", "/"},
      {"../../", "/"},
      {"../../g", "/g"},
      {"../../../g", "/g"},
      {"/./g", "/g"},
      {"/../g", "/g"},
      {"g.", "/b/c/g."},
      {".g", "/b/c/.g"},
      {"g..", "/b/c/g.."},
      {"..g", "/b/c/..g"},
      {"./../g", "/b/g"},
      {"./g/.", "/b/c/g/"},
      {"g/./h", "/b/c/g/h"},
      {"g/../h", "/b/c/h"},
      {"g;x=1/../y", "/b/c/y"},
      {"g?y/./x", "/b/c/g?y/./x"},
      {"g?y/../x", "/b/c/g?y/../x"},
  };
  for (const auto& [reference, target] : rows) {
    CAPTURE(reference);
    const http::url found = base.resolve(reference);
    CHECK(found.target == target);
    CHECK(found.host == "a");
  }
  CHECK(base.resolve("//g").describe() == "http://g/");
  CHECK(http::url::parse("https://a/").resolve("//g/x").describe() == "https://g/x");
  CHECK(base.resolve("https://h:1/x?y").describe() == "https://h:1/x");
  CHECK_THROWS_AS(static_cast<void>(base.resolve("g:h")), http::message_error);
  CHECK_THROWS_AS(static_cast<void>(base.resolve("/a\r\nb")), http::message_error);
}

TEST_CASE("url: origins are the same by scheme, host and port") {
  const auto same = [](const char* a, const char* c) {
    return http::url::parse(a).same_origin(http::url::parse(c));
  };
  CHECK(same("http://a/", "http://A:80/b?c"));
  CHECK(same("https://a/", "https://a:443/"));
  CHECK_FALSE(same("http://a/", "https://a/"));
  CHECK_FALSE(same("http://a/", "https://a:80/"));
  CHECK_FALSE(same("http://a/", "http://b.a/"));
  CHECK_FALSE(same("http://a/", "http://a:81/"));
  CHECK_FALSE(same("http://localhost/", "http://127.0.0.1/"));
}
