// SPDX-License-Identifier: Apache-2.0
// What programs await on the fake network: reads, writes, accepts and connects, each one operation that is done whole or not at all.

#include <cerrno>

#include "fake_network_state.hpp"
#include <belay/core/detail/place.hpp>

namespace belay::testing::detail {

namespace {

// ---- on a connection

class stream_operation : public condition_wait {
 public:
  struct result {
    std::size_t count = 0;
    int failed = 0;
  };

  stream_operation(fake_connection& on, unsigned side) noexcept
      : condition_wait(on.waiting), connection_(&on), side_(side), was_open_(on.ends[side].open) {}
  [[nodiscard]] result await_resume() const noexcept { return result_; }
  [[nodiscard]] awaited waits_for() const noexcept override {
    return {kind(), connection_->ends[side_].peer_text.c_str()};
  }
  [[nodiscard]] virtual const char* kind() const noexcept = 0;

 protected:
  ~stream_operation() = default;
  std::optional<time_point> done(result how) noexcept {
    result_ = how;
    return std::nullopt;
  }
  std::optional<time_point> done_on_closed() noexcept {
    return done({.failed = was_open_ ? ECANCELED : EBADF});
  }

  fake_connection* connection_;
  unsigned side_;

 private:
  bool was_open_;
  result result_;
};

class read_operation final : public stream_operation {
 public:
  read_operation(fake_connection& on, unsigned side, std::span<char> into) noexcept
      : stream_operation(on, side), into_(into) {}
  const char* kind() const noexcept override { return "a read from"; }

 private:
  std::optional<time_point> attempt() noexcept override {
    fake_connection& c = *connection_;
    fake_end& here = c.ends[side_];
    if (into_.empty()) return done({});
    c.settle();
    if (!here.open) return done_on_closed();
    if (!here.received.empty()) {
      const network_conditions& under = c.conditions();
      const std::size_t count = c.net->size_of_one(std::min(here.received.size(), into_.size()),
                                                   under.read_at_most, under.random_sizes);
      here.received.copy(into_.data(), count);
      here.received.erase(0, count);
      here.unread -= count;
      c.net->read += count;
      c.waiting.changed();  // there is room
      return done({.count = count});
    }
    if (here.end_here) return done({});
    if (here.reset_here) {
      here.reset_told = true;
      return done({.failed = ECONNRESET});
    }
    return c.next_event(side_);
  }

  std::span<char> into_;
};

// Sends what there is room for. Nothing: there is none.
std::optional<stream_operation::result> send_now(fake_connection& c, unsigned side, std::string_view data) {
  fake_end& here = c.ends[side];
  if (here.reset_here) {
    // As the system does, which tells of a reset once.
    const bool told = std::exchange(here.reset_told, true);
    return stream_operation::result{.failed = told || here.end_here ? EPIPE : ECONNRESET};
  }
  if (here.ended_writing) return stream_operation::result{.failed = EPIPE};
  const network_conditions& under = c.conditions();
  const std::size_t unread = c.ends[1 - side].unread;
  if (unread >= under.buffer) return std::nullopt;
  const std::size_t count = c.net->size_of_one(std::min(under.buffer - unread, data.size()),
                                               under.write_at_most, under.random_sizes);
  c.send(side, data.substr(0, count));
  c.waiting.changed();
  return stream_operation::result{.count = count};
}

// Sends at least one byte.
class write_operation final : public stream_operation {
 public:
  write_operation(fake_connection& on, unsigned side, std::string_view data) noexcept
      : stream_operation(on, side), data_(data) {}
  const char* kind() const noexcept override { return "a write to"; }

 private:
  std::optional<time_point> attempt() noexcept override {
    fake_connection& c = *connection_;
    fake_end& here = c.ends[side_];
    if (data_.empty()) return done({});
    c.settle();
    if (!here.open) return done_on_closed();
    const std::optional<result> sent = send_now(c, side_, data_);
    return sent ? done(*sent) : c.next_event(side_);
  }

