// SPDX-License-Identifier: Apache-2.0
// The bank, put together.

#include "bank.hpp"

#include <belay/http/status.hpp>

#include "routes.hpp"
#include "rules.hpp"

namespace accounts {

namespace http = belay::http;

void add_bank(belay::service::app& app, belay::managed<store> storage, belay::telemetry::logger log,
              bank_options options) {
  const database db = app.manage("database", std::move(storage));
  if (options.loop == 0) app.step("migrate", [db]() -> belay::task<> { co_await db->migrate(); });
  app.gauge("connections", [db] { return db->statistics().in_use; });
  app.gauge("transactions", [db] { return db->statistics().transactions; });

  app.on_error<user_not_found>(http::status::not_found, "user_not_found");
  app.on_error<post_not_found>(http::status::not_found, "post_not_found");
  app.on_error<account_not_found>(http::status::not_found, "account_not_found");
  app.on_error<email_taken>(http::status::conflict, "email_taken");
  app.on_error<insufficient_funds>(http::status::conflict, "insufficient_funds");
  app.on_error<balance_overflow>(http::status::unprocessable_content, "balance_overflow");
  app.on_error<idempotency_mismatch>(http::status::unprocessable_content, "idempotency_mismatch");
  // No 503: whoever gets one tries again without a look.
  app.on_error<outcome_unknown>(http::status::gateway_timeout, "outcome_unknown");

  add_user_routes(app, db, add_mailer(app, db, std::move(options.mail)));
  add_post_routes(app, db);
  add_account_routes(app, db);
  add_transfer_routes(app, db, add_events(app, db, std::move(options.events)));
  add_dashboard_route(app, db);
  options.reports.made_here = options.loop == 0;
  add_reports(app, db, std::move(options.reports), std::move(log));
}

}  // namespace accounts
