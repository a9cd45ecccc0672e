// SPDX-License-Identifier: Apache-2.0
// Orders types by derivation, and finds the rule for a failure.

#include <belay/errors/classify.hpp>
#include <belay/errors/detail/error_index.hpp>

#include <algorithm>

namespace belay::detail {

namespace {

template <class Key>
void put(std::vector<std::pair<Key, error_index::rule>>& into, Key key, error_index::rule which) {
  const auto known = std::ranges::find(into, key, &std::pair<Key, error_index::rule>::first);
  if (known != into.end()) {
    known->second = which;
  } else {
    into.emplace_back(std::move(key), which);
  }
}

template <class Key, class Asked>
std::optional<error_index::rule> get(const std::vector<std::pair<Key, error_index::rule>>& from,
                                     const Asked& key) {
  const auto known = std::ranges::find_if(from, [&key](const auto& one) { return one.first == key; });
  return known != from.end() ? std::optional(known->second) : std::nullopt;
}

}  // namespace

std::vector<failure> itself_and_attached(const failure& what) {
  std::vector<failure> all;
  if (!what) return all;
  all.push_back(what);
  for (std::size_t i = 0; i != all.size(); ++i) {
    const failure one = all[i];
    for (const failure& other : one.record()->attached) {
      if (std::ranges::find(all, other) == all.end()) all.push_back(other);
    }
  }
  return all;
}

void error_index::add_type(type_probe type, rule which) {
  const auto same =
      std::ranges::find_if(types_, [&](const type_rule& known) { return *known.type.type == *type.type; });
  if (same != types_.end()) {
    same->which = which;
    return;
  }
  // Before the first type that this one derives from: what derives from this one, derives from that as well, and so is before it
  // already.
  const auto base = std::ranges::find_if(
      types_, [&](const type_rule& known) { return known.type.matches_pointer(type.pointer); });
  types_.insert(base, {std::move(type), which});
}

void error_index::add_status(int status, rule which) { put(statuses_, status, which); }
void error_index::add_code(std::string code, rule which) { put(codes_, std::move(code), which); }
void error_index::add_kind(error_kind kind, rule which) { put(kinds_, kind, which); }

std::optional<error_index::rule> error_index::by_status(const std::exception_ptr& what) const {
  if (statuses_.empty()) return std::nullopt;
  for (const status_reader& read : readers_) {
    try {
      if (const std::optional<int> status = read(what)) return get(statuses_, *status);
    } catch (...) {
      report_contained("status_of");  // the error that is being handled matters more
    }
  }
  return std::nullopt;
}

std::optional<error_index::rule> error_index::by_name(const std::exception_ptr& what) const {
  if (const std::optional<rule> found = by_status(what)) return found;
  for (const type_rule& known : types_) {
    if (known.type.matches(what)) return known.which;
  }
  if (codes_.empty()) return std::nullopt;
  const std::string code = classify(what).code;
  return code.empty() ? std::nullopt : get(codes_, code);
}

std::optional<error_index::found> error_index::find(const failure& what) const {
  const std::vector<failure> leaves = itself_and_attached(what);
  for (const failure& leaf : leaves) {
    if (const std::optional<rule> which = by_name(leaf.exception())) return found{*which, leaf};
  }
  if (!kinds_.empty()) {
    for (const failure& leaf : leaves) {
      if (is_fatal(leaf)) continue;
      if (const auto which = get(kinds_, classify(leaf).kind)) return found{*which, leaf};
    }
  }
  if (!otherwise_ || leaves.empty() || std::ranges::any_of(leaves, is_fatal)) return std::nullopt;
  return found{*otherwise_, what};
}

}  // namespace belay::detail
