// SPDX-License-Identifier: Apache-2.0
// Requests in numbers. Routes are named by their patterns: paths are the clients', and without end.

#include "request_metrics.hpp"

#include <new>
#include <string>

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

request_metrics::series request_metrics::find(std::string_view route, http::method verb,
                                              std::optional<http::status> how) {
  const auto status = static_cast<std::uint16_t>(how ? http::to_int(*how) : 0);
  const series_key key{route.data(), verb, status};
  if (const auto found = known_.find(key); found != known_.end()) return found->second;
  const std::string_view method = http::to_string(verb);
  const std::uint64_t refused_before = requests_->refused() + took_->refused();
  const series made{&requests_->at({route, method, how ? std::to_string(status) : std::string(none)}),
                    &took_->at({route, method})};
  // One of those that came too late for a series of their own is counted at each use.
  if (requests_->refused() + took_->refused() != refused_before) return made;
  known_.emplace(key, made);
  return made;
}

void request_metrics::count(std::string_view route, std::string_view verb, http::status how) {
  requests_->at({route, verb, std::to_string(http::to_int(how))}).add();
}

void request_metrics::note(std::string_view route, http::method verb, std::optional<http::status> how,
                           duration took) noexcept {
  try {
    const series one = find(route.empty() ? none : route, verb, how);
    one.requests->add();
    one.took->observe(took);
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
