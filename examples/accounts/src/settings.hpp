// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the program was told: command line, then environment, then file, then defaults.

#include <belay/core/time.hpp>
#include <belay/http/url.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/service/config.hpp>
#include <belay/telemetry/logger.hpp>
#include <optional>
#include <string>

namespace accounts {

struct settings {
  belay::io::endpoint listen{"127.0.0.1", 8080};
  std::string db = "sqlite:var/accounts.db";
  unsigned loops = 1;
  std::optional<std::string> redis{};
  std::optional<belay::http::url> quotes{};
  std::optional<belay::http::url> mail{};
  belay::telemetry::log_format log = belay::telemetry::log_format::pretty;
  std::string inspector_token{};
  belay::duration grace = std::chrono::seconds(10);
};

/// Each is an option, a variable (`ACCOUNTS_LISTEN`) and a key of the file that `--config` names.
belay::service::config<settings> options();

/// What is wrong with two of them together; empty: nothing.
[[nodiscard]] std::string conflict_in(const settings& told);

}  // namespace accounts
