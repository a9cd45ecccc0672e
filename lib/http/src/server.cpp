// SPDX-License-Identifier: Apache-2.0
// The server: one task for each connection, which reads, judges, hands over, answers, and starts again.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/deadline.hpp>
#include <belay/http/problem.hpp>
#include <belay/http/server.hpp>

#include <array>
#include <list>
#include <utility>

namespace belay::http {
namespace {

using parsing = request_parser::state;

// What a connection is busy with, for `drain` and the statistics.
enum class phase : unsigned char {
  idle,       // no byte of a request is here
  reading,    // part of a request is here
  answering,  // in the handler, or writing
  leaving,    // the last answer is out; waiting for the client to take it
};

struct connection {
  connection(io::tcp_stream accepted, parser_options limits) : stream(std::move(accepted)), parser(limits) {}

  io::tcp_stream stream;
  request_parser parser;
  phase now = phase::idle;
  bool peer_ended = false;
  bool dismissed = false;  // closed by us: what was read in the same turn must not be served
  std::array<char, 8192> buffer;
};

// Counts itself as long as it lives.
struct counted {
  explicit counted(std::size_t& with) noexcept : counter(with) { ++counter; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --counter; }
  std::size_t& counter;
};

response internal_error(std::string_view path) {
  return to_response({.status = status::internal_server_error,
                      .code = "internal",
                      .detail = "internal error",
                      .instance = std::string(path)});
}

response default_refusal(const protocol_error& why, const request& head) {
  return to_response({.status = why.status, .code = why.code, .detail = why.detail, .instance = head.path});
}

response problem_response(const problem_error& why, std::string_view path) {
  problem what = why.problem();
  if (what.instance.empty()) what.instance = path;
  response out = to_response(what);
  for (const header& field : why.headers()) out.headers.add(field.name, field.value);
  return out;
}

response default_failure(const exchange& of, const failure& why) {
  const auto* known = detail::exception_as<problem_error>(why.exception());
  if (known == nullptr) {
    detail::report_lost(why);
    return internal_error(of.request.path);
  }
  why.observe();
  return problem_response(*known, of.request.path);
}

bool waiting_helps(const std::error_code& reason) noexcept {
  return reason == std::errc::too_many_files_open || reason == std::errc::too_many_files_open_in_system ||
         reason == std::errc::no_buffer_space || reason == std::errc::not_enough_memory;
}

bool is_network_error(const failure& what) noexcept {
  return detail::exception_as<io::network_error>(what.exception()) != nullptr;
}

}  // namespace

struct server::state {
  state(handler serve_request, server_hooks given, server_options limits)
      : handle(std::move(serve_request)), hooks(std::move(given)), options(std::move(limits)) {}

  // constant after construction
  handler handle;
  server_hooks hooks;
  server_options options;

  // loop thread only
  std::list<connection> connections;  // those within max_connections
  std::size_t rejecting = 0;          // connections being told that there are too many
  std::size_t active = 0;
  bool draining = false;
  bool too_late = false;  // draining, and `drain_read_timeout` has passed
  event empty;            // draining, and the last connection has gone
  bool serving = false;
  io::tcp_listener* listener = nullptr;  // while accepting
  group* tasks = nullptr;                // while serving
  server_statistics totals;

  // The end of a request, told once whatever happens to the connection's task.
  class ending {
   public:
    ending(state& owner, exchange& of) noexcept : owner_(owner), of_(of) {}
    ending(const ending&) = delete;
    ending& operator=(const ending&) = delete;
    ~ending() {
      if (!told_) tell(nullptr, delivery::stopped);
    }
    void tell(const response* what, delivery how) noexcept {
      told_ = true;
      if (how == delivery::disconnected || how == delivery::lost) ++owner_.totals.disconnects;
      if (owner_.hooks.ended) owner_.hooks.ended(of_, what, how);
    }

   private:
    state& owner_;
    exchange& of_;
    bool told_ = false;
  };

  // Calls a hook that makes a response; one that throws is answered with a 500 and reported.
  template <class F>
  static auto guarded(std::string_view path, F call) -> decltype(call()) {
    try {
      return call();
    } catch (const problem_error& e) {
      return problem_response(e, path);
    } catch (...) {
      detail::report_lost(current_failure());
      return internal_error(path);
    }
  }

