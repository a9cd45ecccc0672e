// SPDX-License-Identifier: Apache-2.0
// What our request parser refuses and Boost.Beast's takes: each line of decision 0057, so that the list stays true on both sides.

#include <belay/http/request_parser.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace beast = boost::beast::http;
namespace http = belay::http;
using namespace std::string_literals;
using state = http::request_parser::state;

namespace {

// The status of the refusal; 0: it is a request.
int ours(std::string_view bytes) {
  http::request_parser parser;
  parser.feed(bytes);
  if (parser.current() == state::head_complete) parser.accept_body();
  if (parser.current() == state::failed) return http::to_int(parser.error().status);
  return parser.current() == state::complete ? 0 : -1;
}

struct taken {
  beast::request<beast::string_body> request{};
  std::size_t left = 0;  // bytes that it takes for the next request
};

std::optional<taken> theirs(std::string_view bytes) {
  beast::request_parser<beast::string_body> parser;
  parser.eager(true);
  for (std::string_view rest = bytes; !parser.is_done();) {
    boost::beast::error_code wrong;
    rest.remove_prefix(parser.put({rest.data(), rest.size()}, wrong));
    if (wrong) return std::nullopt;
    if (parser.is_done()) return taken{parser.release(), rest.size()};
  }
  return std::nullopt;
}

struct vector {
  std::string_view what;
  std::string bytes;
  int status;            // ours
  std::size_t left = 0;  // what remains after Beast's request
};

const std::string get = "GET / HTTP/1.1\r\nHost: x\r\n";
const std::string post = "POST / HTTP/1.1\r\nHost: x\r\n";
const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
const std::string end_of_chunks = "\r\n\r\n0\r\n\r\n";

const std::vector<vector>& taken_by_beast_only() {
  static const std::vector<vector> list = {
      // The end of the body is somewhere else for another reader: smuggling.
      {"chunked is not the last coding", post + "Transfer-Encoding: chunked, gzip" + end_of_chunks, 400, 5},
      {"chunked twice in a list", post + "Transfer-Encoding: chunked, chunked" + end_of_chunks, 400, 5},
      {"a coding that looks like chunked", post + "Transfer-Encoding: xchunked" + end_of_chunks, 400, 5},
      {"a quoted coding", post + "Transfer-Encoding: \"chunked\"" + end_of_chunks, 400, 5},
      {"a coding that is not chunked", post + "Transfer-Encoding: gzip\r\n\r\n", 400},
      {"identity", post + "Transfer-Encoding: identity\r\n\r\n", 400},
      {"chunked with a parameter", post + "Transfer-Encoding: chunked;x=1" + end_of_chunks, 400},
      {"an empty coding in the list", post + "Transfer-Encoding: , chunked" + end_of_chunks, 400},
      {"gzip that nobody takes off", post + "Transfer-Encoding: gzip, chunked" + end_of_chunks, 501},
      {"two fields of codings",
       post + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked" + end_of_chunks, 501},
      {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked" + end_of_chunks, 400},
      {"two equal lengths", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
      {"a list of equal lengths", post + "Content-Length: 3, 3\r\n\r\nabc", 400},
      {"a folded coding", post + "Transfer-Encoding:\r\n chunked" + end_of_chunks, 400},
      {"a line end in a chunk's extension", chunked + "1;a=\"\n\"\r\nx\r\n0\r\n\r\n", 400},
      {"a control character in a chunk's extension", chunked + "1;a=\"\x01\"\r\nx\r\n0\r\n\r\n", 400},
      {"a folded trailer", chunked + "0\r\nA: b\r\n c\r\n\r\n", 400},
      {"a folded field", get + "A: b\r\n c\r\n\r\n", 400},
      // Another host or path for another reader.
      {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
      {"a host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
      {"a target that is no path", "GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a fragment", "GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"bytes above 127 in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a malformed percent-encoding", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"an encoded NUL", "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      // The client waits for what never comes.
      {"an unknown expectation", post + "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx", 417},
  };
  return list;
}

}  // namespace

TEST_CASE("strictness: what Beast takes for a request and we refuse [row 431]") {
  for (const vector& one : taken_by_beast_only()) {
    CAPTURE(one.what);
    CHECK(ours(one.bytes) == one.status);
    const std::optional<taken> other = theirs(one.bytes);
    REQUIRE(other);
    CHECK(other->left == one.left);
  }
}

TEST_CASE("strictness: what both refuse") {
  for (const std::string& bytes : {
           "GET / HTTP/1.1\nHost: x\n\n"s,
           get + "A: b\n\r\n",
           get + "A: b\rc\r\n\r\n",
           get + "A: b\0c\r\n\r\n"s,
           post + "Content-Length : 3\r\n\r\nabc",
           post + "Content-Length: 3\r\nTransfer-Encoding: chunked" + end_of_chunks,
           post + "Transfer-Encoding: chunked\r\nContent-Length: 3" + end_of_chunks,
           post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
           post + "Content-Length: +3\r\n\r\nabc",
           post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" + end_of_chunks,
           chunked + "1\nx\r\n0\r\n\r\n",
           chunked + "10000000000000001\r\nx\r\n0\r\n\r\n",
           chunked + "0\r\nContent-Length: 5\r\n\r\n",
       }) {
    CAPTURE(bytes);
    CHECK(ours(bytes) >= 400);
    CHECK_FALSE(theirs(bytes));
  }
}

TEST_CASE("strictness: a trailer becomes a header at Beast, and is dropped here") {
  const std::string bytes = chunked + "0\r\nHost: evil\r\n\r\n";
  const std::optional<taken> other = theirs(bytes);
  REQUIRE(other);
  CHECK(other->request.count("Host") == 2);
  http::request_parser parser;
  parser.feed(bytes);
  REQUIRE(parser.accept_body() == state::complete);
  CHECK(parser.take().headers.count("Host") == 1);
}
