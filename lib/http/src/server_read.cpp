// SPDX-License-Identifier: Apache-2.0
// From bytes to a request, within every limit; or to a refusal that the client can read.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <algorithm>

#include "server_state.hpp"

namespace belay::http {

using detail::phase;
using parsing = request_parser::state;

namespace {

response default_refusal(const protocol_error& why, const request& head) {
  return to_response({.status = why.status, .code = why.code, .detail = why.detail, .instance = head.path});
}

// To "OPTIONS *".
response about_the_server() {
  response out = response::empty();
  out.headers.add("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
  return out;
}

}  // namespace

task<std::optional<bool>> server::state::read(connection& c, duration limit) {
  const std::optional<std::size_t> count = co_await move_on_after(limit, c.stream.read_some(c.buffer));
  if (!count) co_return std::nullopt;
  if (*count == 0 || c.dismissed) co_return false;
  c.parser.feed({c.buffer.data(), *count});
  co_return true;
}

task<> server::state::leave(connection& c) {
  c.now = phase::leaving;
  c.stream.end_writing();
  static_cast<void>(co_await move_on_after(options.linger_timeout, drop_input(c)));
  c.stream.close();
}

task<> server::state::drop_input(connection& c) {
  try {
    while (co_await c.stream.read_some(c.buffer) != 0) {
    }
  } catch (const io::network_error&) {
    co_return;  // it has gone without reading the rest
  }
}

response server::state::sendable(response given, std::string_view path) {
  if (!given.stream && is_final(given)) return given;
  const std::string what =
      given.stream ? "that is streamed" : "with the status " + std::to_string(to_int(given.status));
  belay::detail::report_lost(failure::of(std::make_exception_ptr(
      misuse_error("server_hooks: `judge_head`, `plan_body` or `refused` gave an answer " + what + " for " +
                   std::string(path)))));
  return detail::internal_error(path);
}

task<> server::state::refuse(connection& c, protocol_error why) {
  ++totals.refusals;
  c.now = phase::answering;
  const request& head = c.parser.head();
  response given = guarded(head.path, [&] {
    return hooks.refused ? hooks.refused(why, head, c.stream.peer()) : default_refusal(why, head);
  });
  const response answer = sendable(std::move(given), head.path);
  if (co_await write(c, answer, wire(head, false))) co_await leave(c);
}

task<> server::state::tell_overloaded(connection& c) {
  const protocol_error why{status::service_unavailable, "overloaded", "there are too many connections"};
  const request unread;
  response given = guarded("/", [&] {
    return hooks.refused ? hooks.refused(why, unread, c.stream.peer()) : default_refusal(why, unread);
  });
  response answer = sendable(std::move(given), "/");
  answer.headers.set("Retry-After", "1");
  if (co_await write(c, answer, wire(unread, false))) co_await leave(c);
}

auto server::state::read_head(connection& c) -> task<step> {
  std::optional<time_point> deadline;
  // Empty lines before a request are no part of it, and give no more time.
  const time_point idle_until = saturating_add(
      belay::now(),
      c.requests == 0 ? std::min(options.first_byte_timeout, options.idle_timeout) : options.idle_timeout);
  while (c.parser.current() == parsing::reading_head) {
    const bool started = c.parser.started();
    c.now = started ? phase::reading : phase::idle;
    if (draining && (!started || too_late)) co_return step::over;
    if (started && !deadline) deadline = saturating_add(belay::now(), options.head_timeout);
    const std::optional<bool> more = co_await read(c, (started ? *deadline : idle_until) - belay::now());
    if (!more && started) {
      co_await refuse(c,
                      {status::request_timeout, "request_timeout", "the head of the request took too long"});
      co_return step::over;
    }
    if (!more || !*more) {
      if (started && !c.dismissed) ++totals.disconnects;
      co_return step::over;
    }
  }
  c.now = phase::reading;
  if (c.parser.current() == parsing::failed) {
    co_await refuse(c, c.parser.error());
    co_return step::over;
  }
  ++c.requests;
  co_return step::go_on;
}

auto server::state::read_body(connection& c, bool& answered) -> task<step> {
  request_parser& parser = c.parser;
  c.plan = {};
  const request& head = parser.head();
  std::optional<response> early;
  if (head.target == "*") {
    early = about_the_server();
  } else if (hooks.judge_head || hooks.plan_body) {
    early = guarded(head.path, [&]() -> std::optional<response> {
      std::optional<response> judged;
      if (hooks.judge_head) judged = hooks.judge_head(head, c.stream.peer());
      if (!judged && hooks.plan_body) c.plan = hooks.plan_body(head, c.stream.peer());
      return judged;
    });
  }
  if (early) {
    answered = true;
    co_return co_await answer_early(c, sendable(std::move(*early), head.path));
  }
  if (c.plan.how == body_plan::way::streamed) {
    if (parser.accept_body(request_parser::body_mode::stream, c.plan.limit) == parsing::failed) {
      co_await refuse(c, parser.error());
      co_return step::over;
    }
    co_return step::go_on;
  }
  if (parser.accept_body(request_parser::body_mode::store, c.plan.limit) == parsing::reading_body &&
      parser.expects_continue() && parser.buffered() == 0) {
    if (!co_await write(c, continue_response)) co_return step::over;
  }
  co_return co_await finish_body(c);
}

auto server::state::finish_body(connection& c) -> task<step> {
  const time_point deadline = saturating_add(belay::now(), options.body_timeout);
  while (c.parser.current() == parsing::reading_body) {
    const std::optional<bool> more = co_await read(c, deadline - belay::now());
    if (!more) {
      co_await refuse(c,
                      {status::request_timeout, "request_timeout", "the body of the request took too long"});
      co_return step::over;
    }
    if (!*more) {
      if (!c.dismissed) ++totals.disconnects;
      co_return step::over;
    }
  }
  if (c.parser.current() == parsing::failed) {
    co_await refuse(c, c.parser.error());
    co_return step::over;
  }
  co_return step::go_on;
}

auto server::state::answer_early(connection& c, response answer) -> task<step> {
  ++totals.early_answers;
  c.now = phase::answering;
  request_parser& parser = c.parser;
  const bool keep = can_skip_rest(c, parser.expects_continue()) && keeps_alive(c, answer);
  if (!co_await write(c, answer, wire(parser.head(), keep))) co_return step::over;
  if (!keep) {
    co_await leave(c);
    co_return step::over;
  }
  co_return co_await skip_rest(c);
}

bool server::state::can_skip_rest(const connection& c, bool continue_due) const noexcept {
  const request_parser& parser = c.parser;
  if (parser.current() == parsing::complete || !parser.has_body()) return true;
  // A client that waits for "100 Continue" may send the body or not: what comes next could not be told.
  return !continue_due && parser.announced_length() &&
         *parser.announced_length() - parser.body_received() <= options.early_answer_drain_limit;
}

}  // namespace belay::http
