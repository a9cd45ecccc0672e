// SPDX-License-Identifier: Apache-2.0
// How a planted bug is checked: found, at the right line, in words, replayable; and its mended twin passes.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "planted.hpp"

namespace planted {
namespace {

using b::testing::finding;
using b::testing::report;

constexpr std::uint64_t schedules = 50;

b::testing::everywhere_options options_of(const bug& one) {
  return {.name = one.name,
          .fail_in_cleanup = one.fail_in_cleanup,
          .failures_must_surface = one.failures_must_surface};
}

report drive(driver with, task<> (*scenario)(stage&), const bug& one) {
  switch (with) {
    case driver::cancel: return b::testing::cancel_everywhere(scenario, options_of(one), one.here);
    case driver::fail: return b::testing::fail_everywhere(scenario, {}, options_of(one), one.here);
    case driver::explore:
      return b::testing::explore(scenario, schedules, {.name = one.name, .inject = false}, one.here);
  }
  return {};
}

std::string file_name(const std::source_location& where) {
  const std::string_view path = where.file_name();
  return std::string(path.substr(path.rfind('/') + 1));
}
std::string place(const std::source_location& where) {
  return file_name(where) + ":" + std::to_string(where.line());
}

// The nearest mark above the bug's definition.
unsigned marked_line(const bug& one) {
  std::ifstream source(one.here.file_name());
  unsigned marked = 0;
  std::string text;
  for (unsigned line = 1; line < one.here.line() && std::getline(source, text); ++line) {
    if (text.find("// <- found here") != std::string::npos) marked = line;
  }
  return marked;
}

// What is between the quotes of BELAY_REPLAY='...'.
std::string case_to_replay(const finding& of) {
  constexpr std::string_view variable = "BELAY_REPLAY='";
  const auto begins = of.replay.find(variable);
  if (begins == std::string::npos) return {};
  const auto from = begins + variable.size();
  return of.replay.substr(from, of.replay.find('\'', from) - from);
}

class environment {
 public:
  environment(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  environment(const environment&) = delete;
  environment& operator=(const environment&) = delete;
  ~environment() { ::unsetenv(name_); }

 private:
  const char* name_;
};

// What is written to stderr as long as it lives.
class said_on_stderr {
 public:
  said_on_stderr() : file_(std::tmpfile()), before_(::dup(STDERR_FILENO)) {
    std::fflush(stderr);
    ::dup2(::fileno(file_), STDERR_FILENO);
  }
  said_on_stderr(const said_on_stderr&) = delete;
  said_on_stderr& operator=(const said_on_stderr&) = delete;
  ~said_on_stderr() {
    put_back();
    std::fclose(file_);
  }
  [[nodiscard]] std::string text() {
    put_back();
    std::string all;
    std::rewind(file_);
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) all += static_cast<char>(c);
    return all;
  }

 private:
  void put_back() {
    std::fflush(stderr);
    if (before_ < 0) return;
    ::dup2(before_, STDERR_FILENO);
    ::close(std::exchange(before_, -1));
  }
  std::FILE* file_;
  int before_;
};

void check_words(const finding& found) {
  CHECK_FALSE(found.what.empty());
  CHECK(found.what.find('\n') == std::string::npos);
  CHECK(found.what.size() < 400);
}

void check_names(const bug& one, const finding& found) {
  std::string words = found.what + "\n";
  for (const std::string& thing : found.left) words += thing + "\n";
  CHECK(words.find(one.names) != std::string::npos);
}

void check_replay(const bug& one, const finding& found) {
  const std::string again = case_to_replay(found);
  CAPTURE(found.replay);
  REQUIRE_FALSE(again.empty());
  said_on_stderr said;
  const report replayed = [&] {
    const environment replay("BELAY_REPLAY", again);
    return drive(one.with, one.broken, one);
  }();
  const std::string awaits = said.text();
  CAPTURE(replayed.text());
  CHECK(replayed.runs == 1);
  REQUIRE(replayed.findings.size() == 1);
  CHECK(replayed.findings.front().what == found.what);
  CHECK(replayed.findings.front().at.line() == found.at.line());
  if (one.where == found::at_mark) CHECK(awaits.find(place(found.at)) != std::string::npos);
}

std::vector<const bug*> all() {
  std::vector<const bug*> list;
  for (const auto some :
       {lost_items(), permits(), cleanups(), errors(), operations(), states(), coordination(), scenarios()}) {
    list.insert(list.end(), some.begin(), some.end());
  }
  return list;
}

}  // namespace

void check(const bug& one) {
  CAPTURE(std::string(one.name));
  const report found = drive(one.with, one.broken, one);
  INFO(found.text());
  REQUIRE_FALSE(found.findings.empty());
  const finding& first = found.findings.front();
  CHECK(first.rule == std::string(one.rule));
  if (one.where == found::at_mark) {
    CHECK(place(first.at) == file_name(one.here) + ":" + std::to_string(marked_line(one)));
  }
  check_words(first);
  check_names(one, first);
  if (one.where != found::never_again) check_replay(one, first);

  const report mended = b::testing::everywhere(one.mended, options_of(one), one.here);
  INFO(mended.text());
  CHECK(mended.ok());
  CHECK(mended.awaits > 0);
  const report in_any_order = drive(driver::explore, one.mended, one);
  INFO(in_any_order.text());
  CHECK(in_any_order.ok());
}

// The table at the end of README.md is made of what the drivers say. When that has changed, write it anew:
//     BELAY_REWRITE_TABLE=yes belay_testing_tests -tc='planted: the table*'
TEST_CASE("planted: the table of the README says what the drivers say") {
  std::string table = "| bug | how it comes about | what the report says |\n| --- | --- | --- |\n";
  for (const bug* one : all()) {
    const report found = drive(one->with, one->broken, *one);
    REQUIRE_FALSE(found.findings.empty());
    table +=
        std::string("| ") + one->name + " | " + one->looks + " | " + found.findings.front().what + " |\n";
  }
  const std::string here = std::source_location::current().file_name();
  const std::string readme = here.substr(0, here.rfind('/') + 1) + "README.md";
  std::stringstream file;
  file << std::ifstream(readme).rdbuf();
  const std::string text = file.str();
  const std::string before = text.substr(0, text.find("| bug |"));
  if (std::getenv("BELAY_REWRITE_TABLE") != nullptr) {
    std::ofstream(readme) << before << table;
  } else {
    CHECK(text == before + table);
  }
}

}  // namespace planted
