// SPDX-License-Identifier: Apache-2.0
// How bytes, ends and resets travel between the two ends of a connection.

#include "fake_network_state.hpp"

namespace belay::testing::detail {

namespace {

void drop_in_flight(fake_end& at) noexcept {
  at.in_flight.clear();
  at.unread = at.received.size();
}

}  // namespace

const network_conditions& fake_connection::conditions() const noexcept { return net->conditions_of(to); }

time_point fake_connection::arrival(duration delay) const noexcept {
  return lost ? never : saturating_add(now(), delay);
}

void fake_connection::settle() noexcept {
  const time_point present = now();
  const network_conditions& under = conditions();
  if (under.lose_at && *under.lose_at <= present && opened < *under.lose_at && !lost) {
    const loss how = under.lose_by;
    deliver(*under.lose_at);
    lose(how);
  }
  deliver(present);
}

void fake_connection::deliver(time_point until) noexcept {
  if (net->stalled(to)) return;
  const duration delay = conditions().delay;
  for (const unsigned side : {client, server}) {
    fake_end& at = ends[side];
    while (!at.in_flight.empty() && at.in_flight.front().arrives <= until) {
      packet& arrived = at.in_flight.front();
      if (at.open) {
        at.received += arrived.bytes;
      } else {
        // Nobody is there to take it: the answer is a reset.
        at.unread -= arrived.bytes.size();
        fake_end& sender = ends[1 - side];
        if (!lost)
          sender.reset_arrives = std::min(sender.reset_arrives, saturating_add(arrived.arrives, delay));
      }
      at.in_flight.pop_front();
    }
    if (at.in_flight.empty() && at.end_arrives <= until) at.end_here = true;
  }
  for (fake_end& at : ends) {
    if (at.reset_here || at.reset_arrives > until) continue;
    at.reset_here = true;
    drop_in_flight(at);
  }
}

time_point fake_connection::next_event(unsigned side) const noexcept {
  const time_point present = now();
  time_point next = never;
  const auto consider = [&](time_point when) {
    if (when > present) next = std::min(next, when);
  };
  if (const auto& at = conditions().lose_at; at && !lost && opened < *at) consider(*at);
  if (net->stalled(to)) return next;
  const fake_end& here = ends[side];
  const fake_end& there = ends[1 - side];
  if (!here.in_flight.empty()) consider(here.in_flight.front().arrives);
  consider(here.end_arrives);
  consider(here.reset_arrives);
  // What arrives at a closed end comes back as a reset.
  if (!there.open && !there.in_flight.empty()) consider(there.in_flight.front().arrives);
  return next;
}

void fake_connection::send(unsigned from, std::string_view bytes) {
  fake_end& at = ends[1 - from];
  const network_conditions& under = conditions();
  const auto& limit = from == client ? under.lose_after_to_server : under.lose_after_to_client;
  std::size_t through = bytes.size();
  const bool loses = limit && !lost && at.sent_here + bytes.size() >= *limit;
  if (loses) {
    through = *limit > at.sent_here ? static_cast<std::size_t>(*limit - at.sent_here) : 0;
  }
  const time_point arrives = std::max(at.last_arrival, arrival(net->delay_of_one(under)));
  if (arrives != never) at.last_arrival = arrives;
  if (through != 0) at.in_flight.push_back({arrives, std::string(bytes.substr(0, through))});
  if (through != bytes.size()) at.in_flight.push_back({never, std::string(bytes.substr(through))});
  at.unread += bytes.size();
  at.sent_here += bytes.size();
  net->written += bytes.size();
  if (!loses) return;
  lost = true;
  if (under.lose_by == loss::reset) {
    for (fake_end& one : ends) one.reset_arrives = std::min(one.reset_arrives, arrives);
  }
}

void fake_connection::end_writing(unsigned side) noexcept {
  if (ends[side].ended_writing || !ends[side].open) return;
  settle();
  ends[side].ended_writing = true;
  fake_end& there = ends[1 - side];
  there.end_arrives = std::max(there.last_arrival, arrival(conditions().delay));
  waiting.changed();
}

void fake_connection::close(unsigned side) noexcept {
  fake_end& here = ends[side];
  if (!here.open) return;
  settle();
  fake_end& there = ends[1 - side];
  const time_point news = std::max(there.last_arrival, arrival(conditions().delay));
  if (!here.received.empty()) {
    there.reset_arrives =
        std::min(there.reset_arrives, news);  // RFC 2525, 2.17: unread data is told as a reset
  } else if (!here.ended_writing) {
    there.end_arrives = news;
  }
  here.open = false;
  here.received.clear();
  here.unread = 0;
  for (const packet& one : here.in_flight) here.unread += one.bytes.size();
  waiting.changed();
  if (is_open()) return;
  // The last use of this object may be the one in the list.
  std::erase_if(net->connections, [this](const auto& one) { return one.get() == this; });
}

void fake_connection::lose(loss how) noexcept {
  lost = true;
  for (fake_end& at : ends) {
    if (how == loss::reset) {
      drop_in_flight(at);
      at.reset_here = true;
      continue;
    }
    for (packet& one : at.in_flight) one.arrives = never;
    if (!at.end_here) at.end_arrives = never;
    if (!at.reset_here) at.reset_arrives = never;
  }
  waiting.changed();
}

void fake_listener::settle() noexcept {
  const time_point present = now();
  for (pending& one : queue) {
    if (one.arrives <= present && !net->stalled(one.connection->to)) one.here = true;
  }
}

void fake_listener::close() noexcept {
  if (!std::exchange(open, false)) return;
  for (pending& one : std::exchange(queue, {})) {
    // Nobody will take it any more.
    fake_end& peer = one.connection->ends[fake_connection::client];
    if (!one.connection->lost)
      peer.reset_arrives =
          std::min(peer.reset_arrives, saturating_add(now(), one.connection->conditions().delay));
    one.connection->ends[fake_connection::server].ended_writing = true;  // no orderly end
    one.connection->close(fake_connection::server);
  }
  waiting.changed();
  const std::shared_ptr<fake_network::state> of = net;
  // The last use of this object may be the one in the list.
  std::erase_if(of->listeners, [this](const auto& one) { return one.get() == this; });
  of->connecting.changed();
}

}  // namespace belay::testing::detail
