// SPDX-License-Identifier: Apache-2.0
// Reports: rows that wait, lanes that make them, and the answers in between.

#include "reports.hpp"

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/mutex.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/errors/classify.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "json.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
using belay::task;

constexpr std::int64_t longest_report = 100'000;
constexpr std::string_view columns = "id, user_id, state, created_at, finished_at, result, problem";

boost::json::object report_json(const belay::db::row& from) {
  boost::json::object made;
  for (const char* name : {"id", "user_id"}) made[name] = from.get<std::int64_t>(name);
  for (const char* name : {"state", "created_at"}) made[name] = from.get<std::string>(name);
  const auto finished = from.get<std::optional<std::string>>("finished_at");
  made["finished_at"] = finished ? boost::json::value(*finished) : boost::json::value(nullptr);
  const auto result = from.get<std::optional<std::string>>("result");
  made["result"] = result ? boost::json::parse(*result) : boost::json::value(nullptr);
  if (const auto problem = from.get<std::optional<std::string>>("problem")) made["problem"] = *problem;
  return made;
}

std::string to_text(const report_result& from) {
  return boost::json::serialize(boost::json::object{{"transfers", from.transfers},
                                                    {"received", from.received},
                                                    {"sent", from.sent},
                                                    {"median", from.median},
                                                    {"largest", from.largest},
                                                    {"fingerprint", from.fingerprint}});
}

// The last ones, oldest first. What went from one account of the user to another is in it twice, once with each sign.
task<std::vector<report_entry>> entries_of(const store& db, std::int64_t user_id) {
  const belay::db::rows found = co_await db.query(
      "SELECT id, amount FROM ("
      "SELECT t.id AS id, t.amount AS amount FROM transfers t JOIN accounts a ON a.id = t.to_id WHERE a.user_id = ? "
      "UNION ALL "
      "SELECT t.id AS id, -t.amount AS amount FROM transfers t JOIN accounts a ON a.id = t.from_id WHERE a.user_id = ?"
      ") AS moved ORDER BY id DESC, amount LIMIT ?",
      user_id, user_id, longest_report);
  std::vector<report_entry> entries;
  entries.reserve(found.size());
  for (const belay::db::row& one : found)
    entries.push_back({one.get<std::int64_t>("id"), one.get<std::int64_t>("amount")});
  std::reverse(entries.begin(), entries.end());
  co_return entries;
}

class report_desk {
 public:
  report_desk(database db, report_options options, belay::telemetry::logger log)
      : db_(std::move(db)), options_(std::move(options)), log_(std::move(log)) {}

  task<http::response> create(belay::service::request& asked);
  task<http::response> get(belay::service::request& asked);
  // Makes what waits, until it is cancelled.
  task<> work();
  [[nodiscard]] std::size_t under_way() const noexcept { return taken_.size(); }

 private:
  struct order {
    std::int64_t id = 0;
    std::int64_t user_id = 0;
  };
  // One that nobody else in this program has taken.
  class hold {
   public:
    hold(report_desk& of, order what) : of_(&of), what_(what) { of.taken_.insert(what.id); }
    hold(hold&& other) noexcept : of_(std::exchange(other.of_, nullptr)), what_(other.what_) {}
    hold& operator=(hold&&) = delete;
    ~hold() {
      if (of_ == nullptr) return;
      of_->taken_.erase(what_.id);
      if (of_->looks_) of_->left_.insert(what_.id);
    }
    [[nodiscard]] const order& operator*() const noexcept { return what_; }

   private:
    report_desk* of_;
    order what_;
  };

  struct look {
    explicit look(bool& now) noexcept : now_(now) { now_ = true; }
    look(const look&) = delete;
    look& operator=(const look&) = delete;
    ~look() { now_ = false; }
    bool& now_;
  };

  task<> lane();
  task<bool> make_next();
  task<std::optional<hold>> take();
  task<> make(const order& what);
  task<> note_failed(const order& what, const belay::failure& why);

  database db_;
  report_options options_;
  belay::telemetry::logger log_;
  belay::event news_;
  belay::mutex taking_;
  std::set<std::int64_t> taken_;
  bool looks_ = false;           // a lane asks what there is to do
  std::set<std::int64_t> left_;  // since then: not taken any more, whatever the answer says
};

task<http::response> report_desk::create(belay::service::request& asked) {
  http::validation check;
  http::json_reader body(asked.http(), check);
  const std::int64_t user_id = body.required_integer("user_id", id_rule);
  check.finish();
  const belay::db::row made = co_await db_->transact([&](const statements& c) -> task<belay::db::row> {
    if (!co_await c.query_one("SELECT 1 FROM users WHERE id = ?", user_id)) throw user_not_found(user_id);
    const auto waiting = co_await c.query_one("SELECT count(*) AS n FROM reports WHERE state = 'pending'");
    if (waiting->get<std::int64_t>("n") >= options_.most_waiting) throw too_many_reports();
    auto row = co_await c.query_one(
        "INSERT INTO reports (user_id) VALUES (?) RETURNING " + std::string(columns), user_id);
    co_return std::move(row).value();
  });
  options_.orders->publish();
  http::response response = answer(http::status::accepted, report_json(made));
  response.headers.add("Location", "/reports/" + std::to_string(made.get<std::int64_t>("id")));
  co_return response;
}

