// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tells systemd how the service is: ready, stopping, alive, what it does just now (sd_notify(3)).

#include <belay/core/time.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace belay::service {

/// The service manager that started this process, which listens on a datagram socket for lines such as `READY=1`.
///
/// `app::run` finds it by itself and tells it: `STATUS` as it starts, `READY=1` when it serves, `STOPPING=1` when it drains, and
/// `EXTEND_TIMEOUT_USEC` every second of a start or a shutdown, which are bounded by the app's own limits; where the unit has `WatchdogSec=`,
/// `WATCHDOG=1` at half of that time, from the loop: one that is blocked is restarted.
///
///     [Service]
///     Type=notify
///     NotifyAccess=main
///     WatchdogSec=10
///
/// Source: sd_notify(3), systemd.service(5). Copies tell the same. Thread: any.
class service_manager {
 public:
  /// Of `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; none when the first is not set. A watchdog for another process is not
  /// fed. `variable` gives the value of a variable, or null.
  /// Errors: as the constructor; `error` (invalid, `bad_watchdog`) for a time that is no number.
  [[nodiscard]] static std::optional<service_manager> from_environment(
      const std::function<const char*(const char*)>& variable = {});

  /// `address`: a path, or `@` and an abstract name. `watchdog`: how often it wants to hear of a living loop at least; zero: not at all.
  /// Errors: `error` (invalid, `bad_notify_socket`) for another address, or one that is too long.
  explicit service_manager(std::string address, duration watchdog = duration::zero());

  /// Sends lines, `READY=1\nSTATUS=serving`, as one datagram. Never waits. False: they could not be sent, as when nobody listens.
  bool send(std::string_view lines) const noexcept;
  /// The same, with a text for people: line breaks in it are made spaces.
  bool send_status(std::string_view text) const noexcept;

  [[nodiscard]] duration watchdog() const noexcept { return watchdog_; }
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  std::string address_;
  duration watchdog_;
};

}  // namespace belay::service
