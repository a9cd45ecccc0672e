// SPDX-License-Identifier: Apache-2.0
// GET /quotes: a call to another service, with everything that can go wrong with it.

#include "quotes.hpp"

#include <belay/core/managed.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/db/redis/policy_store.hpp>
#include <belay/errors/classify.hpp>
#include <belay/http/status.hpp>
#include <belay/resilience/rejected.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <utility>

#include "bank.hpp"
#include "json.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
using belay::error_kind;
using belay::task;

constexpr std::size_t most_kept = 1000;

// It answered what is no quote: counted by the breaker, not asked again at once.
[[noreturn]] void refuse(const char* what) {
  throw belay::error(error_kind::data_format, "bad_quote", std::string("the quote of the upstream ") + what);
}

quote read_quote(const http::response& from, const std::string& symbol) {
  boost::system::error_code bad;
  const boost::json::value text = boost::json::parse(from.body, bad);
  if (bad || !text.is_object()) refuse("is no JSON object");
  const auto* named = text.get_object().if_contains("symbol");
  const auto* price = text.get_object().if_contains("price");
  if (named == nullptr || !named->is_string() || named->get_string() != symbol)
    refuse("is for another symbol");
  if (price == nullptr || !price->is_int64() || price->get_int64() < 0) refuse("has no price");
  return {.symbol = symbol, .price = price->get_int64()};
}

// [snippet tell]
// What a client is told of a failure, by what it means; its text stays inside, as the cause.
[[noreturn]] void tell(const belay::failure& why) {
  const belay::classification known = belay::classify(why);
  try {
    why.rethrow();
  } catch (const quotes_error&) {
    throw;
  } catch (const belay::misuse_error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const belay::rejected_error&) {
    quotes_unavailable error(error_kind::unavailable, "quotes_unavailable",
                             "quotes are not available just now; try again later");
    if (known.retry_after) error.set_retry_after(*known.retry_after);
    throw error;
  } catch (...) {
    if (known.kind == error_kind::not_found)
      throw quote_not_found(error_kind::not_found, "quote_not_found", "there is no quote for this symbol");
    if (known.kind == error_kind::timed_out)
      throw upstream_timeout(error_kind::timed_out, "upstream_timeout", "the quotes took too long");
    throw bad_upstream(error_kind::unavailable, "bad_upstream",
                       "the service behind the quotes does not work");
  }
}
// [end]

// The upstream has a bug, not we.
bool is_status(const belay::failure& why) {
  try {
    why.rethrow();
  } catch (const http::status_error&) {
    return true;
  } catch (...) {
    return false;
  }
}

// [snippet stale]
// Kinds after which an older quote is better than none. "Not found" is an answer, and a bug is a bug.
bool may_be_stale(const belay::failure& why) {
  switch (belay::classify(why).kind) {
    case error_kind::unavailable:
    case error_kind::overloaded:
    case error_kind::timed_out:
    case error_kind::data_format: return true;
    case error_kind::internal: return is_status(why);
    default: return false;
  }
}
// [end]

belay::circuit_breaker_options breaker_of(const quotes_options& options) {
  return {.name = "quotes",
          .consecutive_failures = 5,
          .open_for = options.open_for,
          .listener = options.listener};
}

// [snippet breaker]
// In the store, or else in memory. A store that is away must cost little of the second that there is.
quotes_breaker make_breaker(const quotes_options& options, std::shared_ptr<belay::admission_store> store) {
  if (store) {
    return quotes_breaker(belay::stored_circuit_breaker(
        std::move(store), breaker_of(options),
        {.limit = std::chrono::milliseconds(100), .otherwise = belay::without_store::local}));
  }
  return quotes_breaker(options.breaker ? *options.breaker : make_quotes_breaker(options));
}
// [end]

using web_client = belay::service::resource<http::client>;
using redis_client = belay::service::resource<belay::db::redis::client>;

struct quotes_route {
  web_client web;
  std::optional<redis_client> redis;
  quotes_options options;
  http::random_source random;
  std::unique_ptr<quotes> source;  // made with the first request: the client is open by then

  task<http::response> answer(belay::service::request& asked) {
    const std::string symbol(asked.path("symbol").value_or(""));
    http::validation check;
    if (!is_symbol(symbol)) check.fail("/path/symbol", "must be 1 to 12 of A-Z, 0-9, dot and hyphen");
    check.finish();
    if (!source) source = std::make_unique<quotes>(*web, options, make_store());
    const quote got =
        co_await source->get(symbol, http::make_child(asked.trace(), random),
                             [&asked](const belay::failure& why) { asked.log().warn("quote_stale", why); });
    co_return accounts::answer(
        http::status::ok,
        boost::json::object{{"symbol", got.symbol}, {"price", got.price}, {"stale", got.stale}});
  }

 private:
  [[nodiscard]] std::shared_ptr<belay::admission_store> make_store() const {
    if (!redis) return nullptr;
    return std::make_shared<belay::db::redis::policy_store>(
        **redis, belay::db::redis::policy_store_options{.prefix = "accounts"});
  }
};

}  // namespace

