// SPDX-License-Identifier: Apache-2.0
// What a handler gets.

#include <new>

#include "served.hpp"

namespace belay::service {

request::request(http::exchange& from, const http::route_match& match, const http::trace_context& trace,
                 const telemetry::logger& log, background_tasks& background,
                 detail::after_responses& afterwards)
    : exchange_(&from),
      match_(&match),
      trace_(&trace),
      log_(&log),
      background_(&background),
      afterwards_(&afterwards) {}

const telemetry::logger& request::log() const noexcept {
  try {
    std::call_once(bound_, [this] { own_log_ = detail::bind_log(*log_, exchange_->request, *trace_); });
    return *own_log_;
  } catch (const std::bad_alloc&) {
    return *log_;  // a record without its trace is better than none
  }
}

std::string_view request::id() const noexcept { return http::request_id(exchange_->request.headers); }

std::optional<std::string_view> request::path(std::string_view name) const noexcept {
  return match_->parameter(name);
}

std::optional<std::string_view> request::query(std::string_view name) const noexcept {
  return exchange_->request.query_value(name);
}

std::int64_t request::path_id(std::string_view name, http::validation& check) const {
  return check.integer("/path/" + std::string(name), path(name), {.min = 1});
}

void request::run_after_response(std::string name, task_function<task<>()> work, run_when when) {
  if (sent_) {
    throw misuse_error("run_after_response: the response to " + exchange_->request.method_name + " " +
                       exchange_->request.path + " was sent and what follows it was done; \"" + name +
                       "\" comes too late (a dependency of scope::request closes after the background work)");
  }
  background_work made{std::move(name), std::move(work), background_->reserve(), when};
  afterwards_->of(*exchange_, log()).work.push_back(std::move(made));
}

}  // namespace belay::service
