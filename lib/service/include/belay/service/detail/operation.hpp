// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the types of a handler say about its route.

#include <belay/http/described.hpp>
#include <string>
#include <vector>

namespace belay::service::detail {

struct operation_description {
  http::schemas* all = nullptr;
  struct parameter {
    std::string name;
    std::string in;  // "path", "query", "header"
    std::string schema;
    bool required = false;
  };
  std::vector<parameter> parameters{};
  std::string body{};  // a schema; empty: none
  bool body_required = false;
  int status = 200;
  std::string result{};  // a schema; empty: nothing is known of it
  bool typed = false;    // what follows from the types has been filled in

  // A second one with the same name and place is the same one.
  void add(parameter what);
};

// The schema of a parameter with its fallback.
[[nodiscard]] std::string with_fallback(std::string schema, std::int64_t value, bool boolean);

}  // namespace belay::service::detail
