// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the errors of Boost mean. Header only: whoever includes it has Boost; the layer itself does not.

#include <belay/errors/classify.hpp>
#include <belay/errors/native_codes.hpp>
#include <boost/system/system_error.hpp>
#include <optional>

namespace belay {

/// For `error_classifier::add<boost::system::system_error>`. By the condition that the code stands for; the end of a stream
/// (`boost::asio::error::eof`) and names that are not found stand for none: nothing, so that others are asked.
[[nodiscard]] inline std::optional<classification> classify_boost(const boost::system::system_error& what) {
  const boost::system::error_condition means = what.code().default_error_condition();
  if (means.category() != boost::system::generic_category()) return std::nullopt;
  return classify_errno(means.value());
}

}  // namespace belay
