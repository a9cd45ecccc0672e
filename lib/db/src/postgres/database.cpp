// SPDX-License-Identifier: Apache-2.0
// Opening a database, and single statements on it.

#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/db/postgres/database.hpp>

#include "open_on.hpp"
#include "server_error.hpp"
#include "session.hpp"

namespace belay::db::postgres {

namespace {

void require_valid(const options& settings) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw error(error_kind::invalid, "bad_options", std::string("open PostgreSQL: ") + what);
  };
  require(settings.max_connections >= 1 && settings.max_connections <= 10'000,
          "max_connections must be 1 to 10,000");
  require(settings.min_connections <= settings.max_connections,
          "min_connections must be at most max_connections");
  require(settings.acquire_limit > duration::zero(), "acquire_limit must be above 0");
  require(settings.connect_limit > duration::zero(), "connect_limit must be above 0");
  require(settings.max_lifetime > duration::zero(), "max_lifetime must be above 0");
  require(settings.idle_timeout > duration::zero(), "idle_timeout must be above 0");
  require(settings.leak_after > duration::zero(), "leak_after must be above 0");
  require(settings.check_after >= duration::zero(), "check_after must be 0 or more");
  require(settings.cancel_limit > duration::zero(), "cancel_limit must be above 0");
  require(settings.commit_limit > duration::zero(), "commit_limit must be above 0");
}

// The server has forgotten a prepared statement (DISCARD ALL), or its table has got another shape: then it did nothing, and is prepared
// anew the next time.
bool is_outdated(const failure& why) {
  const auto* said = why.find<statement_error>();
  if (said == nullptr) return false;
  const std::string state = sqlstate(*said);
  return state == "26000" ||
         (state == "0A000" && std::string_view(said->what()).find("cached plan") != std::string_view::npos);
}

task<std::vector<result>> run_alone(std::shared_ptr<detail::pool> from, std::vector<statement> all,
                                    std::source_location where) {
  if (all.empty()) co_return std::vector<result>();
  const detail::lease taken = co_await from->acquire(where);
  detail::line& on = taken.connection();
  const std::string first = all.front().sql;
  outcome<std::vector<result>> how = co_await as_outcome(detail::run_batch(on, all));
  if (how.failed()) {
    const failure why = how.failure();
    if (!is_outdated(why) || !on.usable()) co_await fail(why);
    why.observe();
    how = co_await as_outcome(detail::run_batch(on, std::move(all)));
    if (how.failed()) co_await fail(how.failure());
  }
  if (on.transaction() != detail::transaction_state::none) {
    on.drop();  // rolls back
    throw misuse_error(
        fmt::format("database {}: {}: a transaction needs a connection of its own: use transaction()",
                    from->name(), detail::brief(first)));
  }
  co_return std::move(how).value();
}

task<result> run_single(std::shared_ptr<detail::pool> from, std::string sql, parameters bound,
                        std::source_location where) {
  std::vector<statement> all;
  all.push_back({std::move(sql), std::move(bound)});
  std::vector<result> got = co_await run_alone(std::move(from), std::move(all), where);
  co_return std::move(got.front());
}

}  // namespace

namespace detail {

managed<database> open_on(std::shared_ptr<connector> from, options settings) {
  require_valid(settings);
  const db::pool<held_line> connections = co_await use(open_lines(from, settings));
  database usable(std::make_shared<pool>(std::move(from), std::move(settings), connections));
  co_yield usable;
}

}  // namespace detail

task<change> database::execute_with(std::string sql, parameters bound) const {
  const auto from = pool_;
  const std::source_location where = co_await belay::detail::caller_site_awaiter();
  co_return (co_await run_single(from, std::move(sql), std::move(bound), where)).changed;
}

task<rows> database::query_with(std::string sql, parameters bound) const {
  const auto from = pool_;
  const std::source_location where = co_await belay::detail::caller_site_awaiter();
  co_return (co_await run_single(from, std::move(sql), std::move(bound), where)).rows;
}

task<std::optional<row>> database::query_one_with(std::string sql, parameters bound) const {
  const auto from = pool_;
  const std::source_location where = co_await belay::detail::caller_site_awaiter();
  rows found = (co_await run_single(from, sql, std::move(bound), where)).rows;
  co_return detail::at_most_one(std::move(found), from->name(), sql);
}

task<std::vector<result>> database::run(pipeline all) const {
  const auto from = pool_;
  const std::source_location where = co_await belay::detail::caller_site_awaiter();
  co_return co_await run_alone(from, std::move(all).take(), where);
}

std::vector<pool_holder> database::holders() const { return pool_->holders(); }

pool_statistics database::statistics() const noexcept { return pool_->statistics(); }

const std::string& database::name() const noexcept { return pool_->name(); }

BELAY_CORO_WRAPPER managed<database> open(std::string url, options settings) {
  require_valid(settings);
  std::shared_ptr<detail::connector> from = detail::connect_with_libpq(url, settings);
  return detail::open_on(std::move(from), std::move(settings));
}

}  // namespace belay::db::postgres
