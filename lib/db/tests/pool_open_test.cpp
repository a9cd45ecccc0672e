// SPDX-License-Identifier: Apache-2.0
// Opening a pool, and openings that fail: who gets the error, and when the next attempt comes.

#include "fake_connections.hpp"

using namespace pool_tests;

namespace {

struct ending {
  std::vector<std::string> all;
  b::duration last{};
};

// One who tries, and writes down how it ended.
b::task<> attempt(pool from, ending& into, b::time_point begun) {
  const auto how = co_await b::as_outcome(hold(from, 10ms));
  into.all.push_back(how.succeeded() ? "ok" : std::string(how.failure().message()));
  into.last = b::now() - begun;
}

}  // namespace

TEST_CASE("open: min connections are there before the block runs, side by side") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.min = 3, .max = 5}, s.functions()));
    CHECK(p.statistics().idle == 3);
    CHECK(on.loop.elapsed() == 10ms);
    CHECK(p.try_acquire());
  });
  CHECK(s.open == 0);
}

TEST_CASE("open: a server that refuses, its error comes out and the block does not run") {
  clean_loop on;
  server s;
  s.accepts = false;
  bool ran = false;
  CHECK_THROWS_AS(on.run([&]() -> b::task<> {
    co_await b::with(db::open_pool<connection>({.min = 2}, s.functions()), [&](pool&) -> b::task<> {
      ran = true;
      co_return;
    });
  }),
                  refused);
  CHECK_FALSE(ran);
}

TEST_CASE("open: cancelled while it opens the first ones, leaves nothing") {
  clean_loop on;
  server s;
  s.open_takes = 1h;
  on.run([&]() -> b::task<> {
    CHECK_FALSE(co_await b::move_on_after(
        1s, b::with(db::open_pool<connection>({.min = 2, .open_limit = 2h}, s.functions()),
                    [](pool&) -> b::task<> { co_return; })));
  });
  CHECK(s.opening == 0);
}

TEST_CASE("open: options out of range, and a pool that cannot open, are misuse") {
  clean_loop on;
  server s;
  const auto misused = [&](db::pool_options set, db::pool_functions<connection> with_these) {
    std::string text;
    on.run([&]() -> b::task<> {
      const auto how =
          co_await b::as_outcome(b::with(db::open_pool<connection>(std::move(set), std::move(with_these)),
                                         [](pool&) -> b::task<> { co_return; }));
      if (const auto why = how.failure(); const auto* e = why.find<b::misuse_error>()) text = e->what();
    });
    return text;
  };
  CHECK(misused({.max = 0}, s.functions()) == "db::open_pool: pool 'pool': options.max must be at least 1");
  CHECK(contains(misused({.min = 2, .max = 1}, s.functions()), "options.min"));
  CHECK(contains(misused({.acquire_timeout = -1s}, s.functions()), "acquire_timeout"));
  CHECK(contains(misused({.lifetime_jitter = 1.5}, s.functions()), "lifetime_jitter"));
  CHECK(contains(misused({.open_limit = 0s}, s.functions()), "more than 0"));
  CHECK(contains(misused({.first_pause = 20s}, s.functions()), "first_pause"));
  CHECK(contains(misused({}, {}), "pool_functions::open is missing"));
  CHECK(contains(
      misused({.min = 1}, {.open = []() -> b::task<std::unique_ptr<connection>> { co_return nullptr; }}),
      "gave no connection"));
}

