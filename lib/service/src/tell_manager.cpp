// SPDX-License-Identifier: Apache-2.0
// What an app tells the service manager that started it.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <algorithm>
#include <chrono>

#include "app_state.hpp"

namespace belay::service {

namespace {

using std::chrono::seconds;

std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

task<> news(event& of) { co_await of.wait(); }

}  // namespace

std::string app::state::status_line() const {
  if (now == phase::serving) return "serving on http://" + listening_on.to_string();
  const lifespan::progress so_far = steps.how_far();
  const std::string busy = joined(so_far.under_way);
  if (now == phase::starting && report.reason.empty()) {
    return "starting, " + std::to_string(so_far.open) + " of " + std::to_string(so_far.steps) + " steps" +
           (busy.empty() ? "" : ": " + busy);
  }
  if (!busy.empty()) return "stopping: closing " + busy;
  const std::size_t requests = server == nullptr ? 0 : server->statistics().active_requests;
  return "stopping: " + std::to_string(requests) + " requests, " + std::to_string(background.size()) +
         " background tasks left";
}

// Lives as long as the program. What changes at a certain moment is told there; this is what is told again and again.
task<> app::state::keep_manager_informed() {
  const duration beat = manager->watchdog() > duration::zero() ? manager->watchdog() / 2 : duration::max();
  time_point next_beat = saturating_add(belay::now(), beat);
  if (beat != duration::max()) manager->send("WATCHDOG=1");
  std::string told;
  bool ready_told = false;
  for (;;) {
    std::string status = status_line();
    if (now == phase::serving && !ready_told) ready_told = manager->send("READY=1");
    if (!stopping_told && (now == phase::draining || !report.reason.empty()))
      stopping_told = manager->send("STOPPING=1");
    if (status != told && manager->send_status(status)) told = std::move(status);
    if (now != phase::serving) {
      // A start and a shutdown are bounded by their own limits; what must not go unnoticed is a loop that stands still.
      manager->send("EXTEND_TIMEOUT_USEC=10000000");
    }
    const bool quiet = now == phase::serving && ready_told;
    const time_point wake =
        std::min(next_beat, quiet ? time_point::max() : saturating_add(belay::now(), seconds(1)));
    manager_news.reset();
    static_cast<void>(co_await move_on_after(
        wake == time_point::max() ? duration::max() : wake - belay::now(), news(manager_news)));
    if (belay::now() >= next_beat) {
      manager->send("WATCHDOG=1");
      next_beat = saturating_add(belay::now(), beat);
    }
  }
}

}  // namespace belay::service
