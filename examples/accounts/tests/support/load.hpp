// SPDX-License-Identifier: Apache-2.0
#pragma once
// Many clients at once doing random transfers, and the books afterwards.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bank.hpp"

namespace accounts_test {

/// A transfer that some client saw confirmed.
struct confirmed_transfer {
  std::int64_t id;
  std::int64_t from;
  std::int64_t to;
  std::int64_t amount;
};

/// What the clients saw, all together.
struct load_result {
  std::vector<confirmed_transfer> confirmed;
  std::int64_t refused = 0;        // answered 409
  std::int64_t lost = 0;           // no byte of an answer
  std::int64_t rude = 0;           // left on purpose
  std::vector<std::string> wrong;  // any other answer, half answers, no answer in time
};

struct load_options {
  std::size_t clients = 20;
  int requests = 50;               // by each client, unless the service ends before
  bool rude = false;               // a third of the clients leave in mid-request, again and again
  bool ends_with_service = false;  // a lost connection ends the client; otherwise it is `wrong`
};

/// Runs in the background until every client is through.
class load {
 public:
  load(bank& app, std::vector<std::int64_t> accounts, load_options options);
  ~load();

  [[nodiscard]] std::size_t confirmed() const { return confirmed_; }
  /// Waits until this many transfers are confirmed.
  [[nodiscard]] bool wait_for_confirmed(std::size_t count, milliseconds limit) const;
  /// Waits for the clients.
  load_result finish();

 private:
  void run(std::size_t number);
  void polite(client& connection, const std::string& request, load_result& mine);

  const std::uint16_t port_;
  const std::vector<std::int64_t> accounts_;
  const load_options options_;
  std::atomic<std::size_t> confirmed_ = 0;
  std::mutex mutex_;
  load_result result_;  // guarded by mutex_
  std::vector<std::thread> threads_;
};

/// Opens `count` accounts with `amount` each, straight through the service.
std::vector<std::int64_t> open_accounts(bank& app, std::size_t count, std::int64_t amount);

/// The books: the balances are what deposits and transfers make them, none is negative, and each confirmed
/// transfer is there as the client saw it. Returns how many transfers there are.
std::int64_t check_books(bank& app, const load_result& result);

}  // namespace accounts_test
