// SPDX-License-Identifier: Apache-2.0
// Connecting by name: one address after the other, each with a head start.

#include <belay/core/event.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/timeout.hpp>
#include <belay/io/network.hpp>
#include <belay/io/resolve.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace belay::io {

namespace {

// RFC 8305 section 4: the families take turns, beginning with that of the first.
std::vector<endpoint> interleaved(std::vector<endpoint> all) {
  const auto is_v6 = [](const endpoint& one) { return one.address.find(':') != std::string::npos; };
  const bool first = !all.empty() && is_v6(all.front());
  std::vector<endpoint> like_first;
  std::vector<endpoint> others;
  for (endpoint& one : all) (is_v6(one) == first ? like_first : others).push_back(std::move(one));
  std::vector<endpoint> out;
  for (std::size_t at = 0; at < std::max(like_first.size(), others.size()); ++at) {
    if (at < like_first.size()) out.push_back(std::move(like_first[at]));
    if (at < others.size()) out.push_back(std::move(others[at]));
  }
  return out;
}

// Of the tries of one call.
struct tries {
  network& on;
  std::source_location where;
  std::optional<tcp_stream> winner{};
  std::vector<failure> failed{};
  std::size_t under_way = 0;
  event news{"an answer to one of the connects"};
};

task<> attempt(endpoint to, tries& all) {
  struct counted {
    explicit counted(tries& in) noexcept : all(in) { ++all.under_way; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() {
      --all.under_way;
      all.news.set();
    }
    tries& all;
  };
  const counted here(all);
  outcome<tcp_stream> how = co_await as_outcome(all.on.connect(std::move(to), all.where));
  if (how.succeeded()) {
    if (!all.winner) all.winner.emplace(how.take());  // two may answer in the same turn
    co_return;
  }
  if (how.failed_with().find<network_error>() == nullptr) co_await fail(how.failure());
  all.failed.push_back(how.failure());
}

task<> wait_for(event& what) { co_await what.wait(); }

}  // namespace

task<tcp_stream> connect(std::string host, std::uint16_t port, connect_options options,
                         std::source_location where) {
  if (options.attempt_delay <= duration::zero())
    throw misuse_error("io::connect: attempt_delay must be more than zero", where);
  network& on = current_network();
  const std::vector<endpoint> addresses = interleaved(co_await resolve(host, port, where));
  if (addresses.empty())
    throw misuse_error("connect: the network that looks up names gave no address for '" + host +
                       "', and no error");
  if (addresses.size() == 1) co_return co_await or_fail(on.connect(addresses.front(), where));
  tries all{.on = on, .where = where};
  co_await with_group([&](group& tasks) -> task<> {
    auto next = addresses.begin();
    while (!all.winner && (next != addresses.end() || all.under_way != 0)) {
      all.news.reset();
      duration limit = duration::max();
      if (next != addresses.end()) {
        tasks.spawn(attempt, *next++, std::ref(all));
        if (next != addresses.end()) limit = options.attempt_delay;
      }
      static_cast<void>(co_await move_on_after(limit, wait_for(all.news)));
    }
    tasks.cancel();
  });
  if (all.winner) co_return std::move(*all.winner);
  failure first = all.failed.front();
  for (std::size_t at = 1; at != all.failed.size(); ++at) first.attach(all.failed[at]);
  first.note("none of the " + std::to_string(addresses.size()) + " addresses of '" + host +
             "' could be connected to");
  co_await fail(std::move(first));
  __builtin_unreachable();
}

}  // namespace belay::io
