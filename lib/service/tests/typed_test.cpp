// SPDX-License-Identifier: Apache-2.0
// Typed handlers: arguments from everywhere in the request, all findings at once, results, the thread pool.

#include <belay/service/typed.hpp>
#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "support.hpp"

namespace http = belay::http;
namespace service = belay::service;
using belay::task;
using service::app;
using service::created;
using service::header;
using service::json;
using service::path;
using service::query;
using service::reply;
using service::rule;
using support::answer;
using support::client;
using support::contains;

namespace shop {

enum class order_by : unsigned char { name, age };
void describe(http::enum_names<order_by>& e) {
  e.add(order_by::name, "name");
  e.add(order_by::age, "age");
}

struct address {
  std::string city;
};
void describe(http::fields<address>& f) { f.member<&address::city>({.min_length = 1}); }

struct user {
  std::int64_t id = 0;
  std::string email;
  std::optional<int> age;
  std::vector<address> homes;
};
bool is_email(std::string_view text) { return text.find('@') != std::string_view::npos; }
void describe(http::fields<user>& f) {
  f.with_default<&user::id>();
  f.member<&user::email>({.max_length = 20, .accept = is_email, .expected = "must be an email address"});
  f.member<&user::age>({.min = 0, .max = 150});
  f.with_default<&user::homes>();
}

struct measure {
  double value = 0;
};
void describe(http::fields<measure>& f) { f.member<&measure::value>(); }

}  // namespace shop

namespace {

using shop::user;

// Asks an app with the routes that `add` adds.
std::vector<answer> ask(void (*add)(app&), std::vector<std::string> requests,
                        support::record_keeper records = {}) {
  app of(support::options(), records.log);
  add(of);
  std::vector<answer> got;
  CHECK(support::serve(of, [&](app& to) -> task<> {
          client one = co_await support::connect(to);
          for (std::string& text : requests) got.push_back(co_await one.ask(std::move(text)));
        }) == service::exit_clean);
  return got;
}

task<user> make_user(std::int64_t id) { co_return user{id, "a@b", {}, {}}; }

std::string post_untyped(std::string_view path) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
}

}  // namespace

TEST_CASE("typed: a plain argument is the path parameter, a value becomes JSON") {
  const auto got = ask(
      [](app& to) {
        to.get("/users/{id}", [](std::int64_t id) -> task<user> { co_return co_await make_user(id); });
        to.get("/sums/{a}/{b}", [](int a, int b) -> task<int> { co_return a - b; });
        to.get("/mixed/{a}/{b}/{c}", [](path<"b", std::string> b, bool a, double c) -> task<std::string> {
          co_return *b + (a ? "+" : "-") + std::to_string(c);
        });
        to.get("/kinds/{of}", [](shop::order_by of) -> task<shop::order_by> { co_return of; });
        to.get("/free/{id}", &make_user);
      },
      {support::get("/users/7"), support::get("/sums/5/3"), support::get("/mixed/true/x%2Fy/1.5"),
       support::get("/kinds/age"), support::get("/free/3")});
  REQUIRE(got.size() == 5);
  CHECK(got[0].status() == 200);
  CHECK(got[0].field("Content-Type") == "application/json");
  CHECK(got[0].body == R"({"id":7,"email":"a@b","age":null,"homes":[]})");
  CHECK(got[1].body == "2");
  CHECK(got[2].body == "\"x/y+1.500000\"");
  CHECK(got[3].body == "\"age\"");
  CHECK(contains(got[4].body, "\"id\":3"));
}

