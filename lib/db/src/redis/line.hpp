// SPDX-License-Identifier: Apache-2.0
#pragma once
// The connection behind a client: the commands that wait, the task that keeps it up, and who reads and writes.

#include "protocol.hpp"

#include <belay/core/detail/group_core.hpp>
#include <belay/core/event.hpp>
#include <belay/core/operation.hpp>
#include <belay/db/redis/client.hpp>
#include <belay/io/network.hpp>
#include <belay/resilience/detail/sharing.hpp>
#include <list>
#include <optional>
#include <vector>

namespace belay::db::redis::detail {

class command_wait;

using undo_function = std::function<command(const reply&)>;

// A command on its way. Without a `who` it was given up (or is an undoing itself), and its reply is thrown away.
struct pending {
  std::string bytes;
  command_wait* who = nullptr;
  undo_function undo{};
  time_point sent_at{};
  bool sent = false;
  bool undoing = false;
  std::size_t replies = 1;  // of several commands in one; they are given as an array
  std::size_t came_in = 0;
  std::vector<reply> collected{};
};

enum class ending : unsigned char { answered, away, lost, silent, garbled, too_large, closed };

struct answer {
  ending how = ending::closed;
  redis::reply reply{};
  std::string why{};
};

class line {
 public:
  explicit line(options set);

  // The task in the background. Both by the task that opens and closes.
  void start(std::source_location where);
  void begin_closing(std::source_location where) noexcept;
  [[nodiscard]] auto ended() noexcept { return tasks_.join(); }
  void end_closing() noexcept;

  [[nodiscard]] client_statistics statistics() const noexcept;
  [[nodiscard]] const options& settings() const noexcept { return set_; }
  void require_here() { home_.require("redis::client"); }

 private:
  friend class command_wait;
  enum class state : unsigned char { connecting, connected, away, closed };

  void enqueue(pending one);
  void not_undone(const std::string& why) noexcept;
  void withdraw(std::list<pending>::iterator which) noexcept;
  void end_all(std::list<pending>& of, ending how, const std::string& why) noexcept;

  task<> keep();
  task<> round();
  task<> serve(io::tcp_stream& stream);
  task<> read_all(io::tcp_stream& stream);
  task<> write_all(io::tcp_stream& stream);
  task<> watch();
  void deliver(reply got);
  void round_ended(const failure& why) noexcept;

  const options set_;
  const std::string name_;
  io::network* network_;
  belay::detail::home_thread home_;
  belay::detail::group_core tasks_;

  state state_ = state::connecting;
  std::string why_away_;
  unsigned failed_rounds_ = 0;
  duration last_delay_{};
  time_point quiet_until_ = time_point::min();  // about what could not be undone
  time_point connected_at_{};
  std::optional<reply_parser> parser_;

  std::list<pending> unsent_;
  std::size_t unsent_bytes_ = 0;
  std::list<pending> sent_;
  event to_send_{"a command for Redis"};
  event to_watch_{"a command sent to Redis"};
  client_statistics counted_;
};

// Waits for the reply to one command.
class command_wait final : public operation {
 public:
  command_wait(line& on, std::string bytes, undo_function undo, std::size_t replies)
      : on_(&on), bytes_(std::move(bytes)), undo_(std::move(undo)), replies_(replies) {}
  answer await_resume() noexcept { return std::move(got_); }
  [[nodiscard]] awaited waits_for() const noexcept override { return {"a reply of Redis", ""}; }

  void end(answer how) noexcept {
    got_ = std::move(how);
    complete();
  }

 private:
  friend class line;
  void start() override;
  bool abort() noexcept override {
    on_->withdraw(at_);
    return true;
  }

  line* on_;
  std::string bytes_;
  undo_function undo_;
  std::size_t replies_;
  std::list<pending>::iterator at_{};
  answer got_;
};

}  // namespace belay::db::redis::detail