task<http::response> report_desk::get(belay::service::request& asked) {
  http::validation check;
  const std::int64_t id = asked.path_id("id", check);
  check.finish();
  const auto found =
      co_await db_->query_one("SELECT " + std::string(columns) + " FROM reports WHERE id = ?", id);
  if (!found) throw report_not_found(id);
  http::response response = answer(http::status::ok, report_json(*found));
  if (found->get<std::string>("state") == "pending") response.headers.add("Retry-After", "1");
  co_return response;
}

task<> report_desk::work() {
  // Before the first look: what comes from here on is heard of.
  const bulletin::place joined = options_.orders->join([this] { news_.set(); });
  co_await belay::with_group([this](belay::group& lanes) -> task<> {
    for (std::size_t i = 0; i != options_.at_once; ++i) lanes.spawn(&report_desk::lane, this);
    co_return;
  });
}

task<> report_desk::lane() {
  constexpr belay::duration first_pause = std::chrono::milliseconds(200);
  belay::duration pause = first_pause;
  for (;;) {
    belay::outcome<bool> how = co_await belay::as_outcome(make_next());
    if (how.failed()) {
      // The database is away, or full: nothing is lost, and it will come back.
      log_.error("reports_wait", how.failure(), {{"pause_ms", pause / std::chrono::milliseconds(1)}});
      co_await belay::sleep_for(pause);
      pause = std::min<belay::duration>(pause * 2, std::chrono::seconds(10));
      continue;
    }
    pause = first_pause;
    if (!how.value()) co_await news_.wait();
  }
}

// False: there is none.
task<bool> report_desk::make_next() {
  std::optional<hold> next = co_await take();
  if (!next) co_return false;
  belay::outcome<void> how = co_await belay::as_outcome(make(**next));
  if (!how.failed()) co_return true;
  const belay::failure why = how.failure();
  if (belay::is_retryable(why)) why.rethrow();  // it stays pending
  co_await note_failed(**next, why);
  co_return true;
}

task<std::optional<report_desk::hold>> report_desk::take() {
  const auto only_one = co_await taking_.lock();
  const look here(looks_);
  for (bool again = true; again;) {
    news_.reset();  // what comes from here on is found, or sets it again
    left_.clear();
    const belay::db::rows waiting =
        co_await db_->query("SELECT id, user_id FROM reports WHERE state = 'pending' ORDER BY id LIMIT ?",
                            static_cast<std::int64_t>(options_.at_once + 1));
    again = false;
    for (const belay::db::row& one : waiting) {
      const order what{one.get<std::int64_t>("id"), one.get<std::int64_t>("user_id")};
      if (left_.contains(what.id)) {
        again = true;  // another lane was done with it before the answer came: it was looked at too early
      } else if (!taken_.contains(what.id)) {
        co_return hold(*this, what);
      }
    }
  }
  co_return std::nullopt;
}

task<> report_desk::make(const order& what) {
  const std::vector<report_entry> entries = co_await entries_of(*db_, what.user_id);
  const report_result made =
      co_await belay::to_thread([&entries](std::stop_token stop) { return make_report(stop, entries); });
  co_await db_->execute("UPDATE reports SET state = 'done', result = ?, finished_at = " +
                            std::string(db_->now()) + " WHERE id = ? AND state = 'pending'",
                        to_text(made), what.id);
}

task<> report_desk::note_failed(const order& what, const belay::failure& why) {
  log_.error("report_failed", why, {{"report", what.id}});
  co_await db_->execute("UPDATE reports SET state = 'failed', problem = ?, finished_at = " +
                            std::string(db_->now()) + " WHERE id = ? AND state = 'pending'",
                        "the report could not be made", what.id);
}

}  // namespace

void add_reports(belay::service::app& app, database db, report_options options,
                 belay::telemetry::logger log) {
  app.on_error<report_not_found>(http::status::not_found, "report_not_found");
  app.on_error<too_many_reports>(http::status::service_unavailable, "too_many_reports");
  const bool made_here = options.made_here;
  const auto desk = std::make_shared<report_desk>(std::move(db), std::move(options), std::move(log));
  app.gauge("reports", [desk] { return desk->under_way(); });
  if (made_here) app.worker("reports", [desk]() -> task<> { co_await desk->work(); });
  app.post("/reports", [desk](belay::service::request& r) -> task<http::response> {
    co_return co_await desk->create(r);
  });
  app.get("/reports/{id}",
          [desk](belay::service::request& r) -> task<http::response> { co_return co_await desk->get(r); });
}

}  // namespace accounts