TEST_CASE("typed: query and header, with optionals, fallbacks and several values") {
  const auto got = ask(
      [](app& to) {
        to.get("/",
               [](query<"limit", int, rule{.min = 1, .max = 100, .fallback = 20}> limit,
                  query<"name", std::optional<std::string>> name, query<"tag", std::vector<int>> tags,
                  query<"deep", bool, rule{.fallback = true}> deep,
                  header<"X-Tenant", std::string, rule{.max_length = 3}> tenant) -> task<std::string> {
                 std::string all =
                     std::to_string(*limit) + (*name ? "n=" + **name : "") + (*deep ? "d" : "s") + *tenant;
                 for (const int tag : *tags) all += "," + std::to_string(tag);
                 co_return all;
               });
      },
      {support::get("/", "X-Tenant: abc\r\n"),
       support::get("/?limit=100&name=&tag=1&tag=2&deep=false", "X-Tenant: abc\r\n"),
       support::get("/?limit=0&tag=1&tag=x&deep=1")});
  REQUIRE(got.size() == 3);
  CHECK(got[0].body == "\"20dabc\"");
  CHECK(got[1].body == "\"100n=sabc,1,2\"");
  CHECK(got[2].status() == 422);
  CHECK(contains(got[2].body, R"({"pointer":"/query/limit","detail":"must be from 1 to 100"})"));
  CHECK(contains(got[2].body, R"({"pointer":"/query/tag/1","detail":"must be an integer"})"));
  CHECK(contains(got[2].body, R"({"pointer":"/query/deep","detail":"must be true or false"})"));
  CHECK(contains(got[2].body, R"({"pointer":"/header/X-Tenant","detail":"is required"})"));
}

TEST_CASE("typed: everything that is wrong with path, query, headers and body is one 422 [row 424]") {
  const auto got = ask(
      [](app& to) {
        to.put("/users/{id}",
               [](std::int64_t, query<"notify", bool>, header<"If-Match", std::string>,
                  json<user> body) -> task<user> { co_return *body; });
      },
      {"PUT /users/x HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 66\r\n\r\n"
       R"({"email":"ab","age":151,"homes":[{"city":"a"},{"city":""},{},"x"]})"});
  REQUIRE(got.size() == 1);
  CHECK(got[0].status() == 422);
  CHECK(got[0].field("Content-Type") == "application/problem+json");
  CHECK(contains(
      got[0].body,
      R"("errors":[{"pointer":"/path/id","detail":"must be an integer"},{"pointer":"/query/notify","detail":"is required"},)"
      R"({"pointer":"/header/If-Match","detail":"is required"},{"pointer":"/email","detail":"must be an email address"},)"
      R"({"pointer":"/age","detail":"must be from 0 to 150"},{"pointer":"/homes/1/city","detail":"must not be empty"},)"
      R"({"pointer":"/homes/2/city","detail":"is required"},{"pointer":"/homes/3","detail":"must be an object"}])"));
}

TEST_CASE("typed: bodies of other types, malformed ones, and none") {
  const auto got = ask(
      [](app& to) {
        to.post("/users", [](json<user> body) -> task<user> { co_return *body; });
        to.post("/maybe", [](json<std::optional<user>> body) -> task<bool> { co_return body->has_value(); });
        to.post("/logout", []() -> task<> { co_return; });
      },
      {support::post("/users", "{}", "text/plain"), support::post("/users", "{"), support::post("/users", ""),
       post_untyped("/maybe"), support::post("/maybe", R"({"email":"a@b"})"), post_untyped("/logout"),
       support::post("/users", "[]")});
  REQUIRE(got.size() == 7);
  CHECK(got[0].status() == 415);
  CHECK(got[1].status() == 400);
  CHECK(contains(got[1].body, "malformed_json"));
  CHECK(got[2].status() == 400);
  CHECK(got[3].body == "false");
  CHECK(got[4].body == "true");
  CHECK(got[5].status() == 204);
  CHECK(got[6].status() == 422);
}

