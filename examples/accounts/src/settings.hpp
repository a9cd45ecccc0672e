// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the program was told: command line, then environment, then file, then defaults.

#include <belay/core/time.hpp>
#include <belay/http/url.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/telemetry/logger.hpp>
#include <optional>
#include <stdexcept>
#include <string>

namespace accounts {

struct settings {
  belay::io::endpoint listen{"127.0.0.1", 8080};
  std::string db = "sqlite:var/accounts.db";
  std::optional<belay::http::url> quotes{};
  std::optional<belay::http::url> mail{};
  belay::telemetry::log_format log = belay::telemetry::log_format::pretty;
  belay::duration grace = std::chrono::seconds(10);
};

/// Something was said wrongly; the text names it. Or `--help` was asked for: then code is 0 and the text is the help.
struct usage {
  std::string text;
  int code = 2;
};

/// Errors: throws `usage`.
settings read_settings(int argc, char** argv);

}  // namespace accounts
