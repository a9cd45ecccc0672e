// SPDX-License-Identifier: Apache-2.0
// Tests of a service: without sockets, in virtual time, with its lifespan. The guide's chapter 10.
//   ./10_testing_a_service     exit: 0
#include <belay/core/all.hpp>
#include <belay/core/sleep.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <belay/testing/service_client.hpp>

#include <cstdio>
#include <stdexcept>

namespace http = belay::http;
namespace service = belay::service;
using namespace std::chrono_literals;
using belay::task;
using belay::testing::service_client;

// [snippet service]
struct coupon_expired : belay::error {
  using error::error;
};

// A shop that makes coupons, which are good for a day, and mails each to its owner.
class shop {
 public:
  explicit shop(const belay::telemetry::logger& log)
      : app_({.name = "shop", .listen = {"127.0.0.1", 0}}, log) {
    app_.on_error<coupon_expired>(http::status::conflict, "coupon_expired");
    app_.post("/coupons", [this](service::request& asked) -> task<http::response> {
      made_ = belay::now();
      asked.run_after_response("mail", [this]() -> task<> {
        co_await belay::sleep_for(30s);  // a slow mail server
        ++mails_;
      });
      co_return http::response::json(http::status::created, R"({"id":1,"percent":20})");
    });
    app_.get("/coupons/1", [this](service::request&) -> task<http::response> {
      if (belay::now() - made_ > 24h) throw coupon_expired("the coupon was good for a day");
      co_return http::response::json(http::status::ok, R"({"id":1,"percent":20})");
    });
    app_.get("/report", [](service::request&) -> task<http::response> {
      co_await belay::yield();
      throw std::runtime_error("no report was written yet");
    });
  }
  service::app& app() { return app_; }
  [[nodiscard]] int mails() const { return mails_; }

 private:
  service::app app_;
  belay::time_point made_{};
  int mails_ = 0;
};
// [end]

// [snippet test]
task<> test_coupons(service_client& client, const shop& tested) {
  const auto made = co_await client.post_json("/coupons", "{}");
  std::printf("made: %d, %s\n", made.status(), made.json("/percent").c_str());

  std::printf("mails: %d\n", tested.mails());
  co_await client.background();  // what follows the answer
  std::printf("mails: %d\n", tested.mails());

  co_await belay::sleep_for(23h);  // takes no time
  std::printf("the same day: %d\n", (co_await client.get("/coupons/1")).status());
  co_await belay::sleep_for(2h);
  const auto late = co_await client.get("/coupons/1");
  std::printf("the next day: %d, %s\n", late.status(), late.text("/code").c_str());
}
// [end]

// [snippet failure]
task<> test_report(service_client& client) {
  try {
    static_cast<void>(co_await client.get("/report"));
  } catch (const std::runtime_error& e) {  // the client of a service in use gets a 500 without it
    std::printf("the handler failed: %s\n", e.what());
  }
}
// [end]

int main() {
  // [snippet run]
  const belay::telemetry::logger log(std::make_shared<belay::telemetry::memory_sink>());
  shop tested(log);
  const int code = belay::testing::run_service(tested.app(), [&](service_client& client) -> task<> {
    co_await test_coupons(client, tested);
    co_await test_report(client);
  });
  std::printf("exit code: %d\n", code);
  // [end]
  return code;
}
