// SPDX-License-Identifier: Apache-2.0
// Is the program alive, and does it want requests?

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "app_state.hpp"

namespace belay::service {

void app::state::add_health_routes(app& of) {
  const auto live = [](request&) -> task<http::response> {
    co_return http::response::json(http::status::ok, R"({"status":"ok"})");
  };
  const auto ready = [this](request&) -> task<http::response> {
    boost::json::object in_use;
    // The request that asks is not counted.
    const std::size_t requests = server != nullptr ? server->statistics().active_requests : 0;
    in_use["requests"] = requests > 0 ? requests - 1 : 0;
    const bool starting = is_starting();
    if (now != phase::starting) {  // they may read resources
      for (const auto& [name, read] : gauges) in_use[name] = read();
    }
    in_use["background"] = background.size();
    boost::json::object kept;
    for (const worker& one : workers) {
      kept[one.name] = one.keeper ? one.keeper->statistics().restarts : 0;
    }
    const char* status = starting ? "starting" : now == phase::serving ? "ready" : "draining";
    boost::json::object body;
    body["status"] = status;
    body["in_use"] = std::move(in_use);
    if (now == phase::starting) {
      const lifespan::progress so_far = steps.how_far();
      boost::json::object start;
      start["open"] = so_far.open;
      start["of"] = so_far.steps;
      start["under_way"] = boost::json::array(so_far.under_way.begin(), so_far.under_way.end());
      body["steps"] = std::move(start);
    }
    if (!kept.empty()) body["worker_restarts"] = std::move(kept);
    co_return http::response::json(
        now == phase::serving && !starting ? http::status::ok : http::status::service_unavailable,
        boost::json::serialize(body));
  };
  of.get("/health/live", live, {.hidden = true});
  of.get("/health/ready", ready, {.hidden = true});
}

}  // namespace belay::service
