// SPDX-License-Identifier: Apache-2.0
// Configuration: sources and their order, every type, every mistake at once, help and printed values.

#include <belay/core/error.hpp>
#include <belay/service/config.hpp>
#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <map>

using namespace std::chrono_literals;
namespace service = belay::service;
namespace io = belay::io;

namespace {

enum class format : unsigned char { json, pretty };

struct settings {
  io::endpoint listen{"127.0.0.1", 8080};
  belay::duration grace = 10s;
  int loops = 1;
  std::uint8_t level = 3;
  bool trace = false;
  service::byte_size limit{64 * 1024};
  std::string db = "sqlite:var/shop.db";
  std::optional<belay::http::url> quotes{};
  std::optional<int> port{};
  format log = format::pretty;
  std::string token = "built in";
};

service::config<settings> options() {
  service::config<settings> made(
      {.program = "shop", .description = "Sells things.", .footer = "Exit status: 0."});
  made.add("listen", &settings::listen, "where to serve");
  made.add("grace", &settings::grace, "how long requests may take to finish", {.least = 0s, .most = 1h});
  made.add("loops", &settings::loops, "how many loops", {.least = 1, .most = 64});
  made.add("log.level", &settings::level, "how much to tell");
  made.add("trace", &settings::trace, "tell everything");
  made.add("http.limit", &settings::limit, "the largest body", {.most = service::byte_size{1 << 20}});
  made.add("db", &settings::db, "the database",
           {.form = "sqlite:PATH", .check = [](const std::string& text) {
              return std::string(text.starts_with("sqlite:") ? "" : "expected sqlite:PATH");
            }});
  made.add("quotes-url", &settings::quotes, "who is asked for quotes");
  made.add("port", &settings::port, "another port");
  made.add("log.format", &settings::log, "form of the log",
           {.choices = {{"json", format::json}, {"pretty", format::pretty}}});
  made.add("token", &settings::token, "for the upstream",
           {.secret = true, .check = [](const std::string& text) {
              return std::string(text.size() > 3 ? "" : "'" + text + "' is too short");
            }});
  return made;
}

using variables = std::map<std::string, std::string>;

service::config_sources from(std::vector<std::string> arguments, variables environment = {}) {
  return {.arguments = std::move(arguments),
          .environment = [environment](const std::string& name) -> std::optional<std::string> {
            const auto found = environment.find(name);
            return found == environment.end() ? std::nullopt : std::optional(found->second);
          }};
}

auto read(std::vector<std::string> arguments, variables environment = {}) {
  return options().read(from(std::move(arguments), std::move(environment)));
}

// The lines that tell of mistakes.
std::string mistakes(std::vector<std::string> arguments, variables environment = {}) {
  const auto told = read(std::move(arguments), std::move(environment));
  CHECK_FALSE(static_cast<bool>(told));
  CHECK(told.code() == 2);
  const std::string end = "Try shop --help.\n";
  REQUIRE(told.text().ends_with(end));
  return told.text().substr(0, told.text().size() - end.size());
}

class file {
 public:
  explicit file(std::string_view text) {
    const int fd = ::mkstemp(path_.data());
    REQUIRE(fd >= 0);
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::close(fd);
  }
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  ~file() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/belay_config_XXXXXX";
};

}  // namespace

TEST_CASE("config: without anything said, the values are those of the struct") {
  auto told = read({});
  REQUIRE(static_cast<bool>(told));
  CHECK(told->listen == io::endpoint{"127.0.0.1", 8080});
  CHECK(told->grace == 10s);
  CHECK_FALSE(told->quotes.has_value());
  CHECK(told->token == "built in");
}

TEST_CASE("config: every type, from the command line in both spellings") {
  auto told = read({"--listen", "[::1]:0", "--grace=1h", "--loops", "4", "--log.level=255", "--trace",
                    "--http.limit", "1MiB", "--db=sqlite:x=y", "--quotes-url", "http://127.0.0.1:1/q?a=1",
                    "--port=0", "--log.format", "json", "--token=--dashes"});
  REQUIRE_MESSAGE(static_cast<bool>(told), told.text());
  CHECK(told->listen == io::endpoint{"::1", 0});
  CHECK(told->grace == 1h);
  CHECK(told->loops == 4);
  CHECK(told->level == 255);
  CHECK(told->trace);
  CHECK(told->limit.bytes == 1024 * 1024);
  CHECK(told->db == "sqlite:x=y");
  REQUIRE(told->quotes.has_value());
  CHECK(told->quotes->target == "/q?a=1");
  CHECK(told->port == 0);
  CHECK(told->log == format::json);
  CHECK(told->token == "--dashes");
}

