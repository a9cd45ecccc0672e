// SPDX-License-Identifier: Apache-2.0
// Accepting, draining, and the life of a connection.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/deadline.hpp>

#include <algorithm>
#include <cerrno>

#include "server_state.hpp"

namespace belay::http {
namespace detail {

response internal_error(std::string_view path) {
  return to_response({.status = status::internal_server_error,
                      .code = "internal",
                      .detail = "internal error",
                      .instance = std::string(path)});
}

response problem_response(const problem_error& why, std::string_view path) {
  problem what = why.problem();
  if (what.instance.empty()) what.instance = path;
  response out = to_response(what);
  for (const header& field : why.headers()) out.headers.add(field.name, field.value);
  return out;
}

bool is_network_error(const failure& what) noexcept {
  return belay::detail::exception_as<io::network_error>(what.exception()) != nullptr;
}

}  // namespace detail

namespace {

// Resources run out and come back; the rest are errors of the connection that was to be accepted, of its network or of a firewall, not
// of the listener: accept(2).
bool waiting_helps(const std::error_code& reason) noexcept {
  using enum std::errc;
  for (const std::errc passing :
       {too_many_files_open, too_many_files_open_in_system, no_buffer_space, not_enough_memory, network_down,
        network_unreachable, host_unreachable, protocol_error, no_protocol_option, operation_not_permitted}) {
    if (reason == passing) return true;
  }
  return reason == std::error_code(EHOSTDOWN, std::system_category()) ||
         reason == std::error_code(ENONET, std::system_category());
}

}  // namespace

using detail::phase;

task<> server::state::converse(connection& c) {
  while (true) {
    if (co_await read_head(c) == step::over) co_return;
    bool answered = false;
    if (co_await read_body(c, answered) == step::over) co_return;
    if (!answered && co_await serve_request(c) == step::over) co_return;
    c.parser.next();
  }
}

// Never fails: what goes wrong on one connection must not cancel the others.
task<> server::state::run_connection(std::list<connection>::iterator at) {
  struct removal {
    state& of;
    std::list<connection>::iterator what;
    ~removal() {
      of.connections.erase(what);
      if (of.draining && of.connections.empty()) of.empty.set();
    }
  };
  const removal gone{*this, at};
  const outcome<void> how = co_await as_outcome(converse(*at));
  if (how.failed()) {
    const failure why = how.failed_with();
    if (!detail::is_network_error(why)) {
      belay::detail::report_lost(why);
      co_return;
    }
    if (!at->dismissed) ++totals.disconnects;
    why.observe();
  }
}

task<> server::state::reject(std::shared_ptr<connection> c) {
  const detail::counted busy(rejecting);
  const outcome<void> how = co_await as_outcome(tell_overloaded(*c));
  if (!how.failed()) co_return;
  if (detail::is_network_error(how.failed_with())) {
    how.failed_with().observe();
  } else {
    belay::detail::report_lost(how.failed_with());
  }
}

task<> server::state::accept_all(io::tcp_listener& from, group& into) {
  while (!draining) {
    std::optional<io::tcp_stream> accepted;
    bool wait = false;
    try {
      accepted.emplace(co_await from.accept());
    } catch (const io::network_error& e) {
      if (draining) co_return;  // closed by `drain`
      if (e.reason() != std::errc::connection_aborted) {
        if (!waiting_helps(e.reason())) throw;
        ++totals.accept_failures;
        if (hooks.accept_failed) hooks.accept_failed(current_failure());
        wait = true;
      }
    }
    if (wait) co_await sleep_for(options.accept_backoff);
    if (!accepted) continue;
    ++totals.accepted;
    if (connections.size() < options.max_connections) {
      connections.emplace_front(std::move(*accepted), options.limits);
      try {
        into.spawn(&state::run_connection, this, connections.begin());
      } catch (...) {  // no memory
        connections.pop_front();
        throw;
      }
    } else {
      ++totals.rejected;
      // Telling them must not cost what the limit protects: beyond a few, they are just closed.
      if (rejecting < 64)
        into.spawn(&state::reject, this, std::make_shared<connection>(std::move(*accepted), options.limits));
    }
  }
}

task<> server::state::dismiss_the_slow() {
  co_await drain_began.wait();
  static_cast<void>(co_await move_on_after(options.drain_read_timeout, wait_until_empty()));
  too_late = true;
  for (connection& c : connections) {
    if (c.now == phase::reading || c.now == phase::leaving) dismiss(c);
  }
}
task<> server::state::wait_until_empty() {
  if (!connections.empty()) co_await empty.wait();
}

void server::state::dismiss(connection& c) noexcept {
  c.dismissed = true;
  c.stream.close();
}

void server::state::drain() {
  if (std::exchange(draining, true)) return;
  drain_began.set();
  if (listeners != nullptr) {
    for (io::tcp_listener& one : *listeners) one.close();
  }
  for (connection& c : connections) {
    if (c.now == phase::idle) dismiss(c);
    if (c.out != nullptr && c.out->drain == stream_options::on_drain::end) c.out->end();
  }
}

server::server(handler serve_request, server_hooks hooks, server_options options)
    : state_(std::make_unique<state>(std::move(serve_request), std::move(hooks), std::move(options))) {
  const server_options& o = state_->options;
  if (!state_->handle) throw misuse_error("server: the handler is empty");
  if (o.max_connections == 0) throw misuse_error("server_options: max_connections must be at least 1");
  for (const duration limit : {o.head_timeout, o.body_timeout, o.write_timeout, o.first_byte_timeout,
                               o.idle_timeout, o.request_timeout}) {
    if (limit <= duration::zero()) throw misuse_error("server_options: timeouts must be positive");
  }
}
server::~server() = default;

task<> server::serve(io::tcp_listener listener) {
  std::vector<io::tcp_listener> one;
  one.push_back(std::move(listener));
  return serve(std::move(one));
}

task<> server::serve(std::vector<io::tcp_listener> all) {
  state& s = *state_;
  if (all.empty()) throw misuse_error("server::serve: there is no listener");
  if (std::exchange(s.serving, true)) throw misuse_error("server::serve: called twice");
  struct registration {
    state& of;
    ~registration() {
      of.listeners = nullptr;
      of.connections.clear();  // of those cancelled before their first step
    }
  };
  const registration registered{s};
  if (s.draining) co_return;
  s.listeners = &all;
  co_await with_group([&](group& tasks) -> task<> {
    // Here already: when it drains, memory may be short.
    tasks.spawn(&state::dismiss_the_slow, &s);
    // Each for itself: what happens on one is no reason not to accept on the others, until it is an end.
    for (io::tcp_listener& next : std::span(all).subspan(1))
      tasks.spawn(&state::accept_all, &s, std::ref(next), std::ref(tasks));
    co_await s.accept_all(all.front(), tasks);
  });
}

void server::drain() noexcept { state_->drain(); }
bool server::draining() const noexcept { return state_->draining; }

server_statistics server::statistics() const noexcept {
  server_statistics out = state_->totals;
  out.connections = state_->connections.size() + state_->rejecting;
  for (const detail::connection& c : state_->connections) {
    if (c.now == phase::idle) ++out.idle_connections;
  }
  out.active_requests = state_->active;
  return out;
}

task<response> with_client_deadline(const exchange& of, task<response> op) {
  const auto wanted = read_deadline(of.request.headers);
  if (!wanted) co_return co_await std::move(op);
  const duration left = saturating_add(of.arrived, *wanted) - now();
  std::optional<response> answer = co_await move_on_after(left, std::move(op));
  if (!answer) {
    throw problem_error(status::gateway_timeout, "deadline_exceeded",
                        "the client's deadline of " + std::to_string(wanted->count()) + " ms has passed");
  }
  co_return std::move(*answer);
}

}  // namespace belay::http
