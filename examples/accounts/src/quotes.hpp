// SPDX-License-Identifier: Apache-2.0
#pragma once
// Quotes of another service, which may be slow, away or mad.

#include <belay/core/error.hpp>
#include <belay/core/time.hpp>
#include <belay/db/redis/options.hpp>
#include <belay/http/client.hpp>
#include <belay/http/trace_context.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "quotes_breaker.hpp"

namespace accounts {

struct quote {
  std::string symbol;
  std::int64_t price = 0;  ///< in minor units
  bool stale = false;      ///< the last good one, because there is no other
};

/// Why there is no quote. The messages are for clients.
class quotes_error : public belay::error {
 public:
  using error::error;
};
/// 503: the upstream is away, or is left alone for a while (`retry_after()`).
class quotes_unavailable : public quotes_error {
 public:
  using quotes_error::quotes_error;
};
/// 502: it answered what cannot be used.
class bad_upstream : public quotes_error {
 public:
  using quotes_error::quotes_error;
};
/// 504: it did not answer in time.
class upstream_timeout : public quotes_error {
 public:
  using quotes_error::quotes_error;
};
/// 404: it does not know the symbol.
class quote_not_found : public quotes_error {
 public:
  using quotes_error::quotes_error;
};

struct quotes_options {
  /// The symbol is added as one more segment of the path. Nothing: there are no quotes.
  std::optional<belay::http::url> upstream{};
  belay::duration total = std::chrono::seconds(1);
  belay::duration attempt = std::chrono::milliseconds(300);
  /// How long a breaker that has opened leaves the upstream alone.
  belay::duration open_for = std::chrono::seconds(2);
  /// A quote of that age is too old to stand in for a fresh one. Zero: none does.
  belay::duration stale_for = std::chrono::minutes(10);
  belay::policy_listener listener = {};
  /// Of several loops, all are given the same one, so that one probe is enough for all. Nothing: one of its own.
  std::optional<belay::shared_circuit_breaker> breaker{};
  /// Where the breaker is that all programs share, instead of that one. While it is away, each loop has its own. Nothing: they do not share.
  std::optional<belay::db::redis::options> redis{};
};

/// For `quotes_options::breaker`, by the others of these options.
[[nodiscard]] belay::shared_circuit_breaker make_quotes_breaker(const quotes_options& options);

/// Asks the upstream: within a second, up to three times if its budget allows, not at all while the breaker is open.
class quotes {
 public:
  /// `store`: keeps the breaker; null: `options.breaker` does. Lifetime: `web` outlives it.
  quotes(belay::http::client& web, quotes_options options,
         std::shared_ptr<belay::admission_store> store = nullptr);
  quotes(const quotes&) = delete;
  quotes& operator=(const quotes&) = delete;
  ~quotes() = default;

  /// Result:        a fresh quote; or the last good one of this symbol, stale, when there is none to be had and it is not older than
  ///                `stale_for`. `replaced` is called with the failure behind a stale one. Kept are those of the 1000 symbols that
  ///                were answered last.
  /// Errors:        a `quotes_error`.
  /// Cancellation:  the connection is dropped; counts as nothing for the breaker.
  [[nodiscard]] belay::task<quote> get(std::string symbol, belay::http::trace_context trace,
                                       const std::function<void(const belay::failure&)>& replaced);

  /// The policies with their numbers, one on a line.
  [[nodiscard]] std::string describe() const { return guarded_.describe(); }

 private:
  using policies = belay::pipeline<belay::timeout, belay::retry, quotes_breaker, belay::timeout>;

  struct kept_quote {
    quote good;
    belay::time_point since;
  };

  belay::task<quote> ask(const std::string& symbol, const belay::http::trace_context& trace);
  void keep(const quote& good);
  [[nodiscard]] std::optional<quote> last_good(const std::string& symbol) const;

  belay::http::client* web_;
  quotes_options options_;
  policies guarded_;
  std::list<kept_quote> by_age_;  // the oldest is first
  std::unordered_map<std::string, std::list<kept_quote>::iterator> kept_;
};

/// 1 to 12 of A-Z, 0-9, dot and hyphen.
[[nodiscard]] bool is_symbol(std::string_view text) noexcept;

}  // namespace accounts
