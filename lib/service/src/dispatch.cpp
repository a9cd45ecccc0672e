// SPDX-License-Identifier: Apache-2.0
// From a request to a response: route, deadline, middleware, dependencies, handler, and what comes after it.

#include <belay/core/exit_stack.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/deadline.hpp>

#include <algorithm>

#include "app_state.hpp"

namespace belay::service {

namespace {

bool takes_a_body(http::method verb) noexcept {
  return verb == http::method::post || verb == http::method::put || verb == http::method::patch;
}

bool needs_json(const detail::bound_handler& of, const http::request& head) noexcept {
  using body = detail::bound_handler::body;
  switch (of.takes) {
    case body::by_method: return takes_a_body(head.method);
    case body::none: return false;
    case body::json: return true;
    case body::optional_json: return head.headers.contains("Content-Type");
  }
  __builtin_unreachable();
}

// What the server's hooks are told of a request that is cut short, or whose stream breaks, is to have the trace of its handler. It is kept
// beside the request: the stream of an answer may have views into the fields.
struct trace_for_hooks {
  trace_for_hooks(http::exchange& of, std::string& trace) noexcept : of_(of), trace_(trace) {}
  trace_for_hooks(const trace_for_hooks&) = delete;
  trace_for_hooks& operator=(const trace_for_hooks&) = delete;
  ~trace_for_hooks() {
    if (needed) of_.traceparent = std::move(trace_);
  }
  bool needed = true;

