// SPDX-License-Identifier: Apache-2.0
// The other routes through the whole service, each await hit.

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include "support/proof.hpp"

namespace bt = belay::testing;
using proof::books;
using proof::get;
using proof::is_truthful;
using proof::post;
using proof::world;

namespace {

void users_are_welcomed_once(bt::stage& s, world& bank) {
  is_truthful([](const books& now) { return now.users == 2; })(s, bank);
  s.expect("nobody is welcomed who is not there, and nobody twice", [&bank] {
    const books& now = bank.audit();
    return !bank.is_open() || now.welcomes <= now.users - 1;
  });
}

void all_users_are_welcomed(bt::stage& s, world& bank) {
  users_are_welcomed_once(s, bank);
  s.expect("whoever was made has been welcomed", [&bank] {
    const books& now = bank.audit();
    return now.welcomes == now.users - 1;
  });
}

proof::exchange create_user(void (*rules)(bt::stage&, world&)) {
  return {.name = "create a user",
          .requests = {post("/users", R"({"email":"bob@example.org","name":"Bob"})")},
          .status = 201,
          .rules = rules};
}

}  // namespace

TEST_CASE("POST /users: whatever await is hit, the answer is true, and nobody is welcomed in vain") {
  proof::check(proof::cancel_everywhere(create_user(users_are_welcomed_once)));
  proof::check(proof::fail_everywhere(create_user(users_are_welcomed_once)));
}

TEST_CASE("POST /users: the client leaves or the service is stopped, whoever was made is welcomed") {
  for (const proof::event_outside& one : proof::events_outside) {
    proof::check(proof::disturb_everywhere(create_user(all_users_are_welcomed), one));
  }
}

TEST_CASE("POST /accounts: whatever await is hit, the answer is true") {
  proof::prove({.name = "create an account",
                .requests = {post("/accounts", R"({"user_id":1})")},
                .status = 201,
                .rules = is_truthful([](const books& now) { return now.accounts == 3; })});
}

TEST_CASE("POST /accounts/{id}/deposits: whatever await is hit, the answer is true and the books are right") {
  proof::prove(
      {.name = "deposit",
       .requests = {post("/accounts/1/deposits", R"({"amount":50})")},
       .status = 201,
       .rules = is_truthful([](const books& now) { return now.total == 250 && now.deposits == 3; })});
}

TEST_CASE("POST posts and comments: whatever await is hit, the answer is true") {
  proof::prove({.name = "write a post",
                .requests = {post("/users/1/posts", R"({"title":"Second","body":"Again."})")},
                .status = 201,
                .rules = is_truthful([](const books& now) { return now.posts == 2; })});
  proof::prove({.name = "comment on a post",
                .requests = {post("/posts/1/comments", R"({"user_id":1,"body":"Well said."})")},
                .status = 201,
                .rules = is_truthful([](const books& now) { return now.comments == 1; })});
}

TEST_CASE("POST /reports: whatever await is hit, the answer is true, and what was promised can be fetched") {
  proof::prove({.name = "ask for a report",
                .requests = {post("/reports", R"({"user_id":1})")},
                .status = 202,
                .rules = is_truthful([](const books& now) { return now.reports == 1; }),
                .afterwards = [](world& bank) -> belay::task<> {
                  const proof::answer got = co_await bank.serve_again(get("/reports/1"));
                  const bool promised = (co_await bank.read_books()).reports == 1;
                  if (got.status != (promised ? 200 : 404)) {
                    throw std::runtime_error("fetched: " + std::to_string(got.status));
                  }
                }});
}

TEST_CASE("GET: whatever await is hit, nothing is left") {
  for (const char* path :
       {"/users/1/dashboard", "/users/1/dashboard?partial=true", "/accounts/1", "/users?limit=1"}) {
    proof::prove({.name = std::string("GET ") + path,
                  .requests = {get(path, "Belay-Deadline-Ms: 250\r\n")},
                  .rules = proof::changes_nothing()});
  }
}

TEST_CASE("refused requests: whatever await is hit, nothing has changed") {
  const auto refused = [](const char* name, int status, const std::string& request) {
    proof::prove({.name = name, .requests = {request}, .status = status, .rules = proof::changes_nothing()});
  };
  refused("no money", 409, post("/transfers", R"({"from":1,"to":2,"amount":101})"));
  refused("email taken", 409, post("/users", R"({"email":"ADA@example.org","name":"Ada"})"));
}
