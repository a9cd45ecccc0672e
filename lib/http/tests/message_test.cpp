// SPDX-License-Identifier: Apache-2.0
// Requests, responses and their wire form.

#include <belay/http/deadline.hpp>
#include <belay/http/message.hpp>
#include <belay/http/problem.hpp>
#include <doctest/doctest.h>

#include <chrono>

namespace http = belay::http;
using namespace std::string_literals;
using namespace std::chrono_literals;

TEST_CASE("method: text to method and back, case-sensitive") {
  for (const char* name : {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"}) {
    CHECK(http::to_string(http::to_method(name)) == name);
  }
  CHECK(http::to_method("get") == http::method::other);
  CHECK(http::to_method("OTHER") == http::method::other);
  CHECK(http::to_method("") == http::method::other);
}

TEST_CASE("status: reason phrases, also of unnamed numbers") {
  CHECK(http::reason_phrase(http::status::not_found) == "Not Found");
  CHECK(http::reason_phrase(http::status::headers_too_large) == "Request Header Fields Too Large");
  CHECK(http::reason_phrase(static_cast<http::status>(499)) == "Client Error");
  CHECK(http::reason_phrase(static_cast<http::status>(599)) == "Server Error");
}

TEST_CASE("request: a target is split into path and query, both decoded") {
  http::request r;
  r.set_target("/a%2Fb/c%20d?x=1&y=a+b%2B&flag&=empty&z=%C3%A9&&q=a=b");
  CHECK(r.path == "/a%2Fb/c%20d");
  CHECK(r.decoded_path == "/a/b/c d");
  CHECK(r.query ==
        std::vector<http::query_parameter>{
            {"x", "1"}, {"y", "a b+"}, {"flag", ""}, {"", "empty"}, {"z", "\xc3\xa9"}, {"q", "a=b"}});
  CHECK(r.query_value("y") == "a b+");
  CHECK_FALSE(r.query_value("Y"));
}

TEST_CASE("request: a plus in the path stays a plus") {
  http::request r;
  r.set_target("/a+b");
  CHECK(r.decoded_path == "/a+b");
}

TEST_CASE("request: an absolute target gives the path of its URL") {
  http::request r;
  r.set_target("http://example.com:80/x/y?z=1");
  CHECK(r.path == "/x/y");
  CHECK(r.query_value("z") == "1");
  r.set_target("HTTPS://example.com");
  CHECK(r.path == "/");
  r.set_target("http://example.com?z=2");
  CHECK(r.path == "/");
  CHECK(r.query_value("z") == "2");
}

TEST_CASE("request: a bad target is refused and changes nothing") {
  http::request r;
  r.set_target("/good?x=1");
  for (const std::string& target : {""s,
                                    "a"s,
                                    "/a b"s,
                                    "/%"s,
                                    "/%4"s,
                                    "/%zz"s,
                                    "/%0"s,
                                    "/?q=%g1"s,
                                    "/a#b"s,
                                    "/\xc3\xa9"s,
                                    "/\r\n"s,
                                    "/\x7f"s,
                                    "/a\0"s,
                                    "/%00"s,
                                    "/?a=%00"s,
                                    "ftp://x/"s,
                                    "http://"s,
                                    "http:///x"s,
                                    "http://user@host/"s,
                                    "example.com:443"s,
                                    "**"s}) {
    CAPTURE(target);
    CHECK_THROWS_AS(r.set_target(target), http::message_error);
    CHECK(http::request::check_target(target));
  }
  CHECK(r.target == "/good?x=1");
  CHECK(r.query.size() == 1);
}

TEST_CASE("request: the media type has no parameters and is lower case; several or malformed ones are none") {
  const auto type = [](std::initializer_list<const char*> values) {
    http::request r;
    for (const char* value : values) r.headers.add("content-type", value);
    return r.media_type();
  };
  CHECK(type({"Application/JSON; charset=utf-8"}) == "application/json");
  CHECK(type({"application/json"}) == "application/json");
  CHECK(type({"text/plain ;x"}) == "text/plain");
  CHECK(type({}) == "");
  CHECK(type({""}) == "");
  CHECK(type({"application"}) == "");
  CHECK(type({"/json"}) == "");
  CHECK(type({"application/json, text/plain"}) == "");
  CHECK(type({"application/json", "application/json"}) == "");
}

TEST_CASE("request: keep-alive is the default of 1.1 and must be asked for in 1.0") {
  http::request r;
  CHECK(http::wants_keep_alive(r));
  r.headers.set("Connection", "foo, CLOSE");
  CHECK_FALSE(http::wants_keep_alive(r));
  r.version = http::version::http_1_0;
  r.headers.set("Connection", "foo");
  CHECK_FALSE(http::wants_keep_alive(r));
  r.headers.set("Connection", "Keep-Alive");
  CHECK(http::wants_keep_alive(r));
  r.headers.set("Connection", "keep-alive, close");
  CHECK_FALSE(http::wants_keep_alive(r));
}

TEST_CASE("response: on the wire with Date, Content-Length and Connection") {
  const auto answer = http::response::json(http::status::created, R"({"id":1})");
  http::wire_options options;
  options.date = std::chrono::sys_days(std::chrono::year(1994) / 11 / 6) + 8h + 49min + 37s;
  CHECK(http::serialise(answer, options) ==
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "Content-Length: 8\r\n\r\n{\"id\":1}");
  options.connection = http::wire_options::connection::close;
  CHECK(http::serialise_head(answer, options).find("\r\nConnection: close\r\n") != std::string::npos);
}

TEST_CASE("response: an HTTP/1.0 client is told when the connection stays open") {
  http::wire_options options;
  options.request_version = http::version::http_1_0;
  CHECK(http::serialise_head({}, options).find("\r\nConnection: keep-alive\r\n") != std::string::npos);
}

TEST_CASE("response: an empty body has Content-Length 0") {
  CHECK(http::serialise_head({}, {}) == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

TEST_CASE("response: to HEAD the same head as to GET and no body [row 441]") {
  const auto answer = http::response::text(http::status::not_found, "no such thing");
  http::wire_options options;
  const std::string get = http::serialise(answer, options);
  options.request_method = http::method::head;
  CHECK(http::serialise(answer, options) == get.substr(0, get.size() - answer.body.size()));
  CHECK(get.find("Content-Length: 13") != std::string::npos);
}

TEST_CASE("response: 204 and 304 have neither body nor Content-Length, other fields are kept [row 422]") {
  for (const auto code : {http::status::no_content, http::status::not_modified}) {
    http::response answer = http::response::text(code, "must not be sent");
    answer.headers.add("ETag", "\"1\"");
    const std::string wire = http::serialise(answer, {});
    CHECK(wire.find("Content-Length") == std::string::npos);
    CHECK(wire.find("ETag: \"1\"\r\n") != std::string::npos);
    CHECK(wire.ends_with("\r\n\r\n"));
  }
}

TEST_CASE("response: framing fields of the handler are not used") {
  http::response answer = http::response::text(http::status::ok, "abc");
  answer.headers.add("content-length", "99");
  answer.headers.add("Transfer-Encoding", "chunked");
  answer.headers.add("connection", "close");
  answer.headers.add("date", "yesterday");
  CHECK(http::serialise(answer, {}) ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\nabc");
}

TEST_CASE("deadline: milliseconds from 1 to 3600000, in digits only, once") {
  const auto read = [](std::initializer_list<const char*> values) {
    http::headers fields;
    for (const char* value : values) fields.add("belay-deadline-ms", value);
    return http::read_deadline(fields);
  };
  CHECK_FALSE(read({}));
  CHECK(read({"1"}) == 1ms);
  CHECK(read({"250"}) == 250ms);
  CHECK(read({"3600000"}) == 3'600'000ms);
  for (const char* bad : {"", "0", "-1", "+1", "1.5", "abc", "18446744073709551616", "4294967297", "3600001",
                          "250ms", "0x10", "1 2", "1,1"}) {
    CAPTURE(bad);
    try {
      (void)read({bad});
      FAIL("accepted");
    } catch (const http::problem_error& e) {
      CHECK(e.problem().status == http::status::bad_request);
      CHECK(e.problem().code == "invalid_deadline");
    }
  }
  CHECK_THROWS_AS((void)read({"1", "1"}), http::problem_error);
}
