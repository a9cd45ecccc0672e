// SPDX-License-Identifier: Apache-2.0
// Options of the command line, ACCOUNTS_ variables and a TOML file.

#include "settings.hpp"

#include <belay/core/error.hpp>
#include <CLI/CLI.hpp>
#include <toml++/toml.h>

#include <charconv>
#include <cstdlib>
#include <map>

namespace accounts {

namespace {

constexpr const char* default_listen = "127.0.0.1:8080";
constexpr const char* default_db = "sqlite:var/accounts.db";
constexpr const char* default_log = "pretty";
constexpr const char* default_grace = "10s";

[[noreturn]] void refuse(const std::string& what, const std::string& value, const std::string& why) {
  throw usage{"accounts: " + what + " '" + value + "': " + why + "\nTry --help.\n", 2};
}

belay::duration to_duration(const std::string& what, const std::string& text) {
  static const std::map<std::string, belay::duration> units = {{"ms", std::chrono::milliseconds(1)},
                                                               {"s", std::chrono::seconds(1)},
                                                               {"m", std::chrono::minutes(1)},
                                                               {"h", std::chrono::hours(1)}};
  std::int64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = units.find(std::string(end, text.data() + text.size()));
  if (ec != std::errc() || number < 0 || number > 1'000'000 || unit == units.end()) {
    refuse(what, text, "expected a whole number from 0 to 1000000 with ms, s, m or h, such as 10s");
  }
  return number * unit->second;
}

// The name under which an option was given, for messages: the option, or its variable.
std::string source_of(const char* option, const char* variable, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == option || argument.starts_with(std::string(option) + "=")) return option;
  }
  return std::getenv(variable) != nullptr ? variable : option;
}

struct texts {
  std::string listen = default_listen;
  std::string db = default_db;
  std::string quotes;
  std::string mail;
  std::string log = default_log;
  std::string grace = default_grace;
  std::string config;
};

// Fills in from the file what neither the command line nor the environment has said.
void read_file(const std::string& path,
               const std::map<std::string, std::pair<CLI::Option*, std::string*>>& known) {
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    const auto line = e.source().begin.line;
    refuse("--config", path,
           std::string(e.description()) + (line != 0 ? " (line " + std::to_string(line) + ")" : ""));
  }
  for (const auto& [key, node] : file) {
    const std::string name(key.str());
    const auto option = known.find(name);
    if (option == known.end()) refuse("--config", path, "unknown key '" + name + "'");
    const auto text = node.value_exact<std::string>();
    if (!text) refuse("--config", path, "the value of '" + name + "' must be a string");
    if (option->second.first->count() == 0) *option->second.second = *text;
  }
}

settings check(const texts& said, int argc, char** argv) {
  settings checked;
  const auto name = [&](const char* option, const char* variable) {
    return source_of(option, variable, argc, argv);
  };
  try {
    checked.listen = belay::io::endpoint::parse(said.listen);
  } catch (const belay::error& e) {
    refuse(name("--listen", "ACCOUNTS_LISTEN"), said.listen, e.what());
  }
  if (!said.db.starts_with("sqlite:") || said.db.size() == std::string("sqlite:").size()) {
    refuse(name("--db", "ACCOUNTS_DB"), said.db, "expected sqlite:PATH");
  }
  checked.db = said.db;
  const auto to_url = [&](const std::string& text, const char* option,
                          const char* variable) -> std::optional<belay::http::url> {
    if (text.empty()) return std::nullopt;
    try {
      return belay::http::url::parse(text);
    } catch (const belay::error& e) {
      refuse(name(option, variable), text, e.what());
    }
  };
  checked.quotes = to_url(said.quotes, "--quotes-url", "ACCOUNTS_QUOTES_URL");
  checked.mail = to_url(said.mail, "--mail-url", "ACCOUNTS_MAIL_URL");
  const auto format = belay::telemetry::log_format_from(said.log);
  if (!format) refuse(name("--log", "ACCOUNTS_LOG"), said.log, "expected json or pretty");
  checked.log = *format;
  checked.grace = to_duration(name("--grace", "ACCOUNTS_GRACE"), said.grace);
  return checked;
}

}  // namespace

settings read_settings(int argc, char** argv) {
  texts said;
  CLI::App options{"A small bank: users, accounts, deposits, transfers, over HTTP.", "accounts"};
  options.footer(
      "Each option is also an environment variable (given above) and, but for --config, a key of the TOML file.\n"
      "Command line before environment before file.\n"
      "Exit status: 0 clean, 1 start failed, 2 usage, 3 unclean shutdown, 130 forced by a second SIGINT.");
  const auto add = [&](const char* name, std::string& into, const char* what, const char* variable) {
    return options.add_option(name, into, what)->envname(variable)->capture_default_str()->expected(1);
  };
  std::map<std::string, std::pair<CLI::Option*, std::string*>> known;
  known["listen"] = {
      add("--listen", said.listen, "ADDRESS:PORT to serve on; port 0 picks a free one", "ACCOUNTS_LISTEN"),
      &said.listen};
  known["db"] = {
      add("--db", said.db, "the database, sqlite:PATH; created and migrated at the start", "ACCOUNTS_DB"),
      &said.db};
  known["quotes-url"] = {
      add("--quotes-url", said.quotes,
          "http://ADDRESS:PORT/PATH of the service that is asked for quotes, the symbol is added; empty: no quotes",
          "ACCOUNTS_QUOTES_URL"),
      &said.quotes};
  known["mail-url"] = {
      add("--mail-url", said.mail,
          "http://ADDRESS:PORT/PATH of the service that mails are POSTed to; empty: a row in the "
          "table outbox for each",
          "ACCOUNTS_MAIL_URL"),
      &said.mail};
  known["log"] = {add("--log", said.log, "form of the log on stderr: json or pretty", "ACCOUNTS_LOG"),
                  &said.log};
  known["grace"] = {add("--grace", said.grace,
                        "how long requests may take to finish at the end: 500ms, 10s, 1m", "ACCOUNTS_GRACE"),
                    &said.grace};
  add("--config", said.config, "a TOML file with these options", "ACCOUNTS_CONFIG");
  try {
    options.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    throw usage{options.help(), 0};
  } catch (const CLI::ParseError& e) {
    throw usage{std::string("accounts: ") + e.what() + "\nTry --help.\n", 2};
  }
  if (!said.config.empty()) read_file(said.config, known);
  return check(said, argc, argv);
}

}  // namespace accounts
