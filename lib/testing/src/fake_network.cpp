// SPDX-License-Identifier: Apache-2.0
// The fake network as a whole: its conditions, its ports, and what is left in it.

#include <belay/core/loop.hpp>
#include <belay/testing/fake_network.hpp>

#include <arpa/inet.h>

#include <cerrno>

#include "fake_network_state.hpp"
#include <belay/core/detail/place.hpp>

namespace belay::testing {

namespace detail {

std::error_code system_error(int number) noexcept { return {number, std::system_category()}; }

std::string normalised(const std::string& address) {
  if (address.starts_with("unix:")) return address.size() > 5 ? address : std::string();
  std::array<unsigned char, sizeof(in6_addr)> binary{};
  std::array<char, INET6_ADDRSTRLEN> text{};
  for (const int family : {AF_INET, AF_INET6}) {
    if (::inet_pton(family, address.c_str(), binary.data()) == 1) {
      return ::inet_ntop(family, binary.data(), text.data(), text.size());
    }
  }
  return {};
}

bool covers(const io::endpoint& bound, const io::endpoint& asked) noexcept {
  if (bound.port != asked.port) return false;
  if (bound.address == asked.address || bound.address == "::") return true;
  return bound.address == "0.0.0.0" && asked.address.find(':') == std::string::npos;
}

namespace {

io::endpoint key_of(const io::endpoint& at) {
  std::string address = normalised(at.address);
  return {address.empty() ? at.address : address, at.port};
}

void require_valid(const network_conditions& given) {
  if (given.delay < duration::zero() || given.jitter < duration::zero()) {
    throw misuse_error("network_conditions: delay and jitter must not be negative");
  }
  if (given.buffer == 0)
    throw misuse_error("network_conditions::buffer must be at least 1: nothing could ever be sent");
}

}  // namespace
}  // namespace detail

const network_conditions& fake_network::state::conditions_of(const io::endpoint& to) const noexcept {
  for (const auto& [endpoint, its_own] : own) {
    if (detail::covers(endpoint, to)) return its_own;
  }
  return for_all;
}

bool fake_network::state::stalled(const io::endpoint& to) const noexcept {
  return stalled_all || std::any_of(partitioned.begin(), partitioned.end(),
                                    [&](const io::endpoint& one) { return detail::covers(one, to); });
}

detail::fake_listener* fake_network::state::listener_at(const io::endpoint& to) const noexcept {
  detail::fake_listener* found = nullptr;
  for (const auto& one : listeners) {
    // Of those that share an address, who has the least to do.
    if (detail::covers(one->local, to) && (found == nullptr || one->queue.size() < found->queue.size()))
      found = one.get();
  }
  return found;
}

std::uint16_t fake_network::state::free_port() {
  const auto taken = [this](std::uint16_t port) {
    return std::any_of(listeners.begin(), listeners.end(),
                       [&](const auto& one) { return one->local.port == port; });
  };
  do {
    last_port = last_port == 65535 ? std::uint16_t{49152} : static_cast<std::uint16_t>(last_port + 1);
  } while (taken(last_port));
  return last_port;
}

// SplitMix64: small, good enough for delays, and the same everywhere.
std::uint64_t fake_network::state::random_up_to(std::uint64_t limit) noexcept {
  random_state += 0x9e3779b97f4a7c15u;
  std::uint64_t mixed = random_state;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  mixed ^= mixed >> 31;
  return limit == UINT64_MAX ? mixed : mixed % (limit + 1);
}

duration fake_network::state::delay_of_one(const network_conditions& under) noexcept {
  if (under.jitter == duration::zero()) return under.delay;
  return under.delay +
         duration(static_cast<duration::rep>(random_up_to(static_cast<std::uint64_t>(under.jitter.count()))));
}

std::size_t fake_network::state::size_of_one(std::size_t possible, std::size_t limit, bool random) noexcept {
  if (limit != 0) possible = std::min(possible, limit);
  return random && possible > 1 ? 1 + static_cast<std::size_t>(random_up_to(possible - 1)) : possible;
}

void fake_network::state::settle_all() noexcept {
  if (loop::current() == nullptr) return;  // there is no time outside of it
  for (const auto& one : connections) one->settle();
  for (const auto& one : listeners) one->settle();
}

void fake_network::state::all_changed() noexcept {
  for (const auto& one : connections) one->waiting.changed();
  for (const auto& one : listeners) one->waiting.changed();
  connecting.changed();
}

fake_network::fake_network(fake_network_options options) {
  detail::require_valid(options.conditions);
  state_ = std::make_shared<state>(options);
}
fake_network::~fake_network() = default;

void fake_network::set(const network_conditions& all) {
  detail::require_valid(all);
  state_->settle_all();
  state_->for_all = all;
  state_->all_changed();
}

void fake_network::set(const io::endpoint& to, const network_conditions& own) {
  detail::require_valid(own);
  state_->settle_all();
  std::erase_if(state_->own, [key = detail::key_of(to)](const auto& one) { return one.first == key; });
  state_->own.emplace_back(detail::key_of(to), own);
  state_->all_changed();
}

void fake_network::unset(const io::endpoint& to) {
  state_->settle_all();
  std::erase_if(state_->own, [key = detail::key_of(to)](const auto& one) { return one.first == key; });
  state_->all_changed();
}

network_conditions fake_network::conditions(const io::endpoint& to) const {
  return state_->conditions_of(detail::key_of(to));
}
network_conditions fake_network::conditions() const { return state_->for_all; }

void fake_network::cut_all(loss how) {
  state_->settle_all();
  for (const auto& one : state_->connections) one->lose(how);
}

void fake_network::cut(const io::endpoint& to, loss how) {
  state_->settle_all();
  const io::endpoint key = detail::key_of(to);
  for (const auto& one : state_->connections) {
    if (detail::covers(key, one->to)) one->lose(how);
  }
}

void fake_network::stall() {
  state_->settle_all();
  state_->stalled_all = true;
}

void fake_network::resume() {
  state_->stalled_all = false;
  state_->all_changed();
}

void fake_network::partition(const io::endpoint& from_all) {
  state_->settle_all();
  state_->partitioned.push_back(detail::key_of(from_all));
}

void fake_network::heal(const io::endpoint& with_all) {
  std::erase(state_->partitioned, detail::key_of(with_all));
  state_->all_changed();
}

void fake_network::fail_accepts(std::errc why, std::size_t times) {
  state_->accept_fault = detail::system_error(static_cast<int>(why));
  state_->accept_faults = times;
  for (const auto& one : state_->listeners) one->waiting.changed();
}

std::size_t fake_network::open_connections() const noexcept { return state_->connections.size(); }
std::size_t fake_network::listeners() const noexcept { return state_->listeners.size(); }

std::size_t fake_network::waiting() const noexcept {
  std::size_t count = state_->connecting.size();
  for (const auto& one : state_->connections) count += one->waiting.size();
  for (const auto& one : state_->listeners) count += one->waiting.size();
  return count;
}

std::uint64_t fake_network::connections_made() const noexcept { return state_->made; }
std::uint64_t fake_network::bytes_written() const noexcept { return state_->written; }
std::uint64_t fake_network::bytes_read() const noexcept { return state_->read; }

bool fake_network::nothing_left() const noexcept {
  return open_connections() == 0 && listeners() == 0 && waiting() == 0;
}

std::string fake_network::describe() const {
  std::string text;
  for (const auto& one : state_->listeners) {
    text += "listener " + one->local_text + ", bound at " + belay::detail::place_text(one->place) +
            " and not closed";
    if (!one->queue.empty()) text += "; " + std::to_string(one->queue.size()) + " in its backlog";
    text += detail::describe_waits(one->waiting) + "\n";
  }
  const auto closed = [](bool open) { return open ? " and not closed" : " and closed"; };
  for (const auto& one : state_->connections) {
    const detail::fake_end& client = one->ends[detail::fake_connection::client];
    const detail::fake_end& server = one->ends[detail::fake_connection::server];
    text += "connection " + server.peer_text + " -> " + client.peer_text + ", opened at " +
            belay::detail::place_text(client.place) + closed(client.open) + ", ";
    text += server.accepted ? "accepted at " + belay::detail::place_text(server.place) + closed(server.open)
                            : "not accepted";
    text += detail::describe_waits(one->waiting) + "\n";
  }
  return text + detail::describe_connects(state_->connecting);
}

task<io::tcp_stream> fake_network::connect(io::endpoint to, std::source_location where) {
  return detail::connect_on(state_, std::move(to), where);
}

void fake_network::set_name(std::string host, std::vector<std::string> addresses) {
  if (addresses.empty()) {
    state_->names.erase(host);
  } else {
    state_->names.insert_or_assign(std::move(host), std::move(addresses));
  }
}

task<std::vector<std::string>> fake_network::look_up(std::string host, std::source_location where) {
  const std::shared_ptr<state> net = state_;
  co_await sleep_for(net->delay_of_one(net->for_all));
  const auto found = net->names.find(host);
  if (found == net->names.end()) co_return co_await network::look_up(std::move(host), where);
  co_return found->second;
}

std::unique_ptr<io::listener_transport> fake_network::bind(const io::endpoint& at,
                                                           const io::listen_options& options,
                                                           std::source_location where) {
  state& s = *state_;
  static_cast<void>(belay::detail::require_runtime("fake_network::bind"));
  io::endpoint local{detail::normalised(at.address), at.port};
  if (local.address.empty()) io::throw_network_error("listen on", at, detail::system_error(EINVAL));
  if (local.port == 0 && !local.is_unix()) local.port = s.free_port();
  for (const auto& one : s.listeners) {
    if (options.reuse_port && one->reuse_port) continue;
    if (detail::covers(one->local, local) || detail::covers(local, one->local)) {
      io::throw_network_error("listen on", at, detail::system_error(EADDRINUSE));
    }
  }
  auto made = std::make_shared<detail::fake_listener>();
  made->net = state_;
  made->local_text = local.to_string();
  made->local = std::move(local);
  made->backlog = static_cast<std::size_t>(std::max(options.backlog, 0));
  made->place = where;
  made->reuse_port = options.reuse_port;
  s.listeners.push_back(made);
  return detail::make_listener(std::move(made));
}

}  // namespace belay::testing
