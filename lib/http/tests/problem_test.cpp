// SPDX-License-Identifier: Apache-2.0
// Problem details: members, defaults, validity of the JSON, status mapping.

#include <belay/http/json_text.hpp>
#include <belay/http/problem.hpp>
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>

#include <random>

namespace http = belay::http;
namespace json = boost::json;
using namespace std::string_literals;
using namespace std::chrono_literals;

namespace {

json::object parse(const std::string& text) { return json::parse(text).as_object(); }

}  // namespace

TEST_CASE("problem: every member where it belongs") {
  http::problem p{.status = http::status::conflict,
                  .code = "email_taken",
                  .detail = "a user with this e-mail exists",
                  .instance = "/users",
                  .trace_id = "0af7651916cd43dd8448eb211c80319c",
                  .errors = {{"/email", "is taken"}, {"/a~1b", "x"}}};
  p.extend("retry_after", 3);
  p.extend("hint", "look \"again\"");
  const json::object o = parse(p.to_json());
  CHECK(o.at("type") == "urn:problem-type:email_taken");
  CHECK(o.at("title") == "Email taken");
  CHECK(o.at("status") == 409);
  CHECK(o.at("detail") == "a user with this e-mail exists");
  CHECK(o.at("instance") == "/users");
  CHECK(o.at("code") == "email_taken");
  CHECK(o.at("trace_id") == "0af7651916cd43dd8448eb211c80319c");
  CHECK(o.at("errors").as_array().size() == 2);
  CHECK(o.at("errors").at(1).at("pointer") == "/a~1b");
  CHECK(o.at("retry_after") == 3);
  CHECK(o.at("hint") == "look \"again\"");
  CHECK(o.size() == 10);
}

TEST_CASE(
    "problem: without a code it is about:blank with the reason phrase, and empty members are absent [row "
    "458]") {
  const json::object o = parse(http::problem{.status = http::status::not_found}.to_json());
  CHECK(o.at("type") == "about:blank");
  CHECK(o.at("title") == "Not Found");
  CHECK(o.at("status") == 404);
  CHECK(o.size() == 3);
}

TEST_CASE("problem: the title depends on the code alone [row 460]") {
  const auto title = [](http::problem p) { return parse(p.to_json()).at("title"); };
  CHECK(title({.status = http::status::not_found, .code = "user_not_found", .detail = "user 7"}) ==
        title({.status = http::status::gone, .code = "user_not_found", .detail = "user 8"}));
}

TEST_CASE("problem: the response has the media type and the status of the member [row 457] [row 459]") {
  const http::response r = http::to_response({.status = http::status::unprocessable_content, .code = "x"});
  CHECK(r.status == http::status::unprocessable_content);
  CHECK(r.headers.find("content-type") == "application/problem+json");
  CHECK(parse(r.body).at("status") == 422);
}

TEST_CASE("problem: an extension cannot shadow a member or another extension [row 463]") {
  http::problem p;
  for (const char* name : {"type", "title", "status", "detail", "instance", "code", "trace_id", "errors"}) {
    CHECK_THROWS_AS(p.extend(name, "x"), belay::misuse_error);
  }
  p.extend("mine", 1);
  CHECK_THROWS_AS(p.extend("mine", 2), belay::misuse_error);
}

TEST_CASE("problem: valid JSON whatever bytes the texts hold [row 465]") {
  for (const std::string& text :
       {"\""s, "\\"s, "\n\r\t\b\f"s, "\0"s, "\x1f\x7f"s, "\xff"s, "\xc3"s, "\xc3\x28"s, "\xe2\x82"s,
        "\xf0\x9f\x98"s, "\xed\xa0\x80"s, "\xc0\x80"s, "\xf4\x90\x80\x80"s, "\xf8\x88\x80\x80\x80"s,
        "ok \xf0\x9f\x98\x80 \xe2\x82\xac"s, "a\xe2\x82z"s}) {
    CAPTURE(text);
    http::problem p{
        .code = text, .detail = text, .instance = text, .trace_id = text, .errors = {{text, text}}};
    p.extend("extension-" + text, text);
    CHECK_NOTHROW(parse(p.to_json()));
  }
}

