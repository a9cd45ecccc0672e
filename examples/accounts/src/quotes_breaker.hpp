// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who is down is left alone: by the loops of this program, or by all programs that share a store.

#include <belay/resilience/admission_store.hpp>
#include <belay/resilience/shared_circuit_breaker.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace accounts {

/// A breaker whose state is in memory, or in a store: what a pipeline sees is the same. Errors, cancellation, thread: those of the one that it is
/// made of. Copies share the state.
class quotes_breaker : public belay::policy<quotes_breaker> {
 public:
  explicit quotes_breaker(belay::shared_circuit_breaker of) : of_(std::move(of)) {}
  explicit quotes_breaker(belay::stored_circuit_breaker of) : of_(std::move(of)) {}

  template <belay::guarded_operation Next>
  [[nodiscard]] BELAY_CORO_WRAPPER belay::task<belay::guarded_result<Next>> run(Next next) const {
    if (const auto* stored = std::get_if<belay::stored_circuit_breaker>(&of_))
      return stored->run(std::move(next));
    return std::get<belay::shared_circuit_breaker>(of_).run(std::move(next));
  }

  [[nodiscard]] std::string_view name() const noexcept {
    return std::visit([](const auto& one) { return one.name(); }, of_);
  }
  [[nodiscard]] std::string describe() const {
    return std::visit([](const auto& one) { return one.describe(); }, of_);
  }
  [[nodiscard]] belay::policy_facts facts() const {
    return std::visit([](const auto& one) { return one.facts(); }, of_);
  }

 private:
  std::variant<belay::shared_circuit_breaker, belay::stored_circuit_breaker> of_;
};

}  // namespace accounts
