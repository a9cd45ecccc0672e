// SPDX-License-Identifier: Apache-2.0
#pragma once
// A client for the tests of a service: it runs the app beside the test, without sockets and in virtual time, or over real ones.

#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/http/client.hpp>
#include <belay/http/message.hpp>
#include <belay/service/app.hpp>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>

namespace belay::testing {

/// The answer to a request of a `service_client`.
class service_answer {
 public:
  explicit service_answer(http::response got) : got_(std::move(got)) {}

  /// 200, 404.
  [[nodiscard]] int status() const noexcept { return static_cast<int>(got_.status); }
  [[nodiscard]] const std::string& body() const noexcept { return got_.body; }
  /// The first field of that name; empty when there is none.
  [[nodiscard]] std::string header(std::string_view name) const;
  [[nodiscard]] const http::response& http() const noexcept { return got_; }

  /// What is at a JSON pointer (RFC 6901) of the body: `text("/user/name")`, `integer("/items/0/id")`; `json` gives it as JSON text, "" is all.
  /// Errors: `error` (invalid, `bad_answer`) that names the pointer, what is there instead, and the body.
  [[nodiscard]] std::string json(std::string_view pointer = "") const;
  [[nodiscard]] std::string text(std::string_view pointer) const;
  [[nodiscard]] std::int64_t integer(std::string_view pointer) const;
  [[nodiscard]] bool has(std::string_view pointer) const;

 private:
  http::response got_;
};

struct service_client_options {
  /// What the app and its client speak over.
  enum class over : unsigned char {
    memory,   ///< a `fake_network` in virtual time
    sockets,  ///< the machine's network and clock
  } network = over::memory;
  /// A handler that fails with what the app has no answer for (500) fails the request in the test, with the handler's own error.
  /// Otherwise the test gets the 500.
  enum class on_failure : unsigned char { rethrow, answer } handler_failures = on_failure::rethrow;
  /// Of the client; there is no limit in time unless you set one.
  http::client_options client{.response_timeout = duration::max()};
};

/// Speaks to the app of `run_service` or `with_service`.
///
///     service::app shop = make_shop();
///     testing::run_service(shop, [](testing::service_client& client) -> task<> {
///       auto made = co_await client.post_json("/orders", R"({"item":7})");
///       CHECK(made.status() == 201);
///       CHECK(made.integer("/item") == 7);
///       co_await client.background();             // the mail that follows the answer has been sent
///       co_await sleep_for(24h);                  // costs nothing: the clock is virtual
///       CHECK((co_await client.get(made.header("Location"))).status() == 404);
///     });
///
/// Several requests at the same time: `co_await all(client.get("/a"), client.get("/b"))`.
/// Errors:        those of `http::client`; and what a handler failed with, see `service_client_options`.
/// Cancellation:  the request is dropped, as by a client that leaves.
/// Lifetime:      `path` and the like are copied. Thread: the loop's.
class service_client {
 public:
  service_client(const service_client&) = delete;
  service_client& operator=(const service_client&) = delete;
  ~service_client();

  /// `path`: with a query, if there is one.
  [[nodiscard]] task<service_answer> get(std::string path, http::headers fields = {},
                                         std::source_location where = std::source_location::current());
  [[nodiscard]] task<service_answer> del(std::string path, http::headers fields = {},
                                         std::source_location where = std::source_location::current());
  /// `json_text` must be JSON already.
  [[nodiscard]] task<service_answer> post_json(std::string path, std::string json_text,
                                               http::headers fields = {},
                                               std::source_location where = std::source_location::current());
  [[nodiscard]] task<service_answer> put_json(std::string path, std::string json_text,
                                              http::headers fields = {},
                                              std::source_location where = std::source_location::current());
  [[nodiscard]] task<service_answer> send(http::method verb, std::string path, http::headers fields = {},
                                          std::string body = {},
                                          std::source_location where = std::source_location::current());

  /// Waits until the background work of all answers so far has ended.
  [[nodiscard]] task<> background();
  /// `app::stop`: the app drains while the test goes on.
  void stop();
  [[nodiscard]] service::app& app() noexcept;
  [[nodiscard]] const io::endpoint& address() const noexcept;

  struct state;
  explicit service_client(std::unique_ptr<state> made) noexcept;

 private:
  std::unique_ptr<state> state_;
};

/// Runs `of` with its lifespan, and `test` with a client once it serves; then stops it. A task of a loop and network that are there already:
/// `options.network` does not count.
///
/// Result:        the exit code of the app.
/// Errors:        those of `test`; `error` (internal, `service_did_not_start`) when it ends before it serves.
/// Cancellation:  reaches both.
/// Lifetime:      `of` outlives the task.
[[nodiscard]] task<int> with_service(service::app& of, task_function<task<>(service_client&)> test,
                                     service_client_options options = {});

/// The same in a loop and on a network of its own.
/// Errors: besides, in memory: `error` (internal, `left_behind`) for tasks, timers and connections that are left, and failures that nobody
///         looked at. What the test throws goes first.
int run_service(service::app& of, task_function<task<>(service_client&)> test,
                service_client_options options = {});

}  // namespace belay::testing
