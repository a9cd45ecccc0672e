// SPDX-License-Identifier: Apache-2.0
#pragma once
// The marks that make sure that an error is told once, and the telling.
//
// The mark is on the failure record, which an error keeps through awaits, `throw;`, `failure::rethrow`, groups and handles. It holds how
// bad the error was when it was recorded, and when it was alerted on. An error that replaced a marked one (its cause) tells the same story:
// it counts as told. What is attached tells a story of its own.

#include <belay/errors/error_observer.hpp>
#include <functional>
#include <source_location>
#include <string>

namespace belay {

struct guard_options {
  /// What is being done: "load user". For the log.
  std::string operation{};
  /// Told with every error: a request id. Values marked `sensitive` stay inside.
  error_details context{};
  /// The least severity that is alerted on.
  severity alert_from = severity::warning;
};

namespace detail {

// Calls `act`; what it throws goes to the failure sink.
template <class F>
void without_throwing(F&& act) noexcept {
  try {
    act();
  } catch (...) {
    const failure broken =
        failure::of(std::current_exception());  // dropped without a look: so it is reported
  }
}

struct guard_state {
  error_observer* observer;
  guard_options options;
  std::source_location where;
};

// Tells the observer of `what`, and of what is attached to it, as far as they have not been told. `what` goes on: somebody else has to
// look at it.
void tell(const guard_state& guard, const failure& what) noexcept;
// The same for an error that ends here, unless it is fatal or of a cleanup after a cancellation. False: it goes on.
[[nodiscard]] bool tell_and_end(const guard_state& guard, const failure& what) noexcept;

// It ends here, with all that belongs to it.
void observe_all(const failure& what) noexcept;

// The failure that `make` makes of `what`; built while `what` is being handled, so that it has it as its cause, or else attached to it;
// told as far as `what` is. If `make` throws: that, as a new story, with `what` in it.
[[nodiscard]] failure translate(const failure& what, const std::function<failure()>& make);

}  // namespace detail
}  // namespace belay
