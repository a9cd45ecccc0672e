// SPDX-License-Identifier: Apache-2.0
// The request parser: good and bad input, whole and byte by byte, limits, pipelining.

#include <belay/http/request_parser.hpp>
#include <doctest/doctest.h>

#include <array>
#include <ostream>
#include <random>
#include <vector>

namespace http = belay::http;
using namespace std::string_literals;
using state = http::request_parser::state;

namespace belay::http {
// For doctest's messages.
std::ostream& operator<<(std::ostream& out, request_parser::state value) {
  return out << static_cast<int>(value);
}
}  // namespace belay::http

namespace {

// What one connection gave for some bytes.
struct result {
  std::vector<http::request> requests{};
  int status = 0;  // of the failure; 0: none
  std::string code{};
  std::size_t failed_at = 0;  // how many bytes had been fed
  std::size_t left = 0;

  friend bool operator==(const result& a, const result& b) {
    if (a.requests.size() != b.requests.size() || a.status != b.status || a.code != b.code) return false;
    for (std::size_t i = 0; i != a.requests.size(); ++i) {
      const http::request &x = a.requests[i], &y = b.requests[i];
      if (x.method_name != y.method_name || x.target != y.target || x.body != y.body ||
          x.version != y.version)
        return false;
      if (!std::equal(x.headers.begin(), x.headers.end(), y.headers.begin(), y.headers.end())) return false;
    }
    return true;
  }
};

void advance(http::request_parser& parser, result& out, std::size_t fed) {
  while (true) {
    switch (parser.current()) {
      case state::head_complete: parser.accept_body(); break;
      case state::complete:
        out.requests.push_back(parser.take());
        parser.next();
        break;
      case state::failed:
        if (out.status == 0) {
          out.status = http::to_int(parser.error().status);
          out.code = parser.error().code;
          out.failed_at = fed;
          CHECK_FALSE(parser.error().detail.empty());
        }
        return;
      default: return;
    }
    if (parser.current() == state::reading_head || parser.current() == state::reading_body) return;
  }
}

// Feeds `bytes` in pieces of `piece`.
result parse(std::string_view bytes, std::size_t piece = std::string_view::npos,
             http::parser_options options = {}) {
  http::request_parser parser(options);
  result out;
  for (std::size_t at = 0; at < bytes.size(); at += std::min(piece, bytes.size() - at)) {
    parser.feed(bytes.substr(at, piece));
    advance(parser, out, std::min(bytes.size(), at + std::min(piece, bytes.size() - at)));
  }
  out.left = parser.buffered();
  return out;
}

const std::string host = "Host: x\r\n";

struct bad_input {
  std::string bytes;
  int status;
};

const std::vector<bad_input>& bad_inputs() {
  static const std::vector<bad_input> list = {
      // request line
      {"GET\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400},
      {" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET / http/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/1\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/11\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/1.11\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/a.b\r\nHost: x\r\n\r\n", 400},
      {"GET / XTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
      {"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505},
      {"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505},
      {"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, 400},  // a TLS client hello
      {"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"s, 400},
      // line endings
      {"GET / HTTP/1.1\nHost: x\n\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\n\rX", 400},
      {"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      // fields
      {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n"s, 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n"s, 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: \x7f\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\n\xc3\xa9: b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nConnection: clo se\r\n\r\n", 400},
      // host
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
      // framing
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1.0\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1 1\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1,1\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: identity\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
       "identity\r\n\r\n0\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked;x=1\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       501},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx", 417},
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\nx", 417},
      // chunks
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1 x\r\na\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;\r\na\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nffffffffffffffff\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", 400},
  };
  return list;
}

}  // namespace

TEST_CASE("request parser: a plain request") {
  const auto r = parse("GET /users/7?x=1 HTTP/1.1\r\nHost: example.com:80\r\nX-A:  b \r\n\r\n");
  REQUIRE(r.requests.size() == 1);
  const http::request& q = r.requests[0];
  CHECK(q.method == http::method::get);
  CHECK(q.path == "/users/7");
  CHECK(q.query_value("x") == "1");
  CHECK(q.version == http::version::http_1_1);
  CHECK(q.headers.find("x-a") == "b");
  CHECK(q.body.empty());
  CHECK(r.left == 0);
}

TEST_CASE(
    "request parser: bad input is refused with its status, cut or whole alike, at the same byte of the head "
    "[row 431]") {
  for (const bad_input& input : bad_inputs()) {
    CAPTURE(input.bytes);
    const result whole = parse(input.bytes);
    CHECK(whole.status == input.status);
    CHECK(whole.requests.empty());
    const result cut = parse(input.bytes, 1);
    CHECK(cut == whole);
    // Nothing may depend on what follows the byte that gave the verdict.
    CHECK(parse(input.bytes.substr(0, cut.failed_at)) == whole);
    const result three = parse(input.bytes, 3);
    CHECK(three == whole);
  }
}

TEST_CASE("request parser: the fields are those that were sent, as they were sent") {
  const auto fields = [](const std::string& bytes) {
    const result r = parse(bytes);
    REQUIRE(r.requests.size() == 1);
    std::string out;
    for (const http::header& field : r.requests[0].headers) out += field.name + "=" + field.value + ";";
    return out;
  };
  CHECK(fields("POST / HTTP/1.1\r\nhOST: x\r\nContent-Length:3\r\n\r\nabc") == "hOST=x;Content-Length=3;");
  CHECK(fields("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \tchunked \r\n\r\n0\r\nA: b\r\n\r\n") ==
        "Host=x;Transfer-Encoding=chunked;");
  CHECK(fields("GET / HTTP/1.0\r\nA:\r\na: \x80\xff\r\nConnection: , close,,x\r\n\r\n") ==
        "A=;a=\x80\xff;Connection=, close,,x;");
  CHECK(fields("GET / HTTP/1.0\r\n\r\n").empty());
}

TEST_CASE("request parser: a long line that ends badly is looked at once") {
  // As bytes come one by one, and as a whole; quadratic work would take minutes.
  http::request_parser parser({.head_limit = 4 * 1024 * 1024});
  std::string bytes = "GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(2 * 1024 * 1024, 'a');
  for (const char c : bytes) parser.feed({&c, 1});
  CHECK(parser.current() == state::reading_head);
  CHECK(parser.feed("\x01") == state::failed);
  http::request_parser whole({.head_limit = 4 * 1024 * 1024});
  CHECK(whole.feed(bytes + "\x01") == state::failed);
}

TEST_CASE("request parser: a body by Content-Length, cut anywhere") {
  const std::string bytes = "POST /a HTTP/1.1\r\n" + host + "Content-Length: 11\r\n\r\nhello\0world"s;
  const result whole = parse(bytes);
  REQUIRE(whole.requests.size() == 1);
  CHECK(whole.requests[0].body == "hello\0world"s);
  for (std::size_t piece = 1; piece != bytes.size(); ++piece) CHECK(parse(bytes, piece) == whole);
}

TEST_CASE(
    "request parser: a chunked body with extensions and trailers, cut anywhere; trailers are no headers") {
  const std::string bytes = "POST /a HTTP/1.1\r\n" + host +
                            "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n6;a=b;c=\"d;\\\"e\"\r\n "
                            "world\r\n000\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n";
  const result whole = parse(bytes);
  REQUIRE(whole.requests.size() == 1);
  CHECK(whole.requests[0].body == "hello world");
  CHECK_FALSE(whole.requests[0].headers.contains("X-Trailer"));
  CHECK(whole.requests[0].headers.count("Host") == 1);
  CHECK(whole.left == 0);
  for (std::size_t piece = 1; piece != bytes.size(); ++piece) CHECK(parse(bytes, piece) == whole);
}

TEST_CASE("request parser: pipelined requests come one after the other, cut anywhere") {
  const std::string one = "POST /1 HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc";
  const std::string two =
      "POST /2 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n";
  const std::string three = "\r\nGET /3 HTTP/1.0\r\n\r\n";
  const std::string bytes = one + two + three + one + "GET /half HT";
  const result whole = parse(bytes);
  REQUIRE(whole.requests.size() == 4);
  CHECK(whole.requests[0].body == "abc");
  CHECK(whole.requests[1].body == "de");
  CHECK(whole.requests[2].path == "/3");
  CHECK(whole.requests[3].path == "/1");
  CHECK(whole.left == 12);
  for (std::size_t piece = 1; piece < 40; ++piece) CHECK(parse(bytes, piece) == whole);
}

TEST_CASE("request parser: a good request before a bad one is still delivered") {
  const result r = parse("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n");
  CHECK(r.requests.size() == 1);
  CHECK(r.status == 400);
}

TEST_CASE("request parser: the next request waits while the present one is not taken further") {
  http::request_parser parser;
  CHECK_FALSE(parser.started());
  CHECK(parser.feed("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n") ==
        state::head_complete);
  CHECK(parser.buffered() == 28);
  CHECK(parser.accept_body() == state::complete);
  CHECK(parser.feed("GET /3") == state::complete);
  CHECK(parser.take().path == "/1");
  CHECK(parser.next() == state::head_complete);
  CHECK(parser.head().path == "/2");
  CHECK(parser.accept_body() == state::complete);
  CHECK(parser.next() == state::reading_head);
  CHECK(parser.started());
  CHECK(parser.buffered() == 6);
}

TEST_CASE("request parser: empty lines before a request are skipped, and do not start one") {
  http::request_parser parser;
  CHECK(parser.feed("\r\n\r\n") == state::reading_head);
  CHECK_FALSE(parser.started());
  CHECK(parser.feed("G") == state::reading_head);
  CHECK(parser.started());
  CHECK(parser.feed("ET / HTTP/1.0\r\n\r\n") == state::head_complete);
}

TEST_CASE(
    "request parser: a head of exactly the limit is fine, one byte more is 431, also when it never ends") {
  const auto head = [](std::size_t size) {
    const std::string start = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
    return start + std::string(size - start.size() - 4, 'a') + "\r\n\r\n";
  };
  CHECK(parse(head(15 * 1024)).status == 0);
  CHECK(parse(head(16384)).requests.size() == 1);
  CHECK(parse(head(16384), 1).requests.size() == 1);
  CHECK(parse(head(16385)).status == 431);
  CHECK(parse(head(16385), 1).status == 431);
  CHECK(parse(head(16385)).code == "headers_too_large");
  const std::string endless = "GET / HTTP/1.1\r\nX: " + std::string(100'000, 'a');
  CHECK(parse(endless, 1).failed_at == 16385);
  CHECK(parse("GET /" + std::string(20'000, 'a')).status == 431);
  CHECK(parse(std::string(20'000, 'a')).status == 431);
  std::string lines;
  while (lines.size() < 20'000) lines += "\r\n";
  CHECK(parse(lines).status == 431);
  CHECK(parse(lines, 1).failed_at == 16385);
  std::string many = "GET / HTTP/1.1\r\nHost: x\r\n";
  while (many.size() < 16'000) many += "a:\r\n";
  CHECK(parse(many + "\r\n").requests.at(0).headers.size() > 3900);
}

TEST_CASE("request parser: the limit counts for each request of a connection anew") {
  const std::string one = "GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(10'000, 'a') + "\r\n\r\n";
  CHECK(parse(one + one + one).requests.size() == 3);
  CHECK(parse(one + one + one, 7).requests.size() == 3);
}

TEST_CASE("request parser: a body over the limit is 413, announced before it is read, or chunked") {
  const http::parser_options small{.body_limit = 10};
  const std::string head = "POST / HTTP/1.1\r\n" + host;
  CHECK(parse(head + "Content-Length: 10\r\n\r\n0123456789", 1, small).requests.size() == 1);
  const auto announced = parse(head + "Content-Length: 11\r\n\r\n", 1, small);
  CHECK(announced.status == 413);
  CHECK(announced.code == "payload_too_large");
  CHECK(announced.failed_at == (head + "Content-Length: 11\r\n\r\n").size());
  CHECK(parse(head + "Content-Length: 18446744073709551615\r\n\r\n", 1, small).status == 413);
  const std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
  CHECK(parse(chunked + "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", 1, small).requests.size() == 1);
  CHECK(parse(chunked + "5\r\n01234\r\n6\r\n", 1, small).status == 413);
  CHECK(parse(chunked + "b\r\n", 1, small).status == 413);
  const http::parser_options none{.body_limit = 0};
  CHECK(parse(head + "Content-Length: 0\r\n\r\n", 1, none).requests.size() == 1);
  CHECK(parse(head + "Content-Length: 1\r\n\r\n", 1, none).status == 413);
}

TEST_CASE("request parser: a megabyte exactly is fine with the default limit") {
  const std::string megabyte(1024 * 1024, 'x');
  const std::string head = "POST / HTTP/1.1\r\n" + host;
  const auto by_length = parse(head + "Content-Length: 1048576\r\n\r\n" + megabyte, 4096);
  REQUIRE(by_length.requests.size() == 1);
  CHECK(by_length.requests[0].body == megabyte);
  const auto chunked =
      parse(head + "Transfer-Encoding: chunked\r\n\r\n100000\r\n" + megabyte + "\r\n0\r\n\r\n", 4096);
  REQUIRE(chunked.requests.size() == 1);
  CHECK(chunked.requests[0].body == megabyte);
  CHECK(parse(head + "Transfer-Encoding: chunked\r\n\r\n100001\r\n", 4096).status == 413);
}

TEST_CASE("request parser: endless chunk extensions and trailers are refused, cut or whole alike") {
  const std::string head = "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string extension = head + "1;a=" + std::string(20'000, 'b');
  CHECK(parse(extension, 100).status == 400);
  CHECK(parse(extension + "\r\nx\r\n0\r\n\r\n").status == 400);
  std::string trailers = head + "0\r\n";
  while (trailers.size() < 20'000) trailers += "X: y\r\n";
  CHECK(parse(trailers, 100).status == 400);
  CHECK(parse(trailers + "\r\n").status == 400);
}

TEST_CASE("request parser: control characters in the line of a chunk, and folded trailers, are refused") {
  const std::string head = "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string good = head + "5;a=\"x y\";b\tc\r\nhello\r\n0;z\r\nX: a b\r\n\r\n";
  for (const std::string& line :
       {std::string("5;a=\"x\ny\""), std::string("5;a=\"\n0\n\nGET /x\""), std::string("5;a=\"x\0y\"", 10),
        std::string("5;a=\"\x01\""), std::string("5;a=\"\x7f\"")}) {
    CAPTURE(line);
    CHECK(parse(head + line + "\r\nhello\r\n0\r\n\r\n").status == 400);
    CHECK(parse(head + line + "\r\nhello\r\n0\r\n\r\n", 1).status == 400);
    CHECK(parse(head + "1\r\nx\r\n" + line + "\r\nhello\r\n0\r\n\r\n").status == 400);
  }
  for (const char* trailers : {"X: a\r\n b\r\n\r\n", "X: a\r\n\tb\r\n\r\n", "X: a\x01\r\n\r\n"}) {
    CAPTURE(trailers);
    CHECK(parse(head + "0\r\n" + trailers).status == 400);
    CHECK(parse(head + "0\r\n" + trailers, 1).status == 400);
  }
}

TEST_CASE("request parser: many small chunks are read in linear time and memory") {
  std::string bytes = "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i != 100'000; ++i) bytes += "1\r\nx\r\n";
  bytes += "0\r\n\r\n";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{1000}, bytes.size()}) {
    const auto r = parse(bytes, piece);
    REQUIRE(r.requests.size() == 1);
    CHECK(r.requests[0].body.size() == 100'000);
  }
}

TEST_CASE("request parser: Expect is surfaced, only when there is a body, only in 1.1") {
  const auto expects = [](const std::string& bytes) {
    http::request_parser parser;
    REQUIRE(parser.feed(bytes) == state::head_complete);
    return parser.expects_continue();
  };
  CHECK(expects("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"));
  CHECK(expects("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"));
  CHECK_FALSE(expects("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"));
  CHECK_FALSE(expects("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n"));
  CHECK_FALSE(expects("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
  CHECK_FALSE(expects("POST / HTTP/1.0\r\nExpect: nonsense\r\nContent-Length: 5\r\n\r\n"));
}

TEST_CASE(
    "request parser: an announced body that is too large fails at accept_body, so that the head can be "
    "judged first") {
  http::request_parser parser;
  CHECK(parser.feed("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n") ==
        state::head_complete);
  CHECK(parser.announced_length() == 2'000'000);
  CHECK(parser.has_body());
  CHECK(parser.keep_alive());
  CHECK(parser.accept_body() == state::failed);
  CHECK(parser.head().path == "/x");
}

TEST_CASE("request parser: a discarded body is counted and not kept") {
  http::request_parser parser;
  parser.feed("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
  CHECK(parser.accept_body(http::request_parser::body_mode::discard) == state::reading_body);
  CHECK(parser.feed("loGET / HTTP/1.0\r\n\r\n") == state::complete);
  CHECK(parser.take().body.empty());
  CHECK(parser.next() == state::head_complete);
}

TEST_CASE("request parser: a failed head still tells method, path and fields where they could be read") {
  http::request_parser parser;
  parser.feed("POST /users?x HTTP/2.0\r\n");
  CHECK(parser.current() == state::failed);
  CHECK(parser.head().path == "/users");
  CHECK(parser.head().method_name == "POST");
  http::request_parser hostless;
  hostless.feed("GET /a HTTP/1.1\r\ntraceparent: abc\r\n\r\n");
  CHECK(hostless.error().status == http::status::bad_request);
  CHECK(hostless.head().path == "/a");
  CHECK(hostless.head().headers.find("traceparent") == "abc");
  http::request_parser garbage;
  garbage.feed("garbage\r\n");
  CHECK(garbage.head().path == "/");
}

TEST_CASE("request parser: what is fed after a failure changes nothing") {
  http::request_parser parser;
  CHECK(parser.feed("bad\r\n") == state::failed);
  CHECK(parser.feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n") == state::failed);
  CHECK(parser.error().status == http::status::bad_request);
}

TEST_CASE("request parser: keep-alive follows version and Connection, also after the request was taken") {
  const auto keeps = [](const std::string& bytes) {
    http::request_parser parser;
    REQUIRE(parser.feed(bytes) == state::head_complete);
    REQUIRE(parser.accept_body() == state::complete);
    (void)parser.take();
    return parser.keep_alive();
  };
  CHECK(keeps("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  CHECK_FALSE(keeps("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  CHECK_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  CHECK(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

TEST_CASE("request parser: calls in the wrong state are misuse") {
  http::request_parser parser;
  CHECK_THROWS_AS(parser.accept_body(), belay::misuse_error);
  CHECK_THROWS_AS(parser.next(), belay::misuse_error);
  CHECK_THROWS_AS((void)parser.take(), belay::misuse_error);
  CHECK_THROWS_AS(http::request_parser({.head_limit = 10}), belay::misuse_error);
}

TEST_CASE("request parser: what was once sent ahead costs no memory between two requests") {
  http::request_parser parser;
  const std::string one = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  constexpr std::size_t requests = 4096;
  std::string many;
  for (std::size_t i = 0; i != requests; ++i) many += one;
  parser.feed(many);
  CHECK(parser.held_memory() >= many.size());
  for (std::size_t i = 0; i != requests; ++i) {
    REQUIRE(parser.accept_body() == state::complete);
    REQUIRE(parser.take().path == "/");
    REQUIRE((parser.next() == state::head_complete) == (i + 1 != requests));
  }
  CHECK(parser.held_memory() <= 16 * 1024);
  CHECK(parser.feed(one) == state::head_complete);
}

TEST_CASE("request parser: a streamed body that nobody takes is no part of the next request [row 430]") {
  http::request_parser parser;
  const std::string first = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
  const std::string second = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok";
  for (int round = 0; round != 3; ++round) {
    REQUIRE(parser.feed(first + second) == state::head_complete);
    REQUIRE(parser.accept_body(http::request_parser::body_mode::stream) == state::complete);
    CHECK(parser.take().body.empty());
    CHECK(parser.body_size() == 5);
    REQUIRE(parser.next() == state::head_complete);
    CHECK(parser.body_size() == 0);
    REQUIRE(parser.accept_body() == state::complete);
    CHECK(parser.take().body == "ok");
    REQUIRE(parser.next() == state::reading_head);
  }
}

TEST_CASE("request parser: mutated requests give the same result cut and whole") {
  std::mt19937 random(7);
  const std::array<std::string, 3> seeds = {
      "POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: y\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: "
      "close\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nT: u\r\n\r\n",
      "GET http://h/p HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n\r\nGET / "
      "HTTP/1.0\r\n\r\n"};
  const std::string alphabet = "\r\n\t :;,=\"0159afAFxG/%\x00\x7f\xff"s;
  for (int round = 0; round != 6000; ++round) {
    std::string bytes = seeds[random() % seeds.size()];
    for (auto edits = 1 + random() % 3; edits != 0; --edits) {
      const std::size_t at = random() % bytes.size();
      const char with = alphabet[random() % alphabet.size()];
      switch (random() % 3) {
        case 0: bytes[at] = with; break;
        case 1: bytes.insert(at, 1, with); break;
        default: bytes.erase(at, 1); break;
      }
    }
    CAPTURE(bytes);
    const result whole = parse(bytes);
    CHECK(parse(bytes, 1) == whole);
    CHECK(parse(bytes, 1 + random() % 17) == whole);
  }
}
