// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the fake network is made of: connections with two ends each, and listeners.
//
// Nothing here has a timer or a task. What is on its way has the time of its arrival written on it, and `settle` brings a
// connection up to the present whenever somebody looks at it. Who waits computes when to look again.

#include <belay/core/sleep.hpp>
#include <belay/testing/detail/condition_wait.hpp>
#include <belay/testing/fake_network.hpp>
#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace belay::testing {

namespace detail {

inline constexpr time_point never = time_point::max();

struct packet {
  time_point arrives;
  std::string bytes;
};

struct fake_end {
  bool open = true;  // not closed by its program
  bool accepted = true;
  bool ended_writing = false;
  bool reset_told = false;  // to a read or a write
  io::endpoint peer;
  std::string peer_text;  // for reports
  std::source_location place;

  // What comes in.
  std::string received;          // has arrived, and was not read
  std::deque<packet> in_flight;  // in the order of arrival
  std::size_t unread = 0;        // bytes of both
  std::uint64_t sent_here = 0;   // since the beginning
  time_point last_arrival = time_point::min();
  time_point end_arrives = never;
  time_point reset_arrives = never;
  bool end_here = false;
  bool reset_here = false;
};

struct fake_connection {
  static constexpr unsigned client = 0;
  static constexpr unsigned server = 1;

  std::shared_ptr<fake_network::state> net;
  io::endpoint to;  // the key for conditions
  time_point opened{};
  std::array<fake_end, 2> ends{};
  bool lost = false;  // what is sent from now on does not arrive
  condition_list waiting{};

  [[nodiscard]] const network_conditions& conditions() const noexcept;
  // Brings it up to the present.
  void settle() noexcept;
  // When something that concerns this end may happen by itself.
  [[nodiscard]] time_point next_event(unsigned side) const noexcept;
  void send(unsigned from, std::string_view bytes);
  void end_writing(unsigned side) noexcept;
  void close(unsigned side) noexcept;
  void lose(loss how) noexcept;
  [[nodiscard]] bool is_open() const noexcept { return ends[client].open || ends[server].open; }

 private:
  void deliver(time_point until) noexcept;
  [[nodiscard]] time_point arrival(duration delay) const noexcept;
};

struct fake_listener {
  struct pending {
    time_point arrives;
    std::shared_ptr<fake_connection> connection;
    bool here = false;
  };

  std::shared_ptr<fake_network::state> net;
  io::endpoint local;
  std::string local_text;
  std::size_t backlog = 0;
  bool reuse_port = false;
  std::source_location place;
  std::deque<pending> queue{};
  bool open = true;
  condition_list waiting{};

  void settle() noexcept;
  void close() noexcept;
};

// Streams and listeners of the program.
[[nodiscard]] std::unique_ptr<io::stream_transport> make_stream(std::shared_ptr<fake_connection> on,
                                                                unsigned side);
[[nodiscard]] std::unique_ptr<io::listener_transport> make_listener(std::shared_ptr<fake_listener> on);
[[nodiscard]] task<io::tcp_stream> connect_on(std::shared_ptr<fake_network::state> net, io::endpoint to,
                                              std::source_location where);

[[nodiscard]] std::error_code system_error(int number) noexcept;
// The address as the system would write it; empty when it is none.
[[nodiscard]] std::string normalised(const std::string& address);
// Does what is bound to (or set for) `bound` concern `asked`?
[[nodiscard]] bool covers(const io::endpoint& bound, const io::endpoint& asked) noexcept;
// Under way on a connection, for `describe`.
[[nodiscard]] std::string describe_waits(const condition_list& of);
[[nodiscard]] std::string describe_connects(const condition_list& of);

}  // namespace detail

struct fake_network::state {
  explicit state(const fake_network_options& options)
      : for_all(options.conditions), random_state(options.seed) {}

  network_conditions for_all;
  std::vector<std::pair<io::endpoint, network_conditions>> own;
  bool stalled_all = false;
  std::vector<io::endpoint> partitioned;
  std::error_code accept_fault;
  std::size_t accept_faults = 0;

  std::map<std::string, std::vector<std::string>, std::less<>> names;

  std::uint64_t random_state;
  std::uint16_t last_port = 49151;                                  // before the first dynamic one (RFC 6335)
  std::list<std::shared_ptr<detail::fake_connection>> connections;  // open ones, oldest first
  std::list<std::shared_ptr<detail::fake_listener>> listeners;
  detail::condition_list connecting;
  std::uint64_t made = 0;
  std::uint64_t written = 0;
  std::uint64_t read = 0;

  [[nodiscard]] const network_conditions& conditions_of(const io::endpoint& to) const noexcept;
  [[nodiscard]] bool stalled(const io::endpoint& to) const noexcept;
  [[nodiscard]] detail::fake_listener* listener_at(const io::endpoint& to) const noexcept;
  [[nodiscard]] std::uint16_t free_port();
  // 0 to `limit`, both included.
  [[nodiscard]] std::uint64_t random_up_to(std::uint64_t limit) noexcept;
  [[nodiscard]] duration delay_of_one(const network_conditions& under) noexcept;
  [[nodiscard]] std::size_t size_of_one(std::size_t possible, std::size_t limit, bool random) noexcept;

  // Before its conditions change, and after.
  void settle_all() noexcept;
  void all_changed() noexcept;
};

}  // namespace belay::testing
