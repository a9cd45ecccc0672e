// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows as JSON, in the shapes of the contract.

#include <belay/db/row.hpp>
#include <belay/http/message.hpp>
#include <boost/json/value.hpp>
#include <string_view>

namespace accounts {

/// The columns of each resource, in the order of its members.
inline constexpr std::string_view user_columns = "id, email, name, created_at";
inline constexpr std::string_view post_columns = "id, user_id, title, body, created_at";
inline constexpr std::string_view comment_columns = "id, post_id, user_id, body, created_at";
inline constexpr std::string_view account_columns = "id, user_id, balance, created_at";
inline constexpr std::string_view transfer_columns =
    "id, from_id AS \"from\", to_id AS \"to\", amount, created_at";

/// Each column becomes a member of its name.
boost::json::object to_json(const belay::db::row& from);
boost::json::array to_json(const belay::db::rows& from);

belay::http::response answer(belay::http::status status, const boost::json::value& body);

}  // namespace accounts
