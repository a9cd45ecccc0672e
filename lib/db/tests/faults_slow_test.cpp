// SPDX-License-Identifier: Apache-2.0
// Real faults, in processes of their own: killed in mid-transaction, no room in the file system, a lock that another process holds.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <sys/resource.h>
#include <sys/wait.h>
#include <csignal>
#include <cstdint>
#include <functional>

#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;
using namespace std::chrono_literals;
using sqlite::connection;
using sqlite::database;
using sqlite::transaction;

namespace {

// A child of this process that runs `work(say)`, where `say` sends a number to the parent. Killed and waited for at the end.
class other_process {
 public:
  using say = std::function<void(std::int64_t)>;
  explicit other_process(const std::function<void(const say&)>& work) {
    int ends[2] = {};
    REQUIRE(::pipe(ends) == 0);
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      ::close(ends[0]);
      int code = 0;
      try {
        work([&](std::int64_t number) {
          if (::write(ends[1], &number, sizeof number) != sizeof number) ::_exit(3);
        });
      } catch (...) {
        code = 4;
      }
      ::_exit(code);
    }
    ::close(ends[1]);
    from_ = ends[0];
  }
  other_process(const other_process&) = delete;
  other_process& operator=(const other_process&) = delete;
  ~other_process() {
    kill();
    ::close(from_);
  }

  // What it says next; -1: it has ended.
  std::int64_t hear() const {
    std::int64_t number = -1;
    return ::read(from_, &number, sizeof number) == sizeof number ? number : -1;
  }
  void kill() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    wait();
  }
  // Its exit code; -1: it was killed.
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(child_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t child_ = 0;
  int from_ = -1;
};

void make_table(const std::string& file) {
  stranger(file).run("PRAGMA journal_mode=WAL; CREATE TABLE t (v INTEGER UNIQUE)");
}

// The file is whole, and can be written at once.
void check_sound(const std::string& file) {
  stranger now(file);
  CHECK(now.ask("PRAGMA integrity_check") == "ok");
  now.run("PRAGMA busy_timeout=0");
  now.run("BEGIN EXCLUSIVE");
  now.run("ROLLBACK");
}

// Without doctest: in the child.
template <class F>
void run_in_child(F body) {
  belay::loop loop;
  loop.run(body());
}

}  // namespace

TEST_CASE("faults: killed in mid-transaction, nothing of it is there, and the file can be used at once") {
  const temporary_directory dir;
  make_table(dir.file());
  other_process victim([&](const other_process::say& say) {
    run_in_child([&]() -> task<> {
      database& db = co_await use(sqlite::open(dir.file()));
      co_await db.execute("INSERT INTO t VALUES (1)");
      co_await with(transaction(db), [&](connection& c) -> task<> {
        co_await c.execute("INSERT INTO t VALUES (2)");
        say(2);
        co_await sleep_for(1h);
      });
    });
  });
  CHECK(victim.hear() == 2);
  victim.kill();
  check_sound(dir.file());
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file()));
    const rows found = co_await db.query("SELECT v FROM t");
    REQUIRE(found.size() == 1);
    CHECK(found[0].get<int>(0) == 1);
    co_await db.execute("INSERT INTO t VALUES (2)");
  });
}

TEST_CASE(
    "faults: killed at any time while it commits, all that was acknowledged is there, and no half of anything") {
  for (int round = 0; round < 8; ++round) {
    const temporary_directory dir;
    make_table(dir.file());
    other_process victim([&](const other_process::say& say) {
      run_in_child([&]() -> task<> {
        database& db = co_await use(sqlite::open(dir.file(), {.durable = sqlite::durability::normal}));
        for (std::int64_t i = 1;; ++i) {
          co_await with(transaction(db), [i](connection& c) -> task<> {
            co_await c.execute("INSERT INTO t VALUES (?)", i);
            co_await c.execute("INSERT INTO t VALUES (?)", -i);
          });
          say(i);
        }
      });
    });
    std::int64_t acknowledged = 0;
    while (acknowledged < 5 + round * 7) acknowledged = victim.hear();
    victim.kill();
    for (std::int64_t more = victim.hear(); more > 0; more = victim.hear()) acknowledged = more;
    check_sound(dir.file());
    stranger now(dir.file());
    CHECK(now.ask("SELECT coalesce(sum(v), 0) FROM t") == "0");
    const std::int64_t most = std::stoll(now.ask("SELECT max(v) FROM t"));
    CHECK(most >= acknowledged);
    CHECK(most <= acknowledged + 1);
    CHECK(now.ask("SELECT count(*) FROM t") == std::to_string(2 * most));
  }
}

TEST_CASE("faults: no room for the file, is unavailable; what was committed stays, and reading goes on") {
  const temporary_directory dir;
  make_table(dir.file());
  other_process cramped([&](const other_process::say& say) {
    constexpr rlim_t room = 256 * 1024;
    const rlimit limit{room, room};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(5);
    std::signal(SIGXFSZ, SIG_IGN);
    run_in_child([&]() -> task<> {
      database& db = co_await use(sqlite::open(dir.file()));
      co_await db.execute("CREATE TABLE large (a BLOB)");
      std::int64_t kept = 0;
      for (;; ++kept) {
        const auto how = co_await as_outcome(db.execute("INSERT INTO large VALUES (zeroblob(20000))"));
        if (how.succeeded()) continue;
        const failure why = how.failure();
        const auto* full = why.find<storage_error>();
        say(full != nullptr && full->kind() == error_kind::unavailable ? 1 : 0);
        break;
      }
      const auto found = co_await db.query_one("SELECT count(*) FROM large");
      say(found->get<std::int64_t>(0) == kept ? kept : 0);
    });
  });
  CHECK(cramped.hear() == 1);
  const std::int64_t kept = cramped.hear();
  CHECK(kept > 0);
  // The log cannot be moved into the file either, which is an error of closing: it is not lost.
  CHECK(cramped.wait() >= 0);
  check_sound(dir.file());
  CHECK(stranger(dir.file()).ask("SELECT count(*) FROM large") == std::to_string(kept));
}

TEST_CASE(
    "faults: another process holds the lock, is busy after the timeout; killed, its lock goes with it") {
  const temporary_directory dir;
  make_table(dir.file());
  other_process holder([&](const other_process::say& say) {
    stranger mine(dir.file());
    mine.run("BEGIN IMMEDIATE");
    mine.run("INSERT INTO t VALUES (1)");
    say(1);
    for (;;) ::pause();
  });
  CHECK(holder.hear() == 1);
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), {.busy_timeout = 100ms}));
    const auto how = co_await as_outcome(db.execute("INSERT INTO t VALUES (2)"));
    const failure why = how.failure();
    const auto* e = why.find<busy_error>();
    REQUIRE(e != nullptr);
    CHECK(e->code() == "database_locked");
    const auto seen = co_await db.query_one("SELECT count(*) FROM t");  // reading is not disturbed
    CHECK(seen->get<int>(0) == 0);
    holder.kill();
    co_await db.execute("INSERT INTO t VALUES (1)");
  });
  check_sound(dir.file());
}
