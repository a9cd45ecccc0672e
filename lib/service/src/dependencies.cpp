// SPDX-License-Identifier: Apache-2.0
// Opening what a handler depends on.

#include "served.hpp"

namespace belay::service::detail {

void check_dependencies(request& of, http::validation& findings) {
  for (provider* one : request_access::context(of)->route->dependencies) one->check(of, findings);
}

task<> open_dependencies(request& of) {
  request_dependencies& context = *request_access::context(of);
  for (provider* one : context.route->dependencies) {
    exit_stack& into = one->when == scope::request ? *context.until_after_it : *context.until_the_response;
    context.opened.push_back(co_await or_fail(one->open(of, into)));
  }
}

void* opened_dependency(const request& of, dependency_key which) noexcept {
  const request_dependencies& context = *request_access::context(of);
  for (std::size_t i = 0; i != context.opened.size(); ++i) {
    if (context.route->dependencies[i]->key == which) return context.opened[i];
  }
  return nullptr;  // never: they are opened in the order in which they need each other
}

}  // namespace belay::service::detail
