// SPDX-License-Identifier: Apache-2.0
#pragma once
// A PostgreSQL server of the test's own: on a free local port, in a temporary folder, as an unprivileged user; gone with the object.

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace postgres_tests {

struct server_options {
  std::vector<std::string> settings = {};  // "max_connections=5"
};

class postgres_server {
 public:
  // Nothing, with a message, where it is not installed.
  static std::optional<postgres_server> start(server_options how = {}) {
    if (::access(program("postgres").c_str(), X_OK) != 0) {
      MESSAGE("SKIPPED: PostgreSQL 15 is not installed (Debian package postgresql-15)");
      return std::nullopt;
    }
    if (::geteuid() == 0 && ::getpwnam("postgres") == nullptr) {
      MESSAGE("SKIPPED: PostgreSQL does not run as root, and there is no user 'postgres'");
      return std::nullopt;
    }
    std::optional<postgres_server> made(postgres_server(std::move(how)));
    made->start_again();
    return made;
  }
  postgres_server(postgres_server&& other) noexcept
      : how_(std::move(other.how_)),
        folder_(std::exchange(other.folder_, {})),
        port_(other.port_),
        pid_(std::exchange(other.pid_, -1)) {}
  postgres_server& operator=(postgres_server&&) = delete;
  ~postgres_server() {
    stop(SIGQUIT);
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& more = {}) const { return url_at(port_, more); }
  // By way of another port: that of a proxy.
  [[nodiscard]] static std::string url_at(std::uint16_t port, const std::string& more = {}) {
    return "postgresql://postgres@127.0.0.1:" + std::to_string(port) + "/postgres?sslmode=disable" + more;
  }

  // All at once, as a crash of the machine does it.
  void kill() {
    if (pid_ < 0) return;
    const std::vector<pid_t> backends = children();
    ::kill(pid_, SIGKILL);
    for (const pid_t one : backends) ::kill(one, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
    // Its connections end with the last of its processes.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    // One that has ended has no connections any more, whenever its new parent asks for its status.
    const auto lives = [](pid_t one) {
      std::ifstream of("/proc/" + std::to_string(one) + "/stat");
      std::string words;
      return std::getline(of, words) && words.find(") Z ") == std::string::npos;
    };
    while (std::any_of(backends.begin(), backends.end(), lives) && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // In order: SIGTERM lets clients finish, SIGINT does not, SIGQUIT does not even write anything.
  void stop(int by = SIGINT) {
    if (pid_ < 0) return;
    go_on();
    ::kill(pid_, by);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > end) return kill();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    pid_ = -1;
  }
  // No process of it runs any more, and nobody is told; the system takes connections for it.
  void stall() { signal_all(SIGSTOP); }
  void go_on() { signal_all(SIGCONT); }

  // On the same port; returns when it takes connections.
  void start_again() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!try_start()) {
      // After a kill, what is left of it may still be going.
      if (std::chrono::steady_clock::now() > end) {
        std::ifstream text(log());
        FAIL("PostgreSQL does not start: " << std::string(std::istreambuf_iterator<char>(text), {}));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

 private:
  explicit postgres_server(server_options how) : how_(std::move(how)) {
    const std::string ready = template_folder();
    std::string name = (std::filesystem::temp_directory_path() / "belay-postgres-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    give_to_user(folder_);
    REQUIRE(run({"/bin/cp", "-a", ready, data()}) == 0);
    const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof any;
    REQUIRE(::bind(probe, reinterpret_cast<sockaddr*>(&any), size) == 0);
    REQUIRE(::getsockname(probe, reinterpret_cast<sockaddr*>(&any), &size) == 0);
    port_ = ntohs(any.sin_port);
    ::close(probe);
  }

  [[nodiscard]] std::string data() const { return folder_ + "/data"; }
  [[nodiscard]] std::string log() const { return folder_ + "/log"; }
  static std::string program(const std::string& name) { return "/usr/lib/postgresql/15/bin/" + name; }
  static std::optional<std::pair<uid_t, gid_t>> user() {
    if (::geteuid() != 0) return std::nullopt;
    const passwd* const entry = ::getpwnam("postgres");
    return std::pair(entry->pw_uid, entry->pw_gid);
  }
  static void give_to_user(const std::string& folder) {
    if (const auto whose = user()) REQUIRE(::chown(folder.c_str(), whose->first, whose->second) == 0);
  }

  // A folder as initdb makes it: once for all tests of this user, then copied, which is faster.
  static std::string template_folder() {
    const auto whose = user();
    const uid_t owner = whose ? whose->first : ::geteuid();
    const std::string ready =
        (std::filesystem::temp_directory_path() / ("belay-postgres-15-template-" + std::to_string(owner)))
            .string();
    struct stat found{};
    if (::lstat(ready.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == owner)
      return ready + "/data";
    std::string making = ready + "-XXXXXX";
    REQUIRE(::mkdtemp(making.data()) != nullptr);
    give_to_user(making);
    REQUIRE(run({program("initdb"), "-D", making + "/data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
                 "--locale=C.UTF-8", "--no-sync"}) == 0);
    {
      std::ofstream rules(making + "/data/pg_hba.conf");
      rules << "host all with_password 127.0.0.1/32 scram-sha-256\n"
               "host all all 127.0.0.1/32 trust\n";
    }
    std::error_code other_was_first;
    std::filesystem::rename(making, ready, other_was_first);
    if (other_was_first) std::filesystem::remove_all(making, other_was_first);
    return ready + "/data";
  }

  static pid_t launch(std::vector<std::string> words, const std::string& output, bool dies_with_us) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const auto whose = user();
    // The signal would come when the thread that forks ends, not the process.
    const bool tied = dies_with_us && ::gettid() == ::getpid();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child != 0) return child;
    if (whose &&
        (::setgroups(0, nullptr) != 0 || ::setgid(whose->second) != 0 || ::setuid(whose->first) != 0))
      ::_exit(126);
    if (tied) ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
    const int into = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    ::dup2(into, 1);
    ::dup2(into, 2);
    if (::chdir("/") != 0) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  static int run(std::vector<std::string> words) {
    int status = 0;
    ::waitpid(launch(std::move(words), "/dev/null", false), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  bool try_start() {
    std::vector<std::string> words{program("postgres"), "-D", data()};
    const std::vector<std::string> ours{"listen_addresses=127.0.0.1",
                                        "port=" + std::to_string(port_),
                                        "unix_socket_directories=",
                                        "fsync=off",  // a killed process loses nothing that it has written
                                        "max_connections=40",
                                        "shared_buffers=16MB",
                                        "autovacuum=off"};
    for (const std::vector<std::string>& list : {ours, how_.settings}) {
      for (const std::string& one : list) {
        words.emplace_back("-c");
        words.push_back(one);
      }
    }
    // What tells that it is ready.
    const std::string state = data() + "/postmaster.pid";
    ::unlink(state.c_str());
    pid_ = launch(words, log(), true);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (::waitpid(pid_, nullptr, WNOHANG) != 0) {
        pid_ = -1;
        return false;
      }
      std::ifstream lines(state);
      std::string line;
      for (int number = 0; number < 8 && std::getline(lines, line); ++number) {
      }
      if (line.starts_with("ready")) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  [[nodiscard]] std::vector<pid_t> children() const {
    const std::string own = std::to_string(pid_);
    std::ifstream list("/proc/" + own + "/task/" + own + "/children");
    std::vector<pid_t> all;
    for (pid_t one = 0; list >> one;) all.push_back(one);
    return all;
  }
  void signal_all(int what) {
    if (pid_ < 0) return;
    ::kill(pid_, what);
    for (const pid_t one : children()) ::kill(one, what);
  }

  server_options how_;
  std::string folder_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace postgres_tests
