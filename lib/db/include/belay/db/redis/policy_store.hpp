// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state of circuit breakers and rate limiters in Redis, shared by programs on several machines.

#include <belay/db/redis/client.hpp>
#include <belay/resilience/admission_store.hpp>
#include <memory>
#include <string>

namespace belay::db::redis {

struct policy_store_options {
  /// Keys are `<prefix>:v1:breaker:<name>`, `<prefix>:v1:bucket:<name>`, `<prefix>:v1:window:<name>`. Not empty.
  std::string prefix = "belay";
  /// A probe without an end for so long is lost: its program has died, or could not tell. Then others are let through. At least 1 s; longer than
  /// any call may take. The `probe_limit` of a breaker, if it has one, goes before this one.
  duration probe_limit = std::chrono::minutes(1);
  /// A breaker that nobody uses for so long (after its open time) is forgotten: it is closed, with nothing counted. At least 1 min.
  duration keep = std::chrono::hours(1);
};

/// A store for `stored_circuit_breaker` and `stored_rate_limiter`.
///
///     const auto store = std::make_shared<redis::policy_store>(client);
///     const stored_rate_limiter mails(store, {.name = "mail", .permits = 10}, {.otherwise = without_store::reject});
///
/// Each question is one script of Lua, which acts as a whole. The time is that of Redis (TIME, to the microsecond): clocks of the machines
/// play no part, and one that is set back does neither lock nor open anything.
///
/// Errors:        those of `client`; the policies do then what `store_options::otherwise` says.
/// Cancellation:  before the command is written: nothing happened. After that: when the reply comes, the permits are given back and the
///                probe is freed. If the connection is lost first, permits stay used, and a probe is free after `probe_limit`.
/// Time:          all keys expire: rates when they have nothing to remember any more, breakers after `keep` (never while open for ever).
/// When Redis has been started less than a rate's `per` (the time to fill the bucket) ago, a key that is not there counts as used up: a
/// restart without persistence lets nobody exceed the rate. The breaker is closed after it.
/// Needs Redis 5 or newer, one server (no cluster). Thread: that of the client.
class policy_store final : public admission_store {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit policy_store(client over, policy_store_options options = {});
  ~policy_store() override;

  task<admission> admit(std::string key, const circuit_breaker_options& options) override;
  task<std::optional<breaker_state>> ended(std::string key, const circuit_breaker_options& options,
                                           call_end how) override;
  task<std::optional<duration>> take(std::string key, const rate_limiter_options& options,
                                     std::uint64_t weight) override;

  struct scripts;

 private:
  [[nodiscard]] std::string key_for(const char* what, const std::string& name) const;

  client client_;
  policy_store_options options_;
  std::shared_ptr<scripts> scripts_;  // also with what has to be undone later
};

}  // namespace belay::db::redis
