// SPDX-License-Identifier: Apache-2.0
// The test client of services.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/service_client.hpp>
#include <belay/testing/test_loop.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <map>
#include <optional>

namespace belay::testing {

// ---- answers

namespace {

[[noreturn]] void refuse(std::string_view pointer, const std::string& why, const std::string& body) {
  throw error(error_kind::invalid, "bad_answer",
              "the answer at '" + std::string(pointer) + "': " + why + "; the body is: " + body);
}

boost::json::value parsed(const http::response& from, std::string_view pointer) {
  boost::system::error_code bad;
  boost::json::value all = boost::json::parse(from.body, bad);
  if (bad) refuse(pointer, "the body is no JSON", from.body);
  return all;
}

const boost::json::value& at(const boost::json::value& all, std::string_view pointer,
                             const std::string& body) {
  boost::system::error_code bad;
  const boost::json::value* found = all.find_pointer(pointer, bad);
  if (found == nullptr) refuse(pointer, "there is nothing", body);
  return *found;
}

}  // namespace

std::string service_answer::header(std::string_view name) const {
  const auto found = got_.headers.find(name);
  return found ? std::string(*found) : std::string();
}

std::string service_answer::json(std::string_view pointer) const {
  const boost::json::value all = parsed(got_, pointer);
  return boost::json::serialize(at(all, pointer, got_.body));
}

std::string service_answer::text(std::string_view pointer) const {
  const boost::json::value all = parsed(got_, pointer);
  const boost::json::value& found = at(all, pointer, got_.body);
  if (!found.is_string()) refuse(pointer, "that is no text", got_.body);
  return std::string(found.get_string());
}

std::int64_t service_answer::integer(std::string_view pointer) const {
  const boost::json::value all = parsed(got_, pointer);
  const boost::json::value& found = at(all, pointer, got_.body);
  boost::system::error_code bad;
  const auto number = found.to_number<std::int64_t>(bad);
  if (bad) refuse(pointer, "that is no whole number", got_.body);
  return number;
}

bool service_answer::has(std::string_view pointer) const {
  const boost::json::value all = parsed(got_, pointer);
  boost::system::error_code bad;
  return all.find_pointer(pointer, bad) != nullptr;
}

// ---- the client

struct service_client::state {
  state(service::app& of, io::endpoint at, service_client_options given)
      : app(of), address(std::move(at)), options(std::move(given)), web(options.client) {
    if (options.handler_failures == service_client_options::on_failure::rethrow) {
      app.on_handler_failure([this](const failure& what, const http::response& answer) {
        if (answer.status == http::status::internal_server_error) failures[trace_of(answer)] = what;
      });
    }
  }
  state(const state&) = delete;
  state& operator=(const state&) = delete;
  ~state() { app.on_handler_failure({}); }

  static std::string trace_of(const http::response& answer) {
    // 00-TRACE-SPAN-FLAGS. The span is that of the answer as well, so this is one request.
    return std::string(answer.headers.find("traceparent").value_or(""));
  }

  service::app& app;
  const io::endpoint address;
  const service_client_options options;
  http::client web;
  std::map<std::string, failure> failures;  // of requests whose answer is on its way
};

service_client::service_client(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}
service_client::~service_client() = default;

task<service_answer> service_client::send(http::method verb, std::string path, http::headers fields,
                                          std::string body, std::source_location where) {
  http::client_request what{.method = verb,
                            .url = http::url::parse("http://" + state_->address.to_string() + path),
                            .headers = std::move(fields),
                            .body = std::move(body)};
  http::response got = co_await or_fail(state_->web.send(std::move(what), where));
  if (auto known = state_->failures.extract(state::trace_of(got)); !known.empty()) {
    co_await fail(std::move(known.mapped()));
  }
  co_return service_answer(std::move(got));
}

task<service_answer> service_client::get(std::string path, http::headers fields, std::source_location where) {
  co_return co_await or_fail(send(http::method::get, std::move(path), std::move(fields), {}, where));
}

task<service_answer> service_client::del(std::string path, http::headers fields, std::source_location where) {
  co_return co_await or_fail(send(http::method::delete_, std::move(path), std::move(fields), {}, where));
}

task<service_answer> service_client::post_json(std::string path, std::string json_text, http::headers fields,
                                               std::source_location where) {
  fields.set("Content-Type", "application/json");
  co_return co_await or_fail(
      send(http::method::post, std::move(path), std::move(fields), std::move(json_text), where));
}

task<service_answer> service_client::put_json(std::string path, std::string json_text, http::headers fields,
                                              std::source_location where) {
  fields.set("Content-Type", "application/json");
  co_return co_await or_fail(
      send(http::method::put, std::move(path), std::move(fields), std::move(json_text), where));
}

task<> service_client::background() { co_await or_fail(state_->app.wait_background()); }
void service_client::stop() { state_->app.stop("test"); }
service::app& service_client::app() noexcept { return state_->app; }
const io::endpoint& service_client::address() const noexcept { return state_->address; }

// ---- running

namespace {

using test_function = task_function<task<>(service_client&)>;

task<int> run_app(service::app& of, event& news) {
  struct telling {
    event& to;
    ~telling() { to.set(); }
  } const at_end{news};
  co_return co_await or_fail(of.run_within());
}

task<> wait_until_it_serves(service::app& of, event& news) {
  co_await of.wait_serving();
  news.set();
}

task<> call(test_function& test, service_client& with) { co_await or_fail(test(with)); }

task<> speak(service::app& of, test_function& test, service_client_options options) {
  service_client client(
      std::make_unique<service_client::state>(of, co_await of.wait_serving(), std::move(options)));
  co_await or_fail(call(test, client));
}

}  // namespace

task<int> with_service(service::app& of, task_function<task<>(service_client&)> test,
                       service_client_options options) {
  event news;
  co_return co_await or_fail(with_group([&](group& both) -> task<int> {
    child<int> code = both.spawn(&run_app, std::ref(of), std::ref(news));
    child<void> serving = both.spawn(&wait_until_it_serves, std::ref(of), std::ref(news));
    co_await news.wait();
    if (code.done()) {
      serving.cancel();
      const int ended = co_await code;
      throw error(error_kind::internal, "service_did_not_start",
                  "the app ended with " + std::to_string(ended) + " before it served; its log says why");
    }
    const outcome<void> how = co_await as_outcome(speak(of, test, std::move(options)));
    of.stop("test over");
    const int ended = co_await code;
    if (how.failed()) co_await fail(how.failure());
    co_return ended;
  }));
}

int run_service(service::app& of, task_function<task<>(service_client&)> test,
                service_client_options options) {
  if (options.network == service_client_options::over::sockets) {
    loop real;
    return real.run(with_service(of, std::move(test), std::move(options)));
  }
  fake_network net;
  const io::network_override here(net);
  test_loop loop;
  const int code = loop.run(with_service(of, std::move(test), std::move(options)));
  std::string left;
  if (!loop.nothing_left()) left += "tasks, timers or calls on threads; ";
  if (!net.nothing_left()) left += net.describe() + "; ";
  for (const std::string& lost : loop.lost_errors())
    left += "a failure that nobody looked at: " + lost + "; ";
  if (!left.empty()) throw error(error_kind::internal, "left_behind", "the service left behind: " + left);
  return code;
}

}  // namespace belay::testing
