// SPDX-License-Identifier: Apache-2.0
// Request bodies that the handler reads while they come: read ahead within a limit, and no slower than allowed.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <algorithm>

#include "server_state.hpp"

namespace belay::http {

using parsing = request_parser::state;

using namespace std::chrono_literals;

namespace {

stream<std::string> whole_body(const request& of) {
  if (!of.body.empty()) co_yield of.body;
}

task<unit> arrival(event& what) {
  co_await what.wait();
  co_return unit();
}

protocol_error too_slow() {
  return {status::request_timeout, "request_timeout", "the body of the request took too long"};
}

problem_error refusal(const protocol_error& why) { return problem_error(why.status, why.code, why.detail); }

}  // namespace

stream<std::string> exchange::body_stream() {
  if (incoming != nullptr) return incoming->open();
  return whole_body(request);
}

stream<std::string> server::state::incoming_body::open() {
  if (std::exchange(opened_, true)) throw misuse_error("exchange::body_stream: called twice");
  return of_.body_pieces(at_, *this);
}

// Bytes that wait for the handler, or for the next request.
bool server::state::is_full(const connection& c) const noexcept {
  if (c.parser.current() == parsing::reading_body)
    return c.parser.body_size() >= std::max<std::size_t>(options.read_ahead_limit, 1);
  return c.parser.buffered() + c.parser.body_size() >= options.read_ahead_limit;
}

stream<std::string> server::state::body_pieces(connection& c, incoming_body& body) {
  duration waited = duration::zero();
  while (true) {
    if (c.parser.body_size() != 0) {
      std::string piece = c.parser.take_body();
      body.room.set();
      co_yield piece;
      continue;
    }
    if (c.parser.current() == parsing::complete) co_return;
    if (body.refused) throw refusal(*body.refused);
    if (c.parser.current() == parsing::failed) {
      body.refused = c.parser.error();
      continue;
    }
    if (c.peer_ended) {
      throw io::disconnected_error("the client left before the end of its body",
                                   std::make_error_code(std::errc::connection_reset));
    }
    if (body.continue_due && !body.answered) {
      body.continue_due = false;
      // To its end, even if whoever reads gives up: half of it would spoil the answer.
      const outcome<void> told =
          co_await as_outcome(shielded(options.write_timeout, c.stream.write(continue_response)));
      if (told.failed()) {
        const failure why = told.failure();
        const bool late = belay::detail::exception_as<timeout_error>(why.exception()) != nullptr;
        if (!late && !detail::is_network_error(why)) co_await fail(why);
        why.observe();
        c.peer_ended = true;  // or takes nothing; the half of what was to be said would spoil the answer
        c.stream.close();
      }
      continue;  // something may have come meanwhile
    }
    // Since the last progress, and altogether: what was waited for must have come at the least rate.
    duration limit = options.body_timeout;
    if (options.min_body_rate != 0) {
      const std::uint64_t seconds =
          std::min<std::uint64_t>(c.parser.body_received() / options.min_body_rate, 1'000'000);
      const duration earned = std::chrono::seconds(static_cast<std::int64_t>(seconds));
      limit = std::min(limit, std::min<duration>(options.body_timeout, 24h) + earned - waited);
    }
    const time_point begin = belay::now();
    body.arrived.reset();
    if (!co_await move_on_after(limit, arrival(body.arrived))) body.refused = too_slow();
    waited += belay::now() - begin;
  }
}

auto server::state::finish_input(connection& c, bool keep) -> task<step> {
  if (!keep || c.parser.current() == parsing::failed) {
    // Nothing is known to be unread when the client awaited its answer; otherwise wait, as after a refusal.
    if (c.parser.buffered() != 0 || c.parser.current() != parsing::complete) {
      co_await leave(c);
    } else {
      c.stream.end_writing();
    }
    co_return step::over;
  }
  if (c.parser.current() == parsing::complete) co_return step::go_on;
  co_return co_await skip_rest(c);
}

auto server::state::skip_rest(connection& c) -> task<step> {
  c.now = detail::phase::reading;
  if (c.parser.accept_body(request_parser::body_mode::discard) == parsing::failed) {
    co_await leave(c);
    co_return step::over;
  }
  const time_point deadline = saturating_add(belay::now(), options.body_timeout);
  while (c.parser.current() == parsing::reading_body) {
    const std::optional<bool> more = co_await read(c, deadline - belay::now());
    if (!more || !*more) co_return step::over;
  }
  if (c.parser.current() == parsing::failed) {
    co_await leave(c);  // the request is answered already
    co_return step::over;
  }
  co_return step::go_on;
}

}  // namespace belay::http
