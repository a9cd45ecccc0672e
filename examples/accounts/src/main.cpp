// SPDX-License-Identifier: Apache-2.0
// A small bank over HTTP: the reference service of Belay.
//   accounts --help     exit: 0 clean, 1 start failed, 2 usage, 3 unclean shutdown, 130 forced

#include <belay/service/run_app.hpp>
#include <belay/telemetry/policy_metrics.hpp>
#include <belay/telemetry/sink.hpp>

#include <cstdio>

#include "bank.hpp"
#include "settings.hpp"

namespace accounts {

namespace {

// Counts for the loop of this thread what policies do there, also those that the loops share.
belay::policy_listener& counted_here() {
  thread_local belay::policy_listener listener;
  return listener;
}

int serve(const settings& told) {
  const belay::telemetry::logger log(belay::telemetry::background_sink(belay::telemetry::stderr_sink()),
                                     {.format = told.log});
  belay::service::app_options options;
  options.name = "accounts";
  options.listen = told.listen;
  options.grace = told.grace;
  options.loops = told.loops;
  options.metrics_path = "/metrics";
  options.inspector = {.path = "/_belay/", .token = told.inspector_token};
  options.loop.on_lost_failure = [log](const belay::failure& what) { log.error("lost_failure", what); };

  // Made once, and shared by the loops: the news that they have for each other, and the breaker.
  const bank_options bank{.mail = {.url = told.mail, .listener = [](const belay::policy_event& event) {
                                     counted_here().tell(event);
                                   }}};
  // All that the policies do is counted. Into the log go only the states of the breaker: a request that fails has its own record, and no
  // second one.
  quotes_options quotes{.upstream = told.quotes, .listener = [log](const belay::policy_event& event) {
                          counted_here().tell(event);
                          if (event.action != belay::policy_action::state_changed) return;
                          log.info("policy", {{"policy", event.policy}, {"state", event.detail}});
                        }};
  if (told.redis) {
    quotes.redis = belay::db::redis::options::from_url(*told.redis);
  } else {
    quotes.breaker = make_quotes_breaker(quotes);
  }

  return belay::service::run_app(options, log, [&](belay::service::app& app, unsigned loop) {
    counted_here() = belay::telemetry::policy_metrics(app.metrics());
    bank_options here = bank;
    here.loop = loop;
    add_bank(app, open_store(told.db), log, std::move(here));
    add_quotes(app, quotes);
  });
}

}  // namespace
}  // namespace accounts

int main(int argc, char** argv) {
  auto told = accounts::options().read(argc, argv);
  if (!told) return told.finish();
  if (const std::string wrong = accounts::conflict_in(*told); !wrong.empty()) {
    std::fprintf(stderr, "accounts: %s\n", wrong.c_str());
    return belay::service::exit_usage;
  }
  return accounts::serve(*told);
}