TEST_CASE("opening fails: the error goes to who waits; the next attempt comes after a pause that grows") {
  clean_loop on;
  server s;
  s.accepts = false;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>(
        {.acquire_timeout = 1min, .first_pause = 1s, .longest_pause = 4s}, s.functions()));
    std::vector<b::duration> at;
    for (int i = 0; i < 5; ++i) {
      const auto how = co_await b::as_outcome(p.acquire());
      const b::failure why = how.failure();
      const auto* e = why.find<refused>();
      REQUIRE(e != nullptr);
      CHECK(contains(e->what(), "refused connection " + std::to_string(i + 1)));
      at.push_back(on.loop.elapsed());
    }
    CHECK(at[0] == 10ms);
    for (std::size_t i = 1; i < at.size(); ++i) {
      const b::duration pause = at[i] - at[i - 1] - 10ms;
      const b::duration full = std::min<b::duration>(4s, 1s * (1 << (i - 1)));
      CHECK(pause >= full / 2);
      CHECK(pause <= full);
    }
    CHECK(p.statistics().failed_openings == 5);
    s.accepts = true;
    co_await hold(p, 1ms);
    CHECK(p.statistics().opened == 1);
  });
}

TEST_CASE(
    "opening fails: while nothing could be given back, all who waited when it began get the error, each its own") {
  clean_loop on;
  server s;
  s.accepts = false;
  ending told;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1, .acquire_timeout = 1min}, s.functions()));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 3; ++i) g.spawn(attempt, p, std::ref(told), b::now());
      co_await b::sleep_for(5ms);
      g.spawn(attempt, p, std::ref(told), b::now());  // for the next attempt
      co_await b::sleep_for(10ms);
      CHECK(told.all == std::vector<std::string>(3, "the server refused connection 1"));
    });
    CHECK(told.all.back() == "the server refused connection 2");
    CHECK(s.most_opening == 1);
  });
}

TEST_CASE(
    "opening fails: while others have connections, only who waited longest gets the error, the rest are served") {
  clean_loop on;
  server s;
  ending told;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 2, .acquire_timeout = 1min}, s.functions()));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const lease c = co_await p.acquire();
      s.accepts = false;  // it has as many as it bears
      for (int i = 0; i < 3; ++i) g.spawn(attempt, p, std::ref(told), b::now());
      co_await b::sleep_for(30ms);
    });
    std::sort(told.all.begin(), told.all.end());
    CHECK(told.all == std::vector<std::string>{"ok", "ok", "the server refused connection 2"});
  });
}

TEST_CASE("opening fails: busy says so, when the pause is longer than the wait") {
  clean_loop on;
  server s;
  s.accepts = false;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>(
        {.acquire_timeout = 100ms, .first_pause = 10s, .longest_pause = 10s}, s.functions()));
    CHECK((co_await b::as_outcome(p.acquire())).failure().find<refused>() != nullptr);
    const auto how = co_await b::as_outcome(p.acquire());
    const b::failure why = how.failure();
    const auto* e = why.find<db::busy_error>();
    REQUIRE(e != nullptr);
    CHECK(contains(e->what(), "the last 1 attempts to open one failed: the server refused connection 1"));
  });
}

TEST_CASE("opening hangs: it is cut short by open_limit, and that is the error") {
  clean_loop on;
  server s;
  s.open_takes = 1h;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(
        db::open_pool<connection>({.acquire_timeout = 1min, .open_limit = 2s}, s.functions()));
    const auto how = co_await b::as_outcome(p.acquire());
    const b::failure why = how.failure();
    const auto* e = why.find<b::timeout_error>();
    REQUIRE(e != nullptr);
    CHECK(contains(e->what(), "timed out after 2000 ms, set by scope 'opening a connection'"));
    CHECK(on.loop.elapsed() == 2s);
  });
}

TEST_CASE("min: is kept in the background, also after the server was away; nobody needs to ask") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.min = 2, .max = 4}, s.functions()));
    {
      lease a = co_await p.acquire();
      lease c = co_await p.acquire();
      s.accepts = false;
      a.mark_broken();
      c.mark_broken();
    }
    co_await b::sleep_for(1min);
    CHECK(p.statistics().idle == 0);
    CHECK(p.statistics().failed_openings > 3);
    s.accepts = true;
    co_await b::sleep_for(20s);
    CHECK(p.statistics().idle == 2);
  });
}

