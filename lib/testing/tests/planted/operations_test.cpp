// SPDX-License-Identifier: Apache-2.0
// Planted bugs: operations written by hand, and calls that leave something behind when they are cut off.

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "planted.hpp"

namespace planted {
namespace {

// ---- The pending call
//
// A client notes which answers it waits for. After a timeout nobody waits any more, but it is noted for ever.

struct rpc_client {
  std::map<int, std::shared_ptr<b::event>> pending;
  int calls = 0;

  std::shared_ptr<b::event> note(int id) {
    return pending.emplace(id, std::make_shared<b::event>("answer")).first->second;
  }
  void answer(int id) {
    if (const auto call = pending.find(id); call != pending.end()) call->second->set();
  }
};

task<> call_and_erase(rpc_client& client) {
  const int id = ++client.calls;
  const auto answer = client.note(id);
  co_await answer->wait();  // <- found here
  client.pending.erase(id);
}

task<> call_with_a_guard(rpc_client& client) {
  const int id = ++client.calls;
  struct noted {
    rpc_client& client;
    int id;
    ~noted() { client.pending.erase(id); }
  } until_the_end{client, id};
  const auto answer = client.note(id);
  co_await answer->wait();
}

task<> answers_two_calls(rpc_client& client) {
  for (int id = 1; id <= 2; ++id) {
    co_await b::sleep_for(1s);
    client.answer(id);
  }
}

template <task<> (*Call)(rpc_client&)>
task<> two_calls(stage& s) {
  auto& client = s.make<rpc_client>();
  s.expect("no call is pending at the end", [&] { return client.pending.empty(); });
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(answers_two_calls, std::ref(client));
    co_await b::with_timeout(5s, Call(client));
    co_await b::with_timeout(5s, Call(client));
  });
}

constexpr bug pending_call{
    .name = "pending call",
    .looks = "a table of calls that wait for an answer keeps those that were cut off",
    .broken = two_calls<call_and_erase>,
    .mended = two_calls<call_with_a_guard>,
    .rule = "no call is pending at the end",
};
TEST_CASE("planted: the call that stays in the table of pending calls") { check(pending_call); }

// ---- The orphan of a refused order
//
// The payment was spawned into the group of the application, which outlives the order. When the order fails,
// the customer reads "please try again later", and pays.

struct orders {
  int reserved = 0;
  int paid = 0;
  int refused = 0;
};
task<> reserve(orders& in) {
  co_await b::sleep_for(1s);
  ++in.reserved;
}
task<> pay(orders& in) {
  co_await b::sleep_for(2s);
  ++in.paid;
}

task<> order_in_the_group_of_the_app(b::group& app, orders& in) {
  b::child<void> payment = app.spawn(pay, std::ref(in));
  co_await reserve(in);  // <- found here
  co_await payment;
}

task<> order_in_a_group_of_its_own(b::group&, orders& in) {
  co_await b::with_group([&](b::group& order) -> task<> {
    order.spawn(pay, std::ref(in));
    co_await reserve(in);
  });
}

template <task<> (*Order)(b::group&, orders&)>
task<> an_app_with_one_order(stage& s) {
  auto& in = s.make<orders>();
  s.expect("nobody pays for an order that was refused", [&] { return in.refused == 0 || in.paid == 0; });
  co_await b::with_group([&](b::group& app) -> task<> {
    try {
      co_await Order(app, in);
    } catch (const b::error&) {
      ++in.refused;  // 503, please try again later
    }
  });
}

constexpr bug orphaned_payment{
    .name = "orphaned payment",
    .looks = "part of an operation is spawned into a group that outlives it",
    .broken = an_app_with_one_order<order_in_the_group_of_the_app>,
    .mended = an_app_with_one_order<order_in_a_group_of_its_own>,
    .with = driver::fail,
    .rule = "nobody pays for an order that was refused",
};
TEST_CASE("planted: the work that goes on after its caller has failed") { check(orphaned_payment); }