TEST_CASE(
    "config: the command line goes before the environment, that before the file, that before the default") {
  const file given(
      "grace = \"1s\"\nloops = 2\n[http]\nlimit = \"1B\"\n[log]\nformat = \"json\"\nlevel = 1\n");
  auto told = read({"--config", given.path(), "--grace", "3s"},
                   {{"SHOP_GRACE", "2s"}, {"SHOP_LOOPS", "3"}, {"SHOP_LOG_LEVEL", "2"}});
  REQUIRE_MESSAGE(static_cast<bool>(told), told.text());
  CHECK(told->grace == 3s);
  CHECK(told->loops == 3);
  CHECK(told->level == 2);
  CHECK(told->limit.bytes == 1);
  CHECK(told->log == format::json);
  CHECK(told->db == "sqlite:var/shop.db");
  auto named = read({}, {{"SHOP_CONFIG", given.path()}});
  REQUIRE(static_cast<bool>(named));
  CHECK(named->loops == 2);
}

TEST_CASE("config: an optional value may be given empty, and is empty then; a switch may be told its value") {
  auto told = read({"--quotes-url=", "--trace", "false"}, {{"SHOP_QUOTES_URL", "http://127.0.0.1:1/"}});
  REQUIRE(static_cast<bool>(told));
  CHECK_FALSE(told->quotes.has_value());
  CHECK_FALSE(told->trace);
}

TEST_CASE(
    "config: each mistake names the key, the value, where it came from and what was expected; all at once") {
  const file bad("listen = \"nonsense\"\nloops = \"2\"\n\n[log]\n  levle = 3\n  format = [1]\n");
  CHECK(
      mistakes({"--config", bad.path(), "--loops", "65", "--graec=1s"},
               {{"SHOP_GRACE", "soon"}, {"SHOP_HTTP_LIMIT", "2MiB"}, {"SHOP_LOG_FORMAT", "xml"}}) ==
      "shop: --graec (command line): there is no such option; did you mean --grace?\n"
      "shop: listen 'nonsense' (" +
          bad.path() +
          ":1:1): is no address: the port is missing; expected ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080, or unix:PATH\n"
          "shop: loops '2' (" +
          bad.path() +
          ":2:1): expected a whole number, without quotes\n"
          "shop: 'log.levle' (" +
          bad.path() +
          ":5:3): there is no such option; did you mean log.level?\n"
          "shop: log.format (" +
          bad.path() +
          ":6:3): expected a string, in quotes\n"
          "shop: SHOP_GRACE 'soon': expected a whole number with ms, s, m or h, such as 500ms, 10s or 1h30m\n"
          "shop: SHOP_HTTP_LIMIT '2MiB': expected at most 1MiB\n"
          "shop: SHOP_LOG_FORMAT 'xml': expected json or pretty\n"
          "shop: --loops '65': expected from 1 to 64\n");
}

TEST_CASE("config: a value that is wrong is told although a later source overrides it") {
  CHECK(mistakes({"--grace", "1s"}, {{"SHOP_GRACE", "2 s"}}) ==
        "shop: SHOP_GRACE '2 s': expected a whole number with ms, s, m or h, such as 500ms, 10s or 1h30m\n");
}

TEST_CASE("config: the command line, what is no option, has no value, or is given twice") {
  CHECK(mistakes({"stray", "-x", "--"}) ==
        "shop: 'stray' (command line): expected an option, such as --help\n"
        "shop: '-x' (command line): expected an option, such as --help\n"
        "shop: '--' (command line): expected an option, such as --help\n");
  CHECK(mistakes({"--listen"}) ==
        "shop: --listen (command line): expected a value, ADDRESS:PORT, behind it\n");
  CHECK(mistakes({"--db", "--loops", "2"}) ==
        "shop: --db (command line): expected a value, sqlite:PATH, behind it\n");
  CHECK(mistakes({"--loops=1", "--loops", "2"}) == "shop: --loops (command line): is given twice\n");
  CHECK(mistakes({"--config", "a", "--config=b"})
            .starts_with("shop: --config (command line): is given twice\n"));
  CHECK(mistakes({"--nonsense", "value"}) == "shop: --nonsense (command line): there is no such option\n");
  CHECK(mistakes({"--hepl"}) ==
        "shop: --hepl (command line): there is no such option; did you mean --help?\n");
}

