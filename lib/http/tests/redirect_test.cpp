// SPDX-License-Identifier: Apache-2.0
// Redirects: what is sent where, with which method and which credentials.

#include <doctest/doctest.h>

#include "site_support.hpp"

namespace http = belay::http;
using belay::task;
using test::contains;

namespace {

http::response to(int code, const char* where) {
  http::response out;
  out.status = static_cast<http::status>(code);
  out.headers.set("Location", where);
  return out;
}

// /<code>/<where> redirects; all else tells what came.
http::response site(const http::request& of) {
  if (of.path.starts_with("/3")) {
    const std::string where = of.path.substr(5);
    return to(std::stoi(of.path.substr(1, 3)), where.empty() ? "/end?x=1" : ("http://" + where).c_str());
  }
  std::string told = std::string(http::to_string(of.method)) + " " + of.target + " " + of.body;
  for (const char* name : {"Authorization", "Cookie", "Content-Type", "X-Kept"}) {
    if (const auto value = of.headers.find(name)) told += " " + std::string(name);
  }
  return test::text(told);
}

test::sites& add_sites(test::sites& at) {
  at.net.set_name("one.org", {"10.0.0.1"});
  at.net.set_name("two.org", {"10.0.0.2"});
  at.add({"10.0.0.1", 80}, site);
  at.add({"10.0.0.2", 80}, site);
  return at;
}

http::client_request post(std::string_view url) {
  auto made = http::client_request::json(http::method::post, http::url::parse(url), "{}");
  made.headers.add("Authorization", "secret");
  made.headers.add("Cookie", "secret");
  made.headers.add("X-Kept", "yes");
  return made;
}

}  // namespace

TEST_CASE("redirects: none is followed unless it is asked for") {
  test::sites at;
  add_sites(at).run({}, [](http::client& web) -> task<> {
    CHECK((co_await web.send(test::get("http://one.org/302/"))).status == static_cast<http::status>(302));
    CHECK(web.statistics().requests == 1);
  });
}

TEST_CASE("redirects: a POST becomes a GET by 301, 302 and 303, and stays one by 307 and 308") {
  test::sites at;
  add_sites(at).run({.redirects = 1}, [](http::client& web) -> task<> {
    for (const char* code : {"301", "302", "303"}) {
      CHECK((co_await web.send(post("http://one.org/" + std::string(code) + "/"))).body ==
            "GET /end?x=1  Authorization Cookie X-Kept");
    }
    for (const char* code : {"307", "308"}) {
      CHECK((co_await web.send(post("http://one.org/" + std::string(code) + "/"))).body ==
            "POST /end?x=1 {} Authorization Cookie Content-Type X-Kept");
    }
    auto put = http::client_request::json(http::method::put, http::url::parse("http://one.org/302/"), "{}");
    CHECK((co_await web.send(put)).body == "PUT /end?x=1 {} Content-Type");
    put.method = http::method::head;
    put.url = http::url::parse("http://one.org/303/");
    put.body.clear();
    CHECK((co_await web.send(put)).status == http::status::ok);
  });
  CHECK(at.seen.back() == "HEAD /end?x=1");
}

TEST_CASE("redirects: to another origin no credentials are taken along, and `prepare` sees each request") {
  test::sites at;
  int prepared = 0;
  add_sites(at).run({.redirects = 3,
                     .prepare =
                         [&](http::client_request& of) {
                           ++prepared;
                           if (of.url.host == "one.org") of.headers.set("Authorization", "for one.org");
                         }},
                    [](http::client& web) -> task<> {
                      CHECK((co_await web.send(post("http://one.org/307/two.org/there"))).body ==
                            "POST /there {} Content-Type X-Kept");
                      CHECK((co_await web.send(post("http://one.org/307/one.org:80/there"))).body ==
                            "POST /there {} Authorization Cookie Content-Type X-Kept");
                    });
  CHECK(prepared == 4);
}

TEST_CASE("redirects: round and round, to nowhere, and from https to http are refused with what was said") {
  test::sites at;
  at.net.set_name("www.example.org", {"10.0.0.3"});
  at.add(
      {"10.0.0.3", 443}, [](const http::request&) { return to(302, "http://one.org/"); },
      &test::certificates::get().elsewhere);
  at.add({"127.0.0.1", 80}, [](const http::request& of) {
    if (of.path == "/round") return to(302, "/round");
    if (of.path == "/ftp") return to(302, "ftp://one.org/");
    if (of.path == "/userinfo") return to(302, "http://me:password@one.org/");
    if (of.path == "/none") return to(302, "/x y");
    http::response twice = to(302, "/a");
    twice.headers.add("Location", "/b");
    return twice;
  });
  add_sites(at).run({.redirects = 3, .tls = test::client_context()}, [](http::client& web) -> task<> {
    std::string said;
    CHECK(co_await test::code_of(web.send(test::get("http://localhost/round")), &said) ==
          "too_many_redirects");
    CHECK(contains(said, "3 are followed"));
    CHECK(co_await test::code_of(web.send(test::get("http://localhost/ftp"))) == "bad_redirect");
    CHECK(co_await test::code_of(web.send(test::get("http://localhost/userinfo")), &said) == "bad_redirect");
    CHECK_FALSE(contains(said, "password"));
    CHECK(co_await test::code_of(web.send(test::get("http://localhost/none"))) == "bad_redirect");
    CHECK((co_await web.send(test::get("http://localhost/twice"))).status == static_cast<http::status>(302));
    CHECK(co_await test::code_of(web.send(test::get("https://www.example.org/"))) == "redirect_refused");
  });
  CHECK(at.seen.back() == "GET /");
}

namespace {

// Whether the error of a request, which must be one, says that it may be sent again.
task<bool> may_be_sent_again(task<http::response> op) {
  const auto how = co_await belay::as_outcome(std::move(op));
  REQUIRE(how.failed());
  const auto* found = how.failure().find<http::request_error>();
  REQUIRE(found != nullptr);
  co_return found->may_be_tried_again();
}

task<http::response> streamed(http::client& web, http::client_request what) {
  co_return co_await belay::with(web.stream(std::move(what)),
                                 [](http::incoming&) -> task<http::response> { co_return http::response{}; });
}

}  // namespace

TEST_CASE("redirects: a POST that was carried out is not sent again because the GET after it fails") {
  test::sites at;
  at.net.set_name("down.org", {"10.0.0.4"});
  at.net.set_name("gone.org", {"10.0.0.5"});  // nobody listens
  at.add({"10.0.0.4", 80}, [](const http::request& of) {
    if (of.path == "/round") return to(302, "/round");
    return http::response::text(http::status::service_unavailable, "later");
  });
  add_sites(at).run({.redirects = 2}, [](http::client& web) -> task<> {
    for (const std::string code : {"301", "302", "303"}) {
      CAPTURE(code);
      const std::string from = "http://one.org/" + code;
      CHECK_FALSE(co_await may_be_sent_again(web.fetch(post(from + "/down.org/"))));
      CHECK_FALSE(co_await may_be_sent_again(web.send(post(from + "/gone.org/"))));
      CHECK_FALSE(co_await may_be_sent_again(web.send(post(from + "/down.org/round"))));
      CHECK_FALSE(co_await may_be_sent_again(streamed(web, post(from + "/gone.org/"))));
    }
    // The first server has done nothing yet, or the same may be done twice.
    CHECK(co_await may_be_sent_again(web.send(post("http://one.org/307/gone.org/"))));
    auto put = post("http://one.org/303/down.org/");
    put.method = http::method::put;
    CHECK(co_await may_be_sent_again(web.fetch(put)));
  });
}
