// SPDX-License-Identifier: Apache-2.0
// Requests whose body is a stream: sent piece by piece, while the response is looked for.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "client_exchange.hpp"

namespace belay::http::detail {

namespace {

// What goes into one write, so that `response_timeout` bounds the time for so much.
constexpr std::size_t largest_write = 64 * 1024;

// A request that is written by one task, while another one reads its response.
struct uploading {
  duration response_timeout;
  event spoken{"the server's word about a body"};  // it wants the body, or has answered
  event stepped{"a body on its way"};  // all is written, or nothing more will be; or there is an answer
  event read{"a response"};            // to its end, or the connection has ended
  bool sent = false;
  bool answered = false;
};

// False: the server has closed; it may have answered before.
task<bool> put(connection& c, sending& of, std::string_view bytes, duration limit) {
  try {
    if (!co_await move_on_after(limit, c.stream.write(bytes)))
      throw of.timed_out("the server took no more of the body", limit);
    co_return true;
  } catch (const io::disconnected_error&) {
    of.unwritten = current_failure();
  } catch (const io::network_error& e) {
    throw of.lost(e);
  }
  co_return false;
}

task<bool> put_piece(connection& c, sending& of, std::string_view piece, bool chunked, duration limit) {
  while (!piece.empty()) {
    const std::string_view part = piece.substr(0, largest_write);
    piece.remove_prefix(part.size());
    if (!chunked) {
      if (!co_await put(c, of, part, limit)) co_return false;
      continue;
    }
    std::string framed;
    framed.reserve(part.size() + 16);
    fmt::format_to(std::back_inserter(framed), "{:x}\r\n", part.size());
    framed.append(part).append("\r\n");
    if (!co_await put(c, of, framed, limit)) co_return false;
  }
  co_return true;
}

task<> send_pieces(open_stream<std::string>& pieces, connection& c, sending& of, uploading& both) {
  const std::optional<std::uint64_t> length = of.what.upload.options().length;
  std::uint64_t left = length.value_or(0);
  while (const std::string* piece = co_await pieces.next()) {
    if (length && piece->size() > left)
      throw misuse_error(fmt::format("an upload is longer than its announced length of {} bytes", *length));
    left -= length ? piece->size() : 0;
    if (!co_await put_piece(c, of, *piece, !length, both.response_timeout)) co_return;
  }
  if (left != 0) {
    throw misuse_error(
        fmt::format("an upload ended {} bytes before its announced length of {} bytes", left, *length));
  }
  both.sent = length.has_value() || co_await put(c, of, "0\r\n\r\n", both.response_timeout);
}

task<> wait_for(event& what) { co_await what.wait(); }

task<> send_upload(connection& c, sending& of, const response_parser& parser, uploading& both) {
  struct ending {
    event& what;
    ~ending() { what.set(); }
  } const at_end{both.stepped};
  if (!co_await put(c, of, of.bytes(current_deadline()), both.response_timeout)) co_return;
  const upload_options& how = of.what.upload.options();
  if (how.expect_continue) {
    static_cast<void>(co_await move_on_after(how.continue_timeout, wait_for(both.spoken)));
    if (parser.current() != response_parser::state::reading_head) co_return;  // it does not want it
  }
  co_await with(of.what.upload.take(), [&](open_stream<std::string>& pieces) -> task<> {
    co_await or_fail(send_pieces(pieces, c, of, both));
  });
}

task<> read_to(uploading& both, connection& c, const sending& of, response_parser& parser, bool was_used,
               reach until) {
  both.answered = co_await or_fail(read_answer(c, of, parser, was_used, until, &both.spoken));
  both.read.set();
  both.stepped.set();
}

}  // namespace

task<bool> exchange_upload(connection& c, sending& of, response_parser& parser, bool was_used, reach until,
                           duration response_timeout) {
  uploading both{response_timeout};
  bool in_time = true;
  c.reusable = false;  // as long as part of the request may be on its way
  co_await with_group([&](group& tasks) -> task<> {
    auto reader =
        tasks.spawn(read_to, std::ref(both), std::ref(c), std::cref(of), std::ref(parser), was_used, until);
    auto writer = tasks.spawn(send_upload, std::ref(c), std::ref(of), std::cref(parser), std::ref(both));
    co_await both.stepped.wait();
    if (!both.read.is_set())
      in_time = (co_await move_on_after(response_timeout, wait_for(both.read))).has_value();
    reader.cancel();
    writer.cancel();
  });
  if (!in_time && !both.read.is_set()) throw of.timed_out("no response", response_timeout);
  c.reusable = both.sent;
  co_return both.answered;
}

}  // namespace belay::http::detail
