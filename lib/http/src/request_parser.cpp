// SPDX-License-Identifier: Apache-2.0
// The request parser: the head is cut out and checked line by line here, fields and bodies are parsed by
// Boost.Beast.

#include <belay/http/request_parser.hpp>

#include <algorithm>
#include <utility>

#include "message_parser.hpp"

namespace belay::http {
namespace {

using message_parser = detail::message_parser<true>;
using state = request_parser::state;
using body_mode = request_parser::body_mode;

bool is_host(std::string_view text) noexcept {
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && std::string_view("-._~%!$&'()*+;=:[]").find(c) == std::string_view::npos) return false;
  }
  return true;
}

}  // namespace

struct request_parser::impl {
  explicit impl(parser_options from) : options(from) {}

  parser_options options;
  state now = state::reading_head;
  std::string buffer;
  std::size_t begin = 0;  // of the bytes not used up
  // While reading a head; offsets into `buffer`.
  std::size_t scanned = 0;
  std::size_t line = 0;     // start of the present line
  std::size_t skipped = 0;  // empty lines before the request line: they count as part of the head
  bool have_request_line = false;
  // The present request.
  request message;
  std::optional<message_parser> parser;
  std::optional<std::uint64_t> announced;
  bool chunked = false;
  bool expects = false;
  bool keep_alive = false;
  bool streaming = false;  // the body is not part of the message
  protocol_error why;

  state fail(status code, std::string_view name, std::string_view detail) {
    why = {code, std::string(name), std::string(detail)};
    return now = state::failed;
  }
  state bad(std::string_view detail) { return fail(status::bad_request, "bad_request", detail); }

  [[nodiscard]] std::string_view pending() const noexcept { return std::string_view(buffer).substr(begin); }

  void start() {
    message = {};
    parser.reset();
    announced.reset();
    chunked = false;
    expects = false;
    keep_alive = false;
    streaming = false;
    have_request_line = false;
    skipped = 0;
    scanned = line = begin;
    now = state::reading_head;
  }

  state feed(std::string_view bytes) {
    // Make room at the front first: at most what one read brought stays behind a long body.
    if (begin != 0 && now != state::reading_head) {
      buffer.erase(0, begin);
      begin = 0;
    } else if (begin != 0 && begin == buffer.size()) {
      buffer.clear();
      begin = scanned = line = 0;
    }
    buffer.append(bytes);
    if (now == state::reading_head) return read_head();
    if (now == state::reading_body) return read_body();
    return now;
  }

