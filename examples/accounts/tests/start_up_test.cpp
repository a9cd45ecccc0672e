// SPDX-License-Identifier: Apache-2.0
// How the service starts: the ready line, the database that is made or found again, and failures in one
// readable line.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

std::string content(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A start that fails: 1, and one line with all of these.
void check_start_fails(const temporary_directory& directory, std::vector<std::string> arguments,
                       const std::vector<std::string>& words) {
  const auto before = std::chrono::steady_clock::now();
  const auto pretty = run_to_end({.arguments = arguments, .environment = {}, .directory = directory.path()});
  CHECK(std::chrono::steady_clock::now() - before < milliseconds{5'000});
  CHECK(pretty.status == 1);
  CHECK(pretty.out.empty());
  CHECK_MESSAGE(std::ranges::count(pretty.err, '\n') == 1, pretty.err);
  for (const auto& word : words)
    CHECK_MESSAGE(pretty.err.find(word) != std::string::npos, word << " in: " << pretty.err);

  arguments.insert(arguments.end(), {"--log", "json"});
  process json({.arguments = arguments, .environment = {}, .directory = directory.path()});
  CHECK(json.exit_status(milliseconds{5'000}) == 1);
  CHECK(json.err().wait_for_end(milliseconds{1'000}));
  int failures = 0;
  for (const auto& record : json.records()) {
    const std::string level = text_of(record, "level");
    if (level != "error" && level != "fatal") continue;
    ++failures;
    CHECK(text_of(record, "event") == "start_failed");
    CHECK(!text_of(record, "step").empty());
    CHECK(!text_of(record, "reason").empty());
  }
  CHECK(failures == 1);
}

}  // namespace

TEST_CASE("start: the pretty ready line names the address") {
  const temporary_directory directory;
  process service(
      {.arguments = {"--listen", "127.0.0.1:0"}, .environment = {}, .directory = directory.path()});
  const std::string prefix = "accounts: listening on http://127.0.0.1:";
  const auto line = service.err().wait_for_line(
      [&](const std::string& text) { return text.find(prefix) != std::string::npos; }, milliseconds{20'000});
  REQUIRE(line);
  const auto port = std::stoi(line->substr(line->find(prefix) + prefix.size()));
  client probe(static_cast<std::uint16_t>(port));
  CHECK(probe.get("/health/ready").status == 200);
  service.signal(SIGTERM);
  CHECK(service.exit_status(milliseconds{10'000}) == 0);
  CHECK(service.err().wait_for_end(milliseconds{1'000}));
  CHECK(service.err().text().find("shutdown") != std::string::npos);
  CHECK(service.out().text().empty());
}

TEST_CASE("start: a port that is in use") {
  bank other;
  const temporary_directory directory;
  const std::string address = "127.0.0.1:" + std::to_string(other.port());
  check_start_fails(directory, {"--listen", address}, {"listen", address, "in use"});
}

TEST_CASE("start: a database below something that is no directory") {
  const temporary_directory directory;
  const auto file = directory.write("plain", "text");
  const std::string path = (file / "accounts.db").string();
  check_start_fails(directory, {"--listen", "127.0.0.1:0", "--db", "sqlite:" + path}, {"database", path});
  CHECK(content(file) == "text");
}

TEST_CASE("start: a file that is no database stays as it was") {
  const temporary_directory directory;
  std::string garbage;
  for (int i = 0; i < 1000; ++i) garbage += "no database at all ";
  const auto file = directory.write("garbage.db", garbage);
  check_start_fails(directory, {"--listen", "127.0.0.1:0", "--db", "sqlite:" + file.string()},
                    {"database", file.string(), "not a database"});
  CHECK(content(file) == garbage);
}

TEST_CASE("start: a directory in place of the database") {
  const temporary_directory directory;
  const std::string path = directory.path().string();
  check_start_fails(directory, {"--listen", "127.0.0.1:0", "--db", "sqlite:" + path}, {"database", path});
}

TEST_CASE("start: a database of a former run is found again") {
  bank app;
  const auto account = app.add_account_with(77);
  app.service().signal(SIGTERM);
  CHECK(app.service().exit_status(milliseconds{10'000}) == 0);
  app.start();
  CHECK(app.balance(account) == 77);
  CHECK(app.wait_for_idle());
}

TEST_CASE("start: missing directories above the database are made") {
  const temporary_directory directory;
  const auto file = directory.path() / "a" / "b" / "accounts.db";
  process service(
      {.arguments = {"--listen", "127.0.0.1:0", "--log", "json", "--db", "sqlite:" + file.string()},
       .environment = {},
       .directory = directory.path()});
  CHECK(service.wait_for_event("listening", milliseconds{20'000}));
  CHECK(std::filesystem::exists(file));
  service.signal(SIGTERM);
  CHECK(service.exit_status(milliseconds{10'000}) == 0);
}
