// SPDX-License-Identifier: Apache-2.0
// Requests in numbers. Routes are named by their patterns: paths are the clients', and without end.

#include "request_metrics.hpp"

#include <charconv>
#include <new>

namespace belay::service {

namespace {

constexpr std::string_view none = "none";

std::string_view name_of(http::delivery how) noexcept {
  if (how == http::delivery::lost) return "lost";
  if (how == http::delivery::disconnected) return "disconnected";
  if (how == http::delivery::stopped) return "stopped";
  if (how == http::delivery::broken) return "broken";
  return "sent";
}

}  // namespace

request_metrics::request_metrics(telemetry::metrics& into)
    : requests_(
          &into.counters("belay_http_requests_total",
                         "Requests, by the pattern of their route, method and status of the answer; status "
                         "none: there was no answer.",
                         {"route", "method", "status"})),
      undelivered_(&into.counters(
          "belay_http_undelivered_total",
          "Requests whose client did not get the answer: it was lost on its way (lost) or broke off (broken), or there "
          "was none because the client left (disconnected) or the program ended (stopped).",
          {"delivery"})),
      took_(&into.histograms(
          "belay_http_request_duration_seconds",
          "From the last byte of a request until its answer is made, or there is none any more.",
          {"route", "method"})) {}

void request_metrics::count(std::string_view route, std::string_view verb, http::status how) {
  char digits[8];
  const char* end = std::to_chars(digits, digits + sizeof digits, http::to_int(how)).ptr;
  requests_->at({route, verb, {digits, static_cast<std::size_t>(end - digits)}}).add();
}

void request_metrics::note(std::string_view route, http::method verb, std::optional<http::status> how,
                           duration took) noexcept {
  try {
    if (route.empty()) route = none;
    const std::string_view method = http::to_string(verb);
    if (how) {
      count(route, method, *how);
    } else {
      requests_->at({route, method, none}).add();
    }
    took_->at({route, method}).observe(took);
  } catch (const std::bad_alloc&) {
    // Of a series that is new: the next request makes it.
  }
}

void request_metrics::note_delivery(http::delivery how) noexcept {
  if (how == http::delivery::sent) return;
  try {
    undelivered_->at({name_of(how)}).add();
  } catch (const std::bad_alloc&) {
    // As above.
  }
}

void request_metrics::note_early(http::method verb, http::status how) {
  count(none, http::to_string(verb), how);
}

void request_metrics::note_refused(http::status how) { count(none, none, how); }

}  // namespace belay::service
