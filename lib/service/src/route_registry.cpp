// SPDX-License-Identifier: Apache-2.0
// What follows from everything that was said about routes.

#include <algorithm>

#include "route_registry.hpp"

namespace belay::service::detail {

route_registry::route_registry() {
  scopes.emplace_back();
  root().rules.on<http::problem_error>({.as_it_says = true, .for_problems = true});
}

void route_registry::require_open(std::string_view what) const {
  if (completed)
    throw misuse_error(std::string(what) + ": the app runs already; routes are set up before it starts");
}

void route_registry::add_provider(std::unique_ptr<provider> made, bool replaces) {
  require_open(replaces ? "override_dependency" : "provide");
  const auto known = std::find_if(providers.begin(), providers.end(),
                                  [&](const auto& one) { return one->key == made->key; });
  const std::string name(made->name);
  if (replaces) {
    if (known == providers.end())
      throw misuse_error("override_dependency: nothing provides " + name +
                         ", so there is nothing to replace");
    made->when = (*known)->when;
    *known = std::move(made);
    return;
  }
  if (known != providers.end()) {
    throw misuse_error("provide: " + name +
                       " is provided already; in tests, replace it by override_dependency");
  }
  providers.push_back(std::move(made));
}

std::string route_registry::name_of(const route_record& what) const {
  const auto at = std::find_if(all.begin(), all.end(), [&](const auto& one) { return &one == &what; });
  return std::string(http::to_string(what.verb)) + " " +
         std::string(table.pattern(static_cast<std::size_t>(at - all.begin())));
}

void route_registry::order(const dependency_need& what, const std::string& asked_by, route_record& into,
                           std::vector<const provider*>& under_way) {
  const auto known =
      std::find_if(providers.begin(), providers.end(), [&](const auto& one) { return one->key == what.key; });
  if (known == providers.end()) {
    throw misuse_error(asked_by + " depends on " + std::string(what.name) +
                       ", which nothing provides: add app.provide<" + std::string(what.name) + ">(...)");
  }
  provider& found = **known;
  if (std::find(under_way.begin(), under_way.end(), &found) != under_way.end())
    throw misuse_error("dependencies in a circle: " + asked_by + " depends on " + std::string(found.name));
  if (!under_way.empty() && under_way.back()->when == scope::request && found.when == scope::function) {
    throw misuse_error(asked_by + " has scope::request and depends on " + std::string(found.name) +
                       " of scope::function, which is closed earlier");
  }
  if (std::find(into.dependencies.begin(), into.dependencies.end(), &found) != into.dependencies.end())
    return;
  under_way.push_back(&found);
  for (const dependency_need& more : found.needs) order(more, std::string(found.name), into, under_way);
  under_way.pop_back();
  into.dependencies.push_back(&found);
  into.keeps_open = into.keeps_open || found.when == scope::request;
}

void route_registry::complete() {
  for (route_record& one : all) {
    one.deadline = one.options.deadline;
    std::vector<const route_scope*> outwards;
    for (const route_scope* at = one.within; at != nullptr; at = at->parent) {
      outwards.push_back(at);
      one.options.hidden = one.options.hidden || at->options.hidden;
      one.options.deprecated = one.options.deprecated || at->options.deprecated;
      if (!one.options.body_limit) one.options.body_limit = at->options.body_limit;
      const duration limit = at->options.deadline;
      if (limit > duration::zero() && (one.deadline <= duration::zero() || limit < one.deadline))
        one.deadline = limit;
    }
    for (auto at = outwards.rbegin(); at != outwards.rend(); ++at) {
      for (const middleware& around : (*at)->around) one.chain.push_back(&around);
    }
    std::vector<const provider*> under_way;
    for (const dependency_need& what : one.bound.needs) order(what, name_of(one), one, under_way);
  }
  completed = true;
}

found_rule find_rule(const route_scope& within, const failure& what) {
  for (const route_scope* at = &within; at != nullptr; at = at->parent) {
    const auto found = at->rules.find(what);
    if (!found) continue;
    // A rule for a base of it: an answer that was given on purpose stays as it is.
    if (!found->value.for_problems &&
        belay::detail::exception_as<http::problem_error>(found->leaf.exception()) != nullptr) {
      continue;
    }
    return {.rule = &found->value, .leaf = found->leaf};
  }
  for (const route_scope* at = &within; at != nullptr; at = at->parent) {
    if (at->catch_all) return {.rule = &*at->catch_all, .leaf = what, .catch_all = true};
  }
  return {.leaf = what};
}

}  // namespace belay::service::detail
