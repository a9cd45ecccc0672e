// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bank, for any app: the program puts it on sockets and a file, its proofs on a network and a database in memory.

#include <belay/service/app.hpp>

#include "events.hpp"
#include "mail.hpp"
#include "quotes.hpp"
#include "reports.hpp"
#include "store.hpp"

namespace accounts {

struct bank_options {
  mail_options mail{};
  report_options reports{};
  event_feed_options events{};
  /// Of several loops, the first one migrates the database, and makes the reports that any of them is asked for.
  unsigned loop = 0;
};

/// Adds what the bank needs to `app`: `storage` and its migration as steps of the lifespan, the errors and how they are answered,
/// what is in use, and the routes.
void add_bank(belay::service::app& app, belay::managed<store> storage, belay::telemetry::logger log,
              bank_options options = {});

/// Adds `GET /quotes/{symbol}`, with a client for the upstream as a step of the lifespan.
void add_quotes(belay::service::app& app, quotes_options options);

}  // namespace accounts
