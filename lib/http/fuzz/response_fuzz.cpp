// SPDX-License-Identifier: Apache-2.0
// Fuzzes the response parser: cut and whole must agree, and what is parsed must keep the parser's promises. And references of redirects.

#include <belay/http/response_parser.hpp>
#include <belay/http/url.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace http = belay::http;
using state = http::response_parser::state;

namespace {

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "violated: %s\n", what);
    std::abort();
  }
}

struct result {
  state last = state::reading_head;
  std::string fault{};
  bool keeps_alive = false;
  std::optional<http::response> message{};
};

result parse(std::string_view bytes, std::size_t piece, http::method asked_by, bool ends) {
  http::response_parser parser(asked_by, {.head_limit = 512, .body_limit = 4096});
  for (std::size_t at = 0; at < bytes.size(); at += piece) parser.feed(bytes.substr(at, piece));
  if (ends) parser.end();
  result out;
  out.last = parser.current();
  out.fault = parser.fault().code;
  out.keeps_alive = parser.keeps_alive();
  if (out.last == state::complete) out.message = parser.take();
  return out;
}

void check(const http::response& r, http::method asked_by) {
  const int code = http::to_int(r.status);
  require(code >= 200 && code <= 599, "the status is final");
  require(r.body.size() <= 4096, "body within its limit");
  require(asked_by != http::method::head || r.body.empty(), "HEAD has no body");
  require(!(r.headers.contains("Content-Length") && r.headers.contains("Transfer-Encoding")),
          "one kind of framing");
  for (const http::header& field : r.headers) {
    require(http::is_token(field.name), "name is a token");
    require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
            "value cannot split a message");
  }
}

void resolve(std::string_view reference) {
  static const http::url base = http::url::parse("https://example.org/a/b?c");
  try {
    const http::url found = base.resolve(reference);
    require(!http::request::check_target(found.target), "the target can be sent");
    require(!found.host.empty() && found.at.port != 0, "there is somewhere to go");
    require(found.host.find_first_of(std::string_view("\r\n\0 /@", 6)) == std::string::npos,
            "the host is one");
  } catch (const http::message_error&) {
    return;  // said clearly
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  resolve(bytes);
  for (const http::method asked_by : {http::method::get, http::method::head}) {
    for (const bool ends : {false, true}) {
      const result whole = parse(bytes, size, asked_by, ends);
      for (const std::size_t piece : {std::size_t{1}, std::size_t{data[0]} % 13 + 2}) {
        const result cut = parse(bytes, piece, asked_by, ends);
        require(cut.last == whole.last && cut.fault == whole.fault, "the same end, cut and whole");
        require(cut.message.has_value() == whole.message.has_value(), "a response, cut and whole");
        if (whole.message) {
          require(cut.message->body == whole.message->body && cut.message->status == whole.message->status,
                  "the same response, cut and whole");
        }
      }
      if (whole.message) check(*whole.message, asked_by);
    }
  }
  return 0;
}
