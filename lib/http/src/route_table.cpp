// SPDX-License-Identifier: Apache-2.0
// The route table: a tree of segments, literals before the parameter.

#include <belay/http/route_table.hpp>

#include <boost/container/small_vector.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>

namespace belay::http {
namespace {

using outcome = route_match::outcome;

// "/a/b" -> {"a", "b"}, "/" -> {""}, "/a/" -> {"a", ""}. `path` begins with a slash.
using segment_list = boost::container::small_vector<std::string_view, 8>;
segment_list split(std::string_view path) {
  segment_list out;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view segment = path.substr(0, path.find('/'));
    out.push_back(segment);
    path.remove_prefix(segment.size());
  }
  return out;
}

bool is_parameter(std::string_view segment) noexcept {
  return segment.starts_with('{') && segment.ends_with('}');
}

bool is_identifier(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

[[noreturn]] void refuse(std::string_view pattern, std::string_view why) {
  throw misuse_error(fmt::format("route \"{}\": {}", pattern, why));
}

struct node {
  std::map<std::string, std::unique_ptr<node>, std::less<>> literals;
  std::unique_ptr<node> parameter;
  std::map<method, std::size_t> routes;
};

struct known_route {
  std::string pattern;
  std::vector<std::string> names;
};

}  // namespace

struct route_table::impl {
  node root;
  std::vector<known_route> routes;

  // Literals first; `values` holds what the parameters on the way took. Stops at the first node with a route
  // for `verb`; the methods of the nodes that match on the way, but have none, go to `others`.
  const std::size_t* find(const node& at, std::span<const std::string_view> segments, std::size_t depth,
                          method verb, std::vector<std::string_view>& values,
                          std::set<method>& others) const {
    if (depth == segments.size()) {
      auto found = at.routes.find(verb);
      if (found == at.routes.end() && verb == method::head) found = at.routes.find(method::get);
      if (found != at.routes.end()) return &found->second;
      for (const auto& [other, route] : at.routes) others.insert(other);
      return nullptr;
    }
    const std::string_view segment = segments[depth];
    if (const auto next = at.literals.find(segment); next != at.literals.end()) {
      if (const auto* found = find(*next->second, segments, depth + 1, verb, values, others)) return found;
    }
    if (at.parameter && !segment.empty()) {
      values.push_back(segment);
      if (const auto* found = find(*at.parameter, segments, depth + 1, verb, values, others)) return found;
      values.pop_back();
    }
    return nullptr;
  }
};

route_table::route_table() : impl_(std::make_unique<impl>()) {}
route_table::route_table(route_table&&) noexcept = default;
route_table& route_table::operator=(route_table&&) noexcept = default;
route_table::~route_table() = default;

std::size_t route_table::add(method verb, std::string_view pattern) {
  if (verb == method::other) refuse(pattern, "a route needs one of the named methods");
  if (!pattern.starts_with('/')) refuse(pattern, "a pattern begins with \"/\"");
  const segment_list segments = split(pattern);
  known_route added{std::string(pattern), {}};
  for (std::size_t i = 0; i != segments.size(); ++i) {
    const std::string_view segment = segments[i];
    if (is_parameter(segment)) {
      const std::string_view name = segment.substr(1, segment.size() - 2);
      if (!is_identifier(name)) refuse(pattern, "a parameter is letters, digits and _ in braces, {id}");
      if (std::find(added.names.begin(), added.names.end(), name) != added.names.end()) {
        refuse(pattern, fmt::format("there are two parameters {{{}}}", name));
      }
      added.names.emplace_back(name);
    } else if (segment.find_first_of("{}?#") != std::string_view::npos) {
      refuse(pattern, "a segment is either literal text without {, }, ?, # or one parameter in braces");
    } else if (segment == "." || segment == "..") {
      refuse(pattern, "a dot segment would match nothing");
    } else if (segment.empty() && i + 1 != segments.size()) {
      refuse(pattern, "an empty segment is allowed at the end only");
    }
  }

  node* at = &impl_->root;
  for (const std::string_view segment : segments) {
    std::unique_ptr<node>& next = is_parameter(segment) ? at->parameter : at->literals[std::string(segment)];
    if (!next) next = std::make_unique<node>();
    at = next.get();
  }
  const std::size_t number = impl_->routes.size();
  if (const auto [place, fresh] = at->routes.try_emplace(verb, number); !fresh) {
    refuse(pattern, fmt::format("{} {} is taken by the route \"{}\"", to_string(verb), pattern,
                                impl_->routes[place->second].pattern));
  }
  impl_->routes.push_back(std::move(added));
  return number;
}

route_match route_table::find(method verb, std::string_view path) const {
  route_match out;
  std::set<method> others;
  const auto describe_allowed = [&] {
    if (others.contains(method::get)) others.insert(method::head);
    others.insert(method::options);
    for (const method one : others) {
      if (!out.allow.empty()) out.allow += ", ";
      out.allow += to_string(one);
    }
  };
  if (path == "*") {
    if (verb != method::options) return out;
    others = {method::get, method::head, method::post, method::put, method::delete_, method::patch};
    out.what = outcome::options;
    describe_allowed();
    return out;
  }
  if (!path.starts_with('/')) return out;
  segment_list segments = split(path);
  std::vector<std::string> decoded;
  for (std::string_view& segment : segments) {
    if (segment.find('%') != std::string_view::npos) {
      auto text = percent_decode(segment);
      if (!text) return out;
      if (decoded.empty()) decoded.reserve(segments.size());  // `segments` refers to it
      segment = decoded.emplace_back(std::move(*text));
    }
    if (segment == "." || segment == "..") return out;
  }
  std::vector<std::string_view> values;
  if (const std::size_t* route = impl_->find(impl_->root, segments, 0, verb, values, others)) {
    out.what = outcome::found;
    out.route = *route;
    const std::vector<std::string>& names = impl_->routes[*route].names;
    for (std::size_t i = 0; i != names.size(); ++i)
      out.parameters.push_back({names[i], std::string(values[i])});
    return out;
  }
  if (others.empty()) return out;
  out.what = verb == method::options ? outcome::options : outcome::method_not_allowed;
  describe_allowed();
  return out;
}

std::string_view route_table::pattern(std::size_t route) const { return impl_->routes.at(route).pattern; }
std::size_t route_table::size() const noexcept { return impl_->routes.size(); }

std::optional<std::string_view> route_match::parameter(std::string_view name) const noexcept {
  for (const path_parameter& one : parameters) {
    if (one.name == name) return one.value;
  }
  return std::nullopt;
}

}  // namespace belay::http