TEST_CASE("config: numbers, sizes and durations that do not fit or are something else") {
  for (const char* bad :
       {"", "-1s", "10", "10 s", "1.5s", "s", "1sec", "99999999999h", "9223372036854775807s", "2h"})
    CHECK(
        mistakes({std::string("--grace=") + bad}).starts_with("shop: --grace '" + std::string(bad) + "': "));
  for (const char* bad : {"", "1", "1KB", "64 KiB", "-1B", "99999999999999999999B", "1KiB1B"})
    CHECK(mistakes({std::string("--http.limit=") + bad})
              .starts_with("shop: --http.limit '" + std::string(bad) + "': "));
  for (const char* bad : {"", "x", "256", "-1", "1e2", "99999999999999999999"})
    CHECK(mistakes({std::string("--log.level=") + bad})
              .starts_with("shop: --log.level '" + std::string(bad) + "': "));
  for (const char* bad : {"9999999999", "-9999999999", "0x1"})
    CHECK(
        mistakes({std::string("--loops=") + bad}).starts_with("shop: --loops '" + std::string(bad) + "': "));
  CHECK(mistakes({"--trace=yes"}) == "shop: --trace 'yes': expected true or false\n");
}

TEST_CASE("config: a file that cannot be read, or is no TOML, is named, with line and column") {
  CHECK(mistakes({}, {{"SHOP_CONFIG", "/absent/shop.toml"}}) ==
        "shop: SHOP_CONFIG '/absent/shop.toml': cannot be read: No such file or directory\n");
  CHECK(mistakes({"--config", "/tmp"}).starts_with("shop: --config '/tmp': cannot be read"));
  const file broken("loops = 1\nlisten = = 1\n");
  CHECK(mistakes({"--config", broken.path()})
            .starts_with("shop: --config '" + broken.path() + "': " + broken.path() + ":2:"));
}

TEST_CASE("config: a secret is shown nowhere, neither right nor wrong") {
  const auto check_hidden = [](const std::string& text, const char* secret) {
    CHECK(text.find(secret) == std::string::npos);
  };
  const std::string wrong = mistakes({"--token=abc"});
  CHECK(wrong == "shop: --token: is refused; expected TEXT\n");
  const file typed("token = 12345\n");
  check_hidden(mistakes({"--config", typed.path()}), "12345");
  check_hidden(read({"--help"}).text(), "built in");
  auto printed = read({"--print-config", "--token", "very secret"});
  CHECK(printed.code() == 0);
  check_hidden(printed.text(), "very secret");
  CHECK(printed.text().find("# token = ***") != std::string::npos);
}

TEST_CASE("config: what is shown otherwise than it is, is not repeated when it is refused") {
  service::config<settings> made({.program = "shop"});
  made.add("db", &settings::db, "the database",
           {.show = [](const std::string&) { return std::string("***"); },
            .form = "sqlite:PATH",
            .check =
                [](const std::string& text) {
                  return std::string(text.starts_with("sqlite:") ? "" : "'" + text + "' is none");
                }});
  const auto refused = [&made](std::vector<std::string> arguments, const variables& environment = {}) {
    const auto told =
        made.read({.arguments = std::move(arguments), .environment = [&environment](const std::string& name) {
                     const auto found = environment.find(name);
                     return found == environment.end() ? std::nullopt : std::optional(found->second);
                   }});
    CHECK(told.code() == 2);
    return told.text();
  };
  const std::string why =
      "is refused, and not repeated, as a password may be in it; expected sqlite:PATH\nTry shop --help.\n";
  CHECK(refused({"--db", "ada:secret@host"}) == "shop: --db: " + why);
  CHECK(refused({}, {{"SHOP_DB", "ada:secret@host"}}) == "shop: SHOP_DB: " + why);
  const file text("db = \"ada:secret@host\"\n");
  CHECK(refused({"--config", text.path()}) == "shop: db (" + text.path() + ":1:1): " + why);
  const file number("db = 4711\n");
  CHECK(refused({"--config", number.path()}).find("4711") == std::string::npos);
}

