// SPDX-License-Identifier: Apache-2.0
// The description of the API: an OpenAPI 3.1 document, made of the declarations of the routes.

#include <belay/http/json_text.hpp>
#include <belay/service/typed.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "api_page.hpp"
#include "app_state.hpp"

namespace belay::service {

namespace {

using detail::operation_description;
using detail::route_record;
using detail::route_scope;
using http::to_json_string;

constexpr std::string_view problem_schema =
    R"({"type":"object","description":"Problem details, RFC 9457","properties":{"type":{"type":"string"},)"
    R"("title":{"type":"string"},"status":{"type":"integer"},"code":{"type":"string"},"detail":{"type":"string"},)"
    R"("instance":{"type":"string"},"trace_id":{"type":"string"},"errors":{"type":"array","items":{"type":"object",)"
    R"("properties":{"pointer":{"type":"string"},"detail":{"type":"string"}},"required":["pointer","detail"]}}},)"
    R"("required":["type","title","status"]})";
constexpr char problem_tag = 0;

// "a":1,"b":2 between braces.
class object {
 public:
  void add(std::string_view name, std::string_view value) {
    if (!text_.empty()) text_ += ',';
    http::append_json_string(text_, name);
    text_ += ':';
    text_ += value;
  }
  void add_text(std::string_view name, std::string_view value) {
    if (!value.empty()) add(name, to_json_string(value));
  }
  [[nodiscard]] std::string text() const { return "{" + text_ + "}"; }

 private:
  std::string text_;
};

std::string list(const std::vector<std::string>& elements) {
  std::string out;
  for (const std::string& one : elements) out += (out.empty() ? "" : ",") + one;
  return "[" + out + "]";
}

std::string content(std::string_view type, const std::string& schema) {
  object media;
  media.add("schema", schema);
  object all;
  all.add(type, media.text());
  return all.text();
}

class document {
 public:
  explicit document(const detail::route_registry& of) : of_(&of) {}

  std::string make(const api_options& about, std::string_view name) {
    std::map<std::string, object> paths;
    for (std::size_t i = 0; i != of_->all.size(); ++i) {
      const route_record& one = of_->all[i];
      const std::string verb = lower(http::to_string(one.verb));
      if (one.options.hidden || verb == "connect" || verb == "other") continue;
      const std::string pattern(of_->table.pattern(i));
      paths[pattern].add(verb, operation(one, verb, pattern));
    }
    object all_paths;
    for (const auto& [pattern, operations] : paths) all_paths.add(pattern, operations.text());
    object info;
    info.add("title", to_json_string(about.title.empty() ? name : std::string_view(about.title)));
    info.add("version", to_json_string(about.version));
    info.add_text("description", about.description);
    object components;
    components.add("schemas", "{" + schemas_.text() + "}");
    object whole;
    whole.add("openapi", "\"3.1.0\"");
    whole.add("info", info.text());
    whole.add("paths", all_paths.text());
    whole.add("components", components.text());
    return whole.text();
  }

 private:
  static std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
  }

  // "get_users_id"; they must differ.
  std::string name_of(const std::string& verb, const std::string& pattern) {
    std::string name = verb;
    for (const char c : pattern) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (plain) {
        name += c;
      } else if (name.back() != '_') {
        name += '_';
      }
    }
    while (name.back() == '_') name.pop_back();
    std::string unique = name;
    for (int more = 2; !names_.insert(unique).second; ++more) unique = name + "_" + std::to_string(more);
    return unique;
  }

  std::string problem() {
    return content("application/problem+json",
                   schemas_.reference(&problem_tag, "problem_details",
                                      [](http::schemas&) { return std::string(problem_schema); }));
  }

