// SPDX-License-Identifier: Apache-2.0
// Clients in threads; what they see is judged once they are through.
#include "load.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>

namespace accounts_test {

load::load(bank& app, std::vector<std::int64_t> accounts, load_options options)
    : port_(app.port()), accounts_(std::move(accounts)), options_(options) {
  for (std::size_t i = 0; i < options_.clients; ++i) threads_.emplace_back([this, i] { run(i); });
}

load::~load() { static_cast<void>(finish()); }

void load::polite(client& connection, const std::string& request, load_result& mine) {
  connection.send(request);
  const response answer = connection.read({.limit = milliseconds{60'000}});
  if (answer.status == 201) {
    const auto body = answer.json();
    mine.confirmed.push_back({body.at("id").as_int64(), body.at("from").as_int64(), body.at("to").as_int64(),
                              body.at("amount").as_int64()});
    ++confirmed_;
  } else if (answer.status == 409 && answer.json().at("code") == "insufficient_funds") {
    ++mine.refused;
  } else {
    mine.wrong.push_back(std::to_string(answer.status) + " " + answer.body);
  }
  if (answer.closes()) connection = client(port_);
}

void load::run(std::size_t number) {
  load_result mine;
  std::mt19937 random(static_cast<std::mt19937::result_type>(number + 1));
  const bool rude = options_.rude && number % 3 == 0;
  try {
    client connection(port_);
    for (int i = 0; i < options_.requests; ++i) {
      const auto from = accounts_[random() % accounts_.size()];
      auto to = from;
      while (to == from) to = accounts_[random() % accounts_.size()];
      const std::string request = make_post("/transfers", json_transfer(from, to, 1 + random() % 100));
      if (!rude) {
        polite(connection, request, mine);
        continue;
      }
      // In turn: half of the request, or the whole of it without waiting; gone with a FIN or with a RST.
      connection.send(i % 2 == 0 ? std::string_view(request).substr(0, 1 + random() % (request.size() - 1))
                                 : std::string_view(request));
      if (i % 4 < 2) connection.abort();
      connection = client(port_);
      ++mine.rude;
    }
  } catch (const connection_lost& e) {
    ++mine.lost;
    if (!options_.ends_with_service) mine.wrong.emplace_back(e.what());
  } catch (const std::exception& e) {
    mine.wrong.emplace_back(e.what());
  }
  const std::lock_guard lock(mutex_);
  result_.confirmed.insert(result_.confirmed.end(), mine.confirmed.begin(), mine.confirmed.end());
  result_.wrong.insert(result_.wrong.end(), mine.wrong.begin(), mine.wrong.end());
  result_.refused += mine.refused;
  result_.lost += mine.lost;
  result_.rude += mine.rude;
}

bool load::wait_for_confirmed(std::size_t count, milliseconds limit) const {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (confirmed_ < count) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(milliseconds{1});
  }
  return true;
}

load_result load::finish() {
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  return std::move(result_);
}

std::vector<std::int64_t> open_accounts(bank& app, std::size_t count, std::int64_t amount) {
  std::vector<std::int64_t> accounts;
  for (std::size_t i = 0; i < count; ++i) accounts.push_back(app.add_account_with(amount));
  return accounts;
}

std::int64_t check_books(bank& app, const load_result& result) {
  for (const auto& wrong : result.wrong) FAIL_CHECK("a client saw: " << wrong);
  database books(app.database_url());
  begin_reading(books);
  CHECK(books.number("SELECT coalesce(sum(balance), 0) FROM accounts") ==
        books.number("SELECT coalesce(sum(amount), 0) FROM deposits"));
  CHECK(books.number("SELECT count(*) FROM accounts WHERE balance < 0") == 0);
  CHECK(books.number("SELECT count(*) FROM accounts a WHERE balance <> "
                     "(SELECT coalesce(sum(amount), 0) FROM deposits WHERE account_id = a.id) + "
                     "(SELECT coalesce(sum(amount), 0) FROM transfers WHERE to_id = a.id) - "
                     "(SELECT coalesce(sum(amount), 0) FROM transfers WHERE from_id = a.id)") == 0);
  std::map<std::string, std::vector<std::string>> by_id;
  for (auto& row : books.rows("SELECT id, from_id, to_id, amount FROM transfers")) by_id[row[0]] = row;
  std::size_t missing = 0;
  for (const auto& seen : result.confirmed) {
    const auto id = std::to_string(seen.id);
    missing += by_id[id] != std::vector{id, std::to_string(seen.from), std::to_string(seen.to),
                                        std::to_string(seen.amount)};
  }
  CHECK_MESSAGE(missing == 0, "confirmed transfers that are not there, of " << result.confirmed.size());
  if (!on_postgres())
    CHECK(books.rows("PRAGMA integrity_check") == std::vector<std::vector<std::string>>{{"ok"}});
  return books.number("SELECT count(*) FROM transfers");
}

}  // namespace accounts_test
