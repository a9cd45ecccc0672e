// SPDX-License-Identifier: Apache-2.0
// Answers that are made while they are sent: framed, bounded, and never complete by mistake.

#include <belay/core/timeout.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "server_state.hpp"

namespace belay::http {

using detail::outgoing;

namespace {

// What goes into one write, so that `write_timeout` bounds the time for so much.
constexpr std::size_t largest_write = 64 * 1024;

void append_chunk(std::string& out, std::string_view content) {
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", content.size());
  out.append(content).append("\r\n");
}

// As it goes over the wire.
std::string framed(const std::string& content, framing how) {
  if (how != framing::chunked) return content;
  std::string bytes;
  bytes.reserve(content.size() + 24);
  append_chunk(bytes, content);
  return bytes;
}

task<> send_all(open_stream<std::string>& items, std::optional<std::uint64_t> length, outgoing& to) {
  std::uint64_t left = length.value_or(0);
  while (const std::string* piece = co_await items.next()) {
    if (length && piece->size() > left) {
      throw misuse_error(
          fmt::format("a streamed response is longer than its announced length of {} bytes", *length));
    }
    left -= length ? piece->size() : 0;
    if (!piece->empty()) co_await to.pieces.send(framed(*piece, to.how));  // an empty chunk would be the end
  }
  if (left != 0) {
    throw misuse_error(fmt::format(
        "a streamed response ended {} bytes before its announced length of {} bytes", left, *length));
  }
}

task<std::optional<std::string>> next_piece(outgoing& from) { co_return co_await from.pieces.receive(); }

// For `drain`, as long as it lives.
struct under_way {
  under_way(outgoing*& slot, outgoing& what) noexcept : slot_(slot) { slot_ = &what; }
  under_way(const under_way&) = delete;
  under_way& operator=(const under_way&) = delete;
  ~under_way() { slot_ = nullptr; }
  outgoing*& slot_;
};

}  // namespace

task<> server::state::make_pieces(streamed_body from, outgoing& to) {
  struct closing {
    outgoing& what;
    ~closing() { what.pieces.close(); }
  };
  const closing at_the_end{to};
  const std::optional<std::uint64_t> length = from.options().length;
  outcome<void> how = co_await as_outcome(with(
      from.take(), [&](open_stream<std::string>& items) -> task<> { co_await send_all(items, length, to); }));
  if (how.failed()) {
    to.why = how.failed_with();
  } else {
    to.complete = true;
  }
}

task<bool> server::state::write_pieces(connection& c, outgoing& from, const stream_options& how,
                                       std::string head) {
  if (!co_await write(c, head)) co_return false;
  const std::string heartbeat = framed(how.heartbeat, from.how);
  const bool beats = how.heartbeat_every > duration::zero() && !how.heartbeat.empty();
  while (true) {
    std::optional<std::string> piece;
    if (beats) {
      auto in_time = co_await move_on_after(how.heartbeat_every, next_piece(from));
      if (!in_time) {
        if (!co_await write(c, heartbeat)) co_return false;
        continue;
      }
      piece = std::move(*in_time);
    } else {
      piece = co_await from.pieces.receive();
    }
    if (!piece) break;
    for (std::string_view rest = *piece; !rest.empty();
         rest.remove_prefix(std::min(rest.size(), largest_write))) {
      if (!co_await write(c, rest.substr(0, largest_write))) co_return false;
    }
  }
  const bool whole = from.complete || (from.cut && from.how != framing::length && !from.why);
  co_return !whole || from.how != framing::chunked || co_await write(c, "0\r\n\r\n");
}

void server::state::tell_body_failed(const exchange& of, const failure& why) noexcept {
  ++totals.body_failures;
  try {
    if (hooks.body_failed) {
      hooks.body_failed(of, why);
    } else {
      belay::detail::report_lost(why);
    }
  } catch (...) {
    belay::detail::report_lost(current_failure());
  }
}

task<delivery> server::state::send_stream(connection& c, const exchange& of, const response& what,
                                          wire_options how) {
  std::string head = serialise_head(what, how);
  if (!sends_body(what, how)) {  // the stream is dropped unopened, with `what`
    try {
      co_return co_await write(c, head) ? delivery::sent : delivery::lost;
    } catch (const io::network_error&) {
      co_return delivery::lost;
    }
  }
  const stream_options& wanted = what.stream.options();
  outgoing out;
  out.how = framing_of(what, how);
  out.drain = wanted.drain;
  const under_way known(c.out, out);
  // Also if this is unwound: the stream may have failed while it was closed.
  struct telling {
    state& self;
    const exchange& about;
    const outgoing& body;
    ~telling() {
      if (body.why) self.tell_body_failed(about, body.why);
    }
  };
  const telling at_the_end{*this, of, out};
  outcome<bool> written = co_await as_outcome(with_group([&](group& both) -> task<bool> {
    out.maker = both.spawn(&state::make_pieces, what.stream, std::ref(out));
    if (draining && out.drain == stream_options::on_drain::end) out.end();
    const bool taken = co_await write_pieces(c, out, wanted, std::move(head));
    if (!taken) out.maker.cancel(cancel_reason::disconnect);
    co_return taken;
  }));
  if (out.why) {
    if (written.failed()) {
      const failure besides = written.failed_with();
      if (detail::is_network_error(besides)) {
        besides.observe();
      } else {
        belay::detail::report_lost(besides);
      }
    }
    co_return delivery::broken;
  }
  if (written.failed()) {
    const failure why = written.failed_with();
    if (detail::is_network_error(why)) {
      why.observe();
      for (const failure& of_cleanup : why.attached()) tell_body_failed(of, of_cleanup);
      co_return delivery::lost;
    }
    tell_body_failed(of, why);  // of its cleanup, after it was cancelled
    co_return delivery::broken;
  }
  if (!written.value()) co_return delivery::lost;
  co_return out.complete || (out.cut && out.how != framing::length) ? delivery::sent : delivery::stopped;
}

}  // namespace belay::http
