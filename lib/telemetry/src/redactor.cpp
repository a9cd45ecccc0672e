// SPDX-License-Identifier: Apache-2.0
// Finds secrets by the names beside them.

#include <belay/telemetry/redactor.hpp>
#include <algorithm>

namespace belay::telemetry {

namespace {

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_word_character(char c) { return is_upper(c) || is_lower_or_digit(c); }
bool is_name_character(char c) { return is_word_character(c) || c == '_' || c == '-'; }
bool is_space(char c) { return c == ' ' || c == '\t'; }
char lower(char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; }

// "dbPassword", "db-password", "DB_PASSWORD" -> {"db", "password"}
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words;
  std::string word;
  char previous = '\0';
  for (const char c : name) {
    const bool boundary = !is_word_character(c) || (is_upper(c) && is_lower_or_digit(previous));
    if (boundary && !word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
    if (is_word_character(c)) word += lower(c);
    previous = c;
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

bool same_text_any_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::size_t skip_spaces(std::string_view text, std::size_t at) {
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

// Where the value that starts at `at` ends. A header's value is the rest of its line.
std::size_t end_of_value(std::string_view text, std::size_t at, bool whole_line) {
  if (at < text.size() && (text[at] == '"' || text[at] == '\'')) {
    const char quote = text[at];
    for (++at; at < text.size() && text[at] != quote; ++at) {
      if (text[at] == '\\' && at + 1 < text.size()) ++at;
    }
    return at;  // at the closing quote
  }
  if (whole_line) return std::min(text.find_first_of("\r\n", at), text.size());
  return std::min(text.find_first_of(" \t\r\n,;&\"')}]", at), text.size());
}

// scheme://user:secret@host -> scheme://user:[redacted]@host
std::string mask_urls(std::string_view text) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find("://"); at != std::string_view::npos; at = text.find("://", at + 3)) {
    const std::size_t begin = at + 3;
    const std::size_t end = std::min(text.find_first_of("/?# \t\r\n\"'<>", begin), text.size());
    const std::string_view authority = text.substr(begin, end - begin);
    const std::size_t host = authority.rfind('@');
    const std::size_t colon = authority.find(':');
    if (host == std::string_view::npos || colon == std::string_view::npos || colon > host) continue;
    out += text.substr(done, begin + colon + 1 - done);
    out += redacted_text;
    done = begin + host;
  }
  out += text.substr(done);
  return out;
}

}  // namespace

std::vector<std::string> default_secret_keys() {
  return {"password", "passwd", "authorization", "cookie", "secret", "token", "api_key"};
}

redactor::redactor(std::vector<std::string> secret_keys) {
  for (const std::string& key : secret_keys) {
    std::vector<std::string> words = words_of(key);
    if (words.empty()) continue;
    std::string joined;  // "apikey" is written without a break, too
    for (const std::string& word : words) joined += word;
    if (words.size() > 1) secret_words_.push_back({std::move(joined)});
    secret_words_.push_back(std::move(words));
  }
}

bool redactor::is_secret(std::string_view key) const {
  if (secret_words_.empty()) return false;
  const std::vector<std::string> words = words_of(key);
  return std::any_of(secret_words_.begin(), secret_words_.end(), [&](const std::vector<std::string>& secret) {
    return std::search(words.begin(), words.end(), secret.begin(), secret.end()) != words.end();
  });
}

std::string redactor::text(std::string_view text) const {
  if (secret_words_.empty() || text.find_first_of("=:") == std::string_view::npos) return std::string(text);
  const std::string masked = mask_urls(text);
  const std::string_view rest = masked;
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = rest.find_first_of("=:"); at != std::string_view::npos;
       at = rest.find_first_of("=:", at + 1)) {
    if (at < done) continue;
    // The name before the sign, with a quote or spaces between them: "password" : "…"
    std::size_t name_end = at;
    while (name_end > done && is_space(rest[name_end - 1])) --name_end;
    if (name_end > done && (rest[name_end - 1] == '"' || rest[name_end - 1] == '\'')) --name_end;
    std::size_t name_begin = name_end;
    while (name_begin > done && is_name_character(rest[name_begin - 1])) --name_begin;
    const std::string_view name = rest.substr(name_begin, name_end - name_begin);
    if (name.empty() || !is_secret(name)) continue;

    std::size_t begin = skip_spaces(rest, at + 1);
    const std::vector<std::string> words = words_of(name);
    const bool header = rest[at] == ':' && (words.back() == "authorization" || words.back() == "cookie");
    std::size_t end = end_of_value(rest, begin, header);
    if (begin < rest.size() && (rest[begin] == '"' || rest[begin] == '\'')) {
      ++begin;
    } else if (!header) {
      // "authorization=Bearer abc": the secret is the word after the scheme.
      const std::string_view first = rest.substr(begin, end - begin);
      if (same_text_any_case(first, "bearer") || same_text_any_case(first, "basic")) {
        end = end_of_value(rest, skip_spaces(rest, end), false);
      }
    }
    if (end <= begin || rest.substr(begin).starts_with(redacted_text)) continue;
    out += rest.substr(done, begin - done);
    out += redacted_text;
    done = end;
  }
  out += rest.substr(done);
  return out;
}

}  // namespace belay::telemetry
