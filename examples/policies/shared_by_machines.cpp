// SPDX-License-Identifier: Apache-2.0
// A breaker and a rate that all machines share in Redis, and what is left of them while Redis is away. The pages
// docs/policies/circuit_breaker.md and docs/policies/rate_limiter.md.
//   ./shared_by_machines [redis://ADDRESS:PORT]     without a URL: where no Redis is.     exit: 0, 2 usage
// In a Redis that has been started less than ten seconds ago the rate counts as used up.
#include <belay/core/managed.hpp>
#include <belay/core/run.hpp>
#include <belay/db/redis/policy_store.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/timeout.hpp>

#include <cstdio>
#include <memory>
#include <string>

namespace redis = belay::db::redis;
using namespace std::chrono_literals;

belay::task<> ask_for_quote() {
  throw belay::error(belay::error_kind::unavailable, "refused", "connect to quotes:443: refused");
  co_return;
}
belay::task<> send_mail() { co_return; }

// [snippet breaker]
// One circuit for all machines: what one finds out, the others need not. Without Redis each has its own.
belay::stored_circuit_breaker quotes_breaker(std::shared_ptr<redis::policy_store> in) {
  return belay::stored_circuit_breaker(std::move(in),
                                       {.name = "quotes", .consecutive_failures = 2, .open_for = 10s},
                                       {.limit = 1s, .otherwise = belay::without_store::local});
}
// [end]

// [snippet limiter]
// Three in ten seconds from all machines together. Without Redis, from each.
belay::stored_rate_limiter mail_rate(std::shared_ptr<redis::policy_store> in) {
  return belay::stored_rate_limiter(std::move(in), {.name = "mails", .permits = 3, .per = 10s},
                                    {.limit = 1s, .otherwise = belay::without_store::local});
}
// [end]

template <class Policy>
belay::task<std::string> try_often(int times, const Policy& through, belay::task<> (*what)()) {
  std::string said;
  for (int i = 0; i < times; ++i) {
    try {
      co_await through(what);
      said += " done";
    } catch (const belay::error& e) {
      said.append(" ").append(e.code());
    }
  }
  co_return said;
}

// [snippet machine]
// On each machine: a connection, a store, the policies in it.
belay::task<> machine(const char* name, redis::options at) {
  co_await belay::with(redis::connect(std::move(at)), [&](redis::client& client) -> belay::task<> {
    const auto store = std::make_shared<redis::policy_store>(client);
    const belay::pipeline quotes{quotes_breaker(store), belay::timeout{1s}};
    const belay::stored_rate_limiter mails = mail_rate(store);
    std::printf("%s, quotes:%s\n", name, (co_await try_often(3, quotes, ask_for_quote)).c_str());
    std::printf("%s, mails:%s\n", name, (co_await try_often(4, mails, send_mail)).c_str());
  });
}
// [end]

belay::task<> program(redis::options at) {
  co_await machine("machine 1", at);
  co_await machine("machine 2", at);
}

int main(int argc, char** argv) {
  try {
    belay::run_options options;
    // Why Redis could not be asked: each policy tells it once a minute at the most.
    options.loop.on_lost_failure = [](const belay::failure& what) {
      for (const std::string& note : what.notes()) std::printf("  %s\n", note.c_str());
      std::printf("  %s\n", what.message().c_str());
    };
    return belay::run(program(redis::options::from_url(argc > 1 ? argv[1] : "redis://127.0.0.1:1")),
                      std::move(options));
  } catch (const belay::error& e) {
    std::fprintf(stderr, "shared_by_machines: %s\n", e.what());
    return 2;
  }
}
