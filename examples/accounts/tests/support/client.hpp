// SPDX-License-Identifier: Apache-2.0
#pragma once
// A small and strict HTTP/1.1 client over one socket: exact answers, raw bytes, pipelining, rude endings.

#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace accounts_test {

using milliseconds = std::chrono::milliseconds;
using fields = std::vector<std::pair<std::string, std::string>>;

/// The peer sent something that is no valid answer, or the beginning of one and then closed.
struct protocol_violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The connection could not be made, or ended where an answer or more room to send was due.
struct connection_lost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Nothing happened within the bound.
struct too_slow : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct response {
  int status = 0;
  std::string reason;
  fields headers;
  std::string body;

  /// The value of the field, by name without regard to case. A field that is there twice is a
  /// protocol_violation.
  [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
  [[nodiscard]] boost::json::value json() const;
  /// The 32 digits of `traceparent`.
  [[nodiscard]] std::string trace_id() const;
  /// Whether the server announced that it closes the connection.
  [[nodiscard]] bool closes() const;
};

struct read_options {
  milliseconds limit{10'000};
  bool head_only = false;  // the answer to HEAD: Content-Length counts a body that is not sent
};

class client {
 public:
  using observer = std::function<void(const response&)>;

  /// Connects to 127.0.0.1:port. `seen` is called with each final answer that was read.
  explicit client(std::uint16_t port, observer seen = {});
  client(client&& other) noexcept;
  client& operator=(client&& other) noexcept;
  ~client();

  /// Sends all bytes as they are.
  void send(std::string_view bytes);
  /// As `send`, but says false when the peer does not take them any more.
  [[nodiscard]] bool try_send(std::string_view bytes);

  /// Reads exactly one answer; bytes behind it stay for the next call.
  response read(read_options options = {});
  /// As `read`, but empty when the connection ended before the first byte of the answer.
  std::optional<response> try_read(read_options options = {});

  response request(std::string_view method, std::string_view target, std::string_view body = {},
                   const fields& extra = {}, read_options options = {});
  response get(std::string_view target, const fields& extra = {});
  /// POST with Content-Type application/json.
  response post(std::string_view target, std::string_view body, const fields& extra = {},
                read_options options = {});

  /// Whether the peer closes within the limit without another byte.
  [[nodiscard]] bool ends(milliseconds limit = milliseconds{5'000});
  /// Whether a byte can be read within the limit (false: nothing came, or the connection ended).
  [[nodiscard]] bool has_bytes(milliseconds limit);

  void half_close();  // no more requests, answers are still read
  void close();       // FIN (or RST when unread bytes are there)
  void abort();       // RST

 private:
  enum class fill_result { bytes, end, nothing };
  fill_result fill(std::chrono::steady_clock::time_point until);

  int fd_ = -1;
  std::string buffer_;
  observer seen_;
};

/// The bytes of a request; Host, and Content-Length when there is a body, are added.
std::string make_request(std::string_view method, std::string_view target, std::string_view body = {},
                         const fields& extra = {});
/// As make_request, with the media type of JSON.
std::string make_post(std::string_view target, std::string_view json, const fields& extra = {});

}  // namespace accounts_test
