// SPDX-License-Identifier: Apache-2.0
#pragma once
// GET /events: one server-sent event for each transfer.

#include <belay/core/event.hpp>
#include <belay/service/app.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "bulletin.hpp"
#include "store.hpp"

namespace accounts {

struct event_feed_options {
  std::size_t most_subscribers = 1000;  ///< on one loop; then 503 `too_many_subscribers`
  /// How often a subscriber looks for transfers that another program on the same database has made.
  belay::duration look_every = std::chrono::seconds(1);
  /// Where the loops of this program tell each other of transfers; copies of the options share it.
  std::shared_ptr<bulletin> made = std::make_shared<bulletin>();
};

/// Tells subscribers that there are transfers that they have not seen.
///
/// The table is the buffer: each subscriber has a place in it, the id of the last transfer that it was sent, and reads on from there when
/// there is news, some at a time. So a client that is slow costs no memory and loses nothing; one that takes nothing at all is cut
/// off by the server's `write_timeout`; and one that comes back goes on where it was, by Last-Event-ID.
///
/// Thread: one loop; each has its own.
class event_feed {
 public:
  explicit event_feed(event_feed_options options) noexcept : options_(std::move(options)) {}

  /// There is a new one, for the subscribers of all loops. It is committed, and who could not be told finds it at the next look.
  void publish() noexcept;
  [[nodiscard]] std::size_t subscribers() const noexcept { return subscribers_; }

  // For the subscribers.
  [[nodiscard]] std::uint64_t published() const noexcept { return published_; }
  /// Waits for more than `seen`, for `look_every` at the most.
  [[nodiscard]] belay::task<> wait_for_news(std::uint64_t seen);
  /// Errors: `too_many_subscribers`.
  void come();
  void go() noexcept;

 private:
  void wake() noexcept;

  event_feed_options options_;
  std::optional<bulletin::place> joined_;  // while there is a subscriber
  std::uint64_t published_ = 0;
  std::size_t subscribers_ = 0;
  belay::event news_;
};

/// Adds `GET /events`. From the client's Last-Event-ID on; without one, what happens from now on.
std::shared_ptr<event_feed> add_events(belay::service::app& app, database db, event_feed_options options);

}  // namespace accounts