  // Judges each byte where it stands, so that the verdict cannot depend on how the bytes were cut.
  state read_head() {
    for (; scanned != buffer.size(); ++scanned) {
      if (skipped + (scanned - begin) >= options.head_limit) {
        return fail(status::headers_too_large, "headers_too_large",
                    "request line and header fields are too long");
      }
      const auto byte = static_cast<unsigned char>(buffer[scanned]);
      const bool after_cr = scanned != line && buffer[scanned - 1] == '\r';
      if (after_cr && byte != '\n') return bad("a CR is not followed by LF");
      if (byte == '\n') {
        if (!after_cr) return bad("a line does not end in CR LF");
        const std::string_view text(buffer.data() + line, scanned - 1 - line);
        line = scanned + 1;
        if (text.empty() && have_request_line) {
          ++scanned;
          return finish_head();
        }
        if (text.empty()) {  // RFC 9112 section 2.2: empty lines before a request are ignored
          skipped += 2;
          begin = line;
        } else if (!have_request_line) {
          if (read_request_line(text) == state::failed) return now;
          have_request_line = true;
        }
        continue;
      }
      if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7f)
        return bad("the head holds a control character");
      if (scanned == line && have_request_line && (byte == ' ' || byte == '\t')) {
        return bad("a header field is folded over several lines");
      }
    }
    return now;
  }

  state read_request_line(std::string_view text) {
    const std::size_t first = text.find(' ');
    const std::size_t second = first == std::string_view::npos ? first : text.find(' ', first + 1);
    if (second == std::string_view::npos) return bad("the request line is not \"METHOD target HTTP/1.1\"");
    const std::string_view name = text.substr(0, first);
    const std::string_view target = text.substr(first + 1, second - first - 1);
    const std::string_view protocol = text.substr(second + 1);
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (!is_token(name)) return bad("the method is not a token");
    if (protocol.size() != 8 || !protocol.starts_with("HTTP/") || !digit(protocol[5]) || protocol[6] != '.' ||
        !digit(protocol[7])) {
      return bad("the request line does not end in an HTTP version");
    }
    message.method = to_method(name);
    message.method_name = name;
    const auto wrong_target = request::check_target(target);
    if (!wrong_target) message.set_target(target);
    if (protocol != "HTTP/1.1" && protocol != "HTTP/1.0") {
      return fail(status::http_version_not_supported, "http_version_not_supported",
                  "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    message.version = protocol == "HTTP/1.1" ? version::http_1_1 : version::http_1_0;
    if (message.method == method::connect) {
      return fail(status::not_implemented, "not_implemented",
                  "this server is no proxy: CONNECT is not supported");
    }
    if (message.method ==
        method::trace) {  // it would show a client's page what is hidden from it (cookies, for one)
      return fail(status::not_implemented, "not_implemented", "TRACE is not supported");
    }
    if (wrong_target) return bad(*wrong_target);
    if (target == "*" && message.method != method::options)
      return bad("the request target \"*\" is for OPTIONS only");
    return now;
  }

  state finish_head() {
    parser.emplace(message.headers, message.body, options.body_limit);
    boost::beast::error_code ec;
    const std::size_t used = parser->put({buffer.data() + begin, scanned - begin}, ec);
    if (ec) return bad(detail::describe(ec, "the request is malformed"));
    if (!parser->is_header_done() || begin + used != scanned) return bad("the request is malformed");
    begin = scanned;
    if (check_fields() == state::failed) return now;
    keep_alive = wants_keep_alive(message);
    return now = state::head_complete;
  }

  state check_fields() {
    const headers& fields = message.headers;
    const bool modern = message.version == version::http_1_1;

    const std::size_t hosts = fields.count("Host");
    if (hosts > 1) return bad("there is more than one Host");
    if (hosts == 0 && modern) return bad("Host is missing");
    if (hosts == 1 && !is_host(*fields.find("Host"))) return bad("Host is malformed");

    const std::size_t lengths = fields.count("Content-Length");
    const bool encoded = fields.contains("Transfer-Encoding");
    if (lengths != 0 && encoded) return bad("Content-Length and Transfer-Encoding exclude each other");
    if (lengths > 1) return bad("there is more than one Content-Length");
    if (lengths == 1) {
      const std::string_view text = *fields.find("Content-Length");
      if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) {
        return bad("Content-Length is not a number");
      }
      announced = parser->content_length().value();
    }
    if (encoded) {
      if (!modern) return bad("Transfer-Encoding does not exist in HTTP/1.0");
      const std::string codings = fields.combined("Transfer-Encoding");
      if (!equal_ignoring_case(codings, "chunked")) {
        const std::size_t comma = codings.rfind(',');
        const bool ends_chunked =
            comma != std::string::npos &&
            equal_ignoring_case(trim_whitespace(std::string_view(codings).substr(comma + 1)), "chunked");
        const std::string_view others = std::string_view(codings).substr(0, ends_chunked ? comma : 0);
        if (!ends_chunked || !only_foreign_codings(others))
          return bad("Transfer-Encoding must be \"chunked\"");
        return fail(status::not_implemented, "not_implemented",
                    "no transfer coding but \"chunked\" is supported");
      }
      chunked = true;
      if (!parser->chunked()) return bad("Transfer-Encoding is malformed");
    }

    if (modern && fields.contains("Expect")) {
      if (!equal_ignoring_case(fields.combined("Expect"), "100-continue")) {
        return fail(status::expectation_failed, "expectation_failed",
                    "the only expectation that can be met is 100-continue");
      }
      expects = chunked || announced.value_or(0) != 0;
    }
    return now;
  }

  // A list of tokens none of which is "chunked" itself.
  static bool only_foreign_codings(std::string_view list) noexcept {
    while (true) {
      const std::size_t comma = list.find(',');
      std::string_view coding = list.substr(0, comma);
      coding = trim_whitespace(coding.substr(0, coding.find(';')));
      if (!is_token(coding) || equal_ignoring_case(coding, "chunked")) return false;
      if (comma == std::string_view::npos) return true;
      list.remove_prefix(comma + 1);
    }
  }

  state too_large() {
    return fail(status::payload_too_large, "payload_too_large",
                "the body is larger than this server accepts");
  }

  state accept_body(body_mode mode, std::optional<std::uint64_t> limit) {
    if (now == state::reading_body && mode == body_mode::discard) {
      message.body.clear();
      parser->keep(false);
      return now;
    }
    if (now != state::head_complete)
      throw misuse_error("request_parser::accept_body: the head is not complete");
    const std::uint64_t most = limit.value_or(options.body_limit);
    parser->limit_body(most);
    streaming = mode == body_mode::stream;
    if (announced.value_or(0) > most) return too_large();
    if (parser->is_done()) return now = state::complete;
    parser->keep(mode != body_mode::discard);
    now = state::reading_body;
    return read_body();
  }

  state read_body() {
    const auto step = detail::take_body(*parser, buffer, begin, chunked, options.head_limit);
    if (step.too_large) return too_large();
    if (!step.wrong.empty()) return bad(step.wrong);
    if (parser->is_done()) return now = state::complete;
    return now;
  }
};

