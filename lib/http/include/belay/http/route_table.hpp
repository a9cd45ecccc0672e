// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which handler serves a method and a path.

#include <belay/http/message.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::http {

struct path_parameter {
  std::string name{};
  std::string value{};
  friend bool operator==(const path_parameter&, const path_parameter&) = default;
};

/// What a table says about one request.
struct route_match {
  enum class outcome : unsigned char {
    found,               ///< `route`, `parameters`
    not_found,           ///< 404
    method_not_allowed,  ///< 405 with `allow`
    options,             ///< answer OPTIONS with `allow` (204): no route of its own was added for it
  };
  outcome what = outcome::not_found;
  /// The number that `add` gave.
  std::size_t route = 0;
  /// Decoded, in the order of the pattern.
  std::vector<path_parameter> parameters{};
  /// For the Allow header: "GET, HEAD, OPTIONS", in the order of `method`; empty unless the outcome needs it.
  std::string allow{};

  [[nodiscard]] std::optional<std::string_view> parameter(std::string_view name) const noexcept;
};

/// Patterns and methods, matched segment by segment.
///
/// A pattern is "/users/{id}/posts": a segment is literal text (written decoded) or one parameter in braces
/// that takes exactly one non-empty segment. Paths are split before they are decoded, so an encoded slash
/// stays within its segment; a segment that is "." or ".." after decoding matches nothing. Nothing is
/// normalised: "/users/" and "//users" are not "/users". A literal is preferred to a parameter, from left to
/// right, among the routes that have the method. HEAD is served by the GET route unless there is one for
/// HEAD.
///
/// Thread:   `find` may be called from several threads once no more routes are added.
class route_table {
 public:
  route_table();
  route_table(route_table&&) noexcept;
  route_table& operator=(route_table&&) noexcept;
  ~route_table();

  /// Adds a route; gives its number: 0, 1, 2 ...
  /// Errors:   `misuse_error` for a malformed pattern, and for a method and pattern that match exactly what
  ///           an earlier route matches (parameter names make no difference), naming both. The table is
  ///           unchanged.
  std::size_t add(method verb, std::string_view pattern);

  /// `path`: as it was sent, without the query (`request::path`).
  [[nodiscard]] route_match find(method verb, std::string_view path) const;

  /// The pattern of a route, for logs and metrics.
  [[nodiscard]] std::string_view pattern(std::size_t route) const;
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace belay::http
