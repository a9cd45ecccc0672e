// SPDX-License-Identifier: Apache-2.0
// Mail by way of another service, tried a few times, or into the outbox.

#include "mail.hpp"

#include <belay/http/client.hpp>
#include <belay/resilience/error_filter.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <functional>
#include <random>
#include <utility>

namespace accounts {

namespace {

namespace http = belay::http;
using belay::task;

// The outbox is emptied by whoever sends mail.
class outbox final : public mailer {
 public:
  explicit outbox(database db) : db_(std::move(db)) {}

  [[nodiscard]] task<> send(mail what, http::trace_context) override {
    co_await db_->execute("INSERT INTO outbox (recipient, subject, body) VALUES (?, ?, ?)", what.to,
                          what.subject, what.body);
  }

 private:
  database db_;
};

class mail_service final : public mailer {
 public:
  mail_service(belay::service::resource<http::client> web, mail_options options)
      : web_(std::move(web)),
        options_(std::move(options)),
        guarded_(
            belay::timeout({.limit = options_.total, .name = "mail", .listener = options_.listener}),
            belay::retry(
                {.max_attempts = options_.most_attempts,
                 .delay = belay::backoff::exponential(std::chrono::milliseconds(50), std::chrono::seconds(2)),
                 // Also what may have been carried out, although it is a POST: its key makes it one mail.
                 .on = belay::kinds({belay::error_kind::unavailable, belay::error_kind::overloaded,
                                     belay::error_kind::timed_out}),
                 .name = "mail",
                 .listener = options_.listener}),
            belay::timeout(
                {.limit = options_.attempt, .name = "one try of a mail", .listener = options_.listener})) {}

  [[nodiscard]] task<> send(mail what, http::trace_context trace) override {
    const auto once = [&]() -> task<> { co_await post(what, trace); };
    co_await guarded_(std::cref(once));
  }

 private:
  task<> post(const mail& what, const http::trace_context& trace) {
    http::client_request asked =
        http::client_request::json(http::method::post, *options_.url,
                                   boost::json::serialize(boost::json::object{
                                       {"to", what.to}, {"subject", what.subject}, {"body", what.body}}));
    asked.headers.add("Idempotency-Key", what.key);
    http::inject(http::make_child(trace, std::ref(random_)), asked.headers);
    co_await web_->fetch(std::move(asked));
  }

  belay::service::resource<http::client> web_;
  mail_options options_;
  belay::pipeline<belay::timeout, belay::retry, belay::timeout> guarded_;
  std::mt19937_64 random_{std::random_device{}()};
};

}  // namespace

std::shared_ptr<mailer> add_mailer(belay::service::app& app, database db, mail_options options) {
  if (!options.url) return std::make_shared<outbox>(std::move(db));
  http::client_options limits;
  limits.limits = {.head_limit = 16 * 1024, .body_limit = 64 * 1024};
  limits.wait_timeout = options.total;
  limits.connect_timeout = options.attempt;
  limits.response_timeout = options.attempt;
  return std::make_shared<mail_service>(app.manage("mail client", http::open_client(limits)),
                                        std::move(options));
}

}  // namespace accounts
