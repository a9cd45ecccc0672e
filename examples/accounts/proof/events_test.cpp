// SPDX-License-Identifier: Apache-2.0
// GET /events while a transfer is made: whatever await is hit, who listens is told the truth, and nobody is in the way of the money.

#include <doctest/doctest.h>

#include <string>

#include "support/proof.hpp"

namespace bt = belay::testing;
using proof::get;
using proof::world;

namespace {

std::size_t count_of(const std::string& what, const std::string& in) {
  std::size_t count = 0;
  for (std::size_t at = in.find(what); at != std::string::npos; at = in.find(what, at + 1)) ++count;
  return count;
}

// From the beginning on, so that it does not matter who comes first.
proof::exchange listen_and_transfer() {
  return {.name = "events",
          .requests = {get("/events", "Last-Event-ID: 0\r\n"),
                       proof::transfer(1, 2, "Idempotency-Key: once\r\n")},
          .status = 0,
          .rules = [](bt::stage& s, world& bank) {
            s.expect("told is what was done, and once", [&bank] {
              if (bank.answers().empty() || !bank.answers()[0]) return true;
              const std::size_t told = count_of("event: transfer", bank.answers()[0]->body);
              return told == 0 || (told == 1 && bank.audit().transfers == 1);
            });
            s.expect("undisturbed, it is told", [&bank](const bt::run_end& how) {
              return how.injected || count_of(R"("amount":30)", bank.answers()[0]->body) == 1;
            });
            s.expect("the answer to the transfer tells the truth", [&bank] {
              if (bank.answers().empty() || !bank.answers()[1]) return true;
              return (bank.answers()[1]->status < 400) == (bank.audit().transfers == 1);
            });
          }};
}

}  // namespace

TEST_CASE(
    "GET /events: whatever await is hit, subscribers are told of transfers that there are, and nothing is left") {
  proof::prove(listen_and_transfer());
}

TEST_CASE("GET /events of somebody who asks for nonsense, and of a place that is not there yet") {
  proof::prove({.name = "events from nowhere",
                .requests = {get("/events", "Last-Event-ID: x\r\n")},
                .status = 422,
                .rules = proof::changes_nothing()});
  proof::prove({.name = "events without an event",
                .requests = {get("/events", "Last-Event-ID: 7\r\n")},
                .rules = proof::changes_nothing()});
}
