// SPDX-License-Identifier: Apache-2.0
// Transfers as server-sent events, read from their table.

#include "events.hpp"

#include <belay/core/loop.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/sse.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <new>
#include <utility>

#include "json.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
using belay::task;

constexpr std::int64_t most_at_once = 100;

// A place among the subscribers, as long as the stream goes on.
class seat {
 public:
  explicit seat(std::shared_ptr<event_feed> in) : in_(std::move(in)) { in_->come(); }
  seat(seat&& other) noexcept = default;  // leaves an empty pointer
  seat& operator=(seat&&) = delete;
  ~seat() {
    if (in_) in_->go();
  }
  [[nodiscard]] event_feed& feed() const noexcept { return *in_; }

 private:
  std::shared_ptr<event_feed> in_;
};

task<std::int64_t> last_transfer(const database& db) {
  const auto found = co_await db->query_one("SELECT id FROM transfers" + std::string(db->last_transfer()));
  co_return found ? found->get<std::int64_t>("id") : 0;
}

belay::stream<http::sse_event> transfers_after(database db, std::int64_t last, seat here) {
  for (;;) {
    const std::uint64_t seen =
        here.feed().published();  // before the look: what comes during it is looked for again
    const belay::db::rows found = co_await db->query(
        "SELECT " + std::string(transfer_columns) + " FROM transfers" + std::string(db->after_transfer()),
        last, most_at_once);
    for (const belay::db::row& one : found) {
      last = one.get<std::int64_t>("id");
      co_yield http::sse_event{
          .data = boost::json::serialize(to_json(one)), .event = "transfer", .id = std::to_string(last)};
    }
    if (found.empty()) co_await here.feed().wait_for_news(seen);
  }
}

task<http::response> subscribe(belay::service::request& asked, const database& db,
                               const std::shared_ptr<event_feed>& feed) {
  http::validation check;
  std::optional<std::int64_t> last;
  if (const auto text = http::last_event_id(asked.http()))
    last = check.integer("/header/Last-Event-ID", *text, {.min = 0});
  check.finish();
  seat here(feed);
  // Before the client hears that it is in: it gets whatever happens after that.
  if (!last) last = co_await last_transfer(db);
  co_return http::events(transfers_after(db, *last, std::move(here)));
}

}  // namespace

void event_feed::come() {
  if (subscribers_ >= options_.most_subscribers) throw too_many_subscribers();
  if (subscribers_ == 0) joined_.emplace(options_.made->join([this] { wake(); }));
  ++subscribers_;
}

void event_feed::go() noexcept {
  if (--subscribers_ == 0) joined_.reset();
}

void event_feed::publish() noexcept {
  try {
    options_.made->publish();
  } catch (const std::bad_alloc&) {
    return;  // whoever was not told looks after `look_every`
  } catch (const belay::loop_closed_error&) {
    return;  // that loop ends, with its subscribers
  }
}

void event_feed::wake() noexcept {
  ++published_;
  news_.set();
  news_.reset();  // those who wait are woken; those who come now look first
}

task<> event_feed::wait_for_news(std::uint64_t seen) {
  if (published_ != seen) co_return;
  co_await belay::move_on_after(options_.look_every,
                                [](belay::event& news) -> task<> { co_await news.wait(); }(news_));
}

std::shared_ptr<event_feed> add_events(belay::service::app& app, database db, event_feed_options options) {
  app.on_error<too_many_subscribers>(http::status::service_unavailable, "too_many_subscribers");
  auto feed = std::make_shared<event_feed>(std::move(options));
  app.gauge("subscribers", [feed] { return feed->subscribers(); });
  app.get("/events", [db, feed](belay::service::request& r) -> task<http::response> {
    co_return co_await subscribe(r, db, feed);
  });
  return feed;
}

}  // namespace accounts
