// SPDX-License-Identifier: Apache-2.0
// The description of the API: what it says of each route, and that it is a valid OpenAPI 3.1 document.

#include <belay/service/typed.hpp>
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <set>

#include "support.hpp"

namespace json = boost::json;
namespace http = belay::http;
namespace service = belay::service;
using belay::task;
using service::app;
using service::query;
using service::rule;
using support::answer;
using support::client;
using support::contains;

namespace bookshop {

struct user {
  std::int64_t id = 0;
  std::string name;
};
void describe(http::fields<user>& f) {
  f.member<&user::id>();
  f.member<&user::name>({.min_length = 1, .description = "As it is printed </script>"});
}
struct not_there : belay::error {
  not_there() : error(belay::error_kind::not_found, "not_there", "not there") {}
};

}  // namespace bookshop

namespace {

struct session {};

std::vector<answer> ask(app& of, std::vector<std::string> requests) {
  std::vector<answer> got;
  CHECK(support::serve(of, [&](app& to) -> task<> {
          client one = co_await support::connect(to);
          for (std::string& text : requests) got.push_back(co_await one.ask(std::move(text)));
        }) == service::exit_clean);
  return got;
}

void add_routes(app& to) {
  to.on_error<bookshop::not_there>(http::status::not_found, "user_not_found");
  to.provide<session>([](service::header<"Authorization", std::string>) { return session(); });
  to.get("/users/{id}", [](std::int64_t) -> task<bookshop::user> { co_return bookshop::user(); },
         {.tags = {"users"}, .summary = "One user"});
  to.get("/users",
         [](query<"limit", int, rule{.min = 1, .max = 100, .fallback = 20}>, service::dep<session>)
             -> task<std::vector<bookshop::user>> { co_return std::vector<bookshop::user>(); },
         {.tags = {"users"}});
  to.post("/users", [](service::json<bookshop::user> body) -> task<service::created<bookshop::user>> {
    co_return service::created<bookshop::user>{*body, {}};
  });
  service::routes old = to.group("/old", {.deadline = std::chrono::seconds(1), .tags = {"old"}});
  old.del("/{kind}/{id}", [](service::path<"id", int>, std::string) -> task<> { co_return; },
          {.deprecated = true});
  to.get("/raw/{what}", [](service::request&) -> task<http::response> { co_return http::response::empty(); },
         {.responses = {{http::status::ok, "A picture"}}});
  to.get("/secret", []() -> task<int> { co_return 1; }, {.hidden = true});
}

// What OpenAPI 3.1 wants of a document, as far as ours goes: every reference resolves, and so on.
void check_references(const json::value& of, const json::object& schemas) {
  if (const json::array* all = of.if_array()) {
    for (const json::value& one : *all) check_references(one, schemas);
  } else if (const json::object* members = of.if_object()) {
    for (const auto& [name, value] : *members) {
      if (name == "$ref") {
        const std::string text(value.as_string().c_str());
        CHECK(text.starts_with("#/components/schemas/"));
        CHECK(schemas.contains(text.substr(21)));
      } else {
        check_references(value, schemas);
      }
    }
  }
}

void check_document(const json::value& whole) {
  CHECK(whole.at("openapi") == "3.1.0");
  CHECK(whole.at("info").at("title").is_string());
  CHECK(whole.at("info").at("version").is_string());
  const json::object& schemas = whole.at("components").at("schemas").as_object();
  for (const auto& [name, schema] : schemas) {
    for (const char c : name) {
      CHECK((std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_'));
    }
    CHECK(schema.at("type").is_string());
  }
  check_references(whole, schemas);
  std::set<std::string> names;
  for (const auto& [path, operations] : whole.at("paths").as_object()) {
    CHECK(path.starts_with("/"));
    for (const auto& [verb, operation] : operations.as_object()) {
      CHECK(
          std::set<std::string>{"get", "put", "post", "delete", "options", "head", "patch", "trace"}.contains(
              std::string(verb)));
      CHECK(names.insert(operation.at("operationId").as_string().c_str()).second);
      std::set<std::string> in_path;
      std::set<std::pair<std::string, std::string>> seen;
      if (const json::value* parameters = operation.as_object().if_contains("parameters")) {
        for (const json::value& one : parameters->as_array()) {
          const std::string name = one.at("name").as_string().c_str();
          const std::string in = one.at("in").as_string().c_str();
          CHECK(seen.emplace(name, in).second);
          CHECK(one.at("schema").is_object());
          if (in == "path") {
            CHECK(one.at("required") == true);
            CHECK(contains(path, "{" + name + "}"));
            in_path.insert(name);
          }
        }
      }
      CHECK(in_path.size() == static_cast<std::size_t>(std::count(path.begin(), path.end(), '{')));
      CHECK(operation.at("responses").as_object().size() >= 1);
      for (const auto& [status, response] : operation.at("responses").as_object()) {
        CHECK((status == "default" || (status.size() == 3 && status[0] >= '2' && status[0] <= '5')));
        CHECK(response.at("description").is_string());
      }
    }
  }
}

}  // namespace

TEST_CASE("api: the document says of each route what its types and the error rules say") {
  support::record_keeper records;
  service::app_options options = support::options();
  options.api = service::api_options{.title = "Shop", .version = "2.1"};
  app of(options, records.log);
  add_routes(of);
  const auto got = ask(of, {support::get("/openapi.json"), support::get("/docs")});
  REQUIRE(got.at(0).status() == 200);
  CHECK(got.at(0).field("Content-Type") == "application/json");
  const json::value whole = json::parse(got.at(0).body);
  check_document(whole);
  CHECK(whole.at("info").at("title") == "Shop");
  const auto text = [&](std::string_view path, const char* verb, const char* what) {
    const json::object& operation = whole.at("paths").at(path).at(verb).as_object();
    return operation.contains(what) ? json::serialize(operation.at(what)) : std::string();
  };
  const std::string problem =
      R"("content":{"application/problem+json":{"schema":{"$ref":"#/components/schemas/problem_details"}}})";
  CHECK(text("/users/{id}", "get", "parameters") ==
        R"([{"name":"id","in":"path","required":true,"schema":{"type":"integer","format":"int64"}}])");
  CHECK(text("/users/{id}", "get", "tags") == R"(["users"])");
  CHECK(text("/users/{id}", "get", "summary") == "\"One user\"");
  CHECK(
      text("/users/{id}", "get", "responses") ==
      R"({"200":{"description":"OK","content":{"application/json":{"schema":{"$ref":"#/components/schemas/user"}}}},)"
      R"("404":{"description":"user_not_found",)" +
          problem + R"(},"422":{"description":"validation_failed",)" + problem +
          R"(},"default":{"description":"Any other error",)" + problem + "}}");
  CHECK(
      text("/users", "get", "parameters") ==
      R"([{"name":"limit","in":"query","required":false,"schema":{"type":"integer","format":"int32","minimum":1,"maximum":100,"default":20}},)"
      R"({"name":"Authorization","in":"header","required":true,"schema":{"type":"string"}}])");
  CHECK(
      text("/users", "post", "requestBody") ==
      R"({"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/user"}}}})");
  CHECK(contains(text("/users", "post", "responses"), "\"201\""));
  CHECK(contains(text("/users", "post", "responses"), "\"415\""));
  CHECK(text("/old/{kind}/{id}", "delete", "deprecated") == "true");
  CHECK(text("/old/{kind}/{id}", "delete", "tags") == R"(["old"])");
  CHECK(contains(text("/old/{kind}/{id}", "delete", "parameters"),
                 R"("name":"kind","in":"path","required":true,"schema":{"type":"string"})"));
  CHECK(contains(text("/old/{kind}/{id}", "delete", "responses"), "\"204\""));
  CHECK(contains(text("/old/{kind}/{id}", "delete", "responses"), "deadline_exceeded"));
  CHECK(contains(text("/raw/{what}", "get", "responses"), R"("200":{"description":"A picture"})"));
  for (const char* hidden : {"/secret", "/docs", "/openapi.json", "/health/live"})
    CHECK_FALSE(whole.at("paths").as_object().contains(hidden));

  // The page has the document in it and loads nothing; no text of the program can end its script.
  CHECK(got.at(1).status() == 200);
  CHECK(contains(got.at(1).head, "text/html"));
  CHECK(contains(got.at(1).body, "One user"));
  CHECK_FALSE(contains(got.at(1).body, "http://"));
  CHECK_FALSE(contains(got.at(1).body, "https://"));
  CHECK_FALSE(contains(got.at(1).body, "printed </script>"));
}

TEST_CASE("api: nothing is served unless it is wanted") {
  support::record_keeper records;
  app of(support::options(), records.log);
  add_routes(of);
  const auto got = ask(of, {support::get("/openapi.json"), support::get("/docs")});
  CHECK(got.at(0).status() == 404);
  CHECK(got.at(1).status() == 404);
}