  [[nodiscard]] wire_options wire(const request& of, bool keep) const {
    wire_options out;
    out.request_method = of.method;
    out.request_version = of.version;
    out.connection = keep ? wire_options::connection::keep_alive : wire_options::connection::close;
    out.date = options.wall_clock ? options.wall_clock() : std::chrono::system_clock::now();
    return out;
  }

  // False when the client did not take it in time. Errors: `network_error`.
  task<bool> write(connection& c, std::string_view bytes) {
    co_return (co_await move_on_after(options.write_timeout, c.stream.write(bytes))).has_value();
  }

  task<bool> write(connection& c, const response& what, wire_options how) {
    std::string bytes = serialise_head(what, how);
    if (!sends_body(what, how)) co_return co_await write(c, bytes);
    if (what.body.size() <= 64 * 1024) {  // one packet rather than two
      bytes += what.body;
      co_return co_await write(c, bytes);
    }
    co_return co_await write(c, bytes) && co_await write(c, what.body);
  }

  // Bytes from the client into the parser. Nothing: the limit has passed. False: the client has ended its
  // side.
  task<std::optional<bool>> read(connection& c, duration limit) {
    const std::optional<std::size_t> count = co_await move_on_after(limit, c.stream.read_some(c.buffer));
    if (!count) co_return std::nullopt;
    if (*count == 0 || c.dismissed) co_return false;
    c.parser.feed({c.buffer.data(), *count});
    co_return true;
  }

  // After the last answer: ends our side, then reads what the client still sends until it closes. Closing
  // with unread bytes would reset the connection, and the answer might be lost on its way.
  task<> leave(connection& c) {
    c.now = phase::leaving;
    c.stream.end_writing();
    static_cast<void>(co_await move_on_after(options.linger_timeout, drop_input(c)));
    c.stream.close();
  }
  static task<> drop_input(connection& c) {
    try {
      while (co_await c.stream.read_some(c.buffer) != 0) {
      }
    } catch (const io::network_error&) {
      co_return;  // it has gone without reading the rest
    }
  }

  task<> refuse(connection& c, protocol_error why) {
    ++totals.refusals;
    c.now = phase::answering;
    const request& head = c.parser.head();
    const response answer = guarded(head.path, [&] {
      return hooks.refused ? hooks.refused(why, head, c.stream.peer()) : default_refusal(why, head);
    });
    if (co_await write(c, answer, wire(head, false))) co_await leave(c);
  }

  enum class step : unsigned char { go_on, over };

  // Reads until a head is complete, or refuses, or gives up.
  task<step> read_head(connection& c) {
    std::optional<time_point> deadline;
    while (c.parser.current() == parsing::reading_head) {
      const bool started = c.parser.started();
      c.now = started ? phase::reading : phase::idle;
      if (draining && (!started || too_late)) co_return step::over;
      if (started && !deadline) deadline = saturating_add(now(), options.head_timeout);
      const duration limit = started ? *deadline - now() : options.idle_timeout;
      const std::optional<bool> more = co_await read(c, limit);
      if (!more && started) {
        co_await refuse(
            c, {status::request_timeout, "request_timeout", "the head of the request took too long"});
        co_return step::over;
      }
      if (!more || !*more) {
        if (started && !c.dismissed) ++totals.disconnects;
        co_return step::over;
      }
    }
    c.now = phase::reading;
    if (c.parser.current() == parsing::failed) {
      co_await refuse(c, c.parser.error());
      co_return step::over;
    }
    co_return step::go_on;
  }

  // Lets the owner judge the head, then reads the body.
  task<step> read_body(connection& c, bool& answered) {
    request_parser& parser = c.parser;
    if (hooks.judge_head) {
      std::optional<response> early = guarded(parser.head().path, [&]() -> std::optional<response> {
        return hooks.judge_head(parser.head(), c.stream.peer());
      });
      if (early) {
        answered = true;
        co_return co_await answer_early(c, std::move(*early));
      }
    }
    if (parser.accept_body() == parsing::reading_body && parser.expects_continue() &&
        parser.buffered() == 0) {
      if (!co_await write(c, continue_response)) co_return step::over;
    }
    co_return co_await finish_body(c);
  }

