// SPDX-License-Identifier: Apache-2.0
// Kinds and codes of what Redis answers.

#include <belay/db/redis/error.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace belay::db::redis {

namespace {

// The first word, if it is in capitals as Redis has it.
std::string_view prefix_of(std::string_view text) {
  const std::string_view word = text.substr(0, text.find(' '));
  const bool capitals = !word.empty() && word.size() < 16 &&
                        std::all_of(word.begin(), word.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  return capitals ? word : "ERR";
}

error_kind kind_of(std::string_view prefix, std::string_view text) {
  constexpr std::array<std::pair<std::string_view, error_kind>, 17> known{{
      {"LOADING", error_kind::unavailable},
      {"READONLY", error_kind::unavailable},
      {"BUSY", error_kind::unavailable},
      {"MASTERDOWN", error_kind::unavailable},
      {"CLUSTERDOWN", error_kind::unavailable},
      {"TRYAGAIN", error_kind::unavailable},
      {"MISCONF", error_kind::unavailable},
      {"NOREPLICAS", error_kind::unavailable},
      {"OOM", error_kind::overloaded},
      {"NOAUTH", error_kind::unauthenticated},
      {"WRONGPASS", error_kind::unauthenticated},
      {"NOPERM", error_kind::denied},
      {"NOSCRIPT", error_kind::not_found},
      {"EXECABORT", error_kind::conflict},
      {"BUSYKEY", error_kind::conflict},
      {"WRONGTYPE", error_kind::invalid},
      {"ERR", error_kind::invalid},
  }};
  if (text.starts_with("ERR max number of clients")) return error_kind::overloaded;
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const auto& one) { return one.first == prefix; });
  return found == known.end() ? error_kind::internal : found->second;
}

// Without the arguments that Redis quotes for a command it does not know: they may be secret.
std::string_view without_arguments(std::string_view text) {
  return text.substr(0, std::min<std::size_t>(text.find(", with args beginning with"), 500));
}

std::string code_of(std::string_view prefix) {
  std::string code = "redis_";
  for (const char c : prefix) code += static_cast<char>(c - 'A' + 'a');
  return code;
}

}  // namespace

server_error::server_error(std::string_view text, std::string_view server, std::string_view tried,
                           std::source_location where)
    : error(kind_of(prefix_of(text), text), code_of(prefix_of(text)),
            "Redis at " + std::string(server) + " answered " + std::string(tried) +
                " with: " + std::string(without_arguments(text)),
            0, where) {
  const std::string_view prefix = prefix_of(text);
  std::copy(prefix.begin(), prefix.end(), prefix_);
}

}  // namespace belay::db::redis
