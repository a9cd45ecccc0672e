// SPDX-License-Identifier: Apache-2.0
// The handler of a request, its answer, and the client that leaves meanwhile.

#include <belay/core/detail/first_wait.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include "server_state.hpp"

namespace belay::http {

using detail::phase;

namespace {

// The end of a request, told once whatever happens to the connection's task.
class ending {
 public:
  ending(const server_hooks& hooks, server_statistics& totals, exchange& of) noexcept
      : hooks_(hooks), totals_(totals), of_(of) {}
  ending(const ending&) = delete;
  ending& operator=(const ending&) = delete;
  ~ending() {
    if (!told_) tell(nullptr, delivery::stopped);
  }
  void tell(const response* what, delivery how) noexcept {
    told_ = true;
    if (how == delivery::disconnected || how == delivery::lost) ++totals_.disconnects;
    if (hooks_.ended) hooks_.ended(of_, what, how);
  }

 private:
  const server_hooks& hooks_;
  server_statistics& totals_;
  exchange& of_;
  bool told_ = false;
};

response default_failure(const exchange& of, const failure& why) {
  const auto* known = belay::detail::exception_as<problem_error>(why.exception());
  if (known == nullptr) {
    belay::detail::report_lost(why);
    return detail::internal_error(of.request.path);
  }
  why.observe();
  return detail::problem_response(*known, of.request.path);
}

}  // namespace

wire_options server::state::wire(const request& of, bool keep) const {
  wire_options out;
  out.request_method = of.method;
  out.request_version = of.version;
  out.connection = keep ? wire_options::connection::keep_alive : wire_options::connection::close;
  out.date = options.wall_clock ? options.wall_clock() : std::chrono::system_clock::now();
  return out;
}

task<bool> server::state::write(connection& c, std::string_view bytes) {
  // What the socket takes at once needs no limit, and no turn; but a client that sends its requests ahead must not keep others waiting.
  constexpr unsigned most_in_a_row = 32;
  if (++c.writes % most_in_a_row == 0) co_await yield();
  bytes.remove_prefix(c.stream.try_write(bytes));
  if (bytes.empty()) co_return true;
  co_return (co_await move_on_after(options.write_timeout, c.stream.write(bytes))).has_value();
}

task<bool> server::state::write(connection& c, const response& what, wire_options how) {
  std::string bytes = serialise_head(what, how);
  if (!sends_body(what, how)) co_return co_await write(c, bytes);
  if (what.body.size() <= 64 * 1024) {  // one packet rather than two
    bytes += what.body;
    co_return co_await write(c, bytes);
  }
  co_return co_await write(c, bytes) && co_await write(c, what.body);
}

bool server::state::keeps_alive(const connection& c, const response& answer) const noexcept {
  return !draining && !c.peer_ended && c.parser.keep_alive() &&
         (options.requests_per_connection == 0 || c.requests < options.requests_per_connection) &&
         !answer.headers.has_token("Connection", "close");
}

task<> server::state::watch(connection& c, group& work, incoming_body* body) {
  while (true) {
    if (is_full(c)) {
      if (body == nullptr) co_return;
      body->room.reset();
      co_await body->room.wait();
      continue;
    }
    std::size_t count = 0;
    try {
      count = co_await c.stream.read_some(c.buffer);
    } catch (const io::network_error&) {
      count = 0;  // reset or ended: gone either way
    }
    if (count == 0) {
      c.peer_ended = true;
      if (options.disconnect == server_options::on_disconnect::cancel) {
        work.cancel(cancel_reason::disconnect);
      } else if (body != nullptr) {
        body->arrived.set();
      }
      co_return;
    }
    c.parser.feed({c.buffer.data(), count});
    if (body != nullptr) body->arrived.set();
  }
}

void server::state::lookout::begin() noexcept {
  if (begun_) return;
  begun_ = true;
  try {
    watcher_ = work_.spawn(&state::watch, &of_, std::ref(at_), std::ref(work_), body_);
  } catch (...) {
    // Without memory for it, nobody notices that the client leaves before the answer is written.
    belay::detail::report_lost(current_failure());
  }
}

task<response> server::state::answer_to(exchange& work, duration limit, lookout& for_client) {
  outcome<std::optional<response>> how;
  failure why;
  try {
    how = co_await belay::detail::as_outcome_or_wait(move_on_after(limit, handle(work)),
                                                     [&for_client]() noexcept { for_client.begin(); });
  } catch (...) {
    why = current_failure();  // it threw before it was a task
  }
  if (why) {
    // told below
  } else if (how.failed()) {
    why = how.failed_with();
  } else if (how.value()) {
    response answer = std::move(*how.value());
    if (is_final(answer)) co_return answer;
    why = failure::of(
        std::make_exception_ptr(misuse_error("http: the handler for " + work.request.path +
                                             " gave the status " + std::to_string(to_int(answer.status)))));
    belay::detail::report_lost(why);
    co_return detail::internal_error(work.request.path);
  } else {
    ++totals.overruns;
    headers again;
    again.add("Retry-After", "1");
    why = failure::of(std::make_exception_ptr(problem_error({.status = status::service_unavailable,
                                                             .code = "handler_timeout",
                                                             .detail = "the request took too long"},
                                                            std::move(again))));
  }
  response answer = guarded(work.request.path, [&]() -> response {
    return hooks.failed ? hooks.failed(work, why) : default_failure(work, why);
  });
  if (is_final(answer)) co_return answer;
  belay::detail::report_lost(failure::of(std::make_exception_ptr(
      misuse_error("server_hooks: `failed` gave the status " + std::to_string(to_int(answer.status)) +
                   " for " + work.request.path))));
  co_return detail::internal_error(work.request.path);
}

auto server::state::serve_request(connection& c) -> task<step> {
  const detail::counted busy(active);
  ++totals.requests;
  c.now = phase::answering;
  const bool streams_body = c.plan.how == body_plan::way::streamed;
  incoming_body body(*this, c);
  body.continue_due = streams_body && c.parser.expects_continue() && c.parser.body_received() == 0;
  exchange work{c.parser.take(), c.stream.peer(), belay::now(), &drain_began, streams_body ? &body : nullptr};
  ending end(hooks, totals, work);
  std::optional<response> answer;
  std::optional<delivery> streamed;
  bool keep = false;
  const outcome<void> both = co_await as_outcome(with_group([&](group& tasks_of_request) -> task<> {
    lookout for_client(*this, c, tasks_of_request, streams_body ? &body : nullptr);
    answer = co_await answer_to(work, streams_body ? duration::max() : options.request_timeout, for_client);
    body.answered = true;
    // A stream may still read the body; but not one that the client holds back: with the answer it has no reason to send it.
    keep = keeps_alive(c, *answer) && !body.refused &&
           ((answer->stream && !body.continue_due) || can_skip_rest(c, body.continue_due));
    if (answer->stream) {
      for_client.begin();  // its client may leave, too
      wire_options options_of_answer = wire(work.request, keep);
      if (framing_of(*answer, options_of_answer) == framing::until_close) {
        keep = false;
        options_of_answer.connection = wire_options::connection::close;
      }
      streamed = delivery::lost;  // unless it comes to an end
      streamed = co_await send_stream(c, work, *answer, options_of_answer);
      keep = keep && !body.refused && can_skip_rest(c, body.continue_due);
    }
    for_client.end();
  }));
  if (both.failed()) {  // of a cleanup, after the client had left
    if (streamed) {
      tell_body_failed(work, both.failed_with());
    } else {
      belay::detail::report_lost(both.failed_with());
    }
  }
  if (!answer) {  // cut short by the watcher
    end.tell(nullptr, c.peer_ended ? delivery::disconnected : delivery::stopped);
    co_return step::over;
  }
  delivery how = streamed.value_or(delivery::lost);
  if (!streamed) {
    try {
      if (co_await write(c, *answer, wire(work.request, keep))) how = delivery::sent;
    } catch (const io::network_error&) {
      how = delivery::lost;  // the client's affair: told below
    }
  }
  end.tell(&*answer, how);
  if (how != delivery::sent) {
    c.stream.close();
    co_return step::over;
  }
  co_return co_await finish_input(c, keep);
}

}  // namespace belay::http