  std::string operation(const route_record& route, const std::string& verb, const std::string& pattern) {
    const std::vector<std::string> in_path = detail::pattern_names(pattern);
    operation_description told;
    told.all = &schemas_;
    if (route.bound.describe != nullptr) {
      // Those that no path<> names, in order, are the plain arguments.
      operation_description named;
      http::schemas dropped;
      named.all = &dropped;
      route.bound.describe(named, {});
      std::vector<std::string> plain;
      for (const std::string& one : in_path) {
        const bool has_name =
            std::any_of(named.parameters.begin(), named.parameters.end(),
                        [&](const auto& known) { return known.in == "path" && known.name == one; });
        if (!has_name) plain.push_back(one);
      }
      route.bound.describe(told, plain);
    }
    for (const detail::provider* one : route.dependencies) one->describe(told);
    for (const std::string& one : in_path) told.add({one, "path", R"({"type":"string"})", true});

    object made;
    made.add("operationId", to_json_string(name_of(verb, pattern)));
    std::vector<std::string> tags;
    for (const route_scope* at = route.within; at != nullptr; at = at->parent) {
      std::vector<std::string> more;
      for (const std::string& tag : at->options.tags) more.push_back(to_json_string(tag));
      tags.insert(tags.begin(), more.begin(), more.end());
    }
    for (const std::string& tag : route.options.tags) tags.push_back(to_json_string(tag));
    if (!tags.empty()) made.add("tags", list(tags));
    made.add_text("summary", route.options.summary);
    made.add_text("description", route.options.description);
    if (route.options.deprecated || route.within->options.deprecated) made.add("deprecated", "true");
    std::vector<std::string> parameters;
    for (const auto& one : told.parameters) {
      // A path parameter that the pattern does not have is one of a dependency's, and a finding for each request.
      object parameter;
      parameter.add("name", to_json_string(one.name));
      parameter.add("in", to_json_string(one.in));
      parameter.add("required", one.required ? "true" : "false");
      parameter.add("schema", one.schema);
      parameters.push_back(parameter.text());
    }
    if (!parameters.empty()) made.add("parameters", list(parameters));
    if (!told.body.empty()) {
      object body;
      body.add("required", told.body_required ? "true" : "false");
      body.add("content", content("application/json", told.body));
      made.add("requestBody", body.text());
    }
    made.add("responses", responses(route, told));
    return made.text();
  }

  std::string responses(const route_record& route, const operation_description& told) {
    // By status: what is said of it, and its content.
    std::map<int, std::pair<std::string, std::string>> all;
    const auto add = [&all](http::status status, std::string text, std::string what) {
      auto& known = all[static_cast<int>(status)];
      known.first += (known.first.empty() ? "" : ", ") + text;
      if (!what.empty()) known.second = std::move(what);
    };
    if (told.typed) {
      const auto status = static_cast<http::status>(told.status);
      add(status, std::string(http::reason_phrase(status)),
          told.result.empty() ? "" : content("application/json", told.result));
      if (!told.parameters.empty() || !told.body.empty())
        add(http::status::unprocessable_content, "validation_failed", problem());
      if (!told.body.empty()) {
        add(http::status::bad_request, "malformed_json", problem());
        add(http::status::unsupported_media_type, "unsupported_media_type", problem());
      }
    }
    for (const route_scope* at = route.within; at != nullptr; at = at->parent) {
      for (const auto& [status, codes] : at->told) {
        for (const std::string& code : codes) add(status, code, problem());
      }
    }
    if (route.deadline > duration::zero()) add(http::status::gateway_timeout, "deadline_exceeded", problem());
    for (const auto& [status, text] : route.options.responses)
      add(status, text, http::is_error(status) ? problem() : "");
    object made;
    for (const auto& [status, what] : all) {
      object one;
      one.add("description", to_json_string(what.first));
      if (!what.second.empty()) one.add("content", what.second);
      made.add(std::to_string(status), one.text());
    }
    object any;
    any.add("description", "\"Any other error\"");
    any.add("content", problem());
    made.add("default", any.text());
    return made.text();
  }

  const detail::route_registry* of_;
  http::schemas schemas_;
  std::set<std::string> names_;
};

}  // namespace

void app::state::complete_routes() {
  const auto serve = [this](const std::string& path, handler what) {
    if (path.empty()) return;
    registry.table.add(http::method::get, path);
    detail::bound_handler bound;
    bound.call = std::move(what);
    registry.all.push_back({http::method::get, std::move(bound), {.hidden = true}, &registry.root()});
  };
  if (options.api) {
    serve(options.api->document, [this](request&) -> task<http::response> {
      co_return http::response::json(http::status::ok, api_document);
    });
    serve(options.api->page,
          [this](request&) -> task<http::response> { co_return detail::api_page(api_document); });
  }
  registry.complete();
  if (options.api) api_document = document(registry).make(*options.api, options.name);
}

}  // namespace belay::service
