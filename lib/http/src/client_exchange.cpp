// SPDX-License-Identifier: Apache-2.0
// One request and its response, on a connection that is there.

#include "client_exchange.hpp"

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/deadline.hpp>
#include <belay/io/tls_error.hpp>

#include <algorithm>
#include <optional>

namespace belay::http::detail {

using parsing = response_parser::state;

namespace {

// What a Host field may hold (RFC 3986 section 3.2, without user information).
bool is_authority(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("-._~%!$&'()*+,;=:[]").find(c) != std::string_view::npos;
}

// A URL may have been put together by hand.
void check_host(const url& to) {
  if (to.host.empty()) throw message_error("invalid_host", "the host of the URL is empty");
  if (!std::all_of(to.host.begin(), to.host.end(), is_authority))
    throw message_error("invalid_host", "the host of the URL holds a byte that cannot be in one");
  if (to.at.port == 0 && !to.at.is_unix()) throw message_error("invalid_host", "the port of the URL is 0");
}

void check_upload(const client_request& what) {
  if (!what.upload) return;
  if (!what.body.empty()) throw misuse_error("client_request: has both a body and an upload");
  if (!what.upload.is_ready()) {
    throw misuse_error(
        "client_request: its upload was sent before; what is to be sent again is made by `upload::again`");
  }
}

}  // namespace

std::string to_head(const client_request& what, const url* proxy, const std::string& proxy_authorization) {
  if (what.method == method::connect || what.method == method::other)
    throw message_error("invalid_method", "this method cannot be sent");
  check_host(what.url);
  if (const auto wrong = request::check_target(what.url.target))
    throw message_error("invalid_target", *wrong);
  check_upload(what);
  const bool asks_first = what.upload && what.upload.options().expect_continue;
  // RFC 9112 section 3.2.2; through a tunnel the proxy sees nothing.
  const bool tells_proxy = proxy != nullptr && what.url.scheme == scheme::http;
  std::string out(to_string(what.method));
  out.append(" ");
  if (tells_proxy) out.append(what.url.origin());
  out.append(what.url.target).append(" HTTP/1.1\r\nHost: ").append(what.url.host).append("\r\n");
  if (tells_proxy && !proxy_authorization.empty())
    out.append("Proxy-Authorization: ").append(proxy_authorization).append("\r\n");
  for (const header& field : what.headers) {
    const auto named = [&field](std::string_view name) { return equal_ignoring_case(field.name, name); };
    if (named("Host") || named("Content-Length") || named("Transfer-Encoding") || named("Connection") ||
        named("Proxy-Authorization") || (asks_first && named("Expect")))
      continue;
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  const bool expects_body =
      what.method == method::post || what.method == method::put || what.method == method::patch;
  if (what.upload && !what.upload.options().length) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (what.upload) {
    out.append("Content-Length: ").append(std::to_string(*what.upload.options().length)).append("\r\n");
  } else if (expects_body || !what.body.empty()) {
    out.append("Content-Length: ").append(std::to_string(what.body.size())).append("\r\n");
  }
  if (asks_first) out.append("Expect: 100-continue\r\n");
  return out;
}

std::string deadline_field(time_point limit) {
  if (limit == time_point::max()) return {};
  // A cancelled task's limit is the earliest point in time: too far away to subtract from.
  const time_point at = std::max(limit, now());
  const auto left = std::chrono::floor<std::chrono::milliseconds>(at - now()).count();
  return std::string(deadline_header) + ": " + std::to_string(std::clamp<std::int64_t>(left, 1, 3'600'000)) +
         "\r\n";
}

std::string message_of(const client_request& what, std::string_view why, carried_out by_first_try) {
  std::string text(to_string(what.method));
  text.append(" ").append(what.url.describe()).append(": ").append(why);
  if (by_first_try == carried_out::possibly) text += " (second try: the connection in use was lost)";
  return text;
}

request_error sending::failed(error_kind kind, std::string_view code, std::string_view why,
                              carried_out fate) const {
  request_error made(kind, std::string(code), message_of(what, why, by_first_try),
                     first.judged_as(what.method), first.at_least(std::max(fate, by_first_try)), where);
  if (unwritten) belay::detail::error_access::set_cause(made, unwritten);
  return made;
}

request_error sending::lost(const io::network_error& why) const {
  const bool refused = dynamic_cast<const io::tls_error*>(&why) != nullptr;
  return failed(refused ? error_kind::data_format : error_kind::unavailable,
                refused ? std::string_view(why.code()) : "connection_lost", why.what(),
                carried_out::possibly);
}

request_error sending::timed_out(std::string_view what_did_not_happen, duration limit) const {
  return failed(error_kind::timed_out, "response_timed_out",
                std::string(what_did_not_happen) + " within " + belay::detail::length_text(limit) +
                    " (response_timeout)",
                carried_out::possibly);
}

task<bool> has_news(connection& c) {
  try {
    co_return (co_await move_on_after(duration(1), c.stream.read_some(c.buffer))).has_value();
  } catch (const io::network_error&) {
    co_return true;
  }
}

task<> read_more(connection& c, const sending& of, response_parser& parser) {
  if (parser.current() == parsing::reading_body) {
    try {
      const std::size_t count = co_await c.stream.read_some(c.buffer);
      if (count != 0) {
        parser.feed({c.buffer.data(), count});
      } else {
        parser.end();
      }
    } catch (const io::network_error& e) {
      throw of.lost(e);
    }
  }
  if (parser.current() != parsing::failed) co_return;
  const response_fault& fault = parser.fault();
  const bool cut = fault.code == "response_truncated";
  throw of.failed(cut ? error_kind::unavailable : error_kind::data_format, fault.code, fault.detail,
                  carried_out::possibly);
}

namespace {

bool is_under_way(const response_parser& parser, reach until) noexcept {
  return parser.current() == parsing::reading_head ||
         (until == reach::end && parser.current() == parsing::reading_body);
}

}  // namespace

task<bool> read_answer(connection& c, const sending& of, response_parser& parser, bool was_used, reach until,
                       event* spoken) {
  while (is_under_way(parser, until)) {
    try {
      const std::size_t count = co_await c.stream.read_some(c.buffer);
      if (count != 0) {
        parser.feed({c.buffer.data(), count});
      } else {
        parser.end();
      }
      if (spoken != nullptr && (parser.told_to_continue() || parser.current() != parsing::reading_head))
        spoken->set();
    } catch (const io::network_error& e) {
      if (was_used && !parser.started()) co_return false;
      throw of.lost(e);
    }
  }
  if (parser.current() != parsing::failed) co_return true;
  const response_fault& fault = parser.fault();
  if (fault.code != "response_truncated")
    throw of.failed(error_kind::data_format, fault.code, fault.detail, carried_out::possibly);
  if (was_used && !parser.started()) co_return false;
  throw of.failed(error_kind::unavailable, parser.started() ? "response_truncated" : "connection_lost",
                  fault.detail, carried_out::possibly);
}

namespace {

// Larger ones are sent while the response is read already. For the others it is not worth a task: the system takes them at once.
constexpr std::size_t sent_first = 64 * 1024;

task<> send_all(connection& c, sending& of, std::string_view bytes, bool& sent) {
  try {
    co_await c.stream.write(bytes);
    sent = true;
  } catch (const io::disconnected_error&) {
    // A server that refuses what it is sent may have answered before it closed: see what there is to read.
    of.unwritten = current_failure();
  } catch (const io::network_error& e) {
    throw of.lost(e);
  }
}

// As `read_answer`.
task<bool> exchange_whole(connection& c, sending& of, std::string bytes, response_parser& parser,
                          bool was_used, reach until) {
  bool sent = false;
  bool answered = false;
  if (bytes.size() <= sent_first) {
    co_await or_fail(send_all(c, of, bytes, sent));
    answered = co_await or_fail(read_answer(c, of, parser, was_used, until, nullptr));
  } else {
    co_await with_group([&](group& tasks) -> task<> {
      auto writer = tasks.spawn(send_all, std::ref(c), std::ref(of), std::string_view(bytes), std::ref(sent));
      answered = co_await or_fail(read_answer(c, of, parser, was_used, until, nullptr));
      if (!sent) writer.cancel();
    });
  }
  // Part of the request may still be on its way: another must not follow it.
  if (!sent) c.reusable = false;
  co_return answered;
}

}  // namespace

task<bool> exchange_on(connection& c, sending& of, response_parser& parser, bool was_used, reach until,
                       duration response_timeout) {
  if (of.what.upload)
    co_return co_await or_fail(exchange_upload(c, of, parser, was_used, until, response_timeout));
  const std::optional<bool> ended = co_await move_on_after(
      response_timeout, exchange_whole(c, of, of.bytes(current_deadline()), parser, was_used, until));
  if (!ended) throw of.timed_out("no response", response_timeout);
  co_return *ended;
}

}  // namespace belay::http::detail