 private:
  http::exchange& of_;
  std::string& trace_;
};

http::trace_context trace_of(const http::exchange& of, const http::random_source& random) {
  if (of.traceparent.empty()) return http::continue_trace(of.request.headers, random);
  http::headers worked_under;
  worked_under.add("traceparent", of.traceparent);
  return http::continue_trace(worked_under, random);
}

// None when it can be sent.
failure wrong_status(const http::response& given, const http::request& to) {
  const int status = http::to_int(given.status);
  if (status >= 200 && status <= 599) return {};
  return failure::of(
      std::make_exception_ptr(misuse_error("the handler for " + to.path + " gave the status " +
                                           std::to_string(status) + "; it must be from 200 to 599")));
}

}  // namespace

telemetry::logger detail::bind_log(const telemetry::logger& log, const http::request& head,
                                   const http::trace_context& trace) {
  const std::string_view id = http::request_id(head.headers);
  if (id.empty()) return log.with({{"trace_id", http::to_string(trace.trace)}});
  return log.with({{"trace_id", http::to_string(trace.trace)}, {"request_id", id}});
}

detail::served::served(app::state& owner, http::exchange& asked_by, http::route_match found,
                       const http::trace_context& of, const telemetry::logger& log)
    : from(&asked_by),
      match(std::move(found)),
      trace(of),
      asked(asked_by, match, trace, log, owner.background, owner.afterwards),
      context{&owner, this, &owner.registry.all[match.route]} {
  request_access::set_context(asked, &context);
}

std::optional<http::response> app::state::judge_head(const http::request& head) {
  const auto trace = [&] { return http::continue_trace(head.headers, random); };
  const http::route_match match = registry.table.find(head.method, head.path);
  switch (match.what) {
    case http::route_match::outcome::not_found:
      return refuse(
          {.status = http::status::not_found, .code = "not_found", .detail = "there is nothing at this path"},
          {}, head, trace(), nullptr);
    case http::route_match::outcome::method_not_allowed: {
      http::headers allow;
      allow.add("Allow", match.allow);
      return refuse({.status = http::status::method_not_allowed,
                     .code = "method_not_allowed",
                     .detail = "this method is not possible here; possible are " + match.allow},
                    allow, head, trace(), nullptr);
    }
    case http::route_match::outcome::options: {
      http::response answer = http::response::empty();
      answer.headers.add("Allow", match.allow);
      answer.headers.set("traceparent", trace().to_traceparent());
      if (const std::string_view id = http::request_id(head.headers); !id.empty())
        answer.headers.set("X-Request-Id", id);
      return answer;
    }
    case http::route_match::outcome::found: break;
  }
  const detail::route_record& route = registry.all[match.route];
  if (!route.options.streams_body && needs_json(route.bound, head)) {
    try {
      http::require_json(head);
    } catch (const http::problem_error& refused) {
      return refuse(refused.problem(), refused.headers(), head, trace(), nullptr);
    }
  }
  return std::nullopt;
}

// Gives what is to stay open after the response to a task of the program.
task<> app::state::keep_open(exit_stack& open, detail::served& of) {
  if (open.size() == 0) co_return;
  auto held = std::make_shared<detail::held_resources>();
  struct release {
    std::shared_ptr<detail::held_resources> what;
    ~release() {
      if (what) what->released.set();
    }
  } unless_kept{held};
  detail::after_response& after = afterwards.of(*of.from, of.asked.log());
  // Not by its path: clients choose as many of those as they like.
  const std::string route =
      of.asked.http().method_name + " " + std::string(registry.table.pattern(of.match.route));
  background.keep("dependencies of " + route, held, of.asked.log());
  co_await held->decided.wait();
  if (held->stack == nullptr) {  // the program ends: they are closed with the handler, and no work may follow
    after.held = std::move(held);
    co_return;
  }
  open.move_to(*held->stack);
  held->life = after.life;
  after.held = std::move(held);
  unless_kept.what.reset();
}

task<http::response> app::state::call_with_dependencies(detail::served& of) {
  const auto handle = [&of](exit_stack& until_the_response) -> task<http::response> {
    of.context.until_the_response = &until_the_response;
    co_return co_await or_fail(of.context.route->bound.call(of.asked));
  };
  if (!of.context.route->keeps_open) co_return co_await or_fail(with_exit_stack(handle));
  background.require_room_to_keep();
  co_return co_await or_fail(
      with_exit_stack([this, &of, &handle](exit_stack& until_after_it) -> task<http::response> {
        of.context.until_after_it = &until_after_it;
        http::response answer = co_await or_fail(with_exit_stack(handle));
        co_await or_fail(keep_open(until_after_it, of));
        co_return answer;
      }));
}

task<http::response> app::state::call_route(detail::served& of) {
  of.context.handler_failed = true;  // also when it is cancelled, or throws before its first await
  http::response answer =
      co_await or_fail(of.context.route->dependencies.empty() ? of.context.route->bound.call(of.asked)
                                                              : call_with_dependencies(of));
  of.context.handler_failed = false;
  co_return answer;
}

task<http::response> detail::request_access::go_on(request& of, std::size_t index, bool again) {
  if (again)
    throw misuse_error("next: called a second time for " + of.http().method_name + " " + of.http().path +
                       "; a middleware goes on once");
  request_dependencies& context = *request_access::context(of);
  const auto& chain = context.route->chain;
  // While it starts, only its health is asked for, and what middleware uses is not open yet.
  if (index == chain.size() || context.owner->now == phase::starting)
    co_return co_await or_fail(context.owner->call_route(*context.of));
  co_return co_await or_fail((*chain[index])(of, next(of, index + 1)));
}

task<http::response> detail::request_access::begin(request& of) {
  request_dependencies& context = *request_access::context(of);
  if (context.route->chain.empty()) return context.owner->call_route(*context.of);
  return go_on(of, 0, false);
}

task<http::response> detail::request_access::go_on_to_an_answer(request& of, std::size_t index, bool again) {
  request_dependencies& context = *request_access::context(of);
  outcome<http::response> how = co_await as_outcome(go_on(of, index, again));
  if (how.failed()) {
    context.handler_failed = true;
    co_return co_await or_fail(context.owner->answer_error(how.failure(), *context.of));
  }
  co_return std::move(how).value();
}

task<http::response> app::state::answer(detail::served& to) {
  const std::optional<std::chrono::milliseconds> clients = http::read_deadline(to.from->request.headers);
  const duration routes = to.context.route->deadline;
  if (clients && (routes <= duration::zero() || *clients <= routes))
    return answer_within(*clients, "the client's deadline of ", to);
  if (routes > duration::zero()) return answer_within(routes, "the deadline of this route, ", to);
  return detail::request_access::begin(to.asked);
}

task<http::response> app::state::answer_within(duration limit, const char* whose, detail::served& to) {
  std::optional<http::response> answer = co_await or_fail(move_on_after(
      saturating_add(to.from->arrived, limit) - belay::now(), detail::request_access::begin(to.asked)));
  if (!answer) {
    const auto count = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
    co_await fail(
        http::problem_error(http::status::gateway_timeout, "deadline_exceeded",
                            whose + std::to_string(count) + " ms passed before there was an answer"));
  }
  co_return std::move(*answer);
}

task<http::response> app::state::dispatch(http::exchange& from) {
  http::route_match match = registry.table.find(from.request.method, from.request.path);
  const http::trace_context trace = http::continue_trace(from.request.headers, random);
  std::string parent = trace.to_traceparent();
  trace_for_hooks for_hooks(from, parent);
  request_under_way listed(under_way, from, trace.trace);
  listed.set_route(registry.table.pattern(match.route));
  // What stays open after the response refers to it.
  std::shared_ptr<detail::served> kept;
  std::optional<detail::served> here;
  if (registry.all[match.route].keeps_open) {
    kept = std::make_shared<detail::served>(*this, from, std::move(match), trace, log);
    afterwards.of(from, kept->asked.log()).life = kept;
  } else {
    here.emplace(*this, from, std::move(match), trace, log);
  }
  detail::served& of = kept ? *kept : *here;
  outcome<http::response> how;
  failure why;
  try {
    how = co_await as_outcome(answer(of));
  } catch (...) {
    why = current_failure();  // there was no task yet: a deadline that cannot be read
  }
  if (!why) why = how.failed() ? how.failure() : wrong_status(how.value(), from.request);
  if (why) {
    http::response refused = co_await or_fail(answer_error(why, of));
    listed.set_status(refused.status);
    for_hooks.needed = static_cast<bool>(refused.stream);
    co_return refused;
  }
  http::response answered = std::move(how).value();
  if (!of.context.handler_failed) {
    for (const http::header& field : of.asked.response_headers())
      answered.headers.set(field.name, field.value);
    if (const auto after = afterwards.all.find(&from); after != afterwards.all.end())
      after->second.succeeded = true;
  }
  answered.headers.set("traceparent", parent);
  if (const std::string_view id = of.asked.id(); !id.empty()) answered.headers.set("X-Request-Id", id);
  if (log.enabled(telemetry::level::debug)) {
    of.asked.log().debug("request",
                         {{"status", static_cast<int>(answered.status)}, {"path", from.request.path}});
  }
  listed.set_status(answered.status);
  for_hooks.needed = static_cast<bool>(answered.stream);
  co_return answered;
}

void app::state::end(http::exchange& of, bool answered) {
  auto node = afterwards.all.extract(&of);
  if (node.empty()) return;
  detail::after_response& after = node.mapped();
  // Whoever did the work gets what follows it, whether or not the client has stayed for the answer.
  if (!answered || !after.succeeded)
    std::erase_if(after.work, [](const background_work& one) { return one.when != run_when::always; });
  if (after.life) detail::request_access::detach(*after.life);
  if (after.held && after.held->stack != nullptr) {
    after.held->work = std::move(after.work);
    after.held->released.set();
  } else if (after.held) {
    // What the work may refer to has been closed: the program ends.
    for (const background_work& one : after.work)
      after.log.warn("background_task_cancelled", {{"task", one.name}});
  } else if (now == phase::starting) {  // nobody runs background work yet
    for (const background_work& one : after.work)
      after.log.warn("background_task_cancelled", {{"task", one.name}});
  } else {
    background.start(std::move(after.work), after.log);
  }
}

http::server_hooks app::state::make_hooks() {
  http::server_hooks hooks;
  hooks.judge_head = [this](const http::request& head, const io::endpoint&) {
    std::optional<http::response> answer = judge_head(head);
    if (answer) tally.note_early(head.method, answer->status);
    return answer;
  };
  const auto reads_otherwise = [](const detail::route_record& one) {
    return one.options.streams_body || one.options.body_limit.has_value();
  };
  if (std::any_of(registry.all.begin(), registry.all.end(), reads_otherwise)) {
    hooks.plan_body = [this](const http::request& head, const io::endpoint&) {
      const http::route_match match = registry.table.find(head.method, head.path);
      if (match.what != http::route_match::outcome::found) return http::body_plan{};
      const route_options& route = registry.all[match.route].options;
      return http::body_plan{
          .how = route.streams_body ? http::body_plan::way::streamed : http::body_plan::way::whole,
          .limit = route.body_limit};
    };
  }
  hooks.body_failed = [this](const http::exchange& of, const failure& why) {
    const http::trace_context trace = trace_of(of, random);
    detail::bind_log(log, of.request, trace)
        .write(telemetry::level::error, "response_cut_off", why,
               {{"method", of.request.method_name}, {"path", of.request.path}});
    for (const failure& one : why.flatten()) one.observe();
  };
  hooks.refused = [this](const http::protocol_error& why, const http::request& head, const io::endpoint&) {
    tally.note_refused(why.status);
    return refuse({.status = why.status, .code = why.code, .detail = why.detail}, {}, head,
                  http::continue_trace(head.headers, random), nullptr);
  };
  hooks.failed = [this](const http::exchange& of, const failure& why) {
    return answer_failure(why, of.request, trace_of(of, random), registry.root());
  };
  hooks.ended = [this](http::exchange& of, const http::response* what, http::delivery how) {
    tally.note_delivery(how);
    end(of, what != nullptr && how != http::delivery::broken);
  };
  hooks.accept_failed = [this](const failure& why) { log.error("accept_failed", why); };
  return hooks;
}

}  // namespace belay::service
