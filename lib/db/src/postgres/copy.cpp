// SPDX-License-Identifier: Apache-2.0
// Streams of COPY, in and out.

#include <belay/db/postgres/copy.hpp>

#include <belay/core/failure.hpp>
#include <belay/core/managed.hpp>
#include <algorithm>

#include "session.hpp"
#include "text_format.hpp"

namespace belay::db::postgres {

namespace {

using detail::exchange_wait;
using detail::step;

struct copy_state {
  std::shared_ptr<detail::session> open;
  bool over = false;  // the server has said how it ended
};

std::vector<statement> only(std::string sql) {
  std::vector<statement> one;
  one.push_back({std::move(sql)});
  return one;
}

task<> give_up(detail::line& on, std::string reason) {
  exchange_wait wait(on, step::end_copy, {}, std::move(reason));
  co_await wait;
}

// Holds the turn for as long as the copy is open.
managed<copy_state> copying(connection over, step what, std::string sql) {
  copy_state state{.open = over.session()};
  const permit turn = co_await detail::take_turn(*state.open);
  exchange_wait begin(state.open->on(), what, only(std::move(sql)));
  co_await detail::run_other(*state.open, begin);
  co_yield state;
  if (state.over) co_return;
  // What the server says to that is that it was given up; a lost connection, it tells the next statement.
  const outcome<void> how = co_await as_outcome(give_up(state.open->on(), "given up by the client"));
  if (how.failed()) how.failure().observe();
  if (state.open->lost_because.empty()) state.open->lost_because = "a COPY was given up";
}

}  // namespace

stream<std::string> copy_out(connection on, std::string sql) {
  copy_state& state = co_await use(copying(std::move(on), step::copy_out, std::move(sql)));
  for (;;) {
    std::string piece;
    {
      exchange_wait wait(state.open->on(), step::get_chunk);
      try {
        co_await wait;
      } catch (const std::exception& problem) {
        state.over = true;
        if (state.open->lost_because.empty()) state.open->lost_because = problem.what();
        throw;
      }
      piece = std::move(wait.chunk);
    }
    if (piece.empty()) break;
    co_yield piece;
  }
  state.over = true;
}

task<std::int64_t> copy_in(connection on, std::string sql, stream<std::string> data) {
  co_return co_await with(copying(std::move(on), step::copy_in, std::move(sql)),
                          [&data](copy_state& state) -> task<std::int64_t> {
                            detail::line& to = state.open->on();
                            co_await with(std::move(data), [&to](open_stream<std::string>& pieces) -> task<> {
                              constexpr std::size_t most = 1024 * 1024;  // at once
                              while (const std::string* piece = co_await pieces.next()) {
                                for (std::size_t at = 0; at < piece->size(); at += most) {
                                  exchange_wait wait(to, step::put_chunk, {}, piece->substr(at, most));
                                  co_await wait;
                                }
                              }
                            });
                            exchange_wait end(to, step::end_copy);
                            state.over = true;
                            co_await detail::run_other(*state.open, end);
                            co_return end.results.empty() ? 0 : end.results.front().changed.rows;
                          });
}

std::string copy_row(const parameters& columns) {
  std::string line;
  std::size_t number = 0;
  for (const value& column : columns) {
    if (number++ > 0) line += '\t';
    if (column.is_null()) {
      line += "\\N";
      continue;
    }
    if (const auto* raw = std::get_if<blob>(&column.get())) {
      constexpr const char* digits = "0123456789abcdef";
      line += "\\\\x";
      for (const std::byte each : *raw) {
        line += digits[std::to_integer<unsigned>(each) >> 4U];
        line += digits[std::to_integer<unsigned>(each) & 15U];
      }
      continue;
    }
    std::string room;
    const detail::outgoing text = detail::to_outgoing(column, room, number, "copy_row");
    for (const char* c = text.data; *c != '\0'; ++c) {
      switch (*c) {
        case '\\': line += "\\\\"; break;
        case '\t': line += "\\t"; break;
        case '\n': line += "\\n"; break;
        case '\r': line += "\\r"; break;
        default: line += *c;
      }
    }
  }
  return line + '\n';
}

}  // namespace belay::db::postgres
