// SPDX-License-Identifier: Apache-2.0
// The checks that every test of the service shares.
#include "bank.hpp"

#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>
#include <algorithm>
#include <csignal>
#include <exception>
#include <stdexcept>
#include <thread>

namespace accounts_test {
namespace {

using clock = std::chrono::steady_clock;

bool is_failure(const boost::json::object& record) {
  const std::string level = text_of(record, "level");
  return level == "warn" || level == "error" || level == "fatal";
}

template <class Condition>
bool wait_until(milliseconds limit, Condition condition) {
  const auto until = clock::now() + limit;
  while (!condition()) {
    if (clock::now() >= until) return false;
    std::this_thread::sleep_for(milliseconds{5});
  }
  return true;
}

}  // namespace

bank::bank(std::vector<std::string> arguments)
    : arguments_(std::move(arguments)), uncaught_(std::uncaught_exceptions()) {
  if (on_postgres()) on_server_.emplace();
  database_url_ = on_server_ ? on_server_->url() : "sqlite:" + (directory_.path() / "accounts.db").string();
  const std::vector<std::string> fixed{"--listen", "127.0.0.1:0", "--log", "json", "--db", database_url_};
  arguments_.insert(arguments_.begin(), fixed.begin(), fixed.end());
  start();
}

bank::~bank() {
  // After a failed test the process may be in any state: its first failure is what matters.
  if (!process_ || std::uncaught_exceptions() > uncaught_) return;
  try {
    finish();
  } catch (const std::exception& e) {
    FAIL_CHECK("while the service was stopped: " << e.what());
  }
}

void bank::start() {
  {
    const std::lock_guard lock(mutex_);
    failures_.clear();  // they are in the log of the former process
  }
  expected_.clear();
  process_ = std::make_unique<process>(
      process_options{.arguments = arguments_, .environment = {}, .directory = directory_.path()});
  const auto ready = process_->wait_for_event("listening", milliseconds{20'000});
  if (!ready) throw std::runtime_error("no ready line: " + process_->err().text());
  const std::string url = text_of(*ready, "url");
  const std::string prefix = "http://127.0.0.1:";
  if (!url.starts_with(prefix)) throw std::runtime_error("url of the ready line: " + url);
  port_ = static_cast<std::uint16_t>(std::stoi(url.substr(prefix.size())));
}

void bank::kill() {
  process_->signal(SIGKILL);
  static_cast<void>(process_->wait(milliseconds{5'000}));
}

void bank::finish() {
  if (!process_) return;
  if (process_->running()) {
    const bool idle = wait_for_idle();
    const std::string in_use = idle ? "" : get("/health/ready").body;  // not within the macro: it may throw
    CHECK_MESSAGE(idle, "in use at the end: " << in_use);
    process_->signal(SIGTERM);
  }
  CHECK(process_->exit_status(milliseconds{20'000}) == 0);
  check_log();
  process_.reset();
}

void bank::check_log() {
  CHECK(process_->err().wait_for_end(milliseconds{5'000}));
  std::map<std::string, std::vector<boost::json::object>> by_trace;
  std::map<std::string, int> others = expected_;
  const auto records = process_->records();
  const std::lock_guard lock(mutex_);
  std::set<std::string> seen_traces;
  for (const response& answer : failures_) seen_traces.insert(answer.trace_id());
  for (const auto& record : records) {
    INFO("record: " << boost::json::serialize(record));
    CHECK(is_time(text_of(record, "time")));
    CHECK(std::set<std::string>{"trace", "debug", "info", "warn", "error", "fatal"}.contains(
        text_of(record, "level")));
    CHECK(!text_of(record, "event").empty());
    if (!is_failure(record)) continue;
    const std::string event = text_of(record, "event");
    if (auto due = others.find(event); due != others.end() && due->second > 0) {
      --due->second;
    } else if (seen_traces.contains(text_of(record, "trace_id"))) {
      by_trace[text_of(record, "trace_id")].push_back(record);
    } else {
      CHECK_MESSAGE((unread_answers_ && event == "request_failed" && text_of(record, "level") == "warn"),
                    "a failure in the log that no client saw");
    }
  }
  for (const auto& [event, missing] : others) CHECK_MESSAGE(missing == 0, "not in the log: " << event);
  for (const response& answer : failures_) {
    INFO("answer: " << answer.status << " " << answer.body);
    const auto& found = by_trace[answer.trace_id()];
    CHECK(found.size() == 1);
    if (found.size() != 1) continue;
    INFO("record: " << boost::json::serialize(found[0]));
    CHECK(text_of(found[0], "event") == "request_failed");
    CHECK(text_of(found[0], "level") == (answer.status >= 500 ? "error" : "warn"));
    const auto* status = found[0].if_contains("status");
    CHECK((status != nullptr && *status == answer.status));
    if (!answer.body.empty()) CHECK(text_of(found[0], "code") == text_of(answer.json().as_object(), "code"));
  }
}

void bank::seen(const response& answer) {
  // A service that says it is not ready has not failed.
  if (answer.status < 400 || answer.header("Content-Type").value_or("").starts_with("application/json"))
    return;
  const std::lock_guard lock(mutex_);
  failures_.push_back(answer);
}

client bank::connect() {
  return client(port_, [this](const response& answer) { seen(answer); });
}

response bank::get(std::string_view target, const fields& extra) { return connect().get(target, extra); }

response bank::post(std::string_view target, std::string_view body, const fields& extra) {
  return connect().post(target, body, extra);
}

std::int64_t bank::add_user() {
  const std::string email = "user" + std::to_string(++users_) + "@example.com";
  return id_of(require(post("/users", json_user(email)), 201));
}

std::int64_t bank::add_account() {
  const std::string body = R"({"user_id":)" + std::to_string(add_user()) + "}";
  return id_of(require(post("/accounts", body), 201));
}

std::int64_t bank::add_account_with(std::int64_t amount) {
  const auto account = add_account();
  const std::string target = "/accounts/" + std::to_string(account) + "/deposits";
  require(post(target, R"({"amount":)" + std::to_string(amount) + "}"), 201);
  return account;
}

std::int64_t bank::balance(std::int64_t account) {
  return require(get("/accounts/" + std::to_string(account)), 200).json().at("balance").as_int64();
}

response bank::transfer(std::int64_t from, std::int64_t to, std::int64_t amount, const fields& extra) {
  return post("/transfers", json_transfer(from, to, amount), extra);
}

write_lock bank::lock_writes() {
  REQUIRE(wait_for_idle());
  return write_lock(database_url_);
}

bool bank::wait_for_in_use(std::string_view what, std::int64_t count, milliseconds limit) {
  client probe(port_);
  return wait_until(limit, [&] {
    return require(probe.get("/health/ready"), 200).json().at("in_use").at(what).as_int64() == count;
  });
}

bool bank::wait_for_requests(std::int64_t count, milliseconds limit) {
  return wait_for_in_use("requests", count, limit);
}

bool bank::wait_for_idle(milliseconds limit) {
  client probe(port_);
  return wait_until(limit, [&] {
    const auto answer = require(probe.get("/health/ready"), 200).json();
    const auto& in_use = answer.at("in_use").as_object();
    return in_use.size() == 7 &&
           std::ranges::all_of(in_use, [](const auto& entry) { return entry.value() == 0; });
  });
}

const response& require(const response& answer, int status) {
  if (answer.status != status) {
    throw std::runtime_error("expected " + std::to_string(status) + ", got " + std::to_string(answer.status) +
                             ": " + answer.body);
  }
  return answer;
}

std::int64_t id_of(const response& answer) { return answer.json().at("id").as_int64(); }

std::string json_user(std::string_view email, std::string_view name) {
  return boost::json::serialize(boost::json::object{{"email", email}, {"name", name}});
}

std::string json_transfer(std::int64_t from, std::int64_t to, std::int64_t amount) {
  return boost::json::serialize(boost::json::object{{"from", from}, {"to", to}, {"amount", amount}});
}

bool is_time(std::string_view text) {
  const std::string_view shape = "dddd-dd-ddTdd:dd:dd";
  if (text.size() < shape.size() + 1 || text.back() != 'Z') return false;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 'd' ? !digit(text[i]) : text[i] != shape[i]) return false;
  }
  const auto fraction = text.substr(shape.size(), text.size() - shape.size() - 1);
  return fraction.empty() ||
         (fraction.size() > 1 && fraction[0] == '.' && std::ranges::all_of(fraction.substr(1), digit));
}

bool has_members(const boost::json::value& value, std::set<std::string> names) {
  if (!value.is_object()) return false;
  std::set<std::string> found;
  for (const auto& entry : value.get_object()) found.emplace(entry.key());
  return found == names;
}

void check_json(const response& answer, int status) {
  INFO("answer: " << answer.status << " " << answer.body);
  CHECK(answer.status == status);
  CHECK(answer.header("Content-Type").value_or("(absent)").starts_with("application/json"));
}

void check_problem(const response& answer, int status, std::string_view code, std::string_view instance) {
  INFO("answer: " << answer.status << " " << answer.body);
  CHECK(answer.status == status);
  CHECK(answer.header("Content-Type").value_or("(absent)").starts_with("application/problem+json"));
  const boost::json::value body = answer.json();
  REQUIRE(body.is_object());
  std::set<std::string> members{"type", "title", "status", "detail", "instance", "code", "trace_id"};
  if (body.get_object().contains("errors")) members.insert("errors");
  CHECK(has_members(body, members));
  const auto& problem = body.get_object();
  CHECK(text_of(problem, "type") == "urn:problem-type:" + std::string(code));
  CHECK(!text_of(problem, "title").empty());
  CHECK(body.at("status") == status);
  CHECK(!text_of(problem, "detail").empty());
  CHECK(text_of(problem, "instance") == instance);
  CHECK(text_of(problem, "code") == code);
  CHECK(text_of(problem, "trace_id") == answer.trace_id());
}

void check_invalid(const response& answer, std::string_view instance, std::set<std::string> pointers) {
  check_problem(answer, 422, "validation_failed", instance);
  const boost::json::value body = answer.json();
  const auto* errors = body.get_object().if_contains("errors");
  REQUIRE(errors != nullptr);
  std::set<std::string> found;
  for (const auto& entry : errors->as_array()) {
    CHECK(has_members(entry, {"pointer", "detail"}));
    CHECK(!text_of(entry.as_object(), "detail").empty());
    CHECK_MESSAGE(found.insert(text_of(entry.as_object(), "pointer")).second,
                  "twice: " << entry.at("pointer"));
  }
  CHECK_MESSAGE(found == pointers, "got: " << boost::json::serialize(*errors));
}

}  // namespace accounts_test