TEST_CASE("json text: random bytes give valid JSON, valid UTF-8 comes back unchanged [row 465]") {
  std::mt19937 random(1);
  for (int round = 0; round != 3000; ++round) {
    std::string bytes(random() % 12, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 3 == 0 ? 0x80 + random() % 0x80 : random() % 256);
    CHECK_NOTHROW(json::parse(http::to_json_string(bytes)));
  }
  const std::string good = "a\"\\/\n\0 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbf"s;
  CHECK(json::parse(http::to_json_string(good)).as_string() == json::string_view(good.data(), good.size()));
}

TEST_CASE("json text: one replacement character for each maximal part of an ill-formed sequence") {
  CHECK(http::to_json_string("\xff\xfe") == "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(http::to_json_string("\xf0\x9f\x98") == "\"\xef\xbf\xbd\"");
  CHECK(http::to_json_string("\xe2\x82z") == "\"\xef\xbf\xbdz\"");
  CHECK(http::to_json_string("\xed\xa0\x80") == "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST_CASE("json text: code points are counted, not bytes") {
  CHECK(http::count_code_points("") == 0);
  CHECK(http::count_code_points("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == 4);
  CHECK(http::count_code_points("\xff\xc3") == 2);
}

TEST_CASE("problem error: kind and message follow from status, code and detail") {
  const http::problem_error e(http::status::not_found, "user_not_found", "there is no user 7");
  CHECK(e.kind() == belay::error_kind::not_found);
  CHECK(e.code() == "user_not_found");
  CHECK(e.what() == "user_not_found: there is no user 7"s);
  CHECK(e.problem().status == http::status::not_found);
}

TEST_CASE("problem error: carries headers for the response [row 422] [row 466]") {
  http::headers fields;
  fields.add("Retry-After", http::to_retry_after(1500ms));
  const http::problem_error e({.status = http::status::service_unavailable, .code = "unavailable"}, fields);
  CHECK(e.headers().find("retry-after") == "2");
  CHECK(e.kind() == belay::error_kind::unavailable);
}

TEST_CASE("problem: Retry-After is rounded up to whole seconds, at least one [row 466]") {
  CHECK(http::to_retry_after(0ns) == "1");
  CHECK(http::to_retry_after(-5s) == "1");
  CHECK(http::to_retry_after(1ns) == "1");
  CHECK(http::to_retry_after(1s) == "1");
  CHECK(http::to_retry_after(1s + 1ns) == "2");
  CHECK(http::to_retry_after(90s) == "90");
}

TEST_CASE("problem: the default status of each kind, and back where the status says so") {
  using enum belay::error_kind;
  CHECK(http::default_status(timed_out) == http::status::gateway_timeout);  // [row 426]
  CHECK(http::default_status(internal) == http::status::internal_server_error);
  CHECK(http::default_status(data_format) == http::status::internal_server_error);
  CHECK(http::default_status(overloaded) == http::status::service_unavailable);
  for (const auto kind :
       {not_found, conflict, denied, unauthenticated, unavailable, timed_out, invalid, internal}) {
    CHECK(http::default_kind(http::default_status(kind)) == kind);
  }
  CHECK(http::default_kind(http::status::too_many_requests) == overloaded);
}

TEST_CASE("to_problem: by kind, and nothing of the inside; a problem_error is what it says") {
  const auto of = [](auto error) {
    const belay::failure what = belay::failure::of(std::make_exception_ptr(std::move(error)));
    what.observe();
    return http::to_problem(what);
  };
  const http::problem missing =
      of(belay::error(belay::error_kind::not_found, "user_not_found", "no row in t_users", {{"id", 7}}));
  CHECK(missing.status == http::status::not_found);
  CHECK(missing.code == "not_found");
  CHECK(missing.to_json().find("t_users") == std::string::npos);
  CHECK(of(belay::timeout_error("x")).status == http::status::gateway_timeout);
  CHECK(of(std::invalid_argument("stoi")).status == http::status::internal_server_error);
  CHECK(of(7).code == "internal");
  CHECK(of(http::problem_error(http::status::gone, "moved", "away")).detail == "away");
}
