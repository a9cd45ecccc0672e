// SPDX-License-Identifier: Apache-2.0
// What is valid, and what is answered when it is not.

#include "rules.hpp"

#include <algorithm>

namespace accounts {

using belay::error_kind;

void check_email(const std::string& email, belay::http::validation& check) {
  const auto refuse = [&](const char* why) { check.fail("/email", why); };
  const auto at = email.find('@');
  if (email.size() > 254) return refuse("must have at most 254 bytes");
  if (at == std::string::npos || email.find('@', at + 1) != std::string::npos)
    return refuse("must contain one @");
  if (at < 1 || at > 64) return refuse("must have 1 to 64 bytes before the @");
  const auto is_bad = [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == '\x7f'; };
  if (std::any_of(email.begin(), email.end(), is_bad))
    return refuse("must not contain spaces or control characters");
  const std::string domain = email.substr(at + 1);
  if (domain.empty() || domain.front() == '.' || domain.back() == '.' ||
      domain.find("..") != std::string::npos) {
    refuse("must have a domain without empty labels after the @");
  }
}

void check_text(std::string_view pointer, const std::string& text, belay::http::validation& check) {
  if (text.find('\0') != std::string::npos) check.fail(std::string(pointer), "must not contain U+0000");
}

void check_idempotency_key(const std::string& key, belay::http::validation& check) {
  const bool visible = std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (key.empty() || key.size() > 255 || !visible) {
    check.fail("/header/Idempotency-Key", "must be 1 to 255 visible ASCII characters");
  }
}

user_not_found::user_not_found(std::int64_t id, std::source_location where)
    : error(error_kind::not_found, "user_not_found", "there is no user " + std::to_string(id), where) {}
post_not_found::post_not_found(std::int64_t id, std::source_location where)
    : error(error_kind::not_found, "post_not_found", "there is no post " + std::to_string(id), where) {}
report_not_found::report_not_found(std::int64_t id, std::source_location where)
    : error(error_kind::not_found, "report_not_found", "there is no report " + std::to_string(id), where) {}
too_many_subscribers::too_many_subscribers(std::source_location where)
    : error(error_kind::overloaded, "too_many_subscribers", "too many listen to the events; try again later",
            where) {
  set_retry_after(std::chrono::seconds(5));
}
too_many_reports::too_many_reports(std::source_location where)
    : error(error_kind::overloaded, "too_many_reports", "too many reports are waiting; try again later",
            where) {
  set_retry_after(std::chrono::seconds(5));
}
account_not_found::account_not_found(std::int64_t id, std::source_location where)
    : error(error_kind::not_found, "account_not_found", "there is no account " + std::to_string(id), where) {}
email_taken::email_taken(std::source_location where)
    : error(error_kind::conflict, "email_taken", "another user has this e-mail address", where) {}
insufficient_funds::insufficient_funds(std::int64_t account, std::source_location where)
    : error(error_kind::conflict, "insufficient_funds",
            "the balance of account " + std::to_string(account) + " is smaller than the amount", where) {}
balance_overflow::balance_overflow(std::int64_t account, std::source_location where)
    : error(error_kind::invalid, "balance_overflow",
            "the balance of account " + std::to_string(account) + " would become too large", where) {}
idempotency_mismatch::idempotency_mismatch(std::source_location where)
    : error(error_kind::invalid, "idempotency_mismatch", "this Idempotency-Key was used with another body",
            where) {}
// Of a kind that no policy repeats.
outcome_unknown::outcome_unknown(std::source_location where)
    : error(
          error_kind::internal, "outcome_unknown",
          "it is not known whether this was done: look before you try again; with the same Idempotency-Key you may",
          where) {}

}  // namespace accounts