  task<step> finish_body(connection& c) {
    const time_point deadline = saturating_add(now(), options.body_timeout);
    while (c.parser.current() == parsing::reading_body) {
      const std::optional<bool> more = co_await read(c, deadline - now());
      if (!more) {
        co_await refuse(
            c, {status::request_timeout, "request_timeout", "the body of the request took too long"});
        co_return step::over;
      }
      if (!*more) {
        if (!c.dismissed) ++totals.disconnects;
        co_return step::over;
      }
    }
    if (c.parser.current() == parsing::failed) {
      co_await refuse(c, c.parser.error());
      co_return step::over;
    }
    co_return step::go_on;
  }

  // An answer before the body was read: the body is read and dropped, or the connection ends.
  task<step> answer_early(connection& c, response answer) {
    ++totals.early_answers;
    c.now = phase::answering;
    request_parser& parser = c.parser;
    // A client that waits for "100 Continue" may send the body or not: what comes next could not be told.
    const bool can_skip =
        !parser.has_body() || (!parser.expects_continue() && parser.announced_length() &&
                               *parser.announced_length() <= options.early_answer_drain_limit);
    const bool keep = can_skip && keeps_alive(c, answer);
    if (!co_await write(c, answer, wire(parser.head(), keep))) co_return step::over;
    if (!keep) {
      co_await leave(c);
      co_return step::over;
    }
    c.now = phase::reading;
    if (parser.accept_body(request_parser::body_mode::discard) == parsing::failed) {
      co_await leave(c);
      co_return step::over;
    }
    const time_point deadline = saturating_add(now(), options.body_timeout);
    while (parser.current() == parsing::reading_body) {
      const std::optional<bool> more = co_await read(c, deadline - now());
      if (!more || !*more) co_return step::over;
    }
    if (parser.current() == parsing::failed) {
      co_await leave(c);  // the request is answered already
      co_return step::over;
    }
    co_return step::go_on;
  }

  [[nodiscard]] bool keeps_alive(const connection& c, const response& answer) const noexcept {
    return !draining && !c.peer_ended && c.parser.keep_alive() &&
           !answer.headers.has_token("Connection", "close");
  }

  // Notices that the client leaves while the handler works; keeps what it sends meanwhile for the next
  // request.
  task<> watch(connection& c, group& work) {
    while (c.parser.buffered() < options.read_ahead_limit) {
      std::size_t count = 0;
      try {
        count = co_await c.stream.read_some(c.buffer);
      } catch (const io::network_error&) {
        count = 0;  // reset or ended: gone either way
      }
      if (count == 0) {
        c.peer_ended = true;
        if (options.disconnect == server_options::on_disconnect::cancel)
          work.cancel(cancel_reason::disconnect);
        co_return;
      }
      c.parser.feed({c.buffer.data(), count});
    }
  }

  // A coroutine of its own, so that a handler that throws before it is one fails like any other.
  task<response> call_handler(exchange& work) { co_return co_await or_fail(handle(work)); }

  task<step> serve_request(connection& c) {
    const counted busy(active);
    ++totals.requests;
    c.now = phase::answering;
    exchange work{c.parser.take(), c.stream.peer(), now()};
    ending end(*this, work);
    std::optional<response> answer;
    co_await with_group([&](group& tasks_of_request) -> task<> {
      auto watcher = tasks_of_request.spawn(&state::watch, this, std::ref(c), std::ref(tasks_of_request));
      outcome<response> how = co_await as_outcome(call_handler(work));
      watcher.cancel();
      if (how.failed()) {
        const failure why = how.failed_with();
        answer = guarded(work.request.path,
                         [&] { return hooks.failed ? hooks.failed(work, why) : default_failure(work, why); });
      } else {
        answer = how.take();
      }
    });
    if (!answer) {  // cut short by the watcher
      end.tell(nullptr, delivery::disconnected);
      co_return step::over;
    }
    if (to_int(answer->status) < 200 || to_int(answer->status) > 599) {
      detail::report_lost(failure::of(std::make_exception_ptr(
          misuse_error("http: the handler for " + work.request.path + " gave the status " +
                       std::to_string(to_int(answer->status))))));
      answer = internal_error(work.request.path);
    }
    const bool keep = keeps_alive(c, *answer);
    bool sent = false;
    try {
      sent = co_await write(c, *answer, wire(work.request, keep));
    } catch (const io::network_error&) {
      sent = false;  // the client's affair: told below
    }
    end.tell(&*answer, sent ? delivery::sent : delivery::lost);
    if (!sent) co_return step::over;
    if (keep) co_return step::go_on;
    // Nothing is known to be unread when the client awaited its answer; otherwise wait, as after a refusal.
    if (c.parser.buffered() != 0) {
      co_await leave(c);
    } else {
      c.stream.end_writing();
    }
    co_return step::over;
  }

