// SPDX-License-Identifier: Apache-2.0
// Transfers through the whole service: whatever await is hit, each is done entirely or not at all, and nothing is left.

#include <doctest/doctest.h>

#include <stdexcept>

#include "support/proof.hpp"

namespace bt = belay::testing;
using belay::task;
using proof::books;
using proof::transfer;
using proof::world;

namespace {

// With a deadline, so that time that passes matters.
const std::string with_key = transfer(1, 2, "Idempotency-Key: once\r\nBelay-Deadline-Ms: 250\r\n");

proof::exchange keyed_transfer() {
  return {.name = "transfer with a key",
          .requests = {with_key},
          .status = 201,
          .rules =
              [](bt::stage& s, world& bank) {
                proof::is_truthful([](const books& now) { return now.transfers == 1; })(s, bank);
                s.expect("a key is remembered exactly if its transfer exists", [&bank] {
                  const books& now = bank.audit();
                  return now.keys == now.transfers && now.transfers <= 1;
                });
              },
          .afterwards = [](world& bank) -> task<> {
            const proof::answer got = co_await bank.serve_again(with_key);
            if (got.status != 201) throw std::runtime_error("asked again: " + std::to_string(got.status));
            const std::int64_t times = (co_await bank.read_books()).transfers;
            if (times != 1) throw std::runtime_error("asked again, done " + std::to_string(times) + " times");
          }};
}

proof::exchange plain_transfer() {
  return {.name = "transfer",
          .requests = {transfer(1, 2)},
          .status = 201,
          .rules = proof::is_truthful([](const books& now) { return now.transfers == 1; })};
}

}  // namespace

TEST_CASE("transfer with a key: whatever await is hit, done once or not at all, and it can be asked again") {
  proof::prove(keyed_transfer());
}

TEST_CASE("transfer: whatever await is hit, done entirely or not at all") { proof::prove(plain_transfer()); }