namespace {

db::pool_functions<connection> patient(server& s) {
  auto all = s.functions();
  all.passes = [](const b::failure& why) noexcept { return why.message() != "the password is wrong"; };
  return all;
}

}  // namespace

TEST_CASE(
    "patience: what may pass is not told; who waits is served in order when the server is there again") {
  clean_loop on;
  server s;
  s.accepts = false;
  std::vector<int> order;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>(
        {.max = 2, .acquire_timeout = 1min, .first_pause = 20ms, .longest_pause = 1s}, patient(s)));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 6; ++i) g.spawn(hold, p, 10ms, &order, i);
      co_await b::sleep_for(10s);
      CHECK(p.statistics().waiting == 6);
      CHECK(p.statistics().failed_openings > 8);
      CHECK(p.statistics().failed_openings < 40);
      s.accepts = true;
      co_await b::sleep_for(1s + 100ms);
      CHECK(p.statistics().waiting == 0);
    });
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5});
    CHECK(p.statistics().timeouts == 0);
  });
}

TEST_CASE(
    "patience: it ends with acquire_timeout; the error is the last failure, and says who has the others") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>(
        {.name = "accounts", .max = 2, .acquire_timeout = 2s, .first_pause = 20ms}, patient(s)));
    const lease mine = co_await p.acquire();
    s.accepts = false;
    for (int round = 0; round < 2; ++round) {
      const b::time_point began = b::now();
      const auto how = co_await b::as_outcome(p.acquire());
      CHECK(b::now() - began == 2s);
      const b::failure why = how.failure();
      CHECK(why.find<refused>() != nullptr);
      REQUIRE(why.notes().size() == 1);
      CHECK(contains(why.notes()[0],
                     "pool 'accounts': acquire a connection: none within 2000 ms: 1 of 2 in use"));
      CHECK(contains(why.notes()[0], "held longest by the main task"));
    }
    CHECK(p.statistics().timeouts == 2);
    // Nobody waits, so nobody is asked.
    const std::uint64_t failures = p.statistics().failed_openings;
    co_await b::sleep_for(1min);
    CHECK(p.statistics().failed_openings <= failures + 1);
  });
}

TEST_CASE("patience: what will not pass is told at once, also after what might have") {
  clean_loop on;
  server s;
  s.accepts = false;
  on.run([&]() -> b::task<> {
    auto all = patient(s);
    int tries = 0;
    all.open = [&]() -> b::task<std::unique_ptr<connection>> {
      if (++tries == 3) throw std::runtime_error("the password is wrong");
      co_return co_await s.accept();
    };
    pool& p = co_await b::use(db::open_pool<connection>({.first_pause = 20ms}, std::move(all)));
    const auto how = co_await b::as_outcome(p.acquire());
    CHECK(how.failure().message() == "the password is wrong");
    CHECK(on.loop.elapsed() < 100ms);
  });
}

TEST_CASE("patience: open waits for the first connections, too, and no longer than acquire_timeout") {
  clean_loop on;
  server s;
  s.accepts = false;
  on.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([&]() -> b::task<> {
        co_await b::sleep_for(3s);
        s.accepts = true;
      });
      pool& p = co_await b::use(db::open_pool<connection>({.min = 2, .first_pause = 20ms}, patient(s)));
      CHECK(p.statistics().idle == 2);
      CHECK(on.loop.elapsed() >= 3s);
    });
    s.accepts = false;
    const b::time_point began = b::now();
    const auto how = co_await b::as_outcome(
        b::with(db::open_pool<connection>({.min = 2, .acquire_timeout = 4s, .first_pause = 20ms}, patient(s)),
                [](pool&) -> b::task<> { co_return; }));
    CHECK(b::now() - began == 4s);
    const b::failure why = how.failure();
    CHECK(why.find<refused>() != nullptr);
    CHECK(why.notes().size() == 1);
  });
}