  std::string_view data_;
};

// The coroutines hold the connection: it is there as long as they run, whatever becomes of the stream.
task<std::size_t> read_from(std::shared_ptr<fake_connection> from, unsigned side, std::span<char> into) {
  const auto [count, failed] = co_await read_operation(*from, side, into);
  if (failed != 0) io::throw_network_error("read from", from->ends[side].peer, system_error(failed));
  co_return count;
}

task<> write_to(std::shared_ptr<fake_connection> to, unsigned side, std::string_view data) {
  do {
    const auto [count, failed] = co_await write_operation(*to, side, data);
    if (failed != 0) io::throw_network_error("write to", to->ends[side].peer, system_error(failed));
    data.remove_prefix(count);
  } while (!data.empty());
}

class fake_stream final : public io::stream_transport {
 public:
  fake_stream(std::shared_ptr<fake_connection> on, unsigned side) noexcept
      : connection_(std::move(on)), side_(side) {}
  ~fake_stream() override { connection_->close(side_); }

  BELAY_CORO_WRAPPER task<std::size_t> read_some(std::span<char> into) override {
    return read_from(connection_, side_, into);
  }
  BELAY_CORO_WRAPPER task<> write(std::string_view data) override {
    return write_to(connection_, side_, data);
  }
  std::size_t try_write(std::string_view data) noexcept override {
    fake_connection& c = *connection_;
    c.settle();
    if (!c.ends[side_].open || c.ends[side_].reset_here || data.empty()) return 0;
    const auto sent = send_now(c, side_, data);
    return sent ? sent->count : 0;
  }
  void end_writing() noexcept override { connection_->end_writing(side_); }
  void close() noexcept override { connection_->close(side_); }
  bool is_open() const noexcept override { return connection_->ends[side_].open; }
  const io::endpoint& peer() const noexcept override { return connection_->ends[side_].peer; }

 private:
  std::shared_ptr<fake_connection> connection_;
  unsigned side_;
};

// ---- on a listener

class accept_operation final : public condition_wait {
 public:
  accept_operation(fake_listener& on, std::source_location where) noexcept
      : condition_wait(on.waiting), listener_(&on), where_(where), was_open_(on.open) {}
  [[nodiscard]] std::error_code failed() const noexcept { return failed_; }
  [[nodiscard]] std::unique_ptr<io::stream_transport> await_resume() noexcept { return std::move(accepted_); }
  [[nodiscard]] awaited waits_for() const noexcept override {
    return {"a connection to", listener_->local_text.c_str()};
  }

 private:
  std::optional<time_point> attempt() noexcept override {
    fake_listener& l = *listener_;
    l.settle();
    if (!l.open) {
      failed_ = system_error(was_open_ ? ECANCELED : EBADF);
      return std::nullopt;
    }
    if (l.net->accept_faults != 0) {
      --l.net->accept_faults;
      failed_ = l.net->accept_fault;
      return std::nullopt;
    }
    if (l.queue.empty()) return never;
    const fake_listener::pending& first = l.queue.front();
    if (!first.here) return l.net->stalled(first.connection->to) ? never : first.arrives;
    fake_end& end = first.connection->ends[fake_connection::server];
    end.accepted = true;
    end.place = where_;
    accepted_ = make_stream(first.connection, fake_connection::server);
    l.queue.pop_front();
    l.net->connecting.changed();  // there is room
    return std::nullopt;
  }

  fake_listener* listener_;
  std::source_location where_;
  bool was_open_;
  std::error_code failed_;
  std::unique_ptr<io::stream_transport> accepted_;
};

task<io::tcp_stream> accept_on(std::shared_ptr<fake_listener> on, std::source_location where) {
  accept_operation accept(*on, where);
  std::unique_ptr<io::stream_transport> accepted = co_await accept;
  if (accepted == nullptr) io::throw_network_error("accept on", on->local, accept.failed());
  co_return io::tcp_stream(std::move(accepted));
}

class listener final : public io::listener_transport {
 public:
  explicit listener(std::shared_ptr<fake_listener> on) noexcept : on_(std::move(on)) {}
  ~listener() override { on_->close(); }
  BELAY_CORO_WRAPPER task<io::tcp_stream> accept(std::source_location where) override {
    return accept_on(on_, where);
  }
  void close() noexcept override { on_->close(); }
  const io::endpoint& local() const noexcept override { return on_->local; }

