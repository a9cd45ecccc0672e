// SPDX-License-Identifier: Apache-2.0
// The response parser: the head is cut out and checked here, fields and bodies are parsed by Boost.Beast.

#include <belay/http/response_parser.hpp>

#include <optional>
#include <utility>

#include "message_parser.hpp"

namespace belay::http {
namespace {

using state = response_parser::state;
using message_parser = detail::message_parser<false>;

constexpr unsigned most_interim_responses = 16;

}  // namespace

struct response_parser::impl {
  impl(method by, parser_options from) : options(from), asked_by(by) {}

  parser_options options;
  method asked_by;
  state now = state::reading_head;
  std::string buffer;
  std::size_t begin = 0;    // of the bytes not used up
  std::size_t scanned = 0;  // while reading a head; offsets into `buffer`
  std::size_t line = 0;     // start of the present line
  bool have_status_line = false;
  bool anything = false;
  unsigned interim = 0;
  bool told_to_continue = false;
  response message;
  version spoken = version::http_1_1;
  std::optional<message_parser> parser;
  bool chunked = false;
  bool until_end = false;  // the body ends with the connection
  bool wants_close = false;
  response_fault why;

  state fail(std::string_view code, std::string_view detail) {
    why = {std::string(code), std::string(detail)};
    return now = state::failed;
  }
  state bad(std::string_view detail) { return fail("bad_response", detail); }
  state too_large(std::string_view detail) { return fail("response_too_large", detail); }

  state feed(std::string_view bytes) {
    anything = anything || !bytes.empty();
    if (begin != 0 && now != state::reading_head) {
      buffer.erase(0, begin);
      begin = 0;
    }
    buffer.append(bytes);
    if (now == state::reading_head) return read_head();
    if (now == state::reading_body) return read_body();
    return now;
  }

  // Judges each byte where it stands, so that the verdict cannot depend on how the bytes were cut.
  state read_head() {
    for (; scanned != buffer.size(); ++scanned) {
      if (scanned - begin >= options.head_limit)
        return too_large("the status line and header fields are too long");
      const auto byte = static_cast<unsigned char>(buffer[scanned]);
      const bool after_cr = scanned != line && buffer[scanned - 1] == '\r';
      if (after_cr && byte != '\n') return bad("a CR is not followed by LF");
      if (byte == '\n') {
        if (!after_cr) return bad("a line does not end in CR LF");
        const std::string_view text(buffer.data() + line, scanned - 1 - line);
        line = scanned + 1;
        if (!have_status_line) {
          if (read_status_line(text) == state::failed) return now;
          have_status_line = true;
        } else if (text.empty()) {
          ++scanned;
          if (finish_head() != state::reading_head) return now;
          --scanned;  // the loop goes on with the byte behind an interim response
        }
        continue;
      }
      if (!have_status_line && !may_begin(scanned - line, byte)) return bad("it does not begin with HTTP/1.");
      if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7f)
        return bad("the head holds a control character");
      if (scanned == line && have_status_line && (byte == ' ' || byte == '\t'))
        return bad("a header field is folded over several lines");
    }
    return now;
  }

  // Garbage is known by its first bytes: a server that speaks another protocol may never send a line.
  static bool may_begin(std::size_t at, unsigned char byte) noexcept {
    constexpr std::string_view prefix = "HTTP/1.";
    return at >= prefix.size() || byte == static_cast<unsigned char>(prefix[at]);
  }

  state read_status_line(std::string_view text) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    // "HTTP/1.1 200 " and a reason, which may be empty
    if (text.size() < 13 || !text.starts_with("HTTP/1.") || (text[7] != '0' && text[7] != '1') ||
        text[8] != ' ' || !digit(text[9]) || !digit(text[10]) || !digit(text[11]) || text[12] != ' ') {
      return bad("the status line is not \"HTTP/1.1 CODE reason\"");
    }
    const int code = (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
    if (code < 100 || code > 599) return bad("the status code is not from 100 to 599");
    message.status = static_cast<status>(code);
    spoken = text[7] == '1' ? version::http_1_1 : version::http_1_0;
    return now;
  }

