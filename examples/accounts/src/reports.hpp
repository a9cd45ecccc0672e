// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reports about a user's transfers: asked for now, made in a thread, fetched later.

#include <belay/service/app.hpp>
#include <belay/telemetry/logger.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "bulletin.hpp"
#include "store.hpp"

namespace accounts {

struct report_options {
  std::size_t at_once = 2;          ///< made at the same time, each in a thread; at least 1
  std::int64_t most_waiting = 200;  ///< asked for and not done; then 503 `too_many_reports`
  /// The worker that makes them is on this loop. Of several, one has it, and hears of all orders.
  bool made_here = true;
  /// Where the loops of this program tell each other of orders; copies of the options share it.
  std::shared_ptr<bulletin> orders = std::make_shared<bulletin>();
};

/// Adds `POST /reports`, `GET /reports/{id}`, and the worker that makes them.
///
/// A report is a row, which is committed before the client gets its 202: `pending` until it is `done` or `failed`. The worker takes the
/// oldest first. When the program ends, a report that is being made is given up, stays `pending`, and is made anew after the next start;
/// so is one that was under way when the program was killed. Of two processes on one database, both may make it: the first result counts.
/// What the database refuses for a moment is tried again; after any other error the report is `failed`, and says so.
void add_reports(belay::service::app& app, database db, report_options options, belay::telemetry::logger log);

/// One transfer, seen from the user: what came in is above 0.
struct report_entry {
  std::int64_t id = 0;
  std::int64_t amount = 0;
};

struct report_result {
  std::int64_t transfers = 0;
  std::int64_t received = 0;
  std::int64_t sent = 0;
  std::int64_t median = 0;  ///< of the amounts; the lower one of two in the middle
  std::int64_t largest = 0;
  std::string fingerprint;  ///< 16 hex digits, of all entries in order; made so that guessing is slow
};

/// The work itself, much of it. Errors: `belay::error` (conflict, `report_overflow`) when a sum is too large. Cancellation: looks at
/// `stop` again and again, and throws `belay::stopped`.
[[nodiscard]] report_result make_report(const std::stop_token& stop,
                                        const std::vector<report_entry>& entries);

}  // namespace accounts
