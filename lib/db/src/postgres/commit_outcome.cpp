// SPDX-License-Identifier: Apache-2.0
// How a transaction ended whose connection was lost in its COMMIT: the server is asked.

#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/postgres/error.hpp>
#include <algorithm>

#include "server_error.hpp"
#include "session.hpp"

namespace belay::db::postgres::detail {

namespace {

struct closes {
  std::shared_ptr<line> open;
  ~closes() { open->drop(); }
};

task<rows> ask(line& on, std::string sql, parameters bound = {}) {
  std::vector<statement> one;
  one.push_back({std::move(sql), std::move(bound)});
  std::vector<result> got = co_await run_batch(on, std::move(one));
  co_return std::move(got.front().rows);
}

// None: not known, or not yet.
task<std::optional<bool>> ask_once(std::shared_ptr<pool> from, transaction_number which, int backend) {
  const closes with_us{co_await from->connect_apart()};
  line& on = *with_us.open;
  if (on.timeline.empty()) co_return std::nullopt;  // a standby knows less than the one it follows
  const bool same_history = on.timeline == which.timeline;
  const auto is_known = [](const std::string& timeline) { return !timeline.empty() && timeline != "?"; };
  const bool other_history = !same_history && is_known(which.timeline) && is_known(on.timeline);
  for (;;) {
    outcome<rows> how =
        co_await as_outcome(ask(on, "SELECT pg_xact_status($1::xid8) AS status", {value(which.id)}));
    if (how.failed()) {
      const failure why = how.failure();
      const auto* said = why.find<db::error>();
      // "transaction ID … is in the future": a crash or a failover has taken it away before anything of it was on this disk.
      if (said == nullptr || sqlstate(*said) != "22023") co_await fail(why);
      why.observe();
      co_return false;
    }
    const rows answer = std::move(how).value();
    const auto status = answer[0].get<std::optional<std::string>>(0);
    if (!status) co_return std::nullopt;  // too old to be known
    if (*status == "aborted") co_return false;
    if (*status == "committed") {
      // After a failover, what the new primary did not have by then is gone, and its numbers are given again: it may be somebody else's.
      if (same_history) co_return true;
      co_return std::nullopt;
    }
    if (other_history) co_return false;         // what runs here under this number is somebody else's
    if (!same_history) co_return std::nullopt;  // it may be ours
    // The old process waits for us, or is at it. Ended, it has decided.
    static_cast<void>(
        co_await ask(on,
                     "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1::int AND "
                     "backend_xid = ($2::xid8)::xid AND state <> 'active'",
                     {value(backend), value(which.id)}));
    co_await sleep_for(std::chrono::milliseconds(10));
  }
}

task<bool> ask_until_known(std::shared_ptr<pool> from, transaction_number which, int backend) {
  for (;;) {
    outcome<std::optional<bool>> how = co_await as_outcome(ask_once(from, which, backend));
    if (how.failed()) {
      how.failure().observe();
    } else if (const std::optional<bool> known = std::move(how).value()) {
      co_return *known;
    }
    co_await sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace

duration time_left() noexcept {
  const time_point until = current_deadline();
  const time_point here = now();
  return until <= here ? duration::zero() : until - here;
}

task<bool> was_committed(std::shared_ptr<pool> from, transaction_number which, int backend) {
  const options& set = from->settings();
  // Within the limit of the cleanup, which would take the outcome away; giving an inquiry up takes some of it.
  const duration spare = std::max(time_left() - set.cancel_limit, duration::zero());
  const duration limit = std::min(set.commit_limit / 2, spare / 2);
  std::optional<bool> known;
  if (limit > duration::zero())
    known = co_await move_on_after({limit, "the outcome of a commit"}, ask_until_known(from, which, backend));
  if (known) co_return *known;
  throw commit_unknown_error(
      fmt::format("database {}: COMMIT: the connection was lost, and the server could not say within {} ms "
                  "whether it was done: look at the data, or ask SELECT pg_xact_status('{}') of timeline {}",
                  from->name(), std::chrono::duration_cast<std::chrono::milliseconds>(limit).count(),
                  which.id, which.timeline),
      which.id);
}

}  // namespace belay::db::postgres::detail
