// SPDX-License-Identifier: Apache-2.0
// Transfers at the same time, in many orders, and over a bad network.

#include <doctest/doctest.h>

#include <chrono>

#include "support/proof.hpp"

using namespace std::chrono_literals;
namespace bt = belay::testing;
using proof::books;
using proof::transfer;
using proof::world;

namespace {

// The same key twice at the same time, and one in the other direction.
proof::exchange transfers_at_once() {
  const std::string twice = transfer(1, 2, "Idempotency-Key: twice\r\n");
  return {.name = "three transfers at once",
          .requests = {twice, twice, transfer(2, 1)},
          .status = 201,
          .rules = [](bt::stage& s, world& bank) {
            s.expect("what was answered is done, and the key's transfer once", [&bank] {
              const books& now = bank.audit();
              if (now.keys > 1 || now.transfers > 2) return false;
              if (bank.answers().empty()) return true;
              const auto answered = [&bank](std::size_t i) {
                return bank.answers()[i] && bank.answers()[i]->status == 201;
              };
              return (!answered(0) && !answered(1) ? true : now.keys == 1) &&
                     (!answered(2) || now.transfers - now.keys == 1);
            });
          }};
}

}  // namespace

TEST_CASE("transfers at the same time: whatever await is hit, each is done entirely or not at all") {
  proof::prove(transfers_at_once());
}

TEST_CASE("transfers at the same time: in five hundred orders, hit at any await") {
  proof::check(proof::explore(transfers_at_once(), 500));
}

TEST_CASE(
    "transfer over a slow network, in small pieces: whatever await is hit, done entirely or not at all") {
  proof::prove(
      {.name = "transfer in pieces",
       .requests = {transfer(1, 2, "Idempotency-Key: once\r\nBelay-Deadline-Ms: 250\r\n")},
       .status = 201,
       .rules = proof::is_truthful([](const books& now) { return now.transfers == 1 && now.keys == 1; }),
       .network = {.delay = 10ms, .read_at_most = 100, .write_at_most = 64}});
}
