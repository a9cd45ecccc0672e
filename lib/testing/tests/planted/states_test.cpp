// SPDX-License-Identifier: Apache-2.0
// Planted bugs: state that is changed in two steps with an await between them.

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "planted.hpp"

namespace planted {
namespace {

// ---- The placeholder
//
// The first who asks loads, the others wait for it. When the first one is stopped, the others, and all who
// come later, wait for a value that nobody loads.

struct cached {
  b::event loaded{"cached value"};
  std::optional<int> value;
};
struct cache {
  std::map<int, std::shared_ptr<cached>> entries;
  int loads = 0;
  task<int> load(int key) {
    co_await b::sleep_for(1s);
    ++loads;
    co_return key* key;
  }
};

task<int> get_or_wait(cache& from, int key) {
  if (const auto found = from.entries.find(key); found != from.entries.end()) {
    const std::shared_ptr<cached> there = found->second;
    co_await there->loaded.wait();
    co_return *there->value;
  }
  const auto mine = from.entries.emplace(key, std::make_shared<cached>()).first->second;
  mine->value = co_await from.load(key);  // <- found here
  mine->loaded.set();
  co_return *mine->value;
}

// A placeholder goes with who has put it there; who waited for it looks again.
task<int> get_or_take_over(cache& from, int key) {
  for (auto found = from.entries.find(key); found != from.entries.end(); found = from.entries.find(key)) {
    const std::shared_ptr<cached> there = found->second;
    co_await there->loaded.wait();
    if (there->value) co_return *there->value;
  }
  struct loading {
    cache& in;
    int key;
    std::shared_ptr<cached> entry = std::make_shared<cached>();
    loading(cache& to, int what) : in(to), key(what) { in.entries.emplace(key, entry); }
    ~loading() {
      if (!entry->value) in.entries.erase(key);
      entry->loaded.set();
    }
  } mine(from, key);
  mine.entry->value = co_await from.load(key);
  co_return *mine.entry->value;
}

template <task<int> (*Get)(cache&, int)>
task<> two_askers(stage& s) {
  auto& from = s.make<cache>();
  s.afterwards([&from]() -> task<> { co_await Get(from, 7); });
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(Get, std::ref(from), 7);
    g.spawn(Get, std::ref(from), 7);
    co_return;
  });
}

constexpr bug placeholder{
    .name = "placeholder",
    .looks = "a cache keeps the entry of a load that was cancelled; who comes later waits for it",
    .broken = two_askers<get_or_wait>,
    .mended = two_askers<get_or_take_over>,
    .rule = rules::usable_afterwards,
    .names = "cached value",
};
TEST_CASE("planted: the placeholder that a cancelled load leaves in a cache") { check(placeholder); }

// ---- The connection with somebody else's transaction

struct connection {
  bool in_transaction = false;
  task<> execute(std::string statement) {
    co_await b::sleep_for(10ms);
    if (statement == "begin") in_transaction = true;
    if (statement == "commit" || statement == "rollback") in_transaction = false;
  }
};
struct pool {
  std::vector<std::unique_ptr<connection>> idle;
  pool() { idle.push_back(std::make_unique<connection>()); }
};

// Gives the connection back, whatever happens: this one is exception safe.
class lease {
 public:
  explicit lease(pool& from) : from_(&from), mine_(std::move(from.idle.back())) { from.idle.pop_back(); }
  lease(const lease&) = delete;
  lease& operator=(const lease&) = delete;
  ~lease() { from_->idle.push_back(std::move(mine_)); }
  connection* operator->() const { return mine_.get(); }
  connection& operator*() const { return *mine_; }
  void replace() { mine_ = std::make_unique<connection>(); }

 private:
  pool* from_;
  std::unique_ptr<connection> mine_;
};

task<> transfer_by_statements(pool& from) {
  const lease c(from);
  co_await c->execute("begin");
  co_await c->execute("update");  // <- found here
  co_await c->execute("commit");
}

// Rolls back; a connection that cannot even do that is replaced.
b::managed<connection> transaction(pool& from) {
  struct clean_lease : lease {
    using lease::lease;
    ~clean_lease() {
      if ((*this)->in_transaction) replace();
    }
  } c(from);
  co_await c->execute("begin");
  const b::exit_status how = co_yield *c;
  co_await c->execute(how.succeeded() ? "commit" : "rollback");
}
task<> transfer_in_a_transaction(pool& from) {
  co_await b::with(transaction(from), [](connection& c) -> task<> { co_await c.execute("update"); });
}

template <task<> (*Transfer)(pool&)>
task<> one_transfer(stage& s) {
  auto& from = s.make<pool>();
  s.expect("no idle connection is in a transaction", [&] {
    for (const auto& one : from.idle) {
      if (one->in_transaction) return false;
    }
    return !from.idle.empty();
  });
  co_await Transfer(from);
}

constexpr bug open_transaction{
    .name = "open transaction",
    .looks = "a connection goes back to its pool between `begin` and `commit`",
    .broken = one_transfer<transfer_by_statements>,
    .mended = one_transfer<transfer_in_a_transaction>,
    .rule = "no idle connection is in a transaction",
};
TEST_CASE("planted: the connection that goes back into the pool with a transaction") {
  check(open_transaction);
}

// ---- Half a transfer

struct accounts {
  int from = 100;
  int to = 100;
};
task<> audit() { co_await b::sleep_for(10ms); }

