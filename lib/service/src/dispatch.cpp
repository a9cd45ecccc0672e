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

// What may be told to a client about an error of which only the kind is known.
struct public_text {
  const char* code;
  const char* detail;
};

public_text text_for(error_kind kind) noexcept {
  switch (kind) {
    case error_kind::invalid: return {"invalid", "the request is not valid"};
    case error_kind::not_found: return {"not_found", "it does not exist"};
    case error_kind::conflict: return {"conflict", "it conflicts with the present state"};
    case error_kind::denied: return {"denied", "not allowed"};
    case error_kind::unauthenticated: return {"unauthenticated", "authentication is needed"};
    case error_kind::unavailable: return {"unavailable", "a part of the service is not available just now; try again later"};
    case error_kind::overloaded: return {"overloaded", "too much to do just now; try again later"};
    case error_kind::timed_out: return {"timed_out", "it took too long"};
    case error_kind::child_cancelled:
    case error_kind::data_format:
    case error_kind::internal: break;
  }
  return {"internal", "internal error"};
}

}  // namespace

request::request(http::exchange& from, const http::route_match& match, telemetry::logger log, background_tasks& background)
    : exchange_(&from), match_(&match), log_(std::move(log)), background_(&background) {}

std::optional<std::string_view> request::path(std::string_view name) const noexcept { return match_->parameter(name); }

std::optional<std::string_view> request::query(std::string_view name) const noexcept {
  return exchange_->request.query_value(name);
}

std::int64_t request::path_id(std::string_view name, http::validation& check) const {
  return check.integer("/path/" + std::string(name), path(name), {.min = 1});
}

void request::run_after_response(std::string name, task_function<task<>()> work) {
  background_->require_room(after_.size() + 1);
  after_.push_back({std::move(name), std::move(work)});
}

http::response app::state::refuse(http::problem why, http::headers extra, const http::exchange& about,
                                  const failure* cause) {
  why.trace_id = http::to_string(about.trace.trace);
  if (why.instance.empty()) why.instance = about.request.path;
  const int status = static_cast<int>(why.status);
  const auto importance = status >= 500 ? telemetry::level::error : telemetry::level::warn;
  const std::initializer_list<telemetry::field> fields = {{"trace_id", why.trace_id},
                                                          {"status", status},
                                                          {"code", why.code},
                                                          {"method", about.request.method_name},
                                                          {"path", about.request.path}};
  if (cause != nullptr) {
    log.write(importance, "request_failed", *cause, fields);
  } else {
    log.write(importance, "request_failed", fields);
  }
  http::response answer = http::to_response(why);
  for (const auto& field : extra) answer.headers.add(field.name, field.value);
  if (why.status == http::status::service_unavailable && !answer.headers.contains("Retry-After")) {
    answer.headers.add("Retry-After", "1");
  }
  return answer;
}

http::response app::state::answer_failure(const failure& what, const http::exchange& about) {
  // The error itself first, then what is attached to it.
  for (const failure& one : what.flatten()) {
    for (const error_rule& rule : rules) {
      if (!rule.matches(one.exception())) continue;
      return refuse({.status = rule.status, .code = rule.code, .detail = one.message()}, {}, about, &what);
    }
    if (const auto* ready = belay::detail::exception_as<http::problem_error>(one.exception())) {
      return refuse(ready->problem(), ready->headers(), about, &what);
    }
  }
  error_kind kind = error_kind::internal;
  if (const auto* typed = belay::detail::exception_as<error>(what.exception())) kind = typed->kind();
  const public_text text = text_for(kind);
  return refuse({.status = http::default_status(kind), .code = text.code, .detail = text.detail}, {}, about, &what);
}

std::optional<http::response> app::state::answer_head(const http::exchange& about) {
  const http::route_match match = routes.find(about.request.method, about.request.path);
  switch (match.what) {
    case http::route_match::outcome::not_found:
      return refuse({.status = http::status::not_found, .code = "not_found", .detail = "there is nothing at this path"}, {},
                    about, nullptr);
    case http::route_match::outcome::method_not_allowed: {
      http::headers allow;
      allow.add("Allow", match.allow);
      return refuse({.status = http::status::method_not_allowed,
                     .code = "method_not_allowed",
                     .detail = about.request.method_name + " is not possible here; " + match.allow + " are"},
                    std::move(allow), about, nullptr);
    }
    case http::route_match::outcome::options: {
      http::response answer = http::response::empty();
      answer.headers.add("Allow", match.allow);
      return answer;
    }
    case http::route_match::outcome::found: break;
  }
  if (takes_a_body(about.request.method)) {
    try {
      http::require_json(about.request);
    } catch (const http::problem_error& refused) {
      return refuse(refused.problem(), refused.headers(), about, nullptr);
    }
  }
  return std::nullopt;
}

task<http::response> app::state::dispatch(http::exchange& from) {
  const http::route_match match = routes.find(from.request.method, from.request.path);
  if (match.what != http::route_match::outcome::found) co_return answer_head(from).value();

  const telemetry::logger bound = log.with({{"trace_id", http::to_string(from.trace.trace)}});
  request asked(from, match, bound, background);
  std::optional<std::chrono::milliseconds> limit;
  try {
    limit = http::read_deadline(from.request.headers);
  } catch (const http::problem_error& refused) {
    co_return refuse(refused.problem(), refused.headers(), from, nullptr);
  }
  const handler& handle = handlers[match.route];
  // Called by way of a task, so that an error before the first await is an error like any other.
  auto call = [](const handler& with, request& about) -> task<http::response> { co_return co_await or_fail(with(about)); };
  outcome<http::response> how;
  if (limit) {
    const duration left = saturating_add(from.arrived, *limit) - belay::now();
    outcome<std::optional<http::response>> in_time = co_await as_outcome(move_on_after(left, call(handle, asked)));
    if (in_time.failed()) co_return answer_failure(in_time.failure(), from);
    std::optional<http::response> answer = std::move(in_time).value();
    if (!answer) {
      co_return refuse({.status = http::status::gateway_timeout,
                        .code = "deadline_exceeded",
                        .detail = "the client's deadline of " + std::to_string(limit->count()) + " ms passed; nothing was done"},
                       {}, from, nullptr);
    }
    how.emplace(std::move(*answer));
  } else {
    how = co_await as_outcome(call(handle, asked));
    if (how.failed()) co_return answer_failure(how.failure(), from);
  }
  if (std::vector<background_work> work = asked.take_background(); !work.empty()) {
    // Not before the response is out; copies, because the request is gone by then.
    auto kept = std::make_shared<std::vector<background_work>>(std::move(work));
    from.after_answer = [this, kept, bound] { background.start(std::move(*kept), bound); };
  }
  bound.debug("request", {{"status", static_cast<int>(how.get().status)}, {"path", from.request.path}});
  co_return how.take();
}

}  // namespace belay::service
