// SPDX-License-Identifier: Apache-2.0
#pragma once
// The routes of the bank, by topic.

#include <belay/service/app.hpp>
#include <memory>

#include "events.hpp"
#include "mail.hpp"
#include "store.hpp"

namespace accounts {

void add_user_routes(belay::service::app& app, database db, std::shared_ptr<mailer> mails);
void add_post_routes(belay::service::app& app, database db);
void add_account_routes(belay::service::app& app, database db);
void add_transfer_routes(belay::service::app& app, database db, std::shared_ptr<event_feed> feed);
void add_dashboard_route(belay::service::app& app, database db);

}  // namespace accounts