request_parser::request_parser(parser_options options) : impl_(std::make_unique<impl>(options)) {
  if (options.head_limit < 64) throw misuse_error("parser_options: head_limit must be at least 64 bytes");
}
request_parser::request_parser(request_parser&&) noexcept = default;
request_parser& request_parser::operator=(request_parser&&) noexcept = default;
request_parser::~request_parser() = default;

state request_parser::feed(std::string_view bytes) { return impl_->feed(bytes); }
state request_parser::accept_body(body_mode mode, std::optional<std::uint64_t> limit) {
  return impl_->accept_body(mode, limit);
}

state request_parser::next() {
  if (impl_->now != state::complete) throw misuse_error("request_parser::next: the request is not complete");
  impl_->start();
  return impl_->read_head();
}

request request_parser::take() {
  impl& self = *impl_;
  if (self.now != state::complete && !(self.streaming && self.now == state::reading_body))
    throw misuse_error("request_parser::take: the request is not complete");
  request out = std::move(self.message);
  self.message = {};
  if (self.streaming) std::swap(out.body, self.message.body);
  return out;
}

std::string request_parser::take_body() { return std::exchange(impl_->message.body, {}); }
std::size_t request_parser::body_size() const noexcept { return impl_->message.body.size(); }
std::uint64_t request_parser::body_received() const noexcept {
  return impl_->parser ? impl_->parser->taken() : 0;
}

state request_parser::current() const noexcept { return impl_->now; }
const request& request_parser::head() const noexcept { return impl_->message; }
const protocol_error& request_parser::error() const noexcept { return impl_->why; }
bool request_parser::expects_continue() const noexcept { return impl_->expects; }
bool request_parser::has_body() const noexcept { return impl_->chunked || impl_->announced.value_or(0) != 0; }
std::optional<std::uint64_t> request_parser::announced_length() const noexcept { return impl_->announced; }
bool request_parser::keep_alive() const noexcept { return impl_->keep_alive; }
bool request_parser::started() const noexcept {
  return impl_->now != state::reading_head || impl_->begin != impl_->buffer.size();
}
std::size_t request_parser::buffered() const noexcept { return impl_->pending().size(); }

}  // namespace belay::http
