// SPDX-License-Identifier: Apache-2.0
#pragma once
// A running service with an empty database, a file or on a server, and what every test asks of it: customers, problems, and that
// nothing is left.

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "client.hpp"
#include "database.hpp"
#include "process.hpp"

namespace accounts_test {

/// Starts the service; when it goes, checks that nothing is in use, that SIGTERM ends it with 0, and that its
/// log holds one record for each failure that a client saw and no other warning or error.
class bank {
 public:
  explicit bank(std::vector<std::string> arguments = {});
  bank(const bank&) = delete;
  bank& operator=(const bank&) = delete;
  ~bank();

  /// A new connection; the failures that are read from it are expected in the log.
  [[nodiscard]] client connect();
  // One request on a connection of its own.
  response get(std::string_view target, const fields& extra = {});
  response post(std::string_view target, std::string_view body, const fields& extra = {});

  std::int64_t add_user();  // with an e-mail of its own
  std::int64_t add_account();
  std::int64_t add_account_with(std::int64_t amount);
  [[nodiscard]] std::int64_t balance(std::int64_t account);
  response transfer(std::int64_t from, std::int64_t to, std::int64_t amount, const fields& extra = {});

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] process& service() { return *process_; }
  [[nodiscard]] const std::string& database_url() const { return database_url_; }

  /// Takes the write lock once nothing, such as a welcome mail, needs it any more.
  [[nodiscard]] write_lock lock_writes();

  /// Waits until `in_use` of /health/ready is as wanted (`requests`, 0: nothing at all in use).
  [[nodiscard]] bool wait_for_idle(milliseconds limit = milliseconds{5'000});
  [[nodiscard]] bool wait_for_requests(std::int64_t count, milliseconds limit = milliseconds{5'000});
  [[nodiscard]] bool wait_for_in_use(std::string_view what, std::int64_t count, milliseconds limit);

  /// One more warning or error with this event is due in the log.
  void expect_record(std::string event) { ++expected_[std::move(event)]; }
  /// Clients go without reading: the log may hold warnings about answers that nobody saw.
  void allow_unread_answers() { unread_answers_ = true; }

  void kill();   // SIGKILL
  void start();  // again, on the same database
  /// The checks of the destructor; after it the process has ended. Also for a service that was told to stop
  /// already.
  void finish();
  /// The process has ended in a way of its own, which the test has checked: no more checks.
  void ended() { process_.reset(); }

 private:
  void seen(const response& answer);
  void check_log();

  temporary_directory directory_;
  std::optional<server_database> on_server_;
  std::string database_url_;
  std::vector<std::string> arguments_;
  std::unique_ptr<process> process_;
  std::uint16_t port_ = 0;
  int uncaught_ = 0;
  bool unread_answers_ = false;
  std::map<std::string, int> expected_;
  std::mutex mutex_;
  std::vector<response> failures_;  // guarded by mutex_
  int users_ = 0;
};

/// The answer, or an exception that tells what came instead: for the steps that lead to what a test is about.
const response& require(const response& answer, int status);
std::int64_t id_of(const response& answer);
std::string json_user(std::string_view email, std::string_view name = "Ada");
std::string json_transfer(std::int64_t from, std::int64_t to, std::int64_t amount);

/// RFC 3339 in UTC, as in 2026-11-21T04:12:29.123Z.
bool is_time(std::string_view text);
/// Whether the object has exactly these members.
bool has_members(const boost::json::value& value, std::set<std::string> names);

void check_json(const response& answer, int status);
/// Every member of a problem and its media type; `instance` is the path that was asked for.
void check_problem(const response& answer, int status, std::string_view code, std::string_view instance);
/// 422 that names exactly these failing fields.
void check_invalid(const response& answer, std::string_view instance, std::set<std::string> pointers);

}  // namespace accounts_test
