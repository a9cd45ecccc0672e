// SPDX-License-Identifier: Apache-2.0
// A transfer on the real database: a file with its log, readers beside the writer.

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "support/proof.hpp"

namespace {

struct temporary_directory {
  temporary_directory() {
    // Thousands of databases, each with its commits: where there is one, in a file system that has no disk to wait for.
    const std::filesystem::path memory = "/dev/shm";
    const bool has_memory = ::access(memory.c_str(), W_OK | X_OK) == 0;
    const std::filesystem::path parent = has_memory ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "accounts-proof-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path = pattern;
  }
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;

  // A name that is new for each call.
  [[nodiscard]] std::string file() { return (path / (std::to_string(number++) + ".db")).string(); }

  std::filesystem::path path;
  int number = 0;
};

}  // namespace

TEST_CASE(
    "transfer in a file: whatever await is hit, done entirely or not at all, and the file can be used") {
  temporary_directory place;
  proof::prove({.name = "transfer in a file",
                .requests = {proof::transfer(1, 2, "Idempotency-Key: once\r\nBelay-Deadline-Ms: 250\r\n")},
                .status = 201,
                .rules = proof::is_truthful(
                    [](const proof::books& now) { return now.transfers == 1 && now.keys == 1; }),
                .storage = [&place] { return place.file(); }});
}

TEST_CASE("dashboard from a file: whatever await is hit, nothing is left") {
  temporary_directory place;
  for (const char* path : {"/users/1/dashboard", "/users/1/dashboard?partial=true"}) {
    proof::prove({.name = std::string("GET from a file ") + path,
                  .requests = {proof::get(path, "Belay-Deadline-Ms: 250\r\n")},
                  .rules = proof::changes_nothing(),
                  .storage = [&place] { return place.file(); }});
  }
}
