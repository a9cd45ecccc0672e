// SPDX-License-Identifier: Apache-2.0
// Planted bugs: cleanup that is skipped, comes in the wrong order, never ends, or ends too late.

#include <belay/core/thread.hpp>
#include <array>
#include <atomic>
#include <stdexcept>
#include <vector>

#include "planted.hpp"

namespace planted {
namespace {

// Connections to a server, as the server sees them.
struct remote {
  int opened = 0;
  int closed = 0;
  task<> open() {
    co_await b::sleep_for(10ms);
    ++opened;
  }
  task<> close() {
    co_await b::sleep_for(10ms);
    ++closed;
  }
};
task<> asks() { co_await b::sleep_for(1s); }

// ---- The close at the end
//
// Nothing after a co_await runs when the task is stopped there.

task<> ask_then_close(remote& server) {
  co_await server.open();
  co_await asks();  // <- found here
  co_await server.close();
}

b::managed<remote> connected(remote& server) {
  co_await server.open();
  co_yield server;
  co_await server.close();
}
task<> ask_while_connected(remote& server) {
  co_await b::use(connected(server));
  co_await asks();
}

template <task<> (*Ask)(remote&)>
task<> one_question(stage& s) {
  auto& server = s.make<remote>();
  s.expect("the connection is closed", [&](const run_end& end) {
    return server.opened == server.closed || end.failed_in_cleanup || end.failure;
  });
  co_await Ask(server);
}

constexpr bug close_at_the_end{
    .name = "close at the end",
    .looks = "cleanup is written after an await instead of in a `managed` or `finally`",
    .broken = one_question<ask_then_close>,
    .mended = one_question<ask_while_connected>,
    .rule = "the connection is closed",
};
TEST_CASE("planted: the cleanup that is written after an await") { check(close_at_the_end); }

// ---- The second close
//
// Two things are closed in one cleanup; when closing the first fails, the second is forgotten.

task<> close_both_in_one_cleanup(remote& left, remote& right) {
  co_await left.open();
  co_await b::finally(
      [&]() -> task<> {
        co_await right.open();
        co_await asks();
      },
      [&]() -> task<> {
        co_await left.close();  // <- found here
        if (right.opened > right.closed) co_await right.close();
      });
}

task<> close_each_by_itself(remote& left, remote& right) {
  co_await b::use(connected(left));
  co_await b::use(connected(right));
  co_await asks();
}

template <task<> (*Ask)(remote&, remote&)>
task<> two_servers(stage& s) {
  auto& left = s.make<remote>();
  auto& right = s.make<remote>();
  s.expect("one failure leaves one connection open at the most",
           [&](const run_end&) { return left.opened + right.opened - left.closed - right.closed <= 1; });
  co_await Ask(left, right);
}

constexpr bug second_close{
    .name = "second close",
    .looks = "one cleanup closes two things; closing the first fails",
    .broken = two_servers<close_both_in_one_cleanup>,
    .mended = two_servers<close_each_by_itself>,
    .with = driver::fail,
    .rule = "one failure leaves one connection open at the most",
    .fail_in_cleanup = false,  // one failure in each run
};
TEST_CASE("planted: the cleanup that a failing cleanup before it skips") { check(second_close); }

// ---- Flush after close
//
// In the undisturbed run the buffer is empty when the file is closed, so nobody sees that the order is wrong.

struct disk_file {
  bool open = true;
  std::size_t written = 0;
};

struct buffered_file {
  disk_file file;
  std::size_t buffered = 0;

