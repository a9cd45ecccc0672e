// SPDX-License-Identifier: Apache-2.0
// Channels between tasks that are cancelled, fail or are disturbed at every await: no item is lost or doubled.

#include <belay/core/channel.hpp>

#include "driven.hpp"

using namespace core_tests;

namespace {

struct traffic {
  explicit traffic(std::size_t capacity) : c(capacity, "c"), next(capacity, "next") {}
  b::channel<int> c;
  b::channel<int> next;
  std::vector<int> sent;
  std::vector<int> received;
  bool finished = false;
};

b::task<> produces(traffic& w, b::sender<int> to, int from) {
  for (int i = from; i < from + 3; ++i) {
    co_await to.send(i);
    w.sent.push_back(i);
    if (i % 2 == 0) co_await b::yield();
  }
}
b::task<> consumes(traffic& w) {
  while (std::optional<int> item = co_await w.c.receive()) {
    w.received.push_back(*item);
    if (*item % 3 == 0) co_await b::sleep_for(1s);
  }
}

// What was sent has been received, in order for each sender, or is in the channel.
bool in_order(traffic& w) {
  std::vector<int> seen = w.received;
  while (std::optional<int> item = w.c.try_receive()) seen.push_back(*item);
  std::vector<int> sent = w.sent;
  std::sort(sent.begin(), sent.end());
  std::sort(seen.begin(), seen.end());
  return sent == seen;
}

traffic& make_traffic(t::stage& s, std::size_t capacity) {
  auto& w = s.make<traffic>(capacity);
  s.expect("nobody waits", [&w] {
    return w.c.waiting_senders() + w.c.waiting_receivers() + w.next.waiting_senders() +
               w.next.waiting_receivers() ==
           0;
  });
  return w;
}

void check_several(std::size_t capacity) {
  drive("channel", [capacity](t::stage& s) -> b::task<> {
    traffic& w = make_traffic(s, capacity);
    s.expect("each item is received once, or is there still", [&w] { return in_order(w); });
    s.expect("undisturbed, all are received", [&w] { return !w.finished || w.received.size() == 6; });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(consumes, std::ref(w));
      {
        b::sender<int> to = w.c.new_sender();
        g.spawn(produces, std::ref(w), to, 10);
        g.spawn(produces, std::ref(w), std::move(to), 20);
      }
      co_await consumes(w);
    });
    w.finished = true;
  });
}

}  // namespace

TEST_CASE("everywhere: channel, several senders and receivers, with room") { check_several(2); }
TEST_CASE("everywhere: channel, several senders and receivers, from hand to hand") { check_several(0); }

TEST_CASE("everywhere: channel, a pipeline whose middle may fail") {
  drive("pipeline", [](t::stage& s) -> b::task<> {
    traffic& w = make_traffic(s, 1);
    s.expect("undisturbed, all arrive", [&w] { return !w.finished || w.received.size() == 3; });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(produces, std::ref(w), w.c.new_sender(), 1);
      g.spawn(
          [](b::receiver<int> from, b::channel<int>& to) -> b::task<> {
            try {
              while (std::optional<int> item = co_await from.receive()) {
                co_await b::sleep_for(1s);
                co_await to.send(*item + 1);
              }
              to.close();
            } catch (...) {
              to.close(b::current_failure());
            }
          },
          w.c.new_receiver(), std::ref(w.next));
      while (std::optional<int> item = co_await w.next.receive()) w.received.push_back(*item);
    });
    w.finished = true;
  });
}

TEST_CASE("everywhere: channel, given up by its receiver") {
  drive("given up", [](t::stage& s) -> b::task<> {
    traffic& w = make_traffic(s, 1);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(
          [](traffic& in) -> b::task<> {
            try {
              co_await produces(in, in.c.new_sender(), 1);
            } catch (const b::channel_closed_error&) {
              in.finished = true;
            }
          },
          std::ref(w));
      b::receiver<int> from = w.c.new_receiver();
      static_cast<void>(co_await from.receive());
      co_await b::sleep_for(1s);
    });
  });
}
