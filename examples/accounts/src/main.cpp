// SPDX-License-Identifier: Apache-2.0
// A small bank over HTTP: the reference service of Belay.
//   accounts --help     exit: 0 clean, 1 start failed, 2 usage, 3 unclean shutdown, 130 forced

#include <belay/db/sqlite/migrate.hpp>
#include <belay/service/app.hpp>
#include <belay/telemetry/sink.hpp>

#include <cstdio>

#include "routes.hpp"
#include "rules.hpp"
#include "schema.hpp"
#include "settings.hpp"

namespace accounts {

namespace {

namespace http = belay::http;

int serve(const settings& told) {
  const belay::telemetry::logger log(belay::telemetry::background_sink(belay::telemetry::stderr_sink()),
                                     {.format = told.log});
  belay::service::app_options options;
  options.name = "accounts";
  options.listen = told.listen;
  options.grace = told.grace;
  options.loop.on_lost_failure = [log](const belay::failure& what) { log.error("lost_failure", what); };
  belay::service::app app(options, log);

  const database db = app.manage("database", belay::db::sqlite::open(told.db));
  app.step("migrate", [db]() -> belay::task<> { co_await belay::db::sqlite::migrate(*db, schema()); });
  app.gauge("connections", [db] { return db->statistics().in_use; });
  app.gauge("transactions", [db] { return db->statistics().transactions; });

  app.on_error<user_not_found>(http::status::not_found, "user_not_found");
  app.on_error<account_not_found>(http::status::not_found, "account_not_found");
  app.on_error<email_taken>(http::status::conflict, "email_taken");
  app.on_error<insufficient_funds>(http::status::conflict, "insufficient_funds");
  app.on_error<balance_overflow>(http::status::unprocessable_content, "balance_overflow");
  app.on_error<idempotency_mismatch>(http::status::unprocessable_content, "idempotency_mismatch");

  add_user_routes(app, db);
  add_account_routes(app, db);
  add_transfer_routes(app, db);
  add_dashboard_route(app, db);
  return app.run();
}

}  // namespace
}  // namespace accounts

int main(int argc, char** argv) {
  try {
    return accounts::serve(accounts::read_settings(argc, argv));
  } catch (const accounts::usage& said) {
    std::fputs(said.text.c_str(), said.code == 0 ? stdout : stderr);
    return said.code;
  }
}
