// SPDX-License-Identifier: Apache-2.0
#pragma once
// The routes of the bank, by topic.

#include <belay/db/sqlite/database.hpp>
#include <belay/service/app.hpp>

namespace accounts {

using database = belay::service::resource<belay::db::sqlite::database>;

void add_user_routes(belay::service::app& app, database db);
void add_account_routes(belay::service::app& app, database db);
void add_transfer_routes(belay::service::app& app, database db);
void add_dashboard_route(belay::service::app& app, database db);

}  // namespace accounts
