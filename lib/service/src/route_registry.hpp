// SPDX-License-Identifier: Apache-2.0
#pragma once
// Everything that was said about routes, and what follows from it once the app starts.

#include <belay/errors/error_table.hpp>
#include <belay/http/route_table.hpp>
#include <belay/service/routes.hpp>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace belay::service::detail {

// A group of routes; the first one is the app.
struct route_scope {
  const route_scope* parent = nullptr;
  std::string prefix{};
  route_options options{};
  std::deque<middleware> around{};
  error_table<error_rule> rules{};
  std::optional<error_rule> catch_all{};
  std::map<http::status, std::set<std::string>> told{};  // the rules, for the API's description
};

struct route_record {
  http::method verb;
  bound_handler bound;
  route_options options;
  const route_scope* within;
  // Once it is complete:
  std::vector<const middleware*> chain{};  // the outermost first
  std::vector<provider*> dependencies{};   // in the order of opening
  bool keeps_open = false;                 // one of them until after the response
  duration deadline{};                     // zero: none
};

struct route_registry {
  route_registry();
  route_registry(const route_registry&) = delete;
  route_registry& operator=(const route_registry&) = delete;

  [[nodiscard]] route_scope& root() noexcept { return scopes.front(); }
  void require_open(std::string_view what) const;
  void add_provider(std::unique_ptr<provider> made, bool replaces);
  // Works out what each route needs. Errors: `misuse_error`, see `routes::provide`.
  void complete();

  http::route_table table;
  std::deque<route_record> all;  // by the number of the route
  std::deque<route_scope> scopes;
  std::vector<std::unique_ptr<provider>> providers;
  bool completed = false;

 private:
  void order(const dependency_need& what, const std::string& asked_by, route_record& into,
             std::vector<const provider*>& under_way);
  [[nodiscard]] std::string name_of(const route_record& what) const;
};

// The rule for an error, of the innermost group that has one.
struct found_rule {
  const error_rule* rule = nullptr;  // none: by its kind
  failure leaf;
  bool catch_all = false;
};
[[nodiscard]] found_rule find_rule(const route_scope& within, const failure& what);

}  // namespace belay::service::detail