  void add_line() { ++buffered; }
  task<> flush() {
    if (!file.open) throw std::logic_error("write to a closed file");
    file.written += std::exchange(buffered, 0);
    co_await b::sleep_for(10ms);
  }
  task<> close() {
    file.open = false;
    co_await b::sleep_for(10ms);
  }
};

task<> two_lines(buffered_file& log) {
  log.add_line();
  co_await b::sleep_for(1s);  // <- found here
  log.add_line();
  co_await log.flush();
}

task<> close_then_flush(buffered_file& log) {
  co_await b::finally([&]() -> task<> { co_await two_lines(log); },
                      [&]() -> task<> {
                        co_await log.close();
                        if (log.buffered != 0) co_await log.flush();
                      });
}

task<> flush_then_close(buffered_file& log) {
  co_await b::finally(
      [&]() -> task<> {
        co_await b::finally([&]() -> task<> { co_await two_lines(log); },
                            [&]() -> task<> {
                              if (log.buffered != 0) co_await log.flush();
                            });
      },
      [&]() -> task<> { co_await log.close(); });
}

template <task<> (*Log)(buffered_file&)>
task<> a_log_of_two_lines(stage& s) {
  auto& log = s.make<buffered_file>();
  co_await Log(log);
}

constexpr bug flush_after_close{
    .name = "flush after close",
    .looks = "cleanups in the wrong order, which shows only when the first one has something to do",
    .broken = a_log_of_two_lines<close_then_flush>,
    .mended = a_log_of_two_lines<flush_then_close>,
    .rule = rules::cancelled,
};
TEST_CASE("planted: the buffer that is flushed after its file was closed") { check(flush_after_close); }

// ---- The good-bye that nobody answers
//
// The cleanup waits for a peer that was cancelled as well. Nothing but the limit of cleanups ends it.

struct dialogue {
  b::event said_bye{"bye"};
  b::event answered_bye{"answer to bye"};
};

task<> peer(dialogue& with) {
  co_await with.said_bye.wait();
  with.answered_bye.set();
}

task<> leave_when_answered(dialogue& with) {
  co_await b::finally([]() -> task<> { co_await asks(); },  // <- found here
                      [&]() -> task<> {
                        with.said_bye.set();
                        co_await with.answered_bye.wait();
                      });
}

task<> leave_after_a_moment(dialogue& with) {
  co_await b::finally([]() -> task<> { co_await asks(); },
                      [&]() -> task<> {
                        with.said_bye.set();
                        auto answer = [](dialogue& from) -> task<> { co_await from.answered_bye.wait(); };
                        co_await b::move_on_after(100ms, answer(with));
                      });
}

template <task<> (*Leave)(dialogue&)>
task<> a_dialogue(stage& s) {
  auto& with = s.make<dialogue>();
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(peer, std::ref(with));
    co_await Leave(with);
  });
}

constexpr bug unanswered_bye{
    .name = "unanswered good-bye",
    .looks = "a cleanup waits for a task that is being cancelled, too",
    .broken = a_dialogue<leave_when_answered>,
    .mended = a_dialogue<leave_after_a_moment>,
    .rule = rules::cancelled,
};
TEST_CASE("planted: the cleanup that waits for ever") { check(unanswered_bye); }

// ---- The shield around everything
//
// Only the commit must not be cut off. The shield protects the upload as well, which takes ten minutes.

struct archive {
  int uploaded = 0;
  int committed = 0;
};
task<> uploads(archive& to) {
  co_await b::sleep_for(10min);
  ++to.uploaded;
}
task<> commits(archive& to) {
  co_await b::sleep_for(1s);
  ++to.committed;
}
task<> uploads_and_commits(archive& to) {
  co_await uploads(to);  // <- found here
  co_await commits(to);
}

task<> all_under_a_shield(archive& to) { co_await b::shielded(1h, uploads_and_commits(to)); }
task<> commit_under_a_shield(archive& to) {
  co_await uploads(to);
  co_await b::shielded(10s, commits(to));
}

template <task<> (*Store)(archive&)>
task<> one_backup(stage& s) {
  auto& to = s.make<archive>();
  co_await Store(to);
}

constexpr bug wide_shield{
    .name = "shield too wide",
    .looks = "`shielded(1h, everything())`, where the last step alone needs it",
    .broken = one_backup<all_under_a_shield>,
    .mended = one_backup<commit_under_a_shield>,
    .rule = rules::in_time,
};
TEST_CASE("planted: the shield that is too wide") { check(wide_shield); }

// ---- The temporary file
//
// A thread writes it; then it gets its name. Stopped in between, it stays on the disk.

struct disk {
  std::atomic<int> temporary = 0;
  int named = 0;

  void write_temporary() { ++temporary; }
  void remove_temporary() { --temporary; }
  task<> checks_the_space() { co_await b::sleep_for(20ms); }
  void give_name() {
    --temporary;
    ++named;
  }
};

task<> write_and_rename(disk& on) {
  co_await b::to_thread(&disk::write_temporary, std::ref(on));
  co_await on.checks_the_space();  // <- found here
  on.give_name();
}

task<> write_and_rename_or_remove(disk& on) {
  struct temporary_file {
    disk& on;
    bool named = false;
    ~temporary_file() {
      if (!named && on.temporary != 0) on.remove_temporary();
    }
  } file{on};
  co_await b::to_thread(&disk::write_temporary, std::ref(on));
  co_await on.checks_the_space();
  on.give_name();
  file.named = true;
}

template <task<> (*Write)(disk&)>
task<> one_file(stage& s) {
  auto& on = s.make<disk>();
  s.expect("no temporary file is left", [&] { return on.temporary == 0; });
  co_await Write(on);
}

constexpr bug temporary_file{
    .name = "temporary file",
    .looks = "a thread makes it; the await before the rename is cancelled",
    .broken = one_file<write_and_rename>,
    .mended = one_file<write_and_rename_or_remove>,
    .rule = "no temporary file is left",
};
TEST_CASE("planted: the temporary file that a thread has written") { check(temporary_file); }

}  // namespace

std::span<const bug* const> cleanups() {
  static constexpr std::array all{&close_at_the_end, &second_close, &flush_after_close,
                                  &unanswered_bye,   &wide_shield,  &temporary_file};
  return all;
}

}  // namespace planted