TEST_CASE("config: a URL with a user in it is refused without repeating it, any other is named") {
  CHECK(
      mistakes({"--quotes-url", "http://ada:secret@host/"}) ==
      "shop: --quotes-url: is refused, and not repeated, as a password may be in it; expected URL without a user\n");
  CHECK(mistakes({"--quotes-url", "nowhere"}).starts_with("shop: --quotes-url 'nowhere': "));
}

TEST_CASE("config: --print-config shows each value and its origin, and can be read again") {
  const file given("loops = 2\n");
  const auto printed =
      read({"--print-config", "--config", given.path(), "--trace", "--db", "sqlite:a\"b\\c\n"},
           {{"SHOP_GRACE", "90s"}});
  CHECK(printed.code() == 0);
  CHECK(printed.text() ==
        "listen = \"127.0.0.1:8080\"    # default\n"
        "grace = \"1m30s\"              # SHOP_GRACE\n"
        "loops = 2                    # " +
            given.path() +
            ":1:1\n"
            "log.level = 3                # default\n"
            "trace = true                 # --trace\n"
            "http.limit = \"64KiB\"         # default\n"
            "db = \"sqlite:a\\\"b\\\\c\\u000a\"  # --db\n"
            "quotes-url = \"\"              # default\n"
            "# port = none                # default\n"
            "log.format = \"pretty\"        # default\n"
            "# token = ***                # default\n");
  const file again(printed.text());
  auto told = read({"--config", again.path()});
  REQUIRE_MESSAGE(static_cast<bool>(told), told.text());
  CHECK(told->grace == 90s);
  CHECK(told->db == "sqlite:a\"b\\c\n");
  CHECK_FALSE(told->port.has_value());
}

TEST_CASE("config: --help tells each option with its form, default and variable, whatever else is wrong") {
  const auto told = read({"--nonsense", "--help"});
  CHECK(told.code() == 0);
  CHECK(
      told.text().starts_with("Sells things.\n\nUsage: shop [--OPTION VALUE]...\n\n"
                              "  --listen ADDRESS:PORT       where to serve\n"
                              "                              default: 127.0.0.1:8080; SHOP_LISTEN\n"
                              "  --grace DURATION            how long requests may take to finish\n"
                              "                              default: 10s; SHOP_GRACE\n"));
  CHECK(told.text().find("  --log.format json|pretty    form of the log\n"
                         "                              default: pretty; SHOP_LOG_FORMAT\n") !=
        std::string::npos);
  CHECK(told.text().find("default: none; SHOP_QUOTES_URL") != std::string::npos);
  CHECK(told.text().ends_with("Exit status: 0.\n"));
}

TEST_CASE("config: names that cannot be are misuse where they are declared") {
  service::config<settings> made({.program = "shop"});
  made.add("http.limit", &settings::limit, "");
  for (const char* bad : {"", "Listen", "-x", "a_b", "a.", "a..b", "help", "config", "print-config",
                          "http.limit", "http-limit", "http", "http.limit.soft"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(made.add(bad, &settings::db, ""), belay::misuse_error);
  }
  CHECK_THROWS_AS(service::config<settings>({.program = ""}), belay::misuse_error);
}

TEST_CASE("config: a default that is refused is misuse where it is declared") {
  service::config<settings> made({.program = "shop"});
  CHECK_THROWS_WITH_AS(made.add("grace", &settings::grace, "", {.most = 5s}),
                       doctest::Contains("expected at most 5s"), belay::misuse_error);
  CHECK_THROWS_AS(made.add("loops", &settings::loops, "", {.least = 2}), belay::misuse_error);
  CHECK_THROWS_AS(made.add("log", &settings::log, "", {.choices = {{"json", format::json}}}),
                  belay::misuse_error);
  CHECK_THROWS_WITH_AS(made.add("log", &settings::log, ""), doctest::Contains("choices"),
                       belay::misuse_error);
  CHECK_NOTHROW(made.add("port", &settings::port, "", {.least = 1}));  // none
}
