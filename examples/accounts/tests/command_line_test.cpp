// SPDX-License-Identifier: Apache-2.0
// Options, environment, configuration file, --help and usage errors.
#include <doctest/doctest.h>

#include <csignal>
#include <fstream>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

/// Starts the service in its own directory and returns once it is ready, with the address from the ready
/// record.
class started {
 public:
  started(const temporary_directory& directory, std::vector<std::string> arguments,
          std::vector<std::string> environment = {})
      : process_({.arguments = std::move(arguments),
                  .environment = std::move(environment),
                  .directory = directory.path()}) {
    const auto record = process_.wait_for_event("listening", milliseconds{20'000});
    REQUIRE_MESSAGE(record, process_.err().text());
    url = text_of(*record, "url");
    client probe(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
    CHECK(probe.get("/health/ready").status == 200);
  }

  int stop() {
    process_.signal(SIGTERM);
    return process_.wait(milliseconds{20'000}).value_or(-1000);
  }

  std::string url;

 private:
  process process_;
};

bool exists(const temporary_directory& directory, std::string_view name) {
  return std::filesystem::exists(directory.path() / name);
}

void check_usage(const temporary_directory& directory, std::vector<std::string> arguments,
                 std::string_view named, std::vector<std::string> environment = {}) {
  std::string shown;
  for (const auto& argument : arguments) shown += argument + " ";
  for (const auto& variable : environment) shown += variable + " ";
  INFO("arguments: " << shown);
  const auto run = run_to_end({.arguments = std::move(arguments),
                               .environment = std::move(environment),
                               .directory = directory.path()});
  CHECK(run.status == 2);
  CHECK(run.out.empty());
  CHECK_MESSAGE(run.err.find(named) != std::string::npos, "names " << named << ": " << run.err);
  CHECK(!exists(directory, "var"));  // nothing was started
}

}  // namespace

TEST_CASE("--help: explains each option with its default, exit 0") {
  const temporary_directory directory;
  const auto run = run_to_end({.arguments = {"--help"}, .environment = {}, .directory = directory.path()});
  CHECK(run.status == 0);
  CHECK(run.err.empty());
  for (const std::string word : {"--listen",
                                 "--db",
                                 "--log",
                                 "--grace",
                                 "--config",
                                 "--help",
                                 "127.0.0.1:8080",
                                 "sqlite:var/accounts.db",
                                 "pretty",
                                 "10s",
                                 "ACCOUNTS_LISTEN",
                                 "ACCOUNTS_DB",
                                 "ACCOUNTS_LOG",
                                 "ACCOUNTS_GRACE",
                                 "ACCOUNTS_CONFIG",
                                 "--quotes-url",
                                 "ACCOUNTS_QUOTES_URL",
                                 "--mail-url",
                                 "ACCOUNTS_MAIL_URL",
                                 "--loops",
                                 "ACCOUNTS_LOOPS"}) {
    CHECK_MESSAGE(run.out.find(word) != std::string::npos, word);
  }
  CHECK(!exists(directory, "var"));
}

TEST_CASE("usage: each mistake exits with 2 and is named") {
  const temporary_directory directory;
  check_usage(directory, {"--nonsense"}, "--nonsense");
  check_usage(directory, {"stray"}, "stray");
  check_usage(directory, {"--listen"}, "--listen");
  for (const std::string bad :
       {"nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:", ":x", "300.0.0.1:80", "127.0.0.1:-1"}) {
    check_usage(directory, {"--listen", bad}, bad);
  }
  for (const std::string bad : {"mysql://x/y", "accounts.db", "sqlite:"})
    check_usage(directory, {"--db", bad}, "--db");
  check_usage(directory, {"--log", "xml"}, "xml");
  for (const char* option : {"--quotes-url", "--mail-url"}) {
    for (const std::string bad : {"nowhere", "ftp://127.0.0.1/"}) check_usage(directory, {option, bad}, bad);
  }
  check_usage(directory, {"--inspector-token", "short"}, "--inspector-token");
  check_usage(directory, {}, "ACCOUNTS_INSPECTOR_TOKEN", {"ACCOUNTS_INSPECTOR_TOKEN=with a space in it"});
  for (const std::string bad : {"soon", "-1s", "10", "10 parsecs"})
    check_usage(directory, {"--grace", bad}, bad);
  check_usage(directory, {"--db="}, "--db");
  for (const std::string bad : {"0", "1025", "-1", "two"})
    check_usage(directory, {"--loops", bad}, "--loops");
  for (const std::string bad :
       {"nowhere", "http://127.0.0.1/", "rediss://127.0.0.1/", "redis://h:99999", "redis://h/x"})
    check_usage(directory, {"--redis", bad}, "--redis");
  check_usage(directory, {"--loops", "2", "--db", "sqlite::memory:"}, "sqlite::memory:");
}

TEST_CASE("passwords in a URL are shown neither by --print-config nor when they are refused") {
  const temporary_directory directory;
  const auto check_hidden = [&directory](std::vector<std::string> arguments,
                                         std::vector<std::string> environment, int status,
                                         std::string_view shown) {
    const auto run = run_to_end({.arguments = std::move(arguments),
                                 .environment = std::move(environment),
                                 .directory = directory.path()});
    const std::string all = run.out + run.err;
    INFO(all);
    CHECK(run.status == status);
    CHECK(all.find("secret") == std::string::npos);
    CHECK(all.find(shown) != std::string::npos);
  };
  const auto check_shown = [&check_hidden](const std::string& url, std::string_view shown) {
    check_hidden({"--print-config", "--db", url}, {}, 0, "\"" + std::string(shown) + "\"");
  };
  check_shown("postgresql://bank:secret@h/x", "postgresql://bank:***@h/x");
  check_shown("postgresql://bank:se@cret/secret@h:5432/x", "postgresql://bank:***@h:5432/x");
  check_shown("postgresql://bank:a?secret@h/x", "postgresql://bank:***");
  check_shown("postgresql://h:5432/x?user=bank&password=secret", "postgresql://h:5432/x?***");
  check_shown("postgresql://h/x?user=bank&password=secret", "postgresql://h/x?***");
  check_shown("postgresql://bank@h/x?password=secret", "postgresql://bank@h/x?***");
  check_shown("postgresql://h/x?password=a@secret", "postgresql://h/x?***");
  check_shown("postgresql://bank@h:5432/x", "postgresql://bank@h:5432/x");
  check_hidden({"--db", "postgresql:/bank:secret@h/x"}, {}, 2, "--db");
  check_hidden({}, {"ACCOUNTS_DB=postgresql:/bank:secret@h/x"}, 2, "ACCOUNTS_DB");
  check_hidden({"--config", directory.write("wrong.toml", "db = \"postgresql:/h?password=secret\"\n")}, {}, 2,
               "db");
  check_hidden({"--print-config", "--redis", "redis://:secret@h/1"}, {}, 0, "\"redis://:***@h/1\"");
  check_hidden({"--redis", "redis://ada:secret@h:x"}, {}, 2, "--redis");
  check_hidden({}, {"ACCOUNTS_REDIS=rediss://ada:secret@h"}, 2, "ACCOUNTS_REDIS");
  check_hidden({"--quotes-url", "http://ada:secret@h/"}, {}, 2, "--quotes-url");
  check_hidden({"--mail-url", "http://ada:secret@h/"}, {}, 2, "--mail-url");
}

TEST_CASE("usage: a bad environment variable is named") {
  const temporary_directory directory;
  check_usage(directory, {}, "ACCOUNTS_LISTEN", {"ACCOUNTS_LISTEN=nonsense"});
  check_usage(directory, {}, "ACCOUNTS_GRACE", {"ACCOUNTS_GRACE=soon"});
  check_usage(directory, {}, "absent.toml", {"ACCOUNTS_CONFIG=absent.toml"});
}

TEST_CASE("usage: a bad configuration file is named, with the key") {
  const temporary_directory directory;
  check_usage(directory, {"--config", "absent.toml"}, "absent.toml");
  check_usage(directory, {"--config", directory.write("broken.toml", "listen = = 1\n")}, "broken.toml");
  check_usage(directory, {"--config", directory.write("unknown.toml", "listne = \"127.0.0.1:0\"\n")},
              "listne");
  check_usage(directory, {"--config", directory.write("type.toml", "listen = 8080\n")}, "listen");
  check_usage(directory, {"--config", directory.write("value.toml", "grace = \"soon\"\n")}, "grace");
}

TEST_CASE("options: both spellings, and the default database in a directory that is made") {
  const temporary_directory directory;
  started service(directory, {"--listen=127.0.0.1:0", "--log=json"});
  CHECK(service.stop() == 0);
  CHECK(exists(directory, "var/accounts.db"));
}

TEST_CASE("options: the environment takes their place") {
  const temporary_directory directory;
  started service(directory, {},
                  {"ACCOUNTS_LISTEN=127.0.0.1:0", "ACCOUNTS_LOG=json", "ACCOUNTS_DB=sqlite:from_env.db"});
  CHECK(service.stop() == 0);
  CHECK(exists(directory, "from_env.db"));
}

TEST_CASE("options: a TOML file takes their place") {
  const temporary_directory directory;
  const auto file = directory.write(
      "accounts.toml",
      "listen = \"127.0.0.1:0\"\nlog = \"json\"\ndb = \"sqlite:from_file.db\"\ngrace = \"2s\"\n");
  started service(directory, {"--config", file});
  CHECK(service.stop() == 0);
  CHECK(exists(directory, "from_file.db"));
}

TEST_CASE("options: the command line wins over the environment, that over the file") {
  const temporary_directory directory;
  const auto file =
      directory.write("accounts.toml", "listen = \"127.0.0.1:0\"\nlog = \"json\"\ndb = \"sqlite:file.db\"\n");
  started from_environment(directory, {}, {"ACCOUNTS_CONFIG=" + file.string(), "ACCOUNTS_DB=sqlite:env.db"});
  CHECK(from_environment.stop() == 0);
  CHECK(exists(directory, "env.db"));
  started from_arguments(directory, {"--config", file, "--db", "sqlite:argument.db"},
                         {"ACCOUNTS_DB=sqlite:env2.db"});
  CHECK(from_arguments.stop() == 0);
  CHECK(exists(directory, "argument.db"));
  CHECK(!exists(directory, "env2.db"));
  CHECK(!exists(directory, "file.db"));
}
