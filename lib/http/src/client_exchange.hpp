// SPDX-License-Identifier: Apache-2.0
#pragma once
// One request and its response, on a connection that is there.

#include <belay/core/detail/place.hpp>
#include <belay/core/event.hpp>
#include <belay/core/failure.hpp>
#include <belay/http/client.hpp>
#include <belay/http/response_parser.hpp>
#include <belay/io/tcp.hpp>

#include <array>
#include <memory>
#include <string>
#include <utility>

namespace belay::http::detail {

// Counts itself as long as it lives.
struct counted {
  explicit counted(std::size_t& with) noexcept : counter(with) { ++counter; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --counter; }
  std::size_t& counter;
};

struct connection {
  connection(io::tcp_stream opened, std::size_t& counter) : open(counter), stream(std::move(opened)) {}
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  // Where nothing is under way, the server may be told; otherwise it must not look like an orderly end.
  ~connection() {
    if (clean) stream.close();
  }

  counted open;
  io::tcp_stream stream;
  time_point idle_since{};
  bool clean = false;  // idle
  bool reusable = true;
  std::array<char, 8192> buffer;
};
using connection_ptr = std::unique_ptr<connection>;

// Without its end, because the time that is left is told when it is sent. Errors: `message_error`, `misuse_error`.
[[nodiscard]] std::string to_head(const client_request& what, const url* proxy,
                                  const std::string& proxy_authorization);

[[nodiscard]] std::string deadline_field(time_point limit);

// What an error says of a request.
[[nodiscard]] std::string message_of(const client_request& what, std::string_view why,
                                     carried_out by_first_try);

// What the caller asked for. Where a redirect has made a GET of it, the first server has acted, and the errors of the GET are judged as its.
struct asked {
  method verb;
  bool changed = false;

  [[nodiscard]] method judged_as(method sent) const noexcept { return changed ? verb : sent; }
  [[nodiscard]] carried_out at_least(carried_out fate) const noexcept {
    return changed ? carried_out::possibly : fate;
  }
};

// One request on its way.
struct sending {
  const client_request& what;
  asked first;
  std::string head;
  bool tells_deadline;
  std::source_location where;
  const url* proxy = nullptr;
  carried_out by_first_try = carried_out::no;  // `possibly` if there was one, and it was lost
  failure unwritten{};                         // what cut off the request, while its answer is looked for

  /// `limit`: that of the task, not the client's own.
  [[nodiscard]] std::string bytes(time_point limit) const {
    return head + (tells_deadline ? deadline_field(limit) : std::string()) + "\r\n" + what.body;
  }

  [[nodiscard]] request_error failed(error_kind kind, std::string_view code, std::string_view why,
                                     carried_out fate) const;
  // On a connection that was made. With TLS 1.3 a server may refuse us after our part of the handshake: that is no outage.
  [[nodiscard]] request_error lost(const io::network_error& why) const;
  // By `client_options::response_timeout`.
  [[nodiscard]] request_error timed_out(std::string_view what_did_not_happen, duration limit) const;
};

// Up to which part of the response.
enum class reach : unsigned char { head, end };

// Whether the server has closed an idle connection, or sent something on it. What is there already is read; otherwise nothing is.
[[nodiscard]] task<bool> has_news(connection& c);
// A read for a body that is taken part by part.
[[nodiscard]] task<> read_more(connection& c, const sending& of, response_parser& parser);
// Reads a response. False: as below. `spoken` (or null) is set when the server has said what it wants of the body: to have it, or none of it.
[[nodiscard]] task<bool> read_answer(connection& c, const sending& of, response_parser& parser, bool was_used,
                                     reach until, event* spoken);
// `exchange_on` for a request whose body is a stream.
[[nodiscard]] task<bool> exchange_upload(connection& c, sending& of, response_parser& parser, bool was_used,
                                         reach until, duration response_timeout);
// Sends a request, and reads its response, within the limit. False: the connection had ended, before a byte of the response, and there may
// be another try on a fresh one.
[[nodiscard]] task<bool> exchange_on(connection& c, sending& of, response_parser& parser, bool was_used,
                                     reach until, duration response_timeout);

}  // namespace belay::http::detail
