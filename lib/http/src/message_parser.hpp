// SPDX-License-Identifier: Apache-2.0
#pragma once
// What requests and responses have in common for Boost.Beast's parser: fields, bodies within a limit, words for its errors.

#include <belay/http/headers.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace belay::http::detail {

// Collects what Beast finds. Everything that decides about framing is checked again by those who use this, because Beast is laxer: it
// takes "gzip, chunked" for chunked, and lists of equal lengths for one.
template <bool IsRequest>
class message_parser final : public boost::beast::http::basic_parser<IsRequest> {
  using base = boost::beast::http::basic_parser<IsRequest>;

 public:
  message_parser(headers& fields, std::string& body, std::uint64_t body_limit)
      : fields_(fields), body_(body), body_limit_(body_limit) {
    base::header_limit(std::numeric_limits<std::uint32_t>::max());  // limited by the caller
    base::body_limit(boost::none);                                  // limited below
    base::eager(false);
  }

  void keep(bool body) noexcept { keeps_body_ = body; }
  // Before any of the body has been read.
  void limit_body(std::uint64_t most) noexcept { body_limit_ = most; }
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }
  [[nodiscard]] bool too_large() const noexcept { return too_large_; }
  [[nodiscard]] bool chunk_seen() const noexcept { return chunk_seen_; }
  /// Whether content came since the last call; if not, the step was a chunk's line or the trailers.
  [[nodiscard]] bool take_content_seen() noexcept { return std::exchange(content_seen_, false); }
  /// For a body whose head was parsed elsewhere: the fields that it is told are not the message's.
  void keep_no_fields() noexcept { head_done_ = true; }

 private:
  using error_code = boost::beast::error_code;
  using text = boost::beast::string_view;

  static std::string_view view(text from) noexcept { return {from.data(), from.size()}; }

  void on_request_impl(boost::beast::http::verb, text, text, int, error_code& ec) override { ec = {}; }
  void on_response_impl(int, text, int, error_code& ec) override { ec = {}; }
  void on_field_impl(boost::beast::http::field, text name, text value, error_code& ec) override {
    ec = {};
    if (head_done_) return;                    // a trailer: it must not pass for a header
    if (fields_.empty()) fields_.reserve(16);  // most messages have no more
    fields_.add(view(name), view(value));
  }
  void on_header_impl(error_code& ec) override {
    head_done_ = true;
    ec = {};
  }
  void on_body_init_impl(boost::optional<std::uint64_t> const& length, error_code& ec) override {
    ec = {};
    // The announcement alone must not cost much: whoever makes it may never send the body.
    if (length && keeps_body_)
      body_.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(*length, 64 * 1024)));
  }
  std::size_t on_body_impl(text body, error_code& ec) override {
    ec = {};
    content_seen_ = true;
    // Of what has no length of its own, chunked or up to the end of the connection, it is counted here.
    if (body.size() > body_limit_ - taken_) {
      too_large_ = true;
      ec = boost::beast::http::error::body_limit;
      return 0;
    }
    taken_ += body.size();
    if (keeps_body_) body_.append(body.data(), body.size());
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t size, text, error_code& ec) override {
    ec = {};
    chunk_seen_ = true;
    if (size > body_limit_ - announced_) {
      too_large_ = true;
      ec = boost::beast::http::error::body_limit;
      return;
    }
    announced_ += size;
  }
  std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code& ec) override {
    return on_body_impl(body, ec);
  }
  void on_finish_impl(error_code& ec) override { ec = {}; }

  headers& fields_;
  std::string& body_;
  std::uint64_t body_limit_;
  std::uint64_t announced_ = 0;  // by the chunks so far; never above body_limit_
  std::uint64_t taken_ = 0;      // likewise
  bool keeps_body_ = true;
  bool head_done_ = false;
  bool too_large_ = false;
  bool content_seen_ = false;
  bool chunk_seen_ = false;
};

inline std::string_view describe(boost::beast::error_code ec, std::string_view otherwise) noexcept {
  using boost::beast::http::error;
  if (ec == error::bad_field)
    return "a header field is malformed: a name and a colon without a space between them are needed";
  if (ec == error::bad_value) return "the value of a header field is malformed";
  if (ec == error::bad_content_length || ec == error::multiple_content_length)
    return "Content-Length is malformed or conflicting";
  if (ec == error::bad_transfer_encoding)
    return "Transfer-Encoding is malformed or conflicts with Content-Length";
  if (ec == error::bad_chunk || ec == error::bad_chunk_extension) return "the chunked body is malformed";
  if (ec == error::bad_line_ending) return "a line does not end in CR LF";
  return otherwise;
}

// The lines of a chunk and the trailers, as they came. Beast takes any byte within quotes, and joins folded lines; others do not, and would
// see another message there.
inline bool are_clean_lines(std::string_view raw) noexcept {
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const auto byte = static_cast<unsigned char>(raw[i]);
    const char next = i + 1 < raw.size() ? raw[i + 1] : '\0';
    if (byte == '\r' && next != '\n') return false;
    if (byte == '\n' && (i == 0 || raw[i - 1] != '\r' || next == ' ' || next == '\t')) return false;
    if ((byte < 0x20 && byte != '\t' && byte != '\r' && byte != '\n') || byte == 0x7f) return false;
  }
  return true;
}

struct body_step {
  bool too_large = false;
  std::string_view wrong{};  // a literal; empty: nothing
};

// Gives what is in `buffer` from `begin` on to the parser, as far as it takes it.
template <bool IsRequest>
body_step take_body(message_parser<IsRequest>& parser, const std::string& buffer, std::size_t& begin,
                    bool chunked, std::size_t line_limit) {
  while (begin != buffer.size() && !parser.is_done()) {
    // Beast 1.81 asserts that it is never asked about "0\r\n\r", the end of an empty body but for one byte.
    if (chunked && !parser.chunk_seen() && buffer[begin] == '0' && buffer.size() - begin < 5) return {};
    boost::beast::error_code ec;
    const std::size_t used = parser.put({buffer.data() + begin, buffer.size() - begin}, ec);
    begin += used;
    if (parser.too_large()) return {.too_large = true};
    const bool unfinished = ec == boost::beast::http::error::need_more;
    if (ec && !unfinished)
      return {.wrong = describe(ec, IsRequest ? "the request is malformed" : "the response is malformed")};
    // What Beast waits to see the end of is the line of a chunk, or the trailers.
    const bool lines = !unfinished && chunked && !parser.take_content_seen();
    const std::size_t line_length = unfinished ? buffer.size() - begin : lines ? used : 0;
    if (lines && !are_clean_lines({buffer.data() + begin - used, used}))
      return {.wrong = "a chunk's line or a trailer holds a control character, or is folded"};
    if (line_length > line_limit) return {.wrong = "the extension of a chunk or the trailers are too long"};
    if (unfinished) return {};
  }
  return {};
}

}  // namespace belay::http::detail
