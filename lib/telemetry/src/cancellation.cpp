// SPDX-License-Identifier: Apache-2.0
// Cancellations as log fields.

#include <belay/core/detail/place.hpp>
#include <belay/telemetry/cancellation.hpp>

namespace belay::telemetry {

value to_value(const cancel_record& what) {
  if (!what) return nullptr;
  value::object members;
  members.push_back({"reason", belay::to_string(what.reason())});
  members.push_back({"who", what.who()});
  members.push_back({"at", belay::detail::place_text(what.where())});
  if (what.cause()) members.push_back({"cause", what.cause().message()});
  return value(std::move(members));
}

}  // namespace belay::telemetry
