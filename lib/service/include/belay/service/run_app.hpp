// SPDX-License-Identifier: Apache-2.0
#pragma once
// One service on several loops, each on a thread of its own, which share one port.

#include <belay/service/app.hpp>
#include <belay/telemetry/logger.hpp>
#include <functional>

namespace belay::service {

/// Runs an app on each of `options.loops` loops, and gives one exit code.
///
///     int main() {
///       service::app_options options{.name = "shop", .loops = 4};
///       return service::run_app(options, log, [](service::app& a, unsigned loop) {
///         const auto db = a.manage("database", db::sqlite::open("shop.db"));
///         if (loop == 0) a.worker("purge", every(1min), [db]() -> task<> { ... });
///         a.get("/users/{id}", [db](request& r) -> task<http::response> { ... });
///       });
///     }
///
/// `set_up` is called once for each loop, on the thread of that loop, several at the same time: it must not change what it holds. What it
/// makes belongs to that loop. Loop 0 comes first: its steps are open before the others begin theirs, so what is done
/// once (migrations) is done there.
///
/// Start:     the others start side by side. When one cannot, those that have started are stopped, and the step that failed is `loop 2`, with what
///            went wrong there. Until all serve, `/health/ready` is 503 on each, and requests are refused.
/// End:       loop 0 has the signals; all drain at the same time, each by its own limits. Then they are closed, loop 0 last. A loop that ends by
///            itself, as when its worker fails too often, ends the program.
/// Report:    one, in which the rows of the others are named `loop 2: requests`. Exit code: as `app::run`; the worst of all.
/// Metrics:   the page is that of all loops, whichever is asked: what each has counted is added up. One that does not answer within half a
///            second (it is blocked) counts as it was when it did last. The inspector shows the loop that was asked.
/// Port:      shared by SO_REUSEPORT: the system chooses a loop for each connection, and it stays there.
/// Errors:    `misuse_error` for a number of loops of 0 or more than `most_loops`; what `set_up` throws for loop 0.
[[nodiscard]] int run_app(app_options options, telemetry::logger log,
                          std::function<void(app&, unsigned loop)> set_up);

}  // namespace belay::service
