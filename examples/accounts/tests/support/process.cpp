// SPDX-License-Identifier: Apache-2.0
// Starting, watching and ending the service's process.
#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace accounts_test {
namespace {

using clock = std::chrono::steady_clock;

std::string binary() {
  if (const char* path = std::getenv("ACCOUNTS_BINARY")) return path;
  return ACCOUNTS_BINARY_PATH;
}

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
  return ends;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t end = 0; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    lines.emplace_back(text.substr(0, end));
  }
  return lines;
}

}  // namespace

temporary_directory::temporary_directory() {
  std::string name = (std::filesystem::temp_directory_path() / "accounts-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error(name + ": " + std::strerror(errno));
  path_ = name;
}

temporary_directory::~temporary_directory() {
  std::error_code ignored;  // a file that stays behind in the temporary directory fails no test
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path temporary_directory::write(std::string_view name, std::string_view content) const {
  auto file = path_ / name;
  std::ofstream(file, std::ios::binary) << content;
  return file;
}

collector::collector(int fd) : fd_(fd), reader_([this] { collect(); }) {}

collector::~collector() {
  reader_.join();
  ::close(fd_);
}

void collector::collect() {
  char chunk[4096];
  for (;;) {
    const auto got = ::read(fd_, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    const std::lock_guard lock(mutex_);
    if (got > 0) {
      text_.append(chunk, static_cast<std::size_t>(got));
    } else {
      ended_ = true;
    }
    changed_.notify_all();
    if (got <= 0) return;
  }
}

std::string collector::text() const {
  const std::lock_guard lock(mutex_);
  return text_;
}

std::vector<std::string> collector::lines() const { return split_lines(text()); }

std::optional<std::string> collector::wait_for_line(const std::function<bool(const std::string&)>& wanted,
                                                    milliseconds limit) const {
  const auto until = clock::now() + limit;
  std::size_t next = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    for (std::size_t end = 0; (end = text_.find('\n', next)) != std::string::npos; next = end + 1) {
      const std::string line = text_.substr(next, end - next);
      if (wanted(line)) return line;
    }
    if (ended_ || changed_.wait_until(lock, until) == std::cv_status::timeout) return std::nullopt;
  }
}

bool collector::wait_for_end(milliseconds limit) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [this] { return ended_; });
}

process::process(const process_options& options) {
  // Everything is prepared before fork: between fork and exec only async-signal-safe calls are allowed.
  std::vector<std::string> arguments{binary()};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  std::vector<std::string> environment = options.environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("ACCOUNTS_")) environment.emplace_back(*entry);
  }
  const std::string directory =
      options.directory.empty() ? std::filesystem::current_path().string() : options.directory.string();
  const auto argv = pointers(arguments);
  const auto envp = pointers(environment);
  const auto out = make_pipe();
  const auto err = make_pipe();
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);

  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(null, 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    if (::chdir(directory.c_str()) == 0) ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(null);
  ::close(out[1]);
  ::close(err[1]);
  if (pid_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  out_.emplace(out[0]);
  err_.emplace(err[0]);
}

process::~process() {
  if (!status_) {
    ::kill(pid_, SIGKILL);
    static_cast<void>(wait(milliseconds{10'000}));
  }
}

void process::signal(int number) const {
  // Once it was waited for, the number may belong to somebody else.
  if (!status_) ::kill(pid_, number);
}

std::optional<int> process::wait(milliseconds limit) {
  const auto until = clock::now() + limit;
  while (!status_) {
    int status = 0;
    const auto got = ::waitpid(pid_, &status, WNOHANG);
    if (got == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    } else if (clock::now() >= until) {
      return std::nullopt;
    } else {
      std::this_thread::sleep_for(milliseconds{2});
    }
  }
  return status_;
}

std::vector<boost::json::object> process::records() const {
  std::vector<boost::json::object> result;
  for (const std::string& line : err().lines()) {
    boost::json::error_code ec;
    const boost::json::value value = boost::json::parse(line, ec);
    if (ec || !value.is_object()) throw std::runtime_error("log line is no JSON object: " + line);
    result.push_back(value.get_object());
  }
  return result;
}

std::optional<boost::json::object> process::wait_for_event(std::string_view event, milliseconds limit) const {
  const auto line = err().wait_for_line(
      [&](const std::string& text) {
        boost::json::error_code ec;
        const boost::json::value value = boost::json::parse(text, ec);
        return !ec && value.is_object() && text_of(value.get_object(), "event") == event;
      },
      limit);
  if (!line) return std::nullopt;
  return boost::json::parse(*line).get_object();
}

std::string text_of(const boost::json::object& record, std::string_view member) {
  const auto* value = record.if_contains(member);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

finished_process run_to_end(const process_options& options) {
  process run(options);
  const auto status = run.wait(milliseconds{10'000});
  if (!status) throw std::runtime_error("still running after 10 s: " + run.err().text());
  if (!run.out().wait_for_end(milliseconds{1'000}) || !run.err().wait_for_end(milliseconds{1'000})) {
    throw std::runtime_error("the process has ended, its output has not");
  }
  return {*status, run.out().text(), run.err().text()};
}

}  // namespace accounts_test