task<> debit_audit_credit(accounts& a) {
  co_await audit();
  a.from -= 30;
  co_await audit();  // <- found here
  a.to += 30;
}
task<> audit_then_move(accounts& a) {
  co_await audit();
  co_await audit();
  a.from -= 30;
  a.to += 30;
}

template <task<> (*Move)(accounts&)>
task<> thirty_moved(stage& s) {
  auto& a = s.make<accounts>();
  s.expect("no money is made or lost", [&] { return a.from + a.to == 200; });
  co_await Move(a);
}

constexpr bug half_a_transfer{
    .name = "half a transfer",
    .looks = "debit, an await, credit",
    .broken = thirty_moved<debit_audit_credit>,
    .mended = thirty_moved<audit_then_move>,
    .rule = "no money is made or lost",
};
TEST_CASE("planted: the money that is debited and not credited") { check(half_a_transfer); }

// ---- The receipt that comes after the payment
//
// The key of the request is stored when the work is done. Stopped in between, the client asks and pays again.

struct gateway {
  std::set<std::string> done;
  int charged = 0;
  task<> charge() {
    co_await b::sleep_for(200ms);
    ++charged;
  }
  // Knows the key itself, and does a payment once.
  task<> charge_once(std::string key) {
    co_await b::sleep_for(200ms);
    if (done.insert(key).second) ++charged;
  }
};
struct till {
  std::set<std::string> receipts;
  gateway cards;
  task<> store(std::string key) {
    co_await b::sleep_for(10ms);
    receipts.insert(std::move(key));
  }
};

task<> pay_then_store(till& at, std::string key) {
  if (at.receipts.contains(key)) co_return;
  co_await at.cards.charge();
  co_await at.store(key);  // <- found here
}
task<> pay_with_the_key(till& at, std::string key) {
  if (at.receipts.contains(key)) co_return;
  co_await at.cards.charge_once(key);
  co_await at.store(key);
}

template <task<> (*Pay)(till&, std::string)>
task<> pay_and_ask_again(stage& s) {
  auto& at = s.make<till>();
  s.afterwards([&at]() -> task<> {
    co_await Pay(at, "key 1");
    if (at.cards.charged != 1) throw std::logic_error("the same request was charged twice");
  });
  co_await Pay(at, "key 1");
}

constexpr bug receipt_after_payment{
    .name = "receipt after the payment",
    .looks = "an idempotency key is stored in a second step after the work",
    .broken = pay_and_ask_again<pay_then_store>,
    .mended = pay_and_ask_again<pay_with_the_key>,
    .rule = rules::usable_afterwards,
    .names = "charged twice",
};
TEST_CASE("planted: the idempotency key that is stored after the work") { check(receipt_after_payment); }

// ---- The page that is in the index and not in the book

struct book {
  std::set<int> index;
  std::map<int, std::string> pages;
};
task<> typeset() { co_await b::sleep_for(100ms); }

task<> publish_in_two_steps(book& in, int page) {
  in.index.insert(page);
  co_await typeset();  // <- found here
  in.pages[page] = "text";
}
task<> publish_in_one_step(book& in, int page) {
  co_await typeset();
  in.index.insert(page);
  in.pages[page] = "text";
}

template <task<> (*Publish)(book&, int)>
task<> two_pages(stage& s) {
  auto& in = s.make<book>();
  s.expect("index and book agree", [&] { return in.index.size() == in.pages.size(); });
  co_await Publish(in, 1);
  co_await Publish(in, 2);
}

constexpr bug index_before_page{
    .name = "index before page",
    .looks = "two tables that belong together, with an await between their updates",
    .broken = two_pages<publish_in_two_steps>,
    .mended = two_pages<publish_in_one_step>,
    .rule = "index and book agree",
};
TEST_CASE("planted: the two tables that disagree") { check(index_before_page); }

// ---- "Somebody is at it already"

struct rates {
  bool refreshing = false;
  int version = 0;
  task<int> load() {
    co_await b::sleep_for(1s);
    co_return version + 1;
  }
};

task<> refresh_and_reset(rates& of) {
  if (of.refreshing) co_return;
  of.refreshing = true;
  of.version = co_await of.load();  // <- found here
  of.refreshing = false;
}
task<> refresh_with_a_guard(rates& of) {
  if (of.refreshing) co_return;
  struct at_it {
    bool& flag;
    explicit at_it(bool& to) : flag(to) { flag = true; }
    ~at_it() { flag = false; }
  } until_the_end(of.refreshing);
  of.version = co_await of.load();
}

template <task<> (*Refresh)(rates&)>
task<> two_refreshes(stage& s) {
  auto& of = s.make<rates>();
  s.afterwards([&of]() -> task<> {
    const int before = of.version;
    co_await Refresh(of);
    if (of.version == before) throw std::logic_error("the rates are never refreshed again");
  });
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(Refresh, std::ref(of));
    g.spawn(Refresh, std::ref(of));
    co_return;
  });
}

constexpr bug stuck_flag{
    .name = "stuck flag",
    .looks = "`if (busy) return; busy = true; co_await ...; busy = false;`",
    .broken = two_refreshes<refresh_and_reset>,
    .mended = two_refreshes<refresh_with_a_guard>,
    .rule = rules::usable_afterwards,
    .names = "never refreshed again",
};
TEST_CASE("planted: the flag that says that somebody is at it") { check(stuck_flag); }

}  // namespace

std::span<const bug* const> states() {
  static constexpr std::array all{&placeholder,           &open_transaction,  &half_a_transfer,
                                  &receipt_after_payment, &index_before_page, &stuck_flag};
  return all;
}

}  // namespace planted
