// SPDX-License-Identifier: Apache-2.0
#pragma once
// TCP in memory, on the loop's clock: no sockets, no threads, and as bad as a test wants it.

#include <belay/core/time.hpp>
#include <belay/io/network.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <system_error>
#include <vector>

namespace belay::testing {

/// How a connection is lost.
enum class loss : unsigned char {
  reset,    ///< both ends are told: what had arrived can be read, then `disconnected_error`
  silence,  ///< nobody is told: reads wait for ever, writes until the buffer is full (a cable pulled out)
};

/// What connections go through. "To the server" is the direction from who connected to who accepted.
struct network_conditions {
  /// One way, at least zero. Connecting takes it twice, as does learning that the other side was closed already.
  duration delay{};
  /// On top of it, for each part of a write, 0 to this; bytes stay in order.
  duration jitter{};
  /// The most bytes that one read gives, and that are sent in one go (then others get a turn); 0: no limit.
  std::size_t read_at_most = 0;
  std::size_t write_at_most = 0;
  /// Not exactly as many as the limits (or what is there) allow, but 1 to so many, chosen by the seed.
  bool random_sizes = false;
  /// Bytes in one direction that were written and not read; beyond them writing waits. At least 1.
  std::size_t buffer = 64 * 1024;
  /// Connecting fails as if nobody listened.
  bool refuse = false;
  /// The connection is lost once so many bytes have been sent in that direction since it was opened; the rest does not arrive.
  std::optional<std::uint64_t> lose_after_to_server{};
  std::optional<std::uint64_t> lose_after_to_client{};
  /// Connections that are open at that time are lost.
  std::optional<time_point> lose_at{};
  loss lose_by = loss::reset;
};

struct fake_network_options {
  /// Everything random is made from it: the same seed and the same program, the same run.
  std::uint64_t seed = 1;
  network_conditions conditions{};
};

/// A network of its own, with the semantics of `io::tcp_stream` and `io::tcp_listener`, for one loop:
///
///     test_loop loop;
///     fake_network net({.conditions = {.delay = 50ms}});
///     io::network_override guard(net);
///     loop.run(program());                          // its listeners and connections are here
///     CHECK_MESSAGE(net.nothing_left(), net.describe());
///
/// Results and errors: those of the sockets, with the same types, codes and messages: connecting where nobody listens is refused,
///                binding twice is "address in use", port 0 gives a free one, 0.0.0.0 and :: take every address.
/// Cancellation:  of each operation, as the sockets promise: a cancelled read took no byte, a cancelled accept no
///                connection (it stays in the backlog), a cancelled connect was never seen. Nothing stays registered.
/// Time:          the loop's clock. What is on its way has no timer of its own, only who waits for it has one: so a
///                deadlock is still found.
/// Lifetime:      what was opened may outlive the network. Thread: the loop's.
class fake_network final : public io::network {
 public:
  /// Errors: `misuse_error` for conditions out of range; likewise of `set`.
  explicit fake_network(fake_network_options options = {});
  ~fake_network() override;

  // ---- its conditions, at any time; what is open changes with them

  /// Of all connections, except those to endpoints with conditions of their own.
  void set(const network_conditions& all);
  /// Of the connections to a listener, made already or not, until `unset`.
  void set(const io::endpoint& to, const network_conditions& own);
  void unset(const io::endpoint& to);
  /// Those that apply to connections to `to`.
  [[nodiscard]] network_conditions conditions(const io::endpoint& to) const;
  [[nodiscard]] network_conditions conditions() const;

  /// Loses every connection that is open (or those to `to`), now. New ones can be made.
  void cut_all(loss how = loss::reset);
  void cut(const io::endpoint& to, loss how = loss::reset);

  /// Nothing moves any more, neither bytes nor the news of a close or a new connection, until `resume`: then it all arrives.
  void stall();
  void resume();
  /// The same between everybody and one listener; `heal` ends it.
  void partition(const io::endpoint& from_all);
  void heal(const io::endpoint& with_all);

  /// The next `times` calls of `accept` fail with `why`, such as too_many_files_open.
  void fail_accepts(std::errc why, std::size_t times = 1);

  /// Names for `io::resolve`, which takes the `delay` of the network; without addresses the name is unknown again.
  void set_name(std::string host, std::vector<std::string> addresses);

  // ---- what there is

  /// At least one of its two ends has not been closed.
  [[nodiscard]] std::size_t open_connections() const noexcept;
  [[nodiscard]] std::size_t listeners() const noexcept;
  /// Reads, writes, accepts and connects under way.
  [[nodiscard]] std::size_t waiting() const noexcept;
  [[nodiscard]] std::uint64_t connections_made() const noexcept;
  /// Handed over by writers, and taken by readers, in both directions, of all connections so far.
  [[nodiscard]] std::uint64_t bytes_written() const noexcept;
  [[nodiscard]] std::uint64_t bytes_read() const noexcept;
  /// No listener, no connection, nobody waiting.
  [[nodiscard]] bool nothing_left() const noexcept;
  /// A line for each thing that is left, with the place that made it; empty when nothing is:
  ///
  ///     listener 127.0.0.1:8080, bound at server.cpp:12 and not closed; 1 in its backlog; an accept waits
  ///     connection 127.0.0.1:49152 -> 127.0.0.1:8080, opened at client.cpp:30 and closed, accepted at server.cpp:20 and not closed;
  ///     a read waits
  [[nodiscard]] std::string describe() const;

  // ---- io::network

  [[nodiscard]] BELAY_CORO_WRAPPER task<io::tcp_stream> connect(io::endpoint to,
                                                                std::source_location where) override;
  [[nodiscard]] task<std::vector<std::string>> look_up(std::string host, std::source_location where) override;
  [[nodiscard]] std::unique_ptr<io::listener_transport> bind(const io::endpoint& at,
                                                             const io::listen_options& options,
                                                             std::source_location where) override;

  struct state;

 private:
  std::shared_ptr<state> state_;
};

}  // namespace belay::testing
