// SPDX-License-Identifier: Apache-2.0
// A small bank over HTTP: the reference service of Belay.
//   accounts --help     exit: 0 clean, 1 start failed, 2 usage, 3 unclean shutdown, 130 forced

#include <belay/service/app.hpp>
#include <belay/telemetry/policy_metrics.hpp>
#include <belay/telemetry/sink.hpp>

#include "bank.hpp"
#include "settings.hpp"

namespace accounts {

namespace {

int serve(const settings& told) {
  const belay::telemetry::logger log(belay::telemetry::background_sink(belay::telemetry::stderr_sink()),
                                     {.format = told.log});
  belay::service::app_options options;
  options.name = "accounts";
  options.listen = told.listen;
  options.grace = told.grace;
  options.metrics_path = "/metrics";
  options.inspector = {.path = "/_belay/", .token = told.inspector_token};
  options.loop.on_lost_failure = [log](const belay::failure& what) { log.error("lost_failure", what); };
  belay::service::app app(options, log);
  // All that the policies do is counted. Into the log go only the states of the breaker: a request that fails has its own record, and no
  // second one.
  const belay::policy_listener counted = belay::telemetry::policy_metrics(app.metrics());
  add_bank(app, open_store(told.db), log, {.mail = {.url = told.mail, .listener = counted}});
  add_quotes(app, {.upstream = told.quotes, .listener = [log, counted](const belay::policy_event& event) {
                     counted.tell(event);
                     if (event.action != belay::policy_action::state_changed) return;
                     log.info("policy", {{"policy", event.policy}, {"state", event.detail}});
                   }});
  return app.run();
}

}  // namespace
}  // namespace accounts

int main(int argc, char** argv) {
  auto told = accounts::options().read(argc, argv);
  if (!told) return told.finish();
  return accounts::serve(*told);
}