 private:
  std::shared_ptr<fake_listener> on_;
};

// ---- connecting

class connect_operation final : public condition_wait {
 public:
  connect_operation(std::shared_ptr<fake_network::state> net, const io::endpoint& to, io::endpoint key,
                    std::source_location where)
      : condition_wait(net->connecting),
        net_(std::move(net)),
        to_(&to),
        key_(std::move(key)),
        text_(to.to_string()),
        where_(where) {}
  // Null: refused.
  [[nodiscard]] std::unique_ptr<io::stream_transport> await_resume() noexcept {
    return std::move(connected_);
  }
  [[nodiscard]] awaited waits_for() const noexcept override { return {"the connection to", text_.c_str()}; }
  [[nodiscard]] std::string describe() const {
    return "connect to " + text_ + " at " + belay::detail::place_text(where_) + " waits\n";
  }

 private:
  void start() override {
    const network_conditions& under = net_->conditions_of(key_);
    answer_ = saturating_add(saturating_add(now(), net_->delay_of_one(under)), net_->delay_of_one(under));
    condition_wait::start();
  }

  std::optional<time_point> attempt() noexcept override {
    if (net_->stalled(key_)) return never;
    if (now() < answer_) return answer_;
    fake_listener* const listener = net_->listener_at(key_);
    if (net_->conditions_of(key_).refuse || listener == nullptr) return std::nullopt;
    // As Linux does: one more than asked for; then it is as if the first packet had been lost.
    if (listener->queue.size() > listener->backlog) return never;
    connected_ = make_stream(make_connection(*listener), fake_connection::client);
    return std::nullopt;
  }

  std::shared_ptr<fake_connection> make_connection(fake_listener& with) {
    auto made = std::make_shared<fake_connection>();
    made->net = net_;
    made->to = key_;
    made->opened = now();
    fake_end& client = made->ends[fake_connection::client];
    client.peer = *to_;
    client.peer_text = text_;
    client.place = where_;
    fake_end& server = made->ends[fake_connection::server];
    server.peer = {key_.address, key_.is_unix() ? std::uint16_t{0} : net_->free_port()};
    server.peer_text = server.peer.to_string();
    server.accepted = false;
    ++net_->made;
    net_->connections.push_back(made);
    with.queue.push_back({saturating_add(now(), net_->conditions_of(key_).delay), made});
    with.waiting.changed();
    return made;
  }

  std::shared_ptr<fake_network::state> net_;
  const io::endpoint* to_;
  io::endpoint key_;
  std::string text_;
  std::source_location where_;
  time_point answer_{};
  std::unique_ptr<io::stream_transport> connected_;
};

}  // namespace

std::unique_ptr<io::stream_transport> make_stream(std::shared_ptr<fake_connection> on, unsigned side) {
  return std::make_unique<fake_stream>(std::move(on), side);
}

std::unique_ptr<io::listener_transport> make_listener(std::shared_ptr<fake_listener> on) {
  return std::make_unique<listener>(std::move(on));
}

task<io::tcp_stream> connect_on(std::shared_ptr<fake_network::state> net, io::endpoint to,
                                std::source_location where) {
  io::endpoint key{normalised(to.address), to.port};
  if (key.address.empty()) io::throw_network_error("connect to", to, system_error(EINVAL));
  std::unique_ptr<io::stream_transport> connected =
      co_await connect_operation(std::move(net), to, std::move(key), where);
  if (connected == nullptr) io::throw_network_error("connect to", to, system_error(ECONNREFUSED));
  co_return io::tcp_stream(std::move(connected));
}

std::string describe_waits(const condition_list& of) {
  std::string text;
  for (const condition_wait* one = of.front(); one != nullptr; one = one->next_waiting()) {
    const awaited what = one->waits_for();
    text += std::string("; ") + what.what + " " + what.name + " waits";
  }
  return text;
}

std::string describe_connects(const condition_list& of) {
  std::string text;
  for (const condition_wait* one = of.front(); one != nullptr; one = one->next_waiting()) {
    text += static_cast<const connect_operation*>(one)->describe();
  }
  return text;
}

}  // namespace belay::testing::detail
