// SPDX-License-Identifier: Apache-2.0
// Setting up routes and what holds for them.

#include <belay/service/routes.hpp>

#include "served.hpp"

namespace belay::service {

namespace detail {
http::response to_answer(const http::problem& what) { return http::to_response(what); }
}  // namespace detail

std::string routes::full(std::string_view pattern) const { return scope_->prefix + std::string(pattern); }

void routes::add(http::method verb, std::string_view pattern, detail::bound_handler bound,
                 route_options options) {
  registry_->require_open("route");
  if (options.deadline < duration::zero())
    throw misuse_error("route " + full(pattern) + ": a deadline cannot be negative");
  using body = detail::bound_handler::body;
  if (options.streams_body && (bound.takes == body::json || bound.takes == body::optional_json))
    throw misuse_error("route " + full(pattern) + ": a handler that takes json cannot have streams_body");
  registry_->table.add(verb, full(pattern));
  registry_->all.push_back({verb, std::move(bound), std::move(options), scope_});
}

routes routes::group(std::string prefix, route_options options) {
  registry_->require_open("group");
  if (!prefix.empty() && (!prefix.starts_with('/') || prefix.ends_with('/')))
    throw misuse_error("group: the prefix \"" + prefix + "\" must begin with a slash and not end with one");
  if (options.deadline < duration::zero())
    throw misuse_error("group " + prefix + ": a deadline cannot be negative");
  if (options.streams_body || !options.responses.empty())
    throw misuse_error("group " + prefix + ": streams_body and responses are options of a route");
  detail::route_scope& made = registry_->scopes.emplace_back();
  made.parent = scope_;
  made.prefix = full(prefix);
  made.options = std::move(options);
  return {*registry_, made};
}

void routes::use(middleware around) {
  registry_->require_open("use");
  if (!around) throw misuse_error("use: an empty function");
  scope_->around.push_back(std::move(around));
}

void routes::add_provider(std::unique_ptr<detail::provider> made, bool replaces) {
  registry_->add_provider(std::move(made), replaces);
}

error_table<detail::error_rule>& routes::rules() {
  registry_->require_open("on_error");
  return scope_->rules;
}

void routes::tell_rule(http::status status, std::string_view code) { scope_->told[status].emplace(code); }

void routes::set_catch_all(detail::error_rule rule) {
  registry_->require_open("on_any_error");
  scope_->catch_all = std::move(rule);
}

task<http::response> next::operator()() {
  return detail::request_access::go_on(*of_, index_, std::exchange(used_, true));
}

task<http::response> next::answer() {
  return detail::request_access::go_on_to_an_answer(*of_, index_, std::exchange(used_, true));
}

}  // namespace belay::service