TEST_CASE("typed: results with a status and fields of their own, nothing, a response as it is, none") {
  const auto got = ask(
      [](app& to) {
        to.post("/users", [](json<user> body) -> task<created<user>> {
          co_return created<user>{*body, {{"Location", "/users/7"}}};
        });
        to.del("/users/{id}", [](std::int64_t) -> task<> { co_return; });
        to.get("/raw/{id}", [](int) -> task<http::response> {
          co_return http::response::text(static_cast<http::status>(299), "raw");
        });
        to.get("/none", []() -> task<std::optional<user>> { co_return std::nullopt; });
        to.get("/many", []() -> task<std::vector<int>> { co_return std::vector<int>{1, 2}; });
        to.get("/teapot", []() -> task<reply<418, std::string>> { co_return reply<418, std::string>{"t"}; });
      },
      {support::post("/users", R"({"email":"a@b"})"), "DELETE /users/1 HTTP/1.1\r\nHost: test\r\n\r\n",
       support::get("/raw/1"), support::get("/none"), support::get("/many"), support::get("/teapot")});
  REQUIRE(got.size() == 6);
  CHECK(got[0].status() == 201);
  CHECK(got[0].field("Location") == "/users/7");
  CHECK(got[1].status() == 204);
  CHECK(got[2].status() == 299);
  CHECK(got[2].body == "raw");
  CHECK(got[3].body == "null");
  CHECK(got[4].body == "[1,2]");
  CHECK(got[5].status() == 418);
}

TEST_CASE(
    "typed: a result that cannot be sent is a 500 without internals, and one record that names it [row 424]") {
  support::record_keeper records;
  const auto got = ask(
      [](app& to) {
        to.get("/nan", []() -> task<shop::measure> { co_return shop::measure{std::nan("")}; });
        to.get("/broken", []() -> task<user> { co_return user{1, "no at", {}, {}}; });
      },
      {support::get("/nan"), support::get("/broken")}, records);
  REQUIRE(got.size() == 2);
  for (const answer& one : got) {
    CHECK(one.status() == 500);
    CHECK_FALSE(contains(one.body, "value"));
    CHECK_FALSE(contains(one.body, "email"));
  }
  CHECK(records.events("request_failed").size() == 2);
  CHECK(records.all("/value is not a finite number").size() == 1);
  CHECK(records.all("/email must be an email address").size() == 1);
}

TEST_CASE("typed: a handler that gives no task runs in the thread pool") {
  static std::thread::id here;
  here = std::this_thread::get_id();
  const auto got = ask(
      [](app& to) {
        to.get("/where/{what}", [](const std::string& what) {
          return what + (std::this_thread::get_id() == here ? " loop" : " pool");
        });
        to.get("/nothing", []() {});
        to.get("/fails",
               []() -> int { throw http::problem_error(http::status::conflict, "no", "it fails"); });
      },
      {support::get("/where/x"), support::get("/nothing"), support::get("/fails")});
  REQUIRE(got.size() == 3);
  CHECK(got[0].body == "\"x pool\"");
  CHECK(got[1].status() == 204);
  CHECK(got[2].status() == 409);
}

TEST_CASE("typed: the request beside the arguments; a doubled header is one list") {
  const auto got = ask(
      [](app& to) {
        to.get("/{id}",
               [](service::request& r, int id, header<"X-List", std::string> list) -> task<std::string> {
                 r.response_headers().set("X-Seen", "yes");
                 co_return std::string(r.http().path) + " " + std::to_string(id) + " " + *list;
               });
      },
      {support::get("/7", "X-List: a\r\nX-List: b\r\n")});
  REQUIRE(got.size() == 1);
  CHECK(got[0].body == "\"/7 7 a, b\"");
  CHECK(got[0].field("X-Seen") == "yes");
}

TEST_CASE("typed: arguments that do not fit the pattern are refused when the route is added") {
  support::record_keeper records;
  app of(support::options(), records.log);
  const auto two = [](int, int) -> task<int> { co_return 1; };
  CHECK_THROWS_WITH_AS(of.get("/{id}", two),
                       "route /{id}: the handler takes 2 path parameters by position, and the pattern has 1 "
                       "that no path<> names",
                       belay::misuse_error);
  const auto named = [](path<"name", int>) -> task<int> { co_return 1; };
  CHECK_THROWS_AS(of.get("/{id}", named), belay::misuse_error);
}