  state finish_head() {
    parser.emplace(message.headers, message.body, options.body_limit);
    if (asked_by == method::head) parser->skip(true);
    boost::beast::error_code ec;
    const std::size_t used = parser->put({buffer.data() + begin, scanned - begin}, ec);
    if (ec) return bad(detail::describe(ec, "the response is malformed"));
    if (!parser->is_header_done() || begin + used != scanned) return bad("the response is malformed");
    begin = scanned;
    const int code = to_int(message.status);
    if (code < 200) {
      if (code == 101) return bad("it switches protocols, which was not asked for");
      if (code == 100) told_to_continue = true;
      if (++interim > most_interim_responses) return bad("there are too many interim responses");
      message = {};
      parser.reset();
      have_status_line = false;
      line = begin;
      return now;
    }
    if (check_fields() == state::failed) return now;
    wants_close = message.headers.has_token("Connection", "close") ||
                  (spoken == version::http_1_0 && !message.headers.has_token("Connection", "keep-alive")) ||
                  announces_forbidden_body();
    if (asked_by == method::head || !may_have_body(message.status) || parser->is_done())
      return now = state::complete;
    now = state::reading_body;
    return read_body();
  }

  // RFC 9110 8.6, RFC 9112 6.1. A 304 may tell the length that a 200 would have.
  [[nodiscard]] bool announces_forbidden_body() const {
    if (may_have_body(message.status)) return false;
    if (message.headers.contains("Transfer-Encoding")) return true;
    const auto length = message.headers.find("Content-Length");
    return length && message.status == status::no_content &&
           length->find_first_not_of('0') != std::string_view::npos;
  }

  state check_fields() {
    const headers& fields = message.headers;
    const std::size_t lengths = fields.count("Content-Length");
    const bool encoded = fields.contains("Transfer-Encoding");
    if (lengths != 0 && encoded) return bad("Content-Length and Transfer-Encoding exclude each other");
    if (lengths > 1) return bad("there is more than one Content-Length");
    const bool has_body = asked_by != method::head && may_have_body(message.status);
    if (lengths == 1) {
      const std::string_view text = *fields.find("Content-Length");
      if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string_view::npos)
        return bad("Content-Length is not a number");
      if (has_body && std::stoull(std::string(text)) > options.body_limit)
        return too_large("the body is larger than the limit");
    }
    if (encoded) {
      if (spoken == version::http_1_0) return bad("Transfer-Encoding does not exist in HTTP/1.0");
      if (!equal_ignoring_case(fields.combined("Transfer-Encoding"), "chunked"))
        return bad("Transfer-Encoding is not \"chunked\"");
      chunked = has_body;
    }
    until_end = has_body && lengths == 0 && !encoded;
    return now;
  }

  state read_body() {
    const auto step = detail::take_body(*parser, buffer, begin, chunked, options.head_limit);
    if (step.too_large) return too_large("the body is larger than the limit");
    if (!step.wrong.empty()) return bad(step.wrong);
    if (parser->is_done()) now = state::complete;
    return now;
  }

  state end() {
    if (now == state::complete || now == state::failed) return now;
    if (now == state::reading_body && until_end) return now = state::complete;
    return fail("response_truncated", !anything                    ? "the connection ended without a response"
                                      : now == state::reading_head ? "the connection ended within the head"
                                                                   : "the connection ended within the body");
  }
};

response_parser::response_parser(method asked_by, parser_options limits)
    : impl_(std::make_unique<impl>(asked_by, limits)) {
  if (limits.head_limit < 64) throw misuse_error("parser_options: head_limit must be at least 64 bytes");
}
response_parser::response_parser(response_parser&&) noexcept = default;
response_parser& response_parser::operator=(response_parser&&) noexcept = default;
response_parser::~response_parser() = default;

state response_parser::feed(std::string_view bytes) { return impl_->feed(bytes); }
state response_parser::end() { return impl_->end(); }

response response_parser::take() {
  if (impl_->now != state::complete)
    throw misuse_error("response_parser::take: the response is not complete");
  return std::exchange(impl_->message, {});
}

const response& response_parser::head() const noexcept { return impl_->message; }
std::string response_parser::take_body() { return std::exchange(impl_->message.body, {}); }

state response_parser::current() const noexcept { return impl_->now; }
const response_fault& response_parser::fault() const noexcept { return impl_->why; }
bool response_parser::started() const noexcept { return impl_->anything; }
bool response_parser::told_to_continue() const noexcept { return impl_->told_to_continue; }
bool response_parser::keeps_alive() const noexcept {
  return impl_->now == state::complete && !impl_->wants_close && !impl_->until_end &&
         impl_->begin == impl_->buffer.size();
}

}  // namespace belay::http
