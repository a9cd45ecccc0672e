// SPDX-License-Identifier: Apache-2.0
// Proofs of requests.

#include "support/proof.hpp"

#include <belay/core/group.hpp>
#include <doctest/doctest.h>

#include <functional>
#include <stdexcept>

namespace proof {

namespace bt = belay::testing;
using belay::task;

namespace {

task<> run_beside(bt::stage& s, const exchange& what, world& bank) {
  co_await s.undisturbed(what.beside(bank));
}

// Lets everything happen, with rules and world; `outside` may be null.
bt::scenario scenario_of(const exchange& what, const event_outside* outside = nullptr) {
  return [&what, outside](bt::stage& s) -> task<> {
    world& bank =
        s.make<world>(s, what.storage ? what.storage() : ":memory:", what.network, what.put_together);
    s.expect("undisturbed, all is answered as it should be",
             [&](const bt::run_end& how) { return how.injected || bank.all_answered(what.status); });
    if (what.rules) what.rules(s, bank);
    s.afterwards([&what, &bank]() -> task<> {
      if (what.afterwards) co_await what.afterwards(bank);
      const answer other = co_await bank.serve_again(post("/transfers", R"({"from":2,"to":1,"amount":1})"));
      if (other.status != 201) throw std::runtime_error("another transfer: " + std::to_string(other.status));
      if ((co_await bank.read_books()).unbalanced != 0)
        throw std::runtime_error("another transfer: unbalanced");
    });
    if (outside != nullptr) {
      s.disturbance([outside, &bank] { outside->happens(bank); });
      s.expect("the service ends with exit code 0", [&bank] { return bank.exit_code() == 0; });
      if (outside->then == event_outside::client::stays) {
        s.expect("what was not answered was not done",
                 [&bank] { return bank.answered_any() || bank.audit() == books_at_start; });
      }
    }
    co_await s.undisturbed(bank.open());
    if (!what.beside) co_return co_await bank.serve(what.requests);
    co_await belay::with_group([&](belay::group& all) -> task<> {
      belay::child<void> other = all.spawn(&run_beside, std::ref(s), std::ref(what), std::ref(bank));
      co_await bank.serve(what.requests);
      other.cancel();
    });
  };
}

// Two threads at work are the most that is needed here; more of them cost time when there are thousands of runs.
const belay::loop_options with_few_threads{.blocking_threads = 2};

}  // namespace

std::function<void(bt::stage&, world&)> is_truthful(std::function<bool(const books&)> done) {
  return [done = std::move(done)](bt::stage& s, world& bank) {
    s.expect("the answer tells the truth", [done, &bank] {
      if (bank.answers().empty() || !bank.answers()[0]) return true;
      const bool success = bank.answers()[0]->status < 400;
      return success == done(bank.audit());
    });
  };
}

std::function<void(bt::stage&, world&)> changes_nothing() {
  return [](bt::stage& s, world& bank) {
    s.expect("nothing has changed", [&bank] { return !bank.is_open() || bank.audit() == books_at_start; });
  };
}

const std::vector<event_outside> events_outside = {
    {"the connections are lost", event_outside::client::goes, [](world& bank) { bank.cut_connections(); }},
    {"the clients leave", event_outside::client::goes, [](world& bank) { bank.let_clients_leave(); }},
    {"the service is stopped", event_outside::client::stays, [](world& bank) { bank.stop(); }},
    {"stopped, and the connections are lost", event_outside::client::goes,
     [](world& bank) {
       bank.stop();
       bank.cut_connections();
     }},
    {"half a second passes", event_outside::client::stays,
     [](world& bank) { bank.let_time_pass(std::chrono::milliseconds(500)); }},
};

bt::report cancel_everywhere(const exchange& what) {
  return bt::cancel_everywhere(scenario_of(what),
                               {.name = what.name + ", cancelled", .loop = with_few_threads});
}

bt::report fail_everywhere(const exchange& what) {
  // What fails outside of a request, on a connection or in the group of them, has nobody to be told to but the sink for lost failures;
  // the rules of `world` see to it that it is told there once.
  return bt::fail_everywhere(
      scenario_of(what), errors(),
      {.name = what.name + ", failed", .allow_lost_errors = true, .loop = with_few_threads});
}

bt::report disturb_everywhere(const exchange& what, const event_outside& how) {
  return bt::disturb_everywhere(scenario_of(what, &how),
                                {.name = what.name + ", " + how.name, .loop = with_few_threads});
}

bt::report explore(const exchange& what, std::uint64_t seeds) {
  return bt::explore(scenario_of(what), seeds,
                     {.name = what.name + ", in many orders",
                      .loop = with_few_threads,
                      .errors = errors(),
                      .allow_lost_errors = true});
}

void prove(const exchange& what) {
  check(cancel_everywhere(what));
  check(fail_everywhere(what));
  for (const event_outside& one : events_outside) check(disturb_everywhere(what, one));
}

void check(const bt::report& found) {
  MESSAGE(found.name << ": " << found.awaits << " awaits, " << found.runs << " runs");
  CHECK_MESSAGE(found.ok(), found.text());
}

}  // namespace proof
