// SPDX-License-Identifier: Apache-2.0
// Fuzzes the request parser: cut and whole must agree, and what is parsed must keep the parser's promises.

#include <belay/http/request_parser.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace http = belay::http;
using state = http::request_parser::state;

namespace {

struct result {
  std::vector<http::request> requests{};
  int status = 0;
  state last = state::reading_head;
};

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "violated: %s\n", what);
    std::abort();
  }
}

result parse(std::string_view bytes, std::size_t piece) {
  http::request_parser parser({.head_limit = 512, .body_limit = 4096});
  result out;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    parser.feed(bytes.substr(at, piece));
    bool more = true;
    while (more) {
      switch (parser.current()) {
        case state::head_complete: parser.accept_body(); break;
        case state::complete:
          out.requests.push_back(parser.take());
          parser.next();
          break;
        default: more = false;
      }
    }
  }
  out.last = parser.current();
  if (out.last == state::failed) out.status = http::to_int(parser.error().status);
  return out;
}

void check(const http::request& r) {
  require(r.body.size() <= 4096, "body within its limit");
  require(!http::request::check_target(r.target), "target is valid");
  require(r.version == http::version::http_1_0 || r.headers.count("Host") == 1, "1.1 has one Host");
  require(!(r.headers.contains("Content-Length") && r.headers.contains("Transfer-Encoding")),
          "one kind of framing");
  for (const http::header& field : r.headers) {
    require(http::is_token(field.name), "name is a token");
    require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
            "value cannot split a message");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const result whole = parse(bytes, size);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{data[0]} % 13 + 2}) {
    const result cut = parse(bytes, piece);
    require(cut.requests.size() == whole.requests.size(), "the same number of requests, cut and whole");
    require(cut.status == whole.status && cut.last == whole.last, "the same end, cut and whole");
    for (std::size_t i = 0; i != cut.requests.size(); ++i) {
      require(cut.requests[i].body == whole.requests[i].body &&
                  cut.requests[i].target == whole.requests[i].target,
              "the same requests, cut and whole");
    }
  }
  for (const http::request& r : whole.requests) check(r);
  return 0;
}