// ---- The half-loaded settings
//
// The limit passes between the two halves. The program goes on, with the new host and the old port.

struct settings {
  std::string host = "old.example";
  int port = 1;
  std::string connected_to;
};

task<> load_in_place(settings& s) {
  co_await b::sleep_for(100ms);
  s.host = "new.example";
  co_await b::sleep_for(100ms);  // <- found here
  s.port = 2;
}
task<> load_a_copy(settings& s) {
  settings loaded;
  co_await load_in_place(loaded);
  s = loaded;
}

template <task<> (*Load)(settings&)>
task<> load_and_connect(stage& world) {
  auto& s = world.make<settings>();
  world.expect("it connects to the old place or to the new one", [&] {
    return s.connected_to.empty() || s.connected_to == "old.example:1" || s.connected_to == "new.example:2";
  });
  co_await b::move_on_after(1s, Load(s));
  s.connected_to = s.host + ":" + std::to_string(s.port);
}

constexpr bug half_loaded{
    .name = "half-loaded settings",
    .looks = "`move_on_after` cuts a change off in the middle, and the program goes on",
    .broken = load_and_connect<load_in_place>,
    .mended = load_and_connect<load_a_copy>,
    .rule = "it connects to the old place or to the new one",
};
TEST_CASE("planted: the settings that a limit leaves half loaded") { check(half_loaded); }

// ---- The alarm that nobody has switched off
//
// A hand-made operation. Its `abort` forgets the waiter, but leaves the timer in the loop.

class kitchen_timer : private b::detail::timer_node {
 public:
  kitchen_timer() = default;
  kitchen_timer(const kitchen_timer&) = delete;
  kitchen_timer& operator=(const kitchen_timer&) = delete;
  ~kitchen_timer() { switch_off(); }

  class ring : public b::operation {
   public:
    explicit ring(kitchen_timer& of, b::duration length) : of_(&of), length_(length) {}
    void await_resume() const noexcept {}
    void rings() { complete(); }

   protected:
    ~ring() = default;
    void start() override { of_->set(*this, length_); }
    kitchen_timer* of_;

   private:
    b::duration length_;
  };

  void set(ring& waiting, b::duration length) {
    waiting_ = &waiting;
    due = static_cast<std::uint64_t>((b::now() + length).time_since_epoch().count());
    fire = [](b::detail::timer_node& timer) noexcept {
      if (ring* who = std::exchange(static_cast<kitchen_timer&>(timer).waiting_, nullptr)) who->rings();
    };
    wheel_ = b::detail::this_runtime->timers;
    wheel_->insert(*this);
  }
  void forget() noexcept { waiting_ = nullptr; }
  void switch_off() noexcept {
    forget();
    if (linked()) wheel_->remove(*this);
  }

 private:
  ring* waiting_ = nullptr;
  b::detail::timer_wheel* wheel_ = nullptr;
};

class ring_left_on final : public kitchen_timer::ring {
 public:
  using ring::ring;

 private:
  bool abort() noexcept override {
    of_->forget();
    return true;
  }
};
class ring_switched_off final : public kitchen_timer::ring {
 public:
  using ring::ring;

 private:
  bool abort() noexcept override {
    of_->switch_off();
    return true;
  }
};

template <class Ring>
task<> boil_two_eggs(stage& s) {
  auto& timer = s.make<kitchen_timer>();
  co_await Ring(timer, 4min);  // <- found here
  co_await Ring(timer, 6min);
}

constexpr bug alarm_left_on{
    .name = "alarm left on",
    .looks = "the `abort` of a hand-made operation leaves its timer armed",
    .broken = boil_two_eggs<ring_left_on>,
    .mended = boil_two_eggs<ring_switched_off>,
    .rule = rules::nothing_left,
    .names = "timer",
};
TEST_CASE("planted: the operation that leaves its timer armed") { check(alarm_left_on); }

// ---- The subscriber who has moved away

