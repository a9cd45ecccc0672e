// SPDX-License-Identifier: Apache-2.0
// Fuzzes the request parser: cut and whole, streamed and not, must agree; and what is parsed must keep the parser's promises.

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

// The same with bodies taken as they come: what a handler sees that reads while the client sends. Every third body is left in the
// middle, and the rest dropped.
result parse_streaming(std::string_view bytes, std::size_t piece) {
  http::request_parser parser({.head_limit = 512, .body_limit = 4096});
  result out;
  bool left = false;
  const auto take = [&] {
    require(parser.body_size() <= 4096, "no more of a body than its limit");
    if (!left && !out.requests.empty()) out.requests.back().body += parser.take_body();
  };
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    parser.feed(bytes.substr(at, piece));
    bool more = true;
    while (more) {
      switch (parser.current()) {
        case state::head_complete:
          left = out.requests.size() % 3 == 2;
          if (parser.accept_body(http::request_parser::body_mode::stream) == state::failed) break;
          out.requests.push_back(parser.take());
          require(out.requests.back().body.empty(), "the body is apart");
          if (left && parser.current() == state::reading_body)
            parser.accept_body(http::request_parser::body_mode::discard);
          take();
          break;
        case state::complete:
          take();
          parser.next();
          break;
        case state::reading_body:
          take();
          more = false;
          break;
        default: more = false;
      }
    }
  }
  out.last = parser.current();
  if (out.last == state::failed) out.status = http::to_int(parser.error().status);
  return out;
}

// Streamed or whole, the requests are the same, as far as they were not left; and so is the end.
void compare(const result& whole, const result& streamed) {
  require(streamed.last == whole.last && streamed.status == whole.status, "the same end, whole and streamed");
  require(streamed.requests.size() >= whole.requests.size(), "no request is missing when streamed");
  for (std::size_t i = 0; i != whole.requests.size(); ++i) {
    require(streamed.requests[i].target == whole.requests[i].target, "the same requests, whole and streamed");
    require(i % 3 == 2 || streamed.requests[i].body == whole.requests[i].body,
            "the same bodies, whole and streamed");
  }
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
  for (const std::size_t piece : {size, std::size_t{1}, std::size_t{data[0]} % 13 + 2}) {
    compare(whole, parse_streaming(bytes, piece));
  }
  for (const http::request& r : whole.requests) check(r);
  return 0;
}
