// SPDX-License-Identifier: Apache-2.0
#pragma once
// Mail that the bank sends: handed to another service, or left in a table.

#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <belay/http/trace_context.hpp>
#include <belay/http/url.hpp>
#include <belay/resilience/policy.hpp>
#include <belay/service/app.hpp>
#include <memory>
#include <optional>
#include <string>

#include "store.hpp"

namespace accounts {

struct mail {
  std::string to;
  std::string subject;
  std::string body;
  /// Names this mail: a service that gets it twice, because an answer was lost, can tell.
  std::string key;
};

struct mail_options {
  /// Gets each mail as a POST of `{to, subject, body}`, with the key as Idempotency-Key. Nothing: the table `outbox` does.
  std::optional<belay::http::url> url{};
  belay::duration total = std::chrono::seconds(8);
  belay::duration attempt = std::chrono::seconds(2);
  unsigned most_attempts = 4;
  belay::policy_listener listener = {};
};

class mailer {
 public:
  mailer() = default;
  mailer(const mailer&) = delete;
  mailer& operator=(const mailer&) = delete;
  virtual ~mailer() = default;

  /// Errors:        of the last attempt, with those before it attached; or of the database.
  /// Cancellation:  the mail may have been sent.
  /// Lifetime:      this object outlives the task.
  [[nodiscard]] virtual belay::task<> send(mail what, belay::http::trace_context trace) = 0;
};

/// What sends the mails of `app`; adds a client as a step of its lifespan where there is a service to send them to.
[[nodiscard]] std::shared_ptr<mailer> add_mailer(belay::service::app& app, database db, mail_options options);

}  // namespace accounts
