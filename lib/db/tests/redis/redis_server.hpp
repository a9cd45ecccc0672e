// SPDX-License-Identifier: Apache-2.0
#pragma once
// A redis-server of the test's own: on a free local port, in a temporary folder, without persistence; gone with the object.

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace redis_tests {

class redis_server {
 public:
  // Nothing, with a message, where it is not installed.
  static std::optional<redis_server> start(std::vector<std::string> more = {}) {
    if (program().empty()) {
      MESSAGE("SKIPPED: redis-server is not installed (Debian package redis-server)");
      return std::nullopt;
    }
    std::optional<redis_server> made(redis_server(std::move(more)));
    made->start_again();
    return made;
  }
  redis_server(redis_server&& other) noexcept
      : folder_(std::exchange(other.folder_, {})),
        more_(std::move(other.more_)),
        port_(other.port_),
        pid_(std::exchange(other.pid_, -1)) {}
  redis_server& operator=(redis_server&&) = delete;
  ~redis_server() {
    kill();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }

  void kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  // On the same port; returns when it takes connections.
  void start_again() {
    std::vector<std::string> words{program(), "--port", std::to_string(port_), "--bind", "127.0.0.1",
                                   "--save",  "",       "--appendonly",        "no",     "--dir",
                                   folder_};
    words.insert(words.end(), more_.begin(), more_.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
      ::dup2(nowhere, 1);
      ::dup2(nowhere, 2);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!answers()) {
      REQUIRE_MESSAGE(std::chrono::steady_clock::now() < end, "redis-server does not take connections");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

 private:
  explicit redis_server(std::vector<std::string> more) : more_(std::move(more)) {
    std::string name = (std::filesystem::temp_directory_path() / "belay-redis-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    // A port that was free a moment ago.
    const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in any = local(0);
    socklen_t size = sizeof any;
    REQUIRE(::bind(probe, reinterpret_cast<sockaddr*>(&any), size) == 0);
    REQUIRE(::getsockname(probe, reinterpret_cast<sockaddr*>(&any), &size) == 0);
    port_ = ntohs(any.sin_port);
    ::close(probe);
  }
  static sockaddr_in local(std::uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
  }
  [[nodiscard]] bool answers() const {
    const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in at = local(port_);
    const bool taken = ::connect(probe, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
    ::close(probe);
    return taken;
  }
  static std::string program() {
    for (const char* folder : {"/usr/bin/", "/usr/local/bin/", "/usr/sbin/"}) {
      const std::string path = std::string(folder) + "redis-server";
      if (::access(path.c_str(), X_OK) == 0) return path;
    }
    return {};
  }

  std::string folder_;
  std::vector<std::string> more_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace redis_tests
