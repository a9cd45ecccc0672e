// SPDX-License-Identifier: Apache-2.0
// Severities, and several observers as one.

#include <belay/errors/detail/telling.hpp>
#include <belay/errors/error_observer.hpp>

namespace belay {

std::string_view to_string(severity how) noexcept {
  switch (how) {
    case severity::expected: return "expected";
    case severity::warning: return "warning";
    case severity::critical: break;
  }
  return "critical";
}

severity severity_of(error_kind kind) noexcept {
  switch (kind) {
    case error_kind::invalid:
    case error_kind::not_found:
    case error_kind::conflict:
    case error_kind::denied:
    case error_kind::unauthenticated: return severity::expected;
    case error_kind::unavailable:
    case error_kind::overloaded:
    case error_kind::timed_out:
    case error_kind::child_cancelled: return severity::warning;
    case error_kind::data_format:
    case error_kind::internal: break;
  }
  return severity::critical;
}

severity severity_of(const failure& what) {
  const severity by_kind = severity_of(classify(what).kind);
  const bool foreign = detail::exception_as<error>(what.exception()) == nullptr;
  return foreign && by_kind == severity::expected ? severity::critical : by_kind;
}

void error_observers::add(error_observer& one) {
  if (&one == this) throw misuse_error("error_observers::add: the list cannot contain itself");
  all_.push_back(&one);
}

void error_observers::record(const error_event& event) {
  for (error_observer* one : all_) detail::without_throwing([&] { one->record(event); });
}
void error_observers::alert(const error_event& event) {
  for (error_observer* one : all_) detail::without_throwing([&] { one->alert(event); });
}
void error_observers::passed(const error_event& event) {
  for (error_observer* one : all_) detail::without_throwing([&] { one->passed(event); });
}

}  // namespace belay
