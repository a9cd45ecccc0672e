// SPDX-License-Identifier: Apache-2.0
#pragma once
// What this bank calls valid, and the errors that it answers with.

#include <belay/core/error.hpp>
#include <belay/http/validation.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace accounts {

inline constexpr belay::http::integer_rule id_rule{.min = 1};
inline constexpr belay::http::integer_rule amount_rule{.min = 1};
inline constexpr belay::http::string_rule name_rule{.min_length = 1,
                                                    .max_length = 200,
                                                    .blank = belay::http::string_rule::blank::refused,
                                                    .control = belay::http::string_rule::control::refused};
inline constexpr belay::http::string_rule title_rule = name_rule;
inline constexpr belay::http::string_rule text_rule{
    .min_length = 1, .max_length = 10'000, .blank = belay::http::string_rule::blank::refused};
inline constexpr std::int64_t largest_balance = std::numeric_limits<std::int64_t>::max();

/// One `@`, a local part of 1 to 64 bytes, a domain without empty labels, no white space or control characters.
void check_email(const std::string& email, belay::http::validation& check);
/// Any but U+0000, which PostgreSQL has no place for.
void check_text(std::string_view pointer, const std::string& text, belay::http::validation& check);
/// 1 to 255 visible ASCII characters.
void check_idempotency_key(const std::string& key, belay::http::validation& check);

struct user_not_found : belay::error {
  explicit user_not_found(std::int64_t id, std::source_location where = std::source_location::current());
};
struct post_not_found : belay::error {
  explicit post_not_found(std::int64_t id, std::source_location where = std::source_location::current());
};
struct report_not_found : belay::error {
  explicit report_not_found(std::int64_t id, std::source_location where = std::source_location::current());
};
struct too_many_subscribers : belay::error {
  explicit too_many_subscribers(std::source_location where = std::source_location::current());
};
struct too_many_reports : belay::error {
  explicit too_many_reports(std::source_location where = std::source_location::current());
};
struct account_not_found : belay::error {
  explicit account_not_found(std::int64_t id, std::source_location where = std::source_location::current());
};
struct email_taken : belay::error {
  explicit email_taken(std::source_location where = std::source_location::current());
};
struct insufficient_funds : belay::error {
  explicit insufficient_funds(std::int64_t account,
                              std::source_location where = std::source_location::current());
};
struct balance_overflow : belay::error {
  explicit balance_overflow(std::int64_t account,
                            std::source_location where = std::source_location::current());
};
struct idempotency_mismatch : belay::error {
  explicit idempotency_mismatch(std::source_location where = std::source_location::current());
};
/// The database went away in the middle of a commit, and cannot be asked whether it was done.
struct outcome_unknown : belay::error {
  explicit outcome_unknown(std::source_location where = std::source_location::current());
};

}  // namespace accounts
