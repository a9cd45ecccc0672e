// SPDX-License-Identifier: Apache-2.0
// The response parser: what it takes, where a response ends, and what it refuses, however the bytes are cut.

#include <belay/http/response_parser.hpp>
#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace http = belay::http;
using state = http::response_parser::state;

namespace {

struct reading {
  state how = state::reading_head;
  http::response answer{};
  http::response_fault fault{};
  bool keeps_alive = false;
};

// In pieces of this size, then the end of the connection if it is to end.
reading parse(std::string_view bytes, std::size_t piece, bool ends, http::method by,
              http::parser_options limits) {
  http::response_parser parser(by, limits);
  for (std::size_t at = 0; at < bytes.size(); at += piece) parser.feed(bytes.substr(at, piece));
  if (ends) parser.end();
  reading out{.how = parser.current(), .fault = parser.fault(), .keeps_alive = parser.keeps_alive()};
  if (out.how == state::complete) out.answer = parser.take();
  return out;
}

// The same for each way to cut them, or it is a finding.
reading parse(std::string_view bytes, bool ends = false, http::method by = http::method::get,
              http::parser_options limits = {}) {
  const reading whole = parse(bytes, bytes.size() + 1, ends, by, limits);
  for (const std::size_t piece : {1U, 2U, 3U, 7U}) {
    INFO("in pieces of " << piece << ": " << bytes);
    const reading cut = parse(bytes, piece, ends, by, limits);
    CHECK(cut.how == whole.how);
    CHECK(cut.answer.body == whole.answer.body);
    CHECK(cut.fault.code == whole.fault.code);
    CHECK(cut.fault.detail == whole.fault.detail);
    CHECK(cut.keeps_alive == whole.keeps_alive);
  }
  return whole;
}

void check_refused(std::string_view bytes, std::string_view code = "bad_response") {
  INFO("bytes: " << bytes);
  const reading got = parse(bytes);
  CHECK(got.how == state::failed);
  CHECK(got.fault.code == code);
  CHECK(!got.fault.detail.empty());
}

const std::string ok = "HTTP/1.1 200 OK\r\n";

}  // namespace

