// SPDX-License-Identifier: Apache-2.0
// Processes for tests that end in an abort or by a signal.

#include "support.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <system_error>

namespace core_tests {

process_end in_process(const std::function<int()>& body, const std::function<void(int, int)>& meanwhile) {
  std::array<int, 2> words{};
  std::array<int, 2> output{};
  if (::pipe(words.data()) != 0 || ::pipe(output.data()) != 0) {
    throw std::system_error(errno, std::system_category(), "pipe");
  }
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (pid == 0) {
    ::dup2(words[1], STDERR_FILENO);
    ::dup2(output[1], STDOUT_FILENO);
    for (const int fd : {words[0], words[1], output[0], output[1]}) ::close(fd);
    // Not those of the test framework.
    for (const int number : {SIGABRT, SIGFPE, SIGILL, SIGINT, SIGSEGV, SIGTERM}) std::signal(number, SIG_DFL);
    int code = 99;
    try {
      code = body();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "threw: %s\n", e.what());
    }
    std::fflush(nullptr);
    ::_exit(code);
  }
  ::close(words[1]);
  ::close(output[1]);
  if (meanwhile) meanwhile(pid, output[0]);
  process_end end;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(words[0], buffer.data(), buffer.size())) > 0;) {
    end.said.append(buffer.data(), static_cast<std::size_t>(got));
  }
  ::close(words[0]);
  ::close(output[0]);
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) throw std::system_error(errno, std::system_category(), "waitpid");
  end.exited = WIFEXITED(status);
  if (end.exited) end.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  return end;
}

}  // namespace core_tests
