// SPDX-License-Identifier: Apache-2.0
// From a request to a response: route, deadline, handler, errors as problems, one log record for each failure.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/deadline.hpp>

#include "app_state.hpp"

namespace belay::service {

namespace {

bool takes_a_body(http::method verb) noexcept {
  return verb == http::method::post || verb == http::method::put || verb == http::method::patch;
}

}  // namespace

request::request(http::exchange& from, const http::route_match& match, const http::trace_context& trace,
                 telemetry::logger log, background_tasks& background)
    : exchange_(&from), match_(&match), trace_(&trace), log_(std::move(log)), background_(&background) {}

std::optional<std::string_view> request::path(std::string_view name) const noexcept {
  return match_->parameter(name);
}

std::optional<std::string_view> request::query(std::string_view name) const noexcept {
  return exchange_->request.query_value(name);
}

std::int64_t request::path_id(std::string_view name, http::validation& check) const {
  return check.integer("/path/" + std::string(name), path(name), {.min = 1});
}

void request::run_after_response(std::string name, task_function<task<>()> work) {
  after_.push_back({std::move(name), std::move(work), background_->reserve()});
}

http::response app::state::refuse(http::problem why, const http::headers& extra, const http::request& head,
                                  const http::trace_context& trace, const failure* cause) {
  why.trace_id = http::to_string(trace.trace);
  if (why.instance.empty()) why.instance = head.path.empty() ? "/" : head.path;
  const int status = static_cast<int>(why.status);
  const auto importance = status >= 500 ? telemetry::level::error : telemetry::level::warn;
  const std::vector<telemetry::field> fields = {{"trace_id", why.trace_id},
                                                {"status", status},
                                                {"code", why.code},
                                                {"method", head.method_name},
                                                {"path", head.path}};
  if (cause != nullptr) {
    log.write(importance, "request_failed", *cause, fields);
    // Told in the record, or below its threshold: either way it has had its fate.
    for (const failure& one : cause->flatten()) one.observe();
  } else {
    log.write(importance, "request_failed", fields);
  }
  http::response answer = http::to_response(why);
  for (const auto& field : extra) answer.headers.add(field.name, field.value);
  if (why.status == http::status::service_unavailable && !answer.headers.contains("Retry-After")) {
    answer.headers.add("Retry-After", "1");
  }
  answer.headers.set("traceparent", trace.to_traceparent());
  return answer;
}

http::response app::state::answer_failure(const failure& what, const http::request& head,
                                          const http::trace_context& trace) {
  const auto found = rules.find(what);
  const failure leaf = found ? found->leaf : what;
  http::problem answer = http::to_problem(leaf);
  http::headers extra;
  const auto* ready = belay::detail::exception_as<http::problem_error>(leaf.exception());
  if (found && !found->value.as_it_says) {
    answer = {.status = found->value.status, .code = found->value.code, .detail = leaf.message()};
  } else if (ready != nullptr) {
    extra = ready->headers();
  }
  const auto* typed = belay::detail::exception_as<error>(leaf.exception());
  if (typed != nullptr && typed->retry_after() && !extra.contains("Retry-After")) {
    extra.add("Retry-After", http::to_retry_after(*typed->retry_after()));
  }
  return refuse(std::move(answer), extra, head, trace, &what);
}

std::optional<http::response> app::state::judge_head(const http::request& head) {
  const auto trace = [&] { return http::continue_trace(head.headers, random); };
  const http::route_match match = routes.find(head.method, head.path);
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
      return answer;
    }
    case http::route_match::outcome::found: break;
  }
  if (takes_a_body(head.method)) {
    try {
      http::require_json(head);
    } catch (const http::problem_error& refused) {
      return refuse(refused.problem(), refused.headers(), head, trace(), nullptr);
    }
  }
  return std::nullopt;
}

task<http::response> app::state::call_handler(http::exchange& from, const http::trace_context& trace) {
  const http::route_match match = routes.find(from.request.method, from.request.path);
  const telemetry::logger bound = log.with({{"trace_id", http::to_string(trace.trace)}});
  request asked(from, match, trace, bound, background);
  const std::optional<std::chrono::milliseconds> limit = http::read_deadline(from.request.headers);
  // By way of a task of its own, so that an error before the first await is an error like any other.
  auto call = [](const handler& with, request& about) -> task<http::response> {
    co_return co_await or_fail(with(about));
  };
  task<http::response> work = call(handlers.at(match.route), asked);
  std::optional<http::response> answer;
  if (limit) {
    answer =
        co_await or_fail(move_on_after(saturating_add(from.arrived, *limit) - belay::now(), std::move(work)));
  } else {
    answer = co_await or_fail(std::move(work));
  }
  if (!answer) {
    co_await fail(http::problem_error(http::status::gateway_timeout, "deadline_exceeded",
                                      "the client's deadline of " + std::to_string(limit->count()) +
                                          " ms passed before there was an answer"));
  }
  if (const int status = static_cast<int>(answer->status); status < 200 || status > 599) {
    throw misuse_error("the handler for " + from.request.path + " gave the status " + std::to_string(status) +
                       "; it must be from 200 to 599");
  }
  if (std::vector<background_work> after = asked.take_background(); !after.empty()) {
    afterwards.emplace(&from, after_response{std::move(after), bound});
  }
  bound.debug("request", {{"status", static_cast<int>(answer->status)}, {"path", from.request.path}});
  co_return std::move(*answer);
}

task<http::response> app::state::dispatch(http::exchange& from) {
  const http::trace_context trace = http::continue_trace(from.request.headers, random);
  outcome<http::response> how = co_await as_outcome(call_handler(from, trace));
  if (how.failed()) co_return answer_failure(how.failure(), from.request, trace);
  http::response answer = std::move(how).value();
  answer.headers.set("traceparent", trace.to_traceparent());
  co_return answer;
}

http::server_hooks app::state::make_hooks() {
  http::server_hooks hooks;
  hooks.judge_head = [this](const http::request& head, const io::endpoint&) { return judge_head(head); };
  hooks.refused = [this](const http::protocol_error& why, const http::request& head, const io::endpoint&) {
    return refuse({.status = why.status, .code = why.code, .detail = why.detail}, {}, head,
                  http::continue_trace(head.headers, random), nullptr);
  };
  hooks.failed = [this](const http::exchange& of, const failure& why) {
    return answer_failure(why, of.request, http::continue_trace(of.request.headers, random));
  };
  hooks.ended = [this](http::exchange& of, const http::response* what, http::delivery) {
    auto after = afterwards.extract(&of);
    // Whoever did the work gets what follows it, whether or not the client has stayed for the answer.
    if (what == nullptr || after.empty()) return;
    auto& [work, bound] = after.mapped();
    background.start(std::move(work), bound);
  };
  hooks.accept_failed = [this](const failure& why) { log.error("accept_failed", why); };
  return hooks;
}

}  // namespace belay::service
