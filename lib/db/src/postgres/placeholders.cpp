// SPDX-License-Identifier: Apache-2.0
// Finding the placeholders of a statement: what is not text of some sort.

#include <belay/db/error.hpp>
#include <belay/db/postgres/placeholders.hpp>

#include "server_error.hpp"

namespace belay::db::postgres {

namespace {

[[noreturn]] void refuse(std::string_view sql, const char* why) {
  throw statement_error(error_kind::internal, "bad_statement",
                        "numbered: " + detail::brief(sql) + ": " + why);
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Where the literal, name or comment that begins at `at` ends; `at` itself if none does.
std::size_t skip_text(std::string_view sql, std::size_t at) {
  const char c = sql[at];
  const auto found = [&sql](std::size_t end, std::size_t length, const char* what) {
    if (end == std::string_view::npos) refuse(sql, what);
    return end + length;
  };
  if (c == '\'' || c == '"') {
    const bool escapes = c == '\'' && at > 0 && (sql[at - 1] == 'E' || sql[at - 1] == 'e') &&
                         (at < 2 || !is_word(sql[at - 2]));
    for (std::size_t i = at + 1; i < sql.size(); ++i) {
      if (escapes && sql[i] == '\\') {
        ++i;
      } else if (sql[i] == c) {
        if (i + 1 >= sql.size() || sql[i + 1] != c) return i + 1;
        ++i;  // doubled: a part of it
      }
    }
    refuse(sql, "a quote is not closed");
  }
  if (sql.substr(at).starts_with("--")) {
    const auto end = sql.find('\n', at);
    return end == std::string_view::npos ? sql.size() : end;
  }
  if (sql.substr(at).starts_with("/*")) {  // they nest
    std::size_t depth = 0;
    for (std::size_t i = at; i + 1 < sql.size(); ++i) {
      const std::string_view two = sql.substr(i, 2);
      if (two == "/*") {
        ++depth;
        ++i;
      } else if (two == "*/") {
        ++i;
        if (--depth == 0) return i + 1;
      }
    }
    refuse(sql, "a comment is not closed");
  }
  if (c == '$' && (at == 0 || !is_word(sql[at - 1]))) {
    std::size_t end = at + 1;
    if (end < sql.size() && sql[end] >= '0' && sql[end] <= '9')
      refuse(sql, "it has placeholders with numbers already");
    while (end < sql.size() && is_word(sql[end])) ++end;
    if (end >= sql.size() || sql[end] != '$') return at;
    const std::string_view tag = sql.substr(at, end + 1 - at);
    return found(sql.find(tag, end + 1), tag.size(), "a $-quoted text is not closed");
  }
  return at;
}

}  // namespace

std::string numbered(std::string_view sql) {
  std::string out;
  out.reserve(sql.size() + 8);
  int count = 0;
  for (std::size_t at = 0; at < sql.size();) {
    const std::size_t end = skip_text(sql, at);
    if (end > at) {
      out += sql.substr(at, end - at);
      at = end;
    } else if (sql.substr(at).starts_with("??")) {
      out += '?';
      at += 2;
    } else if (sql[at] == '?') {
      out += '$' + std::to_string(++count);
      ++at;
    } else {
      out += sql[at++];
    }
  }
  return out;
}

}  // namespace belay::db::postgres