bool is_symbol(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 12 && std::ranges::all_of(text, [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
  }) && text.find_first_not_of('.') != std::string_view::npos;
}

belay::shared_circuit_breaker make_quotes_breaker(const quotes_options& options) {
  return belay::shared_circuit_breaker(breaker_of(options));
}

// [snippet policies]
quotes::quotes(http::client& web, quotes_options options, std::shared_ptr<belay::admission_store> store)
    : web_(&web),
      options_(std::move(options)),
      guarded_(
          belay::timeout({.limit = options_.total, .name = "quotes", .listener = options_.listener}),
          belay::retry({.max_attempts = 3,
                        .delay = belay::backoff::exponential(std::chrono::milliseconds(20),
                                                             std::chrono::milliseconds(200)),
                        .budget = belay::retry_budget({.ratio = 0.2, .name = "quotes"}),
                        .name = "quotes",
                        .listener = options_.listener}),
          make_breaker(options_, std::move(store)),
          belay::timeout({.limit = options_.attempt, .name = "one try", .listener = options_.listener})) {}
// [end]

// [snippet ask]
task<quote> quotes::ask(const std::string& symbol, const http::trace_context& trace) {
  const http::url& base = *options_.upstream;
  const std::size_t query = base.target.find('?');
  std::string target = base.target.substr(0, query);
  if (!target.ends_with('/')) target += '/';
  target += http::percent_encode(symbol);
  if (query != std::string::npos) target += base.target.substr(query);
  http::client_request what = http::client_request::get(base.with_target(target));
  what.headers.add("Accept", "application/json");
  http::inject(trace, what.headers);
  const http::response answer = co_await web_->fetch(std::move(what));
  if (answer.status != http::status::ok) refuse("has an unexpected status");
  co_return read_quote(answer, symbol);
}
// [end]

void quotes::keep(const quote& good) {
  std::list<kept_quote> newest{{.good = good, .since = belay::now()}};
  const auto [at, is_new] = kept_.try_emplace(good.symbol, newest.begin());
  if (!is_new) by_age_.erase(std::exchange(at->second, newest.begin()));
  by_age_.splice(by_age_.end(), newest);
  if (by_age_.size() <= most_kept) return;
  kept_.erase(by_age_.front().good.symbol);
  by_age_.pop_front();
}

std::optional<quote> quotes::last_good(const std::string& symbol) const {
  const auto found = kept_.find(symbol);
  if (found == kept_.end() || belay::now() - found->second->since >= options_.stale_for) return std::nullopt;
  quote old = found->second->good;
  old.stale = true;
  return old;
}

task<quote> quotes::get(std::string symbol, http::trace_context trace,
                        const std::function<void(const belay::failure&)>& replaced) {
  if (!options_.upstream) {
    throw quotes_unavailable(error_kind::unavailable, "quotes_unavailable",
                             "this service was started without quotes");
  }
  // [snippet get]
  const auto once = [&]() -> task<quote> { co_return co_await ask(symbol, trace); };
  belay::outcome<quote> how = co_await belay::as_outcome(guarded_(std::cref(once)));
  if (how.failed()) {
    const belay::failure why = how.failure();
    std::optional<quote> old = may_be_stale(why) ? last_good(symbol) : std::nullopt;
    if (!old) tell(why);
    for (const belay::failure& one : why.flatten()) one.observe();
    replaced(why);
    co_return std::move(*old);
  }
  quote fresh = std::move(how).value();
  keep(fresh);
  co_return fresh;
  // [end]
}

void add_quotes(belay::service::app& app, quotes_options options) {
  http::client_options limits;
  limits.limits = {.head_limit = 16 * 1024, .body_limit = 64 * 1024};
  limits.wait_timeout = options.total;
  limits.connect_timeout = options.total;
  limits.response_timeout = options.total;
  const web_client web = app.manage("http client", http::open_client(limits));
  std::optional<redis_client> redis;
  if (options.redis) redis = app.manage("redis", belay::db::redis::connect(*options.redis));
  app.gauge("upstream_requests", [web] { return web->statistics().active; });

  // [snippet rules]
  app.on_error<quotes_unavailable>(http::status::service_unavailable, "quotes_unavailable");
  app.on_error<bad_upstream>(http::status::bad_gateway, "bad_upstream");
  app.on_error<upstream_timeout>(http::status::gateway_timeout, "upstream_timeout");
  app.on_error<quote_not_found>(http::status::not_found, "quote_not_found");
  // [end]

  const auto random = [engine = std::make_shared<std::mt19937_64>(std::random_device{}())] {
    return (*engine)();
  };
  auto route = std::make_shared<quotes_route>(web, std::move(redis), std::move(options), random, nullptr);
  app.get("/quotes/{symbol}", [route](belay::service::request& r) -> task<http::response> {
    co_return co_await route->answer(r);
  });
}

}  // namespace accounts
