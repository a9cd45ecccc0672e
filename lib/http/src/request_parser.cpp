// SPDX-License-Identifier: Apache-2.0
// The request parser: the head is cut out, checked and parsed line by line here; bodies are parsed by Boost.Beast, which is told of the head
// no more than how the body is framed.

#include <belay/http/request_parser.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

#include "message_parser.hpp"
#include "plain_text.hpp"

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

// Connection and its like: tokens with commas between; empty members are allowed (RFC 9110 section 5.6.1).
bool is_token_list(std::string_view list) noexcept {
  while (true) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view member = trim_whitespace(list.substr(0, comma));
    if (!member.empty() && !is_token(member)) return false;
    if (comma == list.size()) return true;
    list.remove_prefix(comma + 1);
  }
}

// The fields that decide about the message itself.
struct framing_fields {
  std::size_t hosts = 0;
  std::size_t lengths = 0;
  std::string_view host{};    // the last
  std::string_view length{};  // likewise
  bool encoded = false;
  bool connection = false;
  bool expects = false;
};

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
  std::size_t fields = 0;  // start of the first line after the request line
  // The present request.
  request message;
  bool untouched = true;  // the message is as a new one
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
    if (begin == buffer.size()) {
      // Nothing of the next request is here: what a client once sent ahead must not cost memory while it is silent.
      constexpr std::size_t enough = 16 * 1024;
      buffer.clear();
      if (buffer.capacity() > enough) std::string().swap(buffer);
      begin = 0;
    }
    if (!untouched) clear_message();
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

  // For the next one; what its strings have allocated may be used again.
  void clear_message() {
    untouched = true;
    message.method = method::get;
    message.method_name.assign("GET");
    message.target.assign("/");
    message.path.assign("/");
    message.decoded_path.assign("/");
    message.query.clear();
    message.version = version::http_1_1;
    message.headers.clear();
    message.body.clear();
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
      skip_plain();
      if (scanned == buffer.size()) break;
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
          fields = line;
        }
        continue;
      }
      if (detail::is_strange(buffer[scanned]) && byte != '\r')
        return bad("the head holds a control character");
      if (scanned == line && have_request_line && (byte == ' ' || byte == '\t')) {
        return bad("a header field is folded over several lines");
      }
    }
    return now;
  }

  // Goes on to the end of the line, or of what is here, if nothing on the way needs a look.
  void skip_plain() noexcept {
    if (scanned == line) return;  // the first byte of a line may be wrong where others are not
    if (buffer[scanned - 1] == '\r') return;
    const std::size_t limit = begin + (options.head_limit - std::min(options.head_limit, skipped));
    const std::string_view rest =
        std::string_view(buffer).substr(scanned, limit > scanned ? limit - scanned : 0);
    scanned += detail::plain_prefix(rest.substr(0, rest.find('\r')));
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
    untouched = false;
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
    framing_fields found;
    for (std::size_t at = fields; at + 2 != scanned;) {
      const std::size_t end = buffer.find('\r', at);
      if (read_field({buffer.data() + at, end - at}, found) == state::failed) {
        message.headers.clear();  // those of a malformed head are nobody's
        return now;
      }
      at = end + 2;
    }
    begin = scanned;
    if (check_fields(found) == state::failed) return now;
    keep_alive = found.connection ? wants_keep_alive(message) : message.version == version::http_1_1;
    start_body();
    return now = state::head_complete;
  }

  // Control characters and folding have been looked for.
  state read_field(std::string_view text, framing_fields& found) {
    const std::size_t colon = text.find(':');
    const std::string_view name = text.substr(0, colon);
    if (colon == std::string_view::npos || !is_token(name)) {
      return bad("a header field is malformed: a name and a colon without a space between them are needed");
    }
    const std::string_view value = trim_whitespace(text.substr(colon + 1));
    message.headers.add_checked(name, value);
    switch (name.size()) {
      case 4:
        if (equal_ignoring_case(name, "Host")) {
          ++found.hosts;
          found.host = value;
        }
        break;
      case 6: found.expects |= equal_ignoring_case(name, "Expect"); break;
      case 10:
        if (!equal_ignoring_case(name, "Connection")) break;
        found.connection = true;
        if (!is_token_list(value)) return bad("the value of a header field is malformed");
        break;
      case 14:
        if (equal_ignoring_case(name, "Content-Length")) {
          ++found.lengths;
          found.length = value;
        }
        break;
      case 16:
        if (equal_ignoring_case(name, "Proxy-Connection") && !is_token_list(value))
          return bad("the value of a header field is malformed");
        break;
      case 17: found.encoded |= equal_ignoring_case(name, "Transfer-Encoding"); break;
      default: break;
    }
    return now;
  }

  // A parser for the body alone, if there is to be one.
  void start_body() {
    if (!announced && !chunked) return;
    constexpr std::string_view in_chunks = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    std::string head;
    if (announced) head = "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(*announced) + "\r\n\r\n";
    const std::string_view framed = announced ? std::string_view(head) : in_chunks;
    parser.emplace(message.headers, message.body, options.body_limit);
    parser->keep_no_fields();
    boost::beast::error_code never;
    parser->put({framed.data(), framed.size()}, never);
    if (never || !parser->is_header_done())
      throw misuse_error("request_parser: a head of our own is refused");
  }

  state check_fields(const framing_fields& found) {
    const headers& fields_read = message.headers;
    const bool modern = message.version == version::http_1_1;

    if (found.hosts > 1) return bad("there is more than one Host");
    if (found.hosts == 0 && modern) return bad("Host is missing");
    if (found.hosts == 1 && !is_host(found.host)) return bad("Host is malformed");

    const bool encoded = found.encoded;
    if (found.lengths != 0 && encoded) return bad("Content-Length and Transfer-Encoding exclude each other");
    if (found.lengths > 1) return bad("there is more than one Content-Length");
    if (found.lengths == 1) {
      const std::string_view text = found.length;
      if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) {
        return bad("Content-Length is not a number");
      }
      std::uint64_t length = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), length).ec != std::errc())
        return bad("Content-Length is malformed or conflicting");
      announced = length;
    }
    if (encoded) {
      if (!modern) return bad("Transfer-Encoding does not exist in HTTP/1.0");
      const std::string codings = fields_read.combined("Transfer-Encoding");
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
    }

    if (modern && found.expects) {
      if (!equal_ignoring_case(fields_read.combined("Expect"), "100-continue")) {
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
    streaming = mode == body_mode::stream;
    if (!parser) return now = state::complete;
    const std::uint64_t most = limit.value_or(options.body_limit);
    parser->limit_body(most);
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
  self.clear_message();
  if (self.streaming) {
    std::swap(out.body, self.message.body);
    self.untouched = false;  // the body comes, and may be left unread
  }
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
std::size_t request_parser::held_memory() const noexcept { return impl_->buffer.capacity(); }

}  // namespace belay::http
