// SPDX-License-Identifier: Apache-2.0
// The world of one run.

#include <belay/testing/stage.hpp>
#include <algorithm>

namespace belay::testing {

stage::stage(test_loop& loop, std::uint64_t seed)
    : loop_(&loop), seed_(seed), owed_(std::make_shared<obligations>()) {}

stage::~stage() {
  while (!made_.empty()) made_.pop_back();
}

bool stage::is_undisturbed(const detail::node& task) const noexcept {
  if (quiet_.empty()) return false;
  const detail::scope* top = task.current;
  while (top != nullptr && std::find(quiet_.begin(), quiet_.end(), top) == quiet_.end()) top = top->parent;
  if (top == nullptr) return false;
  for (detail::scope* walk = task.current;; walk = walk->parent) {
    walk->at_gate &= static_cast<unsigned char>(~detail::gate_watched);
    if (walk == top) return true;
  }
}

void stage::leave_behind() noexcept {
  static std::vector<std::unique_ptr<any_box>>& kept = *new std::vector<std::unique_ptr<any_box>>();
  for (auto& one : made_) kept.push_back(std::move(one));
  made_.clear();
}

void stage::expect(std::string rule, std::function<bool()> holds, std::source_location where) {
  expect(std::move(rule), [holds = std::move(holds)](const run_end&) { return holds(); }, where);
}

void stage::expect(std::string text, std::function<bool(const run_end&)> holds, std::source_location where) {
  rules_.push_back({std::move(text), std::move(holds), where});
}

void stage::afterwards(task_function<task<>()> use, std::source_location where) {
  afterwards_ = std::move(use);
  afterwards_at_ = where;
}

obligation stage::owe(std::string what, std::source_location where) {
  return owed_->take(std::move(what), where);
}

std::mt19937_64& stage::random() {
  if (!random_) random_.emplace(seed_);
  return *random_;
}

}  // namespace belay::testing
