// SPDX-License-Identifier: Apache-2.0
// Listening, and listening again after the connection was lost.

#include <belay/core/event.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/random.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/postgres/error.hpp>
#include <belay/db/postgres/listen.hpp>
#include <belay/resilience/backoff.hpp>
#include <belay/resilience/detail/random.hpp>

#include "pool.hpp"

namespace belay::db::postgres {

namespace {

using detail::line;

constexpr duration first_pause = std::chrono::milliseconds(50);
constexpr duration longest_pause = std::chrono::seconds(5);
constexpr duration least_pause = std::chrono::milliseconds(5);
// A connection that lives shorter than this counts as an attempt that failed, so that a server that hangs up is not called without a pause.
constexpr duration settled = std::chrono::seconds(1);

// The pauses between attempts in a row.
class growing_pause {
 public:
  [[nodiscard]] duration next() {
    last_ = std::max<duration>(pauses_.draw(++tried_, last_, random_), least_pause);
    return last_;
  }

 private:
  belay::detail::random_source random_{random_bits()};
  backoff pauses_ = backoff::exponential(first_pause, longest_pause);
  unsigned tried_ = 0;
  duration last_{};
};

struct closes {
  std::shared_ptr<line> open;
  ~closes() {
    open->told = {};
    open->drop();
  }
};

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += c;
    out += c;
  }
  return out + '"';
}

task<std::shared_ptr<line>> connect_and_listen(std::shared_ptr<detail::pool> from,
                                               std::vector<std::string> channels) {
  std::shared_ptr<line> made = co_await from->connect_apart();
  made->told = [] {};  // keeps what comes from now on
  std::vector<statement> all;
  for (const std::string& one : channels) all.push_back({"LISTEN " + quoted(one)});
  static_cast<void>(co_await detail::run_batch(*made, std::move(all)));
  co_return made;
}

bool may_pass(const failure& why) {
  const auto* known = why.find<belay::error>();
  return known != nullptr &&
         (known->kind() == error_kind::unavailable || known->kind() == error_kind::overloaded ||
          known->kind() == error_kind::timed_out);
}

// Until it works: at first for as long as a task waits for a connection, later for ever.
task<std::shared_ptr<line>> connect_patiently(std::shared_ptr<detail::pool> from,
                                              std::vector<std::string> channels, bool for_ever) {
  const options& set = from->settings();
  const time_point until = for_ever ? time_point::max() : saturating_add(now(), set.acquire_limit);
  growing_pause pauses;
  for (;;) {
    outcome<std::shared_ptr<line>> made = co_await as_outcome(
        with_timeout({set.connect_limit, "connecting to listen"}, connect_and_listen(from, channels)));
    if (made.succeeded()) co_return std::move(made).value();
    const failure why = made.failure();
    const duration pause = pauses.next();
    if (!may_pass(why) || saturating_add(now(), pause) >= until) co_await fail(why);
    why.observe();
    co_await sleep_for(pause);
  }
}

task<> wait_for(event& news) { co_await news.wait(); }

// Something new, or the connection is gone.
task<> wait_for_news(line& on, event& news, duration check_after, duration patience) {
  for (;;) {
    if (co_await move_on_after(check_after, wait_for(news))) co_return;
    outcome<std::vector<result>> alive =
        co_await as_outcome(with_timeout({patience, "a sign of life"}, detail::run_batch(on, {})));
    if (alive.succeeded()) continue;
    alive.failure().observe();
    on.drop();
    co_return;
  }
}

}  // namespace

stream<notification> listen(database db, std::vector<std::string> channels, listen_options how) {
  if (channels.empty()) throw misuse_error("postgres::listen: no channels");
  if (how.most_waiting == 0) throw misuse_error("postgres::listen: most_waiting must be at least 1");
  if (how.check_after <= duration::zero())
    throw misuse_error("postgres::listen: check_after must be above 0");
  const std::shared_ptr<detail::pool> from = db.pool();
  growing_pause pauses;
  bool short_lived = false;
  for (bool again = false;; again = true) {
    if (short_lived) co_await sleep_for(pauses.next());
    event news("a message of PostgreSQL");
    bool overflow = again;
    const closes with_us{co_await connect_patiently(from, channels, again)};
    const time_point since = now();
    line& on = *with_us.open;
    on.told = [&on, &news, &overflow, most = how.most_waiting] {
      if (on.heard.size() > most) {
        on.heard.clear();
        overflow = true;
      }
      news.set();
    };
    while (overflow || !on.heard.empty() || on.usable()) {
      if (std::exchange(overflow, false)) {
        notification gap{.type = notification_type::gap};
        co_yield gap;
      } else if (!on.heard.empty()) {
        detail::notice_of_channel one = std::move(on.heard.front());
        on.heard.pop_front();
        notification told{
            .channel = std::move(one.channel), .payload = std::move(one.payload), .sender = one.sender};
        co_yield told;
      } else {
        news.reset();
        co_await wait_for_news(on, news, how.check_after, from->settings().cancel_limit);
      }
    }
    short_lived = now() - since < settled;
    if (!short_lived) pauses = growing_pause();
  }
}

}  // namespace belay::db::postgres
