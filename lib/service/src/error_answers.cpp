// SPDX-License-Identifier: Apache-2.0
// Errors as problems or as answers of the program's own, with one log record for each failure.

#include "app_state.hpp"

namespace belay::service {

void app::state::note_failed_request(telemetry::level importance, int status, std::string_view code,
                                     std::string_view detail, const http::request& head,
                                     const http::trace_context& trace, const failure* cause) {
  std::vector<telemetry::field> fields = {{"trace_id", http::to_string(trace.trace)},
                                          {"status", status},
                                          {"code", code},
                                          {"method", head.method_name},
                                          {"path", head.path}};
  if (const std::string_view id = http::request_id(head.headers); !id.empty())
    fields.emplace_back("request_id", id);
  if (cause != nullptr) {
    log.write(importance, "request_failed", *cause, fields);
    // Told in the record, or below its threshold: either way it has had its fate.
    for (const failure& one : cause->flatten()) one.observe();
  } else {
    if (!detail.empty()) fields.emplace_back("detail", detail);
    log.write(importance, "request_failed", fields);
  }
}

namespace {

void add_trace(http::response& to, const http::request& head, const http::trace_context& trace) {
  to.headers.set("traceparent", trace.to_traceparent());
  if (const std::string_view id = http::request_id(head.headers); !id.empty())
    to.headers.set("X-Request-Id", id);
}

telemetry::level importance_of(int status) noexcept {
  return status >= 500 ? telemetry::level::error : telemetry::level::warn;
}

http::response problem_answer(http::problem why, const http::headers& extra, const http::request& head,
                              const http::trace_context& trace) {
  http::response answer = http::to_response(why);
  for (const auto& field : extra) answer.headers.add(field.name, field.value);
  if (why.status == http::status::service_unavailable && !answer.headers.contains("Retry-After")) {
    answer.headers.add("Retry-After", "1");
  }
  add_trace(answer, head, trace);
  return answer;
}

}  // namespace

http::response app::state::refuse(http::problem why, const http::headers& extra, const http::request& head,
                                  const http::trace_context& trace, const failure* cause) {
  why.trace_id = http::to_string(trace.trace);
  if (why.instance.empty()) why.instance = head.path.empty() ? "/" : head.path;
  const int status = static_cast<int>(why.status);
  // While it starts, nothing is wrong.
  const telemetry::level importance = is_starting() ? telemetry::level::info : importance_of(status);
  note_failed_request(importance, status, why.code, why.detail, head, trace, cause);
  return problem_answer(std::move(why), extra, head, trace);
}

http::response app::state::answer_failure(const failure& what, const http::request& head,
                                          const http::trace_context& trace,
                                          const detail::route_scope& within) {
  const detail::found_rule found = detail::find_rule(within, what);
  const bool ruled = found.rule != nullptr && !found.rule->answer;
  http::problem answer = http::to_problem(found.leaf);
  http::headers extra;
  const auto* ready = belay::detail::exception_as<http::problem_error>(found.leaf.exception());
  if (ruled && !found.rule->as_it_says) {
    answer = {.status = found.rule->status, .code = found.rule->code, .detail = found.leaf.message()};
  } else if (ready != nullptr) {
    extra = ready->headers();
  }
  const auto* typed = belay::detail::exception_as<error>(found.leaf.exception());
  if (typed != nullptr && typed->retry_after() && !extra.contains("Retry-After")) {
    extra.add("Retry-After", http::to_retry_after(*typed->retry_after()));
  }
  if (ready != nullptr && ruled && found.rule->as_it_says && what.attached().empty() && !what.cause()) {
    // An answer that was given on purpose: its code and detail say all, it has no story to tell.
    what.observe();
    return refuse(std::move(answer), extra, head, trace, nullptr);
  }
  return refuse(std::move(answer), extra, head, trace, &what);
}

task<http::response> app::state::answer_error(const failure& what, detail::served& of) {
  const http::request& head = of.asked.http();
  const detail::route_scope& within = *of.context.route->within;
  const detail::found_rule found = detail::find_rule(within, what);
  if (found.rule != nullptr && found.rule->answer) {
    const auto call = [](const detail::error_rule& rule, request& asked,
                         const failure& why) -> task<http::response> {
      co_return co_await or_fail((*rule.answer)(asked, why));
    };
    outcome<http::response> how = co_await as_outcome(call(*found.rule, of.asked, found.leaf));
    if (!how.failed()) {
      http::response made = std::move(how).value();
      const int status = static_cast<int>(made.status);
      note_failed_request(found.catch_all ? telemetry::level::error : importance_of(status), status, "", "",
                          head, of.trace, &what);
      add_trace(made, head, of.trace);
      if (handler_failed) handler_failed(what, made);
      co_return made;
    }
    log.error("error_handler_failed", how.failure(),
              {{"trace_id", http::to_string(of.trace.trace)}, {"path", head.path}});
  }
  http::response made = answer_failure(what, head, of.trace, within);
  if (handler_failed) handler_failed(what, made);
  co_return made;
}

}  // namespace belay::service