TEST_CASE("response parser: a body by its length, in chunks, up to the end of the connection") {
  const reading by_length = parse(ok + "Content-Length: 5\r\nX-A: b\r\n\r\nhello");
  REQUIRE(by_length.how == state::complete);
  CHECK(by_length.answer.status == http::status::ok);
  CHECK(by_length.answer.body == "hello");
  CHECK(by_length.answer.headers.find("x-a") == "b");
  CHECK(by_length.keeps_alive);

  const reading chunked =
      parse(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-Trailer: t\r\n\r\n");
  REQUIRE(chunked.how == state::complete);
  CHECK(chunked.answer.body == "hello");
  CHECK(!chunked.answer.headers.contains("X-Trailer"));
  CHECK(chunked.keeps_alive);
  CHECK(parse(ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").how == state::complete);

  CHECK(parse(ok + "\r\nhello").how == state::reading_body);
  const reading to_the_end = parse(ok + "\r\nhello", true);
  REQUIRE(to_the_end.how == state::complete);
  CHECK(to_the_end.answer.body == "hello");
  CHECK(!to_the_end.keeps_alive);
}

TEST_CASE("response parser: HEAD, 204 and 304 have no body, whatever they announce") {
  for (const auto& [bytes, by] : std::vector<std::pair<std::string, http::method>>{
           {ok + "Content-Length: 5\r\n\r\n", http::method::head},
           {ok + "Transfer-Encoding: chunked\r\n\r\n", http::method::head},
           {ok + "\r\n", http::method::head},
           {"HTTP/1.1 204 No Content\r\n\r\n", http::method::get},
           {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", http::method::get}}) {
    const reading got = parse(bytes, false, by);
    INFO("bytes: " << bytes);
    CHECK(got.how == state::complete);
    CHECK(got.answer.body.empty());
    CHECK(got.keeps_alive);
  }
}

TEST_CASE("response parser: interim responses are skipped, but not without end") {
  const std::string interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
  const reading got = parse(interim + ok + "Content-Length: 2\r\n\r\nhi");
  REQUIRE(got.how == state::complete);
  CHECK(got.answer.status == http::status::ok);
  CHECK(got.answer.body == "hi");
  CHECK(!got.answer.headers.contains("Link"));
  check_refused("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  std::string many;
  for (int i = 0; i < 20; ++i) many += "HTTP/1.1 100 Continue\r\n\r\n";
  check_refused(many);
}

TEST_CASE("response parser: whether the connection can be used again") {
  const auto kept = [](const std::string& bytes) { return parse(bytes).keeps_alive; };
  CHECK(kept(ok + "Content-Length: 0\r\n\r\n"));
  CHECK(!kept(ok + "Content-Length: 0\r\nConnection: close\r\n\r\n"));
  CHECK(!kept("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
  CHECK(kept("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"));
  // Who announces a body where there is none, may send it all the same.
  CHECK(!kept("HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n"));
  CHECK(!kept("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"));
  CHECK(!kept("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"));
  CHECK(kept("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"));
  CHECK(kept("HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n"));
}

TEST_CASE("response parser: bytes behind a response are not taken, and the connection is not used again") {
  http::response_parser parser;
  CHECK(parser.feed(ok + "Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n") == state::complete);
  CHECK(!parser.keeps_alive());
  CHECK(parser.take().body == "hi");
}

TEST_CASE("response parser: what is no response is refused by its first bytes") {
  for (const char* bytes : {"SSH-2.0-OpenSSH_9.2\r\n", "hello", "\x16\x03\x01", "\r\n", "\n",
                            "HTTP/2.0 200 OK\r\n", "http/1.1 200 OK\r\n"}) {
    check_refused(bytes);
  }
}

TEST_CASE("response parser: malformed heads are refused") {
  for (const std::string& bytes : {"HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 099 X\r\n",
                                   "HTTP/1.1 600 X\r\n", "HTTP/1.1 abc OK\r\n", "HTTP/1.12 200 OK\r\n",
                                   "HTTP/1.1  200 OK\r\n", "HTTP/1.1 200 OK\n", "HTTP/1.1 200 \x01\r\n"}) {
    check_refused(bytes);
  }
  for (const char* fields : {"X : y\r\n\r\n", "X: a\r\n b\r\n\r\n", "X: a\rb\r\n\r\n", "X: a\nY: b\r\n\r\n",
                             "no colon\r\n\r\n", ": x\r\n\r\n"}) {
    check_refused(ok + fields);
  }
}

TEST_CASE("response parser: an ambiguous end of the body is refused") {
  for (const char* fields :
       {"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length: -1\r\n\r\n",
        "Content-Length: 5, 5\r\n\r\n", "Content-Length: 1e3\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    check_refused(ok + fields);
  }
  check_refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (const char* chunks :
       {"x\r\n", "-1\r\n", "5\nhello\r\n0\r\n\r\n", "3\r\nhello\r\n0\r\n\r\n", "fffffffffffffffff\r\n",
        "5;a=\"x\ny\"\r\nhello\r\n0\r\n\r\n", "0\r\nX: a\r\n b\r\n\r\n"}) {
    const reading got = parse(ok + "Transfer-Encoding: chunked\r\n\r\n" + chunks);
    INFO("chunks: " << std::string(chunks));
    CHECK(got.how == state::failed);
  }
}

TEST_CASE("response parser: limits on head and body, however the body is framed") {
  const http::parser_options small{.head_limit = 100, .body_limit = 10};
  const auto code = [&](const std::string& bytes) {
    const reading got = parse(bytes, false, http::method::get, small);
    return got.how == state::failed ? got.fault.code : std::string();
  };
  CHECK(code(ok + "X: " + std::string(100, 'x')) == "response_too_large");
  CHECK(code(ok + "Content-Length: 11\r\n\r\n") == "response_too_large");
  CHECK(code(ok + "Content-Length: 10\r\n\r\n0123456789").empty());
  CHECK(code(ok + "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n") == "response_too_large");
  CHECK(code(ok + "\r\n0123456789").empty());
  CHECK(code(ok + "\r\n01234567890") == "response_too_large");
  CHECK(code(ok + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(200, 'x')) == "bad_response");
}

TEST_CASE("response parser: an end before the end") {
  for (const std::string& bytes :
       {std::string(), std::string("HTT"), ok + "Content-", ok + "Content-Length: 5\r\n\r\nhel",
        ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"}) {
    const reading got = parse(bytes, true);
    INFO("bytes: " << bytes);
    CHECK(got.how == state::failed);
    CHECK(got.fault.code == "response_truncated");
  }
}

TEST_CASE("response parser: misuse") {
  CHECK_THROWS_AS(http::response_parser(http::method::get, {.head_limit = 1}), belay::misuse_error);
  http::response_parser parser;
  CHECK_THROWS_AS(static_cast<void>(parser.take()), belay::misuse_error);
}
