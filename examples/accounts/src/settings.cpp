// SPDX-License-Identifier: Apache-2.0
// The options of the program.

#include "settings.hpp"

#include <belay/core/loops.hpp>
#include <belay/db/redis/options.hpp>

#include <algorithm>

#include "store.hpp"

namespace accounts {

namespace {

// "postgresql://bank:***@host/name?***": there may be a password among the parameters, too. Rather too little than too much where a
// password has characters that belong to the URL.
std::string without_password(const std::string& url) {
  const std::size_t begin = url.find("://");
  if (begin == std::string::npos) return url;
  const std::size_t query = url.find('?');
  const std::size_t colon = url.find(':', begin + 3);
  const std::size_t first = url.find('@');
  if (first != std::string::npos && query < first) return url.substr(0, std::min(colon, query) + 1) + "***";
  const std::string base = url.substr(0, query);
  const std::string rest = query == std::string::npos ? "" : "?***";
  const std::size_t at = base.rfind('@');
  if (at == std::string::npos || colon > at) return base + rest;
  return base.substr(0, colon + 1) + "***" + base.substr(at) + rest;
}

// What is wrong with the URL; nothing: it can be used.
std::string why_no_redis(const std::string& url) {
  try {
    static_cast<void>(belay::db::redis::options::from_url(url));
    return {};
  } catch (const belay::error& wrong) {
    return wrong.what();
  }
}

}  // namespace

// [snippet options]
belay::service::config<settings> options() {
  belay::service::config<settings> all(
      {.program = "accounts",
       .description = "A small bank: users, accounts, deposits, transfers, over HTTP.",
       .footer =
           "Exit status: 0 clean, 1 start failed, 2 usage, 3 unclean shutdown, 130 forced by a second SIGINT."});
  all.add("listen", &settings::listen, "where to serve; port 0 picks a free one");
  all.add("db", &settings::db, "the database; its tables are made, or brought up to date, at the start",
          {.show = without_password,
           .form = "sqlite:PATH|postgresql://USER@HOST/NAME",
           .check = [](const std::string& text) {
             const bool usable = (text.starts_with("sqlite:") && text != "sqlite:") || is_postgres_name(text);
             return std::string(usable ? "" : "expected sqlite:PATH or postgresql://USER@HOST/NAME");
           }});
  all.add(
      "loops", &settings::loops,
      "on how many threads it serves; each has connections to the database of its own, and limits of its own",
      {.least = 1, .most = belay::most_loops});
  all.add("redis", &settings::redis,
          "where banks on several machines keep the breaker of the quotes that they share; none: they do not",
          {.show = without_password,
           .form = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]",
           .check = [](const std::string& text) { return why_no_redis(text); }});
  all.add("quotes-url", &settings::quotes,
          "the service that is asked for quotes, the symbol is added; none: no quotes");
  all.add("mail-url", &settings::mail,
          "the service that mails are POSTed to; none: a row in the table outbox for each");
  // Other users of the machine see the command line: better in the environment or the file.
  all.add(
      "inspector-token", &settings::inspector_token,
      "whoever sends this as Authorization: Bearer may see /_belay/; none: only this machine may",
      {.secret = true, .form = "at least 16 visible ASCII characters", .check = [](const std::string& text) {
         const bool visible =
             std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
         return std::string(text.empty() || (text.size() >= 16 && visible)
                                ? ""
                                : "expected at least 16 visible ASCII characters");
       }});
  all.add("log", &settings::log, "form of the log on stderr",
          {.choices = {{"json", belay::telemetry::log_format::json},
                       {"pretty", belay::telemetry::log_format::pretty}}});
  all.add("grace", &settings::grace, "how long requests may take to finish at the end",
          {.least = belay::duration()});
  return all;
}
// [end]

std::string conflict_in(const settings& told) {
  if (told.loops > 1 && told.db == "sqlite::memory:") {
    return "loops = " + std::to_string(told.loops) +
           ": with db = sqlite::memory: each loop would have a bank of its own; give it a file, or one loop";
  }
  return {};
}

}  // namespace accounts
