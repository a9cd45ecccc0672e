// SPDX-License-Identifier: Apache-2.0
// Keeping a connection up, and handing replies to those who wait for them.

#include "line.hpp"

#include "greeting.hpp"

#include <belay/core/group.hpp>
#include <belay/core/random.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/detail/random.hpp>
#include <algorithm>
#include <array>

namespace belay::db::redis::detail {

namespace {

// A connection that lives shorter than this counts as an attempt that failed, so that a server that hangs up is not called without a pause.
constexpr duration settled = std::chrono::seconds(1);
constexpr duration least_delay = std::chrono::milliseconds(10);

// What else failed when a connection went (the writer after the reader) is told with the first error, to nobody else.
void observe_all(const failure& what) noexcept {
  what.observe();
  for (const failure& besides : what.attached()) observe_all(besides);
}

}  // namespace

line::line(options set)
    : set_(checked(std::move(set), "redis::connect")),
      name_(set_.server()),
      network_(&io::current_network()) {}

void line::start(std::source_location where) {
  require_here();
  tasks_.open(where, "redis::connect");
  // Below the main task, and shielded: it serves whoever cleans up after a cancellation.
  belay::detail::scope* const caller = belay::detail::this_runtime->current->current;
  belay::detail::scope* outermost = caller;
  while (outermost->parent != nullptr) outermost = outermost->parent;
  belay::detail::scope& inside = tasks_.inner_scope();
  inside.shielded = true;
  inside.attach_to(outermost);
  inside.at_gate |= caller->at_gate & belay::detail::gate_watched;
  belay::detail::adopt_task(tasks_, keep(), where);
}

void line::begin_closing(std::source_location where) noexcept {
  state_ = state::closed;
  tasks_.request_cancel(cancel_reason::caller, where);
}

void line::end_closing() noexcept {
  tasks_.close();
  const std::string why;
  end_all(sent_, ending::closed, why);
  end_all(unsent_, ending::closed, why);
}

client_statistics line::statistics() const noexcept {
  client_statistics now_is = counted_;
  now_is.connected = state_ == state::connected;
  now_is.pending = sent_.size() + unsent_.size();
  return now_is;
}

// ---- commands

void command_wait::start() {
  line& on = *on_;
  if (on.state_ == line::state::closed) return end({.how = ending::closed});
  if (on.state_ == line::state::away) return end({.how = ending::away, .why = on.why_away_});
  if (on.sent_.size() + on.unsent_.size() >= on.set_.most_pending) {
    throw error(error_kind::overloaded, "redis_queue_full",
                "Redis at " + on.name_ + ": " + std::to_string(on.set_.most_pending) +
                    " commands wait for their reply already (most_pending)");
  }
  // One that is larger than all that may wait is let through when nothing else waits.
  if (!on.unsent_.empty() && bytes_.size() > on.set_.most_pending_bytes - on.unsent_bytes_) {
    throw error(error_kind::overloaded, "redis_queue_full",
                "Redis at " + on.name_ + ": " + std::to_string(on.unsent_bytes_) +
                    " bytes of commands wait to be sent already (most_pending_bytes)");
  }
  on.enqueue({.bytes = std::move(bytes_), .who = this, .undo = std::move(undo_), .replies = replies_});
  at_ = std::prev(on.unsent_.end());
}

void line::enqueue(pending one) {
  const std::size_t size = one.bytes.size();
  unsent_.push_back(std::move(one));
  unsent_bytes_ += size;
  to_send_.set();
}

void line::withdraw(std::list<pending>::iterator which) noexcept {
  if (which->sent) {
    which->who = nullptr;
  } else {
    unsent_bytes_ -= which->bytes.size();
    unsent_.erase(which);
  }
}

void line::end_all(std::list<pending>& of, ending how, const std::string& why) noexcept {
  if (&of == &unsent_) unsent_bytes_ = 0;
  while (!of.empty()) {
    command_wait* const who = of.front().who;
    of.pop_front();
    if (who == nullptr) continue;
    answer told{.how = how};
    try {
      told.why = why;
    } catch (const std::bad_alloc&) {
      told.why.clear();  // the kind is what counts
    }
    who->end(std::move(told));
  }
}

void line::deliver(reply got) {
  if (sent_.empty()) {
    throw protocol_error(error_kind::data_format, "redis_protocol",
                         "a " + std::string(to_string(got.type)) + " came in that answers no command");
  }
  ++counted_.replies;
  if (pending& head = sent_.front(); head.replies > 1) {
    if (head.who != nullptr) head.collected.push_back(std::move(got));
    if (++head.came_in < head.replies) return;
    reply whole;
    whole.type = reply_type::array;
    whole.elements = std::move(head.collected);
    got = std::move(whole);
  }
  const pending first = std::move(sent_.front());
  sent_.pop_front();
  if (first.who != nullptr) return first.who->end({.how = ending::answered, .reply = std::move(got)});
  ++counted_.thrown_away;
  if (first.undoing && got.type == reply_type::error) return not_undone(got.text);
  if (!first.undo || got.type == reply_type::error) return;
  const command words = first.undo(got);
  if (!words.empty()) enqueue({.bytes = encode(words), .undoing = true});
}

// Nobody waits for it: the sink is told, at most once a minute.
void line::not_undone(const std::string& why) noexcept {
  ++counted_.not_undone;
  const time_point here = now();
  if (here < quiet_until_) return;
  quiet_until_ = saturating_add(here, std::chrono::minutes(1));
  try {
    failure lost = failure::of(std::make_exception_ptr(server_error(why, name_, "a command")));
    lost.note("it should have made up for what a cancelled command had done");
    belay::detail::report_lost(lost);
  } catch (const std::bad_alloc&) {
    // Counted all the same.
  }
}

// ---- the task in the background

// Each round ends by failing, unless it is cancelled.
task<> line::keep() {
  for (;;) {
    const outcome<void> how = co_await as_outcome(round());
    round_ended(how.failure());
  }
}

void line::round_ended(const failure& why) noexcept {
  observe_all(why);
  ++counted_.failures;
  const bool was_good = state_ == state::connected && now() - connected_at_ >= settled;
  failed_rounds_ = was_good ? 0 : failed_rounds_ + 1;
  ending how = ending::lost;
  if (const auto* garbled = why.find<protocol_error>()) {
    how = garbled->code() == "redis_reply_too_large" ? ending::too_large : ending::garbled;
  } else if (const auto* silent = why.find<connection_error>();
             silent != nullptr && silent->code() == "redis_silent") {
    how = ending::silent;
  }
  std::string words;
  try {
    words = why.message();
  } catch (const std::bad_alloc&) {
    words.clear();
  }
  end_all(sent_, how, words);
  if (state_ == state::closed) return;
  if (was_good) {
    // What was not sent waits for the new connection.
    last_delay_ = {};
    state_ = state::connecting;
    return;
  }
  state_ = state::away;
  end_all(unsent_, ending::away, words);
  why_away_ = std::move(words);
}

task<> line::round() {
  if (failed_rounds_ > 0) {
    belay::detail::random_source random(random_bits());
    last_delay_ = set_.reconnect.draw(failed_rounds_, last_delay_, random);
    co_await sleep_for(std::max(last_delay_, least_delay));
  }
  to_send_.reset();
  to_watch_.reset();
  parser_.emplace(set_.largest_reply);
  io::tcp_stream stream = co_await with_timeout({set_.connect_limit, "connecting to Redis"},
                                                greet(*network_, set_, name_, *parser_));
  ++counted_.connections;
  state_ = state::connected;
  connected_at_ = now();
  if (!unsent_.empty()) to_send_.set();
  co_await or_fail(serve(stream));
}

task<> line::serve(io::tcp_stream& stream) {
  co_await with_group([this, &stream](group& both) -> task<> {
    both.spawn(&line::write_all, this, std::ref(stream));
    both.spawn(&line::watch, this);
    co_await or_fail(read_all(stream));
  });
}

task<> line::read_all(io::tcp_stream& stream) {
  std::string part(16 * 1024, '\0');
  for (;;) {
    while (auto got = parser_->next()) deliver(std::move(*got));
    const std::size_t count = co_await stream.read_some(part);
    if (count == 0) {
      throw connection_error(error_kind::unavailable, "redis_lost",
                             "Redis at " + name_ + " closed the connection");
    }
    parser_->feed({part.data(), count});
  }
}

task<> line::write_all(io::tcp_stream& stream) {
  std::string bytes;
  for (;;) {
    co_await to_send_.wait();
    to_send_.reset();
    bytes.clear();
    const time_point here = now();
    while (!unsent_.empty()) {
      pending& one = unsent_.front();
      bytes += one.bytes;
      one.bytes = {};
      one.sent = true;
      one.sent_at = here;
      sent_.splice(sent_.end(), unsent_, unsent_.begin());
    }
    to_watch_.set();
    co_await stream.write(bytes);
  }
}

// One timer for all commands: that of the oldest.
task<> line::watch() {
  for (;;) {
    if (sent_.empty()) {
      to_watch_.reset();
      co_await to_watch_.wait();
      continue;
    }
    const time_point due = saturating_add(sent_.front().sent_at, set_.reply_limit);
    if (due <= now()) {
      throw connection_error(error_kind::timed_out, "redis_silent",
                             "Redis at " + name_ + " has not answered for as long as reply_limit");
    }
    co_await sleep_until(due);
  }
}

}  // namespace belay::db::redis::detail