  task<> converse(connection& c) {
    while (true) {
      if (co_await read_head(c) == step::over) co_return;
      bool answered = false;
      if (co_await read_body(c, answered) == step::over) co_return;
      if (!answered && co_await serve_request(c) == step::over) co_return;
      c.parser.next();
    }
  }

  // Never fails: what goes wrong on one connection must not cancel the others.
  task<> run_connection(std::list<connection>::iterator at) {
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
      if (!is_network_error(why)) {
        detail::report_lost(why);
        co_return;
      }
      if (!at->dismissed) ++totals.disconnects;
      why.observe();
    }
  }

  // One connection too many: 503 at once, unread.
  task<> reject(std::shared_ptr<connection> c) {
    const counted busy(rejecting);
    const outcome<void> how = co_await as_outcome(tell_overloaded(*c));
    if (!how.failed()) co_return;
    if (is_network_error(how.failed_with())) {
      how.failed_with().observe();
    } else {
      detail::report_lost(how.failed_with());
    }
  }
  task<> tell_overloaded(connection& c) {
    const protocol_error why{status::service_unavailable, "overloaded", "there are too many connections"};
    const request unread;
    response answer = guarded("/", [&] {
      return hooks.refused ? hooks.refused(why, unread, c.stream.peer()) : default_refusal(why, unread);
    });
    answer.headers.set("Retry-After", "1");
    if (co_await write(c, answer, wire(unread, false))) co_await leave(c);
  }

  task<> accept_all(io::tcp_listener& from, group& into) {
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
        into.spawn(&state::run_connection, this, connections.begin());
      } else {
        ++totals.rejected;
        // Telling them must not cost what the limit protects: beyond a few, they are just closed.
        if (rejecting < 64)
          into.spawn(&state::reject, this,
                     std::make_shared<connection>(std::move(*accepted), options.limits));
      }
    }
  }

  // Clients that began to send a request before the drain get a little time to complete it.
  task<> dismiss_the_slow() {
    static_cast<void>(co_await move_on_after(options.drain_read_timeout, wait_until_empty()));
    too_late = true;
    for (connection& c : connections) {
      if (c.now == phase::reading || c.now == phase::leaving) dismiss(c);
    }
  }
  task<> wait_until_empty() {
    if (!connections.empty()) co_await empty.wait();
  }

  static void dismiss(connection& c) noexcept {
    c.dismissed = true;
    c.stream.close();
  }

  void drain() {
    if (std::exchange(draining, true)) return;
    if (listener != nullptr) listener->close();
    for (connection& c : connections) {
      if (c.now == phase::idle) dismiss(c);
    }
    if (tasks != nullptr) tasks->spawn(&state::dismiss_the_slow, this);
  }
};

server::server(handler serve_request, server_hooks hooks, server_options options)
    : state_(std::make_unique<state>(std::move(serve_request), std::move(hooks), std::move(options))) {
  const server_options& o = state_->options;
  if (!state_->handle) throw misuse_error("server: the handler is empty");
  if (o.max_connections == 0) throw misuse_error("server_options: max_connections must be at least 1");
  for (const duration limit : {o.head_timeout, o.body_timeout, o.write_timeout, o.idle_timeout}) {
    if (limit <= duration::zero()) throw misuse_error("server_options: timeouts must be positive");
  }
}
server::~server() = default;

task<> server::serve(io::tcp_listener listener) {
  state& s = *state_;
  if (std::exchange(s.serving, true)) throw misuse_error("server::serve: called twice");
  struct registration {
    state& of;
    ~registration() {
      of.listener = nullptr;
      of.tasks = nullptr;
      of.connections.clear();  // of those cancelled before their first step
    }
  };
  const registration registered{s};
  if (s.draining) co_return;
  s.listener = &listener;
  co_await with_group([&](group& tasks) -> task<> {
    s.tasks = &tasks;
    co_await s.accept_all(listener, tasks);
  });
}

void server::drain() noexcept { state_->drain(); }
bool server::draining() const noexcept { return state_->draining; }

server_statistics server::statistics() const noexcept {
  server_statistics out = state_->totals;
  out.connections = state_->connections.size() + state_->rejecting;
  for (const connection& c : state_->connections) {
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