class newspaper {
 public:
  class next_issue : public b::operation {
   public:
    explicit next_issue(newspaper& of) : of_(&of) {}
    void await_resume() const noexcept {}
    void arrives() { complete(); }

   protected:
    ~next_issue() = default;
    void start() override { of_->readers_.push_back(this); }
    newspaper* of_;
  };

  void print() {
    for (next_issue* reader : std::exchange(readers_, {})) {
      if (reader != nullptr) reader->arrives();
    }
  }
  void moved_away(next_issue& reader) {
    for (next_issue*& one : readers_) {
      if (one == &reader) one = nullptr;
    }
  }
  void unsubscribe(next_issue& reader) { std::erase(readers_, &reader); }
  [[nodiscard]] std::size_t addresses() const { return readers_.size(); }

 private:
  std::vector<next_issue*> readers_;
};

class issue_to_an_old_address final : public newspaper::next_issue {
 public:
  using next_issue::next_issue;

 private:
  bool abort() noexcept override {
    of_->moved_away(*this);
    return true;
  }
};
class issue_unsubscribed final : public newspaper::next_issue {
 public:
  using next_issue::next_issue;

 private:
  bool abort() noexcept override {
    of_->unsubscribe(*this);
    return true;
  }
};

task<> prints_daily(newspaper& paper) {
  for (int day = 1; day <= 2; ++day) {
    co_await b::sleep_for(24h);
    paper.print();
  }
}

template <class Issue>
task<> two_days(stage& s) {
  auto& paper = s.make<newspaper>();
  s.expect("the newspaper knows nobody who has gone", [&] { return paper.addresses() == 0; });
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(prints_daily, std::ref(paper));
    co_await Issue(paper);  // <- found here
    co_await Issue(paper);
  });
}

constexpr bug old_address{
    .name = "old address",
    .looks = "the `abort` of a hand-made operation leaves an entry in a list of waiters",
    .broken = two_days<issue_to_an_old_address>,
    .mended = two_days<issue_unsubscribed>,
    .rule = "the newspaper knows nobody who has gone",
};
TEST_CASE("planted: the operation that leaves its entry in a list of waiters") { check(old_address); }

// ---- The deaf device
//
// `abort` says "I shall answer", and nobody ever does.

class printer {
 public:
  class page : public b::operation {
   public:
    explicit page(printer& on) : on_(&on) {}
    void await_resume() const noexcept {}
    void comes_out() { complete(); }

   protected:
    ~page() = default;
    void start() override { on_->printing_ = this; }
    printer* on_;
  };

  // The motor, a task of its own.
  task<> runs() {
    co_await b::sleep_for(3s);
    if (page* done = std::exchange(printing_, nullptr)) done->comes_out();
  }
  void drop_page() noexcept { printing_ = nullptr; }

 private:
  page* printing_ = nullptr;
};

class page_to_the_end final : public printer::page {
 public:
  using page::page;

 private:
  bool abort() noexcept override { return false; }  // a page cannot be stopped; it will come out soon
};
class page_torn_out final : public printer::page {
 public:
  using page::page;

 private:
  bool abort() noexcept override {
    on_->drop_page();
    return true;
  }
};

template <class Page>
task<> one_page(stage& s) {
  auto& device = s.make<printer>();
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(&printer::runs, std::ref(device));
    co_await Page(device);  // <- found here
  });
}

constexpr bug deaf_device{
    .name = "deaf device",
    .looks = "the `abort` of a hand-made operation promises an answer that never comes",
    .broken = one_page<page_to_the_end>,
    .mended = one_page<page_torn_out>,
    .rule = rules::ends,
};
TEST_CASE("planted: the operation that never answers to a cancellation") { check(deaf_device); }

}  // namespace

std::span<const bug* const> operations() {
  static constexpr std::array all{&pending_call,  &orphaned_payment, &half_loaded,
                                  &alarm_left_on, &old_address,      &deaf_device};
  return all;
}

}  // namespace planted
