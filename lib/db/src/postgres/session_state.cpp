// SPDX-License-Identifier: Apache-2.0
// Looks for the words that change a session in the text of statements.

#include "session_state.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace belay::db::postgres::detail {

namespace {

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr bool begins_word(char c) noexcept {
  return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
constexpr auto in_words = [] {
  std::array<bool, 256> all{};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const char c = static_cast<char>(i);
    all[i] = begins_word(c) || is_digit(c) || c == '$';
  }
  return all;
}();
constexpr bool is_in_word(char c) noexcept { return in_words[static_cast<unsigned char>(c)]; }

struct token {
  enum class type : unsigned char { end, word, sign, other };
  type what = type::end;
  std::string_view text = {};

  [[nodiscard]] bool is(std::string_view word) const noexcept {
    return what == type::word && text.size() == word.size() &&
           std::equal(text.begin(), text.end(), word.begin(),
                      [](char mine, char wanted) { return lower(mine) == wanted; });
  }
  template <std::size_t N>
  [[nodiscard]] bool is_one_of(const std::array<std::string_view, N>& words) const noexcept {
    return std::any_of(words.begin(), words.end(), [this](std::string_view one) { return is(one); });
  }
  [[nodiscard]] bool is_sign(char wanted) const noexcept { return what == type::sign && text[0] == wanted; }
};

// As PostgreSQL's scanner, as far as it is about where literals and comments end (standard_conforming_strings on).
class scanner {
 public:
  explicit scanner(std::string_view sql) noexcept : rest_(sql) {}

  token next() noexcept {
    skip_blanks();
    if (rest_.empty()) return {};
    const char c = rest_.front();
    if (begins_word(c)) {
      const auto after = std::find_if_not(rest_.begin(), rest_.end(), is_in_word);
      const std::string_view word = take(static_cast<std::size_t>(after - rest_.begin()));
      if (lower(word.front()) != 'e' || word.size() != 1 || !rest_.starts_with('\''))
        return {token::type::word, word};
      skip_escaped_string();
      return {token::type::other};
    }
    if (c == '"') {
      const std::string_view name = take_until_quote('"');
      return {token::type::word, name};
    }
    if (c == '\'') {
      static_cast<void>(take_until_quote('\''));
      return {token::type::other};
    }
    if (c == '$') {
      skip_dollar();
      return {token::type::other};
    }
    if (is_digit(c)) {
      const auto after = std::find_if_not(rest_.begin(), rest_.end(), is_in_word);
      static_cast<void>(take(static_cast<std::size_t>(after - rest_.begin())));
      return {token::type::other};
    }
    return {token::type::sign, take(1)};
  }

 private:
  std::string_view take(std::size_t count) noexcept {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // Up to the end of `what` where it is found, otherwise all.
  void skip_behind(std::string_view what) noexcept {
    const std::size_t at = rest_.find(what);
    static_cast<void>(take(at == std::string_view::npos ? rest_.size() : at + what.size()));
  }

  void skip_blanks() noexcept {
    for (;;) {
      const std::size_t at = rest_.find_first_not_of(" \t\r\n\f\v");
      static_cast<void>(take(at == std::string_view::npos ? rest_.size() : at));
      if (rest_.starts_with("--")) {
        static_cast<void>(take(std::min(rest_.find_first_of("\r\n"), rest_.size())));
      } else if (rest_.starts_with("/*")) {
        skip_comment();
      } else {
        return;
      }
    }
  }

  void skip_comment() noexcept {
    for (std::size_t depth = 0; !rest_.empty();) {
      if (rest_.starts_with("/*")) {
        ++depth;
        static_cast<void>(take(2));
      } else if (rest_.starts_with("*/")) {
        static_cast<void>(take(2));
        if (--depth == 0) return;
      } else {
        static_cast<void>(take(1));
      }
    }
  }

  // A doubled quote begins the next piece, which changes nothing here.
  std::string_view take_until_quote(char quote) noexcept {
    static_cast<void>(take(1));
    const std::string_view inside = take(std::min(rest_.find(quote), rest_.size()));
    static_cast<void>(take(1));
    return inside;
  }

  void skip_escaped_string() noexcept {
    static_cast<void>(take(1));
    while (!rest_.empty()) {
      const char c = take(1).front();
      if (c == '\\') static_cast<void>(take(1));
      if (c != '\'') continue;
      if (!rest_.starts_with('\'')) return;
      static_cast<void>(take(1));  // doubled: still inside
    }
  }

  // $tag$ … $tag$, or a parameter.
  void skip_dollar() noexcept {
    std::size_t end = 1;
    while (end < rest_.size() && rest_[end] != '$' && is_in_word(rest_[end])) ++end;
    const bool is_parameter = rest_.size() > 1 && is_digit(rest_[1]);
    const bool is_quote = !is_parameter && end < rest_.size() && rest_[end] == '$';
    const std::string_view tag = take(is_quote ? end + 1 : end);
    if (is_quote) skip_behind(tag);
  }

  std::string_view rest_;
};

using words = std::array<std::string_view, 4>;
constexpr words begin_state = {"listen", "declare", "do", "call"};
constexpr words begin_more = {"prepare", "load", "discard", "deallocate"};
constexpr words keep_locks = {"pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock",
                              "pg_try_advisory_lock_shared"};
constexpr std::array<std::string_view, 3> are_local = {"local", "transaction", "constraints"};
constexpr std::array<std::string_view, 2> are_temporary = {"temp", "temporary"};
// What no reset ends.
constexpr words begin_for_good = {"dblink_connect", "dblink_connect_u", "pg_backup_start", "pg_start_backup"};

}  // namespace

leaving left_by(std::string_view sql) noexcept {
  scanner all(sql);
  leaving found = leaving::nothing;
  bool at_start = true;        // of a statement
  bool creates = false;        // it begins with CREATE, or EXPLAIN, which may carry it out
  bool sets = false;           // … with SET, and that was the token before
  bool in_set_config = false;  // behind that word, up to the end of its arguments
  std::size_t depth = 0;       // of these
  token before;
  for (token one = all.next();; before = one, one = all.next()) {
    const bool ends = one.what == token::type::end || one.is_sign(';');
    if (ends) {
      if (in_set_config) found = leaving::state;
      if (one.what == token::type::end) return found;
      at_start = true;
      creates = sets = in_set_config = false;
      continue;
    }
    if (at_start) {
      if (one.is_sign('(')) continue;
      at_start = false;
      if (one.is_one_of(begin_more)) return leaving::more;
      if (one.is_one_of(begin_state)) found = leaving::state;
      creates = one.is("create") || one.is("explain");
      sets = one.is("set");
      continue;
    }
    if (std::exchange(sets, false) && !one.is_one_of(are_local)) found = leaving::state;
    if (in_set_config && one.is_sign('(')) ++depth;
    if (in_set_config && one.is_sign(')') && --depth == 0) {
      in_set_config = false;
      if (!before.is("true")) found = leaving::state;  // not local
    }
    if (one.what != token::type::word) continue;
    if ((creates || before.is("into")) && one.is_one_of(are_temporary)) found = leaving::state;
    if (one.text.size() < 7) continue;  // as all words below have
    if (one.is("set_config")) {
      if (in_set_config) found = leaving::state;
      in_set_config = true;
      depth = 0;
    }
    if (one.is("pg_temp") || one.is("pg_settings") || one.is("setseed") || one.is_one_of(keep_locks))
      found = leaving::state;
    if (one.is_one_of(begin_for_good)) return leaving::more;
  }
}

}  // namespace belay::db::postgres::detail
