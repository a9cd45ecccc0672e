// SPDX-License-Identifier: Apache-2.0
#pragma once
// The service as a child process: its arguments, its output as it comes, its signals and its end.

#include <boost/json/object.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace accounts_test {

using milliseconds = std::chrono::milliseconds;

/// A directory of its own, removed with everything in it.
class temporary_directory {
 public:
  temporary_directory();
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Creates a file in it.
  [[nodiscard]] std::filesystem::path write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

/// What a process wrote to one pipe; filled in the background until the pipe ends.
class collector {
 public:
  explicit collector(int fd);
  collector(const collector&) = delete;
  collector& operator=(const collector&) = delete;
  ~collector();

  [[nodiscard]] std::string text() const;
  /// The complete lines so far.
  [[nodiscard]] std::vector<std::string> lines() const;
  /// Waits until some complete line satisfies `wanted`; empty when the limit passed or the pipe ended first.
  [[nodiscard]] std::optional<std::string> wait_for_line(
      const std::function<bool(const std::string&)>& wanted, milliseconds limit) const;
  /// Waits until the writer has closed the pipe.
  [[nodiscard]] bool wait_for_end(milliseconds limit) const;

 private:
  void collect();

  const int fd_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::string text_;    // guarded by mutex_
  bool ended_ = false;  // guarded by mutex_
  std::thread reader_;
};

struct process_options {
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // NAME=value, in addition to the test's own without ACCOUNTS_*
  std::filesystem::path directory;       // where it runs
};

/// One run of the service's binary. It is killed when the object goes, or when the test itself dies.
class process {
 public:
  explicit process(const process_options& options);
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  ~process();

  void signal(int number) const;
  /// The exit status, or minus the signal that ended it; empty when it still runs at the limit.
  [[nodiscard]] std::optional<int> wait(milliseconds limit);
  /// The same for checks that print what they saw: `still_running` in place of empty.
  [[nodiscard]] int exit_status(milliseconds limit) { return wait(limit).value_or(still_running); }
  static constexpr int still_running = -1000;
  [[nodiscard]] bool running() { return !wait(milliseconds{0}); }

  [[nodiscard]] const collector& out() const { return *out_; }
  [[nodiscard]] const collector& err() const { return *err_; }

  /// stderr as JSON records, in order. A complete line that is no record is an error.
  [[nodiscard]] std::vector<boost::json::object> records() const;
  /// Waits for a record with this member `event`.
  [[nodiscard]] std::optional<boost::json::object> wait_for_event(std::string_view event,
                                                                  milliseconds limit) const;

 private:
  int pid_ = -1;
  std::optional<int> status_;
  std::optional<collector> out_;
  std::optional<collector> err_;
};

/// The member of a record when it is a string, else "".
std::string text_of(const boost::json::object& record, std::string_view member);

/// Runs the binary to its end; throws when it still runs after 10 s.
struct finished_process {
  int status;
  std::string out;
  std::string err;
};
finished_process run_to_end(const process_options& options);

}  // namespace accounts_test
